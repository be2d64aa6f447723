//! Signals: sending, pending, delivery.

use alloc::sync::Arc;

use crate::process::Process;

/// A thread's mask, pending signals and alternate stack.
#[derive(Debug)]
pub struct ThreadSignals;

/// A process's actions and shared pending signals.
#[derive(Debug)]
pub struct ProcessSignals;

impl ThreadSignals {
    /// Returns whether a signal that is not blocked is pending for the thread or its process.
    #[must_use]
    pub fn has_deliverable(&self, thread: &crate::thread::Thread) -> bool {
        let _ = thread;
        unimplemented!()
    }
}

impl ProcessSignals {
    /// Returns the actions of the first process: all default.
    #[must_use]
    pub fn new() -> Self {
        unimplemented!()
    }

    /// Returns a copy of the actions with nothing pending (`fork(2)`).
    #[must_use]
    pub fn fork(&self) -> Self {
        unimplemented!()
    }

    /// Resets caught signals to their default (`execve(2)`, `CLONE_CLEAR_SIGHAND`); ignored ones stay ignored.
    pub fn reset_caught(&self) {
        unimplemented!()
    }

    /// Returns whether children that end leave no zombies: SIGCHLD is ignored, or has `SA_NOCLDWAIT`.
    #[must_use]
    pub fn ignores_children(&self) -> bool {
        unimplemented!()
    }
}

/// Sends `parent` the signal with which a child announces its end (usually SIGCHLD), with the child's details.
pub fn send_child_ended(parent: &Arc<Process>, notice: &tyn_proc::ExitNotice) {
    let _ = (parent, notice);
    unimplemented!()
}

/// Sends `process` a signal in the kernel's name (`SI_KERNEL`).
pub fn send_from_kernel(process: &Arc<Process>, signal: u8) {
    let _ = (process, signal);
    unimplemented!()
}

impl crate::cx::Cx<'_> {
    /// Blocks exactly the signals in `mask` (bit n - 1 for signal n; SIGKILL and SIGSTOP cannot be) until
    /// [`Cx::restore_mask`](crate::cx::Cx::restore_mask) or the end of the system call (`ppoll(2)`, `pselect(2)`,
    /// `epoll_pwait(2)`, `rt_sigsuspend(2)`): a handler that interrupts the call runs under this mask, and its return
    /// restores the old one; without a handler the old one is back when ring 3 goes on.
    pub fn set_temporary_mask(&self, mask: u64) {
        let _ = mask;
        unimplemented!()
    }

    /// Undoes [`Cx::set_temporary_mask`](crate::cx::Cx::set_temporary_mask): the call was not interrupted.
    pub fn restore_mask(&self) {
        unimplemented!()
    }

    /// Sends the calling thread a signal that its own action caused (SIGPIPE), as `tgkill(2)` to itself would.
    pub fn raise(&self, signal: u8) {
        let _ = signal;
        unimplemented!()
    }
}
