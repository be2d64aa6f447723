//! Keeps the clock at the pace of its reference: what was measured for some milliseconds at the beginning is some millionths
//! off, which is seconds a day.
//!
//! From time to time the reference is read. It tells how much time has really passed since the last time, although it begins
//! again every few seconds: the clock is right enough to know how often it did. The rate is set to what was measured since the
//! last time, and a little beside that, so that the next time clock and reference agree. The clock never jumps.

use super::reference::Sample;

const PER_SEC: u64 = 1_000_000_000;
/// Time until the first look, and after one that told nothing.
const FIRST: u64 = PER_SEC;
/// Most periods of the reference between two looks. A host that slews its clock by as much as it may ([`MOST_SLEW`]) takes a
/// seventh of a period from the clock's idea of them; with half of one it could no longer be told how many there were.
const PERIODS: u64 = 300;
/// Most nanoseconds between two looks.
const LONGEST: u64 = 64 * PER_SEC;
/// Most by which the clock's rate is changed to catch up, in millionths, and most by which a rate may be different from
/// before: as much as hosts slew their clocks (`adjtimex(2)`).
const MOST_SLEW: i128 = 500;
/// The same for the first look, which corrects what was measured at the beginning.
const MOST_AT_FIRST: i128 = 5000;
/// How inexact a sample may be in relation to the time that it measures, in millionths.
const MOST_BLUR: u128 = 20;
/// What a sample's ticks and a busy host may add to any difference, in nanoseconds.
const SLACK: i128 = 100_000;

/// The state from one look to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    hz: u64,
    /// After so many ticks the reference begins again.
    period: u64,
    /// The last sample that counted.
    ticks: u64,
    tsc: u64,
    /// What the clock showed then.
    clock: u64,
    /// How far the clock was behind the reference then, in nanoseconds.
    behind: i128,
    /// Time until the next look.
    interval: u64,
    is_first: bool,
}

/// What came of a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    /// The clock's new rate, in nanoseconds for 2^32 ticks of the TSC; `None`: as before.
    pub(super) mult: Option<u64>,
    /// Nanoseconds until the next look.
    pub(super) wait: u64,
}

impl Follower {
    /// Begins with a sample; the clock shows `clock` at it, and agrees with the reference.
    pub(super) fn new(hz: u64, period: u64, sample: Sample, clock: u64) -> Self {
        Self {
            hz,
            period,
            ticks: sample.ticks,
            tsc: sample.tsc,
            clock,
            behind: 0,
            interval: FIRST,
            is_first: true,
        }
    }

    /// Takes a sample at which the clock, whose rate is `mult`, shows `clock`.
    pub(super) fn look(&mut self, sample: Sample, clock: u64, mult: u64) -> Look {
        let showed = i128::from(clock) - i128::from(self.clock);
        let blur = (u128::from(sample.took) * u128::from(mult)) >> 32;
        let passed = i128::from(self.ns(self.ticks_since(sample.ticks, showed)));
        let lost = passed - showed;
        let most = if self.is_first {
            MOST_AT_FIRST
        } else {
            MOST_SLEW
        };
        if lost.abs() > passed.max(showed) * most / 1_000_000 + SLACK || passed <= 0 {
            // One of the two stood still, the machine was stopped or moved: what happened to the time nobody knows.
            *self = Self {
                is_first: self.is_first,
                ..Self::new(self.hz, self.period, sample, clock)
            };
            return self.again();
        }
        if blur * 1_000_000 > showed as u128 * MOST_BLUR {
            // The host took the CPU away in the middle of each try; the same look is made once more, later.
            return self.again();
        }
        let ticks = i128::from(sample.tsc) - i128::from(self.tsc);
        let rate = (passed << 32) / ticks.max(1);
        self.behind += lost;
        self.ticks = sample.ticks;
        self.tsc = sample.tsc;
        self.clock = clock;
        self.is_first = false;
        self.interval = (self.interval * 2).min(self.longest());
        let most = i128::from(self.interval) * MOST_SLEW / 1_000_000;
        let catch_up = self.behind.clamp(-most, most);
        let rate = rate + rate * catch_up / i128::from(self.interval);
        Look {
            mult: u64::try_from(rate).ok(),
            wait: self.interval,
        }
    }

    fn again(&self) -> Look {
        Look {
            mult: None,
            wait: FIRST.min(self.interval),
        }
    }

    /// Returns how many ticks have passed when the reference shows `ticks`: of those that it may have been, what comes next to
    /// the time that the clock tells, in nanoseconds.
    fn ticks_since(&self, ticks: u64, showed: i128) -> u64 {
        let least = ticks.wrapping_sub(self.ticks) & (self.period - 1);
        let period = i128::from(self.period) * i128::from(PER_SEC);
        let rest = showed * i128::from(self.hz) - i128::from(least) * i128::from(PER_SEC);
        let rounds = (rest + period / 2).div_euclid(period).max(0);
        least + rounds as u64 * self.period
    }

    fn ns(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * u128::from(PER_SEC) / u128::from(self.hz)) as u64
    }

    /// Returns the most time between two looks.
    fn longest(&self) -> u64 {
        LONGEST.min(self.ns(self.period * PERIODS)).max(FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PM_TIMER: (u64, u64) = (3_579_545, 1 << 24);
    const PIT: (u64, u64) = (1_193_182, 1 << 16);
    /// Nanoseconds in 2^32 ticks of a TSC of 2.5 GHz.
    const RIGHT: u64 = (1 << 32) * 2 / 5;

    /// A machine: true time, its TSC and reference, and the clock that follows.
    struct Machine {
        hz: u64,
        period: u64,
        /// True time in nanoseconds.
        time: u64,
        /// Ticks of the TSC that are not of the true time.
        extra: u64,
        base: (u64, u64),
        mult: u64,
        follower: Follower,
        wait: u64,
    }

    impl Machine {
        fn new((hz, period): (u64, u64), mult: u64) -> Self {
            let mut machine = Self {
                hz,
                period,
                time: 300_000_000,
                extra: 0,
                base: (0, 0),
                mult,
                follower: Follower::new(hz, period, sample(0, 0, 0), 0),
                wait: FIRST,
            };
            let first = machine.sample(0, 0);
            machine.follower = Follower::new(hz, period, first, machine.clock());
            machine
        }

        fn tsc(&self) -> u64 {
            self.time * 5 / 2 + self.extra
        }

        fn clock(&self) -> u64 {
            let (tsc, ns) = self.base;
            ns + ((u128::from(self.tsc() - tsc) * u128::from(self.mult)) >> 32) as u64
        }

        /// A sample whose reference was read so many nanoseconds after the TSC.
        fn sample(&self, late: u64, took: u64) -> Sample {
            let ticks = u128::from(self.time + late) * u128::from(self.hz) / 1_000_000_000;
            sample(ticks as u64 & (self.period - 1), self.tsc(), took)
        }

        /// Lets time pass until the next look, and makes it.
        fn step(&mut self, late: u64, took: u64) -> Look {
            self.time += self.wait;
            let (sample, clock) = (self.sample(late, took), self.clock());
            let look = self.follower.look(sample, clock, self.mult);
            if let Some(mult) = look.mult {
                self.base = (self.tsc(), clock);
                self.mult = mult;
            }
            self.wait = look.wait;
            look
        }

        /// How far the clock is off, in nanoseconds, apart from what it was at the beginning.
        fn error(&self) -> i64 {
            self.clock() as i64 - self.time as i64
        }
    }

    fn sample(ticks: u64, tsc: u64, took: u64) -> Sample {
        Sample {
            ticks,
            tsc,
            apic: 0,
            took,
        }
    }

    /// A rate that is so many millionths too high.
    fn wrong(millionths: i64) -> u64 {
        (RIGHT as i64 + RIGHT as i64 / 1_000_000 * millionths) as u64
    }

    #[test]
    fn clock_that_was_measured_badly_comes_right() {
        for reference in [PM_TIMER, PIT] {
            for millionths in [0, 26, -26, 1200, -1200, 4000] {
                let mut machine = Machine::new(reference, wrong(millionths));
                let start = machine.error();
                let mut steps = 0;
                while machine.time < 1800 * PER_SEC {
                    machine.step(0, 2500);
                    steps += 1;
                }
                // Ticks of the reference are 0.3 and 0.8 µs long; the first second stays lost where it is more than what may
                // be caught up.
                let off = machine.error() - start;
                assert!(off.abs() < 5_000, "{reference:?} {millionths}: {off} ns");
                assert!(steps < 200, "{steps} looks in half an hour");
            }
        }
    }

    #[test]
    fn host_that_slews_its_clock_is_followed() {
        for reference in [PM_TIMER, PIT] {
            let mut machine = Machine::new(reference, RIGHT);
            for _ in 0..20 {
                machine.step(0, 2500);
            }
            // The TSC runs 400 millionths faster than the host's time from now on.
            let start = machine.error();
            for _ in 0..40 {
                machine.extra += machine.wait / 1000;
                machine.step(0, 2500);
            }
            let off = machine.error() - start;
            // It is behind by one look at most.
            assert!(off.abs() < 500_000, "{reference:?}: {off} ns");
        }
    }

    #[test]
    fn stopped_machine_is_not_slewed() {
        let mut machine = Machine::new(PM_TIMER, RIGHT);
        for _ in 0..12 {
            machine.step(0, 2500);
        }
        // The TSC went on for 20.5 s while the reference stood still.
        machine.extra += 51_250_000_000;
        let look = machine.step(0, 2500);
        assert_eq!((look.mult, look.wait), (None, FIRST));
        // Nothing is caught up afterwards.
        let ahead = machine.error();
        for _ in 0..10 {
            machine.step(0, 2500);
        }
        assert!((machine.error() - ahead).abs() < 5_000);
    }

    #[test]
    fn samples_that_took_long_do_not_count() {
        let mut machine = Machine::new(PM_TIMER, wrong(30));
        // 30 µs in a second are 30 millionths, too many.
        let look = machine.step(29_000, 75_000);
        assert_eq!((look.mult, look.wait), (None, FIRST));
        // Another second later they are 15.
        assert!(machine.step(29_000, 75_000).mult.is_some());
    }

    proptest! {
        #[test]
        fn any_sample_leaves_a_rate_near_the_one_before(
            steps in prop::collection::vec((any::<u64>(), 0u64..1 << 40, any::<u64>()), 1..20),
            is_pit: bool,
        ) {
            let (hz, period) = if is_pit { PIT } else { PM_TIMER };
            let mut follower = Follower::new(hz, period, sample(5, 0, 0), 0);
            let (mut tsc, mut clock, mut mult) = (0u64, 0u64, RIGHT);
            for (ticks, more, took) in steps {
                tsc += more;
                clock += ((u128::from(more) * u128::from(mult)) >> 32) as u64;
                let look = follower.look(sample(ticks & (period - 1), tsc, took), clock, mult);
                prop_assert!((FIRST..=LONGEST).contains(&look.wait));
                if let Some(new) = look.mult && more > 2_500_000_000 {
                    prop_assert!(new.abs_diff(mult) <= mult / 100, "{mult} {new}");
                    mult = new;
                }
            }
        }
    }
}
