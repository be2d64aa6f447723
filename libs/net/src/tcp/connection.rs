//! One connection: smoltcp's socket in a set of its own, and what smoltcp does not keep.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp::{self, CongestionControl, State};
use smoltcp::wire::TcpControl;
use tyn_abi::{Errno, Nanos, Sink, Source};

use crate::output::Output;
use crate::secret::seed_for;
use crate::shim::{LastSent, Shim, duration, instant, interface};
use crate::tcp::listen::{plain_segment, segment_len, write_segment};
use crate::tcp::sleep::{Opening, Peer};
use crate::tcp::{TcpOptions, TcpStatus};
use crate::types::{Path, Tuple};

/// How long a connection request is repeated (`tcp_syn_retries` = 6).
const CONNECT_FOR: Nanos = Nanos(127 * Nanos::PER_SEC);
/// How long data is sent again (`tcp_retries2` = 15).
const RETRY_FOR: Nanos = Nanos(924 * Nanos::PER_SEC);
/// How long that goes on for a socket that is closed (`tcp_orphan_retries` = 8).
const ORPHAN_RETRY_FOR: Nanos = Nanos(102 * Nanos::PER_SEC);

/// How far `connect(2)` has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handshake {
    /// It waits for the peer, or the program has not asked since it ended.
    Unreported,
    /// The program knows that it is connected.
    Reported,
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) tuple: Tuple,
    pub(crate) path: Path,
    pub(crate) set: SocketSet<'static>,
    handle: SocketHandle,
    /// The state when it was last looked at.
    pub(crate) last_state: State,
    /// When the peer was last heard.
    pub(crate) last_received: Nanos,
    pub(crate) last_sent: Option<LastSent>,
    /// The deadline that is set.
    pub(crate) due: Option<Nanos>,
    /// It is on a list of sockets to be looked at.
    pub(crate) is_queued: bool,
    /// Bytes that were readable when it was last looked at.
    pub(crate) last_readable: usize,
    /// When an orphan stops waiting for the peer's FIN.
    pub(crate) abandoned_at: Option<Nanos>,
    pub(crate) handshake: Handshake,
    pub(crate) peer: Peer,
    /// Capacities of the queues when it is awake.
    pub(crate) promised: (usize, usize),
    /// Since when it could do without queues, and whether it is on the list of those that can.
    pub(crate) quiet_since: Option<Nanos>,
    pub(crate) is_listed_quiet: bool,
    /// Less than a segment that was sent but is held back (`TCP_CORK`, `MSG_MORE`). The send queue has room for it.
    held: Vec<u8>,
    /// When what is held goes out at the latest.
    pub(crate) held_until: Option<Nanos>,
}

/// How long part of a segment is held back (`tcp(7)`, `TCP_CORK`).
const HOLD_FOR: Nanos = Nanos(200_000_000);
/// Bytes of a segment; less is held back.
const SEGMENT: usize = 1460;

impl Connection {
    /// Makes a connection in state CLOSED.
    pub(crate) fn new(
        tuple: Tuple,
        path: Path,
        (receive, send): (usize, usize),
        now: Nanos,
    ) -> Self {
        let queue = |capacity| tcp::SocketBuffer::new(vec![0; capacity]);
        let mut socket = tcp::Socket::new(queue(receive), queue(send));
        socket.set_congestion_control(CongestionControl::Reno);
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Self {
            tuple,
            path,
            set,
            handle,
            last_state: State::Closed,
            last_received: now,
            last_sent: None,
            due: None,
            is_queued: false,
            last_readable: 0,
            abandoned_at: None,
            handshake: Handshake::Unreported,
            peer: Peer::default(),
            promised: (receive, send),
            quiet_since: None,
            is_listed_quiet: false,
            held: Vec::new(),
            held_until: None,
        }
    }

    /// Leads a fresh smoltcp socket through a handshake up to SYN-RECEIVED, as it took place.
    pub(crate) fn replayed(
        out: &mut Output,
        tuple: Tuple,
        path: Path,
        opening: &Opening,
        buffers: (usize, usize),
    ) -> Option<Self> {
        let mut connection = Self::new(tuple, path, buffers, out.now);
        connection.peer = Peer::from_opening(opening);
        let local = (tuple.local.ip(), tuple.local.port());
        connection.socket_mut().listen(local).ok()?;
        let mut syn = plain_segment(&tuple.mirrored(), opening.theirs, None);
        syn.control = TcpControl::Syn;
        syn.window_len = opening.window;
        syn.window_scale = opening.scale;
        syn.max_seg_size = opening.mss;
        syn.sack_permitted = opening.has_sack;
        let mut packet = vec![0; segment_len(&tuple, &syn)];
        let checksums = ChecksumCapabilities::ignored();
        write_segment(&mut packet, &tuple.mirrored(), 64, &syn, &checksums);
        let now = instant(out.now);
        let mut numbers = interface(out, Path::Loopback, seed_for(opening.ours));
        let mut shim = Shim::new(out, path, 0).receiving(&packet).mute();
        numbers.poll_ingress_single(now, &mut shim, &mut connection.set);
        numbers.poll_egress(now, &mut shim, &mut connection.set);
        connection.last_sent = Some(LastSent {
            next: opening.ours.wrapping_add(1),
            acked: opening.theirs.wrapping_add(1),
        });
        (connection.socket().state() == State::SynReceived).then_some(connection)
    }

    /// Goes on with another connection's socket.
    pub(crate) fn take_socket_of(&mut self, other: Self) {
        self.set = other.set;
        self.handle = other.handle;
    }

    /// Returns how many bytes wait to be sent or acknowledged.
    pub(crate) fn send_queue(&self) -> usize {
        self.socket().send_queue() + self.held.len()
    }

    /// Lets go what is held back.
    pub(crate) fn release_held(&mut self) {
        self.held_until = None;
        let held = core::mem::take(&mut self.held);
        // It has room there, unless the peer is gone.
        let _ = self.socket_mut().send_slice(&held);
    }

    /// Lets go what is held back if its time has come.
    pub(crate) fn release_due(&mut self, now: Nanos) {
        if self.held_until.is_some_and(|at| at <= now) {
            self.release_held();
        }
    }

    /// Takes bytes from `src` of which part of a segment is held back; returns how many.
    pub(crate) fn send_held(&mut self, src: &mut dyn Source, now: Nanos) -> Result<usize, Errno> {
        let socket = self.socket();
        let free = socket.send_capacity() - socket.send_queue() - self.held.len();
        let taken = src.remaining().min(free);
        let before = self.held.len();
        self.held.try_reserve(taken).map_err(|_| Errno::ENOBUFS)?;
        self.held.resize(before + taken, 0);
        if let Err(errno) = src.read_exact(self.held.get_mut(before..).unwrap_or_default()) {
            self.held.truncate(before);
            return Err(errno);
        }
        let mut bytes = core::mem::take(&mut self.held);
        let whole = bytes.len() / SEGMENT * SEGMENT;
        let rest = bytes.split_off(whole);
        self.socket_mut()
            .send_slice(&bytes)
            .map_err(|_| Errno::EPIPE)?;
        if rest.is_empty() {
            self.held_until = None;
        } else if self.held_until.is_none() || whole > 0 {
            self.held_until = Some(now + HOLD_FOR);
        }
        self.held = rest;
        Ok(taken)
    }

    pub(crate) fn socket(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    pub(crate) fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Returns the memory of both queues.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.receive_capacity() + self.socket().send_capacity()
    }

    pub(crate) fn receive_capacity(&self) -> usize {
        self.socket().recv_capacity()
    }

    pub(crate) fn receive_queue(&self) -> usize {
        self.socket().recv_queue()
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.socket().state(), State::SynSent | State::SynReceived)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.socket().state() == State::Closed
    }

    /// Returns whether the peer sends no more.
    pub(crate) fn has_peer_finished(&self) -> bool {
        matches!(
            self.socket().state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed
        )
    }

    /// Returns whether enough of the send queue is free to be worth a write: a third, as on Linux.
    pub(crate) fn is_writable(&self) -> bool {
        let socket = self.socket();
        let free = socket.send_capacity() - self.send_queue();
        socket.may_send() && free * 3 >= socket.send_capacity()
    }

    pub(crate) fn status(&self) -> TcpStatus {
        match self.socket().state() {
            State::Closed => TcpStatus::Closed,
            State::Listen => TcpStatus::Listen,
            State::SynSent => TcpStatus::SynSent,
            State::SynReceived => TcpStatus::SynReceived,
            State::Established => TcpStatus::Established,
            State::FinWait1 => TcpStatus::FinWait1,
            State::FinWait2 => TcpStatus::FinWait2,
            State::CloseWait => TcpStatus::CloseWait,
            State::Closing => TcpStatus::Closing,
            State::LastAck => TcpStatus::LastAck,
            State::TimeWait => TcpStatus::TimeWait,
        }
    }

    /// Opens the connection actively; `numbers` is the interface that yields the sequence number.
    pub(crate) fn connect(&mut self, numbers: &mut Interface) -> Result<(), Errno> {
        let Tuple { local, remote } = self.tuple;
        let to = |a: core::net::SocketAddr| (a.ip(), a.port());
        self.socket_mut()
            .connect(numbers.context(), to(remote), to(local))
            .map_err(|_| Errno::EADDRNOTAVAIL)?;
        self.last_state = State::SynSent;
        Ok(())
    }

    /// Applies the options, and the time-outs that fit the state. smoltcp has one time-out, counted from the last sign
    /// of the peer, and one interval of probes; Linux has several of each.
    pub(crate) fn tune(&mut self, options: &TcpOptions, is_orphan: bool, now: Nanos) {
        let silence = now - self.last_received;
        let socket = self.socket_mut();
        let unanswered = match socket.state() {
            State::SynSent | State::SynReceived => Some(CONNECT_FOR),
            State::FinWait1 | State::Closing | State::LastAck if is_orphan => {
                Some(ORPHAN_RETRY_FOR)
            }
            State::FinWait1 | State::Closing | State::LastAck => Some(RETRY_FOR),
            _ if socket.send_queue() > 0 => Some(RETRY_FOR),
            _ => None,
        };
        let unanswered = unanswered.map(|default| match options.user_timeout {
            Nanos::ZERO => default,
            chosen => chosen,
        });
        let (probe, gone) = if options.keeps_alive {
            let probes = Nanos(
                options
                    .keep_interval
                    .0
                    .saturating_mul(u64::from(options.keep_count)),
            );
            let probe = if silence >= options.keep_idle {
                options.keep_interval
            } else {
                options.keep_idle
            };
            (Some(probe), Some(options.keep_idle + probes))
        } else {
            (None, None)
        };
        socket.set_timeout(unanswered.or(gone).map(duration));
        let probe = probe.map(duration);
        if socket.keep_alive() != probe {
            socket.set_keep_alive(probe);
        }
        socket.set_nagle_enabled(!options.no_delay);
        socket.set_hop_limit(Some(options.ttl.max(1)));
    }

    /// Moves bytes from `src` to the send queue and returns how many.
    pub(crate) fn send(&mut self, src: &mut dyn Source) -> Result<usize, Errno> {
        let socket = self.socket_mut();
        let mut sent = 0;
        // The queue is a ring: what is free has at most two pieces.
        for _ in 0..2 {
            let piece = socket.send(|room| {
                let n = room.len().min(src.remaining());
                let room = room.get_mut(..n).unwrap_or_default();
                match src.read_exact(room) {
                    Ok(()) => (n, Ok(n)),
                    Err(e) => (0, Err(e)),
                }
            });
            match piece.map_err(|_| Errno::EPIPE)? {
                Ok(0) => break,
                Ok(n) => sent += n,
                Err(e) if sent == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Moves received bytes to `dst` and returns how many.
    pub(crate) fn receive(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let socket = self.socket_mut();
        let mut received = 0;
        for _ in 0..2 {
            let piece = socket.recv(|bytes| {
                let n = bytes.len().min(dst.remaining());
                match dst.write_all(bytes.get(..n).unwrap_or_default()) {
                    Ok(()) => (n, Ok(n)),
                    Err(e) => (0, Err(e)),
                }
            });
            match piece {
                Ok(Ok(0)) | Err(_) => break,
                Ok(Ok(n)) => received += n,
                Ok(Err(e)) if received == 0 => return Err(e),
                Ok(Err(_)) => break,
            }
        }
        Ok(received)
    }

    /// Drops up to `len` received bytes and returns how many (`MSG_TRUNC` of `tcp(7)`).
    pub(crate) fn discard(&mut self, len: usize) -> usize {
        let socket = self.socket_mut();
        let mut dropped = 0;
        for _ in 0..2 {
            let piece = socket.recv(|bytes| {
                let n = bytes.len().min(len - dropped);
                (n, n)
            });
            dropped += piece.unwrap_or(0);
        }
        dropped
    }

    /// Copies received bytes to `dst` and leaves them (`MSG_PEEK`).
    pub(crate) fn peek(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let len = self.receive_queue().min(dst.remaining());
        let mut bytes = vec![0; len];
        let copied = self.socket_mut().peek_slice(&mut bytes).unwrap_or(0);
        dst.write_all(bytes.get(..copied).unwrap_or_default())?;
        Ok(copied)
    }

    /// Takes all received bytes out.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        let mut unread = vec![0; self.receive_queue()];
        let taken = self.socket_mut().recv_slice(&mut unread).unwrap_or(0);
        unread.truncate(taken);
        unread
    }
}
