//! TCP segments on their way in: which connection, request or listener they belong to.

use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::TcpPacket;
use tyn_abi::Events;
use tyn_tcp::{Segment, Seq};

use crate::errors::Trouble;
use crate::fragment::MtuDiscovery;
use crate::shim::{Shim, instant};
use crate::stack::{Socket, Stack};
use crate::tcp::TcpState;
use crate::tcp::bare::plain_segment;
use crate::tcp::settle::After;
use crate::tcp::time_wait::Answer;
use crate::types::{Path, SocketId, Tuple};
use crate::wire::header_len;

/// Bytes of a TCP header without options.
pub(crate) const TCP_HEADER: usize = 20;

impl Stack {
    /// Takes in a segment; `packet` includes the IP header, which is sound, as is the TCP checksum.
    pub(crate) fn on_tcp(&mut self, path: Path, tuple: Tuple, segment: &[u8], packet: &[u8]) {
        self.out.mib.tcp.in_segments += 1;
        let Ok(segment) = TcpPacket::new_checked(segment) else {
            self.out.mib.tcp.in_errors += 1;
            return;
        };
        if tuple.local.port() == 0 {
            return self.refuse_port_zero(path, tuple, &segment);
        }
        self.on_segment(path, tuple, &segment, packet);
    }

    fn on_segment(&mut self, path: Path, tuple: Tuple, segment: &TcpPacket<&[u8]>, packet: &[u8]) {
        if let Some(&id) = self.tcp.connections.get(&tuple) {
            if self.is_cut_off(id) {
                return self.refuse(path, packet);
            }
            if !self.is_from_too_far(id, packet) {
                self.on_connection(id, segment, packet);
            }
        } else if let Some(half) = self.tcp.half_open.get(&tuple) {
            if !self.is_from_too_far(half.listener, packet) {
                self.on_half_open(tuple, segment, packet);
            }
        } else {
            self.on_unknown(tuple, path, segment, packet);
        }
    }

    /// Returns whether a socket was bound to another interface than its connection goes by (`SO_BINDTODEVICE`): nothing
    /// reaches it, and nothing of it leaves.
    pub(crate) fn is_cut_off(&self, id: SocketId) -> bool {
        let Some(Socket::Tcp(socket)) = self.sockets.get(id) else {
            return false;
        };
        let (Some(device), TcpState::Open(connection)) = (socket.options.device, &socket.state)
        else {
            return false;
        };
        let (path, own) = (connection.path, connection.tuple.local.ip());
        device != path && device != self.out.routes.device_of(path, own)
    }

    /// Returns whether a packet has come further than its socket allows (`IP_MINTTL`, `IPV6_MINHOPCOUNT`).
    fn is_from_too_far(&self, id: SocketId, packet: &[u8]) -> bool {
        if !self.tcp.looks_at_ttl {
            return false;
        }
        let Some(Socket::Tcp(socket)) = self.sockets.get(id) else {
            return false;
        };
        let [least_v4, least_v6] = socket.options.least_ttl;
        let (ttl, least) = match packet.first() {
            Some(first) if first >> 4 == 6 => (packet.get(7), least_v6),
            _ => (packet.get(8), least_v4),
        };
        ttl.is_none_or(|ttl| *ttl < least)
    }

    fn on_connection(&mut self, id: SocketId, segment: &TcpPacket<&[u8]>, packet: &[u8]) {
        let Some(segment) = Segment::parse(segment.as_ref()) else {
            return;
        };
        let spare = self.spare();
        let now = self.out.now;
        if let Some(connection) = self.open_connection(id) {
            connection.tcp.set_spare(spare);
            connection.tcp.on_segment(&segment, now);
            let is_last = connection.tcp.numbers().1 == segment.seq + segment.len();
            // One that goes on as before is settled after its turn to send, if that comes before this turn of the stack ends.
            let waits = connection.goes_on() && !connection.is_queued;
            if connection.tuple.remote.is_ipv6() && is_last {
                self.note_headers(id, packet);
            }
            self.enqueue(id);
            if waits {
                self.count(id);
            } else {
                self.settle(id, After::Input);
            }
        }
    }

    /// Takes in a segment for which there is neither connection nor request.
    pub(crate) fn on_unknown(
        &mut self,
        tuple: Tuple,
        path: Path,
        segment: &TcpPacket<&[u8]>,
        packet: &[u8],
    ) {
        match self.tcp.time_waits.on_segment(&tuple, segment) {
            Some(Answer::Ignore) => return,
            Some(Answer::Acknowledge(record)) => {
                let sent = record.last_sent;
                let ack = plain_segment(&tuple, sent.next, Some(sent.acked));
                return self.send_segment(&tuple, record.path, 0, 64, &ack);
            }
            Some(Answer::Forget(by)) => return self.ports_tcp.release(tuple.local, by),
            Some(Answer::Reopen(by)) => self.ports_tcp.release(tuple.local, by),
            None => {}
        }
        let is_request = segment.syn() && !segment.ack() && !segment.rst() && !segment.fin();
        let device = self.out.routes.device_of(path, tuple.local.ip());
        let listener = self
            .tcp
            .listener(tuple.local, device, || self.secret.share(&tuple));
        let Some(listener) = listener else {
            return self.refuse(path, packet);
        };
        if self.is_from_too_far(listener, packet) {
            return;
        }
        if !is_request {
            if !self.on_cookie(tuple, (path, packet), listener, segment) {
                self.refuse(path, packet);
            }
            return;
        }
        if let Some(syn) = Segment::parse(segment.as_ref()) {
            self.on_syn(tuple, path, listener, &syn);
        }
    }

    /// Answers a packet that nobody wants as smoltcp does: a reset for a segment, an ICMP error for others.
    pub(crate) fn refuse(&mut self, path: Path, packet: &[u8]) {
        let iface = match path {
            Path::Nic => &mut self.nic,
            Path::Loopback => &mut self.lo,
        };
        let now = instant(self.out.now);
        let mut shim = Shim::new(&mut self.out, path, 0).receiving(packet);
        iface.poll_ingress_single(now, &mut shim, &mut self.nobody);
    }

    /// Takes note that a segment of ours could not be delivered. As on Linux this ends the attempt to connect; a
    /// connection only remembers it, and tells it if the peer stays silent, unless the program wants to hear of it at once
    /// (`IP_RECVERR`). `segment` is at least its first eight bytes; who says so came by `path`.
    pub(crate) fn on_tcp_error(
        &mut self,
        path: Path,
        tuple: Tuple,
        segment: &[u8],
        trouble: &Trouble,
    ) {
        let Some(&[_, _, _, _, q0, q1, q2, q3]) = segment.first_chunk() else {
            return;
        };
        let sequence = u32::from_be_bytes([q0, q1, q2, q3]);
        let Some(&id) = self.tcp.connections.get(&tuple) else {
            return;
        };
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return;
        };
        if connection.path != path || !connection.tcp.is_in_flight(Seq(sequence)) {
            return;
        }
        let error = trouble.error.errno;
        let is_asked_for = socket.options.is_error_asked_for(trouble.error.origin);
        if connection.is_connecting() {
            socket.error = Some(error);
            if is_asked_for {
                let most = socket.options.receive_buffer as usize;
                socket.errors.push(trouble, tuple.remote, segment, most);
            }
            self.end_attempt(id);
        } else if is_asked_for {
            socket.error = Some(error);
            self.report(id, Events::ERR);
        } else {
            connection.tcp.on_soft_error(Seq(sequence), error);
        }
    }

    /// Takes note that a segment of ours was too big for a link that takes packets of `mtu` bytes (RFC 1191, RFC 8201).
    pub(crate) fn on_tcp_too_big(&mut self, path: Path, tuple: Tuple, sequence: u32, mtu: usize) {
        let Some(&id) = self.tcp.connections.get(&tuple) else {
            return;
        };
        let Some(Socket::Tcp(socket)) = self.sockets.get(id) else {
            return;
        };
        let discovery = socket.options.discovery(tuple.remote.ip());
        let is_moot = discovery == MtuDiscovery::Dont && tuple.remote.is_ipv4();
        if is_moot || !discovery.believes() {
            return;
        }
        let now = self.out.now;
        let headers = header_len(tuple.remote.ip()) + TCP_HEADER;
        let Some(connection) = self.open_connection(id).filter(|c| c.path == path) else {
            return;
        };
        let segment = u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX);
        let before = connection.tcp.segment_size();
        connection
            .tcp
            .on_packet_too_big(Seq(sequence), segment, now);
        let after = connection.tcp.segment_size();
        if after < before {
            let mtu = usize::from(after) + headers;
            self.tcp.paths.note(tuple.remote.ip(), mtu, now);
            self.enqueue(id);
        }
    }
}

/// Puts a tuple together from the addresses of a received packet.
pub(crate) fn tuple_of(
    destination: IpAddr,
    destination_port: u16,
    source: IpAddr,
    source_port: u16,
) -> Tuple {
    Tuple {
        local: SocketAddr::new(destination, destination_port),
        remote: SocketAddr::new(source, source_port),
    }
}
