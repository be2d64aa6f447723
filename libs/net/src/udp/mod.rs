//! UDP sockets (`udp(7)`): a queue of datagrams each.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::UdpPacket;
use tyn_abi::{Errno, Events, Sink};

use crate::errors::ErrorQueue;
use crate::mib;
use crate::ports::Bound;
use crate::routes::is_source_on;
use crate::stack::{Socket, Stack};
use crate::types::{Path, SocketId, Tuple};
use crate::wire::{Ip, with_ip};

mod demux;
mod errors;
mod membership;
mod send;
mod socket;

pub(crate) use socket::UdpSocket;
use socket::{Datagram, OVERHEAD};
pub use socket::{Multicast, UdpOptions, UdpReceived, UdpSend};

pub(crate) const UDP_HEADER: usize = 8;

/// The bound sockets of each port.
#[derive(Debug, Default)]
pub(crate) struct UdpTable {
    by_port: BTreeMap<u16, Vec<SocketId>>,
    port_counter: u32,
}

impl Stack {
    /// Makes a UDP socket of IPv4.
    ///
    /// # Errors
    /// `ENFILE` when there are 2^32 sockets.
    pub fn udp_socket(&mut self) -> Result<SocketId, Errno> {
        self.insert_udp(Ipv4Addr::UNSPECIFIED.into())
    }

    /// Makes a UDP socket of IPv6, which takes addresses of IPv4, too.
    ///
    /// # Errors
    /// `ENFILE` when there are 2^32 sockets.
    pub fn udp_socket_v6(&mut self) -> Result<SocketId, Errno> {
        self.insert_udp(Ipv6Addr::UNSPECIFIED.into())
    }

    fn insert_udp(&mut self, any: IpAddr) -> Result<SocketId, Errno> {
        let socket = UdpSocket {
            options: UdpOptions::default(),
            local: SocketAddr::new(any, 0),
            any,
            is_bound: false,
            chose: (false, false),
            remote: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            error: None,
            errors: ErrorQueue::default(),
            reported: Events::OUT | Events::WRNORM,
            is_blocked: false,
            is_read_shut: false,
            is_write_shut: false,
            path_mtu: None,
            begun: None,
            groups: Vec::new(),
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
    pub fn udp_bind(&mut self, id: SocketId, at: SocketAddr) -> Result<(), Errno> {
        let address = at.ip();
        let is_ours = address.is_unspecified()
            || address.is_multicast()
            || self.out.routes.is_own(address)
            || self.out.routes.is_broadcast(address);
        let socket = self.udp(id)?;
        let is_ours = is_ours || socket.options.binds_freely;
        let sharing = socket.sharing();
        if socket.is_bound {
            return Err(Errno::EINVAL);
        }
        if !is_ours {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let chose = (!address.is_unspecified(), at.port() != 0);
        let mut at = at;
        if at.port() == 0 {
            self.udp.port_counter = self.udp.port_counter.wrapping_add(1);
            let offset = self.secret.port_offset(at, self.udp.port_counter);
            at.set_port(self.ports_udp.find_free(offset).ok_or(Errno::EADDRINUSE)?);
        }
        let bound = Bound {
            ip: address,
            ..self.udp(id)?.bound()
        };
        self.ports_udp.bind(id, bound, at.port(), sharing)?;
        self.udp.by_port.entry(at.port()).or_default().push(id);
        let socket = self.udp(id)?;
        socket.local = at;
        socket.chose = chose;
        socket.options.is_v6_only |= at.is_ipv6() && !address.is_unspecified();
        socket.is_bound = true;
        Ok(())
    }

    fn udp_autobind(&mut self, id: SocketId) -> Result<(), Errno> {
        if self.udp(id)?.is_bound {
            return Ok(());
        }
        let any = SocketAddr::new(self.udp(id)?.any, 0);
        self.udp_bind(id, any).map_err(|_| Errno::EAGAIN)
    }

    /// Sets the peer (`connect(2)`), or removes it.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EACCES` for a broadcast address without `SO_BROADCAST`, `EAGAIN` when no port is free.
    pub fn udp_connect(&mut self, id: SocketId, to: Option<SocketAddr>) -> Result<(), Errno> {
        let Some(to) = to else {
            return self.udp_disconnect(id);
        };
        let to = to_self_if_unspecified(to);
        let wish = self.udp(id)?.options.wish();
        let (path, source) = self.out.routes.route_for(wish, to.ip())?;
        let is_broadcast = self.out.routes.is_broadcast(to.ip());
        if is_broadcast && !self.udp(id)?.options.broadcasts {
            return Err(Errno::EACCES);
        }
        let own = self.udp(id)?.local.ip();
        if !is_source_on(path, own) {
            return Err(Errno::EINVAL);
        }
        self.udp_autobind(id)?;
        let socket = self.udp(id)?;
        if socket.local.ip().is_unspecified() {
            socket.local = with_ip(socket.local, source);
        }
        socket.remote = Some(to);
        Ok(())
    }

    /// Removes the peer, and of our own address what the program did not choose (`__udp_disconnect` of Linux).
    fn udp_disconnect(&mut self, id: SocketId) -> Result<(), Errno> {
        let socket = self.udp(id)?;
        socket.remote = None;
        let (chose_address, chose_port) = socket.chose;
        if !chose_address {
            socket.local = with_ip(socket.local, socket.any);
        }
        if !chose_port && socket.is_bound {
            let port = socket.local.port();
            socket.local.set_port(0);
            socket.is_bound = false;
            self.leave_port(id, port);
        }
        Ok(())
    }

    /// Gives a port back.
    fn leave_port(&mut self, id: SocketId, port: u16) {
        self.ports_udp.unbind(id, port);
        if let Some(here) = self.udp.by_port.get_mut(&port) {
            here.retain(|&other| other != id);
            if here.is_empty() {
                self.udp.by_port.remove(&port);
            }
        }
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
            at: datagram.at,
            tos: datagram.tos,
            ttl: datagram.ttl,
            copied,
            len: datagram.data.len(),
        };
        if !peeks {
            socket.queued_bytes -= datagram.data.len() + OVERHEAD;
            socket.queue.pop_front();
            mib::of(&mut self.out.mib.udp, received.source.ip()).in_datagrams += 1;
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

    /// Shuts down one or both directions (`shutdown(2)`): who waits is woken, also where there is no peer.
    ///
    /// # Errors
    /// `ENOTCONN`, and yet it is done (`inet_shutdown` of Linux).
    pub fn udp_shutdown(&mut self, id: SocketId, read: bool, write: bool) -> Result<(), Errno> {
        let socket = self.udp(id)?;
        socket.is_read_shut |= read;
        socket.is_write_shut |= write;
        let is_connected = socket.remote.is_some();
        self.report(id, Events::empty());
        if is_connected {
            Ok(())
        } else {
            Err(Errno::ENOTCONN)
        }
    }

    /// Returns the local address (`getsockname(2)`).
    ///
    /// # Errors
    /// `EBADF` for an id of no UDP socket, here as everywhere.
    pub fn udp_local(&mut self, id: SocketId) -> Result<SocketAddr, Errno> {
        Ok(self.udp(id)?.local)
    }

    /// Returns the peer (`getpeername(2)`).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn udp_remote(&mut self, id: SocketId) -> Result<SocketAddr, Errno> {
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
        let (sharing, device) = (socket.sharing(), socket.options.device);
        let port = socket.local.port();
        self.ports_udp.change(id, port, sharing, device);
        Ok(())
    }

    /// Closes a socket.
    pub(crate) fn udp_close(&mut self, id: SocketId) {
        if let Some(Socket::Udp(socket)) = self.sockets.remove(id) {
            for membership in &socket.groups {
                self.end_membership(membership);
            }
            self.leave_port(id, socket.local.port());
        }
    }

    pub(crate) fn udp_error(&mut self, id: SocketId) -> Option<Errno> {
        let error = self.udp(id).ok()?.error.take();
        self.report(id, Events::empty());
        error
    }

    /// Takes in a datagram, whose checksum is right.
    pub(crate) fn on_udp(&mut self, path: Path, ip: &Ip<'_>, packet: &[u8]) {
        let Ok(udp) = UdpPacket::new_checked(ip.payload) else {
            return;
        };
        let destination = ip.destination;
        let source = SocketAddr::new(ip.source, udp.src_port());
        let is_for_many = destination.is_multicast() || self.out.routes.is_broadcast(destination);
        if destination.is_multicast() && !self.is_heard(path, destination, ip.source) {
            return;
        }
        let local = SocketAddr::new(destination, udp.dst_port());
        let tuple = Tuple {
            local,
            remote: source,
        };
        let takers = if is_for_many {
            self.udp_takers(path, &tuple).map(|(_, id)| id).collect()
        } else {
            let best = self.udp_best(path, &tuple);
            if best.is_none() {
                mib::of(&mut self.out.mib.udp, ip.source).no_ports += 1;
                return self.tell_unwanted(path, packet);
            }
            Vec::from_iter(best)
        };
        if takers.is_empty() {
            mib::of(&mut self.out.mib.udp, ip.source).ignored_multicast += 1;
        }
        for id in takers {
            let Some(data) = self.copy_of(udp.payload()) else {
                let counters = mib::of(&mut self.out.mib.udp, ip.source);
                counters.no_memory += 1;
                counters.in_errors += 1;
                return;
            };
            let datagram = Datagram {
                source,
                destination,
                path,
                at: self.out.now,
                tos: ip.tos,
                ttl: ip.ttl,
                data,
            };
            if self.udp(id).is_ok_and(|s| s.push(datagram)) {
                self.report(id, Events::IN | Events::RDNORM);
            } else {
                let counters = mib::of(&mut self.out.mib.udp, ip.source);
                counters.queue_full += 1;
                counters.in_errors += 1;
            }
        }
    }

    /// Copies what came in, if there is memory for it beside what the owner keeps for itself.
    fn copy_of(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        if self.out.free_memory() < payload.len() + OVERHEAD {
            return None;
        }
        data.try_reserve_exact(payload.len()).ok()?;
        data.extend_from_slice(payload);
        Some(data)
    }
}

/// A destination that says nothing means ourselves, as on Linux.
pub(crate) fn to_self_if_unspecified(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => with_ip(to, Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => with_ip(to, Ipv6Addr::LOCALHOST.into()),
        _ => to,
    }
}
