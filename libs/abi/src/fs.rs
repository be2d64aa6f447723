//! Files: flags and structure layouts of `open(2)`, `fcntl(2)`, `stat(2)`, `statx(2)`, `statfs(2)`, `getdents64(2)`
//! (`include/uapi/asm-generic/fcntl.h`, `include/uapi/linux/{stat,fcntl,fs,memfd,falloc,openat2}.h` of Linux).

use alloc::vec::Vec;

use crate::time::Timespec;

/// Flags of `open(2)`.
pub mod open {
    #![expect(missing_docs, reason = "the names are those of open(2)")]
    pub const O_ACCMODE: u32 = 0o3;
    pub const O_RDONLY: u32 = 0;
    pub const O_WRONLY: u32 = 1;
    pub const O_RDWR: u32 = 2;
    pub const O_CREAT: u32 = 0o100;
    pub const O_EXCL: u32 = 0o200;
    pub const O_NOCTTY: u32 = 0o400;
    pub const O_TRUNC: u32 = 0o1000;
    pub const O_APPEND: u32 = 0o2000;
    pub const O_NONBLOCK: u32 = 0o4000;
    pub const O_DSYNC: u32 = 0o10000;
    pub const O_ASYNC: u32 = 0o20000;
    pub const O_DIRECT: u32 = 0o40000;
    pub const O_LARGEFILE: u32 = 0o100000;
    pub const O_DIRECTORY: u32 = 0o200000;
    pub const O_NOFOLLOW: u32 = 0o400000;
    pub const O_NOATIME: u32 = 0o1000000;
    pub const O_CLOEXEC: u32 = 0o2000000;
    pub const O_SYNC: u32 = 0o4010000;
    pub const O_PATH: u32 = 0o10000000;
    /// `__O_TMPFILE`; the man page's `O_TMPFILE` includes `O_DIRECTORY`.
    pub const O_TMPFILE_BIT: u32 = 0o20000000;
}

/// Flags of the `*at` calls.
pub mod at {
    #![expect(missing_docs, reason = "the names are those of the man pages")]
    pub const AT_FDCWD: i32 = -100;
    pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    pub const AT_EACCESS: u32 = 0x200;
    pub const AT_REMOVEDIR: u32 = 0x200;
    pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
    pub const AT_NO_AUTOMOUNT: u32 = 0x800;
    pub const AT_EMPTY_PATH: u32 = 0x1000;
    pub const AT_STATX_FORCE_SYNC: u32 = 0x2000;
    pub const AT_STATX_DONT_SYNC: u32 = 0x4000;
    pub const RENAME_NOREPLACE: u32 = 1;
    pub const RENAME_EXCHANGE: u32 = 2;
    pub const RENAME_WHITEOUT: u32 = 4;
    pub const RESOLVE_NO_XDEV: u64 = 0x01;
    pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
    pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
    pub const RESOLVE_BENEATH: u64 = 0x08;
    pub const RESOLVE_IN_ROOT: u64 = 0x10;
    pub const RESOLVE_CACHED: u64 = 0x20;
}

/// File types and permission bits of `st_mode` (`inode(7)`).
pub mod mode {
    #![expect(missing_docs, reason = "the names are those of inode(7)")]
    pub const S_IFMT: u32 = 0o170000;
    pub const S_IFSOCK: u32 = 0o140000;
    pub const S_IFLNK: u32 = 0o120000;
    pub const S_IFREG: u32 = 0o100000;
    pub const S_IFBLK: u32 = 0o060000;
    pub const S_IFDIR: u32 = 0o040000;
    pub const S_IFCHR: u32 = 0o020000;
    pub const S_IFIFO: u32 = 0o010000;
    pub const S_ISUID: u32 = 0o4000;
    pub const S_ISGID: u32 = 0o2000;
    pub const S_ISVTX: u32 = 0o1000;
    /// All bits that `chmod(2)` can set.
    pub const PERMISSIONS: u32 = 0o7777;

    /// Returns the `d_type` of `getdents64(2)` for a mode.
    #[must_use]
    pub const fn dirent_type(mode: u32) -> u8 {
        ((mode & S_IFMT) >> 12) as u8
    }
}

/// Commands and flags of `fcntl(2)`.
pub mod fcntl {
    #![expect(missing_docs, reason = "the names are those of fcntl(2)")]
    pub const F_DUPFD: u32 = 0;
    pub const F_GETFD: u32 = 1;
    pub const F_SETFD: u32 = 2;
    pub const F_GETFL: u32 = 3;
    pub const F_SETFL: u32 = 4;
    pub const F_GETLK: u32 = 5;
    pub const F_SETLK: u32 = 6;
    pub const F_SETLKW: u32 = 7;
    pub const F_SETOWN: u32 = 8;
    pub const F_GETOWN: u32 = 9;
    pub const F_SETSIG: u32 = 10;
    pub const F_GETSIG: u32 = 11;
    pub const F_OFD_GETLK: u32 = 36;
    pub const F_OFD_SETLK: u32 = 37;
    pub const F_OFD_SETLKW: u32 = 38;
    pub const F_DUPFD_CLOEXEC: u32 = 1030;
    pub const F_SETPIPE_SZ: u32 = 1031;
    pub const F_GETPIPE_SZ: u32 = 1032;
    pub const F_ADD_SEALS: u32 = 1033;
    pub const F_GET_SEALS: u32 = 1034;
    pub const FD_CLOEXEC: u64 = 1;
    pub const F_RDLCK: i16 = 0;
    pub const F_WRLCK: i16 = 1;
    pub const F_UNLCK: i16 = 2;
    pub const LOCK_SH: u32 = 1;
    pub const LOCK_EX: u32 = 2;
    pub const LOCK_NB: u32 = 4;
    pub const LOCK_UN: u32 = 8;
    pub const F_SEAL_SEAL: u32 = 0x01;
    pub const F_SEAL_SHRINK: u32 = 0x02;
    pub const F_SEAL_GROW: u32 = 0x04;
    pub const F_SEAL_WRITE: u32 = 0x08;
    pub const F_SEAL_FUTURE_WRITE: u32 = 0x10;
    pub const F_SEAL_EXEC: u32 = 0x20;
    pub const MFD_CLOEXEC: u32 = 1;
    pub const MFD_ALLOW_SEALING: u32 = 2;
    pub const MFD_HUGETLB: u32 = 4;
    pub const MFD_NOEXEC_SEAL: u32 = 8;
    pub const MFD_EXEC: u32 = 16;
    pub const FALLOC_FL_KEEP_SIZE: u32 = 0x01;
    pub const FALLOC_FL_PUNCH_HOLE: u32 = 0x02;
    pub const FALLOC_FL_ZERO_RANGE: u32 = 0x10;
    pub const SEEK_SET: u32 = 0;
    pub const SEEK_CUR: u32 = 1;
    pub const SEEK_END: u32 = 2;
    pub const SEEK_DATA: u32 = 3;
    pub const SEEK_HOLE: u32 = 4;
}

/// Makes a device number as user space encodes it (`makedev(3)`, the low 32 bits that Linux uses).
#[must_use]
pub const fn makedev(major: u32, minor: u32) -> u64 {
    ((minor & 0xff) as u64)
        | ((major & 0xfff) as u64) << 8
        | ((minor & !0xff) as u64) << 12
        | ((major & !0xfff) as u64) << 32
}

/// Returns the major number of a device number.
#[must_use]
pub const fn major(dev: u64) -> u32 {
    ((dev >> 8) & 0xfff) as u32 | ((dev >> 32) & !0xfff) as u32
}

/// Returns the minor number of a device number.
#[must_use]
pub const fn minor(dev: u64) -> u32 {
    (dev & 0xff) as u32 | ((dev >> 12) & 0xffff_ff00) as u32
}

/// `struct stat` of x86-64 as a value, with the creation time that `statx(2)` adds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of stat(3type)")]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blksize: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    /// Creation time; only `statx(2)` shows it.
    pub btime: Option<Timespec>,
}

/// Copies the bytes of each value to its offset.
macro_rules! put {
    ($out:ident, $($at:literal: $value:expr;)*) => {
        $({
            let bytes = $value;
            if let Some(dst) = $out.get_mut($at..$at + bytes.len()) {
                dst.copy_from_slice(&bytes);
            }
        })*
    };
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(src) = bytes.get(at..at.saturating_add(N)) {
        out.copy_from_slice(src);
    }
    out
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(get(bytes, at))
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(get(bytes, at))
}

impl Stat {
    /// Size of `struct stat` in bytes.
    pub const SIZE: usize = 144;
    /// Size of `struct statx` in bytes.
    pub const STATX_SIZE: usize = 256;
    /// `STATX_BASIC_STATS`.
    const STATX_BASIC: u32 = 0x7ff;
    /// `STATX_BTIME`.
    const STATX_BTIME: u32 = 0x800;

    /// Writes the layout of `stat(2)`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 144] {
        let mut b = [0; 144];
        put! { b,
            0: self.dev.to_le_bytes();
            8: self.ino.to_le_bytes();
            16: self.nlink.to_le_bytes();
            24: self.mode.to_le_bytes();
            28: self.uid.to_le_bytes();
            32: self.gid.to_le_bytes();
            40: self.rdev.to_le_bytes();
            48: self.size.to_le_bytes();
            56: self.blksize.to_le_bytes();
            64: self.blocks.to_le_bytes();
            72: self.atime.to_bytes();
            88: self.mtime.to_bytes();
            104: self.ctime.to_bytes();
        }
        b
    }

    /// Reads the layout of `stat(2)`.
    #[must_use]
    pub fn from_bytes(b: &[u8; 144]) -> Self {
        let time = |at| Timespec::from_bytes(&get(b, at));
        Self {
            dev: get_u64(b, 0),
            ino: get_u64(b, 8),
            nlink: get_u64(b, 16),
            mode: get_u32(b, 24),
            uid: get_u32(b, 28),
            gid: get_u32(b, 32),
            rdev: get_u64(b, 40),
            size: get_u64(b, 48),
            blksize: get_u64(b, 56),
            blocks: get_u64(b, 64),
            atime: time(72),
            mtime: time(88),
            ctime: time(104),
            btime: None,
        }
    }

    /// Writes the layout of `statx(2)`. As Linux's file systems do, it gives all basic fields whatever was asked for.
    #[must_use]
    pub fn to_statx(&self) -> [u8; 256] {
        let time = |t: Timespec| {
            let mut b = [0u8; 16];
            put! { b,
                0: t.sec.to_le_bytes();
                8: (t.nsec as u32).to_le_bytes();
            }
            b
        };
        let mask = Self::STATX_BASIC | self.btime.map_or(0, |_| Self::STATX_BTIME);
        let mut b = [0; 256];
        put! { b,
            0: mask.to_le_bytes();
            4: (self.blksize as u32).to_le_bytes();
            16: (self.nlink as u32).to_le_bytes();
            20: self.uid.to_le_bytes();
            24: self.gid.to_le_bytes();
            28: (self.mode as u16).to_le_bytes();
            32: self.ino.to_le_bytes();
            40: self.size.to_le_bytes();
            48: self.blocks.to_le_bytes();
            64: time(self.atime);
            80: time(self.btime.unwrap_or_default());
            96: time(self.ctime);
            112: time(self.mtime);
            128: major(self.rdev).to_le_bytes();
            132: minor(self.rdev).to_le_bytes();
            136: major(self.dev).to_le_bytes();
            140: minor(self.dev).to_le_bytes();
        }
        b
    }
}

/// `struct statfs` of x86-64.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statfs {
    /// `f_type`: the file system's magic number.
    pub magic: u64,
    /// Size of a block in bytes.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free (and available).
    pub blocks_free: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
    /// `f_fsid`.
    pub fsid: u64,
    /// `f_flags`: `ST_*` mount flags of `statvfs(3)` and `ST_VALID`.
    pub flags: u64,
}

impl Statfs {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 120;
    /// Longest name (`f_namelen`).
    const NAME_MAX: u64 = 255;

    /// Writes the layout of `statfs(2)`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 120] {
        let mut b = [0; 120];
        put! { b,
            0: self.magic.to_le_bytes();
            8: self.block_size.to_le_bytes();
            16: self.blocks.to_le_bytes();
            24: self.blocks_free.to_le_bytes();
            32: self.blocks_free.to_le_bytes();
            40: self.files.to_le_bytes();
            48: self.files_free.to_le_bytes();
            56: self.fsid.to_le_bytes();
            64: Self::NAME_MAX.to_le_bytes();
            72: self.block_size.to_le_bytes();
            80: self.flags.to_le_bytes();
        }
        b
    }
}

/// Writes one `struct linux_dirent64` into `out` if it fits in `room` more bytes, and returns whether it did.
/// `next_cookie` is `d_off`: where a later `lseek` and `getdents64` continue.
pub fn push_dirent(
    out: &mut Vec<u8>,
    room: usize,
    ino: u64,
    next_cookie: u64,
    d_type: u8,
    name: &[u8],
) -> bool {
    const HEADER: usize = 19;
    let len = (HEADER + name.len() + 1).next_multiple_of(8);
    let Ok(len16) = u16::try_from(len) else {
        return false;
    };
    if len > room {
        return false;
    }
    let end = out.len() + len;
    out.extend_from_slice(&ino.to_le_bytes());
    out.extend_from_slice(&next_cookie.to_le_bytes());
    out.extend_from_slice(&len16.to_le_bytes());
    out.push(d_type);
    out.extend_from_slice(name);
    out.resize(end, 0);
    true
}

/// `struct flock` of x86-64 (`fcntl(2)` locks).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of flock(3type)")]
pub struct Flock {
    pub kind: i16,
    pub whence: i16,
    pub start: i64,
    pub len: i64,
    pub pid: i32,
}

impl Flock {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 32;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; 32]) -> Self {
        Self {
            kind: i16::from_le_bytes(get(b, 0)),
            whence: i16::from_le_bytes(get(b, 2)),
            start: i64::from_le_bytes(get(b, 8)),
            len: i64::from_le_bytes(get(b, 16)),
            pid: i32::from_le_bytes(get(b, 24)),
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut b = [0; 32];
        put! { b,
            0: self.kind.to_le_bytes();
            2: self.whence.to_le_bytes();
            8: self.start.to_le_bytes();
            16: self.len.to_le_bytes();
            24: self.pid.to_le_bytes();
        }
        b
    }
}

#[cfg(test)]
mod tests;
