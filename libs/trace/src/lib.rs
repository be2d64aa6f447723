//! What the kernel tells about itself: typed trace events in rings of fixed size, and the report channel's lines.
#![no_std]
#![forbid(unsafe_code)]

pub mod event;
pub mod ring;

pub use event::{Event, Record};
pub use ring::Ring;
