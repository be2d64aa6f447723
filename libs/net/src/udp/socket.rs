//! A UDP socket: what it was told, and its queue of datagrams.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use tyn_abi::{Errno, Events};

use crate::ports::Bound;
use crate::types::{Path, is_unicast_ip};

/// What a queued datagram costs beside its bytes.
pub(super) const OVERHEAD: usize = 256;

/// Options of a UDP socket (`udp(7)`, `socket(7)`, `ip(7)`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// `SO_REUSEADDR`.
    pub reuses_address: bool,
    /// `SO_BROADCAST`.
    pub broadcasts: bool,
    /// `IPV6_V6ONLY`: `::` does not stand for IPv4 as well.
    pub is_v6_only: bool,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`, never 0.
    pub ttl: u8,
    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`.
    pub multicast_ttl: u8,
    /// Bytes that may be queued, with an allowance for each datagram.
    pub receive_buffer: usize,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            reuses_address: false,
            broadcasts: false,
            is_v6_only: false,
            tos: 0,
            traffic_class: 0,
            ttl: 64,
            multicast_ttl: 1,
            receive_buffer: 212_992,
        }
    }
}

/// How a datagram is sent, where it differs from what the socket says (`ip(7)`, `ipv6(7)`: control messages).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UdpSend {
    /// Destination, instead of the peer.
    pub to: Option<SocketAddr>,
    /// Our address.
    pub source: Option<IpAddr>,
    /// Type of service or traffic class.
    pub tos: Option<u8>,
    /// Time to live or hop limit.
    pub ttl: Option<u8>,
}

/// What stands in the headers of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) source: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
}

#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) destination: IpAddr,
    pub(super) path: Path,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) data: Vec<u8>,
}

/// A datagram that was received, beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpReceived {
    /// The sender.
    pub source: SocketAddr,
    /// The address it was sent to.
    pub destination: IpAddr,
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
    pub(super) options: UdpOptions,
    pub(super) local: SocketAddr,
    /// The address of its family that stands for any one.
    pub(super) any: IpAddr,
    pub(super) is_bound: bool,
    /// The program chose the address, and the port, by `bind`.
    pub(super) chose: (bool, bool),
    pub(super) remote: Option<SocketAddr>,
    pub(super) queue: VecDeque<Datagram>,
    pub(super) queued_bytes: usize,
    pub(super) error: Option<Errno>,
    pub(crate) reported: Events,
    /// Its last datagram found no room.
    pub(crate) is_blocked: bool,
    pub(super) is_read_shut: bool,
    pub(super) is_write_shut: bool,
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

    /// Returns how well the socket fits a packet.
    pub(super) fn accepts(
        &self,
        destination: IpAddr,
        source: SocketAddr,
        is_unicast: bool,
    ) -> Option<u8> {
        let bound = Bound {
            ip: self.local.ip(),
            is_v6_only: self.options.is_v6_only,
        };
        let same_family = bound.ip.is_ipv4() == destination.is_ipv4();
        let fit = match bound.fit(destination) {
            Some(fit) => fit,
            // Who is bound to an address of the network hears what is for all.
            None if !is_unicast && same_family && is_unicast_ip(bound.ip) => 0,
            None => return None,
        };
        match self.remote {
            Some(remote) if remote != source => None,
            remote => Some(fit + 3 * u8::from(remote.is_some())),
        }
    }

    /// Returns the header of a datagram; `route` is our address on the way to `to`.
    pub(super) fn header(
        &self,
        how: &UdpSend,
        to: SocketAddr,
        route: IpAddr,
    ) -> Result<Header, Errno> {
        let source = match how.source.unwrap_or(self.local.ip()) {
            bound if !is_unicast_ip(bound) => route,
            bound if bound.is_ipv4() != route.is_ipv4() => return Err(Errno::ENETUNREACH),
            bound if bound.is_ipv4() && bound.is_loopback() != route.is_loopback() => {
                return Err(Errno::EINVAL);
            }
            bound => bound,
        };
        let options = &self.options;
        let tos = match to.ip() {
            IpAddr::V4(_) => options.tos,
            IpAddr::V6(_) => options.traffic_class,
        };
        let ttl = if to.ip().is_multicast() {
            options.multicast_ttl
        } else {
            options.ttl
        };
        Ok(Header {
            source: SocketAddr::new(source, self.local.port()),
            to,
            tos: how.tos.unwrap_or(tos),
            ttl: how.ttl.unwrap_or(ttl),
        })
    }

    pub(super) fn push(&mut self, datagram: Datagram) -> bool {
        let cost = datagram.data.len() + OVERHEAD;
        if self.is_read_shut || self.queued_bytes + cost > self.options.receive_buffer.max(2304) {
            return false;
        }
        self.queued_bytes += cost;
        self.queue.push_back(datagram);
        true
    }
}
