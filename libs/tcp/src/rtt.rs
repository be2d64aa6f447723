//! Round-trip time and retransmission time-out (RFC 6298).

use tyn_abi::Nanos;

/// Time-out before the first measurement (RFC 6298 §2.1).
const INITIAL: Nanos = Nanos(Nanos::PER_SEC);
/// What Linux takes for the variation until then.
const INITIAL_VARIATION: Nanos = Nanos(Nanos::PER_SEC / 4);
/// The least variation that is counted on, as Linux has it (`TCP_RTO_MIN`); RFC 6298 §2.4 wants 1 s in all.
const LEAST_VARIATION: Nanos = Nanos::from_millis(200);
/// Time-outs in a row that need not double.
const MOST_LINEAR: u8 = 6;
/// The greatest time-out (`TCP_RTO_MAX`).
const MOST: Nanos = Nanos(120 * Nanos::PER_SEC);

/// The estimator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    /// Smoothed round-trip time; zero before the first measurement.
    smoothed: Nanos,
    variation: Nanos,
    /// The least that was measured, for RACK (RFC 8985 §6.2).
    pub(crate) least: Nanos,
    /// Time-outs since something new was acknowledged.
    backoff: u8,
    /// How many of them did not double the time-out.
    linear: u8,
}

impl Rtt {
    /// Takes a measurement in (RFC 6298 §2.2 and §2.3).
    pub(crate) fn measure(&mut self, sample: Nanos) {
        // Zero stands for "none": what took no time took some.
        let sample = sample.max(Nanos(1));
        if self.smoothed == Nanos::ZERO {
            self.smoothed = sample;
            self.variation = Nanos(sample.0 / 2);
            self.least = sample;
            return;
        }
        let off = self.smoothed.0.abs_diff(sample.0);
        self.variation = Nanos(self.variation.0 - self.variation.0 / 4 + off / 4);
        self.smoothed = Nanos(self.smoothed.0 - self.smoothed.0 / 8 + sample.0 / 8);
        self.least = self.least.min(sample);
    }

    /// Returns the smoothed round-trip time, if one was measured.
    pub(crate) fn smoothed(&self) -> Option<Nanos> {
        (self.smoothed != Nanos::ZERO).then_some(self.smoothed)
    }

    /// Returns the smoothed round-trip time and its variation; before the first measurement zero, and what stands for it.
    pub(crate) fn estimate(&self) -> (Nanos, Nanos) {
        match self.smoothed() {
            None => (Nanos::ZERO, INITIAL_VARIATION),
            Some(smoothed) => (smoothed, self.variation),
        }
    }

    /// Returns how many time-outs there were since something new was acknowledged.
    pub(crate) fn timeouts(&self) -> u8 {
        self.backoff
    }

    fn base(&self) -> Nanos {
        match self.smoothed() {
            None => INITIAL,
            Some(smoothed) => {
                smoothed + Nanos(self.variation.0.saturating_mul(4)).max(LEAST_VARIATION)
            }
        }
    }

    /// Returns the time-out.
    pub(crate) fn timeout(&self) -> Nanos {
        Nanos(
            self.base()
                .0
                .saturating_mul(1 << (self.backoff - self.linear).min(16)),
        )
        .min(MOST)
    }

    /// Doubles the time-out (RFC 6298 §5.5).
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// Counts a time-out that does not double the next: one of the first few in a row, as in Linux
    /// (`TCP_THIN_LINEAR_RETRIES`).
    pub(crate) fn stay(&mut self) {
        if self.backoff < MOST_LINEAR && self.linear == self.backoff {
            self.linear += 1;
        }
        self.back_off();
    }

    /// Takes doubling back: something new was acknowledged.
    pub(crate) fn relax(&mut self) {
        (self.backoff, self.linear) = (0, 0);
    }

    pub(crate) fn is_backed_off(&self) -> bool {
        self.backoff > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Nanos {
        Nanos::from_millis(n)
    }

    #[test]
    fn rfc_6298_2_estimates_follow_measurements() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), ms(1000));
        rtt.measure(ms(100));
        assert_eq!((rtt.smoothed, rtt.variation), (ms(100), ms(50)));
        assert_eq!(rtt.timeout(), ms(300));
        rtt.measure(ms(180));
        assert_eq!(rtt.smoothed, ms(110));
        assert_eq!(rtt.variation.0, 37_500_000 + 20_000_000);
        assert_eq!(rtt.timeout().0, 110_000_000 + 230_000_000);
        assert_eq!(rtt.least, ms(100));
    }

    #[test]
    fn rfc_6298_5_5_timeout_doubles_up_to_a_bound() {
        let mut rtt = Rtt::default();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 120, 120] {
            assert_eq!(rtt.timeout(), ms(seconds * 1000));
            rtt.back_off();
        }
        rtt.relax();
        assert_eq!(rtt.timeout(), ms(1000));
    }

    #[test]
    fn timeouts_of_thin_streams_double_after_six() {
        let mut rtt = Rtt::default();
        for seconds in [1, 1, 1, 1, 1, 1, 1, 2, 4] {
            assert_eq!(rtt.timeout(), ms(seconds * 1000));
            rtt.stay();
        }
        rtt.relax();
        rtt.back_off();
        rtt.stay();
        assert_eq!(rtt.timeout(), ms(4000), "once it has doubled");
    }
}
