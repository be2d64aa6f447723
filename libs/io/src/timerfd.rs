//! The timer of `timerfd_create(2)`.
//!
//! Nothing runs when the timer expires: how often it did follows from its deadline, its interval and the time now. Who
//! holds it asks [`TimerFd::deadline`] when to look (and to tell observers); after an expiry that is nowhere until the
//! timer was read or set, as in Linux.

use tyn_abi::{Errno, Events, Nanos, Sink};

/// The time now, on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Since boot (`CLOCK_MONOTONIC`, `CLOCK_BOOTTIME`).
    pub monotonic: Nanos,
    /// Since 1970 (`CLOCK_REALTIME`).
    pub realtime: Nanos,
}

/// The clock that a timer follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`, and `CLOCK_BOOTTIME`, which is the same for a machine that never sleeps.
    Monotonic,
    /// `CLOCK_REALTIME`: absolute times move when the clock is set.
    Realtime,
}

/// How [`Setting::value`] is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// From now.
    Relative,
    /// A time of the timer's clock (`TFD_TIMER_ABSTIME`).
    Absolute,
    /// The same, and reads fail once when the clock was set (`TFD_TIMER_CANCEL_ON_SET`; `CLOCK_REALTIME` only).
    AbsoluteCancelOnSet,
}

/// `struct itimerspec`: zero in `value` means disarmed, zero in `interval` means once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Time between further expirations.
    pub interval: Nanos,
    /// Time to the first (or next) expiration.
    pub value: Nanos,
}

/// A timer.
#[derive(Debug)]
pub struct TimerFd {
    clock: Clock,
    /// The clock that `next` counts on: relative timers do not follow changes of `CLOCK_REALTIME`.
    base: Clock,
    /// First expiration that was not read; `None` when disarmed or when a single expiration was read.
    next: Option<Nanos>,
    interval: Nanos,
    /// For `TFD_TIMER_CANCEL_ON_SET`: the offset between the clocks when last looked at.
    cancel_offset: Option<i128>,
}

impl Now {
    fn on(self, clock: Clock) -> Nanos {
        match clock {
            Clock::Monotonic => self.monotonic,
            Clock::Realtime => self.realtime,
        }
    }

    fn offset(self) -> i128 {
        i128::from(self.realtime.0) - i128::from(self.monotonic.0)
    }
}

impl TimerFd {
    /// Makes a disarmed timer.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self {
            clock,
            base: clock,
            next: None,
            interval: Nanos::ZERO,
            cancel_offset: None,
        }
    }

    /// Arms or disarms the timer and returns its former setting. Expirations that were not read are forgotten.
    pub fn set(&mut self, now: Now, start: Start, new: Setting) -> Setting {
        let old = self.get(now);
        self.base = match start {
            Start::Relative => Clock::Monotonic,
            Start::Absolute | Start::AbsoluteCancelOnSet => self.clock,
        };
        self.interval = new.interval;
        self.next = match start {
            _ if new.value == Nanos::ZERO => None,
            Start::Relative => Some(now.on(self.base) + new.value),
            Start::Absolute | Start::AbsoluteCancelOnSet => Some(new.value),
        };
        let cancels = start == Start::AbsoluteCancelOnSet && self.clock == Clock::Realtime;
        self.cancel_offset = cancels.then(|| now.offset());
        old
    }

    /// Returns the interval and the time to the next expiration; zero when there is none.
    #[must_use]
    pub fn get(&self, now: Now) -> Setting {
        let at = now.on(self.base);
        let value = self.next.map_or(Nanos::ZERO, |next| {
            let passed = self.expirations(now).saturating_mul(self.interval.0);
            next + Nanos(passed) - at
        });
        Setting {
            interval: self.interval,
            value,
        }
    }

    /// Returns how often the timer has expired since it was last read or set.
    fn expirations(&self, now: Now) -> u64 {
        let at = now.on(self.base);
        match self.next {
            Some(next) if next <= at => (at - next)
                .0
                .checked_div(self.interval.0)
                .map_or(1, |n| n.saturating_add(1)),
            _ => 0,
        }
    }

    /// Returns whether the timer has expired since it was last read or set, and what is left until it does first
    /// (`/proc/PID/fdinfo`).
    #[must_use]
    pub fn progress(&self, now: Now) -> (bool, Nanos) {
        let left = self
            .next
            .map_or(0, |next| next.0.saturating_sub(now.on(self.base).0));
        (self.expirations(now) > 0, Nanos(left))
    }

    fn was_canceled(&self, now: Now) -> bool {
        self.cancel_offset
            .is_some_and(|offset| offset != now.offset())
    }

    /// Puts the number of expirations since the last read into `dst`; returns 8.
    ///
    /// # Errors
    /// `EINVAL` when `dst` takes less than 8 bytes, `EAGAIN` when there were none, `ECANCELED` once after the clock was
    /// set (`TFD_TIMER_CANCEL_ON_SET`), `EFAULT`.
    pub fn read(&mut self, now: Now, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        if self.was_canceled(now) {
            self.cancel_offset = Some(now.offset());
            return Err(Errno::ECANCELED);
        }
        let count = self.expirations(now);
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        self.next = self
            .next
            .filter(|_| self.interval > Nanos::ZERO)
            .map(|next| next + Nanos(count.saturating_mul(self.interval.0)));
        dst.write_all(&count.to_le_bytes())?;
        Ok(8)
    }

    /// Returns what the timer is ready for.
    #[must_use]
    pub fn poll(&self, now: Now) -> Events {
        if self.was_canceled(now) || self.expirations(now) > 0 {
            Events::IN
        } else {
            Events::empty()
        }
    }

    /// Returns the monotonic time at which the timer becomes ready, or `None` when it is ready or disarmed. To be asked
    /// again after `set`, `read` and a change of the clock.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<Nanos> {
        let at = now.on(self.base);
        self.next
            .filter(|&next| next > at)
            .map(|next| now.monotonic + (next - at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_700_000_000_000_000_000;

    fn at(ns: u64) -> Now {
        Now {
            monotonic: Nanos(ns),
            realtime: Nanos(WALL + ns),
        }
    }

    fn setting(value: u64, interval: u64) -> Setting {
        Setting {
            value: Nanos(value),
            interval: Nanos(interval),
        }
    }

    fn read(t: &mut TimerFd, now: Now) -> Result<u64, Errno> {
        let mut buf = [0; 8];
        t.read(now, &mut &mut buf[..])
            .map(|_| u64::from_le_bytes(buf))
    }

    #[test]
    fn one_shot_expires_once() {
        let mut t = TimerFd::new(Clock::Monotonic);
        assert_eq!(
            t.set(at(1000), Start::Relative, setting(500, 0)),
            setting(0, 0)
        );
        assert_eq!(t.deadline(at(1000)), Some(Nanos(1500)));
        assert_eq!(read(&mut t, at(1499)), Err(Errno::EAGAIN));
        assert_eq!(t.get(at(1400)), setting(100, 0));
        assert_eq!(t.poll(at(1500)), Events::IN);
        assert_eq!(t.deadline(at(1500)), None);
        assert_eq!(read(&mut t, at(9000)), Ok(1));
        assert_eq!(read(&mut t, at(9001)), Err(Errno::EAGAIN));
        assert_eq!(t.get(at(9001)), setting(0, 0));
    }

    #[test]
    fn interval_counts_overruns_and_keeps_its_phase() {
        let mut t = TimerFd::new(Clock::Monotonic);
        t.set(at(0), Start::Relative, setting(100, 30));
        assert_eq!(t.get(at(135)), setting(25, 30));
        assert_eq!(read(&mut t, at(165)), Ok(3));
        assert_eq!(t.deadline(at(165)), Some(Nanos(190)));
        assert_eq!(read(&mut t, at(189)), Err(Errno::EAGAIN));
        assert_eq!(read(&mut t, at(190)), Ok(1));
    }

    #[test]
    fn absolute_time_in_the_past_expires_at_once() {
        let mut t = TimerFd::new(Clock::Monotonic);
        t.set(at(1000), Start::Absolute, setting(1, 0));
        assert_eq!(t.poll(at(1000)), Events::IN);
        assert_eq!(t.get(at(1000)), setting(0, 0));
        assert_eq!(read(&mut t, at(1000)), Ok(1));
    }

    #[test]
    fn zero_value_disarms_and_forgets() {
        let mut t = TimerFd::new(Clock::Monotonic);
        t.set(at(0), Start::Relative, setting(10, 10));
        assert_eq!(
            t.set(at(25), Start::Relative, setting(0, 7)),
            setting(5, 10)
        );
        assert_eq!(t.poll(at(100)), Events::empty());
        assert_eq!(read(&mut t, at(100)), Err(Errno::EAGAIN));
        assert_eq!(t.get(at(100)), setting(0, 7));
    }

    #[test]
    fn realtime_absolute_follows_the_clock_and_relative_does_not() {
        let mut absolute = TimerFd::new(Clock::Realtime);
        let mut relative = TimerFd::new(Clock::Realtime);
        absolute.set(at(0), Start::Absolute, setting(WALL + 100, 0));
        relative.set(at(0), Start::Relative, setting(100, 0));
        assert_eq!(absolute.deadline(at(10)), Some(Nanos(100)));
        let advanced = Now {
            monotonic: Nanos(10),
            realtime: Nanos(WALL + 90),
        };
        assert_eq!(absolute.deadline(advanced), Some(Nanos(20)));
        assert_eq!(relative.deadline(advanced), Some(Nanos(100)));
    }

    #[test]
    fn clock_change_cancels_one_read() {
        let mut t = TimerFd::new(Clock::Realtime);
        t.set(at(0), Start::AbsoluteCancelOnSet, setting(WALL + 1000, 0));
        assert_eq!(t.poll(at(5)), Events::empty());
        let changed = Now {
            monotonic: Nanos(10),
            realtime: Nanos(WALL + 11),
        };
        assert_eq!(t.poll(changed), Events::IN);
        assert_eq!(read(&mut t, changed), Err(Errno::ECANCELED));
        assert_eq!(read(&mut t, changed), Err(Errno::EAGAIN));
        let mut monotonic = TimerFd::new(Clock::Monotonic);
        monotonic.set(at(0), Start::AbsoluteCancelOnSet, setting(1000, 0));
        assert_eq!(monotonic.poll(changed), Events::empty());
    }

    #[test]
    fn extreme_values_saturate() {
        let mut t = TimerFd::new(Clock::Monotonic);
        t.set(at(5), Start::Relative, setting(u64::MAX, u64::MAX));
        assert_eq!(t.deadline(at(5)), Some(Nanos::MAX));
        t.set(at(5), Start::Relative, setting(1, 1));
        let far = Now {
            monotonic: Nanos::MAX,
            realtime: Nanos::MAX,
        };
        assert_eq!(read(&mut t, far), Ok(u64::MAX - 5));
        assert_eq!(t.read(far, &mut &mut [0; 4][..]), Err(Errno::EINVAL));
    }
}
