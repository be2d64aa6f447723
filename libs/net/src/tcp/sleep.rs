//! Idle connections without queues: what lets a guest hold many more connections than its memory has room for queues.
//!
//! The queues of smoltcp's sockets are allocated when a socket is made and keep their size. An idle connection needs none:
//! everything that was sent is acknowledged, everything that was received is read. It is then kept as a socket with empty
//! queues ("asleep"), and led through a handshake once more, with the sequence numbers that it has got to, when a segment
//! comes or the program sends something. Both ends of the wire see nothing of it. A connection falls asleep when it has
//! been quiet for a while, or at once when the memory is needed; one that was just accepted is born asleep. When the memory
//! for queues is used up, connections wake with the least queues.

use smoltcp::socket::tcp::State;
use smoltcp::wire::{TcpPacket, TcpRepr};
use tyn_abi::Nanos;

use crate::output::Output;
use crate::shim::{Shim, instant, interface};
use crate::stack::{Socket, Stack};
use crate::tcp::TcpState;
use crate::tcp::connection::Connection;
use crate::tcp::listen::{plain_segment, scale_of, segment_len, write_segment};
use crate::types::{Path, SocketId};

/// How long a connection keeps its queues while nothing happens.
const QUIET_FOR: Nanos = Nanos(Nanos::PER_SEC);
/// Queues that every connection may have at any time.
pub(crate) const LEAST: (usize, usize) = (1024, 1024);

/// What a handshake is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opening {
    /// Our initial sequence number.
    pub(crate) ours: u32,
    /// The peer's.
    pub(crate) theirs: u32,
    /// The window in the peer's SYN.
    pub(crate) window: u16,
    /// The options in it.
    pub(crate) scale: Option<u8>,
    pub(crate) mss: Option<u16>,
    pub(crate) has_sack: bool,
}

/// What a connection has heard of its peer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    pub(crate) scale: Option<u8>,
    pub(crate) mss: Option<u16>,
    pub(crate) has_sack: bool,
    /// The window field of its latest segment that acknowledged all that we had sent.
    window: u16,
    /// The sequence number after that segment, and what it acknowledged.
    end: u32,
    acked: u32,
}

impl Peer {
    pub(crate) fn from_opening(opening: &Opening) -> Self {
        Self {
            scale: opening.scale,
            mss: opening.mss,
            has_sack: opening.has_sack,
            ..Self::default()
        }
    }
}

impl Connection {
    /// Takes note of what a segment says of the peer.
    pub(crate) fn hear(&mut self, segment: &TcpPacket<&[u8]>) {
        if segment.syn() && self.is_connecting() {
            let (remote, local) = self.tuple.mirrored().addresses();
            let ignored = smoltcp::phy::ChecksumCapabilities::ignored();
            if let Ok(syn) = TcpRepr::parse(segment, &remote, &local, &ignored) {
                self.peer.scale = syn.window_scale;
                self.peer.mss = syn.max_seg_size;
                self.peer.has_sack = syn.sack_permitted;
            }
        }
        let acked = segment.ack_number().0.cast_unsigned();
        if segment.ack() && self.last_sent.is_none_or(|sent| sent.next == acked) {
            let start = segment.seq_number().0.cast_unsigned();
            let end = start.wrapping_add(segment.segment_len() as u32);
            // What was sent before the latest segment, or to see whether we live, says nothing new.
            let is_older = end.wrapping_sub(self.peer.end).cast_signed() < 0;
            if is_older && acked == self.peer.acked {
                return;
            }
            self.peer.end = end;
            self.peer.acked = acked;
            let scale = self.peer.scale.unwrap_or(0).min(14);
            self.peer.window = if segment.syn() {
                segment.window_len() >> scale
            } else {
                segment.window_len()
            };
        }
    }

    /// Returns by how much more the peer scales our windows than smoltcp does: it goes by the queue that there is now,
    /// the peer by the one that was promised in the handshake.
    pub(crate) fn missing_shift(&self) -> u8 {
        match self.peer.scale {
            Some(_) => scale_of(self.promised.0).saturating_sub(scale_of(self.receive_capacity())),
            None => 0,
        }
    }

    /// Returns whether the connection has no queues.
    pub(crate) fn is_asleep(&self) -> bool {
        self.receive_capacity() == 0
    }

    /// Returns whether the connection could do without queues, as far as it can tell by itself.
    pub(crate) fn is_quiet(&self) -> bool {
        self.socket().state() == State::Established
            && !self.is_asleep()
            && !self.is_queued
            && self.due.is_none()
            && self.send_queue() == 0
            && self.receive_queue() == 0
            && self
                .last_sent
                .is_some_and(|s| (s.acked, s.next) == (self.peer.end, self.peer.acked))
    }

    /// Replaces the socket by one that has got as far, with other queues. Returns whether that worked.
    fn rebuild(&mut self, out: &mut Output, buffers: (usize, usize)) -> bool {
        let Some(sent) = self.last_sent else {
            return false;
        };
        let opening = Opening {
            ours: sent.next.wrapping_sub(1),
            theirs: sent.acked.wrapping_sub(1),
            window: u16::MAX,
            scale: self.peer.scale,
            mss: self.peer.mss,
            has_sack: self.peer.has_sack,
        };
        let Some(mut fresh) = Self::replayed(out, self.tuple, self.path, &opening, buffers) else {
            return false;
        };
        let mirrored = self.tuple.mirrored();
        let mut ack = plain_segment(&mirrored, sent.acked, Some(sent.next));
        ack.window_len = self.peer.window;
        let mut packet = alloc::vec![0; segment_len(&mirrored, &ack)];
        let ignored = smoltcp::phy::ChecksumCapabilities::ignored();
        write_segment(&mut packet, &mirrored, 64, &ack, &ignored);
        let mut any = interface(out, Path::Loopback, 0);
        let now = instant(out.now);
        let mut shim = Shim::new(out, self.path, 0).receiving(&packet).mute();
        any.poll_ingress_single(now, &mut shim, &mut fresh.set);
        if fresh.socket().state() != State::Established {
            return false;
        }
        self.take_socket_of(fresh);
        true
    }
}

impl Stack {
    /// Gives a connection that is asleep its queues back.
    pub(crate) fn wake_up(&mut self, id: SocketId) {
        let wanted = match self.open_connection(id) {
            Some(connection) if connection.is_asleep() => connection.promised,
            _ => return,
        };
        self.reclaim(wanted);
        let buffers = if self.has_memory(wanted) {
            wanted
        } else {
            LEAST
        };
        self.resize(id, buffers);
    }

    pub(crate) fn open_connection(&mut self, id: SocketId) -> Option<&mut Connection> {
        match self.sockets.get_mut(id) {
            Some(Socket::Tcp(socket)) => match &mut socket.state {
                TcpState::Open(connection) => Some(connection),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn resize(&mut self, id: SocketId, buffers: (usize, usize)) {
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return;
        };
        let before = connection.buffer_bytes();
        if connection.rebuild(&mut self.out, buffers) {
            connection.tune(&socket.options, socket.is_orphan, self.out.now);
            self.tcp.buffered = self.tcp.buffered.saturating_sub(before) + buffers.0 + buffers.1;
        }
    }

    /// Takes note of a connection that has become quiet.
    pub(crate) fn note_quiet(&mut self, id: SocketId) {
        let now = self.out.now;
        let Some(connection) = self.open_connection(id) else {
            return;
        };
        if !connection.is_quiet() {
            connection.quiet_since = None;
            return;
        }
        connection.quiet_since = Some(now);
        if !core::mem::replace(&mut connection.is_listed_quiet, true) {
            self.tcp.quiet.push_back((now, id));
        }
    }

    /// Returns when a connection is to fall asleep.
    pub(crate) fn sleep_deadline(&self) -> Option<Nanos> {
        self.tcp.quiet.front().map(|&(since, _)| since + QUIET_FOR)
    }

    /// Lets connections fall asleep that have been quiet for long enough.
    pub(crate) fn fall_asleep(&mut self) {
        while self
            .sleep_deadline()
            .is_some_and(|deadline| deadline <= self.out.now)
        {
            self.examine_first(QUIET_FOR);
        }
    }

    /// Makes room for queues of these sizes, as far as quiet connections have some to give.
    pub(crate) fn reclaim(&mut self, wanted: (usize, usize)) {
        for _ in 0..self.tcp.quiet.len() {
            if self.has_memory(wanted) {
                return;
            }
            self.examine_first(Nanos::ZERO);
        }
    }

    /// Looks at the connection that was noted first: it falls asleep if it has been quiet for `at_least`, and is noted
    /// again if it became quiet since.
    fn examine_first(&mut self, at_least: Nanos) {
        let now = self.out.now;
        let Some((_, id)) = self.tcp.quiet.pop_front() else {
            return;
        };
        let Some(connection) = self.open_connection(id) else {
            return;
        };
        connection.is_listed_quiet = false;
        let Some(since) = connection.quiet_since.filter(|_| connection.is_quiet()) else {
            return;
        };
        if since + at_least <= now {
            connection.quiet_since = None;
            self.resize(id, (0, 0));
        } else {
            connection.is_listed_quiet = true;
            self.tcp.quiet.push_back((since, id));
        }
    }
}
