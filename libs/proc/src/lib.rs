//! Process families: parents and children, process groups, sessions, zombies, and which child a `wait` finds.
//!
//! [`Family`] holds the relations and decides; it delivers nothing. What an exit leads to (signals for parents, processes
//! to forget) comes back as values that the kernel acts on.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod exit;
mod family;
mod groups;
mod status;
mod wait;

#[cfg(test)]
mod tests;

pub use exit::{DeathSignal, ExitNotice, Exited};
pub use family::{Family, ParentCell};
pub use status::{ChildEvent, ExitStatus, Times};
pub use wait::{Report, Selector, WaitOptions, Waited};

/// Signal number of SIGCHLD.
pub const SIGCHLD: u8 = 17;
