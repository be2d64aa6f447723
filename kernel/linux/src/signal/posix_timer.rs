//! POSIX timers (`timer_create(2)`).
//!
//! ```text
//!  armed --expires--> its signal is queued --the signal is taken--> armed again, if it has an interval
//! ```
//! While its signal waits the timer is off, and taking the signal tells how many expirations that was (the overrun), so
//! that a signal that nobody takes costs nothing. A signal that is ignored at once lets the timer go on.
//!
//! A timer of CPU time is looked at when so much may have been used, and again if it was not.
//!
//! Lock order: the table of timers, a timer's state, then the CPUs' timer queues; signal queues are not touched under
//! them.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

use tyn_abi::signal::{SigInfo, Signal};
use tyn_abi::{Errno, Nanos, Tid};
use tyn_hal::sync::SpinLock;
use tyn_hal::{cpu, time};

use super::send::{self, Posted};
use crate::process::{self, Process};
use crate::sched::{self, TimerId, TimerTarget};
use crate::thread::Thread;

/// Most timers of a process (on Linux `RLIMIT_SIGPENDING` bounds them).
const MAX_TIMERS: usize = 4096;
/// `DELAYTIMER_MAX`.
const OVERRUN_MAX: u64 = i32::MAX as u64;

/// Whom an expiration is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Nobody (`SIGEV_NONE`).
    Nobody,
    /// The process (`SIGEV_SIGNAL`).
    Process,
    /// One of its threads (`SIGEV_THREAD_ID`).
    Thread(Tid),
}

/// What an expiration does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Whom it is told.
    pub target: Target,
    /// By which signal.
    pub signal: Signal,
    /// With which `si_value`; the timer's id when there is none.
    pub value: Option<u64>,
}

/// What a timer's times are of.
#[derive(Clone, Debug)]
pub enum TimerClock {
    /// Time that goes on by itself: so much ahead of the monotonic clock.
    Real(Nanos),
    /// The CPU time of a process.
    Process(Weak<Process>),
    /// The CPU time of a thread.
    Thread(Weak<Thread>),
}

/// Time from one look at CPU time to the next at the least.
const SHORTEST_LOOK: Nanos = Nanos(1_000_000);

impl TimerClock {
    /// Returns the time: of a real one the monotonic clock's. Who is gone uses no more. The caller holds no lock.
    fn now(&self) -> Nanos {
        let used = |times: Option<Nanos>| times.unwrap_or_default();
        match self {
            Self::Real(_) => time::now(),
            Self::Process(process) => {
                sched::charge_running();
                used(process.upgrade().map(|process| process.times.used()))
            }
            Self::Thread(thread) => {
                sched::charge_running();
                used(thread.upgrade().map(|thread| thread.run.times.used()))
            }
        }
    }

    /// Returns when the clock may show `deadline` at the earliest, as the monotonic clock has it; now it shows `now`. CPU time
    /// of a process grows no faster than the number of CPUs times that.
    fn earliest(&self, deadline: Nanos, now: Nanos) -> Nanos {
        let threads = match self {
            Self::Real(_) => return deadline,
            Self::Process(_) => cpu::count().max(1) as u64,
            Self::Thread(_) => 1,
        };
        time::now() + Nanos((deadline - now).0 / threads).max(SHORTEST_LOOK)
    }

    /// Returns the deadline that an absolute time of the clock is.
    fn deadline(&self, at: Nanos) -> Nanos {
        match self {
            Self::Real(offset) => at - *offset,
            Self::Process(_) | Self::Thread(_) => at,
        }
    }
}

/// `struct itimerspec`, both fields 0 when unused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Time between expirations.
    pub interval: Nanos,
    /// Time until the first one.
    pub value: Nanos,
}

/// The timers of a process.
#[derive(Debug)]
pub struct PosixTimers(SpinLock<Table>);

impl Default for PosixTimers {
    fn default() -> Self {
        Self(SpinLock::new(Table::default()))
    }
}

#[derive(Debug, Default)]
struct Table {
    timers: BTreeMap<u32, Arc<PosixTimer>>,
    next: u32,
}

/// A timer.
#[derive(Debug)]
pub struct PosixTimer {
    id: u32,
    process: Weak<Process>,
    notice: Notice,
    clock: TimerClock,
    state: SpinLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The kernel's timer for the next expiration.
    armed: Option<TimerId>,
    /// When that is due, or was when the signal waits. `None` when the timer is off.
    deadline: Option<Nanos>,
    interval: Nanos,
    /// Counts settings, from 1: expirations and signals of earlier ones are void.
    generation: u32,
    /// The signal is queued.
    is_told: bool,
    overrun: i32,
}

struct Expiry {
    timer: Weak<PosixTimer>,
    generation: u32,
}

impl State {
    /// Moves the deadline of an interval timer past `now`; returns how many more expirations that skips.
    fn forward(&mut self, now: Nanos) -> u64 {
        match self.deadline {
            Some(deadline) if self.interval > Nanos::ZERO && deadline <= now => {
                let skipped = (now - deadline).0 / self.interval.0;
                let step = self.interval.0.saturating_mul(skipped + 1);
                self.deadline = Some(deadline + Nanos(step));
                skipped
            }
            _ => 0,
        }
    }
}

impl PosixTimers {
    /// Makes a timer, which is off; returns its id.
    ///
    /// # Errors
    /// `EAGAIN` when the process has too many.
    pub fn create(process: &Arc<Process>, notice: Notice, clock: TimerClock) -> Result<u32, Errno> {
        let mut table = process.signals.posix_timers.0.lock();
        if table.timers.len() >= MAX_TIMERS {
            return Err(Errno::EAGAIN);
        }
        let mut id = table.next;
        while table.timers.contains_key(&id) {
            id = (id + 1) & i32::MAX.cast_unsigned();
        }
        table.next = (id + 1) & i32::MAX.cast_unsigned();
        let timer = PosixTimer {
            id,
            process: Arc::downgrade(process),
            notice,
            clock,
            state: SpinLock::new(State {
                generation: 1,
                ..State::default()
            }),
        };
        table.timers.insert(id, Arc::new(timer));
        Ok(id)
    }

    /// Returns a timer.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn get(&self, id: u32) -> Result<Arc<PosixTimer>, Errno> {
        let table = self.0.lock();
        table.timers.get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// Ends a timer.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn delete(&self, id: u32) -> Result<(), Errno> {
        let removed = self.0.lock().timers.remove(&id).ok_or(Errno::EINVAL)?;
        removed.disarm();
        Ok(())
    }

    /// Ends all timers (`execve(2)`).
    pub fn delete_all(&self) {
        let removed = core::mem::take(&mut self.0.lock().timers);
        removed.values().for_each(|timer| timer.disarm());
    }

    /// Completes the signal of a timer that is being taken; `None` when the timer is gone or was set anew.
    pub(super) fn complete(&self, info: SigInfo) -> Option<SigInfo> {
        let Some((id, mark)) = info.timer_and_mark() else {
            return Some(info);
        };
        let overrun = self.get(id).ok()?.taken(mark)?;
        Some(info.with_overrun(overrun))
    }
}

/// A timer that is gone needs no expiry, which may be far away.
impl Drop for PosixTimer {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl PosixTimer {
    /// Sets the timer (`timer_settime(2)`); returns what it was. An absolute time is that of the timer's clock.
    pub fn set(self: &Arc<Self>, new: Setting, is_absolute: bool) -> Setting {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let old = self.shown(&mut state, now);
        if let Some(id) = state.armed.take() {
            sched::cancel_timer(id);
        }
        // 0 marks the signals of others.
        state.generation = state.generation.checked_add(1).unwrap_or(1);
        state.is_told = false;
        state.overrun = 0;
        state.interval = new.interval;
        state.deadline = (new.value > Nanos::ZERO).then(|| {
            if is_absolute {
                self.clock.deadline(new.value)
            } else {
                now + new.value
            }
        });
        if self.notice.target != Target::Nobody {
            self.arm(&mut state, now);
        }
        old
    }

    /// Returns the time left and the interval (`timer_gettime(2)`).
    #[must_use]
    pub fn get(&self) -> Setting {
        let now = self.clock.now();
        self.shown(&mut self.state.lock(), now)
    }

    /// Returns the overrun of the last signal taken (`timer_getoverrun(2)`).
    #[must_use]
    pub fn overrun(&self) -> i32 {
        self.state.lock().overrun
    }

    fn shown(&self, state: &mut State, now: Nanos) -> Setting {
        let interval = state.interval;
        let value = match state.deadline {
            None => Nanos::ZERO,
            Some(deadline) if deadline > now => deadline - now,
            Some(deadline) if interval > Nanos::ZERO => {
                let into = (now - deadline).0 % interval.0;
                Nanos(interval.0 - into)
            }
            // Due, but not told yet; without a signal to tell it is over.
            Some(_) if self.notice.target != Target::Nobody && !state.is_told => Nanos(1),
            Some(_) => Nanos::ZERO,
        };
        Setting { interval, value }
    }

    fn arm(self: &Arc<Self>, state: &mut State, now: Nanos) {
        if let Some(deadline) = state.deadline {
            let expiry = Expiry {
                timer: Arc::downgrade(self),
                generation: state.generation,
            };
            let at = self.clock.earliest(deadline, now);
            state.armed = Some(sched::set_timer(at, Arc::new(expiry)));
        }
    }

    fn disarm(&self) {
        let mut state = self.state.lock();
        state.deadline = None;
        state.generation = state.generation.checked_add(1).unwrap_or(1);
        if let Some(id) = state.armed.take() {
            sched::cancel_timer(id);
        }
    }

    /// The signal with this mark is taken: goes on to the next expiration and returns the overrun.
    fn taken(self: &Arc<Self>, mark: u32) -> Option<i32> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.generation != mark || !state.is_told {
            return None;
        }
        state.is_told = false;
        let skipped = state.forward(now);
        state.overrun = skipped.min(OVERRUN_MAX) as i32;
        if state.interval > Nanos::ZERO {
            self.arm(&mut state, now);
        } else {
            state.deadline = None;
        }
        Some(state.overrun)
    }

    /// Queues the signal; returns whether it waits for somebody to take it.
    fn tell(&self, mark: u32) -> bool {
        let Some(process) = self.process.upgrade() else {
            return false;
        };
        let Notice { signal, value, .. } = self.notice;
        let value = value.unwrap_or(u64::from(self.id));
        let info = SigInfo::from_timer(signal, self.id, value, mark);
        let posted = match self.notice.target {
            Target::Nobody => return false,
            Target::Process => send::post_to_process(&process, info, usize::MAX),
            Target::Thread(tid) => match process::find_thread(tid) {
                Ok(thread) if Arc::ptr_eq(thread.process(), &process) => {
                    send::post_to_thread(&thread, info, usize::MAX)
                }
                _ => return false,
            },
        };
        posted == Ok(Posted::Queued)
    }
}

impl TimerTarget for Expiry {
    fn expired(self: Arc<Self>, _: Nanos) {
        let Some(timer) = self.timer.upgrade() else {
            return;
        };
        let now = timer.clock.now();
        {
            let mut state = timer.state.lock();
            if state.generation != self.generation || state.armed.take().is_none() {
                return;
            }
            if state.deadline.is_some_and(|deadline| deadline > now) {
                // Not as much CPU time was used as could have been.
                return timer.arm(&mut state, now);
            }
            // Set before the signal is queued: whoever takes it finds it so.
            state.is_told = true;
        }
        if timer.tell(self.generation) {
            return;
        }
        // Nobody waits for it: the timer goes on by itself.
        let mut state = timer.state.lock();
        if state.generation == self.generation && state.is_told {
            state.is_told = false;
            state.forward(now);
            if state.interval > Nanos::ZERO {
                timer.arm(&mut state, now);
            } else {
                state.deadline = None;
            }
        }
    }
}
