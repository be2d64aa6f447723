//! CPU time used by a thread or a process.

use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::Nanos;

/// CPU time used. Time in ring 3 and time in the kernel are not told apart.
#[derive(Debug, Default)]
pub struct CpuTimes {
    used_ns: AtomicU64,
}

impl CpuTimes {
    /// Adds CPU time.
    pub fn charge(&self, time: Nanos) {
        self.used_ns.fetch_add(time.0, Ordering::Relaxed);
    }

    /// Returns the CPU time used, without what has not been charged yet: see [`super::charge_current`].
    #[must_use]
    pub fn used(&self) -> Nanos {
        Nanos(self.used_ns.load(Ordering::Relaxed))
    }
}
