//! Reading and writing through a descriptor: positions, waiting, whole writes. The same for every kind of file and every
//! call of the family, vectored or not.

use tyn_abi::inotify::Inotify;
use tyn_abi::socket::MsgFlags;
use tyn_abi::{Errno, Events, Nanos, Sink, Source};
use tyn_hal::time;

use crate::cx::Cx;
use crate::file::{At, MAX_VALUE_LEN, OpenFile, flags};
use crate::fs::{RegularFile, watch};
use crate::sched;
use crate::socket::{Direction, Socket};
use crate::user_io::UserBuffers;
use crate::wait::WaitQueue;

const SIGPIPE: u8 = 13;
const SIGXFSZ: u8 = 25;

/// Where a transfer takes place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Position {
    /// At the description's own position, which moves along (`read`, `write`).
    Current,
    /// At this offset (`pread`, `pwrite`).
    Offset(u64),
    /// At the end (`RWF_APPEND`); the description's own position stays.
    End,
}

/// Whether a transfer may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Unless the description is non-blocking.
    Allowed,
    /// Never (`RWF_NOWAIT`).
    Never,
}

/// Reads into `dst` what there is, waiting for the first byte.
///
/// # Errors
/// As `read(2)` and `pread(2)`.
pub(crate) fn read(
    cx: &Cx<'_>,
    open: &OpenFile,
    position: Position,
    dst: &mut dyn Sink,
    wait: Wait,
) -> Result<usize, Errno> {
    let count = read_some(cx, open, position, dst, wait)?;
    if count > 0 {
        watch::open_file(open, Inotify::ACCESS);
    }
    Ok(count)
}

fn read_some(
    cx: &Cx<'_>,
    open: &OpenFile,
    position: Position,
    dst: &mut dyn Sink,
    wait: Wait,
) -> Result<usize, Errno> {
    let is_seekable = open.file.is_seekable();
    if !is_seekable && position != Position::Current {
        return Err(Errno::ESPIPE);
    }
    if !open.is_readable() {
        return Err(Errno::EBADF);
    }
    if is_seekable {
        let Position::Offset(offset) = position else {
            let _position = open.position_lock.lock(cx.thread);
            let offset = open.offset();
            let count = read_seekable(cx, open, offset, dst)?;
            open.set_offset(offset + count as u64);
            return Ok(count);
        };
        return read_seekable(cx, open, offset, dst);
    }
    let has_meaning = || open.file.as_socket().is_some() || open.file.has_least_read();
    if dst.remaining() == 0 && !has_meaning() {
        return Ok(0);
    }
    let may_wait = wait == Wait::Allowed && !open.is_nonblocking();
    if may_wait && let Some(result) = open.file.read_patiently(cx, dst) {
        return result;
    }
    if let Some(socket) = open.file.as_socket().filter(|_| dst.remaining() > 0) {
        return read_socket(cx, open, socket, dst, wait, may_wait);
    }
    waiting(cx, open, Direction::Receive, wait, || {
        open.file.read(At::Stream, dst)
    })
}

/// Reads from a socket, which is to know whether anybody waits. Who does not get enough in time gets what there is.
fn read_socket(
    cx: &Cx<'_>,
    open: &OpenFile,
    socket: &dyn Socket,
    dst: &mut dyn Sink,
    wait: Wait,
    may_wait: bool,
) -> Result<usize, Errno> {
    let mut receive = |flags| socket.receive(dst, flags).map(|incoming| incoming.count);
    if !may_wait {
        return receive(MsgFlags::DONTWAIT);
    }
    waiting(cx, open, Direction::Receive, wait, || {
        receive(MsgFlags::empty())
    })
    .or_else(|error| match error {
        Errno::EAGAIN | Errno::EINTR | Errno::ERESTARTSYS => {
            receive(MsgFlags::DONTWAIT).map_err(|_| error)
        }
        error => Err(error),
    })
}

/// Writes all of `src`, waiting for room; the count is short when waiting is not allowed, or on an error after a part.
///
/// # Errors
/// As `write(2)` and `pwrite(2)`. `EPIPE` has raised SIGPIPE.
pub(crate) fn write(
    cx: &Cx<'_>,
    open: &OpenFile,
    position: Position,
    src: &mut dyn Source,
    wait: Wait,
) -> Result<usize, Errno> {
    let count = write_untold(cx, open, position, src, wait)?;
    if count > 0 {
        watch::open_file(open, Inotify::MODIFY);
    }
    Ok(count)
}

/// As [`write`], but those who watch the file are not told.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_untold(
    cx: &Cx<'_>,
    open: &OpenFile,
    position: Position,
    src: &mut dyn Source,
    wait: Wait,
) -> Result<usize, Errno> {
    let is_seekable = open.file.is_seekable();
    if !is_seekable && matches!(position, Position::Offset(_)) {
        return Err(Errno::ESPIPE);
    }
    if !open.is_writable() {
        return Err(Errno::EBADF);
    }
    if is_seekable {
        let Some(room) = file_room(cx, open, position) else {
            return write_seekable(cx, open, position, src);
        };
        if room == 0 && src.remaining() > 0 {
            return Err(too_large(cx));
        }
        let mut part = Part { src, room };
        return write_seekable(cx, open, position, &mut part);
    }
    if let Some(len) = open.file.value_len() {
        return write_value(cx, open, src, len, wait);
    }
    let has_meaning = || open.file.as_socket().is_some() || open.file.has_empty_writes();
    if src.remaining() == 0 && !has_meaning() {
        return Ok(0);
    }
    let mut done = 0;
    loop {
        let written = waiting(cx, open, Direction::Send, wait, || {
            open.file.write(At::Stream, src)
        });
        match written {
            Ok(count) => {
                done += count;
                if src.remaining() == 0 || count == 0 {
                    return Ok(done);
                }
                // A reader on another CPU may keep this up for long.
                sched::pause_point(cx.thread);
                if cx.thread.is_killed() {
                    return Ok(done);
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => {
                if errno == Errno::EPIPE {
                    cx.raise(SIGPIPE);
                }
                return Err(errno);
            }
        }
    }
}

/// Writes the one value of `len` bytes that `src` is.
fn write_value(
    cx: &Cx<'_>,
    open: &OpenFile,
    src: &mut dyn Source,
    len: usize,
    wait: Wait,
) -> Result<usize, Errno> {
    if src.remaining() != len {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; MAX_VALUE_LEN];
    let value = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
    src.read_exact(value)?;
    // Each attempt has the whole value.
    waiting(cx, open, Direction::Send, wait, || {
        open.file.write(At::Stream, &mut &*value)
    })
}

/// As [`write`], from the pieces of a vector (`writev(2)`).
///
/// # Errors
/// As [`write`].
pub(crate) fn write_vector(
    cx: &Cx<'_>,
    open: &OpenFile,
    position: Position,
    mut src: UserBuffers,
    wait: Wait,
) -> Result<usize, Errno> {
    if open.file.value_len().is_none() {
        return write(cx, open, position, &mut src, wait);
    }
    let mut done = 0;
    while let Some(mut piece) = src.take_piece() {
        match write(cx, open, position, &mut piece, wait) {
            Ok(count) => done += count,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

/// The front of a source.
struct Part<'a> {
    src: &'a mut dyn Source,
    room: usize,
}

impl Source for Part<'_> {
    fn remaining(&self) -> usize {
        self.src.remaining().min(self.room)
    }

    fn read_exact(&mut self, dst: &mut [u8]) -> Result<(), Errno> {
        self.room = self.room.checked_sub(dst.len()).ok_or(Errno::EFAULT)?;
        self.src.read_exact(dst)
    }
}

/// Returns how many bytes `RLIMIT_FSIZE` lets a regular file take at `position`; `None` without a limit.
fn file_room(cx: &Cx<'_>, open: &OpenFile, position: Position) -> Option<usize> {
    let limit = cx.process.limits.file_size()?;
    open.downcast::<RegularFile>()?;
    let start = match position {
        Position::End => open.file.size(),
        _ if open.flags() & flags::O_APPEND != 0 => open.file.size(),
        Position::Current => open.offset(),
        Position::Offset(offset) => offset,
    };
    usize::try_from(limit.saturating_sub(start)).ok()
}

/// Raises the signal of a file that `RLIMIT_FSIZE` does not let grow; returns the error.
fn too_large(cx: &Cx<'_>) -> Errno {
    cx.raise(SIGXFSZ);
    Errno::EFBIG
}

/// Checks that `RLIMIT_FSIZE` lets a file grow from `old` to `new` bytes (`truncate(2)`, `fallocate(2)`).
///
/// # Errors
/// `EFBIG`, with SIGXFSZ.
pub(crate) fn check_growth(cx: &Cx<'_>, old: u64, new: u64) -> Result<(), Errno> {
    match cx.process.limits.file_size() {
        Some(limit) if new > old && new > limit => Err(too_large(cx)),
        _ => Ok(()),
    }
}

/// Checks that a transfer ends at an offset that there can be.
fn check_end(offset: u64, len: usize) -> Result<(), Errno> {
    let end = offset.checked_add(len as u64);
    match end.map(i64::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// Reads at an offset; a regular file's bytes not without pauses.
fn read_seekable(
    cx: &Cx<'_>,
    open: &OpenFile,
    offset: u64,
    dst: &mut dyn Sink,
) -> Result<usize, Errno> {
    check_end(offset, dst.remaining())?;
    match open.downcast::<RegularFile>() {
        Some(file) => file.body().read(offset, dst, Some(cx.thread)),
        None => open.file.read(At::Offset(offset), dst),
    }
}

/// Writes at a place; to a regular file not without pauses, but as one step to others who write.
fn write_at(cx: &Cx<'_>, open: &OpenFile, at: At, src: &mut dyn Source) -> Result<usize, Errno> {
    let Some(file) = open.downcast::<RegularFile>() else {
        return open.file.write(at, src);
    };
    let _change = file.body().begin_change(cx.thread);
    file.body().write(at, src, Some(cx.thread))
}

fn write_seekable(
    cx: &Cx<'_>,
    open: &OpenFile,
    position: Position,
    src: &mut dyn Source,
) -> Result<usize, Errno> {
    let appends = open.flags() & flags::O_APPEND != 0;
    match position {
        Position::Current => {
            let _position = open.position_lock.lock(cx.thread);
            let offset = open.offset();
            check_end(offset, src.remaining())?;
            let at = if appends { At::End } else { At::Offset(offset) };
            let count = write_at(cx, open, at, src)?;
            open.set_offset(if appends {
                open.file.size()
            } else {
                offset + count as u64
            });
            Ok(count)
        }
        // As on Linux, O_APPEND wins over the offset of pwrite.
        Position::Offset(_) | Position::End if appends => write_at(cx, open, At::End, src),
        Position::Offset(offset) => {
            check_end(offset, src.remaining())?;
            write_at(cx, open, At::Offset(offset), src)
        }
        Position::End => write_at(cx, open, At::End, src),
    }
}

/// Tries until something else than `EAGAIN` comes of it.
fn waiting(
    cx: &Cx<'_>,
    open: &OpenFile,
    direction: Direction,
    wait: Wait,
    mut attempt: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let may_wait = wait == Wait::Allowed && !open.is_nonblocking();
    let Some(queue) = open.file.wait_queue().filter(|_| may_wait) else {
        return attempt();
    };
    let deadline = time_out(open, direction);
    let queues: [&WaitQueue; 1] = [queue];
    let interest = match direction {
        Direction::Receive => Events::IN | Events::RDNORM | Events::RDHUP,
        Direction::Send => Events::OUT | Events::WRNORM,
    };
    cx.block_on(&queues, interest, deadline, || match attempt() {
        Err(Errno::EAGAIN) => None,
        other => Some(other),
    })
    .map_err(|interrupted| match deadline {
        // A call with a time-out is not restarted.
        Some(_) => interrupted.or_eintr(),
        None => interrupted.or_restart(),
    })?
}

/// The deadline that a socket's `SO_RCVTIMEO` or `SO_SNDTIMEO` gives.
fn time_out(open: &OpenFile, direction: Direction) -> Option<Nanos> {
    let limit = open.file.as_socket()?.timeout(direction)?;
    Some(time::now() + limit)
}
