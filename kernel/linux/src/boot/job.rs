//! A part of the start that another CPU can do.
//!
//! The boot CPU offers it; the first CPU that asks does it. Who needs the outcome calls [`Job::finish`]: the job is done there if
//! nobody has taken it, else waited for, which takes milliseconds at most, once.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_hal::cpu;
use tyn_hal::sync::SpinLock;

type Work = Box<dyn FnOnce() + Send>;

/// Work that is done once, by whichever CPU is free first.
pub(super) struct Job {
    work: SpinLock<Option<Work>>,
    is_done: AtomicBool,
}

impl Job {
    /// Makes a job without work.
    pub(super) const fn new() -> Self {
        Self {
            work: SpinLock::new(None),
            is_done: AtomicBool::new(false),
        }
    }

    /// Sets the work; called once.
    pub(super) fn offer(&self, work: impl FnOnce() + Send + 'static) {
        *self.work.lock() = Some(Box::new(work));
    }

    /// Does the work, unless it has been taken.
    pub(super) fn do_if_free(&self) {
        let work = self.work.lock().take();
        if let Some(work) = work {
            work();
            self.is_done.store(true, Ordering::Release);
        }
    }

    /// Returns when the work is done: by this CPU if nobody has taken it. It was offered before.
    pub(super) fn finish(&self) {
        self.do_if_free();
        while !self.is_done.load(Ordering::Acquire) {
            cpu::relax();
        }
    }
}
