//! What the kernel tells about itself: typed trace events in rings of fixed size, and the report channel's lines.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod event;
pub mod report;
pub mod ring;

pub use event::{Event, Record};
pub use report::Line;
pub use ring::Ring;
