//! What files without a place in the file system have in common: pipes, sockets, `anon_inode:[...]`.

use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::PAGE_SIZE;
use tyn_abi::fs::{Stat, makedev, mode};

/// The file systems that Linux keeps such files in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// `pipefs`.
    Pipes,
    /// `sockfs`.
    Sockets,
    /// `anon_inodefs`.
    Anonymous,
}

/// Returns an inode number that no other such file has.
#[must_use]
pub fn inode_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1024);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the `struct stat` of a file.
#[must_use]
pub fn stat(home: Home, inode: u64) -> [u8; Stat::SIZE] {
    let (minor, mode) = match home {
        Home::Pipes => (14, mode::S_IFIFO | 0o600),
        Home::Sockets => (8, mode::S_IFSOCK | 0o777),
        Home::Anonymous => (15, 0o600),
    };
    let stat = Stat {
        dev: makedev(0, minor),
        ino: inode,
        nlink: 1,
        mode,
        blksize: PAGE_SIZE as u64,
        ..Stat::default()
    };
    stat.to_bytes()
}
