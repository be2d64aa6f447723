//! UDP sockets (`udp(7)`): a queue of datagrams each.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr};
use tyn_abi::{Errno, Events, Sink, Source};

use crate::output::IP_HEADER;
use crate::stack::{Socket, Stack};
use crate::types::{Path, SocketId, Tuple};

const UDP_HEADER: usize = 8;
/// Greatest payload of a datagram.
const MAX_PAYLOAD: usize = 65535 - IP_HEADER - UDP_HEADER;
/// What a queued datagram costs beside its bytes.
const OVERHEAD: usize = 256;

/// Options of a UDP socket (`udp(7)`, `socket(7)`, `ip(7)`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// `SO_REUSEADDR`.
    pub reuses_address: bool,
    /// `SO_BROADCAST`.
    pub broadcasts: bool,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IP_TTL`, never 0.
    pub ttl: u8,
    /// `IP_MULTICAST_TTL`.
    pub multicast_ttl: u8,
    /// Bytes that may be queued, with an allowance for each datagram.
    pub receive_buffer: usize,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            reuses_address: false,
            broadcasts: false,
            tos: 0,
            ttl: 64,
            multicast_ttl: 1,
            receive_buffer: 212_992,
        }
    }
}

#[derive(Debug)]
struct Datagram {
    source: SocketAddrV4,
    destination: Ipv4Addr,
    path: Path,
    tos: u8,
    ttl: u8,
    data: Vec<u8>,
}

/// A datagram that was received, beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpReceived {
    /// The sender.
    pub source: SocketAddrV4,
    /// The address it was sent to.
    pub destination: Ipv4Addr,
    /// Where it came in.
    pub path: Path,
    /// The IP header's type of service.
    pub tos: u8,
    /// The IP header's time to live.
    pub ttl: u8,
    /// Bytes that were stored.
    pub copied: usize,
    /// Bytes that it had.
    pub len: usize,
}

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    options: UdpOptions,
    local: SocketAddrV4,
    is_bound: bool,
    remote: Option<SocketAddrV4>,
    queue: VecDeque<Datagram>,
    queued_bytes: usize,
    error: Option<Errno>,
    pub(crate) reported: Events,
    /// Its last datagram found no room.
    pub(crate) is_blocked: bool,
    is_read_shut: bool,
    is_write_shut: bool,
}

impl UdpSocket {
    pub(crate) fn readiness(&self) -> Events {
        let mut events = Events::empty();
        if !self.queue.is_empty() || self.is_read_shut {
            events |= Events::IN | Events::RDNORM;
        }
        if self.is_read_shut {
            events |= Events::RDHUP;
        }
        if self.is_read_shut && self.is_write_shut {
            events |= Events::HUP;
        }
        if !self.is_blocked {
            events |= Events::OUT | Events::WRNORM;
        }
        if self.error.is_some() {
            events |= Events::ERR;
        }
        events
    }

    fn accepts(&self, destination: Ipv4Addr, source: SocketAddrV4, is_unicast: bool) -> Option<u8> {
        let own = *self.local.ip();
        let is_bound_here = own == destination;
        if !own.is_unspecified() && !is_bound_here && is_unicast {
            return None;
        }
        match self.remote {
            Some(remote) if remote != source => None,
            remote => Some(u8::from(is_bound_here) + 2 * u8::from(remote.is_some())),
        }
    }

    fn push(&mut self, datagram: Datagram) -> bool {
        let cost = datagram.data.len() + OVERHEAD;
        if self.is_read_shut || self.queued_bytes + cost > self.options.receive_buffer.max(2304) {
            return false;
        }
        self.queued_bytes += cost;
        self.queue.push_back(datagram);
        true
    }
}

/// The bound sockets of each port.
#[derive(Debug, Default)]
pub(crate) struct UdpTable {
    by_port: BTreeMap<u16, Vec<SocketId>>,
    port_counter: u32,
}

impl Stack {
    /// Makes a UDP socket.
    ///
    /// # Errors
    /// `ENFILE` when there are 2^32 sockets.
    pub fn udp_socket(&mut self) -> Result<SocketId, Errno> {
        let socket = UdpSocket {
            options: UdpOptions::default(),
            local: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            is_bound: false,
            remote: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            error: None,
            reported: Events::OUT | Events::WRNORM,
            is_blocked: false,
            is_read_shut: false,
            is_write_shut: false,
        };
        self.sockets
            .insert(Socket::Udp(Box::new(socket)))
            .ok_or(Errno::ENFILE)
    }

    fn udp(&mut self, id: SocketId) -> Result<&mut UdpSocket, Errno> {
        match self.sockets.get_mut(id) {
            Some(Socket::Udp(socket)) => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    /// Binds a socket (`bind(2)`); port 0 asks for any free one.
    ///
    /// # Errors
    /// `EINVAL` when it is bound already, `EADDRNOTAVAIL`, `EADDRINUSE`.
    pub fn udp_bind(&mut self, id: SocketId, at: SocketAddrV4) -> Result<(), Errno> {
        let address = *at.ip();
        let is_ours = address.is_unspecified()
            || address.is_multicast()
            || self.out.is_own(address)
            || self.out.is_broadcast(address);
        let socket = self.udp(id)?;
        let shares = socket.options.reuses_address;
        if socket.is_bound {
            return Err(Errno::EINVAL);
        }
        if !is_ours {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let mut at = at;
        if at.port() == 0 {
            self.udp.port_counter = self.udp.port_counter.wrapping_add(1);
            let offset = self.secret.port_offset(at, self.udp.port_counter);
            at.set_port(self.ports_udp.find_free(offset).ok_or(Errno::EADDRINUSE)?);
        }
        self.ports_udp.bind(id, at, shares)?;
        self.udp.by_port.entry(at.port()).or_default().push(id);
        let socket = self.udp(id)?;
        socket.local = at;
        socket.is_bound = true;
        Ok(())
    }

    fn udp_autobind(&mut self, id: SocketId) -> Result<(), Errno> {
        if self.udp(id)?.is_bound {
            return Ok(());
        }
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        self.udp_bind(id, any).map_err(|_| Errno::EAGAIN)
    }

    /// Sets the peer (`connect(2)`), or removes it.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EACCES` for a broadcast address without `SO_BROADCAST`, `EAGAIN` when no port is free.
    pub fn udp_connect(&mut self, id: SocketId, to: Option<SocketAddrV4>) -> Result<(), Errno> {
        let Some(to) = to else {
            self.udp(id)?.remote = None;
            return Ok(());
        };
        let to = to_self_if_unspecified(to);
        let (_, source) = self.out.route(*to.ip())?;
        let is_broadcast = self.out.is_broadcast(*to.ip());
        if is_broadcast && !self.udp(id)?.options.broadcasts {
            return Err(Errno::EACCES);
        }
        self.udp_autobind(id)?;
        let socket = self.udp(id)?;
        if socket.local.ip().is_unspecified() {
            socket.local.set_ip(source);
        }
        socket.remote = Some(to);
        Ok(())
    }

    /// Sends a datagram of all that `src` has, to `to` or the peer.
    ///
    /// # Errors
    /// `EAGAIN` when there is no room now; `EDESTADDRREQ`, `EMSGSIZE`, `ENETUNREACH`, `EACCES`, `EINVAL`, `EPIPE`,
    /// `EFAULT`, and a pending error.
    pub fn udp_send(
        &mut self,
        id: SocketId,
        to: Option<SocketAddrV4>,
        src: &mut dyn Source,
    ) -> Result<usize, Errno> {
        // Before anything else can fail, as in Linux (`inet_send_prepare`).
        self.udp_autobind(id)?;
        let socket = self.udp(id)?;
        if let Some(error) = socket.error.take() {
            self.report(id, Events::empty());
            return Err(error);
        }
        if socket.is_write_shut {
            return Err(Errno::EPIPE);
        }
        let to = to.or(socket.remote).ok_or(Errno::EDESTADDRREQ)?;
        let to = to_self_if_unspecified(to);
        let len = src.remaining();
        if len > MAX_PAYLOAD {
            return Err(Errno::EMSGSIZE);
        }
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        let may_broadcast = socket.options.broadcasts;
        let (path, source) = self.out.route(*to.ip())?;
        if self.out.is_broadcast(*to.ip()) && !may_broadcast {
            return Err(Errno::EACCES);
        }
        let total = IP_HEADER + UDP_HEADER + len;
        if total > self.out.mtu(path) {
            return Err(Errno::EMSGSIZE);
        }
        if !self.out.has_room(path) {
            let socket = self.udp(id)?;
            if !core::mem::replace(&mut socket.is_blocked, true) {
                self.blocked.push(path, id);
            }
            self.report(id, Events::empty());
            return Err(Errno::EAGAIN);
        }
        let socket = self.udp(id)?;
        let bound = *socket.local.ip();
        let source = match bound {
            b if b.is_unspecified() || b.is_multicast() || b.is_broadcast() => source,
            b if b.is_loopback() != source.is_loopback() => return Err(Errno::EINVAL),
            b => b,
        };
        let (port, tos) = (socket.local.port(), socket.options.tos);
        let ttl = if to.ip().is_multicast() {
            socket.options.multicast_ttl
        } else {
            socket.options.ttl
        };
        let ip = Ipv4Repr {
            src_addr: source,
            dst_addr: *to.ip(),
            next_header: IpProtocol::Udp,
            payload_len: UDP_HEADER + len,
            hop_limit: ttl.max(1),
        };
        let udp = UdpRepr {
            src_port: port,
            dst_port: to.port(),
        };
        let checksums = self.out.checksums(path);
        self.out.emit(path, total, tos, |packet| {
            let mut packet = Ipv4Packet::new_unchecked(packet);
            ip.emit(&mut packet, &checksums);
            let mut result = Ok(());
            udp.emit(
                &mut UdpPacket::new_unchecked(packet.payload_mut()),
                &source.into(),
                &(*to.ip()).into(),
                len,
                |payload| result = src.read_exact(payload),
                &checksums,
            );
            result
        })?;
        Ok(len)
    }

    /// Takes the oldest datagram, or looks at it. What does not fit into `dst` is lost when it is taken.
    ///
    /// # Errors
    /// `EAGAIN` when there is none, `EFAULT`, and a pending error.
    pub fn udp_receive(
        &mut self,
        id: SocketId,
        peeks: bool,
        dst: &mut dyn Sink,
    ) -> Result<UdpReceived, Errno> {
        let socket = self.udp(id)?;
        if let Some(error) = socket.error.take() {
            self.report(id, Events::empty());
            return Err(error);
        }
        let Some(datagram) = socket.queue.front() else {
            return Err(Errno::EAGAIN);
        };
        let copied = datagram.data.len().min(dst.remaining());
        let result = dst.write_all(datagram.data.get(..copied).unwrap_or_default());
        let received = UdpReceived {
            source: datagram.source,
            destination: datagram.destination,
            path: datagram.path,
            tos: datagram.tos,
            ttl: datagram.ttl,
            copied,
            len: datagram.data.len(),
        };
        if !peeks {
            socket.queued_bytes -= datagram.data.len() + OVERHEAD;
            socket.queue.pop_front();
            self.report(id, Events::empty());
        }
        result.map(|()| received)
    }

    /// Returns whether the receiving side was shut down: an empty queue then is the end.
    pub fn udp_is_read_shut(&mut self, id: SocketId) -> bool {
        self.udp(id).is_ok_and(|s| s.is_read_shut)
    }

    /// Returns the length of the oldest datagram (`FIONREAD`).
    pub fn udp_next_len(&mut self, id: SocketId) -> usize {
        self.udp(id)
            .ok()
            .and_then(|s| s.queue.front())
            .map_or(0, |d| d.data.len())
    }

    /// Shuts down one or both directions (`shutdown(2)`).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn udp_shutdown(&mut self, id: SocketId, read: bool, write: bool) -> Result<(), Errno> {
        let socket = self.udp(id)?;
        if socket.remote.is_none() {
            return Err(Errno::ENOTCONN);
        }
        socket.is_read_shut |= read;
        socket.is_write_shut |= write;
        self.report(id, Events::empty());
        Ok(())
    }

    /// Returns the local address (`getsockname(2)`).
    ///
    /// # Errors
    /// `EBADF` for an id of no UDP socket, here as everywhere.
    pub fn udp_local(&mut self, id: SocketId) -> Result<SocketAddrV4, Errno> {
        Ok(self.udp(id)?.local)
    }

    /// Returns the peer (`getpeername(2)`).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn udp_remote(&mut self, id: SocketId) -> Result<SocketAddrV4, Errno> {
        self.udp(id)?.remote.ok_or(Errno::ENOTCONN)
    }

    /// Returns the options.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn udp_options(&mut self, id: SocketId) -> Result<UdpOptions, Errno> {
        Ok(self.udp(id)?.options.clone())
    }

    /// Changes the options.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn udp_change_options(
        &mut self,
        id: SocketId,
        change: impl FnOnce(&mut UdpOptions),
    ) -> Result<(), Errno> {
        let socket = self.udp(id)?;
        change(&mut socket.options);
        let (shares, port) = (socket.options.reuses_address, socket.local.port());
        self.ports_udp.set_shares(id, port, shares);
        Ok(())
    }

    /// Closes a socket.
    pub(crate) fn udp_close(&mut self, id: SocketId) {
        if let Some(Socket::Udp(socket)) = self.sockets.remove(id) {
            let port = socket.local.port();
            self.ports_udp.unbind(id, port);
            if let Some(here) = self.udp.by_port.get_mut(&port) {
                here.retain(|&other| other != id);
                if here.is_empty() {
                    self.udp.by_port.remove(&port);
                }
            }
        }
    }

    pub(crate) fn udp_error(&mut self, id: SocketId) -> Option<Errno> {
        let error = self.udp(id).ok()?.error.take();
        self.report(id, Events::empty());
        error
    }

    /// Takes in a datagram, whose checksum is right.
    pub(crate) fn on_udp(&mut self, path: Path, ip: &Ipv4Packet<&[u8]>, packet: &[u8]) {
        let Ok(udp) = UdpPacket::new_checked(ip.payload()) else {
            return;
        };
        let destination = ip.dst_addr();
        let source = SocketAddrV4::new(ip.src_addr(), udp.src_port());
        let is_unicast = self.out.is_own(destination);
        let Some(here) = self.udp.by_port.get(&udp.dst_port()) else {
            if is_unicast {
                self.refuse(path, packet);
            }
            return;
        };
        let mut takers: Vec<(u8, SocketId)> = Vec::new();
        for &id in here {
            let Some(Socket::Udp(socket)) = self.sockets.get(id) else {
                continue;
            };
            let Some(score) = socket.accepts(destination, source, is_unicast) else {
                continue;
            };
            // A packet for one host goes to the socket that fits best, others to all.
            if is_unicast && takers.first().is_some_and(|&(best, _)| best >= score) {
                continue;
            }
            if is_unicast {
                takers.clear();
            }
            takers.push((score, id));
        }
        if takers.is_empty() && is_unicast {
            return self.refuse(path, packet);
        }
        for (_, id) in takers {
            let datagram = Datagram {
                source,
                destination,
                path,
                tos: ip.dscp() << 2 | ip.ecn(),
                ttl: ip.hop_limit(),
                data: udp.payload().to_vec(),
            };
            if self.udp(id).is_ok_and(|s| s.push(datagram)) {
                self.report(id, Events::IN | Events::RDNORM);
            }
        }
    }

    /// Takes note that a datagram could not be delivered: connected sockets hear of it.
    pub(crate) fn on_udp_error(&mut self, tuple: Tuple, error: Errno) {
        let here = self.udp.by_port.get(&tuple.local.port());
        for id in here.cloned().unwrap_or_default() {
            if let Ok(socket) = self.udp(id)
                && socket.remote == Some(tuple.remote)
            {
                socket.error = Some(error);
                self.report(id, Events::ERR);
            }
        }
    }
}

/// A destination that says nothing means ourselves, as on Linux.
pub(crate) fn to_self_if_unspecified(mut to: SocketAddrV4) -> SocketAddrV4 {
    if to.ip().is_unspecified() {
        to.set_ip(Ipv4Addr::LOCALHOST);
    }
    to
}
