//! What a bad path does to frames, one way, as pure decisions: time and frames in, frames and deadlines out.
//!
//! The rules are those of Linux's `netem` (tc-netem(8), `net/sched/sch_netem.c`), which this machine's kernel may lack: a
//! frame is lost by chance; too many waiting ones push it out; it is late by a fixed time, and behind the one before it by
//! the time that its bytes take; some go at once and so overtake all that wait.

use std::collections::VecDeque;
use std::time::Duration;

/// What a path does, the same each way.
#[derive(Clone, Copy, PartialEq, Debug, clap::Args)]
pub(crate) struct Impairment {
    /// Per cent of the frames that are lost
    #[arg(long, default_value_t = 1.0)]
    pub(crate) loss: f64,
    /// Milliseconds from one end to the other; a round trip takes twice as long
    #[arg(long, default_value_t = 25)]
    pub(crate) delay: u64,
    /// Per cent of the frames that are not delayed, and so overtake those that are
    #[arg(long, default_value_t = 1.0)]
    pub(crate) reorder: f64,
    /// Megabits per second; 0: as many as come
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
    /// Frames that may be under way
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: usize,
    /// What chance begins with
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What became of the frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    /// Lost by chance.
    pub(crate) lost: u64,
    /// Lost because too many were under way.
    pub(crate) pushed_out: u64,
    /// Not delayed.
    pub(crate) early: u64,
    /// The longest.
    pub(crate) longest: usize,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Line {
    how: Impairment,
    dice: fastrand::Rng,
    /// When each arrives, in that order.
    under_way: VecDeque<(Duration, Vec<u8>)>,
    pub(crate) counts: Counts,
}

impl Line {
    /// Makes one of the two directions; each has its own chance.
    pub(crate) fn new(how: Impairment, direction: u64) -> Self {
        Self {
            how,
            dice: fastrand::Rng::with_seed(how.seed.wrapping_mul(2).wrapping_add(direction)),
            under_way: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    fn happens(&mut self, per_cent: f64) -> bool {
        self.dice.f64() * 100.0 < per_cent
    }

    /// Takes a frame in that enters the path now.
    pub(crate) fn enter(&mut self, now: Duration, frame: &[u8]) {
        let counts = &mut self.counts;
        counts.frames += 1;
        counts.longest = counts.longest.max(frame.len());
        if self.happens(self.how.loss) {
            self.counts.lost += 1;
        } else if self.under_way.len() >= self.how.limit {
            self.counts.pushed_out += 1;
        } else if self.happens(self.how.reorder) {
            self.counts.early += 1;
            self.under_way.push_front((now, frame.to_vec()));
        } else {
            let at = self.arrival(now, frame.len());
            self.under_way.push_back((at, frame.to_vec()));
        }
    }

    /// Returns when a frame arrives that does not overtake others.
    fn arrival(&self, now: Duration, len: usize) -> Duration {
        let at = now + Duration::from_millis(self.how.delay);
        if self.how.rate == 0 {
            return at;
        }
        let nanos = len as u64 * 8 * 1000 / self.how.rate;
        let last = self.under_way.back().map_or(at, |&(last, _)| last);
        at.max(last) + Duration::from_nanos(nanos)
    }

    /// Returns when the next frame arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.under_way.front().map(|&(at, _)| at)
    }

    /// Returns a frame that has arrived.
    pub(crate) fn leave(&mut self, now: Duration) -> Option<Vec<u8>> {
        let (_, frame) = self.under_way.pop_front_if(|(at, _)| *at <= now)?;
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Impairment = Impairment {
        loss: 0.0,
        delay: 25,
        reorder: 0.0,
        rate: 0,
        limit: 1000,
        seed: 7,
    };

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Lets all arrive that is under way; returns when, and the first byte of each.
    fn arrivals(line: &mut Line) -> Vec<(Duration, u8)> {
        let mut all = Vec::new();
        while let Some(at) = line.next() {
            assert_eq!(line.leave(at.saturating_sub(Duration::from_nanos(1))), None);
            all.push((at, line.leave(at).unwrap()[0]));
        }
        all
    }

    #[test]
    fn frames_are_late_and_in_order() {
        let mut line = Line::new(CLEAN, 0);
        line.enter(ms(1), &[1; 1500]);
        line.enter(ms(1), &[2; 60]);
        line.enter(ms(4), &[3; 60]);
        assert_eq!(arrivals(&mut line), [(ms(26), 1), (ms(26), 2), (ms(29), 3)]);
    }

    #[test]
    fn rate_keeps_frames_apart_and_forgets_when_it_is_quiet() {
        // A thousand bytes take a millisecond.
        let mut line = Line::new(Impairment { rate: 8, ..CLEAN }, 0);
        for n in 1..4 {
            line.enter(ms(0), &vec![n; 1000]);
        }
        assert_eq!(arrivals(&mut line), [(ms(26), 1), (ms(27), 2), (ms(28), 3)]);
        line.enter(ms(100), &[4; 500]);
        assert_eq!(arrivals(&mut line), [(Duration::from_micros(125_500), 4)]);
    }

    #[test]
    fn too_many_push_out_the_newest() {
        let mut line = Line::new(Impairment { limit: 2, ..CLEAN }, 0);
        for n in 1..5 {
            line.enter(ms(0), &[n]);
        }
        assert_eq!(arrivals(&mut line), [(ms(25), 1), (ms(25), 2)]);
        assert_eq!((line.counts.pushed_out, line.counts.frames), (2, 4));
    }

    #[test]
    fn chance_is_as_likely_as_told_and_the_same_each_time() {
        let how = Impairment {
            loss: 1.0,
            reorder: 2.0,
            limit: usize::MAX,
            ..CLEAN
        };
        let run = |direction| {
            let mut line = Line::new(how, direction);
            for n in 0..100_000 {
                line.enter(ms(n / 100), &[0]);
            }
            line.counts
        };
        let counts = run(0);
        assert!((900..1100).contains(&counts.lost), "{counts:?}");
        assert!((1850..2150).contains(&counts.early), "{counts:?}");
        assert_eq!(counts, run(0));
        assert_ne!(counts, run(1));
    }

    #[test]
    fn what_is_not_delayed_overtakes_all_that_waits() {
        let mut line = Line::new(CLEAN, 0);
        line.enter(ms(0), &[1]);
        line.how.reorder = 100.0;
        line.enter(ms(10), &[2]);
        assert_eq!(arrivals(&mut line), [(ms(10), 2), (ms(25), 1)]);
    }
}
