//! The system-call handlers, one file for each man-page family.
//!
//! A handler decodes its arguments, takes the object, calls one of its methods and encodes the result. Its doc comment
//! starts with the man page and lists flags that are supported and known deviations.

pub(crate) mod attr;
pub(crate) mod capability;
pub(crate) mod clone;
pub(crate) mod dir;
pub(crate) mod epoll;
pub(crate) mod eventfd;
pub(crate) mod exec;
pub(crate) mod fd;
pub(crate) mod futex;
pub(crate) mod ident;
pub(crate) mod inotify;
pub(crate) mod ioctl;
pub(crate) mod membarrier;
pub(crate) mod message;
pub(crate) mod mmap;
pub(crate) mod open;
pub(crate) mod pidfd;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod process_vm;
pub(crate) mod random;
pub(crate) mod rw;
pub(crate) mod sched;
pub(crate) mod signal;
pub(crate) mod signalfd;
pub(crate) mod socket;
pub(crate) mod splice;
pub(crate) mod stat;
pub(crate) mod time;
pub(crate) mod timer;
pub(crate) mod timerfd;
pub(crate) mod wait;
pub(crate) mod xattr;
