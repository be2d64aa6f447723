//! `close(2)`, `close_range(2)`, `dup(2)` and relatives, `fcntl(2)`.

use tyn_abi::fs::fcntl as f;
use tyn_abi::fs::open as o;
use tyn_abi::{Errno, Fd};

use crate::cx::{Cx, SysResult};
use crate::file::OnExec;
use crate::fs::RegularFile;
use crate::pipe::PipeEnd;

/// `close(2)`.
pub(crate) fn sys_close(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    let open = cx.process.files().remove(fd)?;
    drop(open);
    Ok(0)
}

/// `close_range(2)`: flags `CLOSE_RANGE_CLOEXEC` and `CLOSE_RANGE_UNSHARE`.
pub(crate) fn sys_close_range(cx: &mut Cx<'_>, first: u32, last: u32, flags: u32) -> SysResult {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    if flags & UNSHARE != 0 {
        let own = alloc::sync::Arc::new(cx.process.files().duplicate());
        let shared = core::mem::replace(&mut *cx.process.files.lock(), own);
        drop(shared);
    }
    let files = cx.process.files();
    let is_in_range = |index: usize| (first as usize..=last as usize).contains(&index);
    if flags & CLOEXEC != 0 {
        for (fd, _) in files.list() {
            if usize::try_from(fd.0).is_ok_and(is_in_range) {
                // Another thread may have closed it meanwhile, which is as good.
                let _ = files.set_on_exec(fd, OnExec::Close);
            }
        }
    } else {
        drop(files.remove_where(|index, _| is_in_range(index)));
    }
    Ok(0)
}

/// `dup(2)`.
pub(crate) fn sys_dup(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    duplicate(cx, fd, 0, OnExec::Keep)
}

/// Gives the description behind `fd` the lowest free descriptor at or above `from`.
fn duplicate(cx: &Cx<'_>, fd: Fd, from: usize, on_exec: OnExec) -> SysResult {
    let open = cx.open_file(fd)?;
    let limit = cx.process.limits.descriptors();
    let new = cx.process.files().install(open, from, limit, on_exec)?;
    Ok(u64::from(new.0.cast_unsigned()))
}

/// `dup2(2)`.
pub(crate) fn sys_dup2(cx: &mut Cx<'_>, old: Fd, new: Fd) -> SysResult {
    if old == new {
        cx.open_file(old)?;
        return Ok(u64::from(new.0.cast_unsigned()));
    }
    sys_dup3(cx, old, new, 0)
}

/// `dup3(2)`: flag `O_CLOEXEC`.
pub(crate) fn sys_dup3(cx: &mut Cx<'_>, old: Fd, new: Fd, flags: u32) -> SysResult {
    if flags & !o::O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    let open = cx.open_file(old)?;
    let limit = cx.process.limits.descriptors();
    let replaced = cx
        .process
        .files()
        .replace(new, open, limit, OnExec::from_flags(flags))?;
    drop(replaced);
    Ok(u64::from(new.0.cast_unsigned()))
}

/// `fcntl(2)`: `F_DUPFD`, `F_DUPFD_CLOEXEC`, `F_GETFD`, `F_SETFD`, `F_GETFL`, `F_SETFL` (`O_APPEND`, `O_NONBLOCK`, `O_DIRECT`,
/// `O_NOATIME`; `O_ASYNC` is refused), pipe sizes, memfd seals. Deviation: record locks, owners and leases are refused with
/// `EINVAL`.
pub(crate) fn sys_fcntl(cx: &mut Cx<'_>, fd: Fd, command: u32, arg: u64) -> SysResult {
    let open = cx.open_file(fd)?;
    let allowed_on_path = [
        f::F_DUPFD,
        f::F_DUPFD_CLOEXEC,
        f::F_GETFD,
        f::F_SETFD,
        f::F_GETFL,
    ];
    if open.is_path_only() && !allowed_on_path.contains(&command) {
        return Err(Errno::EBADF);
    }
    match command {
        f::F_DUPFD | f::F_DUPFD_CLOEXEC => {
            let from = usize::try_from(arg).map_err(|_| Errno::EINVAL)?;
            if from >= cx.process.limits.descriptors() {
                return Err(Errno::EINVAL);
            }
            let on_exec = if command == f::F_DUPFD {
                OnExec::Keep
            } else {
                OnExec::Close
            };
            duplicate(cx, fd, from, on_exec)
        }
        f::F_GETFD => Ok(u64::from(cx.process.files().on_exec(fd)? == OnExec::Close)),
        f::F_SETFD => {
            let on_exec = if arg & f::FD_CLOEXEC == 0 {
                OnExec::Keep
            } else {
                OnExec::Close
            };
            cx.process.files().set_on_exec(fd, on_exec)?;
            Ok(0)
        }
        // A 64-bit kernel reports O_LARGEFILE only where the program asked for it.
        f::F_GETFL => Ok(u64::from(open.flags())),
        f::F_SETFL => {
            const O_ASYNC: u64 = 0o20_000;
            if arg & O_ASYNC != 0 {
                cx.trace_unsupported("fcntl F_SETFL O_ASYNC", arg);
                return Err(Errno::EINVAL);
            }
            let mask = o::O_APPEND | o::O_NONBLOCK | o::O_DIRECT | o::O_NOATIME;
            open.set_flags(mask, arg as u32);
            Ok(0)
        }
        f::F_GETPIPE_SZ => {
            let pipe = open.downcast::<PipeEnd>().ok_or(Errno::EBADF)?;
            Ok(pipe.capacity() as u64)
        }
        f::F_SETPIPE_SZ => {
            let pipe = open.downcast::<PipeEnd>().ok_or(Errno::EBADF)?;
            let bytes = usize::try_from(arg as u32).map_err(|_| Errno::EINVAL)?;
            Ok(pipe.set_capacity(bytes)? as u64)
        }
        f::F_GET_SEALS => {
            let file = open.downcast::<RegularFile>().ok_or(Errno::EINVAL)?;
            Ok(u64::from(file.body().seals()))
        }
        f::F_ADD_SEALS => {
            let file = open.downcast::<RegularFile>().ok_or(Errno::EINVAL)?;
            if !open.is_writable() {
                return Err(Errno::EPERM);
            }
            file.body().add_seals(arg as u32)?;
            Ok(0)
        }
        _ => {
            cx.trace_unsupported("fcntl command", u64::from(command));
            Err(Errno::EINVAL)
        }
    }
}
