//! Clocks and sleeping: `clock_gettime(2)`, `gettimeofday(2)`, `nanosleep(2)`, `times(2)`, `getrusage(2)`, ...

use tyn_abi::process::Rusage;
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, Nanos, Pid, Tid, UserVa};
use tyn_hal::time;

use crate::cx::{Cx, SysResult};
use crate::kernel::kernel;
use crate::process;
use crate::sched;
use crate::signal::Rest;
use crate::user_io;

/// A clock of `clock_gettime(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Clock {
    Realtime,
    /// Since boot: the machine never sleeps, so `CLOCK_BOOTTIME` is the same.
    Monotonic,
    /// Clocks that are cheaper on Linux, and as exact as the others here.
    RealtimeCoarse,
    MonotonicCoarse,
    MonotonicRaw,
    Tai,
    ProcessCpu(Pid),
    ThreadCpu(Tid),
}

/// Resolution that Linux reports for the coarse clocks (`CONFIG_HZ=250`).
const COARSE: Nanos = Nanos(4_000_000);

impl Clock {
    /// Decodes a `clockid_t`; negative ones name the CPU time of a process or thread (`clock_getcpuclockid(3)`).
    pub(super) fn decode(cx: &Cx<'_>, id: i32) -> Result<Self, Errno> {
        const PER_THREAD: i32 = 4;
        /// `CPUCLOCK_PROF`, `CPUCLOCK_VIRT`, `CPUCLOCK_SCHED`.
        const KINDS: i32 = 3;
        Ok(match id {
            0 | 8 => Self::Realtime,
            1 | 7 | 9 => Self::Monotonic,
            2 => Self::ProcessCpu(cx.process.pid),
            3 => Self::ThreadCpu(cx.thread.tid()),
            4 => Self::MonotonicRaw,
            5 => Self::RealtimeCoarse,
            6 => Self::MonotonicCoarse,
            11 => Self::Tai,
            id if id < 0 && id & 3 < KINDS => {
                let number = (!(id >> 3)).cast_unsigned();
                match (id & PER_THREAD != 0, number) {
                    (true, 0) => Self::ThreadCpu(cx.thread.tid()),
                    (true, tid) => Self::ThreadCpu(Tid(tid)),
                    (false, 0) => Self::ProcessCpu(cx.process.pid),
                    (false, pid) => Self::ProcessCpu(Pid(pid)),
                }
            }
            _ => return Err(Errno::EINVAL),
        })
    }

    fn now(self, cx: &Cx<'_>) -> Result<Nanos, Errno> {
        Ok(match self {
            Self::Realtime | Self::RealtimeCoarse | Self::Tai => time::wall_at_boot() + time::now(),
            Self::Monotonic | Self::MonotonicCoarse | Self::MonotonicRaw => time::now(),
            Self::ProcessCpu(pid) => {
                sched::charge_running();
                let process = process::find(pid).map_err(|_| Errno::EINVAL)?;
                process.times.used()
            }
            Self::ThreadCpu(tid) => {
                sched::charge_current(cx.thread);
                let thread = process::find_thread(tid).map_err(|_| Errno::EINVAL)?;
                thread.run.times.used()
            }
        })
    }

    const fn resolution(self) -> Nanos {
        match self {
            Self::RealtimeCoarse | Self::MonotonicCoarse => COARSE,
            _ => Nanos(1),
        }
    }
}

/// `clock_gettime(2)`: all clocks of Linux but the dynamic ones of devices. `CLOCK_TAI` is UTC, as on a Linux that nobody
/// told the leap seconds.
pub(crate) fn sys_clock_gettime(cx: &mut Cx<'_>, id: i32, out: UserVa) -> SysResult {
    let now = Clock::decode(cx, id)?.now(cx)?;
    user_io::write_bytes(out, &Timespec::from_nanos(now).to_bytes())?;
    Ok(0)
}

/// `clock_getres(2)`.
pub(crate) fn sys_clock_getres(cx: &mut Cx<'_>, id: i32, out: UserVa) -> SysResult {
    let resolution = Clock::decode(cx, id)?.resolution();
    if !out.is_null() {
        user_io::write_bytes(out, &Timespec::from_nanos(resolution).to_bytes())?;
    }
    Ok(0)
}

/// `clock_settime(2)`: the host sets the time; `EPERM`, as without `CAP_SYS_TIME`.
pub(crate) fn sys_clock_settime(cx: &mut Cx<'_>, id: i32, new: UserVa) -> SysResult {
    let new = Timespec::from_bytes(&user_io::read_bytes(new)?);
    match Clock::decode(cx, id)? {
        Clock::Realtime if new.to_nanos().is_none() => Err(Errno::EINVAL),
        Clock::Realtime => {
            cx.trace_unsupported("clock_settime", 0);
            Err(Errno::EPERM)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `settimeofday(2)`: as [`sys_clock_settime`]; a time zone alone changes nothing, as the first one on Linux.
pub(crate) fn sys_settimeofday(cx: &mut Cx<'_>, new: UserVa, _zone: UserVa) -> SysResult {
    const MICROS: u64 = 1_000_000;
    if new.is_null() {
        return Ok(0);
    }
    let seconds = user_io::read_u64(new)?;
    let micros = user_io::read_u64(new.wrapping_add(8))?;
    if seconds.cast_signed() < 0 || micros >= MICROS {
        return Err(Errno::EINVAL);
    }
    cx.trace_unsupported("settimeofday", seconds);
    Err(Errno::EPERM)
}

/// `gettimeofday(2)`: the time zone is UTC.
pub(crate) fn sys_gettimeofday(_cx: &mut Cx<'_>, out: UserVa, zone: UserVa) -> SysResult {
    if !out.is_null() {
        let (sec, nsec) = (time::wall_at_boot() + time::now()).split();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&sec.to_le_bytes());
        bytes[8..].copy_from_slice(&u64::from(nsec / 1000).to_le_bytes());
        user_io::write_bytes(out, &bytes)?;
    }
    if !zone.is_null() {
        user_io::write_bytes(zone, &[0; 8])?;
    }
    Ok(0)
}

/// `time(2)`.
pub(crate) fn sys_time(_cx: &mut Cx<'_>, out: UserVa) -> SysResult {
    let (sec, _) = (time::wall_at_boot() + time::now()).split();
    if !out.is_null() {
        user_io::write_bytes(out, &sec.to_le_bytes())?;
    }
    Ok(sec)
}

fn read_duration(va: UserVa) -> Result<Nanos, Errno> {
    let spec = Timespec::from_bytes(&user_io::read_bytes(va)?);
    spec.to_nanos().ok_or(Errno::EINVAL)
}

/// `nanosleep(2)`.
pub(crate) fn sys_nanosleep(cx: &mut Cx<'_>, request: UserVa, remaining: UserVa) -> SysResult {
    let duration = read_duration(request)?;
    sleep_relative(cx, time::now() + duration, remaining)
}

/// `clock_nanosleep(2)`: sleeping by CPU time is `EOPNOTSUPP`, as it is for the raw and coarse clocks on Linux.
pub(crate) fn sys_clock_nanosleep(
    cx: &mut Cx<'_>,
    id: i32,
    flags: u32,
    request: UserVa,
    remaining: UserVa,
) -> SysResult {
    const TIMER_ABSTIME: u32 = 1;
    let wall = match Clock::decode(cx, id)? {
        Clock::Realtime | Clock::Tai => time::wall_at_boot(),
        Clock::Monotonic => Nanos::ZERO,
        Clock::ThreadCpu(_) => return Err(Errno::EINVAL),
        _ => {
            cx.trace_unsupported("clock_nanosleep clock", u64::from(id.cast_unsigned()));
            return Err(Errno::EOPNOTSUPP);
        }
    };
    let request = read_duration(request)?;
    if flags & TIMER_ABSTIME == 0 {
        return sleep_relative(cx, time::now() + request, remaining);
    }
    if sleep_until(cx, request - wall) {
        Ok(0)
    } else {
        Err(Errno::ERESTARTNOHAND)
    }
}

/// Sleeps until the deadline; returns `false` when a signal came first.
fn sleep_until(cx: &Cx<'_>, deadline: Nanos) -> bool {
    loop {
        if time::now() >= deadline {
            return true;
        }
        if cx.thread.has_deliverable_signal() {
            return false;
        }
        sched::park(cx.thread, Some(deadline));
    }
}

/// Sleeps until the deadline; a signal ends the sleep with what is left of it in `remaining` (unless null), and the sleep
/// goes on afterwards when no handler runs.
pub(super) fn sleep_relative(cx: &Cx<'_>, deadline: Nanos, remaining: UserVa) -> SysResult {
    if sleep_until(cx, deadline) {
        return Ok(0);
    }
    if !remaining.is_null() {
        let left = Timespec::from_nanos(deadline - time::now());
        user_io::write_bytes(remaining, &left.to_bytes())?;
    }
    let rest = Rest::Sleep {
        deadline,
        remaining,
    };
    cx.thread.signals.set_rest(rest);
    Err(Errno::ERESTART_RESTARTBLOCK)
}

/// Length of a clock tick (`sysconf(_SC_CLK_TCK)` is 100) in nanoseconds.
const TICK_NS: u64 = 10_000_000;

/// `times(2)`: time in the kernel is counted as the user's.
pub(crate) fn sys_times(cx: &mut Cx<'_>, out: UserVa) -> SysResult {
    if !out.is_null() {
        sched::charge_running();
        let own = cx.process.times.used();
        let children = kernel().family.lock().children_times(cx.process.pid);
        let ticks = [own, Nanos::ZERO, children.user, children.system].map(|t| t.0 / TICK_NS);
        let mut bytes = [0; 32];
        for (dst, word) in bytes.chunks_exact_mut(8).zip(ticks) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        user_io::write_bytes(out, &bytes)?;
    }
    Ok(time::now().0 / TICK_NS)
}

/// `getrusage(2)`: CPU time (that in the kernel counted as the user's), page faults, context switches and the most memory
/// that was resident; of children only the times. What is not counted is zero.
pub(crate) fn sys_getrusage(cx: &mut Cx<'_>, who: i32, out: UserVa) -> SysResult {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    const PAGE_KIB: u64 = 4;
    sched::charge_running();
    let max_resident_kib = cx.process.mm().peak_resident() * PAGE_KIB;
    let usage_of = |times: &sched::CpuTimes| {
        let (voluntary_switches, involuntary_switches) = times.switches();
        Rusage {
            user: times.used(),
            max_resident_kib,
            minor_faults: times.faults(),
            voluntary_switches,
            involuntary_switches,
            ..Rusage::default()
        }
    };
    let usage = match who {
        RUSAGE_SELF => usage_of(&cx.process.times),
        RUSAGE_THREAD => usage_of(&cx.thread.run.times),
        RUSAGE_CHILDREN => {
            let times = kernel().family.lock().children_times(cx.process.pid);
            Rusage {
                user: times.user,
                system: times.system,
                ..Rusage::default()
            }
        }
        _ => return Err(Errno::EINVAL),
    };
    user_io::write_bytes(out, &usage.to_bytes())?;
    Ok(0)
}
