//! `read(2)`, `write(2)` and their variants; `lseek(2)`, `sendfile(2)`, `copy_file_range(2)`.

use tyn_abi::fs::fcntl::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use tyn_abi::fs::{Stat, mode};
use tyn_abi::inotify::Inotify;
use tyn_abi::{Errno, Fd, Sink, Source, UserVa};

use crate::cx::{Cx, SysResult};
use crate::file::{At, OpenFile, flags};
use crate::fs::{DirectoryFile, RegularFile, watch};
use crate::sched;
use crate::transfer::{self, Position, Wait};
use crate::user_io::{self, MAX_RW_COUNT, UserBuffers};

/// Bytes that move at a time from file to file.
const COPY_CHUNK: usize = 64 * 1024;

fn done(count: usize) -> u64 {
    count as u64
}

/// Reads the offset argument of `pread` and `pwrite`.
fn offset_of(raw: i64) -> Result<Position, Errno> {
    let offset = u64::try_from(raw).map_err(|_| Errno::EINVAL)?;
    Ok(Position::Offset(offset))
}

/// `read(2)`.
pub(crate) fn sys_read(cx: &mut Cx<'_>, fd: Fd, buf: UserVa, count: usize) -> SysResult {
    let open = cx.open_file(fd)?;
    let mut dst = UserBuffers::single(buf, count);
    transfer::read(cx, &open, Position::Current, &mut dst, Wait::Allowed).map(done)
}

/// `write(2)`.
pub(crate) fn sys_write(cx: &mut Cx<'_>, fd: Fd, buf: UserVa, count: usize) -> SysResult {
    let open = cx.open_file(fd)?;
    let mut src = UserBuffers::single(buf, count);
    transfer::write(cx, &open, Position::Current, &mut src, Wait::Allowed).map(done)
}

/// `pread(2)`.
pub(crate) fn sys_pread64(
    cx: &mut Cx<'_>,
    fd: Fd,
    buf: UserVa,
    count: usize,
    offset: i64,
) -> SysResult {
    let position = offset_of(offset)?;
    let open = cx.open_file(fd)?;
    let mut dst = UserBuffers::single(buf, count);
    transfer::read(cx, &open, position, &mut dst, Wait::Allowed).map(done)
}

/// `pwrite(2)`.
pub(crate) fn sys_pwrite64(
    cx: &mut Cx<'_>,
    fd: Fd,
    buf: UserVa,
    count: usize,
    offset: i64,
) -> SysResult {
    let position = offset_of(offset)?;
    let open = cx.open_file(fd)?;
    let mut src = UserBuffers::single(buf, count);
    transfer::write(cx, &open, position, &mut src, Wait::Allowed).map(done)
}

/// Reads the vector of a `readv`; as on Linux the access mode is checked first.
fn read_vector(open: &OpenFile, iov: UserVa, count: usize) -> Result<UserBuffers, Errno> {
    if !open.is_readable() {
        return Err(Errno::EBADF);
    }
    UserBuffers::from_iovec(iov, count)
}

/// Reads the vector of a `writev`.
fn write_vector(open: &OpenFile, iov: UserVa, count: usize) -> Result<UserBuffers, Errno> {
    if !open.is_writable() {
        return Err(Errno::EBADF);
    }
    UserBuffers::from_iovec(iov, count)
}

/// Returns whether a vector has no bytes: then it does not come to the file, which may make something of a transfer of none.
fn is_void(buffers: &UserBuffers) -> bool {
    Sink::remaining(buffers) == 0
}

/// `readv(2)`.
pub(crate) fn sys_readv(cx: &mut Cx<'_>, fd: Fd, iov: UserVa, count: usize) -> SysResult {
    let open = cx.open_file(fd)?;
    let mut dst = read_vector(&open, iov, count)?;
    if is_void(&dst) {
        return Ok(0);
    }
    transfer::read(cx, &open, Position::Current, &mut dst, Wait::Allowed).map(done)
}

/// `writev(2)`.
pub(crate) fn sys_writev(cx: &mut Cx<'_>, fd: Fd, iov: UserVa, count: usize) -> SysResult {
    let open = cx.open_file(fd)?;
    let src = write_vector(&open, iov, count)?;
    if is_void(&src) {
        return Ok(0);
    }
    transfer::write_vector(cx, &open, Position::Current, src, Wait::Allowed).map(done)
}

/// `preadv(2)`; the offset is in the fourth argument, the fifth is for 32-bit programs.
pub(crate) fn sys_preadv(
    cx: &mut Cx<'_>,
    fd: Fd,
    iov: UserVa,
    count: usize,
    offset: i64,
) -> SysResult {
    let position = offset_of(offset)?;
    let open = cx.open_file(fd)?;
    let mut dst = read_vector(&open, iov, count)?;
    transfer::read(cx, &open, position, &mut dst, Wait::Allowed).map(done)
}

/// `pwritev(2)`.
pub(crate) fn sys_pwritev(
    cx: &mut Cx<'_>,
    fd: Fd,
    iov: UserVa,
    count: usize,
    offset: i64,
) -> SysResult {
    let position = offset_of(offset)?;
    let open = cx.open_file(fd)?;
    let src = write_vector(&open, iov, count)?;
    transfer::write_vector(cx, &open, position, src, Wait::Allowed).map(done)
}

/// Flags of `preadv2(2)` and `pwritev2(2)`.
mod rwf {
    pub(super) const HIPRI: u32 = 1;
    pub(super) const DSYNC: u32 = 2;
    pub(super) const SYNC: u32 = 4;
    pub(super) const NOWAIT: u32 = 8;
    pub(super) const APPEND: u32 = 16;
}

/// Reads offset and flags of the second versions; an offset of -1 is the current position.
fn position_and_wait(
    cx: &Cx<'_>,
    offset: i64,
    flags: u32,
    known: u32,
) -> Result<(Position, Wait), Errno> {
    if flags & !known != 0 {
        cx.trace_unsupported("RWF flags", u64::from(flags & !known));
        return Err(Errno::EOPNOTSUPP);
    }
    let position = if flags & rwf::APPEND != 0 {
        Position::End
    } else if offset == -1 {
        Position::Current
    } else {
        offset_of(offset)?
    };
    let wait = if flags & rwf::NOWAIT == 0 {
        Wait::Allowed
    } else {
        Wait::Never
    };
    Ok((position, wait))
}

/// `preadv2(2)`: `RWF_HIPRI` and `RWF_NOWAIT`; files in memory never wait.
pub(crate) fn sys_preadv2(
    cx: &mut Cx<'_>,
    fd: Fd,
    iov: UserVa,
    count: usize,
    offset: i64,
    _offset_high: u64,
    flags: u32,
) -> SysResult {
    let (position, wait) = position_and_wait(cx, offset, flags, rwf::HIPRI | rwf::NOWAIT)?;
    let open = cx.open_file(fd)?;
    let mut dst = read_vector(&open, iov, count)?;
    transfer::read(cx, &open, position, &mut dst, wait).map(done)
}

/// `pwritev2(2)`: `RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`, `RWF_NOWAIT`, `RWF_APPEND`.
pub(crate) fn sys_pwritev2(
    cx: &mut Cx<'_>,
    fd: Fd,
    iov: UserVa,
    count: usize,
    offset: i64,
    _offset_high: u64,
    flags: u32,
) -> SysResult {
    let known = rwf::HIPRI | rwf::DSYNC | rwf::SYNC | rwf::NOWAIT | rwf::APPEND;
    let (position, wait) = position_and_wait(cx, offset, flags, known)?;
    let open = cx.open_file(fd)?;
    let src = write_vector(&open, iov, count)?;
    transfer::write_vector(cx, &open, position, src, wait).map(done)
}

/// `lseek(2)`, with `SEEK_DATA` and `SEEK_HOLE`. A directory's positions are those that `getdents64(2)` gave.
pub(crate) fn sys_lseek(cx: &mut Cx<'_>, fd: Fd, offset: i64, whence: u32) -> SysResult {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    if whence > SEEK_HOLE {
        return Err(Errno::EINVAL);
    }
    if open.file.ignores_seek() {
        return Ok(0);
    }
    if !open.file.is_seekable() {
        return Err(Errno::ESPIPE);
    }
    let _position = open.position_lock.lock(cx.thread);
    let new = seek(&open, open.offset(), offset, whence)?;
    open.set_offset(new);
    Ok(new)
}

fn seek(open: &OpenFile, current: u64, offset: i64, whence: u32) -> Result<u64, Errno> {
    let from = |base: u64| {
        base.checked_add_signed(offset)
            .filter(|&at| i64::try_from(at).is_ok())
            .ok_or(Errno::EINVAL)
    };
    let wanted = || u64::try_from(offset).map_err(|_| Errno::ENXIO);
    match whence {
        SEEK_SET => from(0),
        SEEK_CUR => from(current),
        SEEK_END if open.downcast::<DirectoryFile>().is_some() => Err(Errno::EINVAL),
        SEEK_END => from(open.file.size()),
        SEEK_DATA | SEEK_HOLE => match open.downcast::<RegularFile>() {
            Some(file) if whence == SEEK_DATA => file.body().seek_data(wanted()?),
            Some(file) => file.body().seek_hole(wanted()?),
            // Without knowledge of holes: all is data.
            None => {
                let size = open.file.size();
                let at = wanted().ok().filter(|&at| at < size).ok_or(Errno::ENXIO)?;
                Ok(if whence == SEEK_DATA { at } else { size })
            }
        },
        _ => Err(Errno::EINVAL),
    }
}

/// Copies up to `count` bytes from the seekable file `from` at `offset` to `to`; returns the count.
fn copy(
    cx: &Cx<'_>,
    from: &OpenFile,
    offset: u64,
    to: &OpenFile,
    to_position: Position,
    count: usize,
) -> Result<usize, Errno> {
    let count = count.min(MAX_RW_COUNT);
    let mut buffer = alloc::vec![0u8; count.min(COPY_CHUNK)];
    let mut total = 0;
    while total < count {
        let wanted = buffer.len().min(count - total);
        let mut dst = buffer.get_mut(..wanted).ok_or(Errno::EINVAL)?;
        let at = offset.checked_add(total as u64).ok_or(Errno::EINVAL)?;
        let result = from.file.read(At::Offset(at), &mut dst as &mut dyn Sink);
        let got = match result {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        };
        let mut src = buffer.get(..got).ok_or(Errno::EINVAL)?;
        let position = match to_position {
            Position::Offset(start) => Position::Offset(start.saturating_add(total as u64)),
            other => other,
        };
        let src = &mut src as &mut dyn Source;
        match transfer::write_untold(cx, to, position, src, Wait::Allowed) {
            Ok(put) => {
                total += put;
                sched::pause_point(cx.thread);
                if put < got || cx.thread.has_deliverable_signal() {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    if total > 0 {
        watch::open_file(from, Inotify::ACCESS);
        watch::open_file(to, Inotify::MODIFY);
    }
    Ok(total)
}

/// `sendfile(2)`. Deviation: the input must be seekable (`EINVAL`).
pub(crate) fn sys_sendfile(
    cx: &mut Cx<'_>,
    out_fd: Fd,
    in_fd: Fd,
    offset: UserVa,
    count: usize,
) -> SysResult {
    let from = cx.open_file(in_fd)?;
    let to = cx.open_file(out_fd)?;
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    if !from.file.is_seekable() || to.flags() & flags::O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    if offset.is_null() {
        let start = from.offset();
        let count = copy(cx, &from, start, &to, Position::Current, count)?;
        from.set_offset(start + count as u64);
        return Ok(done(count));
    }
    let start = user_io::read_u64(offset)?;
    if i64::try_from(start).is_err() {
        return Err(Errno::EINVAL);
    }
    let count = copy(cx, &from, start, &to, Position::Current, count)?;
    user_io::write_bytes(offset, &(start + count as u64).to_le_bytes())?;
    Ok(done(count))
}

/// Checks that a file is a regular one, as `copy_file_range(2)` demands.
fn check_regular(open: &OpenFile) -> Result<(), Errno> {
    match Stat::from_bytes(&open.file.stat()?).mode & mode::S_IFMT {
        mode::S_IFREG => Ok(()),
        mode::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

/// Reads an optional offset argument; `None` is the description's own position.
fn read_offset(at: UserVa) -> Result<Option<u64>, Errno> {
    if at.is_null() {
        return Ok(None);
    }
    let offset = user_io::read_u64(at)?;
    i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Some(offset))
}

/// `copy_file_range(2)`.
pub(crate) fn sys_copy_file_range(
    cx: &mut Cx<'_>,
    in_fd: Fd,
    in_offset: UserVa,
    out_fd: Fd,
    out_offset: UserVa,
    count: usize,
    options: u32,
) -> SysResult {
    let from = cx.open_file(in_fd)?;
    let to = cx.open_file(out_fd)?;
    let (in_at, out_at) = (read_offset(in_offset)?, read_offset(out_offset)?);
    if options != 0 {
        return Err(Errno::EINVAL);
    }
    check_regular(&from)?;
    check_regular(&to)?;
    if !from.is_readable() || !to.is_writable() || to.flags() & flags::O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let in_start = in_at.unwrap_or_else(|| from.offset());
    let out_start = out_at.unwrap_or_else(|| to.offset());
    let span = count.min(MAX_RW_COUNT) as u64;
    let overlaps =
        in_start < out_start.saturating_add(span) && out_start < in_start.saturating_add(span);
    let is_same = same_file(&from, &to);
    if is_same && overlaps {
        return Err(Errno::EINVAL);
    }
    let position = Position::Offset(out_start);
    let copied = copy(cx, &from, in_start, &to, position, count)?;
    for (at, pointer, start, open) in [
        (in_at, in_offset, in_start, &from),
        (out_at, out_offset, out_start, &to),
    ] {
        let end = start + copied as u64;
        match at {
            Some(_) => user_io::write_bytes(pointer, &end.to_le_bytes())?,
            None => open.set_offset(end),
        }
    }
    Ok(done(copied))
}

fn same_file(a: &OpenFile, b: &OpenFile) -> bool {
    match (a.downcast::<RegularFile>(), b.downcast::<RegularFile>()) {
        (Some(a), Some(b)) => a.ino() == b.ino(),
        _ => false,
    }
}
