//! Attributes and sizes: `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`, `fallocate(2)` and their variants.

use alloc::sync::Arc;

use tyn_abi::fs::at::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use tyn_abi::fs::mode;
use tyn_abi::inotify::Inotify;
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Fd, UserVa};

use crate::cx::{Cx, SysResult};
use crate::file::OpenFile;
use crate::fs::at::{self, Found};
use crate::fs::{DirectoryFile, RegularFile, fs, now, watch};
use crate::transfer;
use crate::user_io;

const CWD: Fd = Fd(AT_FDCWD);

/// Returns the file behind a descriptor that is not `O_PATH`.
fn file_of(cx: &Cx<'_>, fd: Fd) -> Result<Found, Errno> {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    Ok(Found::Open(open))
}

fn chmod(found: &Found, permissions: u32) -> SysResult {
    let node = found.node();
    if node.mode()? & mode::S_IFMT == mode::S_IFLNK {
        return Err(Errno::EOPNOTSUPP);
    }
    let ino = node.tree_ino()?;
    let time = now();
    fs().with_tree(|t| t.set_mode(ino, permissions, time))?;
    found.tell(Inotify::ATTRIB);
    Ok(0)
}

/// `chmod(2)`.
pub(crate) fn sys_chmod(cx: &mut Cx<'_>, path: UserVa, permissions: u32) -> SysResult {
    sys_fchmodat2(cx, CWD, path, permissions, 0)
}

/// `fchmod(2)`.
pub(crate) fn sys_fchmod(cx: &mut Cx<'_>, fd: Fd, permissions: u32) -> SysResult {
    chmod(&file_of(cx, fd)?, permissions)
}

/// `fchmodat(2)` as the kernel has it: no flags.
pub(crate) fn sys_fchmodat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    permissions: u32,
) -> SysResult {
    sys_fchmodat2(cx, dir_fd, path, permissions, 0)
}

/// `fchmodat2(2)`.
pub(crate) fn sys_fchmodat2(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    permissions: u32,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    chmod(&at::find_to_change(cx, dir_fd, path, flags)?, permissions)
}

fn chown(found: &Found, uid: u32, gid: u32) -> SysResult {
    let given = |id: u32| Some(id).filter(|&id| id != u32::MAX);
    let ino = found.node().tree_ino()?;
    let time = now();
    fs().with_tree(|t| t.set_owner(ino, given(uid), given(gid), time))?;
    if given(uid).or(given(gid)).is_some() {
        found.tell(Inotify::ATTRIB);
    }
    Ok(0)
}

/// `chown(2)`.
pub(crate) fn sys_chown(cx: &mut Cx<'_>, path: UserVa, uid: u32, gid: u32) -> SysResult {
    sys_fchownat(cx, CWD, path, uid, gid, 0)
}

/// `lchown(2)`.
pub(crate) fn sys_lchown(cx: &mut Cx<'_>, path: UserVa, uid: u32, gid: u32) -> SysResult {
    sys_fchownat(cx, CWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)
}

/// `fchown(2)`.
pub(crate) fn sys_fchown(cx: &mut Cx<'_>, fd: Fd, uid: u32, gid: u32) -> SysResult {
    chown(&file_of(cx, fd)?, uid, gid)
}

/// `fchownat(2)`.
pub(crate) fn sys_fchownat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    uid: u32,
    gid: u32,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    chown(&at::find_to_change(cx, dir_fd, path, flags)?, uid, gid)
}

/// Access and modification time to be set; `None` leaves one as it is.
type Times = (Option<Timespec>, Option<Timespec>);

/// Reads `struct timespec[2]`, with `UTIME_NOW` and `UTIME_OMIT`; a null pointer is now.
fn read_times(at: UserVa) -> Result<Times, Errno> {
    const UTIME_NOW: i64 = 0x3fff_ffff;
    const UTIME_OMIT: i64 = 0x3fff_fffe;
    let present = now();
    if at.is_null() {
        return Ok((Some(present), Some(present)));
    }
    let one = |at: UserVa| {
        let time = Timespec::from_bytes(&user_io::read_bytes(at)?);
        match time.nsec {
            UTIME_NOW => Ok(Some(present)),
            UTIME_OMIT => Ok(None),
            0..1_000_000_000 => Ok(Some(time)),
            _ => Err(Errno::EINVAL),
        }
    };
    Ok((one(at)?, one(at.wrapping_add(16))?))
}

/// Reads `struct timeval[2]`.
fn read_timevals(at: UserVa) -> Result<Times, Errno> {
    if at.is_null() {
        return read_times(at);
    }
    let one = |at: UserVa| {
        let time = Timespec::from_bytes(&user_io::read_bytes(at)?);
        // The second word counts microseconds.
        if !(0..1_000_000).contains(&time.nsec) {
            return Err(Errno::EINVAL);
        }
        let nsec = time.nsec * 1000;
        Ok(Some(Timespec { nsec, ..time }))
    };
    Ok((one(at)?, one(at.wrapping_add(16))?))
}

fn set_times(found: &Found, (atime, mtime): Times) -> SysResult {
    let ino = found.node().tree_ino()?;
    let event = match (atime, mtime) {
        (Some(_), Some(_)) => Inotify::ATTRIB,
        (Some(_), None) => Inotify::ACCESS,
        (None, Some(_)) => Inotify::MODIFY,
        (None, None) => Inotify::empty(),
    };
    let body = fs().with_tree(|t| t.body(ino)).ok();
    // What a write left for later is settled first.
    let mtime = mtime.or(body.and_then(|b| b.take_modified()));
    if atime.is_none() && mtime.is_none() {
        return Ok(0);
    }
    let time = now();
    fs().with_tree(|t| t.set_times(ino, atime, mtime, time))?;
    found.tell(event);
    Ok(0)
}

/// `utimensat(2)`; without a path it is about the descriptor (`futimens(3)`).
pub(crate) fn sys_utimensat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    times: UserVa,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let times = read_times(times)?;
    let found = if path.is_null() && dir_fd != CWD {
        file_of(cx, dir_fd)?
    } else {
        at::find_to_change(cx, dir_fd, path, flags)?
    };
    set_times(&found, times)
}

/// `futimesat(2)`.
pub(crate) fn sys_futimesat(cx: &mut Cx<'_>, dir_fd: Fd, path: UserVa, times: UserVa) -> SysResult {
    let times = read_timevals(times)?;
    let found = if path.is_null() && dir_fd != CWD {
        file_of(cx, dir_fd)?
    } else {
        at::find_to_change(cx, dir_fd, path, 0)?
    };
    set_times(&found, times)
}

/// `utimes(2)`.
pub(crate) fn sys_utimes(cx: &mut Cx<'_>, path: UserVa, times: UserVa) -> SysResult {
    sys_futimesat(cx, CWD, path, times)
}

/// `utime(2)`.
pub(crate) fn sys_utime(cx: &mut Cx<'_>, path: UserVa, times: UserVa) -> SysResult {
    let read = if times.is_null() {
        read_times(times)?
    } else {
        let second = |at| {
            let sec = user_io::read_u64(at)?.cast_signed();
            Ok::<_, Errno>(Some(Timespec { sec, nsec: 0 }))
        };
        (second(times)?, second(times.wrapping_add(8))?)
    };
    set_times(&at::find_to_change(cx, CWD, path, 0)?, read)
}

fn size_of(len: i64) -> Result<u64, Errno> {
    u64::try_from(len).map_err(|_| Errno::EINVAL)
}

/// `truncate(2)`.
pub(crate) fn sys_truncate(cx: &mut Cx<'_>, path: UserVa, len: i64) -> SysResult {
    let len = size_of(len)?;
    let found = at::find_to_change(cx, CWD, path, 0)?;
    let node = found.node();
    let ino = match node.mode()? & mode::S_IFMT {
        mode::S_IFREG => node.tree_ino()?,
        mode::S_IFDIR => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    };
    let body = fs().with_tree(|t| t.body(ino))?;
    transfer::check_growth(cx, body.size(), len)?;
    let change = body.begin_change(cx.thread);
    body.truncate(len)?;
    drop(change);
    found.tell(Inotify::MODIFY);
    Ok(0)
}

/// `ftruncate(2)`.
pub(crate) fn sys_ftruncate(cx: &mut Cx<'_>, fd: Fd, len: i64) -> SysResult {
    let len = size_of(len)?;
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    let file = open.downcast::<RegularFile>().ok_or(Errno::EINVAL)?;
    if !open.is_writable() {
        return Err(Errno::EINVAL);
    }
    transfer::check_growth(cx, file.body().size(), len)?;
    let change = file.body().begin_change(cx.thread);
    file.body().set_size(len)?;
    drop(change);
    watch::open_file(&open, Inotify::MODIFY);
    Ok(0)
}

fn seekable(open: &Arc<OpenFile>) -> Result<(), Errno> {
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    if open.file.is_seekable() {
        Ok(())
    } else {
        Err(Errno::ESPIPE)
    }
}

/// `fallocate(2)`: plain, `FALLOC_FL_KEEP_SIZE`, `FALLOC_FL_PUNCH_HOLE`; other modes are `EOPNOTSUPP`, as on tmpfs.
pub(crate) fn sys_fallocate(cx: &mut Cx<'_>, fd: Fd, how: u32, offset: i64, len: i64) -> SysResult {
    let open = cx.open_file(fd)?;
    let (offset, len) = (size_of(offset)?, size_of(len)?);
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    if !open.is_writable() {
        return Err(Errno::EBADF);
    }
    seekable(&open)?;
    let file = open.downcast::<RegularFile>().ok_or(Errno::ENODEV)?;
    if how == 0 {
        transfer::check_growth(cx, file.body().size(), offset.saturating_add(len))?;
    }
    let change = file.body().begin_change(cx.thread);
    let result = file.body().allocate(how, offset, len);
    drop(change);
    if result == Err(Errno::EOPNOTSUPP) {
        cx.trace_unsupported("fallocate mode", u64::from(how));
    }
    result?;
    watch::open_file(&open, Inotify::MODIFY);
    Ok(0)
}

/// `posix_fadvise(2)`: everything is in memory, so advice changes nothing.
pub(crate) fn sys_fadvise64(
    cx: &mut Cx<'_>,
    fd: Fd,
    _offset: i64,
    len: i64,
    advice: u32,
) -> SysResult {
    const LAST_ADVICE: u32 = 5;
    let open = cx.open_file(fd)?;
    seekable(&open)?;
    if advice > LAST_ADVICE || len < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// `readahead(2)`: everything is in memory.
pub(crate) fn sys_readahead(cx: &mut Cx<'_>, fd: Fd, _offset: i64, _count: usize) -> SysResult {
    let open = cx.open_file(fd)?;
    if !open.is_readable() {
        return Err(Errno::EBADF);
    }
    if open.downcast::<RegularFile>().is_none() {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// Checks that `fsync(2)` has a meaning for a file.
fn check_syncable(cx: &Cx<'_>, fd: Fd) -> SysResult {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    let is_stored =
        open.downcast::<RegularFile>().is_some() || open.downcast::<DirectoryFile>().is_some();
    if is_stored { Ok(0) } else { Err(Errno::EINVAL) }
}

/// `fsync(2)`: as on tmpfs there is nothing to write back.
pub(crate) fn sys_fsync(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    check_syncable(cx, fd)
}

/// `fdatasync(2)`: as `fsync(2)`.
pub(crate) fn sys_fdatasync(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    check_syncable(cx, fd)
}

/// `sync(2)`: nothing to write back.
pub(crate) fn sys_sync(_cx: &mut Cx<'_>) -> SysResult {
    Ok(0)
}

/// `syncfs(2)`: nothing to write back.
pub(crate) fn sys_syncfs(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    cx.open_file(fd)?;
    Ok(0)
}

/// `sync_file_range(2)`: nothing to write back.
pub(crate) fn sys_sync_file_range(
    cx: &mut Cx<'_>,
    fd: Fd,
    offset: i64,
    len: i64,
    flags: u32,
) -> SysResult {
    const KNOWN: u32 = 7;
    if flags & !KNOWN != 0 || offset < 0 || len < 0 {
        return Err(Errno::EINVAL);
    }
    let open = cx.open_file(fd)?;
    seekable(&open)?;
    Ok(0)
}
