//! CPU time used by a thread or a process, and what else is counted of both.

use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::Nanos;

/// CPU time used. Time in ring 3 and time in the kernel are not told apart.
#[derive(Debug, Default)]
pub struct CpuTimes {
    used_ns: AtomicU64,
    faults: AtomicU64,
    voluntary: AtomicU64,
    involuntary: AtomicU64,
}

impl CpuTimes {
    /// Adds CPU time.
    pub fn charge(&self, time: Nanos) {
        self.used_ns.fetch_add(time.0, Ordering::Relaxed);
    }

    /// Counts a page fault that was resolved.
    pub fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts that a CPU was left, to wait or because it was another's turn.
    pub(super) fn count_switch(&self, is_voluntary: bool) {
        let counter = if is_voluntary {
            &self.voluntary
        } else {
            &self.involuntary
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many page faults were resolved.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Returns how often a CPU was left to wait, and how often because it was another's turn.
    #[must_use]
    pub fn switches(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.voluntary), read(&self.involuntary))
    }

    /// Returns the CPU time used, without what has not been charged yet: see [`super::charge_current`].
    #[must_use]
    pub fn used(&self) -> Nanos {
        Nanos(self.used_ns.load(Ordering::Relaxed))
    }
}
