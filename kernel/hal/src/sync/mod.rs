//! Locks. Interrupts are off in ring 0, so a lock is a plain spinlock; never hold one across a task switch
//! ([`crate::task::switch`] asserts that the CPU holds none).

mod once;
mod spin;

pub use once::Once;
pub use spin::{SpinGuard, SpinLock};
