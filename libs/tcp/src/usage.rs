//! Whether the congestion window is what keeps the sender from sending more: only then may it grow (RFC 7661, RFC 9438 §5.8).
//!
//! That is judged when something is sent, and holds for a round trip, as `tcp_cwnd_validate` of Linux has it: of several
//! acknowledgements that come together all but the first find room.

use crate::connection::Connection;
use crate::seq::Seq;

/// The flight of a sender who was held back.
const HELD: u32 = u32::MAX;

/// How far the window was used lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// The round trip lasts until this is acknowledged.
    until: Seq,
    /// The most bytes that were unacknowledged in it, or [`HELD`].
    flight: u32,
}

impl Usage {
    pub(crate) fn new(at: Seq) -> Self {
        Self {
            until: at,
            flight: 0,
        }
    }
}

impl Connection {
    /// Notes how far the window is used: something was sent, or could not be sent.
    pub(crate) fn note_usage(&mut self, is_held: bool) {
        let flight = self.next.beyond(self.unacknowledged) as u32;
        let is_over = !self.unacknowledged.is_before(self.usage.until);
        if is_held || is_over || flight > self.usage.flight {
            self.usage = Usage {
                until: self.next,
                flight: if is_held { HELD } else { flight },
            };
        }
    }

    /// Whether one more full segment would go beyond the congestion window.
    pub(crate) fn fills_window(&self) -> bool {
        self.in_flight() + self.payload_size() > self.congestion.window as usize
            || self.board.flight_segments() >= self.most_segments()
    }

    /// Whether the window may grow.
    pub(crate) fn is_held_by_window(&self) -> bool {
        let flight = self.usage.flight;
        // In slow start it grows to twice what was under way.
        flight == HELD
            || self.congestion.is_slow_start() && flight.saturating_mul(2) > self.congestion.window
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{Scene, ms};
    use crate::{Flags, Seq};

    /// A scene in congestion avoidance with a window of twenty segments, of which `used` are under way.
    fn avoiding(used: i32) -> Scene {
        let mut s = Scene::new();
        s.write(1000);
        s.sent();
        s.now = s.now + ms(50);
        s.take(1, 1001, Flags::ACK, &[]);
        s.c.congestion.window = 20_000;
        s.c.congestion.on_loss(1000);
        s.c.congestion.window = 20_000;
        s.c.usage = super::Usage::new(s.c.unacknowledged);
        s.write(used as usize * 1000);
        assert_eq!(s.sent().len(), used.min(20) as usize);
        s.now = s.now + ms(50);
        s
    }

    fn grown(used: i32, sends_between: bool) -> u32 {
        let mut s = avoiding(used);
        for n in 1..=10 {
            s.take(1, 1001 + n * 2000, Flags::ACK, &[]);
            if sends_between {
                s.sent();
            }
        }
        s.c.congestion.window - 20_000
    }

    #[test]
    fn rfc_7661_4_window_grows_alike_when_acknowledgements_come_together() {
        let one_by_one = grown(40, true);
        // A segment in a round trip, as its old peak is reached.
        assert!((900..1050).contains(&one_by_one), "{one_by_one}");
        assert_eq!(grown(40, false), one_by_one);
    }

    #[test]
    fn rfc_7661_4_window_that_is_not_used_does_not_grow() {
        let mut s = avoiding(19);
        for n in 1..=9 {
            s.take(1, 1001 + n * 2000, Flags::ACK, &[]);
            s.sent();
        }
        assert_eq!(s.c.congestion.window, 20_000);
        // Nor does one that was used a round trip ago.
        let mut s = avoiding(20);
        s.take(1, 21_001, Flags::ACK, &[]);
        let window = s.c.congestion.window;
        assert!(window > 20_000);
        for n in 21..40 {
            s.write(1000);
            assert_eq!(s.sent().len(), 1);
            s.take(1, n * 1000 + 1001, Flags::ACK, &[]);
        }
        assert_eq!(s.c.congestion.window, window);
        assert_eq!(s.c.unacknowledged, Seq(s.c.next.0));
    }
}
