//! Ending and waiting: `exit(2)`, `exit_group(2)`, `wait4(2)`, `waitid(2)`.

use tyn_abi::process::{Rusage, wait};
use tyn_abi::{Errno, Events, Pid, UserVa};
use tyn_proc::{Selector, WaitOptions, Waited, Zombie};

use crate::cx::{Cx, SysResult};
use crate::exit;
use crate::kernel::kernel;
use crate::user_io;

/// `exit(2)`, the system call: ends the thread.
pub(crate) fn sys_exit(cx: &mut Cx<'_>, code: u32) -> SysResult {
    cx.thread.request_exit(wait_word(code));
    Ok(0)
}

/// `exit_group(2)`.
pub(crate) fn sys_exit_group(cx: &mut Cx<'_>, code: u32) -> SysResult {
    cx.process.exit_group(wait_word(code));
    Ok(0)
}

fn wait_word(code: u32) -> u32 {
    (code & 0xff) << 8
}

/// `wait4(2)`: all options. There are no stopped children to report (`WUNTRACED`, `WCONTINUED`); with `__WNOTHREAD` the
/// children of all threads count.
pub(crate) fn sys_wait4(
    cx: &mut Cx<'_>,
    pid: i32,
    status: UserVa,
    options: u32,
    rusage: UserVa,
) -> SysResult {
    let known = wait::WNOHANG
        | wait::WUNTRACED
        | wait::WCONTINUED
        | wait::WNOTHREAD
        | wait::WALL
        | wait::WCLONE;
    if options & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let selector = match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Selector::Any,
        0 => own_group(cx)?,
        pid if pid < 0 => Selector::Group(Pid(pid.unsigned_abs())),
        pid => Selector::Child(Pid(pid.unsigned_abs())),
    };
    let Some(zombie) = wait_for(cx, selector, options, Call::Wait4)? else {
        return Ok(0);
    };
    if !status.is_null() {
        user_io::write_bytes(status, &zombie.status.to_wait_word().to_le_bytes())?;
    }
    write_rusage(rusage, &zombie)?;
    Ok(u64::from(zombie.pid.0))
}

/// `waitid(2)`: `P_ALL`, `P_PID`, `P_PGID`; `P_PIDFD` is `EINVAL`. Stopped and continued children do not occur.
pub(crate) fn sys_waitid(
    cx: &mut Cx<'_>,
    id_type: u32,
    id: i32,
    info: UserVa,
    options: u32,
    rusage: UserVa,
) -> SysResult {
    let events = wait::WEXITED | wait::WSTOPPED | wait::WCONTINUED;
    let known =
        events | wait::WNOHANG | wait::WNOWAIT | wait::WNOTHREAD | wait::WALL | wait::WCLONE;
    if options & !known != 0 || options & events == 0 {
        return Err(Errno::EINVAL);
    }
    let positive = |id: i32| {
        u32::try_from(id)
            .ok()
            .filter(|&id| id > 0)
            .ok_or(Errno::EINVAL)
    };
    let selector = match id_type {
        wait::P_ALL => Selector::Any,
        wait::P_PID => Selector::Child(Pid(positive(id)?)),
        wait::P_PGID if id == 0 => own_group(cx)?,
        wait::P_PGID => Selector::Group(Pid(positive(id)?)),
        _ => {
            cx.trace_unsupported("waitid type", u64::from(id_type));
            return Err(Errno::EINVAL);
        }
    };
    let zombie = wait_for(cx, selector, options, Call::Waitid)?;
    if let Some(zombie) = &zombie {
        write_rusage(rusage, zombie)?;
    }
    if !info.is_null() {
        user_io::write_bytes(info, &siginfo(zombie.as_ref()))?;
    }
    Ok(0)
}

fn own_group(cx: &Cx<'_>) -> Result<Selector, Errno> {
    kernel()
        .family
        .lock()
        .group(cx.process.pid)
        .map(Selector::Group)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Wait4,
    Waitid,
}

/// Waits for a child; `None` when `WNOHANG` finds none that ended.
fn wait_for(
    cx: &Cx<'_>,
    selector: Selector,
    options: u32,
    call: Call,
) -> Result<Option<Zombie>, Errno> {
    // `wait4` has no WEXITED and always wants it; `waitid` may want stopped children only, which never come.
    let wants_ended = options & wait::WEXITED != 0 || call == Call::Wait4;
    let chosen = WaitOptions {
        leave: options & wait::WNOWAIT != 0 || !wants_ended,
        all: options & wait::WALL != 0,
        clones_only: options & wait::WCLONE != 0,
    };
    let attempt = || {
        let found = kernel()
            .family
            .lock()
            .wait(cx.process.pid, selector, chosen);
        match found {
            Ok(Waited::NotYet) => None,
            Ok(Waited::Found(_)) if !wants_ended => None,
            Ok(Waited::Found(zombie)) => Some(Ok(zombie)),
            Err(errno) => Some(Err(errno)),
        }
    };
    if options & wait::WNOHANG != 0 {
        return finish(attempt().transpose()?, chosen);
    }
    let waited = cx.block_on(&[&cx.process.child_events], Events::IN, None, attempt);
    let zombie = waited.map_err(crate::wait::Interrupted::or_restart)??;
    finish(Some(zombie), chosen)
}

/// Forgets a child that was waited for.
fn finish(zombie: Option<Zombie>, options: WaitOptions) -> Result<Option<Zombie>, Errno> {
    if let Some(zombie) = zombie.filter(|_| !options.leave) {
        exit::forget(zombie.pid);
    }
    Ok(zombie)
}

fn write_rusage(dst: UserVa, zombie: &Zombie) -> Result<(), Errno> {
    if dst.is_null() {
        return Ok(());
    }
    let usage = Rusage {
        user: zombie.times.user,
        system: zombie.times.system,
        ..Rusage::default()
    };
    user_io::write_bytes(dst, &usage.to_bytes())
}

/// Encodes `siginfo_t` as `waitid(2)` fills it: all zero when there is nothing to report.
fn siginfo(zombie: Option<&Zombie>) -> [u8; 128] {
    let mut bytes = [0; 128];
    let Some(zombie) = zombie else { return bytes };
    let (code, status) = zombie.status.to_siginfo();
    let signal = i32::from(tyn_proc::SIGCHLD);
    // si_signo, si_errno, si_code, padding, si_pid, si_uid, si_status.
    let fields = [signal, 0, code, 0, zombie.pid.0.cast_signed(), 0, status];
    let (words, _) = bytes.as_chunks_mut::<4>();
    for (word, field) in words.iter_mut().zip(fields) {
        *word = field.to_le_bytes();
    }
    bytes
}
