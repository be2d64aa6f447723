//! Ending and waiting: `exit(2)`, `exit_group(2)`, `wait4(2)`, `waitid(2)`.

use tyn_abi::process::{Rusage, wait};
use tyn_abi::{Errno, Events, Fd, Pid, UserVa};
use tyn_proc::{ChildEvent, Report, Selector, WaitOptions, Waited};

use crate::cx::{Cx, SysResult};
use crate::exit;
use crate::kernel::kernel;
use crate::user_io;
use crate::wait::Interrupted;

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

/// `wait4(2)`: all options; with `__WNOTHREAD` the children of all threads count.
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
    let Some(report) = wait_for(cx, selector, options | wait::WEXITED)? else {
        return Ok(0);
    };
    if !status.is_null() {
        user_io::write_bytes(status, &report.event.to_wait_word().to_le_bytes())?;
    }
    write_rusage(rusage, &report)?;
    Ok(u64::from(report.pid.0))
}

/// `waitid(2)`.
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
    let selector = selector(cx, id_type, id)?;
    let polls = options & wait::WNOHANG == 0 && id_type == wait::P_PIDFD && is_nonblocking(cx, id)?;
    let options = if polls {
        options | wait::WNOHANG
    } else {
        options
    };
    let report = wait_for(cx, selector, options)?;
    if polls && report.is_none() {
        return Err(Errno::EAGAIN);
    }
    if let Some(report) = &report {
        write_rusage(rusage, report)?;
    }
    if !info.is_null() {
        user_io::write_bytes(info, &siginfo(report.as_ref()))?;
    }
    Ok(0)
}

/// Decodes whom `waitid(2)` waits for.
fn selector(cx: &Cx<'_>, id_type: u32, id: i32) -> Result<Selector, Errno> {
    let positive = |id: i32| {
        u32::try_from(id)
            .ok()
            .filter(|&id| id > 0)
            .ok_or(Errno::EINVAL)
    };
    Ok(match id_type {
        wait::P_ALL => Selector::Any,
        wait::P_PID => Selector::Child(Pid(positive(id)?)),
        wait::P_PGID if id == 0 => own_group(cx)?,
        wait::P_PGID => Selector::Group(Pid(positive(id)?)),
        wait::P_PIDFD if id < 0 => return Err(Errno::EINVAL),
        wait::P_PIDFD => {
            let process = match cx.process_of(Fd(id)) {
                Err(Errno::ESRCH) => return Err(Errno::ECHILD),
                found => found?,
            };
            Selector::Child(process.pid)
        }
        _ => return Err(Errno::EINVAL),
    })
}

/// Returns whether a descriptor of a process was opened with `PIDFD_NONBLOCK`.
fn is_nonblocking(cx: &Cx<'_>, fd: i32) -> Result<bool, Errno> {
    Ok(cx.open_file(Fd(fd))?.is_nonblocking())
}

fn own_group(cx: &Cx<'_>) -> Result<Selector, Errno> {
    kernel()
        .family
        .lock()
        .group(cx.process.pid)
        .map(Selector::Group)
}

/// Waits for a child; `None` when `WNOHANG` finds nothing to tell.
fn wait_for(cx: &Cx<'_>, selector: Selector, options: u32) -> Result<Option<Report>, Errno> {
    let chosen = WaitOptions {
        ended: options & wait::WEXITED != 0,
        stopped: options & wait::WSTOPPED != 0,
        continued: options & wait::WCONTINUED != 0,
        leave: options & wait::WNOWAIT != 0,
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
            Ok(Waited::Found(report)) => Some(Ok(report)),
            Err(errno) => Some(Err(errno)),
        }
    };
    let report = if options & wait::WNOHANG != 0 {
        attempt().transpose()?
    } else {
        let waited = cx.block_on(&[&cx.process.child_events], Events::IN, None, attempt);
        Some(waited.map_err(Interrupted::or_restart)??)
    };
    if let Some(Report {
        pid,
        event: ChildEvent::Ended(_),
        ..
    }) = report
        && !chosen.leave
    {
        exit::forget(pid);
    }
    Ok(report)
}

fn write_rusage(dst: UserVa, report: &Report) -> Result<(), Errno> {
    if dst.is_null() {
        return Ok(());
    }
    let usage = Rusage {
        user: report.times.user,
        system: report.times.system,
        ..Rusage::default()
    };
    user_io::write_bytes(dst, &usage.to_bytes())
}

/// Encodes `siginfo_t` as `waitid(2)` fills it: all zero when there is nothing to report.
fn siginfo(report: Option<&Report>) -> [u8; 128] {
    let mut bytes = [0; 128];
    let Some(report) = report else { return bytes };
    let (code, status) = report.event.to_siginfo();
    let signal = i32::from(tyn_proc::SIGCHLD);
    // si_signo, si_errno, si_code, padding, si_pid, si_uid, si_status.
    let fields = [signal, 0, code, 0, report.pid.0.cast_signed(), 0, status];
    let (words, _) = bytes.as_chunks_mut::<4>();
    for (word, field) in words.iter_mut().zip(fields) {
        *word = field.to_le_bytes();
    }
    bytes
}
