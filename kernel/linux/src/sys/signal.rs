//! Signals: `kill(2)`, `sigaction(2)`, `sigprocmask(2)`, `sigsuspend(2)`, `sigwaitinfo(2)`, `sigaltstack(2)`, ...

use tyn_abi::signal::{AltStack, SigAction, SigInfo, Signal, SignalSet, code};
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Pid, Tid, UserVa};
use tyn_hal::time;
use tyn_sched::signal::MaskChange;

use crate::cx::{Cx, SysResult};
use crate::futex::{self, Scope};
use crate::kernel::kernel;
use crate::process;
use crate::sched;
use crate::signal::{self, CpuAlarms, CpuTimer, Rest};
use crate::user_io;

/// Size of the kernel's `sigset_t`, which all calls are told.
const SIGSET_BYTES: usize = 8;

fn check_set_size(size: usize) -> Result<(), Errno> {
    if size == SIGSET_BYTES {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn read_set(va: UserVa) -> Result<SignalSet, Errno> {
    user_io::read_u64(va).map(SignalSet)
}

/// Reads a signal number; 0 asks only whether the target exists.
pub(super) fn read_signal(number: u32) -> Result<Option<Signal>, Errno> {
    match number {
        0 => Ok(None),
        _ => Signal::from_number(number).map(Some).ok_or(Errno::EINVAL),
    }
}

/// `rt_sigaction(2)`: all flags; `SA_NOCLDSTOP` and `SA_NOCLDWAIT` as Linux.
pub(crate) fn sys_rt_sigaction(
    cx: &mut Cx<'_>,
    number: u32,
    new: UserVa,
    old: UserVa,
    size: usize,
) -> SysResult {
    check_set_size(size)?;
    let signal = Signal::from_number(number).ok_or(Errno::EINVAL)?;
    let before = if new.is_null() {
        cx.process.signals.action(signal)
    } else {
        let mut action = SigAction::from_bytes(&user_io::read_bytes(new)?);
        if SignalSet::UNBLOCKABLE.contains(signal) {
            return Err(Errno::EINVAL);
        }
        action.mask = action.mask.difference(SignalSet::UNBLOCKABLE);
        signal::set_action(cx.process, signal, action)
    };
    if !old.is_null() {
        user_io::write_bytes(old, &before.to_bytes())?;
    }
    Ok(0)
}

/// `rt_sigprocmask(2)`.
pub(crate) fn sys_rt_sigprocmask(
    cx: &mut Cx<'_>,
    how: u32,
    new: UserVa,
    old: UserVa,
    size: usize,
) -> SysResult {
    check_set_size(size)?;
    let before = cx.thread.signals.mask();
    if !new.is_null() {
        let set = read_set(new)?;
        let change = MaskChange::from_how(how).ok_or(Errno::EINVAL)?;
        signal::change_mask(cx.thread, change, set);
    }
    if !old.is_null() {
        user_io::write_bytes(old, &before.0.to_le_bytes())?;
    }
    Ok(0)
}

/// `rt_sigreturn(2)`.
pub(crate) fn sys_rt_sigreturn(cx: &mut Cx<'_>) -> SysResult {
    signal::sigreturn(cx)
}

/// `rt_sigpending(2)`.
pub(crate) fn sys_rt_sigpending(cx: &mut Cx<'_>, set: UserVa, size: usize) -> SysResult {
    if size > SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let signals = &cx.thread.signals;
    let pending = signals.pending().union(cx.process.signals.pending());
    let bytes = pending.intersection(signals.mask()).0.to_le_bytes();
    user_io::write_bytes(set, bytes.get(..size).unwrap_or_default())?;
    Ok(0)
}

/// `rt_sigsuspend(2)`.
pub(crate) fn sys_rt_sigsuspend(cx: &mut Cx<'_>, set: UserVa, size: usize) -> SysResult {
    check_set_size(size)?;
    let mask = read_set(set)?;
    cx.set_temporary_mask(mask.0);
    sleep_until_signal(cx)
}

/// `pause(2)`.
pub(crate) fn sys_pause(cx: &mut Cx<'_>) -> SysResult {
    sleep_until_signal(cx)
}

fn sleep_until_signal(cx: &Cx<'_>) -> SysResult {
    while !cx.thread.has_deliverable_signal() {
        sched::park(cx.thread, None);
    }
    Err(Errno::ERESTARTNOHAND)
}

/// `rt_sigtimedwait(2)`.
pub(crate) fn sys_rt_sigtimedwait(
    cx: &mut Cx<'_>,
    set: UserVa,
    info: UserVa,
    timeout: UserVa,
    size: usize,
) -> SysResult {
    check_set_size(size)?;
    let wanted = read_set(set)?;
    let deadline = if timeout.is_null() {
        None
    } else {
        let timeout = Timespec::from_bytes(&user_io::read_bytes(timeout)?);
        Some(time::now() + timeout.to_nanos().ok_or(Errno::EINVAL)?)
    };
    let found = signal::wait_for(cx.thread, wanted, deadline)?;
    if !info.is_null() {
        user_io::write_bytes(info, &found.to_bytes())?;
    }
    Ok(u64::from(found.signal().number()))
}

/// `sigaltstack(2)`: with `SS_AUTODISARM`.
pub(crate) fn sys_sigaltstack(cx: &mut Cx<'_>, new: UserVa, old: UserVa) -> SysResult {
    let sp = cx.user.regs.rsp;
    let before = cx.thread.signals.alt_stack().shown(sp);
    if !new.is_null() {
        let stack = AltStack::from_bytes(&user_io::read_bytes(new)?);
        cx.thread.signals.change_alt_stack(stack, sp)?;
    }
    if !old.is_null() {
        user_io::write_bytes(old, &before.to_bytes())?;
    }
    Ok(0)
}

/// `kill(2)`: everybody is root and may signal everybody.
pub(crate) fn sys_kill(cx: &mut Cx<'_>, pid: i32, number: u32) -> SysResult {
    let signal = read_signal(number)?;
    let info = signal.map(|s| SigInfo::from_process(s, code::SI_USER, cx.process.pid.0, 0));
    match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => kill_all(cx, info)?,
        0 => {
            let own = kernel().family.lock().group(cx.process.pid)?;
            kill_group(own, info)?;
        }
        pid if pid < 0 => kill_group(Pid(pid.unsigned_abs()), info)?,
        pid => {
            let target = process::find(Pid(pid.unsigned_abs()))?;
            if let Some(info) = info {
                signal::send_to_process(&target, info)?;
            }
        }
    }
    Ok(0)
}

fn kill_group(group: Pid, info: Option<SigInfo>) -> Result<(), Errno> {
    match info {
        Some(info) => signal::send_to_group(group, info),
        None if kernel().family.lock().group_members(group).is_empty() => Err(Errno::ESRCH),
        None => Ok(()),
    }
}

/// Signals every process but init and the caller's own.
fn kill_all(cx: &Cx<'_>, info: Option<SigInfo>) -> Result<(), Errno> {
    let own = cx.process.pid;
    let others: alloc::vec::Vec<_> = kernel()
        .processes
        .lock()
        .iter()
        .filter(|&(&pid, _)| pid != crate::exit::INIT && pid != own)
        .map(|(_, process)| alloc::sync::Arc::clone(process))
        .collect();
    if others.is_empty() {
        return Err(Errno::ESRCH);
    }
    if let Some(info) = info {
        for process in others {
            signal::send_to_process(&process, info)?;
        }
    }
    Ok(())
}

/// `tkill(2)`.
pub(crate) fn sys_tkill(cx: &mut Cx<'_>, tid: i32, number: u32) -> SysResult {
    send_to_thread(cx, None, tid, number)
}

/// `tgkill(2)`.
pub(crate) fn sys_tgkill(cx: &mut Cx<'_>, pid: i32, tid: i32, number: u32) -> SysResult {
    if pid <= 0 {
        return Err(Errno::EINVAL);
    }
    send_to_thread(cx, Some(pid), tid, number)
}

fn send_to_thread(cx: &Cx<'_>, pid: Option<i32>, tid: i32, number: u32) -> SysResult {
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let thread = process::find_thread(Tid(tid.unsigned_abs()))?;
    if pid.is_some_and(|pid| thread.process().pid != Pid(pid.unsigned_abs())) {
        return Err(Errno::ESRCH);
    }
    if let Some(signal) = read_signal(number)? {
        let info = SigInfo::from_process(signal, code::SI_TKILL, cx.process.pid.0, 0);
        signal::send_to_thread(&thread, info)?;
    }
    Ok(0)
}

/// `rt_sigqueueinfo(2)`.
pub(crate) fn sys_rt_sigqueueinfo(
    cx: &mut Cx<'_>,
    pid: i32,
    number: u32,
    info: UserVa,
) -> SysResult {
    let info = read_info(cx, pid, number, info)?;
    let target = process::find(Pid(pid.unsigned_abs()))?;
    if let Some(info) = info {
        signal::send_to_process(&target, info)?;
    }
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`.
pub(crate) fn sys_rt_tgsigqueueinfo(
    cx: &mut Cx<'_>,
    pid: i32,
    tid: i32,
    number: u32,
    info: UserVa,
) -> SysResult {
    if tid <= 0 || pid <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = read_info(cx, pid, number, info)?;
    let thread = process::find_thread(Tid(tid.unsigned_abs()))?;
    if thread.process().pid != Pid(pid.unsigned_abs()) {
        return Err(Errno::ESRCH);
    }
    if let Some(info) = info {
        signal::send_to_thread(&thread, info)?;
    }
    Ok(0)
}

/// Reads the `siginfo_t` that a process passes on. To others it may not pretend to be the kernel or `kill(2)`.
pub(super) fn read_info(
    cx: &Cx<'_>,
    pid: i32,
    number: u32,
    info: UserVa,
) -> Result<Option<SigInfo>, Errno> {
    let bytes = user_io::read_bytes(info)?;
    let signal = read_signal(number)?;
    let info = SigInfo::from_bytes(bytes, signal.unwrap_or(Signal::SIGKILL));
    let is_forged = info.code() >= 0 || info.code() == code::SI_TKILL;
    if is_forged && pid.cast_unsigned() != cx.process.pid.0 {
        return Err(Errno::EPERM);
    }
    Ok(signal.map(|_| info.without_mark()))
}

/// `restart_syscall(2)`: continues a sleep or a futex wait.
pub(crate) fn sys_restart_syscall(cx: &mut Cx<'_>) -> SysResult {
    match cx.thread.signals.take_rest() {
        None => Err(Errno::EINTR),
        Some(Rest::Sleep {
            deadline,
            remaining,
        }) => super::time::sleep_relative(cx, deadline, remaining),
        Some(Rest::Futex {
            word,
            expected,
            bitset,
            is_private,
            deadline,
        }) => {
            let scope = if is_private {
                Scope::Private
            } else {
                Scope::Shared
            };
            futex::wait_restartable(cx, word, scope, expected, bitset, Some(deadline))
        }
        Some(Rest::Poll {
            fds,
            count,
            deadline,
        }) => super::poll::poll_until(cx, fds, count, deadline),
    }
}

/// `getitimer(2)` and `setitimer(2)` share `struct itimerval`.
const ITIMERVAL_BYTES: usize = 32;

/// Decodes the timer: of real time, or of CPU time.
fn itimer(which: u32) -> Result<Option<CpuTimer>, Errno> {
    match which {
        0 => Ok(None),
        1 => Ok(Some(CpuTimer::Virtual)),
        2 => Ok(Some(CpuTimer::Prof)),
        _ => Err(Errno::EINVAL),
    }
}

/// `getitimer(2)`. `ITIMER_VIRTUAL` counts time in the kernel, too.
pub(crate) fn sys_getitimer(cx: &mut Cx<'_>, which: u32, out: UserVa) -> SysResult {
    let setting = match itimer(which)? {
        None => cx.process.signals.real_timer.get(),
        Some(timer) => CpuAlarms::get(cx.process, timer),
    };
    user_io::write_bytes(out, &setting.to_bytes())?;
    Ok(0)
}

/// `setitimer(2)`, as [`sys_getitimer`].
pub(crate) fn sys_setitimer(cx: &mut Cx<'_>, which: u32, new: UserVa, old: UserVa) -> SysResult {
    let timer = itimer(which)?;
    let bytes: [u8; ITIMERVAL_BYTES] = if new.is_null() {
        [0; ITIMERVAL_BYTES]
    } else {
        user_io::read_bytes(new)?
    };
    let setting = signal::IntervalTimer::from_bytes(&bytes).ok_or(Errno::EINVAL)?;
    let before = match timer {
        None => signal::RealTimer::set(cx.process, setting),
        Some(timer) => CpuAlarms::set(cx.process, timer, setting),
    };
    if !old.is_null() {
        user_io::write_bytes(old, &before.to_bytes())?;
    }
    Ok(0)
}

/// `alarm(2)`.
pub(crate) fn sys_alarm(cx: &mut Cx<'_>, seconds: u32) -> SysResult {
    let before = signal::RealTimer::set(cx.process, signal::IntervalTimer::once(seconds));
    Ok(before.seconds_left())
}
