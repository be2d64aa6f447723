//! Deadlines: retransmission (RFC 6298), tail loss probe and reordering (RFC 8985), closed windows (RFC 9293 §3.8.6.1),
//! keep-alive (RFC 1122 §4.2.3.6), patience (RFC 5482, RFC 9293 §3.8.3).
//!
//! One timer serves retransmission, the tail loss probe and closed windows: they exclude each other.

use tyn_abi::Nanos;

use crate::connection::{Connection, End, State};

/// How long a peer may delay the acknowledgement of a single segment (RFC 8985 §7.2, WCDelAckT).
const WORST_ACK_DELAY: Nanos = Nanos::from_millis(200);
/// The least time until a probe of the tail.
const LEAST_TAIL: Nanos = Nanos::from_millis(10);

impl Connection {
    /// Returns when [`Connection::on_deadline`] must be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        if self.state == State::Closed {
            return None;
        }
        let mut first = self.ack_at;
        let mut take = |at: Option<Nanos>| {
            if let Some(at) = at {
                first = Some(first.map_or(at, |f| f.min(at)));
            }
        };
        if let Some(at) = self.retransmit_at {
            take(Some(at));
            take(self.patience_ends());
        }
        take(self.reorder_at);
        take(self.keep_alive_at());
        first
    }

    /// Returns when the peer is given up, if something waits for it.
    fn patience_ends(&self) -> Option<Nanos> {
        let since = match self.orphaned_at {
            _ if !self.board.is_empty() => self.waiting_since,
            // Nobody else would ever give up a peer that keeps its window closed.
            Some(orphaned_at) => self.waiting_since.max(orphaned_at),
            // Its window is closed, and it says so: that may last.
            None => self.waiting_since.max(self.last_received),
        };
        Some(since + self.policy.patience)
    }

    /// Returns when the peer is probed next, or given up.
    fn keep_alive_at(&self) -> Option<Nanos> {
        let (idle, interval, _) = self.policy.keep_alive?;
        let is_synchronized = !matches!(
            self.state,
            State::SynSent | State::SynReceived | State::TimeWait | State::Closed
        );
        if !is_synchronized || !self.board.is_empty() {
            return None;
        }
        Some(if self.probes == 0 {
            self.last_received + idle
        } else {
            self.last_probe + interval
        })
    }

    /// Sets the timer that fits what is in flight.
    pub(crate) fn arm_retransmission(&mut self, now: Nanos) {
        if self.board.is_empty() {
            let is_blocked = self.has_unsent() && self.state != State::SynSent;
            self.retransmit_at = if is_blocked {
                self.retransmit_at
                    .filter(|&at| at > now)
                    .or_else(|| Some(now + self.rtt.timeout()))
            } else {
                None
            };
            return;
        }
        let timeout = self.timed_from + self.rtt.timeout();
        self.retransmit_at = Some(
            self.tail_probe_at(now)
                .map_or(timeout, |at| at.min(timeout)),
        );
    }

    /// Returns when the end of what was sent is sent again to provoke an answer (RFC 8985 §7.2).
    fn tail_probe_at(&self, now: Nanos) -> Option<Nanos> {
        if !self.is_probing_tail() {
            return None;
        }
        let smoothed = self.rtt.smoothed()?;
        let is_alone = self.next.beyond(self.unacknowledged) <= usize::from(self.mss);
        let wait = if is_alone {
            WORST_ACK_DELAY
        } else {
            Nanos::ZERO
        };
        Some(now + Nanos(smoothed.0 * 2).max(LEAST_TAIL) + wait)
    }

    fn is_probing_tail(&self) -> bool {
        self.has_sack
            && !self.recovery.is_on()
            && self.recovery.tail.is_none()
            && self.board.sacked == 0
            && !self.rtt.is_backed_off()
            && !matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// Lets the deadlines that have passed take effect.
    pub fn on_deadline(&mut self, now: Nanos) {
        if self.state == State::Closed {
            return;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.ack_at = None;
            self.ack_now = true;
            self.is_interactive = false;
        }
        if self.reorder_at.is_some_and(|at| at <= now) {
            self.detect_loss(now);
            self.arm_retransmission(now);
        }
        if let Some(at) = self.retransmit_at {
            if self.patience_ends().is_some_and(|end| end <= now) {
                return self.finish(End::Silence(self.soft_error));
            }
            if at <= now {
                self.on_retransmission_timer(now);
            }
        }
        if self.keep_alive_at().is_some_and(|at| at <= now) {
            self.on_keep_alive(now);
        }
    }

    fn on_retransmission_timer(&mut self, now: Nanos) {
        if self.board.is_empty() {
            // The window is closed, or too small for a segment (RFC 9293 §3.8.6.1).
            self.probe_window = true;
            self.rtt.back_off();
            self.retransmit_at = Some(now + self.rtt.timeout());
            return;
        }
        if self.is_probing_tail() && self.rtt.smoothed().is_some() && !self.is_timed_out(now) {
            self.probe_tail = true;
            self.timed_from = now;
            self.retransmit_at = Some(now + self.rtt.timeout());
            return;
        }
        self.on_timeout();
        self.timed_from = now;
        self.retransmit_at = Some(now + self.rtt.timeout());
    }

    /// Returns whether a whole time-out has passed.
    fn is_timed_out(&self, now: Nanos) -> bool {
        now >= self.timed_from + self.rtt.timeout()
    }

    fn on_keep_alive(&mut self, now: Nanos) {
        let Some((_, _, count)) = self.policy.keep_alive else {
            return;
        };
        if self.probes >= count {
            return self.finish(End::Silence(self.soft_error));
        }
        self.probes += 1;
        self.last_probe = now;
        self.probe_peer = true;
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.sendable() > 0 || self.is_finished && !self.is_fin_sent()
    }
}
