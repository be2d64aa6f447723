//! The interval timer of real time (`setitimer(2)`, `alarm(2)`).

use alloc::sync::{Arc, Weak};

use tyn_abi::Nanos;
use tyn_abi::signal::Signal;
use tyn_hal::sync::SpinLock;
use tyn_hal::time;

use super::send_from_kernel;
use crate::process::Process;
use crate::sched::{self, TimerId, TimerTarget};

/// What `struct itimerval` says: time until the next expiration (0: disarmed), and between further ones (0: none).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IntervalTimer {
    interval: Nanos,
    value: Nanos,
}

const MICROS_PER_SEC: u64 = 1_000_000;

impl IntervalTimer {
    /// Returns a timer that expires once.
    #[must_use]
    pub const fn once(seconds: u32) -> Self {
        Self {
            interval: Nanos::ZERO,
            value: Nanos(seconds as u64 * Nanos::PER_SEC),
        }
    }

    /// Returns a timer with this interval and this time left.
    #[must_use]
    pub const fn new(interval: Nanos, value: Nanos) -> Self {
        Self { interval, value }
    }

    /// Returns the interval and the time left.
    #[must_use]
    pub const fn parts(self) -> (Nanos, Nanos) {
        (self.interval, self.value)
    }

    /// Reads the kernel layout; `None` when a field is out of range.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |i: usize| words.get(i).map_or(0, |w| u64::from_le_bytes(*w));
        let time = |sec: u64, micros: u64| {
            let is_valid = sec.cast_signed() >= 0 && micros < MICROS_PER_SEC;
            let nanos = sec.saturating_mul(Nanos::PER_SEC);
            is_valid.then(|| Nanos(nanos) + Nanos(micros * 1000))
        };
        Some(Self {
            interval: time(word(0), word(1))?,
            value: time(word(2), word(3))?,
        })
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (interval_sec, interval_ns) = self.interval.split();
        let (value_sec, value_ns) = self.value.split();
        let words = [
            interval_sec,
            u64::from(interval_ns / 1000),
            value_sec,
            u64::from(value_ns / 1000),
        ];
        for (dst, word) in bytes.chunks_exact_mut(8).zip(words) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Returns what is left as `alarm(2)` reports it: rounded to seconds, but 0 only when disarmed.
    #[must_use]
    pub fn seconds_left(self) -> u64 {
        let (sec, nanos) = self.value.split();
        let rounds_up = u64::from(nanos) >= Nanos::PER_SEC / 2 || (sec == 0 && nanos > 0);
        sec + u64::from(rounds_up)
    }
}

/// A process's timer.
#[derive(Debug)]
pub struct RealTimer(SpinLock<State>);

#[derive(Debug, Default)]
struct State {
    armed: Option<(TimerId, Nanos)>,
    interval: Nanos,
    /// Counts settings: an expiry of an earlier one is void.
    generation: u64,
}

struct Expiry {
    process: Weak<Process>,
    generation: u64,
}

impl Default for RealTimer {
    fn default() -> Self {
        Self(SpinLock::new(State::default()))
    }
}

impl State {
    fn shown(&self, now: Nanos) -> IntervalTimer {
        // One that is due but has not fired yet is still armed.
        let left = self
            .armed
            .map(|(_, deadline)| (deadline - now).max(Nanos(1)));
        IntervalTimer {
            interval: self.interval,
            value: left.unwrap_or_default(),
        }
    }

    fn arm(&mut self, process: Weak<Process>, deadline: Nanos) {
        let expiry = Expiry {
            process,
            generation: self.generation,
        };
        let id = sched::set_timer(deadline, Arc::new(expiry));
        self.armed = Some((id, deadline));
    }
}

impl RealTimer {
    /// Returns the time left and the interval.
    #[must_use]
    pub fn get(&self) -> IntervalTimer {
        self.0.lock().shown(time::now())
    }

    /// Sets the timer of a process and returns what it was.
    pub fn set(process: &Arc<Process>, setting: IntervalTimer) -> IntervalTimer {
        let now = time::now();
        let mut state = process.signals.real_timer.0.lock();
        let old = state.shown(now);
        if let Some((id, _)) = state.armed.take() {
            sched::cancel_timer(id);
        }
        state.generation += 1;
        state.interval = setting.interval;
        if setting.value > Nanos::ZERO {
            state.arm(Arc::downgrade(process), now + setting.value);
        }
        old
    }
}

/// A process that is gone needs no expiry, which may be far away.
impl Drop for RealTimer {
    fn drop(&mut self) {
        if let Some((id, _)) = self.0.lock().armed.take() {
            sched::cancel_timer(id);
        }
    }
}

impl TimerTarget for Expiry {
    fn expired(self: Arc<Self>, now: Nanos) {
        let Some(process) = self.process.upgrade() else {
            return;
        };
        {
            let mut state = process.signals.real_timer.0.lock();
            let Some((_, deadline)) = state.armed else {
                return;
            };
            if state.generation != self.generation {
                return;
            }
            state.armed = None;
            if state.interval > Nanos::ZERO && !process.is_exiting() {
                // Expirations that were missed merge into one, as SIGALRM does.
                let missed = (now - deadline).0 / state.interval.0;
                let next = deadline + Nanos(state.interval.0.saturating_mul(missed + 1));
                state.arm(Weak::clone(&self.process), next);
            }
        }
        send_from_kernel(&process, Signal::SIGALRM.number());
    }
}
