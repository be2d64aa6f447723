//! `stat(2)`, `statx(2)`, `statfs(2)`, `access(2)`, `readlink(2)` and their variants.

use tyn_abi::fs::at::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_DONT_SYNC, AT_STATX_FORCE_SYNC,
    AT_SYMLINK_NOFOLLOW,
};
use tyn_abi::fs::{Stat, Statfs, mode};
use tyn_abi::{Errno, Fd, PAGE_SIZE, UserVa};

use crate::cx::{Cx, SysResult};
use crate::fs::{Node, at, dev, fs};
use crate::user_io;

const CWD: Fd = Fd(AT_FDCWD);

fn write_stat(to: UserVa, stat: &Stat) -> SysResult {
    user_io::write_bytes(to, &stat.to_bytes())?;
    Ok(0)
}

/// `stat(2)`.
pub(crate) fn sys_stat(cx: &mut Cx<'_>, path: UserVa, buf: UserVa) -> SysResult {
    sys_newfstatat(cx, CWD, path, buf, 0)
}

/// `lstat(2)`.
pub(crate) fn sys_lstat(cx: &mut Cx<'_>, path: UserVa, buf: UserVa) -> SysResult {
    sys_newfstatat(cx, CWD, path, buf, AT_SYMLINK_NOFOLLOW)
}

/// `fstat(2)`.
pub(crate) fn sys_fstat(cx: &mut Cx<'_>, fd: Fd, buf: UserVa) -> SysResult {
    let stat = cx.open_file(fd)?.file.stat()?;
    user_io::write_bytes(buf, &stat)?;
    Ok(0)
}

/// `fstatat(2)`.
pub(crate) fn sys_newfstatat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    buf: UserVa,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let node = at::find(cx, dir_fd, path, flags)?;
    write_stat(buf, &node.stat()?)
}

/// `statx(2)`. All basic fields are given, whatever was asked for, and the creation time where there is one.
pub(crate) fn sys_statx(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    flags: u32,
    mask: u32,
    buf: UserVa,
) -> SysResult {
    const RESERVED: u32 = 0x8000_0000;
    const SYNC: u32 = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | SYNC;
    if mask & RESERVED != 0 || flags & SYNC == SYNC || flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let node = at::find(cx, dir_fd, path, flags)?;
    user_io::write_bytes(buf, &node.stat()?.to_statx())?;
    Ok(0)
}

/// The facts of the file system with this device number.
fn statfs_of(device: u64) -> Statfs {
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    const TMPFS: u64 = 0x0102_1994;
    const DEVPTS: u64 = 0x1cd1;
    const PIPEFS: u64 = 0x5049_5045;
    const SOCKFS: u64 = 0x534f_434b;
    const ANON: u64 = 0x0904_1934;
    const ST_VALID: u64 = 0x20;
    const ST_RDONLY: u64 = 1;
    const ST_NOATIME: u64 = 0x400;
    let virtual_of = |magic| Statfs {
        magic,
        block_size: PAGE_SIZE as u64,
        fsid: device,
        flags: ST_VALID,
        ..Statfs::default()
    };
    match device {
        dev::PROC => virtual_of(PROC),
        dev::PTS => Statfs {
            flags: ST_VALID | ST_NOATIME,
            ..virtual_of(DEVPTS)
        },
        dev::SYS => Statfs {
            flags: ST_VALID | ST_RDONLY,
            ..virtual_of(SYSFS)
        },
        dev::ROOT | dev::DEV | dev::SHM | dev::ANONYMOUS => {
            let quota = fs().quota();
            Statfs {
                blocks: quota.page_limit,
                blocks_free: quota.page_limit.saturating_sub(quota.pages_used()),
                files: quota.inode_limit,
                files_free: quota.inode_limit.saturating_sub(quota.inodes_used()),
                flags: ST_VALID | ST_NOATIME,
                ..virtual_of(TMPFS)
            }
        }
        // See `crate::anon`.
        14 => virtual_of(PIPEFS),
        8 => virtual_of(SOCKFS),
        _ => virtual_of(ANON),
    }
}

fn statfs(node: &Node, buf: UserVa) -> SysResult {
    user_io::write_bytes(buf, &statfs_of(node.dev()).to_bytes())?;
    Ok(0)
}

/// `statfs(2)`.
pub(crate) fn sys_statfs(cx: &mut Cx<'_>, path: UserVa, buf: UserVa) -> SysResult {
    let node = at::find(cx, CWD, path, 0)?;
    statfs(&node, buf)
}

/// `fstatfs(2)`.
pub(crate) fn sys_fstatfs(cx: &mut Cx<'_>, fd: Fd, buf: UserVa) -> SysResult {
    let open = cx.open_file(fd)?;
    statfs(&Node::Open(open), buf)
}

/// `access(2)`.
pub(crate) fn sys_access(cx: &mut Cx<'_>, path: UserVa, wanted: u32) -> SysResult {
    sys_faccessat2(cx, CWD, path, wanted, 0)
}

/// `faccessat(2)` as the kernel has it: no flags.
pub(crate) fn sys_faccessat(cx: &mut Cx<'_>, dir_fd: Fd, path: UserVa, wanted: u32) -> SysResult {
    sys_faccessat2(cx, dir_fd, path, wanted, 0)
}

/// `faccessat2(2)`. Everybody is root: reading and writing is allowed, executing needs an execute bit.
pub(crate) fn sys_faccessat2(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    wanted: u32,
    flags: u32,
) -> SysResult {
    const X_OK: u32 = 1;
    const W_OK: u32 = 2;
    if wanted & !7 != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let node = at::find(cx, dir_fd, path, flags)?;
    let file_mode = node.mode()?;
    let is_directory = file_mode & mode::S_IFMT == mode::S_IFDIR;
    if wanted & X_OK != 0 && !is_directory && file_mode & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    if wanted & W_OK != 0 && matches!(node, Node::Sys(_)) {
        return Err(Errno::EROFS);
    }
    Ok(0)
}

/// `readlink(2)`.
pub(crate) fn sys_readlink(cx: &mut Cx<'_>, path: UserVa, buf: UserVa, size: i32) -> SysResult {
    sys_readlinkat(cx, CWD, path, buf, size)
}

/// `readlinkat(2)`; an empty path is a link opened with `O_PATH | O_NOFOLLOW`.
pub(crate) fn sys_readlinkat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    buf: UserVa,
    size: i32,
) -> SysResult {
    let size = usize::try_from(size)
        .ok()
        .filter(|&s| s > 0)
        .ok_or(Errno::EINVAL)?;
    let is_empty = user_io::read_bytes::<1>(path)? == [0];
    let node = at::find(cx, dir_fd, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let is_link = node.mode()? & mode::S_IFMT == mode::S_IFLNK;
    if is_empty && !is_link {
        return Err(Errno::ENOENT);
    }
    let target = node.read_link()?;
    let len = target.len().min(size);
    user_io::write_bytes(buf, target.get(..len).unwrap_or_default())?;
    Ok(len as u64)
}
