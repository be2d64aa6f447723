//! A UDP socket: what it was told, and its queue of datagrams.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use tyn_abi::{Errno, Events, Nanos};

use crate::errors::ErrorQueue;
use crate::fragment::MtuDiscovery;
use crate::multicast::filter::Membership;
use crate::ports::{Bound, Sharing};
use crate::routes::{Wish, is_source_on};
use crate::types::{Path, is_unicast_ip};

/// What a queued datagram costs beside its bytes.
pub(super) const OVERHEAD: usize = 256;

/// Options of a UDP socket (`udp(7)`, `socket(7)`, `ip(7)`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// `SO_REUSEADDR`.
    pub reuses_address: bool,
    /// `SO_REUSEPORT`: datagrams are spread over all that are bound so.
    pub reuses_port: bool,
    /// `SO_BINDTODEVICE`: packets go and come by this interface alone.
    pub device: Option<Path>,
    /// `SO_DONTROUTE`: no router is used to reach hosts of IPv4.
    pub avoids_routers: bool,
    /// `IP_FREEBIND`, `IP_TRANSPARENT`: it may be bound to an address that is not ours.
    pub binds_freely: bool,
    /// `SO_BROADCAST`.
    pub broadcasts: bool,
    /// `IP_RECVERR` and `IPV6_RECVERR`: errors of either are told also without a peer, and queued.
    pub asks_for_errors: [bool; 2],
    /// `IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER`.
    pub mtu_discovery: [MtuDiscovery; 2],
    /// `IPV6_MTU`: the greatest packet of IPv6 that is not split, unless 0.
    pub longest_v6: usize,
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
    /// Multicast of IPv4.
    pub v4: Multicast,
    /// Multicast of IPv6.
    pub v6: Multicast,
    /// Bytes that may be queued, with an allowance for each datagram.
    pub receive_buffer: usize,
    /// `UDP_CORK`: what is sent belongs to one datagram.
    pub is_corked: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            reuses_address: false,
            reuses_port: false,
            device: None,
            avoids_routers: false,
            asks_for_errors: [false; 2],
            mtu_discovery: [MtuDiscovery::Want; 2],
            longest_v6: 0,
            binds_freely: false,
            broadcasts: false,
            is_v6_only: false,
            tos: 0,
            traffic_class: 0,
            ttl: 64,
            multicast_ttl: 1,
            v4: Multicast::default(),
            v6: Multicast::default(),
            receive_buffer: 212_992,
            is_corked: false,
        }
    }
}

/// What a socket does with multicast of one family (`ip(7)`, `ipv6(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Multicast {
    /// `IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`; `None` for the way that routes say.
    pub path: Option<Path>,
    /// Our address that `IP_MULTICAST_IF` named, if it did.
    pub address: Option<Ipv4Addr>,
    /// `IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`: members on this host hear what goes out.
    pub loops: bool,
    /// `IP_MULTICAST_ALL`, `IPV6_MULTICAST_ALL`: it hears groups that others have joined, too.
    pub hears_all: bool,
}

impl Default for Multicast {
    fn default() -> Self {
        Self {
            path: None,
            address: None,
            loops: true,
            hears_all: true,
        }
    }
}

impl UdpOptions {
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            device: self.device,
            avoids_routers: self.avoids_routers,
        }
    }

    pub(crate) fn discovery(&self, is_v6: bool) -> MtuDiscovery {
        let [v4, v6] = self.mtu_discovery;
        if is_v6 { v6 } else { v4 }
    }

    pub(crate) fn multicast(&self, group: IpAddr) -> &Multicast {
        if group.is_ipv4() { &self.v4 } else { &self.v6 }
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
    /// No router is used to reach a host of IPv4 (`MSG_DONTROUTE`).
    pub avoids_routers: bool,
    /// A datagram of IPv6 is not split (`IPV6_DONTFRAG`).
    pub never_splits: bool,
    /// More bytes of the same datagram follow (`MSG_MORE`).
    pub has_more: bool,
    /// When it is too long for that, the socket notes what would have passed (`IPV6_RECVPATHMTU`).
    pub tells_mtu: bool,
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
    pub(super) at: Nanos,
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
    /// When it came.
    pub at: Nanos,
    /// The IP header's type of service.
    pub tos: u8,
    /// The IP header's time to live.
    pub ttl: u8,
    /// Bytes that were stored.
    pub copied: usize,
    /// Bytes that it had.
    pub len: usize,
}

/// The beginning of a datagram, and how it is to be sent.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) how: UdpSend,
    pub(super) data: Vec<u8>,
}

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    pub(crate) options: UdpOptions,
    pub(super) local: SocketAddr,
    /// The address of its family that stands for any one.
    pub(super) any: IpAddr,
    pub(super) is_bound: bool,
    /// The program chose the address, and the port, by `bind`.
    pub(super) chose: (bool, bool),
    pub(super) remote: Option<SocketAddr>,
    pub(super) queue: VecDeque<Datagram>,
    pub(crate) queued_bytes: usize,
    pub(super) error: Option<Errno>,
    pub(crate) errors: ErrorQueue,
    pub(crate) reported: Events,
    /// Its last datagram found no room.
    pub(crate) is_blocked: bool,
    pub(super) is_read_shut: bool,
    pub(super) is_write_shut: bool,
    /// Where a datagram was to go that was too long, and what would have passed.
    pub(super) path_mtu: Option<(IpAddr, usize)>,
    /// The beginning of a datagram of which more follows.
    pub(super) begun: Option<Begun>,
    /// The groups that it joined, and where; the latest is the last.
    pub(super) groups: Vec<Membership>,
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
        if self.error.is_some() || !self.errors.is_empty() {
            events |= Events::ERR;
        }
        events
    }

    /// Returns the bytes that it holds.
    pub(crate) fn memory(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |begun| begun.data.len());
        self.queued_bytes + self.errors.bytes + begun
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.any.is_ipv6()
    }

    /// Returns the host that it is connected to.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.remote.map(|at| at.ip())
    }

    /// Returns what it is bound to.
    pub(super) fn bound(&self) -> Bound {
        Bound {
            ip: self.local.ip(),
            is_v6_only: self.options.is_v6_only,
            device: self.options.device,
        }
    }

    pub(super) fn sharing(&self) -> Sharing {
        Sharing {
            address: self.options.reuses_address,
            port: self.options.reuses_port,
        }
    }

    /// Returns how well the socket fits a packet that came by an interface (`compute_score` of Linux's `udp.c`).
    pub(super) fn accepts(
        &self,
        (path, device): (Path, Path),
        destination: IpAddr,
        source: SocketAddr,
    ) -> Option<u8> {
        let bound = self.bound();
        let fit = bound.fit(destination).filter(|_| bound.takes(device))?;
        if destination.is_multicast() && !self.hears(path, destination, source.ip()) {
            return None;
        }
        match self.remote {
            Some(remote) if remote != source => None,
            remote => Some(
                u8::from(fit > 0)
                    + 4 * u8::from(fit == 2)
                    + 4 * u8::from(bound.device.is_some())
                    + 8 * u8::from(remote.is_some()),
            ),
        }
    }

    /// Returns whether it takes what a source sends to a group that the interface is a member of (`ip_mc_sf_allow` of
    /// Linux; in `inet6_mc_check` the latest membership counts, on whichever interface).
    fn hears(&self, path: Path, group: IpAddr, source: IpAddr) -> bool {
        let is_it = |m: &&Membership| m.group == group && (group.is_ipv6() || m.path == path);
        match self.groups.iter().rev().find(is_it) {
            Some(membership) => membership.filter.allows(source),
            None => self.options.multicast(group).hears_all,
        }
    }

    /// Returns the header of a datagram; `route` is the way to `to`, and our address on it.
    pub(super) fn header(
        &self,
        how: &UdpSend,
        to: SocketAddr,
        (path, route): (Path, IpAddr),
    ) -> Result<Header, Errno> {
        let source = match how.source.unwrap_or(self.local.ip()) {
            bound if !is_unicast_ip(bound) => route,
            bound if bound.is_ipv4() != route.is_ipv4() => return Err(Errno::ENETUNREACH),
            bound if !is_source_on(path, bound) => return Err(Errno::EINVAL),
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
        let has_room = self.queued_bytes + cost <= self.options.receive_buffer.max(2304);
        if !has_room || self.queue.try_reserve(1).is_err() {
            return false;
        }
        self.queued_bytes += cost;
        self.queue.push_back(datagram);
        true
    }
}
