//! A connection: its state, and how it begins.

use tyn_abi::{Errno, Nanos};

use crate::board::Board;
use crate::congestion::{Algorithm, Controller};
use crate::info::Counters;
use crate::options::Options;
use crate::receive::Receive;
use crate::recovery::Recovery;
use crate::ring::Ring;
use crate::rtt::Rtt;
use crate::seq::Seq;
use crate::usage::Usage;

/// Segments of a peer that does not say how great they may be (RFC 9293 §3.7.1).
const DEFAULT_MSS: u16 = 536;
/// How long an acknowledgement may wait for company (Linux's `TCP_DELACK_MIN`; RFC 1122 §4.2.3.2 allows 500 ms).
pub(crate) const ACK_DELAY: Nanos = Nanos::from_millis(40);
/// The greatest shift of a window (RFC 7323 §2.3).
const MOST_SCALE: u8 = 14;

/// The states of RFC 9293 §3.3.2; listening is not a connection's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It has sent a SYN.
    SynSent,
    /// It has taken in and sent a SYN.
    SynReceived,
    /// Both directions are open.
    Established,
    /// It has sent a FIN.
    FinWait1,
    /// Its FIN is acknowledged.
    FinWait2,
    /// Both have sent a FIN, that of the peer is acknowledged.
    Closing,
    /// It is over; stray segments are answered.
    TimeWait,
    /// The peer has sent a FIN.
    CloseWait,
    /// It has sent a FIN after the peer's.
    LastAck,
    /// It is over.
    Closed,
}

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As both sides wanted.
    Finished,
    /// The peer has reset it.
    Reset,
    /// Its owner has aborted it.
    Aborted,
    /// The peer was silent for too long; what the network said of that, if anything.
    Silence(Option<Errno>),
}

/// What both sides have told each other of themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// Our initial sequence number.
    pub ours: Seq,
    /// The peer's.
    pub theirs: Seq,
    /// The window in its SYN.
    pub window: u16,
    /// The options in it.
    pub scale: Option<u8>,
    /// Its greatest segment.
    pub mss: Option<u16>,
    /// It understands SACK.
    pub has_sack: bool,
    /// Its clock, if it sends it.
    pub timestamp: Option<u32>,
}

/// What a connection is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The greatest segment that the path takes, as far as we know: its MTU without the headers of IP and TCP.
    pub mss: u16,
    /// Bytes that may wait for the program at first, and when it reads fast.
    pub receive: (usize, usize),
    /// Bytes that the program may have written at first, and when the network takes them fast.
    pub send: (usize, usize),
    /// What is added to our clock in timestamps.
    pub clock_offset: u32,
}

impl Config {
    /// Returns by what our windows are shifted, if the peer scales windows, too.
    #[must_use]
    pub fn scale(&self) -> u8 {
        scale_for(self.receive.1)
    }
}

/// What the program asks of a connection, and for how long it is tried to reach the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Small segments are not held back.
    pub no_delay: bool,
    /// For how long something may stay unacknowledged.
    pub patience: Nanos,
    /// Probes of an idle peer: after which silence, at what interval, how many.
    pub keep_alive: Option<(Nanos, Nanos, u32)>,
    /// How the congestion window grows and shrinks.
    pub algorithm: Algorithm,
    /// A peer that gets only few segments at a time is not kept waiting for twice as long after each time-out
    /// (`TCP_THIN_LINEAR_TIMEOUTS`).
    pub is_thin: bool,
    /// The greatest window to be told (`TCP_WINDOW_CLAMP`).
    pub most_window: usize,
    /// So many bytes that were never sent take no more beside them (`TCP_NOTSENT_LOWAT`).
    pub most_unsent: usize,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) state: State,
    pub(crate) end: Option<End>,
    pub(crate) policy: Policy,

    // The sending side.
    pub(crate) unacknowledged: Seq,
    pub(crate) next: Seq,
    /// The peer's window, and the segment that told it.
    pub(crate) window: u32,
    pub(crate) window_seq: Seq,
    pub(crate) window_ack: Seq,
    pub(crate) most_window: u32,
    pub(crate) send: Ring,
    /// The number of the first byte in `send`.
    pub(crate) send_start: Seq,
    /// Nothing more is written; the FIN comes after what is in `send`.
    pub(crate) is_finished: bool,
    /// What fills no segment is held back (`TCP_CORK`).
    pub(crate) is_held: bool,
    pub(crate) send_limit: (usize, usize),
    pub(crate) board: Board,
    pub(crate) congestion: Controller,
    pub(crate) usage: Usage,
    pub(crate) rtt: Rtt,
    pub(crate) recovery: Recovery,
    /// The greatest segment, with its options.
    pub(crate) mss: u16,
    pub(crate) peer_scale: u8,
    /// When something was sent last.
    pub(crate) last_sent: Nanos,
    /// Since when the oldest byte is unacknowledged.
    pub(crate) waiting_since: Nanos,
    pub(crate) soft_error: Option<Errno>,
    /// The end of the last segment that was not full.
    pub(crate) small_end: Seq,

    // The receiving side.
    pub(crate) receive: Receive,
    pub(crate) receive_limit: (usize, usize),
    /// Bytes read since the limit was looked at.
    pub(crate) read_since: usize,
    pub(crate) scale: u8,
    /// The number of the peer's FIN, if it was overtaken or taken in.
    pub(crate) fin: Option<Seq>,
    /// What was acknowledged last, and the window then.
    pub(crate) acknowledged: Seq,
    pub(crate) ack_now: bool,
    pub(crate) ack_at: Option<Nanos>,
    /// Data were sent soon after data came: it pays to let acknowledgements wait for such company ("ping-pong" of Linux).
    pub(crate) is_interactive: bool,
    /// The greatest segment that the peer sent.
    pub(crate) peer_segment: u16,
    pub(crate) last_received: Nanos,
    pub(crate) last_challenge: Nanos,

    // Options in use.
    pub(crate) has_sack: bool,
    pub(crate) has_scale: bool,
    pub(crate) has_timestamps: bool,
    pub(crate) clock_offset: u32,
    pub(crate) recent: u32,
    pub(crate) recent_at: Nanos,

    // Timers.
    pub(crate) retransmit_at: Option<Nanos>,
    pub(crate) reorder_at: Option<Nanos>,
    pub(crate) probe_tail: bool,
    pub(crate) probe_window: bool,
    pub(crate) probe_peer: bool,
    pub(crate) probes: u32,
    pub(crate) last_probe: Nanos,
    /// When the time that a retransmission waits for began (RFC 6298 §5).
    pub(crate) timed_from: Nanos,
    /// When the program went, if it did.
    pub(crate) orphaned_at: Option<Nanos>,
    /// The owner wants the peer to hear that it is over.
    pub(crate) reset_due: bool,
    /// Something came that belongs to no connection of ours; this number resets it.
    pub(crate) stray_reset: Option<Seq>,
    /// The greatest segment that we take.
    pub(crate) offered_mss: u16,
    /// What the memory of a queue may become; the owner keeps it up to date.
    pub(crate) spare: usize,

    pub(crate) counters: Counters,
    pub(crate) data_sent_at: Nanos,
    pub(crate) data_received_at: Nanos,
}

impl Connection {
    fn new(config: &Config, policy: Policy, ours: Seq, now: Nanos) -> Self {
        Self {
            state: State::SynSent,
            end: None,
            policy,
            unacknowledged: ours,
            next: ours,
            window: 0,
            window_seq: Seq(0),
            window_ack: ours,
            most_window: 0,
            send: Ring::default(),
            send_start: ours + 1,
            is_finished: false,
            is_held: false,
            send_limit: config.send,
            board: Board::starting_at(ours),
            congestion: Controller::new(policy.algorithm, u32::from(config.mss)),
            usage: Usage::new(ours),
            rtt: Rtt::default(),
            recovery: Recovery::new(ours),
            mss: config.mss,
            peer_scale: 0,
            last_sent: now,
            waiting_since: now,
            soft_error: None,
            small_end: ours,
            receive: Receive::default(),
            receive_limit: config.receive,
            read_since: 0,
            scale: scale_for(config.receive.1),
            fin: None,
            acknowledged: Seq(0),
            ack_now: false,
            ack_at: None,
            is_interactive: false,
            peer_segment: 0,
            last_received: now,
            last_challenge: Nanos::ZERO,
            has_sack: false,
            has_scale: false,
            has_timestamps: false,
            clock_offset: config.clock_offset,
            recent: 0,
            recent_at: now,
            retransmit_at: None,
            reorder_at: None,
            probe_tail: false,
            probe_window: false,
            probe_peer: false,
            probes: 0,
            last_probe: now,
            timed_from: now,
            orphaned_at: None,
            reset_due: false,
            stray_reset: None,
            offered_mss: config.mss,
            spare: usize::MAX,
            counters: Counters::default(),
            data_sent_at: now,
            data_received_at: now,
        }
    }

    /// Opens a connection; its first segment is a SYN.
    #[must_use]
    pub fn connect(config: &Config, policy: Policy, ours: Seq, now: Nanos) -> Self {
        Self::new(config, policy, ours, now)
    }

    /// Makes the connection of a request that was answered already by [`Connection::answer`].
    #[must_use]
    pub fn answered(config: &Config, policy: Policy, handshake: &Handshake, now: Nanos) -> Self {
        let mut connection = Self::new(config, policy, handshake.ours, now);
        connection.state = State::SynReceived;
        connection.learn(handshake, now);
        connection.next = handshake.ours + 1;
        connection.board.push(handshake.ours, connection.next, now);
        // When our answer went out is not known: its round trip is not measured.
        connection.board.repeat(handshake.ours, 1, now);
        connection.acknowledged = handshake.theirs + 1;
        // The peer's SYN has come; our own does not count here when it is acknowledged.
        connection.counters.segments_in = 1;
        connection.counters.bytes_acked = u64::MAX;
        connection.arm_retransmission(now);
        connection
    }

    /// Returns the options and the window of the SYN|ACK for a request.
    #[must_use]
    pub fn answer(config: &Config, handshake: &Handshake, now: Nanos) -> (Options, u16) {
        let mut options = Options {
            mss: Some(config.mss),
            scale: handshake.scale.map(|_| scale_for(config.receive.1)),
            sack_permitted: handshake.has_sack,
            ..Options::default()
        };
        options.timestamps = handshake
            .timestamp
            .map(|theirs| (clock(now, config.clock_offset), theirs));
        (options, first_window(config.receive.0) as u16)
    }

    /// Takes over what the peer's SYN says.
    pub(crate) fn learn(&mut self, handshake: &Handshake, now: Nanos) {
        self.receive.next = handshake.theirs + 1;
        self.receive.edge = self.receive.next + first_window(self.receive_limit.0);
        self.receive.told = self.receive.edge;
        self.mss = self
            .mss
            .min(handshake.mss.unwrap_or(DEFAULT_MSS))
            .max(crate::path::LEAST_MSS);
        self.has_sack = handshake.has_sack;
        self.has_scale = handshake.scale.is_some();
        self.peer_scale = handshake.scale.unwrap_or(0).min(MOST_SCALE);
        if !self.has_scale {
            self.scale = 0;
        }
        self.has_timestamps = handshake.timestamp.is_some();
        self.recent = handshake.timestamp.unwrap_or(0);
        self.recent_at = now;
        self.window = u32::from(handshake.window);
        self.most_window = self.window;
        self.window_seq = handshake.theirs;
        let size = u32::from(self.payload_size() as u16);
        self.congestion = Controller::new(self.policy.algorithm, size);
    }

    /// Returns the options of our SYN.
    pub(crate) fn syn_options(&self, config_mss: u16, now: Nanos) -> Options {
        let is_answer = self.state == State::SynReceived;
        Options {
            mss: Some(config_mss),
            scale: (!is_answer || self.has_scale).then_some(self.scale),
            sack_permitted: !is_answer || self.has_sack,
            timestamps: (!is_answer || self.has_timestamps)
                .then(|| (clock(now, self.clock_offset), self.recent)),
            ..Options::default()
        }
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns why it is closed, once it is.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns the number after everything that was sent, and what was acknowledged last: what answers need when
    /// nothing else is left of the connection.
    #[must_use]
    pub fn numbers(&self) -> (Seq, Seq) {
        (self.next, self.receive.next)
    }

    /// Ends the connection for a reason, without a word.
    pub(crate) fn finish(&mut self, why: End) {
        self.state = State::Closed;
        self.end.get_or_insert(why);
        (self.retransmit_at, self.reorder_at, self.ack_at) = (None, None, None);
        self.ack_now = false;
        (self.probe_tail, self.probe_window, self.probe_peer) = (false, false, false);
        self.send = Ring::default();
        self.board = Board::default();
    }

    /// Returns the number of the FIN, sent or not.
    pub(crate) fn fin_number(&self) -> Seq {
        self.send_start + self.send.len()
    }

    /// Returns whether the FIN was sent.
    pub(crate) fn is_fin_sent(&self) -> bool {
        self.is_finished && self.next.is_after(self.fin_number())
    }

    /// Returns bytes in flight, not counting those that arrived or are lost (RFC 6675's pipe).
    pub(crate) fn in_flight(&self) -> usize {
        self.next
            .beyond(self.unacknowledged)
            .saturating_sub(self.board.sacked + self.board.lost + self.recovery.duplicates)
    }
}

/// Returns the clock of timestamps: milliseconds.
pub(crate) fn clock(now: Nanos, offset: u32) -> u32 {
    ((now.0 / 1_000_000) as u32).wrapping_add(offset)
}

/// Returns the least shift with which a window can be told.
#[must_use]
pub(crate) fn scale_for(most: usize) -> u8 {
    let bits = usize::BITS - most.leading_zeros();
    (bits.saturating_sub(16) as u8).min(MOST_SCALE)
}

/// Returns the window of a SYN, which is never scaled.
pub(crate) fn first_window(limit: usize) -> usize {
    limit.min(usize::from(u16::MAX))
}
