//! Descriptors: `close(2)`, `close_range(2)`, `dup(2)`, `fcntl(2)`, `flock(2)`.

use alloc::sync::Arc;

use tyn_abi::fs::fcntl as f;
use tyn_abi::fs::{Flock, open as o};
use tyn_abi::{Errno, Events, Fd, UserVa};
use tyn_fs::locks::{Lock, LockKind, Owner};
use tyn_hal::time;

use crate::cx::{Cx, SysResult};
use crate::descriptors::{FdTable, OnExec};
use crate::file::OpenFile;
use crate::fs::RegularFile;
use crate::lock::{self, Family};
use crate::pipe::PipeEnd;
use crate::user_io;

const F_GETOWN_EX: u32 = 16;
const F_GETLEASE: u32 = 1025;

fn number(fd: Fd) -> u64 {
    u64::from(fd.0.cast_unsigned())
}

/// `close(2)`.
pub(crate) fn sys_close(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    let files = cx.process.files();
    let open = files.remove(fd)?;
    lock::descriptor_closed(lock::table_owner(&files), &open);
    linger(cx, &open);
    Ok(0)
}

/// Waits until the peer of a socket has everything, or the time is over, if this was its last descriptor and the program wants
/// that (`SO_LINGER`). A signal ends the wait; the connection goes on by itself then.
fn linger(cx: &Cx<'_>, open: &Arc<OpenFile>) {
    let socket = open.file.as_socket();
    let Some(socket) = socket.filter(|_| Arc::strong_count(open) == 1) else {
        return;
    };
    let (Some(queue), Some(time)) = (socket.wait_queue(), socket.linger()) else {
        return;
    };
    let deadline = time::now() + time;
    let ended = || (!socket.is_closing()).then_some(());
    let _ = cx.block_on(&[queue], Events::all(), Some(deadline), ended);
}

/// `close_range(2)`: `CLOSE_RANGE_UNSHARE`, `CLOSE_RANGE_CLOEXEC`.
pub(crate) fn sys_close_range(cx: &mut Cx<'_>, first: u32, last: u32, flags: u32) -> SysResult {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    if first > last || flags & !(UNSHARE | CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & UNSHARE != 0 {
        let own = Arc::new(cx.process.files().duplicate()?);
        let shared = core::mem::replace(&mut *cx.process.files.lock(), own);
        drop(shared);
    }
    let files = cx.process.files();
    let range = first as usize..=last as usize;
    if flags & CLOEXEC != 0 {
        files.close_on_exec_in(range);
        return Ok(0);
    }
    let owner = lock::table_owner(&files);
    files.remove_where(
        |index, _| range.contains(&index),
        |open| lock::descriptor_closed(owner, &open),
    );
    Ok(0)
}

/// `dup(2)`.
pub(crate) fn sys_dup(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    let open = cx.open_file(fd)?;
    cx.install(open, OnExec::Keep).map(number)
}

/// `dup2(2)`.
pub(crate) fn sys_dup2(cx: &mut Cx<'_>, old: Fd, new: Fd) -> SysResult {
    if old == new {
        cx.open_file(old)?;
        return Ok(number(new));
    }
    replace(cx, old, new, OnExec::Keep)
}

/// `dup3(2)`.
pub(crate) fn sys_dup3(cx: &mut Cx<'_>, old: Fd, new: Fd, flags: u32) -> SysResult {
    if flags & !o::O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    replace(cx, old, new, OnExec::from_flags(flags))
}

fn replace(cx: &Cx<'_>, old: Fd, new: Fd, on_exec: OnExec) -> SysResult {
    let files = cx.process.files();
    let open = files.get(old)?;
    let limit = cx.process.limits.descriptors();
    if let Some(closed) = files.replace(new, open, limit, on_exec)? {
        lock::descriptor_closed(lock::table_owner(&files), &closed);
    }
    Ok(number(new))
}

/// `fcntl(2)`: duplicates, descriptor and status flags, locks, pipe sizes, seals. `F_SETFL` changes `O_APPEND` and
/// `O_NONBLOCK`, and takes `O_DIRECT` and `O_NOATIME`, which mean nothing here. Deviations: signal-driven
/// I/O (`F_SETOWN`, `F_SETSIG`, `O_ASYNC`), leases and notifications are refused (`EINVAL`).
pub(crate) fn sys_fcntl(cx: &mut Cx<'_>, fd: Fd, command: u32, arg: u64) -> SysResult {
    let files = cx.process.files();
    let open = files.get(fd)?;
    match command {
        f::F_DUPFD => duplicate(cx, &files, open, arg, OnExec::Keep),
        f::F_DUPFD_CLOEXEC => duplicate(cx, &files, open, arg, OnExec::Close),
        f::F_GETFD => Ok(match files.on_exec(fd)? {
            OnExec::Close => f::FD_CLOEXEC,
            OnExec::Keep => 0,
        }),
        f::F_SETFD => {
            let on_exec = if arg & f::FD_CLOEXEC == 0 {
                OnExec::Keep
            } else {
                OnExec::Close
            };
            files.set_on_exec(fd, on_exec)?;
            Ok(0)
        }
        f::F_GETFL => Ok(u64::from(open.flags())),
        _ if open.is_path_only() => Err(Errno::EBADF),
        f::F_SETFL => set_status(cx, &open, arg as u32),
        f::F_GETLK | f::F_OFD_GETLK => get_lock(&files, &open, command, UserVa(arg)),
        f::F_SETLK | f::F_SETLKW | f::F_OFD_SETLK | f::F_OFD_SETLKW => {
            set_lock(cx, &files, &open, command, UserVa(arg))
        }
        f::F_GETPIPE_SZ => {
            let pipe = open.downcast::<PipeEnd>().ok_or(Errno::EBADF)?;
            Ok(pipe.capacity() as u64)
        }
        f::F_SETPIPE_SZ => {
            let pipe = open.downcast::<PipeEnd>().ok_or(Errno::EBADF)?;
            pipe.set_capacity(arg as u32 as usize).map(|c| c as u64)
        }
        f::F_GET_SEALS => {
            let file = open.downcast::<RegularFile>().ok_or(Errno::EINVAL)?;
            Ok(u64::from(file.body().seals()))
        }
        f::F_ADD_SEALS => add_seals(cx, &open, arg as u32),
        f::F_GETOWN | f::F_GETSIG => Ok(0),
        F_GETOWN_EX => {
            // Nobody: `F_OWNER_TID`, 0.
            user_io::write_bytes(UserVa(arg), &[0; 8])?;
            Ok(0)
        }
        F_GETLEASE => Ok(u64::from(f::F_UNLCK.cast_unsigned())),
        _ => {
            cx.trace_unsupported("fcntl", u64::from(command));
            Err(Errno::EINVAL)
        }
    }
}

fn duplicate(
    cx: &Cx<'_>,
    files: &FdTable,
    open: Arc<OpenFile>,
    from: u64,
    on_exec: OnExec,
) -> SysResult {
    let limit = cx.process.limits.descriptors();
    let from = usize::try_from(from as u32)
        .ok()
        .filter(|&from| from < limit)
        .ok_or(Errno::EINVAL)?;
    files.install(open, from, limit, on_exec).map(number)
}

fn set_status(cx: &Cx<'_>, open: &OpenFile, flags: u32) -> SysResult {
    const SETTABLE: u32 = o::O_APPEND | o::O_NONBLOCK | o::O_DIRECT | o::O_NOATIME;
    if flags & o::O_ASYNC != 0 {
        cx.trace_unsupported("fcntl O_ASYNC", u64::from(flags));
        return Err(Errno::EINVAL);
    }
    open.set_flags(SETTABLE, flags);
    Ok(0)
}

fn add_seals(cx: &Cx<'_>, open: &OpenFile, seals: u32) -> SysResult {
    const KNOWN: u32 = f::F_SEAL_SEAL
        | f::F_SEAL_SHRINK
        | f::F_SEAL_GROW
        | f::F_SEAL_EXEC
        | f::F_SEAL_WRITE
        | f::F_SEAL_FUTURE_WRITE;
    let file = open.downcast::<RegularFile>().ok_or(Errno::EINVAL)?;
    if !open.is_writable() {
        return Err(Errno::EPERM);
    }
    if seals & !KNOWN != 0 {
        cx.trace_unsupported("F_ADD_SEALS", u64::from(seals));
        return Err(Errno::EINVAL);
    }
    file.body().add_seals(seals)?;
    Ok(0)
}

/// Reads `struct flock` and returns the range and, unless it is `F_UNLCK`, the kind.
fn read_range(open: &OpenFile, at: UserVa) -> Result<(Flock, Option<LockKind>, u64, u64), Errno> {
    let flock = Flock::from_bytes(&user_io::read_bytes(at)?);
    let kind = match flock.kind {
        f::F_RDLCK => Some(LockKind::Read),
        f::F_WRLCK => Some(LockKind::Write),
        f::F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let base = match u32::try_from(flock.whence).map_err(|_| Errno::EINVAL)? {
        f::SEEK_SET => 0,
        f::SEEK_CUR => open.offset(),
        f::SEEK_END => open.file.size(),
        _ => return Err(Errno::EINVAL),
    };
    let from = base.checked_add_signed(flock.start).ok_or(Errno::EINVAL)?;
    let other = from.checked_add_signed(flock.len).ok_or(Errno::EINVAL)?;
    let (start, end) = match flock.len {
        0 => (from, u64::MAX),
        1.. => (from, other),
        _ => (other, from),
    };
    Ok((flock, kind, start, end))
}

/// Returns owner and process id for a command; an OFD command demands a process id of 0.
fn owner_for(
    files: &Arc<FdTable>,
    open: &OpenFile,
    command: u32,
    flock: &Flock,
) -> Result<Owner, Errno> {
    if command < f::F_OFD_GETLK {
        return Ok(lock::table_owner(files));
    }
    if flock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(lock::description_owner(open))
}

fn get_lock(files: &Arc<FdTable>, open: &OpenFile, command: u32, at: UserVa) -> SysResult {
    let (flock, kind, start, end) = read_range(open, at)?;
    let owner = owner_for(files, open, command, &flock)?;
    let wanted = Lock {
        owner,
        pid: 0,
        kind: kind.ok_or(Errno::EINVAL)?,
        start,
        end,
    };
    let answer = match lock::conflict(open, &wanted)? {
        None => Flock {
            kind: f::F_UNLCK,
            ..flock
        },
        Some(other) => Flock {
            kind: match other.kind {
                LockKind::Read => f::F_RDLCK,
                LockKind::Write => f::F_WRLCK,
            },
            whence: 0,
            start: other.start.cast_signed(),
            len: if other.end == u64::MAX {
                0
            } else {
                (other.end - other.start).cast_signed()
            },
            pid: other.pid,
        },
    };
    user_io::write_bytes(at, &answer.to_bytes())?;
    Ok(0)
}

fn set_lock(
    cx: &Cx<'_>,
    files: &Arc<FdTable>,
    open: &OpenFile,
    command: u32,
    at: UserVa,
) -> SysResult {
    let (flock, kind, start, end) = read_range(open, at)?;
    let owner = owner_for(files, open, command, &flock)?;
    let Some(kind) = kind else {
        lock::clear(Family::Record, open, owner, start, end)?;
        return Ok(0);
    };
    let is_allowed = match kind {
        LockKind::Read => open.is_readable(),
        LockKind::Write => open.is_writable(),
    };
    if !is_allowed {
        return Err(Errno::EBADF);
    }
    let pid = match owner {
        Owner::Table(_) => cx.process.pid.0.cast_signed(),
        Owner::Description(_) => -1,
    };
    let wanted = Lock {
        owner,
        pid,
        kind,
        start,
        end,
    };
    let waits = matches!(command, f::F_SETLKW | f::F_OFD_SETLKW);
    lock::set(cx, Family::Record, open, wanted, waits)?;
    Ok(0)
}

/// `flock(2)`.
pub(crate) fn sys_flock(cx: &mut Cx<'_>, fd: Fd, operation: u32) -> SysResult {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    let owner = lock::description_owner(&open);
    let kind = match operation & !f::LOCK_NB {
        f::LOCK_SH => LockKind::Read,
        f::LOCK_EX => LockKind::Write,
        f::LOCK_UN => {
            lock::clear(Family::Whole, &open, owner, 0, u64::MAX)?;
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let wanted = Lock {
        owner,
        pid: -1,
        kind,
        start: 0,
        end: u64::MAX,
    };
    let waits = operation & f::LOCK_NB == 0;
    lock::set(cx, Family::Whole, &open, wanted, waits)?;
    Ok(0)
}
