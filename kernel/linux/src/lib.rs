//! The Linux personality: processes, threads, files and sockets as the Linux system-call ABI defines them, in safe Rust
//! over `tyn_hal`.
//!
//! Where to find things: [`table`] lists every system call; `sys/<family>.rs` holds the handlers, named
//! `sys_<linux name>`; the objects they work on have a file each, named by their noun.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod anon;
pub mod boot;
mod clock;
pub mod cx;
pub mod descriptors;
pub mod device;
pub mod epoll;
pub mod eventfd;
pub mod exec;
pub mod exit;
pub(crate) mod fifo;
pub mod file;
pub(crate) mod fork;
pub mod fs;
pub mod futex;
pub(crate) mod futex_pi;
pub mod inotify;
pub mod kernel;
pub mod limits;
mod load;
mod lock;
pub mod mm;
pub mod net;
mod oom;
pub mod pidfd;
pub mod pipe;
pub mod process;
pub mod random;
pub mod sched;
pub mod signal;
pub mod signalfd;
pub mod sleep_lock;
pub mod socket;
pub mod socket_options;
mod stop;
pub mod sys;
pub mod table;
pub mod thread;
pub mod timerfd;
pub mod trace;
mod transfer;
pub mod tty;
pub mod unix;
pub mod user_io;
pub mod vdso;
pub mod wait;

pub use cx::{Cx, SysResult};
pub use kernel::{Kernel, kernel};
