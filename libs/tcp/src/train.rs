//! Trains: segments that leave as one packet, for a network card to cut apart (segmentation offload).
//!
//! Each is listed by itself among those that were sent, so that loss, acknowledgement and the congestion window know of
//! segments only.

use tyn_abi::Nanos;

use crate::connection::Connection;
use crate::seq::Seq;

/// Bytes of data in a train: what the length of an IP packet can say, without its headers.
const MOST_BYTES: usize = 65_535 - 100;

impl Connection {
    /// Returns whether there is more to be sent than one segment takes.
    #[must_use]
    pub fn has_several(&self) -> bool {
        self.sendable() > self.payload_size()
    }

    /// Returns how many bytes leave as one when a full segment may leave. `available` is what there is within the peer's
    /// window, `free` what the congestion window has left. A rest that fills no segment goes along if it needs not wait.
    pub(crate) fn train(&mut self, most: usize, available: usize, free: usize) -> usize {
        let size = self.segment_room();
        let flight = self.board.flight_segments();
        let most = most
            .min(MOST_BYTES / size)
            .min(self.most_segments().saturating_sub(flight));
        let most = self.board.reserve_several(most);
        let full = (available / size).min(free / size).clamp(1, most);
        let len = full * size;
        let rest = self.sendable() - len;
        let takes_rest = full < most
            && rest < size
            && len + rest <= available.min(free)
            && self.may_send_small(rest, rest);
        if takes_rest { len + rest } else { len }
    }

    /// Notes segments of `size` bytes that are sent for the first time.
    pub(crate) fn note_sent(&mut self, start: Seq, end: Seq, size: usize, now: Nanos) {
        let mut at = start;
        // A FIN takes a number, and no room.
        let fin = usize::from(self.is_finished && end.is_after(self.fin_number()));
        while end.beyond(at) > size + fin {
            self.board.push(at, at + size, now);
            at = at + size;
        }
        self.board.push(at, end, now);
    }
}
