//! The congestion window: slow start, CUBIC (RFC 9438) or Reno (RFC 5681), their reductions, the initial window (RFC 6928).
//!
//! Windows are bytes, times milliseconds; there is no floating point. Which packets are lost is found out elsewhere.

use tyn_abi::Nanos;

/// CUBIC's multiplicative decrease, in tenths (RFC 9438 §4.6).
const BETA: u64 = 7;
/// Windows beyond this are not needed by anybody.
const MOST: u32 = 1 << 30;
/// Times beyond this change nothing: the window is huge by then.
const MOST_MS: u64 = 100_000;

/// How a window grows and shrinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681: a segment more for each round trip, half after a loss.
    Reno,
}

/// The window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controller {
    algorithm: Algorithm,
    /// The congestion window.
    pub(crate) window: u32,
    /// Where slow start ends.
    threshold: u32,
    /// The window before the last reduction (W_max), and before that with fast convergence.
    peak: u32,
    /// What Reno would have (W_est).
    reno: u32,
    /// When this epoch of congestion avoidance began; zero for not yet.
    epoch: Nanos,
    /// Milliseconds from then until the window is at its peak again (K).
    to_peak: u32,
    /// What is left over of divisions.
    rest: u64,
    reno_rest: u64,
}

/// What a reduction changes (RFC 9438 §4.9.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    epoch: Nanos,
    window: u32,
    threshold: u32,
    peak: u32,
    reno: u32,
    to_peak: u32,
}

/// Returns the cube root, rounded down.
fn cube_root(n: u64) -> u64 {
    let mut root = 0u64;
    for bit in (0..21).rev() {
        let tried = root | 1 << bit;
        if tried * tried * tried <= n {
            root = tried;
        }
    }
    root
}

/// Returns the initial window (RFC 6928 §2).
pub(crate) const fn initial_window(mss: u32) -> u32 {
    let most = if 2 * mss > 14_600 { 2 * mss } else { 14_600 };
    let ten = mss.saturating_mul(10);
    if ten < most { ten } else { most }
}

impl Controller {
    pub(crate) fn new(algorithm: Algorithm, mss: u32) -> Self {
        Self {
            algorithm,
            window: initial_window(mss),
            threshold: MOST,
            peak: 0,
            reno: 0,
            epoch: Nanos::ZERO,
            to_peak: 0,
            rest: 0,
            reno_rest: 0,
        }
    }

    /// Changes the algorithm; the window stays, and what the old one remembers is forgotten.
    pub(crate) fn set_algorithm(&mut self, algorithm: Algorithm) {
        if algorithm != self.algorithm {
            self.algorithm = algorithm;
            (self.epoch, self.peak, self.rest) = (Nanos::ZERO, 0, 0);
        }
    }

    /// Returns where slow start ends, once a loss has told.
    pub(crate) fn threshold(&self) -> Option<u32> {
        (self.threshold != MOST).then_some(self.threshold)
    }

    pub(crate) fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// Grows the window: `acked` bytes arrived, and the window was what held the sender back.
    pub(crate) fn on_acked(&mut self, acked: u32, mss: u32, rtt: Nanos, now: Nanos) {
        let mut acked = acked;
        if self.is_slow_start() {
            // RFC 5681 §3.1, with RFC 3465's byte counting.
            let step = acked.min(self.threshold - self.window);
            self.window = self.window.saturating_add(step).min(MOST);
            acked -= step;
            if acked == 0 {
                return;
            }
        }
        let (acked, mss) = (u64::from(acked), u64::from(mss.max(1)));
        match self.algorithm {
            Algorithm::Cubic => self.follow_cubic(acked, mss, rtt, now),
            Algorithm::Reno => self.grow(acked * mss),
        }
    }

    /// Grows the window by the part of `bytes` that was acknowledged of a whole window.
    fn grow(&mut self, bytes: u64) {
        let window = u64::from(self.window).max(1);
        self.rest += bytes;
        let step = self.rest / window;
        self.rest %= window;
        self.window = u32::try_from(window + step).unwrap_or(MOST).min(MOST);
    }

    fn follow_cubic(&mut self, acked: u64, mss: u64, rtt: Nanos, now: Nanos) {
        if self.epoch == Nanos::ZERO {
            self.begin_epoch(mss, now);
        }
        let window = u64::from(self.window).max(1);
        let elapsed = ((now - self.epoch) + rtt).0 / 1_000_000;
        let target = self.cubic_at(elapsed.min(MOST_MS), mss);
        let target = target.clamp(window, window + window / 2);
        // RFC 9438 §4.3: alpha is 1 once the old peak is reached, 3 (1 - beta) / (1 + beta) = 9/17 before.
        let alpha = if self.reno >= self.peak { 17 } else { 9 };
        self.reno_rest += acked * mss * alpha;
        self.reno = self
            .reno
            .saturating_add(u32::try_from(self.reno_rest / (17 * window)).unwrap_or(MOST));
        self.reno_rest %= 17 * window;
        if u64::from(self.reno) > target {
            self.window = self.reno.max(self.window).min(MOST);
            return;
        }
        self.grow(acked * (target - window));
    }

    fn begin_epoch(&mut self, mss: u64, now: Nanos) {
        self.epoch = now.max(Nanos(1));
        (self.rest, self.reno_rest) = (0, 0);
        self.reno = self.window;
        let missing = u64::from(self.peak.saturating_sub(self.window));
        if missing == 0 {
            self.peak = self.window;
        }
        // K = cbrt(missing / C) seconds with C = 0.4 segments, in milliseconds.
        let cubed = missing.saturating_mul(10_000_000_000) / (4 * mss);
        self.to_peak = cube_root(cubed) as u32;
    }

    /// Returns W_cubic after `elapsed` milliseconds (RFC 9438 §4.2).
    fn cubic_at(&self, elapsed: u64, mss: u64) -> u64 {
        let distance = elapsed.abs_diff(u64::from(self.to_peak)).min(MOST_MS);
        let cubed = u128::from(distance * distance * distance) * u128::from(4 * mss);
        let change = u64::try_from(cubed / 10_000_000_000).unwrap_or(u64::MAX);
        let peak = u64::from(self.peak);
        if elapsed >= u64::from(self.to_peak) {
            peak.saturating_add(change).min(u64::from(MOST))
        } else {
            peak.saturating_sub(change)
        }
    }

    /// Shrinks the window: something was lost (RFC 9438 §4.6 and §4.7, RFC 5681 §3.1).
    pub(crate) fn on_loss(&mut self, mss: u32) {
        let reduced = match self.algorithm {
            Algorithm::Cubic => (u64::from(self.window) * BETA / 10) as u32,
            Algorithm::Reno => self.window / 2,
        };
        self.peak = if self.window < self.peak {
            (u64::from(self.window) * (10 + BETA) / 20) as u32
        } else {
            self.window
        };
        self.threshold = reduced.max(2 * mss);
        self.window = self.threshold;
        self.epoch = Nanos::ZERO;
    }

    /// What was lost is repaired (RFC 6937 §3.1).
    pub(crate) fn end_recovery(&mut self) {
        self.window = self.threshold;
    }

    /// Returns what a reduction will change.
    pub(crate) fn before(&self) -> Before {
        Before {
            epoch: self.epoch,
            window: self.window,
            threshold: self.threshold,
            peak: self.peak,
            reno: self.reno,
            to_peak: self.to_peak,
        }
    }

    /// Takes a reduction back, unless the window has outgrown it (RFC 9438 §4.9.2).
    pub(crate) fn restore(&mut self, before: Before) {
        if self.window >= before.window {
            return;
        }
        self.epoch = before.epoch;
        self.window = before.window;
        self.threshold = before.threshold;
        self.peak = before.peak;
        self.reno = before.reno;
        self.to_peak = before.to_peak;
    }

    /// Begins anew after a retransmission time-out (RFC 5681 §3.1, RFC 9438 §4.8).
    pub(crate) fn on_timeout(&mut self, mss: u32, is_first: bool) {
        if is_first {
            self.on_loss(mss);
        }
        self.window = mss;
        self.epoch = Nanos::ZERO;
    }

    /// Nothing was sent for longer than a time-out (RFC 5681 §4.1).
    pub(crate) fn on_idle(&mut self, mss: u32) {
        self.window = self.window.min(initial_window(mss));
        self.epoch = Nanos::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    #[test]
    fn cube_roots_are_right() {
        for n in [0, 1, 7, 8, 26, 27, 1_000_000, 999_999, u64::from(u32::MAX)] {
            let root = cube_root(n);
            assert!(root.pow(3) <= n && (root + 1).pow(3) > n);
        }
    }

    #[test]
    fn rfc_6928_2_initial_window() {
        for (mss, window) in [
            (536, 5360),
            (1460, 14_600),
            (9000, 18_000),
            (65_483, 130_966),
        ] {
            assert_eq!(initial_window(mss), window);
        }
    }

    #[test]
    fn rfc_5681_3_1_slow_start_doubles_each_round_trip() {
        let mut congestion = Controller::new(Algorithm::Cubic, MSS);
        congestion.on_acked(10_000, MSS, Nanos(1), Nanos(1));
        assert_eq!(congestion.window, 20_000);
    }

    /// Runs congestion avoidance for a time; returns the window.
    fn run(congestion: &mut Controller, now: &mut Nanos, rtt_ms: u64, time_ms: u64) -> u32 {
        for _ in 0..time_ms / rtt_ms {
            let mut left = congestion.window;
            while left > 0 {
                let acked = left.min(2 * MSS);
                congestion.on_acked(acked, MSS, Nanos::from_millis(rtt_ms), *now);
                left -= acked;
            }
            *now = *now + Nanos::from_millis(rtt_ms);
        }
        congestion.window
    }

    #[test]
    fn rfc_9438_4_2_window_returns_to_its_peak_after_k() {
        let mut congestion = Controller::new(Algorithm::Cubic, MSS);
        congestion.window = 1_000_000;
        congestion.on_loss(MSS);
        assert_eq!(congestion.window, 700_000);
        // K = cbrt(300 / 0.4) = 9.086 s.
        let mut now = Nanos(Nanos::PER_SEC);
        let window = run(&mut congestion, &mut now, 100, 8900);
        assert!((990_000..=1_000_000).contains(&window), "{window}");
        let window = run(&mut congestion, &mut now, 100, 4000);
        assert!((1_010_000..1_080_000).contains(&window), "{window}");
    }

    #[test]
    fn rfc_9438_4_3_short_paths_get_what_reno_would_have() {
        let mut congestion = Controller::new(Algorithm::Cubic, MSS);
        congestion.window = 10_000;
        congestion.on_loss(MSS);
        let mut now = Nanos(Nanos::PER_SEC);
        let window = run(&mut congestion, &mut now, 2, 200);
        // 9/17 of a segment for each round trip up to the peak, one after it.
        assert!((80_000..110_000).contains(&window), "{window}");
    }

    #[test]
    fn rfc_5681_3_1_reno_grows_by_a_segment_each_round_trip_and_halves() {
        let mut congestion = Controller::new(Algorithm::Reno, MSS);
        congestion.window = 100_000;
        congestion.on_loss(MSS);
        assert_eq!(congestion.window, 50_000);
        let mut now = Nanos(Nanos::PER_SEC);
        let window = run(&mut congestion, &mut now, 10, 200);
        assert!((69_000..=70_000).contains(&window), "{window}");
    }

    #[test]
    fn another_algorithm_goes_on_with_the_window() {
        let mut congestion = Controller::new(Algorithm::Cubic, MSS);
        congestion.window = 100_000;
        congestion.on_loss(MSS);
        congestion.set_algorithm(Algorithm::Reno);
        let mut now = Nanos(Nanos::PER_SEC);
        let window = run(&mut congestion, &mut now, 10, 10);
        assert!((70_900..=71_000).contains(&window), "{window}");
        congestion.set_algorithm(Algorithm::Cubic);
        // There is no peak to return to: it is where it is.
        congestion.on_acked(MSS, MSS, Nanos::from_millis(10), now);
        assert!(congestion.window - window < 100 && congestion.to_peak == 0);
    }

    #[test]
    fn rfc_9438_4_7_fast_convergence_lowers_the_peak() {
        let mut congestion = Controller::new(Algorithm::Cubic, MSS);
        congestion.window = 100_000;
        congestion.on_loss(MSS);
        congestion.on_loss(MSS);
        assert_eq!((congestion.peak, congestion.window), (59_500, 49_000));
    }

    #[test]
    fn rfc_5681_3_1_timeout_starts_with_one_segment_and_halves_once() {
        let mut congestion = Controller::new(Algorithm::Cubic, MSS);
        congestion.window = 100_000;
        congestion.on_timeout(MSS, true);
        congestion.on_timeout(MSS, false);
        assert_eq!((congestion.window, congestion.threshold), (MSS, 70_000));
    }
}
