//! Signals at a CPU time: `ITIMER_VIRTUAL` and `ITIMER_PROF` (`setitimer(2)`), `RLIMIT_CPU` (`getrlimit(2)`).
//!
//! A process's CPU time cannot grow faster than the number of CPUs times the clock. So a kernel timer is set for the
//! earliest point at which an alarm may be due; then the time used is looked at, and the timer set anew if it was too
//! early. Processes without alarms have no timer.

use alloc::sync::{Arc, Weak};

use tyn_abi::Nanos;
use tyn_abi::signal::Signal;
use tyn_hal::sync::SpinLock;
use tyn_hal::{cpu, time};

use super::{IntervalTimer, send_from_kernel};
use crate::limits::{Resource, Rlimit};
use crate::process::Process;
use crate::sched::{self, TimerId, TimerTarget};

/// Time from one look to the next at the least.
const SHORTEST: Nanos = Nanos(1_000_000);

/// The interval timers of CPU time. Time in ring 3 and in the kernel are not told apart, so both count the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuTimer {
    /// `ITIMER_VIRTUAL`: SIGVTALRM.
    Virtual,
    /// `ITIMER_PROF`: SIGPROF.
    Prof,
}

/// A process's alarms.
#[derive(Debug)]
pub struct CpuAlarms(SpinLock<Alarms>);

impl Default for CpuAlarms {
    fn default() -> Self {
        Self(SpinLock::new(Alarms::default()))
    }
}

#[derive(Debug, Default)]
struct Alarms {
    /// By [`CpuTimer`].
    timers: [Alarm; 2],
    /// When SIGXCPU is due.
    limit: Option<Nanos>,
    /// When the process is killed.
    hard_limit: Option<Nanos>,
    armed: Option<TimerId>,
    /// Counts settings: a look that an earlier one asked for is void.
    generation: u64,
}

/// CPU time at which an alarm is due, and between further ones (0: none).
#[derive(Clone, Copy, Debug, Default)]
struct Alarm {
    at: Option<Nanos>,
    interval: Nanos,
}

struct Look {
    process: Weak<Process>,
    generation: u64,
}

impl Alarm {
    fn shown(self, used: Nanos) -> IntervalTimer {
        let left = self.at.map(|at| (at - used).max(Nanos(1000)));
        IntervalTimer::new(self.interval, left.unwrap_or_default())
    }

    /// Returns whether the alarm is due, and sets it for the next time.
    fn take_due(&mut self, used: Nanos) -> bool {
        let Some(at) = self.at.filter(|&at| at <= used) else {
            return false;
        };
        self.at = (self.interval > Nanos::ZERO).then(|| {
            let missed = (used - at).0 / self.interval.0;
            at + Nanos(self.interval.0.saturating_mul(missed + 1))
        });
        true
    }
}

impl Alarms {
    fn next(&self) -> Option<Nanos> {
        let timers = self.timers.iter().filter_map(|alarm| alarm.at);
        timers.chain(self.limit).chain(self.hard_limit).min()
    }

    /// Has the time used looked at when the next alarm may be due.
    fn arm(&mut self, process: &Arc<Process>, used: Nanos) {
        if let Some(id) = self.armed.take() {
            sched::cancel_timer(id);
        }
        self.generation += 1;
        let Some(next) = self.next() else { return };
        let cpus = cpu::count().max(1) as u64;
        let wait = Nanos((next - used).0 / cpus).max(SHORTEST);
        let look = Look {
            process: Arc::downgrade(process),
            generation: self.generation,
        };
        self.armed = Some(sched::set_timer(time::now() + wait, Arc::new(look)));
    }
}

/// A process that is gone needs no look, which may be far away.
impl Drop for CpuAlarms {
    fn drop(&mut self) {
        if let Some(id) = self.0.lock().armed.take() {
            sched::cancel_timer(id);
        }
    }
}

fn used(process: &Process) -> Nanos {
    sched::charge_running();
    process.times.used()
}

impl CpuAlarms {
    /// Returns the time left and the interval of a timer.
    #[must_use]
    pub fn get(process: &Process, which: CpuTimer) -> IntervalTimer {
        let used = used(process);
        let alarms = process.signals.cpu_alarms.0.lock();
        alarms.timers[which as usize].shown(used)
    }

    /// Sets a timer and returns what it was.
    pub fn set(process: &Arc<Process>, which: CpuTimer, new: IntervalTimer) -> IntervalTimer {
        let used = used(process);
        let mut alarms = process.signals.cpu_alarms.0.lock();
        let (interval, value) = new.parts();
        let alarm = Alarm {
            at: (value > Nanos::ZERO).then(|| used + value),
            interval,
        };
        let old = core::mem::replace(&mut alarms.timers[which as usize], alarm).shown(used);
        alarms.arm(process, used);
        old
    }

    /// Follows `RLIMIT_CPU`, which was set or inherited.
    pub fn follow_limit(process: &Arc<Process>) {
        let Rlimit { soft, hard } = process.limits.get(Resource::CPU);
        let at = |seconds: u64| {
            let ns = seconds.max(1).saturating_mul(Nanos::PER_SEC);
            (seconds != Rlimit::INFINITY).then_some(Nanos(ns))
        };
        let mut alarms = process.signals.cpu_alarms.0.lock();
        let (limit, hard_limit) = (at(soft), at(hard));
        if (alarms.limit, alarms.hard_limit) != (limit, hard_limit) {
            alarms.limit = limit;
            alarms.hard_limit = hard_limit;
            let used = process.times.used();
            alarms.arm(process, used);
        }
    }
}

impl TimerTarget for Look {
    fn expired(self: Arc<Self>, _now: Nanos) {
        let Some(process) = self.process.upgrade() else {
            return;
        };
        if process.is_exiting() {
            return;
        }
        let used = used(&process);
        let due = {
            let mut alarms = process.signals.cpu_alarms.0.lock();
            if alarms.generation != self.generation {
                return;
            }
            alarms.armed = None;
            let [first, second] = &mut alarms.timers;
            let timers = [first.take_due(used), second.take_due(used)];
            let is_over = |limit: Option<Nanos>| limit.is_some_and(|at| at <= used);
            let (limit, hard) = (is_over(alarms.limit), is_over(alarms.hard_limit));
            if limit {
                // Again each second, as on Linux.
                alarms.limit = alarms.limit.map(|at| at + Nanos(Nanos::PER_SEC));
            }
            alarms.arm(&process, used);
            let signals = [Signal::SIGVTALRM, Signal::SIGPROF, Signal::SIGXCPU];
            let is_due = [timers[0], timers[1], limit && !hard];
            (hard, signals.into_iter().zip(is_due))
        };
        let (is_killed, signals) = due;
        if is_killed {
            send_from_kernel(&process, Signal::SIGKILL.number());
        }
        for (signal, is_due) in signals {
            if is_due {
                send_from_kernel(&process, signal.number());
            }
        }
    }
}
