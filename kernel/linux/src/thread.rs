//! Threads: what is scheduled.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Events, Tid, UserVa};
use tyn_hal::sync::SpinLock;
use tyn_hal::task::Task;

use crate::process::Process;
use crate::sched::{self, RunState};
use crate::signal::ThreadSignals;
use crate::wait::Observer;

/// A thread of a process.
#[derive(Debug)]
pub struct Thread {
    /// This thread, for observers that are told through `&self` (made by `Arc::new_cyclic`).
    this: Weak<Self>,
    tid: AtomicU32,
    process: Arc<Process>,
    task: tyn_hal::sync::Once<Task>,
    /// Scheduling state.
    pub run: RunState,
    /// Signal mask, pending signals, alternate stack.
    pub signals: ThreadSignals,
    /// `PR_SET_NAME`, NUL-padded.
    pub name: SpinLock<[u8; 16]>,
    /// `CLONE_CHILD_CLEARTID` / `set_tid_address(2)`; 0 when unset.
    clear_child_tid: AtomicU64,
    /// Head of the robust futex list (`set_robust_list(2)`); 0 when unset.
    pub robust_list: AtomicU64,
    /// The thread is to end before it would go to ring 3 again (`exit_group(2)`, `execve(2)` of another thread, SIGKILL).
    killed: AtomicBool,
}

impl Thread {
    /// Returns the thread id.
    #[must_use]
    pub fn tid(&self) -> Tid {
        Tid(self.tid.load(Ordering::Relaxed))
    }

    /// Makes the thread end before it goes to ring 3 again: waits are interrupted, ring 3 is left. Whoever runs the thread
    /// ends it when [`Thread::is_killed`].
    pub fn kill(self: &Arc<Self>) {
        self.killed.store(true, Ordering::SeqCst);
        sched::interrupt(self);
    }

    /// Returns whether the thread is to end; [`Thread::has_deliverable_signal`] is true then, too.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Returns the process.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Returns the hal task.
    ///
    /// # Panics
    /// Before the thread was given its task (it is not started then).
    #[must_use]
    pub fn task(&self) -> &Task {
        self.task
            .get()
            .expect("invariant: a thread has its task before it is visible")
    }

    /// Returns the address to clear and wake at exit.
    #[must_use]
    pub fn clear_child_tid(&self) -> UserVa {
        UserVa(self.clear_child_tid.load(Ordering::Relaxed))
    }

    /// Sets the address to clear and wake at exit.
    pub fn set_clear_child_tid(&self, va: UserVa) {
        self.clear_child_tid.store(va.0, Ordering::Relaxed);
    }

    /// Returns whether a signal that is not blocked is pending for this thread or its process (or it is to be killed).
    #[must_use]
    pub fn has_deliverable_signal(&self) -> bool {
        self.is_killed() || self.signals.has_deliverable(self)
    }

    /// Makes the thread run again if it is parked, else leaves it a token.
    pub fn unpark(self: &Arc<Self>) {
        sched::unpark(self);
    }
}

impl Observer for Thread {
    fn notify(&self, events: Events) {
        let _ = events;
        if let Some(thread) = self.this.upgrade() {
            sched::unpark(&thread);
        }
    }
}
