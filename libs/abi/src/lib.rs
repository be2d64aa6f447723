//! The Linux x86-64 system-call ABI as data: numbers, flags, structure layouts, and the small types that every
//! other crate shares. No behaviour lives here.
//!
//! One file per man-page family; structures have `to_bytes`/`from_bytes` with the exact kernel layout, so that
//! they cross the user boundary as plain byte arrays.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod errno;
pub mod fs;
pub mod inotify;
pub mod io;
pub mod memory;
pub mod poll;
pub mod process;
pub mod signal;
pub mod socket;
pub mod system;
pub mod time;
pub mod types;

pub use errno::Errno;
pub use io::{Sink, Source};
pub use poll::Events;
pub use time::Nanos;
pub use types::{Access, Fd, PAGE_SIZE, Pid, Tid, USER_END, UserVa};
