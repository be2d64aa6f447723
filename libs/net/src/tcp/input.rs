//! TCP segments on their way in: which connection, request or listener they belong to.

use core::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{TcpPacket, TcpRepr};
use tyn_abi::Errno;

use crate::shim::{Shim, instant};
use crate::stack::{Socket, Stack};
use crate::tcp::TcpState;
use crate::tcp::listen::{plain_segment, segment_of};
use crate::tcp::settle::After;
use crate::tcp::size::lowered;
use crate::tcp::time_wait::Answer;
use crate::types::{Path, SocketId, Tuple};

impl Stack {
    /// Takes in a segment; `packet` includes the IP header, which is sound, as is the TCP checksum.
    pub(crate) fn on_tcp(&mut self, path: Path, tuple: Tuple, segment: &[u8], packet: &[u8]) {
        let Ok(segment) = TcpPacket::new_checked(segment) else {
            return;
        };
        if tuple.local.port() == 0 || tuple.remote.port() == 0 {
            return;
        }
        if segment.syn()
            && self.out.is_behind_router6(path, tuple.remote.ip())
            && let Some(packet) = lowered(packet)
            && let Some(segment) = segment_of(&packet)
        {
            return self.on_segment(path, tuple, &segment, &packet);
        }
        self.on_segment(path, tuple, &segment, packet);
    }

    fn on_segment(&mut self, path: Path, tuple: Tuple, segment: &TcpPacket<&[u8]>, packet: &[u8]) {
        if let Some(&id) = self.tcp.connections.get(&tuple) {
            self.on_connection(id, segment, packet);
        } else if self.tcp.half_open.contains_key(&tuple) {
            self.on_half_open(tuple, segment, packet);
        } else {
            self.on_unknown(tuple, path, segment, packet);
        }
    }

    fn on_connection(&mut self, id: SocketId, segment: &TcpPacket<&[u8]>, packet: &[u8]) {
        self.wake_up(id);
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return;
        };
        connection.last_received = self.out.now;
        connection.hear(segment);
        connection.tune(&socket.options, socket.is_orphan, self.out.now);
        let iface = match connection.path {
            Path::Nic => &mut self.nic,
            Path::Loopback => &mut self.lo,
        };
        let now = instant(self.out.now);
        let tos = socket.options.service(connection.tuple.remote.ip());
        let mut shim = Shim::new(&mut self.out, connection.path, tos)
            .after(connection.last_sent)
            .scaling(connection.missing_shift())
            .receiving(packet);
        iface.poll_ingress_single(now, &mut shim, &mut connection.set);
        connection.last_sent = shim.last_sent;
        self.enqueue(id);
        self.settle(id, After::Input);
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
            Some(Answer::Forget) => return self.ports_tcp.release(tuple.local),
            Some(Answer::Reopen) => self.ports_tcp.release(tuple.local),
            None => {}
        }
        let is_request = segment.syn() && !segment.ack() && !segment.rst() && !segment.fin();
        let listener = self.tcp.listener(tuple.local);
        let Some(listener) = listener else {
            return self.refuse(path, packet);
        };
        if !is_request {
            if !self.on_cookie(tuple, path, listener, segment, packet) {
                self.refuse(path, packet);
            }
            return;
        }
        let (local, remote) = tuple.addresses();
        let ignored = ChecksumCapabilities::ignored();
        let segment = TcpPacket::new_unchecked(segment.as_ref());
        if let Ok(syn) = TcpRepr::parse(&segment, &remote, &local, &ignored) {
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

    /// Takes note that a segment of ours could not be delivered. As on Linux this ends the attempt to connect, and
    /// nothing else. `sequence` is the segment's.
    pub(crate) fn on_tcp_error(&mut self, tuple: Tuple, sequence: u32, error: Errno) {
        let Some(&id) = self.tcp.connections.get(&tuple) else {
            return;
        };
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        if let TcpState::Open(connection) = &socket.state
            && connection.is_connecting()
            && let Some(sent) = connection.last_sent
            && sent.next == sequence.wrapping_add(1)
        {
            socket.error = Some(error);
            self.end_attempt(id);
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
