//! What is sent next (RFC 9293 §3.8, RFC 896, RFC 1122 §4.2.3.4, RFC 6675 §5).

use tyn_abi::Nanos;

use crate::connection::{ACK_DELAY, Connection, State, clock, first_window};
use crate::options::Options;
use crate::segment::{Flags, HEADER};
use crate::seq::Seq;

/// Segments that may be under way in any case, however small the window is in bytes: what RFC 6928 starts with.
const INITIAL_SEGMENTS: usize = 10;

/// A segment to be sent, or several of the same header one after the other (a train).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// The number of its first byte.
    pub seq: Seq,
    /// What it acknowledges, if [`Flags::ACK`] is set.
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// The window, scaled.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Where its data are in the send queue.
    offset: usize,
    /// Bytes of data.
    pub len: usize,
    /// Bytes of data of each segment; the last one of a train may have fewer.
    pub piece: usize,
}

impl Outgoing {
    /// Returns a segment without data.
    #[must_use]
    pub fn bare(seq: Seq, ack: Seq, flags: Flags, window: u16, options: Options) -> Self {
        Self {
            seq,
            ack,
            flags,
            window,
            options,
            offset: 0,
            len: 0,
            piece: 0,
        }
    }

    /// Returns the length of the header with options.
    #[must_use]
    pub fn header_len(&self) -> usize {
        HEADER + self.options.len()
    }

    /// Writes the header to `to` of [`Outgoing::header_len`] bytes or more; the checksum stays 0.
    pub fn write_header(&self, to: &mut [u8], source_port: u16, destination_port: u16) {
        let len = self.header_len();
        let Some((header, rest)) = to.split_first_chunk_mut::<HEADER>() else {
            return;
        };
        let [s0, s1] = source_port.to_be_bytes();
        let [d0, d1] = destination_port.to_be_bytes();
        let [q0, q1, q2, q3] = self.seq.0.to_be_bytes();
        let ack = if self.flags.has(Flags::ACK) {
            self.ack.0
        } else {
            0
        };
        let [a0, a1, a2, a3] = ack.to_be_bytes();
        let [w0, w1] = self.window.to_be_bytes();
        let offset = ((len / 4) << 4) as u8;
        *header = [
            s0,
            s1,
            d0,
            d1,
            q0,
            q1,
            q2,
            q3,
            a0,
            a1,
            a2,
            a3,
            offset,
            self.flags.0,
            w0,
            w1,
            0,
            0,
            0,
            0,
        ];
        self.options
            .write(rest.get_mut(..len - HEADER).unwrap_or_default());
    }
}

impl Connection {
    /// Returns the data of a segment, in two pieces.
    #[must_use]
    pub fn payload(&self, of: &Outgoing) -> (&[u8], &[u8]) {
        self.send.get(of.offset, of.len)
    }

    /// Returns the next segment to be sent now, which counts as sent; `None` when there is nothing (more) to say.
    pub fn next_segment(&mut self, now: Nanos) -> Option<Outgoing> {
        self.next_train(now, 1)
    }

    /// Returns the next segment to be sent now, or up to `most` of them as one, which all count as sent; somebody else
    /// cuts them apart.
    pub fn next_train(&mut self, now: Nanos, most: usize) -> Option<Outgoing> {
        let segment = self.choose(now, most)?;
        self.count_sent(segment.len, segment.piece, now);
        self.count_in_recovery(segment.len);
        Some(segment)
    }

    fn choose(&mut self, now: Nanos, most: usize) -> Option<Outgoing> {
        if let Some(number) = self.stray_reset.take() {
            let none = Options::default();
            return Some(Outgoing::bare(number, Seq(0), Flags::RST, 0, none));
        }
        match self.state {
            State::Closed => return self.reset(),
            State::SynSent | State::SynReceived => return self.syn(now),
            _ => {}
        }
        let segment = self
            .lost_segment(now)
            .or_else(|| self.new_segment(now, most))
            .or_else(|| self.probe(now));
        if segment.is_some() {
            return segment;
        }
        self.ack_now.then(|| {
            let next = self.next;
            self.make(next, (0, 0), Flags::ACK, now)
        })
    }

    fn reset(&mut self) -> Option<Outgoing> {
        if !core::mem::take(&mut self.reset_due) {
            return None;
        }
        let flags = Flags::RST.with(Flags::ACK);
        let none = Options::default();
        Some(Outgoing::bare(self.next, self.receive.next, flags, 0, none))
    }

    fn syn(&mut self, now: Nanos) -> Option<Outgoing> {
        let first = self.unacknowledged;
        if self.board.is_empty() {
            if !self.board.reserve() {
                self.wait_for_window(now);
                return None;
            }
            self.board.push(first, first + 1, now);
            self.next = first + 1;
            (self.waiting_since, self.timed_from) = (now, now);
            self.probe_window = false;
            self.retransmit_at = Some(now + self.rtt.timeout());
        } else {
            let lost = self.board.next_lost()?;
            self.board.repeat(lost.start, 1, now);
            self.count_repeated(0);
        }
        let mut flags = Flags::SYN;
        let mut ack = Seq(0);
        if self.state == State::SynReceived {
            flags = flags.with(Flags::ACK);
            ack = self.receive.next;
        }
        let window = first_window(self.receive_limit.0);
        self.last_sent = now;
        let options = self.syn_options(self.offered_mss, now);
        Some(Outgoing::bare(first, ack, flags, window as u16, options))
    }

    /// Returns the next segment that is to be sent again, if the congestion window lets it go.
    fn lost_segment(&mut self, now: Nanos) -> Option<Outgoing> {
        if self.board.lost == 0 {
            return None;
        }
        let lost = self.board.next_lost()?;
        let len = lost.len().min(self.payload_size());
        let flight = self.in_flight();
        let is_first = lost.start == self.unacknowledged;
        let may_go = flight == 0
            || flight + len <= self.congestion.window as usize
            || is_first && self.recovery.repairs;
        if !may_go {
            return None;
        }
        self.board.repeat(lost.start, len, now);
        self.note_repeated(now);
        if is_first {
            self.recovery.repairs = false;
            self.timed_from = now;
            self.arm_retransmission(now);
        }
        Some(self.again(lost.start, len, now))
    }

    /// Makes a segment of what was sent before.
    fn again(&mut self, start: Seq, len: usize, now: Nanos) -> Outgoing {
        let has_fin = self.is_fin_sent() && start + len == self.fin_number() + 1;
        let data = len - usize::from(has_fin);
        self.count_repeated(data);
        let mut flags = Flags::ACK;
        if has_fin {
            flags = flags.with(Flags::FIN);
        }
        self.make(start, (data, data), flags, now)
    }

    /// Returns the next segments, at most so many, of data that were never sent.
    fn new_segment(&mut self, now: Nanos, most: usize) -> Option<Outgoing> {
        if !self.has_unsent() {
            return None;
        }
        self.restart_after_idle(now);
        let unsent = self.sendable();
        let usable = (self.unacknowledged + self.window as usize).beyond(self.next);
        let free = (self.congestion.window as usize).saturating_sub(self.in_flight());
        let size = self.segment_room();
        let len = unsent.min(size).min(usable);
        let has_fin = self.is_finished && len == unsent;
        let is_idle = self.board.is_empty();
        let is_full = free < len || self.board.flight_segments() >= self.most_segments();
        if is_full && !is_idle || len == 0 && !has_fin {
            if is_full {
                self.note_usage(true);
            }
            self.wait_for_window(now);
            return None;
        }
        if !has_fin && len < size && !self.may_send_small(len, unsent) {
            self.wait_for_window(now);
            return None;
        }
        let len = if len == size && most > 1 {
            self.train(most, unsent.min(usable), free)
        } else {
            len
        };
        self.send_new(len, self.is_finished && len == unsent, now)
    }

    fn send_new(&mut self, len: usize, has_fin: bool, now: Nanos) -> Option<Outgoing> {
        if !self.board.reserve() {
            self.wait_for_window(now);
            return None;
        }
        let start = self.next;
        let end = start + len + usize::from(has_fin);
        if self.board.is_empty() {
            (self.waiting_since, self.timed_from) = (now, now);
        }
        let mut flags = Flags::ACK;
        if len > 0 && end.beyond(self.send_start) >= self.send.len() {
            flags = flags.with(Flags::PSH);
        }
        if has_fin {
            flags = flags.with(Flags::FIN);
        }
        let size = self.segment_room();
        if len == 0 || !len.is_multiple_of(size) {
            self.small_end = end;
        }
        self.note_sent(start, end, size, now);
        self.next = end;
        self.note_usage(self.fills_window());
        self.probe_window = false;
        self.arm_retransmission(now);
        Some(self.make(start, (len, len.min(size)), flags, now))
    }

    /// Returns how many bytes there are to be sent for the first time, without those that are held back.
    pub(crate) fn sendable(&self) -> usize {
        let unsent = self.fin_number().beyond(self.next);
        if self.is_held && !self.is_finished {
            unsent - unsent % self.segment_room()
        } else {
            unsent
        }
    }

    /// Returns how many segments may be under way: the congestion window in segments of full size, as Linux counts. Small
    /// segments load a path by their number, not by their bytes.
    pub(crate) fn most_segments(&self) -> usize {
        (self.congestion.window as usize / self.payload_size()).max(INITIAL_SEGMENTS)
    }

    /// Nagle (RFC 896) as Minshall has it (a small segment waits for small ones only), and the sender's part against silly
    /// windows (RFC 9293 §3.8.6.2.1).
    pub(crate) fn may_send_small(&self, len: usize, unsent: usize) -> bool {
        let is_all = len == unsent;
        if is_all {
            return self.policy.no_delay
                || self.is_finished
                || !self.small_end.is_after(self.unacknowledged);
        }
        // The window is what makes it small.
        len * 2 >= self.most_window as usize
    }

    /// Nothing is in flight, and there is no room in the peer's window, or no memory: try again some time.
    fn wait_for_window(&mut self, now: Nanos) {
        if self.board.is_empty() && self.retransmit_at.is_none() {
            self.waiting_since = now;
            self.retransmit_at = Some(now + self.rtt.timeout());
        }
    }

    fn restart_after_idle(&mut self, now: Nanos) {
        if self.board.is_empty() && now - self.last_sent > self.rtt.timeout() {
            self.congestion.on_idle(self.payload_size() as u32);
            self.rtt.relax();
        }
    }

    /// Returns the bytes of data that fit the next segment.
    pub(crate) fn segment_room(&self) -> usize {
        let mut room = self.payload_size();
        if self.has_sack && self.receive.has_report() {
            let blocks = 4 + 8 * self.most_blocks();
            room = room.saturating_sub(blocks).max(1);
        }
        room
    }

    /// Returns a segment that asks whether the peer is there, and what its window is.
    fn probe(&mut self, now: Nanos) -> Option<Outgoing> {
        if core::mem::take(&mut self.probe_tail) {
            return self.tail_probe(now);
        }
        if core::mem::take(&mut self.probe_window) && self.board.is_empty() && self.has_unsent() {
            let usable = (self.unacknowledged + self.window as usize).beyond(self.next);
            let unsent = self.sendable();
            let len = usable.min(unsent).min(self.segment_room());
            if len > 0 {
                // The override time-out of RFC 9293 §3.8.6.2.1.
                return self.send_new(len, self.is_finished && len == unsent, now);
            }
            return Some(self.make(self.unacknowledged - 1, (0, 0), Flags::ACK, now));
        }
        if core::mem::take(&mut self.probe_peer) {
            return Some(self.make(self.unacknowledged - 1, (0, 0), Flags::ACK, now));
        }
        None
    }

    /// RFC 8985 §7.3: something new if there is, otherwise the last segment once more.
    fn tail_probe(&mut self, now: Nanos) -> Option<Outgoing> {
        let last = *self.board.last()?;
        let usable = (self.unacknowledged + self.window as usize).beyond(self.next);
        let unsent = self.sendable();
        let len = unsent.min(self.segment_room()).min(usable);
        let timer = self.retransmit_at;
        let segment = if len > 0 {
            let has_fin = self.is_finished && len == unsent;
            let segment = self.send_new(len, has_fin, now)?;
            self.recovery.tail = Some((self.next, false));
            segment
        } else {
            let len = last.len().min(self.payload_size());
            let start = last.end - len;
            if start != last.start {
                self.board.split(start);
            }
            self.board.repeat(start, len, now);
            self.recovery.tail = Some((self.next, true));
            self.again(start, len, now)
        };
        self.retransmit_at = timer;
        Some(segment)
    }

    /// Makes a segment of so many bytes, or a train of pieces; everything that we have to say goes along.
    fn make(
        &mut self,
        seq: Seq,
        (len, piece): (usize, usize),
        flags: Flags,
        now: Nanos,
    ) -> Outgoing {
        let mut options = Options::default();
        if self.has_timestamps {
            options.timestamps = Some((clock(now, self.clock_offset), self.recent));
        }
        if self.has_sack && self.receive.has_report() {
            // What is sent again is as long as it was.
            let room = usize::from(self.mss).saturating_sub(options.len() + piece + 4) / 8;
            let most = self.most_blocks().min(room);
            self.receive.report(&mut options, most);
        }
        let window = self.choose_window();
        let answers = self.counters.bytes_received > 0 && now < self.data_received_at + ACK_DELAY;
        self.is_interactive |= len > 0 && answers;
        self.acknowledged = self.receive.next;
        self.ack_now = self.has_sack && self.receive.has_untold();
        self.ack_at = None;
        self.last_sent = now;
        Outgoing {
            seq,
            ack: self.receive.next,
            flags,
            window,
            options,
            offset: seq.beyond(self.send_start),
            len,
            piece,
        }
    }
}
