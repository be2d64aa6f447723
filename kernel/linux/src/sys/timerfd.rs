//! `timerfd_create(2)` and its family.

use tyn_abi::fs::open::{O_CLOEXEC, O_NONBLOCK};
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Fd, UserVa};
use tyn_io::timerfd::{Clock, Setting, Start};

use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::timerfd::{self, TimerFile};
use crate::user_io;

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
const CLOCK_BOOTTIME: u32 = 7;
const CLOCK_REALTIME_ALARM: u32 = 8;
const CLOCK_BOOTTIME_ALARM: u32 = 9;
const TFD_TIMER_ABSTIME: u32 = 1;
const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// `timerfd_create(2)`: all five clocks (a machine that never sleeps has no use for the alarm clocks' wake-up); flags
/// `TFD_CLOEXEC`, `TFD_NONBLOCK`.
pub(crate) fn sys_timerfd_create(cx: &mut Cx<'_>, clock: u32, flags: u32) -> SysResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let clock_of = match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM => Clock::Realtime,
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Clock::Monotonic,
        _ => return Err(Errno::EINVAL),
    };
    let open = timerfd::open(clock_of, clock, flags & O_NONBLOCK);
    let fd = cx.install(open, OnExec::from_flags(flags))?;
    Ok(fd.0 as u64)
}

/// Reads `struct itimerspec`.
fn read_setting(src: UserVa) -> Result<Setting, Errno> {
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

/// Writes `struct itimerspec`.
fn write_setting(dst: UserVa, setting: Setting) -> Result<(), Errno> {
    let mut bytes = [0; 32];
    let (interval, value) = bytes.split_at_mut(Timespec::SIZE);
    interval.copy_from_slice(&Timespec::from_nanos(setting.interval).to_bytes());
    value.copy_from_slice(&Timespec::from_nanos(setting.value).to_bytes());
    user_io::write_bytes(dst, &bytes)
}

/// `timerfd_settime(2)`: flags `TFD_TIMER_ABSTIME`, `TFD_TIMER_CANCEL_ON_SET`.
pub(crate) fn sys_timerfd_settime(
    cx: &mut Cx<'_>,
    fd: Fd,
    flags: u32,
    new: UserVa,
    old: UserVa,
) -> SysResult {
    let new = read_setting(new)?;
    let start = match flags {
        0 | TFD_TIMER_CANCEL_ON_SET => Start::Relative,
        TFD_TIMER_ABSTIME => Start::Absolute,
        _ if flags == TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET => Start::AbsoluteCancelOnSet,
        _ => return Err(Errno::EINVAL),
    };
    let open = cx.open_file(fd)?;
    let timer: &TimerFile = open.downcast().ok_or(Errno::EINVAL)?;
    let former = timer.set(start, flags, new);
    if !old.is_null() {
        write_setting(old, former)?;
    }
    Ok(0)
}

/// `timerfd_gettime(2)`.
pub(crate) fn sys_timerfd_gettime(cx: &mut Cx<'_>, fd: Fd, current: UserVa) -> SysResult {
    let open = cx.open_file(fd)?;
    let timer: &TimerFile = open.downcast().ok_or(Errno::EINVAL)?;
    write_setting(current, timer.get())?;
    Ok(0)
}
