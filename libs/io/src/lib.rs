//! The objects behind descriptors that are neither files nor network sockets, as pure state machines: pipes, eventfds,
//! timerfds, AF_UNIX sockets, the masters of pseudo-terminals, epoll sets, and the bit logic of `poll(2)` and `select(2)`.
//!
//! Nothing here blocks, locks, reads a clock or touches user memory: time comes as an argument, bytes through
//! [`tyn_abi::Source`] and [`tyn_abi::Sink`], and what cannot be done now is an error. `tyn-linux` puts each object
//! behind a lock and does the waiting.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod console;
pub mod epoll;
pub mod eventfd;
pub mod pipe;
pub mod poll;
pub mod pty;
pub mod timerfd;
pub mod unix;

pub use console::{ConsoleDevice, ConsoleListener};
