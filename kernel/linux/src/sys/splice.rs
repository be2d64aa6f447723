//! Moving bytes through pipes: `splice(2)`, `tee(2)`, `vmsplice(2)`. The bytes are copied; pages do not change owners.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Events, Fd, Sink, UserVa};

use crate::cx::{Cx, SysResult};
use crate::file::{OpenFile, flags};
use crate::pipe::PipeEnd;
use crate::transfer::{self, Position, Wait};
use crate::user_io::{self, UserBuffers};
use crate::wait::Interrupted;

const MOVE: u32 = 1;
const NONBLOCK: u32 = 2;
const MORE: u32 = 4;
const GIFT: u32 = 8;
const ALL: u32 = MOVE | NONBLOCK | MORE | GIFT;

/// Most bytes that one call moves.
const CHUNK: usize = 64 * 1024;

fn wait_of(options: u32) -> Wait {
    if options & NONBLOCK == 0 {
        Wait::Allowed
    } else {
        Wait::Never
    }
}

/// A side of a `splice(2)` that is not the pipe: an offset argument, or the description's own position.
fn position_of(open: &OpenFile, at: UserVa) -> Result<Position, Errno> {
    if at.is_null() {
        return Ok(Position::Current);
    }
    if !open.file.is_seekable() {
        return Err(Errno::EINVAL);
    }
    let offset = user_io::read_u64(at)?;
    i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    Ok(Position::Offset(offset))
}

/// Stores where an offset argument is now.
fn advance(at: UserVa, position: Position, count: usize) -> SysResult {
    if let Position::Offset(offset) = position {
        user_io::write_bytes(at, &(offset + count as u64).to_le_bytes())?;
    }
    Ok(count as u64)
}

/// Returns how many bytes a pipe takes now, waiting until that is more than none.
fn room(cx: &Cx<'_>, pipe: &PipeEnd, may_wait: bool) -> Result<usize, Errno> {
    let attempt = || match pipe.room() {
        Ok(0) => None,
        other => Some(other),
    };
    until(cx, pipe, Events::OUT | Events::WRNORM, may_wait, attempt)
}

/// Tries until something comes of it.
fn until<T>(
    cx: &Cx<'_>,
    pipe: &PipeEnd,
    interest: Events,
    may_wait: bool,
    mut attempt: impl FnMut() -> Option<Result<T, Errno>>,
) -> Result<T, Errno> {
    use crate::file::File as _;
    let queue = pipe.wait_queue().filter(|_| may_wait);
    let Some(queue) = queue else {
        return attempt().unwrap_or(Err(Errno::EAGAIN));
    };
    cx.block_on(&[queue], interest, None, attempt)
        .map_err(Interrupted::or_restart)?
}

fn may_wait(open: &OpenFile, options: u32) -> bool {
    options & NONBLOCK == 0 && !open.is_nonblocking()
}

/// `splice(2)`: flags `SPLICE_F_NONBLOCK`; the others are hints.
pub(crate) fn sys_splice(
    cx: &mut Cx<'_>,
    in_fd: Fd,
    in_offset: UserVa,
    out_fd: Fd,
    out_offset: UserVa,
    len: usize,
    options: u32,
) -> SysResult {
    if len == 0 {
        return Ok(0);
    }
    if options & !ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (cx.open_file(in_fd)?, cx.open_file(out_fd)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    let (in_pipe, out_pipe) = (from.downcast::<PipeEnd>(), to.downcast::<PipeEnd>());
    if in_pipe.is_some() && !in_offset.is_null() || out_pipe.is_some() && !out_offset.is_null() {
        return Err(Errno::ESPIPE);
    }
    match (in_pipe, out_pipe) {
        (Some(a), Some(b)) if a.is_same_pipe(b) => Err(Errno::EINVAL),
        (Some(pipe), _) => {
            let position = position_of(&to, out_offset)?;
            let count = drain(cx, &from, pipe, &to, position, (len, options))?;
            advance(out_offset, position, count)
        }
        (None, Some(pipe)) => {
            let position = position_of(&from, in_offset)?;
            let room = room(cx, pipe, may_wait(&to, options))?;
            let mut bytes = alloc::vec![0; len.min(room).min(CHUNK)];
            let mut dst = bytes.as_mut_slice();
            let wait = wait_of(options);
            let got = transfer::read(cx, &from, position, &mut dst as &mut dyn Sink, wait)?;
            let mut src = bytes.get(..got).unwrap_or_default();
            transfer::write(cx, &to, Position::Current, &mut src, Wait::Allowed)?;
            advance(in_offset, position, got)
        }
        (None, None) => Err(Errno::EINVAL),
    }
}

/// Moves bytes out of a pipe; what the other side does not take goes back.
fn drain(
    cx: &Cx<'_>,
    from: &Arc<OpenFile>,
    pipe: &PipeEnd,
    to: &Arc<OpenFile>,
    position: Position,
    (len, options): (usize, u32),
) -> Result<usize, Errno> {
    if to.flags() & flags::O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let mut limit = len.min(CHUNK);
    if let Some(out) = to.downcast::<PipeEnd>() {
        limit = limit.min(room(cx, out, may_wait(to, options))?);
    }
    let mut bytes = alloc::vec![0; limit];
    let mut dst = bytes.as_mut_slice();
    let wait = wait_of(options);
    let got = transfer::read(cx, from, Position::Current, &mut dst as &mut dyn Sink, wait)?;
    let taken = bytes.get(..got).unwrap_or_default();
    let mut src = taken;
    let put = transfer::write(cx, to, position, &mut src, Wait::Allowed);
    let rest = taken.get(put.unwrap_or(0)..).unwrap_or_default();
    pipe.put_back(rest);
    put
}

/// `tee(2)`.
pub(crate) fn sys_tee(
    cx: &mut Cx<'_>,
    in_fd: Fd,
    out_fd: Fd,
    len: usize,
    options: u32,
) -> SysResult {
    if options & !ALL != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (cx.open_file(in_fd)?, cx.open_file(out_fd)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF);
    }
    let (source, target) = match (from.downcast::<PipeEnd>(), to.downcast::<PipeEnd>()) {
        (Some(source), Some(target)) if !source.is_same_pipe(target) => (source, target),
        _ => return Err(Errno::EINVAL),
    };
    let interest = Events::IN | Events::RDNORM;
    let ready = || source.peek(1).map(|found| found.map(drop)).transpose();
    until(cx, source, interest, may_wait(&from, options), ready)?;
    let room = room(cx, target, may_wait(&to, options))?;
    let bytes: Vec<u8> = source.peek(len.min(room).min(CHUNK))?.unwrap_or_default();
    let mut src = bytes.as_slice();
    transfer::write(cx, &to, Position::Current, &mut src, Wait::Allowed).map(|count| count as u64)
}

/// `vmsplice(2)`: as `writev(2)` or `readv(2)` on a pipe.
pub(crate) fn sys_vmsplice(
    cx: &mut Cx<'_>,
    fd: Fd,
    iov: UserVa,
    count: usize,
    options: u32,
) -> SysResult {
    if options & !ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let open = cx.open_file(fd)?;
    if open.downcast::<PipeEnd>().is_none() {
        return Err(Errno::EBADF);
    }
    let mut buffers = UserBuffers::from_iovec(iov, count)?;
    let wait = wait_of(options);
    let moved = if open.is_writable() {
        transfer::write(cx, &open, Position::Current, &mut buffers, wait)?
    } else {
        transfer::read(cx, &open, Position::Current, &mut buffers, wait)?
    };
    Ok(moved as u64)
}
