//! Connections without a network: a peer that is scripted, a peer that is another connection, a peer that is mad.

extern crate std;

mod acks;
mod bounds;
mod dialogue;
mod info;
mod loss;
mod pair;
mod prr;
mod review;
mod strange;
mod train;
mod undo;
mod windows;

use alloc::vec::Vec;

use tyn_abi::Nanos;

use crate::options::Options;
use crate::{
    Algorithm, Config, Connection, Flags, Handshake, Outgoing, Policy, Segment, Seq, State,
};

pub(crate) const MSS: u16 = 1000;
pub(crate) const OURS: Seq = Seq(u32::MAX - 5000);
pub(crate) const THEIRS: Seq = Seq(70_000);

pub(crate) const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

pub(crate) const fn config(queue: usize) -> Config {
    Config {
        mss: MSS,
        receive: (queue, queue),
        send: (queue, queue),
        clock_offset: 777,
    }
}

pub(crate) const POLICY: Policy = Policy {
    no_delay: true,
    patience: Nanos(900 * Nanos::PER_SEC),
    keep_alive: None,
    algorithm: Algorithm::Cubic,
    is_thin: false,
    most_window: usize::MAX,
    most_unsent: usize::MAX,
};

pub(crate) const ACK: u8 = 16;
pub(crate) const PSH_ACK: u8 = 24;
pub(crate) const FIN_ACK: u8 = 17;

/// What was sent, with its data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Out {
    pub(crate) of: Outgoing,
    pub(crate) data: Vec<u8>,
}

impl Out {
    /// Number relative to our first byte of data, length, flags.
    pub(crate) fn brief(&self) -> (i32, usize, u8) {
        (self.of.seq.since(OURS + 1), self.of.len, self.of.flags.0)
    }

    /// Cuts a train apart, as a card does: FIN and PSH are the last segment's.
    pub(crate) fn cut(&self) -> Vec<Self> {
        if self.of.len <= self.of.piece {
            return alloc::vec![self.clone()];
        }
        let mut pieces = Vec::new();
        for (n, data) in self.data.chunks(self.of.piece).enumerate() {
            let mut of = self.of;
            let at = n * of.piece;
            of.seq = of.seq + at;
            if at + data.len() < self.data.len() {
                of.flags = Flags(of.flags.0 & !(Flags::FIN.0 | Flags::PSH.0));
            }
            (of.len, of.piece) = (data.len(), data.len());
            let data = data.to_vec();
            pieces.push(Self { of, data });
        }
        pieces
    }

    pub(crate) fn segment(&self) -> Segment<'_> {
        Segment {
            seq: self.of.seq,
            ack: self.of.ack,
            flags: self.of.flags,
            window: self.of.window,
            options: self.of.options,
            payload: &self.data,
        }
    }
}

/// Checks what must be true of a connection at any time.
pub(crate) fn check(c: &Connection) {
    if c.state == State::Closed {
        return;
    }
    c.board.check(c.unacknowledged, c.next);
    assert!(!c.unacknowledged.is_after(c.next));
    assert!(c.board.is_empty() || c.retransmit_at.is_some(), "{c:?}");
    assert!(c.send.len() <= c.send_limit.1 && c.readable() <= c.receive_limit.0.max(1024));
    let written = c.fin_number() + usize::from(c.is_finished);
    assert!(
        !c.next.is_after(written) || c.state == State::SynSent || c.state == State::SynReceived
    );
}

/// Takes everything that a connection has to send now.
pub(crate) fn drain(c: &mut Connection, now: Nanos) -> Vec<Out> {
    drain_trains(c, now, 1)
}

/// The same in trains of up to `most` segments.
pub(crate) fn drain_trains(c: &mut Connection, now: Nanos, most: usize) -> Vec<Out> {
    let mut all = Vec::new();
    while let Some(of) = c.next_train(now, most) {
        let (a, b) = c.payload(&of);
        let data = [a, b].concat();
        assert_eq!(data.len(), of.len);
        assert!(of.piece + of.options.len() <= usize::from(c.mss).max(usize::from(MSS)));
        assert!(of.len <= of.piece.max(1) * most && of.piece <= of.len && of.len < 65_436);
        let mut header = [0; 60];
        of.write_header(&mut header, 1, 2);
        let parsed = Segment::parse(&header[..of.header_len()]).unwrap();
        assert_eq!((parsed.seq, parsed.options), (of.seq, of.options));
        all.push(Out { of, data });
        check(c);
        assert!(all.len() < 100_000, "it never stops");
    }
    all
}

/// A connection and the clock; the other side is the test.
pub(crate) struct Scene {
    pub(crate) c: Connection,
    pub(crate) now: Nanos,
}

impl Scene {
    /// A connection in ESTABLISHED whose peer understands SACK and not timestamps.
    pub(crate) fn new() -> Self {
        Self::with(Handshake {
            ours: OURS,
            theirs: THEIRS,
            window: 60_000,
            scale: Some(0),
            mss: Some(MSS),
            has_sack: true,
            timestamp: None,
        })
    }

    pub(crate) fn with(handshake: Handshake) -> Self {
        let mut scene = Self {
            c: Connection::answered(&config(60_000), POLICY, &handshake, ms(1000)),
            now: ms(1000),
        };
        scene.take(1, 1, Flags::ACK, &[]);
        assert_eq!(scene.c.state(), State::Established);
        assert_eq!(scene.sent(), []);
        scene
    }

    /// Gives it a segment; both numbers are relative to the initial ones.
    pub(crate) fn take(&mut self, seq: i32, ack: i32, flags: Flags, data: &[u8]) {
        self.take_with(seq, ack, flags, 60_000, Options::default(), data);
    }

    pub(crate) fn take_with(
        &mut self,
        seq: i32,
        ack: i32,
        flags: Flags,
        window: u16,
        options: Options,
        data: &[u8],
    ) {
        let segment = Segment {
            seq: Seq(THEIRS.0.wrapping_add_signed(seq)),
            ack: Seq(OURS.0.wrapping_add_signed(ack)),
            flags,
            window,
            options,
            payload: data,
        };
        self.c.on_segment(&segment, self.now);
        check(&self.c);
    }

    /// An acknowledgement with SACK blocks, relative to the first byte of data.
    pub(crate) fn sack(&mut self, ack: i32, blocks: &[(usize, usize)]) {
        let mut options = Options::default();
        for &(start, end) in blocks {
            options.push_block(crate::options::Block {
                start: OURS + 1 + start,
                end: OURS + 1 + end,
            });
        }
        self.take_with(1, ack + 1, Flags::ACK, 60_000, options, &[]);
    }

    pub(crate) fn write(&mut self, len: usize) {
        let data: Vec<u8> = (0..len).map(|i| (i / 3) as u8).collect();
        assert_eq!(self.c.write(&mut &data[..]), Ok(len));
    }

    /// What it sends now, in brief.
    pub(crate) fn sent(&mut self) -> Vec<(i32, usize, u8)> {
        drain(&mut self.c, self.now)
            .iter()
            .map(Out::brief)
            .collect()
    }

    /// Lets time pass until it has something to send; returns how long that was, and what it is.
    pub(crate) fn wait(&mut self) -> (u64, Vec<(i32, usize, u8)>) {
        let start = self.now;
        loop {
            let at = self.c.deadline().expect("it waits for nothing");
            self.now = self.now.max(at);
            self.c.on_deadline(self.now);
            let sent = self.sent();
            if !sent.is_empty() || self.c.state() == State::Closed {
                return ((self.now - start).0 / 1_000_000, sent);
            }
        }
    }
}

/// A connection that is about to be made.
pub(crate) fn client() -> Scene {
    Scene {
        c: Connection::connect(&config(60_000), POLICY, OURS, ms(1000)),
        now: ms(1000),
    }
}

/// The options of an answer.
pub(crate) fn syn_ack() -> Options {
    Options {
        mss: Some(900),
        scale: Some(3),
        sack_permitted: true,
        timestamps: Some((5, 0)),
        ..Options::default()
    }
}
