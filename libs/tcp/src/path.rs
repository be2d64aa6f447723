//! Path MTU: routers say that a packet was too big (RFC 1191, RFC 8201), and that they cannot deliver (RFC 1122 §4.2.3.9).

use tyn_abi::{Errno, Nanos};

use crate::connection::{Connection, State};
use crate::options::{BLOCKS_BESIDE_TIMESTAMPS, MOST_BLOCKS, TIMESTAMPS_LEN};
use crate::seq::Seq;

/// Segments are not made smaller than this, whatever is said (Linux's `TCP_MIN_SND_MSS`, and RFC 791's least MTU).
pub(crate) const LEAST_MSS: u16 = 48;

impl Connection {
    /// Returns whether a segment whose number is `seq` may be under way: what does not name one is forged (RFC 5927).
    #[must_use]
    pub fn is_in_flight(&self, seq: Seq) -> bool {
        !seq.is_before(self.unacknowledged) && seq.is_before(self.next)
    }

    /// Returns the greatest segment in use, with its options.
    #[must_use]
    pub fn segment_size(&self) -> u16 {
        self.mss
    }

    /// Returns the bytes of data that fit a segment without SACK blocks.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        let options = if self.has_timestamps {
            TIMESTAMPS_LEN
        } else {
            0
        };
        usize::from(self.mss).saturating_sub(options).max(1)
    }

    /// Returns how many SACK blocks fit a segment.
    pub(crate) fn most_blocks(&self) -> usize {
        if self.has_timestamps {
            BLOCKS_BESIDE_TIMESTAMPS
        } else {
            MOST_BLOCKS
        }
    }

    /// Makes segments no greater than the path is known to take.
    pub fn limit_segments(&mut self, mss: u16) {
        self.mss = self.mss.min(mss.max(LEAST_MSS));
    }

    /// Takes note that segments greater than `mss` do not get through, when one under way with number `seq` did not.
    /// What was greater is sent again in smaller pieces. That is no sign of congestion (RFC 8201 §5.4).
    pub fn on_packet_too_big(&mut self, seq: Seq, mss: u16, now: Nanos) {
        let mss = mss.max(LEAST_MSS);
        if !self.is_in_flight(seq) || mss >= self.mss || self.state == State::Closed {
            return;
        }
        self.mss = mss;
        let size = self.payload_size();
        self.board.mark(|sent| Some(sent.len() > size));
        // The window stays, in segments that are smaller now; at least one may go.
        self.recovery.repairs = true;
        self.arm_retransmission(now);
    }

    /// Takes note of an error that may pass: it is told if nothing else comes until the end.
    pub fn on_soft_error(&mut self, seq: Seq, error: Errno) {
        if self.is_in_flight(seq) {
            self.soft_error = Some(error);
        }
    }
}
