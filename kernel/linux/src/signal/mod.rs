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
