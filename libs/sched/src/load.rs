//! Load averages (`proc_loadavg(5)`, `getloadavg(3)`): how many threads ran or waited for a CPU, averaged over 1, 5 and 15
//! minutes with exponentially fading weights, by samples every five seconds.

use tyn_abi::Nanos;

/// Time between two samples.
pub const PERIOD: Nanos = Nanos(5_000_000_000);
/// 1 in the numbers below.
const ONE: u64 = 1 << 11;
/// What is left of a sample's weight after a period: e^(-5/60), e^(-5/300) and e^(-5/900) of [`ONE`].
const FADING: [u64; 3] = [1884, 2014, 2037];
/// More missed samples than this have the weight of none.
const MOST_MISSED: u64 = 2000;

/// The averages, and when the next sample is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadAverages {
    /// In units of 1/[`ONE`].
    averages: [u64; 3],
    due: Nanos,
}

impl LoadAverages {
    /// Starts with an idle machine at `now`.
    #[must_use]
    pub const fn new(now: Nanos) -> Self {
        Self {
            averages: [0; 3],
            due: Nanos(now.0 + PERIOD.0),
        }
    }

    /// Returns when the next sample is due.
    #[must_use]
    pub const fn due(&self) -> Nanos {
        self.due
    }

    /// Takes the sample that is due: `active` threads run or wait for a CPU at `now`. It counts for those that were missed.
    pub fn sample(&mut self, now: Nanos, active: u64) {
        let missed = (now - self.due).0 / PERIOD.0;
        for _ in 0..=missed.min(MOST_MISSED) {
            for (average, fading) in self.averages.iter_mut().zip(FADING) {
                let active = active * ONE;
                // Rounded away from where it comes from, so that it gets where it goes to.
                let rounding = if active >= *average { ONE - 1 } else { 0 };
                *average = (*average * fading + active * (ONE - fading) + rounding) / ONE;
            }
        }
        self.due = self.due + Nanos((missed + 1) * PERIOD.0);
    }

    /// Returns the averages in units of 1/65536, as `sysinfo(2)` has them.
    #[must_use]
    pub fn averages(&self) -> [u64; 3] {
        self.averages.map(|average| average << (16 - 11))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples `count` times when due.
    fn run(load: &mut LoadAverages, count: u64, active: u64) {
        for _ in 0..count {
            load.sample(load.due(), active);
        }
    }

    /// Returns the averages in hundredths.
    fn hundredths(load: &LoadAverages) -> [u64; 3] {
        load.averages().map(|average| (average * 100) >> 16)
    }

    #[test]
    fn one_thread_for_a_minute_is_what_is_left_of_e() {
        let mut load = LoadAverages::new(Nanos(7));
        run(&mut load, 12, 1);
        // 1 - 1/e, 1 - e^(-1/5), 1 - e^(-1/15), rounded up a little by each sample.
        assert_eq!(hundredths(&load), [63, 18, 6]);
        assert_eq!(load.due(), Nanos(7 + 13 * PERIOD.0));
    }

    #[test]
    fn a_load_is_reached_and_left() {
        let mut load = LoadAverages::new(Nanos::ZERO);
        run(&mut load, 3000, 4);
        assert_eq!(hundredths(&load), [400; 3]);
        run(&mut load, 3000, 0);
        assert_eq!(hundredths(&load), [0; 3]);
    }

    #[test]
    fn missed_samples_are_made_up_for() {
        let (mut late, mut punctual) = (
            LoadAverages::new(Nanos::ZERO),
            LoadAverages::new(Nanos::ZERO),
        );
        late.sample(Nanos(10 * PERIOD.0 + 1), 2);
        run(&mut punctual, 10, 2);
        assert_eq!(late, punctual);
        // A machine that slept for a year does not count each of them.
        late.sample(Nanos(365 * 86_400 * 1_000_000_000), 0);
        assert_eq!(late.averages(), [0; 3]);
        assert!(late.due() > Nanos(365 * 86_400 * 1_000_000_000));
    }
}
