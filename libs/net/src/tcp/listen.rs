//! Connections that are being made with a listener (SYN queue).
//!
//! A request is a record of some hundred bytes; SYN|ACKs are sent from it. Only when the peer acknowledges, and so
//! proves that it is where it says, is there a socket with a connection, made with what was promised. A request that is
//! acknowledged while the accept queue is full waits for room there, and its peer's data stay unacknowledged; while the
//! queue is full new requests are dropped. So overload never resets anybody. As on Linux, who waits is sent the SYN|ACK
//! again like all others, and is forgotten with the last one, a minute later.

use core::net::IpAddr;

use smoltcp::wire::TcpPacket;
use tyn_abi::Nanos;
use tyn_tcp::options::Options;
use tyn_tcp::{Flags, Outgoing, Segment, Seq, State};

use crate::stack::{Socket, Stack};
use crate::tcp::bare::send_bare;
use crate::tcp::connection::{Connection, Handshake, policy};
use crate::tcp::{PortUse, Seen, TcpOptions, TcpSocket, TcpState};
use crate::timer::TimerKey;
use crate::types::{Path, SocketId, Tuple};
use crate::wire::Ip;

/// How often a SYN|ACK is sent again before a request is forgotten (`tcp_synack_retries`).
const RETRIES: u8 = 5;
/// Time until the second SYN|ACK; doubled after each.
const FIRST_RETRY: Nanos = Nanos(Nanos::PER_SEC);
/// The most that becomes of it (`TCP_RTO_MAX`).
const LONGEST_RETRY: Nanos = Nanos(120 * Nanos::PER_SEC);

/// A connection request.
#[derive(Clone, Debug)]
pub(crate) struct HalfOpen {
    pub(super) listener: SocketId,
    path: Path,
    pub(super) opening: tyn_tcp::Handshake,
    config: tyn_tcp::Config,
    tos: u8,
    ttl: u8,
    sent: u8,
    due: Option<Nanos>,
    /// The peer has acknowledged our SYN; its listener had no room.
    pub(super) is_waiting: bool,
    /// It has, and its listener waits for data.
    is_deferred: bool,
    /// Time-outs so far.
    time_outs: u8,
    /// What the header of its acknowledgement says.
    seen: Seen,
}

impl HalfOpen {
    /// Makes the record of a request that was not answered yet.
    pub(crate) fn new(
        listener: SocketId,
        path: Path,
        opening: tyn_tcp::Handshake,
        config: tyn_tcp::Config,
        options: &TcpOptions,
        peer: IpAddr,
    ) -> Self {
        Self {
            listener,
            path,
            opening,
            config,
            tos: options.service(peer),
            ttl: options.ttl,
            sent: 0,
            due: None,
            is_waiting: false,
            is_deferred: false,
            time_outs: 0,
            seen: Seen::default(),
        }
    }

    /// Takes note of the header of an acknowledgement.
    pub(crate) fn see(&mut self, packet: &[u8]) {
        if let Some(ip) = Ip::parse(packet) {
            self.seen = Seen::first(self.path, &ip);
        }
    }
}

impl Stack {
    /// Takes in a SYN for a listener.
    pub(crate) fn on_syn(
        &mut self,
        tuple: Tuple,
        path: Path,
        listener: SocketId,
        syn: &Segment<'_>,
    ) {
        let Some(Socket::Tcp(socket)) = self.sockets.get(listener) else {
            return;
        };
        let TcpState::Listening(queue) = &socket.state else {
            return;
        };
        let is_full = queue.is_full();
        if is_full || !self.has_memory() {
            self.out.mib.tcp.listen_overflows += u64::from(is_full);
            self.out.mib.tcp.listen_drops += 1;
            return;
        }
        if self.tcp.half_open.len() >= self.limits.half_open {
            return self.send_cookie(&tuple, path, listener, syn);
        }
        let ours = Seq(self.secret.sequence_number(&tuple, self.out.now));
        let opening = tyn_tcp::Handshake {
            ours,
            theirs: syn.seq,
            window: syn.window,
            scale: syn.options.scale,
            mss: syn.options.mss,
            has_sack: syn.options.sack_permitted,
            timestamp: syn.options.timestamps.map(|(value, _)| value),
        };
        let config = self.config_for(&tuple, path, &socket.options);
        let half = HalfOpen::new(
            listener,
            path,
            opening,
            config,
            &socket.options,
            tuple.remote.ip(),
        );
        self.tcp.half_open.insert(tuple, half);
        self.send_syn_ack(tuple);
    }

    /// Sends a SYN|ACK and sets the time for the next one.
    fn send_syn_ack(&mut self, tuple: Tuple) {
        let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
            return;
        };
        let opening = &half.opening;
        let now = self.out.now;
        let (options, window) = tyn_tcp::Connection::answer(&half.config, opening, now);
        let flags = Flags::SYN.with(Flags::ACK);
        let answer = Outgoing::bare(opening.ours, opening.theirs + 1, flags, window, options);
        self.out.mib.tcp.repeated += u64::from(half.sent > 0);
        half.sent = half.sent.saturating_add(1);
        let (path, tos, ttl) = (half.path, half.tos, half.ttl);
        send_bare(&mut self.out, &tuple, path, (tos, ttl), &answer);
        self.await_half_open(tuple);
    }

    /// Sets the time for the next SYN|ACK.
    fn await_half_open(&mut self, tuple: Tuple) {
        if let Some(half) = self.tcp.half_open.get_mut(&tuple) {
            let times = half.time_outs.max(half.sent.saturating_sub(1));
            let wait = Nanos(FIRST_RETRY.0 << times.min(7)).min(LONGEST_RETRY);
            let due = Some(self.out.now + wait);
            self.timers
                .set(TimerKey::HalfOpen(tuple), &mut half.due, due);
        }
    }

    /// Repeats the SYN|ACK of a request, or forgets it.
    pub(crate) fn expire_half_open(&mut self, tuple: Tuple) {
        let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
            return;
        };
        half.due = None;
        let (retries, defers) = match self.sockets.get(half.listener) {
            Some(Socket::Tcp(l)) => (l.options.syn_retries, l.options.defers),
            _ => (0, 0),
        };
        let retries = if retries == 0 { RETRIES } else { retries };
        // `syn_ack_recalc` of Linux: whoever has acknowledged is waited for until its time is over, and only then told anew.
        let is_acked = half.is_waiting || half.is_deferred;
        let gone_by = half.time_outs;
        let waits_for_data = defers > 0 && is_acked;
        let is_over = half.sent > retries || gone_by >= retries;
        if is_over && !(waits_for_data && gone_by < defers) {
            self.forget_half_open(&tuple);
            return;
        }
        half.time_outs = gone_by.saturating_add(1);
        if waits_for_data && half.time_outs < defers {
            self.await_half_open(tuple);
        } else {
            self.send_syn_ack(tuple);
        }
    }

    pub(super) fn forget_half_open(&mut self, tuple: &Tuple) -> Option<HalfOpen> {
        let mut half = self.tcp.half_open.remove(tuple)?;
        self.timers
            .set(TimerKey::HalfOpen(*tuple), &mut half.due, None);
        if half.is_waiting
            && let Some(Socket::Tcp(l)) = self.sockets.get_mut(half.listener)
            && let TcpState::Listening(listener) = &mut l.state
        {
            listener.waiting.retain(|other| other != tuple);
        }
        Some(half)
    }

    /// Forgets requests that waited for room in the queue of a listener that is gone. Their peers learn it when they send.
    pub(crate) fn forget_waiting(&mut self, waiting: impl IntoIterator<Item = Tuple>) {
        for tuple in waiting {
            self.forget_half_open(&tuple);
        }
    }

    /// Takes in a segment for a request.
    pub(crate) fn on_half_open(&mut self, tuple: Tuple, segment: &TcpPacket<&[u8]>, packet: &[u8]) {
        let Some(half) = self.tcp.half_open.get(&tuple) else {
            return;
        };
        let path = half.path;
        let start = segment.seq_number().0.cast_unsigned();
        let expected = (half.opening.theirs + 1).0;
        if segment.rst() {
            if start == expected {
                self.forget_half_open(&tuple);
                self.out.mib.tcp.attempt_fails += 1;
                self.out.mib.tcp.requests_reset += 1;
            }
        } else if segment.syn() {
            if start == half.opening.theirs.0 {
                self.send_syn_ack(tuple);
            } else {
                // The peer has started anew, or somebody else says so: its answer to this tells (RFC 5961 §4.2).
                self.acknowledge_half_open(&tuple);
            }
        } else if segment.ack() {
            let acknowledged = segment.ack_number().0.cast_unsigned();
            if acknowledged == (half.opening.ours + 1).0 {
                if let Some(segment) = Segment::parse(segment.as_ref())
                    && !self.defers(tuple, &segment)
                {
                    self.note_acknowledgement(tuple, packet);
                    self.establish(tuple, &segment);
                }
            } else {
                self.refuse(path, packet);
            }
        }
    }

    /// Returns whether a request's acknowledgement is left aside, as its listener waits for data (`TCP_DEFER_ACCEPT`).
    fn defers(&mut self, tuple: Tuple, segment: &Segment<'_>) -> bool {
        let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
            return false;
        };
        let Some(Socket::Tcp(listener)) = self.sockets.get(half.listener) else {
            return false;
        };
        let defers = half.time_outs < listener.options.defers && segment.is_empty();
        half.is_deferred |= defers;
        defers
    }

    fn note_acknowledgement(&mut self, tuple: Tuple, packet: &[u8]) {
        if let Some(half) = self.tcp.half_open.get_mut(&tuple) {
            half.see(packet);
        }
    }

    /// Tells the peer of a request what we have of it, and nothing more.
    fn acknowledge_half_open(&mut self, tuple: &Tuple) {
        let Some(half) = self.tcp.half_open.get(tuple) else {
            return;
        };
        let opening = &half.opening;
        let (first, window) = tyn_tcp::Connection::answer(&half.config, opening, self.out.now);
        let mut options = Options::default();
        options.timestamps = first.timestamps;
        // Windows are scaled from here on.
        let shift = opening.scale.map_or(0, |_| half.config.scale());
        let (ours, theirs) = (opening.ours + 1, opening.theirs + 1);
        let answer = Outgoing::bare(ours, theirs, Flags::ACK, window >> shift, options);
        let service = (half.tos, half.ttl);
        send_bare(&mut self.out, tuple, half.path, service, &answer);
    }

    /// Makes the connection whose handshake `segment` completes, if its listener has room.
    pub(crate) fn establish(&mut self, tuple: Tuple, segment: &Segment<'_>) {
        let Some(half) = self.tcp.half_open.get(&tuple).cloned() else {
            return;
        };
        let (options, any) = match self.sockets.get(half.listener) {
            Some(Socket::Tcp(l)) => match &l.state {
                TcpState::Listening(queue) if queue.is_full() => return self.wait(tuple),
                TcpState::Listening(_) => (l.options.inherited(), l.any),
                _ => return self.refuse_half_open(&tuple, segment),
            },
            _ => return self.refuse_half_open(&tuple, segment),
        };
        if !self.has_memory() {
            // It is tried again when the peer says something, or has to.
            return;
        }
        let now = self.out.now;
        let policy = policy(&options, State::Established, false);
        let mut tcp = tyn_tcp::Connection::answered(&half.config, policy, &half.opening, now);
        self.limit_to_path(&tuple, &mut tcp);
        tcp.set_spare(self.spare());
        tcp.on_segment(segment, now);
        if matches!(tcp.state(), State::SynReceived | State::Closed) {
            // Not acceptable after all (out of the window); the request stays.
            return;
        }
        let mut connection = Connection::new(tuple, half.path, tcp);
        connection.last_state = State::Established;
        connection.handshake = Handshake::Reported;
        let seen = half.seen.for_listener(&options);
        let mut child = TcpSocket::new(options, any);
        child.seen = seen;
        child.local = tuple.local;
        child.port_use = PortUse::Held;
        let by = child.port_usage();
        child.state = TcpState::Open(alloc::boxed::Box::new(connection));
        let Some(id) = self
            .sockets
            .insert(Socket::Tcp(alloc::boxed::Box::new(child)))
        else {
            return;
        };
        self.forget_half_open(&tuple);
        self.tcp.connections.insert(tuple, id);
        self.out.mib.tcp.passive_opens += 1;
        self.ports_tcp.hold(tuple.local, by);
        if let Some(Socket::Tcp(l)) = self.sockets.get_mut(half.listener)
            && let TcpState::Listening(listener) = &mut l.state
        {
            listener.queue.push_back(id);
        }
        self.enqueue(id);
        self.settle(id, crate::tcp::settle::After::Input);
        self.report(half.listener, tyn_abi::Events::IN | tyn_abi::Events::RDNORM);
    }

    fn refuse_half_open(&mut self, tuple: &Tuple, segment: &Segment<'_>) {
        if let Some(half) = self.forget_half_open(tuple) {
            let none = Options::default();
            let reset = Outgoing::bare(segment.ack, Seq(0), Flags::RST, 0, none);
            send_bare(
                &mut self.out,
                tuple,
                half.path,
                (half.tos, half.ttl),
                &reset,
            );
        }
    }
}
