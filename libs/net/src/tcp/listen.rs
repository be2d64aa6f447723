//! Connections that are being made with a listener (SYN queue).
//!
//! A request is a record of some hundred bytes; SYN|ACKs are sent from it. Only when the peer acknowledges, and so
//! proves that it is where it says, is there a socket with buffers: smoltcp is then shown the handshake once more, with
//! the sequence number that was promised. A request that is acknowledged while the accept queue is full waits for room
//! there, and its peer's data stay unacknowledged; while the queue is full new requests are dropped. So overload never
//! resets anybody.

use core::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use tyn_abi::Nanos;

use crate::shim::{Shim, instant};
use crate::stack::{Socket, Stack};
use crate::tcp::connection::{Connection, Handshake};
use crate::tcp::sleep::{LEAST, Opening};
use crate::tcp::{PortUse, TcpOptions, TcpSocket, TcpState};
use crate::timer::TimerKey;
use crate::types::{Path, SocketId, Tuple};
use crate::wire::{Ip, header_len, write_header};
use smoltcp::socket::tcp::State;

/// SYN|ACKs that are sent before a request is forgotten (`tcp_synack_retries` = 5, and the first).
const SYN_ACKS: u8 = 6;
/// Time until the second SYN|ACK; doubled after each.
const FIRST_RETRY: Nanos = Nanos(Nanos::PER_SEC);

/// A connection request.
#[derive(Clone, Debug)]
pub(crate) struct HalfOpen {
    listener: SocketId,
    path: Path,
    opening: Opening,
    /// Capacities that were promised.
    buffers: (usize, usize),
    tos: u8,
    ttl: u8,
    sent: u8,
    due: Option<Nanos>,
    /// The peer has acknowledged our SYN; its listener had no room.
    is_waiting: bool,
}

impl HalfOpen {
    /// Makes the record of a request that was not answered yet.
    pub(crate) fn new(
        listener: SocketId,
        path: Path,
        opening: Opening,
        buffers: (usize, usize),
        options: &TcpOptions,
        peer: IpAddr,
    ) -> Self {
        Self {
            listener,
            path,
            opening,
            buffers,
            tos: options.service(peer),
            ttl: options.ttl,
            sent: 0,
            due: None,
            is_waiting: false,
        }
    }
}

/// A TCP segment with its IP header.
pub(crate) fn segment_len(tuple: &Tuple, repr: &TcpRepr<'_>) -> usize {
    header_len(tuple.remote.ip()) + repr.buffer_len()
}

/// Writes a TCP segment with its IP header to `packet` of [`segment_len`] bytes.
pub(crate) fn write_segment(
    packet: &mut [u8],
    tuple: &Tuple,
    ttl: u8,
    repr: &TcpRepr<'_>,
    checksums: &ChecksumCapabilities,
) {
    let (source, destination) = (tuple.local.ip(), tuple.remote.ip());
    let protocol = IpProtocol::Tcp;
    let payload = write_header(packet, source, destination, protocol, ttl, checksums);
    let mut tcp = TcpPacket::new_unchecked(payload);
    repr.emit(&mut tcp, &source.into(), &destination.into(), checksums);
}

/// Returns a segment without flags, options or data.
pub(crate) fn plain_segment(tuple: &Tuple, seq: u32, ack: Option<u32>) -> TcpRepr<'static> {
    TcpRepr {
        src_port: tuple.local.port(),
        dst_port: tuple.remote.port(),
        control: TcpControl::None,
        seq_number: TcpSeqNumber(seq.cast_signed()),
        ack_number: ack.map(|a| TcpSeqNumber(a.cast_signed())),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

/// Returns the segment in a sound packet.
pub(crate) fn segment_of(packet: &[u8]) -> Option<TcpPacket<&[u8]>> {
    TcpPacket::new_checked(Ip::parse(packet)?.payload).ok()
}

/// Returns the window scale that smoltcp uses for a receive queue.
pub(crate) fn scale_of(capacity: usize) -> u8 {
    let bits = usize::BITS - capacity.leading_zeros();
    bits.saturating_sub(16) as u8
}

impl Stack {
    /// Takes in a SYN for a listener.
    pub(crate) fn on_syn(
        &mut self,
        tuple: Tuple,
        path: Path,
        listener: SocketId,
        syn: &TcpRepr<'_>,
    ) {
        let Some(Socket::Tcp(socket)) = self.sockets.get(listener) else {
            return;
        };
        let TcpState::Listening(queue) = &socket.state else {
            return;
        };
        if queue.is_full() {
            return;
        }
        if self.tcp.half_open.len() >= self.limits.half_open {
            return self.send_cookie(&tuple, path, listener, syn);
        }
        let opening = Opening {
            ours: self.secret.sequence_number(&tuple, self.out.now),
            theirs: syn.seq_number.0.cast_unsigned(),
            window: syn.window_len,
            scale: syn.window_scale,
            mss: syn.max_seg_size,
            has_sack: syn.sack_permitted,
        };
        let buffers = socket.options.buffers();
        let half = HalfOpen::new(
            listener,
            path,
            opening,
            buffers,
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
        let mut repr = plain_segment(
            &tuple,
            half.opening.ours,
            Some(half.opening.theirs.wrapping_add(1)),
        );
        repr.control = TcpControl::Syn;
        repr.window_len = u16::try_from(half.buffers.0).unwrap_or(u16::MAX);
        repr.window_scale = half.opening.scale.map(|_| scale_of(half.buffers.0));
        repr.sack_permitted = half.opening.has_sack;
        let wait = Nanos(FIRST_RETRY.0 << half.sent.min(6));
        half.sent = half.sent.saturating_add(1);
        let due = Some(self.out.now + wait);
        self.timers
            .set(TimerKey::HalfOpen(tuple), &mut half.due, due);
        let (path, tos, ttl) = (half.path, half.tos, half.ttl);
        repr.max_seg_size = self.segment_size(&tuple, path);
        self.send_segment(&tuple, path, tos, ttl, &repr);
    }

    /// Returns the size of the segments that we take in.
    pub(crate) fn segment_size(&self, tuple: &Tuple, path: Path) -> Option<u16> {
        u16::try_from(self.out.mtu(path) - header_len(tuple.remote.ip()) - 20).ok()
    }

    /// Sends a segment that belongs to no socket.
    pub(crate) fn send_segment(
        &mut self,
        tuple: &Tuple,
        path: Path,
        tos: u8,
        ttl: u8,
        repr: &TcpRepr<'_>,
    ) {
        let checksums = self.out.checksums(path);
        let fill = |packet: &mut [u8]| {
            write_segment(packet, tuple, ttl, repr, &checksums);
            Ok::<(), core::convert::Infallible>(())
        };
        let Ok(()) = self.out.emit(path, segment_len(tuple, repr), tos, fill);
    }

    /// Repeats the SYN|ACK of a request, or forgets it.
    pub(crate) fn expire_half_open(&mut self, tuple: Tuple) {
        let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
            return;
        };
        half.due = None;
        if half.sent < SYN_ACKS {
            self.send_syn_ack(tuple);
        } else {
            self.tcp.half_open.remove(&tuple);
        }
    }

    fn forget_half_open(&mut self, tuple: &Tuple) -> Option<HalfOpen> {
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
        let expected = half.opening.theirs.wrapping_add(1);
        if segment.rst() {
            if start == expected {
                self.forget_half_open(&tuple);
            }
        } else if segment.syn() {
            if start == half.opening.theirs {
                self.send_syn_ack(tuple);
            } else if !segment.ack() {
                // The peer has started anew.
                self.forget_half_open(&tuple);
                self.on_unknown(tuple, path, segment, packet);
            }
        } else if segment.ack() {
            let acknowledged = segment.ack_number().0.cast_unsigned();
            if acknowledged == half.opening.ours.wrapping_add(1) {
                self.establish(tuple, packet);
            } else {
                self.refuse(path, packet);
            }
        }
    }

    /// Makes the connection whose handshake `packet` completes, if its listener has room.
    pub(crate) fn establish(&mut self, tuple: Tuple, packet: &[u8]) {
        let Some(half) = self.tcp.half_open.get(&tuple).cloned() else {
            return;
        };
        let (options, any) = match self.sockets.get(half.listener) {
            Some(Socket::Tcp(l)) => match &l.state {
                TcpState::Listening(queue) if queue.is_full() => return self.wait(tuple),
                TcpState::Listening(_) => (l.options.clone(), l.any),
                _ => return self.refuse_half_open(&tuple, packet),
            },
            _ => return self.refuse_half_open(&tuple, packet),
        };
        // Without data it needs no queues yet.
        let Some(segment) = segment_of(packet) else {
            return;
        };
        let buffers = if segment.payload().is_empty() && !segment.fin() && !options.keeps_alive {
            (0, 0)
        } else {
            self.reclaim(half.buffers);
            if self.has_memory(half.buffers) {
                half.buffers
            } else {
                LEAST
            }
        };
        let mut child = TcpSocket::new(options, any);
        let (path, opening) = (half.path, &half.opening);
        let replayed = Connection::replayed(&mut self.out, tuple, path, opening, buffers);
        let Some(mut connection) = replayed else {
            return;
        };
        connection.promised = half.buffers;
        connection.hear(&segment);
        connection.tune(&child.options, false, self.out.now);
        let iface = match half.path {
            Path::Nic => &mut self.nic,
            Path::Loopback => &mut self.lo,
        };
        let mut shim = Shim::new(&mut self.out, half.path, half.tos)
            .after(connection.last_sent)
            .scaling(connection.missing_shift())
            .receiving(packet);
        let now = instant(shim.now());
        iface.poll_ingress_single(now, &mut shim, &mut connection.set);
        connection.last_sent = shim.last_sent;
        if connection.is_connecting() || connection.is_closed() {
            // Not acceptable after all (out of the window); the request stays.
            return;
        }
        connection.last_state = State::Established;
        connection.handshake = Handshake::Reported;
        child.local = tuple.local;
        child.port_use = PortUse::Held;
        let bytes = connection.buffer_bytes();
        child.state = TcpState::Open(alloc::boxed::Box::new(connection));
        let Some(id) = self
            .sockets
            .insert(Socket::Tcp(alloc::boxed::Box::new(child)))
        else {
            return;
        };
        self.forget_half_open(&tuple);
        self.tcp.buffered += bytes;
        self.tcp.connections.insert(tuple, id);
        self.ports_tcp.hold(tuple.local);
        if let Some(Socket::Tcp(l)) = self.sockets.get_mut(half.listener)
            && let TcpState::Listening(listener) = &mut l.state
        {
            listener.queue.push_back(id);
        }
        self.enqueue(id);
        self.settle(id, crate::tcp::settle::After::Input);
        self.report(half.listener, tyn_abi::Events::IN | tyn_abi::Events::RDNORM);
    }

    /// Lets a request that is complete wait for room in its listener's queue.
    fn wait(&mut self, tuple: Tuple) {
        let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
            return;
        };
        if core::mem::replace(&mut half.is_waiting, true) {
            return;
        }
        self.timers
            .set(TimerKey::HalfOpen(tuple), &mut half.due, None);
        if let Some(Socket::Tcp(l)) = self.sockets.get_mut(half.listener)
            && let TcpState::Listening(listener) = &mut l.state
        {
            listener.waiting.push_back(tuple);
        }
    }

    /// Establishes requests that waited for room in a listener's queue.
    pub(crate) fn establish_waiting(&mut self, listener: SocketId) {
        loop {
            let Some(Socket::Tcp(l)) = self.sockets.get_mut(listener) else {
                return;
            };
            let TcpState::Listening(queue) = &mut l.state else {
                return;
            };
            if queue.is_full() {
                return;
            }
            let Some(tuple) = queue.waiting.pop_front() else {
                return;
            };
            let Some(half) = self.tcp.half_open.get_mut(&tuple) else {
                continue;
            };
            half.is_waiting = false;
            // What the peer sent then, without its data: it will send these again.
            let (seq, ack) = (
                half.opening.theirs.wrapping_add(1),
                half.opening.ours.wrapping_add(1),
            );
            let mut segment = plain_segment(&tuple.mirrored(), seq, Some(ack));
            segment.window_len = half.opening.window >> half.opening.scale.unwrap_or(0).min(14);
            let mut packet = alloc::vec![0; segment_len(&tuple, &segment)];
            let checksums = ChecksumCapabilities::ignored();
            write_segment(&mut packet, &tuple.mirrored(), 64, &segment, &checksums);
            self.establish(tuple, &packet);
            // It has no timer any more: what could not be established would stay for ever.
            if self
                .tcp
                .half_open
                .get(&tuple)
                .is_some_and(|h| !h.is_waiting)
            {
                self.forget_half_open(&tuple);
            }
        }
    }

    fn refuse_half_open(&mut self, tuple: &Tuple, packet: &[u8]) {
        if let Some(half) = self.forget_half_open(tuple) {
            self.refuse(half.path, packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_lets_the_window_cover_the_queue() {
        for (capacity, scale) in [
            (2048, 0),
            (65535, 0),
            (65536, 1),
            (131_072, 2),
            (4 << 20, 7),
        ] {
            assert_eq!(scale_of(capacity), scale);
            assert!(capacity >> scale <= 65535);
        }
    }
}
