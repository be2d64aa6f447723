//! Finding out what is lost: by time (RACK, RFC 8985), by duplicate acknowledgements of peers without SACK (RFC 6582),
//! by a time-out; and what follows for the congestion window.

use tyn_abi::Nanos;

use crate::board::Delivered;
use crate::connection::{Connection, State};
use crate::options::Block;
use crate::prr::Prr;
use crate::segment::Segment;
use crate::seq::Seq;
use crate::undo::Undo;

/// Duplicate acknowledgements, or segments that overtook one, that mean loss (DupThresh).
const THRESHOLD: usize = 3;
/// Fewer segments than this under way do not tell of losses by duplicate acknowledgements (`tcp_stream_is_thin`).
const THIN_SEGMENTS: usize = 4;
/// Recoveries after which a wider reordering window shrinks again (RFC 8985 §6.2).
const PERSISTENCE: u8 = 16;

/// What the sender does about losses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    /// Losses are being repaired until this is acknowledged.
    pub(crate) until: Option<Seq>,
    /// The retransmission timer has fired, and what it found lost is not yet repaired.
    pub(crate) is_after_timeout: bool,
    /// How much is sent meanwhile, unless after a time-out.
    pub(crate) prr: Option<Prr>,
    /// How to take the reduction back, if nothing was lost.
    pub(crate) undo: Option<Undo>,
    /// Segments are sent again that were too big, whatever the window says.
    pub(crate) repairs: bool,
    /// Bytes that must have left the network by duplicate acknowledgements (peers without SACK).
    pub(crate) duplicates: usize,
    duplicate_count: usize,
    /// The segment sent last of those that arrived: when and how far (RACK.xmit_ts, RACK.end_seq), and its round trip.
    latest: Option<(Nanos, Seq)>,
    latest_rtt: Nanos,
    is_reordered: bool,
    /// Quarters of the least round trip that are waited for those that were overtaken.
    window_quarters: u8,
    persist: u8,
    /// A tail loss probe was sent, up to here, and whether it repeated something (RFC 8985 §7.4).
    pub(crate) tail: Option<(Seq, bool)>,
    /// When the peer was last told that something came twice, in sent bytes: at most once each round trip.
    pub(crate) repeated_until: Seq,
}

impl Recovery {
    pub(crate) fn new(at: Seq) -> Self {
        Self {
            until: None,
            is_after_timeout: false,
            prr: None,
            undo: None,
            repairs: false,
            duplicates: 0,
            duplicate_count: 0,
            latest: None,
            latest_rtt: Nanos::ZERO,
            is_reordered: false,
            window_quarters: 1,
            persist: 0,
            tail: None,
            repeated_until: at,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.until.is_some()
    }

    /// Forgets which segment of those that arrived was sent last.
    pub(crate) fn forget_latest(&mut self) {
        self.latest = None;
        self.is_reordered = true;
    }

    /// Takes note of a segment that arrived (RFC 8985 §6.2, steps 1 and 2); returns its round trip if that is certain.
    pub(crate) fn delivered(&mut self, of: Delivered, least: Nanos, now: Nanos) -> Option<Nanos> {
        let rtt = now - of.at;
        // An acknowledgement that came sooner than one can is for the first transmission.
        if of.is_repeated && rtt < least {
            return None;
        }
        let is_latest = self
            .latest
            .is_none_or(|(at, end)| of.at > at || of.at == at && of.end.is_after(end));
        if is_latest {
            self.latest = Some((of.at, of.end));
            self.latest_rtt = rtt;
        }
        (!of.is_repeated).then_some(rtt)
    }
}

/// Returns whether the first block tells of what came twice: it is acknowledged already, or part of the second (RFC 2883 §5).
fn is_repeat(segment: &Segment<'_>) -> bool {
    let (first, second) = match *segment.options.blocks() {
        [] => return false,
        [first] => (first, None),
        [first, second, ..] => (first, Some(second)),
    };
    let is_within = |of: Block| !first.start.is_before(of.start) && !first.end.is_after(of.end);
    first.end.is_after(first.start)
        && (!first.end.is_after(segment.ack) || second.is_some_and(is_within))
}

impl Connection {
    fn reordering_window(&self) -> Nanos {
        let recovery = &self.recovery;
        if !recovery.is_reordered && (recovery.is_on() || self.board.sacked_segments() >= THRESHOLD)
        {
            return Nanos::ZERO;
        }
        let window = Nanos(self.rtt.least.0 / 4 * u64::from(recovery.window_quarters));
        window.min(self.rtt.smoothed().unwrap_or(window))
    }

    /// Takes in the SACK blocks of an acknowledgement; returns whether they told something new.
    pub(crate) fn take_sacks(&mut self, segment: &Segment<'_>, now: Nanos) -> bool {
        let before = self.board.sacked;
        let mut is_reordered = false;
        let mut samples = None;
        for (n, &block) in segment.options.blocks().iter().enumerate() {
            if n == 0 && is_repeat(segment) {
                self.on_repeated(block);
                continue;
            }
            let is_sane = block.end.is_after(block.start)
                && !block.start.is_before(self.unacknowledged)
                && !block.end.is_after(self.next);
            if !is_sane {
                continue;
            }
            let (recovery, least) = (&mut self.recovery, self.rtt.least);
            let arrived = &mut self.counters.delivered;
            is_reordered |= self.board.sack(block, |delivered| {
                *arrived = arrived.wrapping_add(1);
                let sample = recovery.delivered(delivered, least, now);
                samples = sample.or(samples);
            });
        }
        self.recovery.is_reordered |= is_reordered;
        let reordered = &mut self.counters.reordered;
        *reordered = reordered.wrapping_add(is_reordered.into());
        if let Some(sample) = samples {
            self.rtt.measure(sample);
        }
        self.board.sacked != before
    }

    /// The peer got something twice: it was not lost, only late (RFC 8985 §6.2, step 4).
    fn on_repeated(&mut self, block: Block) {
        self.counters.twice = self.counters.twice.wrapping_add(1);
        self.note_twice(block);
        let recovery = &mut self.recovery;
        recovery.is_reordered = true;
        if !self.unacknowledged.is_before(recovery.repeated_until) {
            recovery.repeated_until = self.next;
            recovery.window_quarters = recovery.window_quarters.saturating_add(1).min(16);
            recovery.persist = PERSISTENCE;
        }
        if recovery.tail.is_some_and(|(_, repeats)| repeats) {
            // The probe was unnecessary; nothing was lost.
            recovery.tail = None;
        }
    }

    /// Takes segments for lost that were sent long enough before one that arrived (RFC 8985 §6.2, step 5).
    pub(crate) fn detect_loss(&mut self, now: Nanos) {
        self.reorder_at = None;
        let Some((latest, latest_end)) = self.recovery.latest else {
            return;
        };
        if self.board.sacked == 0 && !self.recovery.is_on() || !self.has_sack {
            return;
        }
        let wait = self.recovery.latest_rtt + self.reordering_window();
        let mut timer: Option<Nanos> = None;
        let is_new = self.board.mark(|sent| {
            let is_before = sent.at < latest || sent.at == latest && latest_end.is_after(sent.end);
            if !is_before {
                // What was never sent again is in order of time.
                return if sent.is_repeated || self.recovery.is_on() {
                    Some(false)
                } else {
                    None
                };
            }
            let until = sent.at + wait;
            if until > now {
                timer = Some(timer.unwrap_or(until).max(until));
            }
            Some(until <= now)
        });
        self.reorder_at = timer;
        if is_new {
            self.enter_recovery();
        }
    }

    /// Shrinks the window, once for all that is lost now (RFC 6675 §5).
    pub(crate) fn enter_recovery(&mut self) {
        if !self.recovery.is_on() {
            self.remember_window();
            self.recovery.until = Some(self.next);
            self.recovery.prr = Some(Prr::new(self.next.beyond(self.unacknowledged)));
            self.congestion.on_loss(self.payload_size() as u32);
        }
    }

    /// Counts duplicate acknowledgements of a peer without SACK (RFC 5681 §3.2).
    pub(crate) fn on_duplicate(&mut self) {
        let recovery = &mut self.recovery;
        recovery.duplicate_count += 1;
        let flight = self.next.beyond(self.unacknowledged);
        let size = usize::from(self.mss);
        recovery.duplicates = (recovery.duplicate_count * size).min(flight.saturating_sub(1));
        if recovery.duplicate_count == THRESHOLD && !recovery.is_on() {
            self.lose_first();
            self.enter_recovery();
        }
    }

    fn lose_first(&mut self) {
        let first = self.unacknowledged;
        self.board
            .mark(|sent| (sent.start == first).then_some(true));
    }

    /// Goes on after `self.unacknowledged` has moved.
    pub(crate) fn on_progress(&mut self) {
        let una = self.unacknowledged;
        let recovery = &mut self.recovery;
        (recovery.duplicates, recovery.duplicate_count) = (0, 0);
        recovery.repeated_until = recovery.repeated_until.max(una);
        recovery.repairs &= self.board.lost > 0;
        match recovery.until {
            Some(until) if !una.is_before(until) => {
                recovery.until = None;
                if recovery.prr.take().is_some() {
                    self.congestion.end_recovery();
                }
                recovery.is_after_timeout = false;
                recovery.persist = recovery.persist.saturating_sub(1);
                if recovery.persist == 0 {
                    recovery.window_quarters = 1;
                }
            }
            // RFC 6582 §3.2: a partial acknowledgement tells the next hole.
            Some(_) if !self.has_sack && !recovery.is_after_timeout => self.lose_first(),
            _ => {}
        }
        // RFC 8985 §7.4.2: what acknowledges just the probe may be for the original. More than that, without word of a
        // second arrival, means that the probe repaired a loss of which there was no other sign.
        match self.recovery.tail {
            Some((end, false)) if !una.is_before(end) => self.recovery.tail = None,
            Some((end, true)) if una.is_after(end) => {
                self.recovery.tail = None;
                if !self.recovery.is_on() {
                    self.congestion.on_loss(self.payload_size() as u32);
                }
            }
            _ => {}
        }
    }

    /// An acknowledgement came twice: both the original and the probe have arrived (RFC 8985 §7.4.2).
    pub(crate) fn on_duplicate_of_tail(&mut self, ack: Seq) {
        if self.recovery.tail == Some((ack, true)) {
            self.recovery.tail = None;
        }
    }

    /// Whether the peer gets too little at a time for its acknowledgements to tell of losses, and the program has said that
    /// it is so (`tcp_stream_is_thin` of Linux).
    fn is_thin(&self) -> bool {
        self.policy.is_thin
            && self.state == State::Established
            && self.board.segments() < THIN_SEGMENTS
            && self.congestion.threshold().is_some()
    }

    /// The retransmission timer has fired: all that was not reported is lost (RFC 6298 §5, RFC 8985 §6.3).
    pub(crate) fn on_timeout(&mut self) {
        let is_first = !self.recovery.is_after_timeout;
        self.remember_window();
        if self.rtt.is_backed_off() {
            // A peer that has dropped what it reported does not say so (RFC 2018 §8).
            self.board.forget_sacks();
        }
        self.board.mark(|_| Some(true));
        (self.recovery.duplicates, self.recovery.duplicate_count) = (0, 0);
        self.recovery.tail = None;
        self.recovery.is_after_timeout = true;
        self.recovery.prr = None;
        self.recovery.until = Some(self.next);
        self.congestion
            .on_timeout(self.payload_size() as u32, is_first);
        if self.is_thin() {
            self.rtt.stay();
        } else {
            self.rtt.back_off();
        }
        self.reorder_at = None;
    }
}
