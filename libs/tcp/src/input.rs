//! A segment arrives (RFC 9293 §3.10.7, RFC 5961, RFC 7323).

use tyn_abi::Nanos;

use crate::connection::{ACK_DELAY, Connection, End, Handshake, State};
use crate::receive::Taken;
use crate::segment::{Flags, Segment};
use crate::seq::Seq;

/// Segments that ask for nothing but an acknowledgement get one so often (`tcp_invalid_ratelimit`).
const CHALLENGE_INTERVAL: Nanos = Nanos::from_millis(500);
/// A timestamp that was not renewed for so long says nothing (RFC 7323 §5.5).
const TIMESTAMP_LIFE: Nanos = Nanos(24 * 86_400 * Nanos::PER_SEC);
/// How long the acknowledgement of a SYN|ACK may wait for data (`TCP_DELACK_MAX`).
const LONGEST_ACK_DELAY: Nanos = Nanos::from_millis(200);

impl Connection {
    /// Takes in a segment for this connection, whose checksum is right.
    pub fn on_segment(&mut self, segment: &Segment<'_>, now: Nanos) {
        self.count_received(segment, now);
        match self.state {
            State::Closed => {}
            State::SynSent => self.on_answer(segment, now),
            _ => self.on_segment_synchronized(segment, now),
        }
    }

    /// RFC 9293 §3.10.7.3.
    fn on_answer(&mut self, segment: &Segment<'_>, now: Nanos) {
        let flags = segment.flags;
        if flags.has(Flags::ACK) {
            let is_ours =
                segment.ack.is_after(self.unacknowledged) && !segment.ack.is_after(self.next);
            if !is_ours {
                // It belongs to a connection of old: reset that.
                if !flags.has(Flags::RST) {
                    self.stray_reset = Some(segment.ack);
                }
                return;
            }
        }
        if flags.has(Flags::RST) {
            if flags.has(Flags::ACK) {
                self.finish(End::Reset);
            }
            return;
        }
        if !flags.has(Flags::SYN) {
            return;
        }
        let options = &segment.options;
        let handshake = Handshake {
            ours: self.unacknowledged,
            theirs: segment.seq,
            window: segment.window,
            scale: options.scale,
            mss: options.mss,
            has_sack: options.sack_permitted,
            timestamp: options.timestamps.map(|(value, _)| value),
        };
        self.learn(&handshake, now);
        self.last_received = now;
        self.acknowledged = self.receive.next;
        if flags.has(Flags::ACK) {
            self.state = if self.is_finished {
                State::FinWait1
            } else {
                State::Established
            };
            self.window_ack = segment.ack;
            self.take_acknowledgement(segment, now);
            // The window of a SYN is that of the moment; ours goes out with the acknowledgement.
            if core::mem::take(&mut self.is_interactive) {
                // Data that follow soon take it along.
                self.ack_at = Some(now + LONGEST_ACK_DELAY);
            } else {
                self.ack_now = true;
            }
            self.take_data(segment, now);
        } else {
            // Both have opened at once: the SYN goes out again, with an acknowledgement.
            self.state = State::SynReceived;
            self.board.mark(|_| Some(true));
        }
    }

    fn on_segment_synchronized(&mut self, segment: &Segment<'_>, now: Nanos) {
        let flags = segment.flags;
        if let Some((value, _)) = segment.options.timestamps
            && self.has_timestamps
            && !flags.has(Flags::RST)
            && self.is_outdated(value, now)
        {
            return self.challenge(segment, now);
        }
        let completes = self.completes_open(segment);
        self.ack_now |= completes;
        if !completes && !self.is_acceptable(segment) {
            let is_bare = flags.has(Flags::SYN) && !flags.has(Flags::ACK);
            if self.state == State::SynReceived && is_bare {
                // The peer did not get our answer.
                self.board.mark(|_| Some(true));
                return;
            }
            if !flags.has(Flags::RST) {
                self.challenge(segment, now);
            }
            return;
        }
        if flags.has(Flags::RST) {
            // RFC 5961 §3.2: only the very next number counts.
            if segment.seq == self.receive.next {
                self.finish(End::Reset);
            } else {
                self.challenge_now(now);
            }
            return;
        }
        if flags.has(Flags::SYN) && self.state != State::SynReceived {
            // RFC 5961 §4.2.
            return self.challenge_now(now);
        }
        if !flags.has(Flags::ACK) {
            return;
        }
        if self.state == State::SynReceived && !self.on_established(segment) {
            return;
        }
        // RFC 5961 §5.2.
        let oldest = self.unacknowledged - self.most_window as usize;
        if segment.ack.is_after(self.next) || segment.ack.is_before(oldest) {
            return self.challenge(segment, now);
        }
        self.last_received = now;
        if let Some((value, _)) = segment.options.timestamps
            && self.has_timestamps
            && !segment.seq.is_after(self.acknowledged)
        {
            // RFC 7323 §4.3.
            self.recent = value;
            self.recent_at = now;
        }
        self.take_acknowledgement(segment, now);
        if self.state != State::Closed {
            self.take_data(segment, now);
        }
    }

    /// Returns whether this is the other SYN|ACK of two sides that have opened at once (RFC 9293 §3.5).
    fn completes_open(&self, segment: &Segment<'_>) -> bool {
        self.state == State::SynReceived
            && segment.flags.0 & !Flags::PSH.0 == Flags::SYN.with(Flags::ACK).0
            && segment.len() == 1
            && segment.seq + 1 == self.receive.next
            && segment.ack == self.next
    }

    /// Takes the acknowledgement of our SYN in; returns whether it is one.
    fn on_established(&mut self, segment: &Segment<'_>) -> bool {
        let is_ours = segment.ack.is_after(self.unacknowledged) && !segment.ack.is_after(self.next);
        if !is_ours {
            self.stray_reset = Some(segment.ack);
            return false;
        }
        self.state = if self.is_finished {
            State::FinWait1
        } else {
            State::Established
        };
        self.window_seq = segment.seq - 1;
        self.window_ack = segment.ack;
        true
    }

    /// PAWS (RFC 7323 §5.3).
    fn is_outdated(&self, value: u32, now: Nanos) -> bool {
        Seq(value).is_before(Seq(self.recent)) && now - self.recent_at < TIMESTAMP_LIFE
    }

    /// RFC 9293 §3.10.7.4, the first check.
    fn is_acceptable(&self, segment: &Segment<'_>) -> bool {
        let next = self.receive.next;
        let window = self.promised().max(self.receive.edge.beyond(next));
        let len = segment.len();
        let start = segment.seq.since(next);
        let is_within = |distance: i32| distance >= 0 && (distance as usize) < window;
        if segment.seq == next {
            // Even if the window is closed: its acknowledgement and its FIN count, what does not fit is cut off.
            return true;
        }
        if len == 0 {
            return is_within(start);
        }
        window > 0 && (is_within(start) || is_within((segment.seq + (len - 1)).since(next)))
            // It begins before and ends behind the window.
            || window > 0 && start < 0 && (segment.seq + len).since(next) > 0
    }

    /// Acknowledges a segment that is not acceptable, unless it is empty and we did so just now: two sides that do not
    /// agree must not talk for ever.
    fn challenge(&mut self, segment: &Segment<'_>, now: Nanos) {
        if !segment.payload.is_empty() {
            let end = segment.seq + segment.payload.len();
            if !end.is_after(self.receive.next) {
                // It is reported as repeated.
                self.receive.take(segment.seq, segment.payload, 0);
            }
            self.ack_now = true;
            return;
        }
        self.challenge_now(now);
    }

    fn challenge_now(&mut self, now: Nanos) {
        let is_due =
            self.last_challenge == Nanos::ZERO || now - self.last_challenge >= CHALLENGE_INTERVAL;
        if is_due {
            self.last_challenge = now.max(Nanos(1));
            self.ack_now = true;
        }
    }

    fn take_acknowledgement(&mut self, segment: &Segment<'_>, now: Nanos) {
        let ack = segment.ack;
        let is_news = ack.is_after(self.unacknowledged);
        self.probes = 0;
        let mut told = false;
        let unacked = self.unacknowledged;
        let reported = self.board.sacked + self.recovery.duplicates;
        if self.has_sack && !segment.options.blocks().is_empty() {
            told = self.take_sacks(segment, now);
        }
        if is_news {
            self.advance(ack, segment, now);
        } else if !self.has_sack
            && ack == self.unacknowledged
            && !self.board.is_empty()
            && segment.is_empty()
            && self.scaled(segment) == self.window
        {
            self.on_duplicate();
        }
        let is_bare = segment.is_empty() && segment.options.blocks().is_empty();
        if !is_news && is_bare && self.scaled(segment) == self.window {
            self.on_duplicate_of_tail(ack);
        }
        self.update_window(segment, now);
        if told || self.board.sacked > 0 || self.recovery.is_on() {
            self.detect_loss(now);
        }
        if is_news || told {
            self.arm_retransmission(now);
        }
        if self.recovery.prr.is_some() {
            let arrived =
                self.unacknowledged.beyond(unacked) + self.board.sacked + self.recovery.duplicates;
            self.reduce_by_rate(arrived.saturating_sub(reported));
        }
    }

    /// Moves the left edge of what is unacknowledged.
    fn advance(&mut self, ack: Seq, segment: &Segment<'_>, now: Nanos) {
        let acked = ack.beyond(self.unacknowledged);
        self.unacknowledged = ack;
        (self.waiting_since, self.timed_from) = (now, now);
        self.soft_error = None;
        self.small_end = self.small_end.max(ack);
        let counters = &mut self.counters;
        counters.bytes_acked = counters.bytes_acked.wrapping_add(acked as u64);
        let (recovery, least) = (&mut self.recovery, self.rtt.least);
        let mut sample = None;
        self.board.acknowledge(ack, |delivered| {
            counters.delivered = counters.delivered.wrapping_add(1);
            sample = recovery.delivered(delivered, least, now).or(sample);
        });
        let sample = sample.or_else(|| self.timestamp_sample(segment, now));
        if let Some(sample) = sample {
            self.rtt.measure(sample);
        }
        self.rtt.relax();
        self.note_echo(segment);
        let is_growing = !self.recovery.is_on() || self.recovery.is_after_timeout;
        self.on_progress();
        let bytes = ack.beyond(self.send_start).min(self.send.len());
        self.send.consume(bytes);
        self.send_start = self.send_start + bytes;
        if is_growing && self.is_held_by_window() {
            let rtt = self.rtt.smoothed().unwrap_or(Nanos::ZERO);
            let size = self.payload_size() as u32;
            self.congestion.on_acked(acked as u32, size, rtt, now);
        }
        if self.is_finished && ack.is_after(self.fin_number()) {
            self.on_fin_acknowledged();
        }
    }

    /// Returns the round trip by the echoed timestamp, when what was acknowledged was sent more than once (RFC 7323 §4).
    fn timestamp_sample(&self, segment: &Segment<'_>, now: Nanos) -> Option<Nanos> {
        let (_, echo) = segment.options.timestamps.filter(|_| self.has_timestamps)?;
        let age = crate::connection::clock(now, self.clock_offset).wrapping_sub(echo);
        const SANE_MS: u32 = 600_000;
        (echo != 0 && age < SANE_MS).then(|| Nanos::from_millis(age.max(1).into()))
    }

    fn on_fin_acknowledged(&mut self) {
        match self.state {
            State::FinWait1 => self.state = State::FinWait2,
            State::Closing => self.state = State::TimeWait,
            State::LastAck => self.finish(End::Finished),
            _ => {}
        }
    }

    fn take_data(&mut self, segment: &Segment<'_>, now: Nanos) {
        let start = segment.seq + usize::from(segment.flags.has(Flags::SYN));
        let is_open = matches!(
            self.state,
            State::Established | State::FinWait1 | State::FinWait2
        );
        if !segment.payload.is_empty() {
            if is_open && self.fin.is_none_or(|fin| !start.is_after(fin)) {
                self.take_payload(start, segment.payload, now);
            } else {
                self.ack_now = true;
            }
        }
        if segment.flags.has(Flags::FIN) {
            let fin = start + segment.payload.len();
            if !is_open {
                // It comes again: our acknowledgement was lost.
                self.ack_now = true;
                return;
            }
            if fin.is_before(self.receive.highest()) {
                // There was more than it says.
                self.ack_now = true;
                return;
            }
            self.fin.get_or_insert(fin);
        }
        if is_open && self.fin == Some(self.receive.next) {
            self.on_fin();
        }
    }

    fn take_payload(&mut self, start: Seq, payload: &[u8], now: Nanos) {
        // What lies behind the window, or behind the FIN, is cut off.
        let edge = self.receive.next + self.promised();
        let edge = edge.max(self.receive.edge);
        let edge = self.fin.map_or(edge, |fin| fin.min(edge));
        let payload = payload
            .get(..payload.len().min(edge.beyond(start)))
            .unwrap_or_default();
        if payload.is_empty() {
            self.ack_now = true;
            return;
        }
        let len = payload.len().min(usize::from(self.offered_mss)) as u16;
        self.peer_segment = self.peer_segment.max(len);
        let most = self.receive_memory();
        let taken = self.receive.take(start, payload, most);
        if let Taken::InOrder(bytes, _) = taken {
            self.counters.bytes_received += bytes as u64;
        }
        if taken == Taken::Early {
            self.counters.early = self.counters.early.wrapping_add(1);
        }
        match taken {
            Taken::InOrder(_, false) => {
                // RFC 5681 §4.2: at least every second segment.
                let pending = self.receive.next.beyond(self.acknowledged);
                if pending > usize::from(self.peer_segment) {
                    self.ack_now = true;
                } else if self.ack_at.is_none() {
                    self.ack_at = Some(now + ACK_DELAY);
                }
            }
            // RFC 5681 §4.2: what fills a gap, or makes one, is acknowledged at once.
            Taken::InOrder(_, true) | Taken::Early | Taken::Repeated | Taken::Dropped => {
                self.ack_now = true;
            }
        }
    }

    fn on_fin(&mut self) {
        self.receive.next = self.receive.next + 1;
        self.receive.edge = self.receive.edge.max(self.receive.next);
        self.counters.bytes_received += 1;
        self.ack_now = true;
        self.state = match self.state {
            State::FinWait1 => State::Closing,
            State::FinWait2 => State::TimeWait,
            _ => {
                self.is_interactive = true;
                State::CloseWait
            }
        };
    }
}
