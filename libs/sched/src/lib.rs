//! Scheduling as pure functions over owned state: who runs, who waits, for what and until when.
//!
//! Nothing here reads a clock, takes a lock or switches stacks. The kernel applies these transitions under its locks or
//! by compare-and-swap; the tests explore every interleaving of those atomic steps on small models.
//!
//! | file | what |
//! |---|---|
//! | [`park`] | the state of a thread that parks and is unparked |
//! | [`run_queue`] | a CPU's queue: lanes, time slices, when to preempt, what to steal |
//! | [`placement`] | which CPU a thread that became runnable goes to |
//! | [`sleep_lock`] | a lock whose waiters park |
//! | [`timer`] | what is due when |
//! | [`futex`] | who waits on which user word |
//! | [`load`] | load averages |
//! | [`signal`] | pending signals, what is delivered next and what it does |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cpus;
#[cfg(test)]
mod explore;
pub mod futex;
pub mod load;
pub mod park;
pub mod placement;
pub mod run_queue;
pub mod signal;
pub mod sleep_lock;
pub mod timer;

pub use cpus::{CpuIndex, CpuSet};
