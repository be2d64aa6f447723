//! One connection of a socket: the engine's, and what the engine leaves to its owner.

use smoltcp::wire::TcpPacket;
use tyn_abi::{Errno, Nanos, Source};
use tyn_tcp::{Outgoing, Policy, State};

use crate::checksum;
use crate::output::Output;
use crate::tcp::{TcpOptions, TcpStatus};
use crate::types::{Path, Tuple};
use crate::wire::{header_len, write_header};
use smoltcp::wire::IpProtocol;

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
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) tuple: Tuple,
    pub(crate) path: Path,
    pub(crate) tcp: tyn_tcp::Connection,
    /// The state when it was last looked at.
    pub(crate) last_state: State,
    /// The deadline that is set; it may be earlier than the engine's.
    pub(crate) due: Option<Nanos>,
    /// It is on a list of sockets to be looked at.
    pub(crate) is_queued: bool,
    /// Bytes that were readable when it was last looked at.
    pub(crate) last_readable: usize,
    /// When an orphan stops waiting for the peer's FIN.
    pub(crate) abandoned_at: Option<Nanos>,
    pub(crate) handshake: Handshake,
    /// Bytes of its queues that are in the sum of all.
    pub(crate) counted: usize,
    /// Since when it could do without queues, and whether it is on the list of those that can.
    pub(crate) quiet_since: Option<Nanos>,
    pub(crate) is_listed_quiet: bool,
    /// When what is held goes out at the latest.
    pub(crate) held_until: Option<Nanos>,
    /// There was no memory for a single byte to send: until when its program is to wait before it tries again.
    pub(crate) starved_until: Option<Nanos>,
}

/// How long part of a segment is held back (`tcp(7)`, `TCP_CORK`).
const HOLD_FOR: Nanos = Nanos(200_000_000);
/// How long a program waits for memory before it tries again to write.
const STARVE_FOR: Nanos = Nanos(100_000_000);

impl Connection {
    /// Makes the connection of an engine's.
    pub(crate) fn new(tuple: Tuple, path: Path, tcp: tyn_tcp::Connection) -> Self {
        Self {
            tuple,
            path,
            last_state: tcp.state(),
            tcp,
            due: None,
            is_queued: false,
            last_readable: 0,
            abandoned_at: None,
            handshake: Handshake::Unreported,
            counted: 0,
            quiet_since: None,
            is_listed_quiet: false,
            held_until: None,
            starved_until: None,
        }
    }

    /// Takes note that there was no memory for what the program wanted to send. If nothing is under way, no acknowledgement
    /// will make room: time does, as in Linux (`sk_stream_wait_memory`).
    pub(crate) fn note_starved(&mut self, now: Nanos) {
        if self.tcp.unsent() == 0 {
            self.starved_until = Some(now + STARVE_FOR);
        }
    }

    /// Lets go what is held back.
    pub(crate) fn release_held(&mut self) {
        self.held_until = None;
        self.tcp.set_held(false);
    }

    /// Lets go what is held back if its time has come, and the program try again to write.
    pub(crate) fn release_due(&mut self, now: Nanos) {
        self.starved_until = self.starved_until.filter(|&at| at > now);
        if self.held_until.is_some_and(|at| at <= now) {
            self.release_held();
        }
    }

    /// Takes bytes from `src` of which part of a segment is held back; returns how many.
    pub(crate) fn send_held(&mut self, src: &mut dyn Source, now: Nanos) -> Result<usize, Errno> {
        let before = self.tcp.held();
        let taken = self.tcp.write(src)?;
        self.tcp.set_held(true);
        let held = self.tcp.held();
        if held == 0 {
            self.held_until = None;
        } else if self.held_until.is_none() || held < before + taken {
            // It is another piece than before.
            self.held_until = Some(now + HOLD_FOR);
        }
        Ok(taken)
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.tcp.state(), State::SynSent | State::SynReceived)
    }

    /// Returns whether nothing but its bytes changed since it was last looked at.
    pub(crate) fn goes_on(&self) -> bool {
        self.tcp.state() == State::Established && self.last_state == State::Established
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tcp.state() == State::Closed
    }

    /// Returns whether its peer expects more of it than answers (`tcp_need_reset` of Linux).
    pub(crate) fn awaits_a_reset(&self) -> bool {
        matches!(
            self.tcp.state(),
            State::SynSent
                | State::SynReceived
                | State::Established
                | State::FinWait1
                | State::FinWait2
                | State::CloseWait
        )
    }

    /// Resets it, for a program that is gone.
    pub(crate) fn give_up(&mut self) {
        self.tcp.abort();
        self.last_state = State::Closed;
    }

    /// Returns whether a write is worth it.
    pub(crate) fn is_writable(&self) -> bool {
        self.tcp.may_send() && self.tcp.is_worth_a_write() && self.starved_until.is_none()
    }

    pub(crate) fn status(&self) -> TcpStatus {
        match self.tcp.state() {
            State::Closed => TcpStatus::Closed,
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

    /// Applies the options, and the patience that fits the state.
    pub(crate) fn tune(&mut self, options: &TcpOptions, is_orphan: bool) {
        let policy = policy(options, self.tcp.state(), is_orphan);
        if policy != *self.tcp.policy() {
            self.tcp.set_policy(policy);
        }
    }

    /// Returns how many segments can leave as one packet now, if one can leave at all.
    pub(crate) fn most_at_once(&self, out: &mut Output) -> usize {
        if self.tcp.has_several() {
            out.room_for(self.path, self.tuple.remote.ip())
        } else {
            1
        }
    }

    /// Sends a segment of the engine's.
    pub(crate) fn emit(&self, out: &mut Output, options: &TcpOptions, segment: &Outgoing) {
        let service = (options.service(self.tuple.remote.ip()), options.ttl);
        let data = self.tcp.payload(segment);
        let discovery = options.discovery(self.tuple.remote.ip());
        out.lets_split = discovery.lets_routers_split_segments();
        emit(out, &self.tuple, self.path, service, segment, data);
    }
}

/// Sends a segment whose data lie in two pieces.
pub(crate) fn emit(
    out: &mut Output,
    tuple: &Tuple,
    path: Path,
    (tos, ttl): (u8, u8),
    segment: &Outgoing,
    (data, rest): (&[u8], &[u8]),
) {
    let (local, remote) = (tuple.local, tuple.remote);
    let checksums = out.checksums(path);
    let header = segment.header_len();
    let len = header_len(remote.ip()) + header + segment.len;
    let fill = |packet: &mut [u8]| {
        let (source, destination) = (local.ip(), remote.ip());
        let protocol = IpProtocol::Tcp;
        let bytes = write_header(packet, source, destination, protocol, ttl, &checksums);
        segment.write_header(bytes, local.port(), remote.port());
        let payload = bytes.get_mut(header..).unwrap_or_default();
        if let Some((first, second)) = payload.split_at_mut_checked(data.len())
            && second.len() == rest.len()
        {
            first.copy_from_slice(data);
            second.copy_from_slice(rest);
        }
        if checksums.tcp.tx() {
            // The header was written with zero in its place.
            let sum = !checksum::of(source, destination, protocol, bytes);
            TcpPacket::new_unchecked(bytes).set_checksum(sum);
        }
        Ok::<(), core::convert::Infallible>(())
    };
    let Ok(()) = if segment.len > segment.piece {
        let piece = u16::try_from(segment.piece).unwrap_or(u16::MAX);
        out.emit_pieces(path, len, tos, piece, fill)
    } else {
        out.emit(path, len, tos, fill)
    };
}

/// Returns what a socket's options ask of its connection.
pub(crate) fn policy(options: &TcpOptions, state: State, is_orphan: bool) -> Policy {
    let is_opening = matches!(state, State::SynSent | State::SynReceived);
    let default = match state {
        _ if is_opening => options.connects_for(),
        State::FinWait1 | State::Closing | State::LastAck if is_orphan => ORPHAN_RETRY_FOR,
        _ => RETRY_FOR,
    };
    Policy {
        no_delay: options.no_delay,
        patience: match options.user_timeout {
            Nanos::ZERO => default,
            chosen if is_opening => chosen.min(default),
            chosen => chosen,
        },
        keep_alive: options.keeps_alive.then_some((
            options.keep_idle,
            options.keep_interval,
            options.keep_count.into(),
        )),
        algorithm: options.algorithm,
        is_thin: options.is_thin,
        most_window: options.most_window(),
        most_unsent: match options.unsent_low {
            0 => usize::MAX,
            low => low as usize,
        },
    }
}
