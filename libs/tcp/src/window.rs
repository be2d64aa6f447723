//! The windows of both sides (RFC 9293 §3.8.6, RFC 7323 §2).

use tyn_abi::Nanos;

use crate::connection::Connection;
use crate::segment::{Flags, Segment};

impl Connection {
    pub(crate) fn scaled(&self, segment: &Segment<'_>) -> u32 {
        let shift = if segment.flags.has(Flags::SYN) {
            0
        } else {
            self.peer_scale
        };
        u32::from(segment.window) << shift
    }

    /// RFC 9293 §3.10.7.4, "update the send window".
    pub(crate) fn update_window(&mut self, segment: &Segment<'_>, now: Nanos) {
        let is_newer = segment.seq.is_after(self.window_seq)
            || segment.seq == self.window_seq && !segment.ack.is_before(self.window_ack);
        if !is_newer || segment.ack.is_before(self.unacknowledged) {
            return;
        }
        let window = self.scaled(segment);
        let was = self.window;
        self.window = window;
        self.most_window = self.most_window.max(window);
        self.window_seq = segment.seq;
        self.window_ack = segment.ack;
        if window != was && self.board.is_empty() {
            if (self.unacknowledged + window as usize).is_after(self.next) {
                // It was doubled by probes only, and the peer has answered them.
                self.rtt.relax();
            }
            self.arm_retransmission(now);
        }
    }

    /// Returns the memory that received bytes may take.
    pub(crate) fn receive_memory(&self) -> usize {
        let most = self.receive.ring.capacity().max(self.spare);
        self.receive_limit.0.min(most)
    }

    /// Returns how many bytes we can take in, as far as a window can tell.
    pub(crate) fn promised(&self) -> usize {
        let free = self
            .receive_memory()
            .saturating_sub(self.receive.ring.len());
        free.min(usize::from(u16::MAX) << self.scale)
            .min(self.policy.most_window)
    }

    /// Returns how much room is worth to be told of: a segment, or half of all that there may be (RFC 9293 §3.8.6.2.2).
    fn window_step(&self) -> usize {
        let most = self.receive_memory().min(self.policy.most_window);
        usize::from(self.offered_mss).min(most / 2)
    }

    /// Chooses the window to tell: it grows by steps worth a segment (RFC 9293 §3.8.6.2.2), and does not shrink as long as
    /// there is memory.
    pub(crate) fn choose_window(&mut self) -> u16 {
        let free = self.promised();
        let kept = self.receive.edge.beyond(self.receive.next);
        let is_starved = self.receive_memory() < self.receive_limit.0;
        let window = if free > kept {
            let step = self.window_step();
            if free - kept >= step {
                free
            } else {
                // Rounded up, so that the right edge stays; without memory the rest is lost (RFC 7323 §2.4).
                kept.next_multiple_of(1 << self.scale).min(free)
            }
        } else if is_starved {
            free
        } else {
            kept
        };
        let told = (window >> self.scale).min(usize::from(u16::MAX));
        let edge = self.receive.next + (told << self.scale);
        self.receive.edge = self.receive.edge.max(edge);
        self.receive.told = edge;
        told as u16
    }

    /// Whether reading has made so much room that the peer should know (as `tcp_cleanup_rbuf` of Linux).
    pub(crate) fn opens_window(&self) -> bool {
        let kept = self.receive.told.beyond(self.receive.next);
        let free = self.promised();
        let step = self.window_step();
        free >= kept + step && kept * 2 <= free
    }
}
