//! What a connection can tell of itself (`tcp(7)`, `TCP_INFO`), all of it counted as things happen.

use tyn_abi::Nanos;

use crate::connection::{Connection, State};
use crate::segment::Segment;

/// Bytes that a peer's segments are taken to have before it has sent any (`TCP_MSS_DEFAULT`).
const LEAST_PEER_SEGMENT: u16 = 536;

/// Sums since the connection began; those of segments count what leaves or comes as one packet by its pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Numbers of ours that the peer has acknowledged: bytes, our FIN, and our SYN if we began.
    pub bytes_acked: u64,
    /// Numbers of the peer's that came in order: bytes and its FIN.
    pub bytes_received: u64,
    /// Bytes that were sent, those sent again included.
    pub bytes_sent: u64,
    /// Bytes that were sent again.
    pub bytes_repeated: u64,
    /// Segments that came.
    pub segments_in: u32,
    /// Segments that were sent.
    pub segments_out: u32,
    /// Segments with data that came.
    pub data_segments_in: u32,
    /// Segments with data that were sent.
    pub data_segments_out: u32,
    /// Segments that were sent again.
    pub repeated: u32,
    /// Segments of ours that have arrived, SYN and FIN among them.
    pub delivered: u32,
    /// Segments of ours that arrived twice.
    pub twice: u32,
    /// Times that segments of ours were found to overtake each other.
    pub reordered: u32,
    /// Segments that came before others that they should have followed.
    pub early: u32,
}

/// What the sender does about losses, as Linux numbers it (`enum tcp_ca_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Congestion {
    /// Nothing is missing.
    Open = 0,
    /// Something may be missing.
    Disorder = 1,
    /// Losses are being repaired.
    Recovery = 3,
    /// The same after a time-out.
    Loss = 4,
}

/// What a connection tells of itself. Segments without options are what sizes are told in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// Sums.
    pub counters: Counters,
    /// What is done about losses.
    pub congestion: Congestion,
    /// Time-outs in a row without progress, of what was sent or of probes of a closed window.
    pub timeouts: u8,
    /// Probes of a silent peer or a closed window that were not answered.
    pub probes: u8,
    /// Whether both sides send timestamps, understand SACK, and scale windows.
    pub has_timestamps: bool,
    /// See above.
    pub has_sack: bool,
    /// See above.
    pub has_scale: bool,
    /// By what the peer's windows and ours are shifted.
    pub scales: (u8, u8),
    /// The retransmission time-out.
    pub timeout: Nanos,
    /// Smoothed round trip, its variation, and the least one; all of them 0 before the first.
    pub rtt: Nanos,
    /// See above.
    pub variation: Nanos,
    /// See above.
    pub least_rtt: Nanos,
    /// Bytes of data of our segments.
    pub segment: u32,
    /// Bytes of data of the peer's.
    pub peer_segment: u32,
    /// The greatest segment that we have offered to take.
    pub offered: u32,
    /// Segments that are not acknowledged, and of these: reported, taken for lost, sent again.
    pub unacknowledged: u32,
    /// See above.
    pub sacked: u32,
    /// See above.
    pub lost: u32,
    /// See above.
    pub repeated: u32,
    /// Bytes that were never sent.
    pub unsent: u32,
    /// The congestion window in segments.
    pub window: u32,
    /// Where slow start ends, in segments; `None` before the first loss.
    pub threshold: Option<u32>,
    /// Bytes that may wait for the program.
    pub receive_space: u32,
    /// The peer's window, and ours.
    pub peer_window: u32,
    /// See above.
    pub own_window: u32,
    /// Time since data were sent, since data came, and since an acknowledgement came.
    pub since_sent: Nanos,
    /// See above.
    pub since_received: Nanos,
    /// See above.
    pub since_acknowledged: Nanos,
}

impl Connection {
    /// Returns what the connection tells of itself.
    #[must_use]
    pub fn info(&self, now: Nanos) -> Info {
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let size = word(self.payload_size());
        let (rtt, variation) = self.rtt.estimate();
        let timeouts = self.rtt.timeouts();
        let is_probing = self.board.is_empty() && self.has_unsent();
        Info {
            counters: self.counters,
            congestion: self.congestion(),
            timeouts,
            probes: if is_probing {
                timeouts
            } else {
                self.probes.min(255) as u8
            },
            has_timestamps: self.has_timestamps,
            has_sack: self.has_sack,
            has_scale: self.has_scale,
            scales: if self.has_scale {
                (self.peer_scale, self.scale)
            } else {
                (0, 0)
            },
            timeout: self.rtt.timeout(),
            rtt,
            variation,
            least_rtt: self.rtt.least,
            segment: size,
            peer_segment: self
                .peer_segment
                .max(LEAST_PEER_SEGMENT.min(self.offered_mss))
                .into(),
            offered: self.offered_mss.into(),
            unacknowledged: word(self.board.segments()),
            sacked: word(self.board.sacked_segments()),
            lost: word(self.board.lost_segments()),
            repeated: word(self.board.repeated_segments()),
            unsent: match self.state {
                State::SynSent | State::SynReceived | State::Closed => 0,
                _ => word((self.send_start + self.send.len()).beyond(self.next)),
            },
            window: self.congestion.window / size,
            threshold: self.congestion.threshold().map(|bytes| bytes / size),
            receive_space: word(self.receive_limit.0),
            peer_window: self.window,
            own_window: word(self.promised()),
            since_sent: now - self.data_sent_at,
            since_received: now - self.data_received_at,
            since_acknowledged: now - self.last_received,
        }
    }

    /// Returns when data came last.
    #[must_use]
    pub const fn data_received_at(&self) -> Nanos {
        self.data_received_at
    }

    fn congestion(&self) -> Congestion {
        match () {
            () if self.recovery.is_after_timeout => Congestion::Loss,
            () if self.recovery.is_on() => Congestion::Recovery,
            () if self.board.sacked > 0 => Congestion::Disorder,
            () => Congestion::Open,
        }
    }

    /// Counts a segment that came; a great one is as many as the sender's card or kernel had cut it into.
    pub(crate) fn count_received(&mut self, segment: &Segment<'_>, now: Nanos) {
        let pieces = segment
            .payload
            .len()
            .div_ceil(usize::from(self.offered_mss).max(1));
        let counters = &mut self.counters;
        counters.segments_in = counters.segments_in.wrapping_add(pieces.max(1) as u32);
        if pieces > 0 {
            counters.data_segments_in = counters.data_segments_in.wrapping_add(pieces as u32);
            self.data_received_at = now;
        }
    }

    /// Counts a segment that is sent, or the pieces of a train.
    pub(crate) fn count_sent(&mut self, len: usize, piece: usize, now: Nanos) {
        let pieces = len.div_ceil(piece.max(1));
        let counters = &mut self.counters;
        counters.segments_out = counters.segments_out.wrapping_add(pieces.max(1) as u32);
        if pieces > 0 {
            counters.data_segments_out = counters.data_segments_out.wrapping_add(pieces as u32);
            counters.bytes_sent += len as u64;
            self.data_sent_at = now;
        }
    }

    /// Returns how many segments were sent again.
    #[must_use]
    pub const fn repeated(&self) -> u32 {
        self.counters.repeated
    }

    /// Counts a segment with so many bytes of data that is sent again.
    pub(crate) fn count_repeated(&mut self, data: usize) {
        self.counters.repeated = self.counters.repeated.wrapping_add(1);
        self.counters.bytes_repeated += data as u64;
    }
}
