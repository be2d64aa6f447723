//! The file system as pure data structures: the archive, the tree of files, path walks, synthesised files, the
//! terminal's line discipline. Memory pages, time and facts about the system come as arguments; there is no I/O and
//! there are no locks here. `kernel/linux/src/fs` puts them to work.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod content;
pub mod cpio;
pub mod fd_info;
pub mod holes;
mod inodes;
pub mod inotify;
pub mod ldisc;
pub mod load;
pub mod locks;
pub mod name;
pub mod net_counters;
pub mod net_tables;
pub mod net_text;
pub mod proc_text;
pub mod procfs;
pub mod synth;
pub mod sysfs;
pub mod tree;
pub mod walk;
