//! POSIX timers: `timer_create(2)`, `timer_settime(2)`, `timer_gettime(2)`, `timer_getoverrun(2)`, `timer_delete(2)`.

use alloc::sync::Arc;

use tyn_abi::signal::Signal;
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Nanos, Tid, UserVa};
use tyn_hal::time;

use super::time::Clock;
use crate::cx::{Cx, SysResult};
use crate::process;
use crate::signal::{Notice, PosixTimers, Setting, Target, TimerClock};
use crate::user_io;

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
/// What `SIGEV_THREAD` comes to in the kernel's view: a signal.
const SIGEV_THREAD: i32 = 2;
const SIGEV_THREAD_ID: i32 = 4;
const TIMER_ABSTIME: u32 = 1;

/// Size of `struct sigevent`.
const SIGEVENT_BYTES: usize = 64;

/// Returns the clock of a number.
fn clock_of(cx: &Cx<'_>, clock: i32) -> Result<TimerClock, Errno> {
    Ok(match Clock::decode(cx, clock)? {
        Clock::Realtime | Clock::Tai => TimerClock::Real(time::wall_at_boot()),
        Clock::Monotonic => TimerClock::Real(Nanos::ZERO),
        // As on Linux.
        Clock::MonotonicRaw | Clock::RealtimeCoarse | Clock::MonotonicCoarse => {
            return Err(Errno::EOPNOTSUPP);
        }
        Clock::ProcessCpu(pid) => {
            let process = process::find(pid).map_err(|_| Errno::EINVAL)?;
            TimerClock::Process(Arc::downgrade(&process))
        }
        Clock::ThreadCpu(tid) => {
            let thread = process::find_thread(tid).map_err(|_| Errno::EINVAL)?;
            if !Arc::ptr_eq(thread.process(), cx.process) {
                return Err(Errno::EINVAL);
            }
            TimerClock::Thread(Arc::downgrade(&thread))
        }
    })
}

/// Reads `struct sigevent`: `sigev_value`, `sigev_signo`, `sigev_notify`, thread id.
fn read_notice(cx: &Cx<'_>, event: UserVa) -> Result<Notice, Errno> {
    if event.is_null() {
        return Ok(Notice {
            target: Target::Process,
            signal: Signal::SIGALRM,
            value: None,
        });
    }
    let bytes: [u8; SIGEVENT_BYTES] = user_io::read_bytes(event)?;
    let word = |at: usize| {
        let bytes = bytes.get(at..).and_then(|b| b.first_chunk());
        bytes.map_or(0, |b| i32::from_le_bytes(*b))
    };
    let value = bytes.first_chunk().map(|b| u64::from_le_bytes(*b));
    let target = match word(12) {
        SIGEV_NONE => Target::Nobody,
        SIGEV_SIGNAL | SIGEV_THREAD => Target::Process,
        SIGEV_THREAD_ID => {
            let tid = Tid(word(16).cast_unsigned());
            let thread = process::find_thread(tid).map_err(|_| Errno::EINVAL)?;
            if thread.process().pid != cx.process.pid {
                return Err(Errno::EINVAL);
            }
            Target::Thread(tid)
        }
        _ => return Err(Errno::EINVAL),
    };
    let signal = Signal::from_number(word(8).cast_unsigned());
    let signal = match (signal, target) {
        (Some(signal), _) => signal,
        // It is never sent.
        (None, Target::Nobody) => Signal::SIGALRM,
        (None, _) => return Err(Errno::EINVAL),
    };
    Ok(Notice {
        target,
        signal,
        value,
    })
}

/// `timer_create(2)`: on `CLOCK_REALTIME`, `CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`, `CLOCK_TAI`, the alarm clocks (the machine
/// never sleeps), and those of CPU time.
pub(crate) fn sys_timer_create(
    cx: &mut Cx<'_>,
    clock: i32,
    event: UserVa,
    id_at: UserVa,
) -> SysResult {
    let notice = read_notice(cx, event);
    // As on Linux a bad pointer is found before a bad clock, and that before a bad event.
    if notice == Err(Errno::EFAULT) {
        return Err(Errno::EFAULT);
    }
    let clock = clock_of(cx, clock)?;
    let id = PosixTimers::create(cx.process, notice?, clock)?;
    user_io::write_bytes(id_at, &id.to_le_bytes()).inspect_err(|_| {
        // Nobody knows of it.
        let _ = cx.process.signals.posix_timers.delete(id);
    })?;
    Ok(0)
}

fn read_setting(src: UserVa) -> Result<Setting, Errno> {
    if src.is_null() {
        return Err(Errno::EINVAL);
    }
    let bytes: [u8; 32] = user_io::read_bytes(src)?;
    let time = |part: &[u8]| {
        let bytes = part.first_chunk().ok_or(Errno::EINVAL)?;
        Timespec::from_bytes(bytes).to_nanos().ok_or(Errno::EINVAL)
    };
    let (interval, value) = bytes.split_at(Timespec::SIZE);
    Ok(Setting {
        interval: time(interval)?,
        value: time(value)?,
    })
}

fn write_setting(dst: UserVa, setting: Setting) -> Result<(), Errno> {
    let mut bytes = [0; 32];
    let (interval, value) = bytes.split_at_mut(Timespec::SIZE);
    interval.copy_from_slice(&Timespec::from_nanos(setting.interval).to_bytes());
    value.copy_from_slice(&Timespec::from_nanos(setting.value).to_bytes());
    user_io::write_bytes(dst, &bytes)
}

/// `timer_settime(2)`: flag `TIMER_ABSTIME`.
pub(crate) fn sys_timer_settime(
    cx: &mut Cx<'_>,
    id: u32,
    flags: u32,
    new: UserVa,
    old: UserVa,
) -> SysResult {
    let new = read_setting(new)?;
    let timer = cx.process.signals.posix_timers.get(id)?;
    let before = timer.set(new, flags & TIMER_ABSTIME != 0);
    if !old.is_null() {
        write_setting(old, before)?;
    }
    Ok(0)
}

/// `timer_gettime(2)`.
pub(crate) fn sys_timer_gettime(cx: &mut Cx<'_>, id: u32, current: UserVa) -> SysResult {
    let timer = cx.process.signals.posix_timers.get(id)?;
    write_setting(current, timer.get())?;
    Ok(0)
}

/// `timer_getoverrun(2)`.
pub(crate) fn sys_timer_getoverrun(cx: &mut Cx<'_>, id: u32) -> SysResult {
    let timer = cx.process.signals.posix_timers.get(id)?;
    Ok(u64::from(timer.overrun().cast_unsigned()))
}

/// `timer_delete(2)`.
pub(crate) fn sys_timer_delete(cx: &mut Cx<'_>, id: u32) -> SysResult {
    cx.process.signals.posix_timers.delete(id)?;
    Ok(0)
}
