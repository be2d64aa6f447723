//! Which addresses are ours, and which way leads to others.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tyn_abi::{Errno, Nanos};

use crate::neighbor::Routers;
use crate::types::{Cidr6, Lease, Path};

/// Addresses and networks of one kind that are kept.
const MOST: usize = 8;

/// Something that a router told, and until when it holds; `None` for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timed<T> {
    pub(crate) value: T,
    pub(crate) until: Option<Nanos>,
}

/// The card's IPv6 configuration.
#[derive(Debug, Default)]
pub(crate) struct Ipv6 {
    pub(crate) link_local: Option<Ipv6Addr>,
    pub(crate) addresses: Vec<Timed<Cidr6>>,
    /// Networks whose hosts are on the link.
    pub(crate) networks: Vec<Timed<Cidr6>>,
    pub(crate) router: Option<Timed<Ipv6Addr>>,
    pub(crate) dns: Vec<Ipv6Addr>,
}

/// Notes a value, or how long it holds from now on; what is noted already goes first when there is no room.
pub(crate) fn note(list: &mut Vec<Timed<Cidr6>>, new: Timed<Cidr6>) -> bool {
    if let Some(old) = list.iter_mut().find(|old| old.value == new.value) {
        old.until = new.until;
        return false;
    }
    let has_room = list.len() < MOST;
    if has_room {
        list.push(new);
    }
    has_room
}

impl Ipv6 {
    fn own(&self) -> impl Iterator<Item = Ipv6Addr> {
        let global = self.addresses.iter().map(|a| a.value.address);
        self.link_local.into_iter().chain(global)
    }

    /// Lists our addresses.
    pub(crate) fn with_prefixes(&self) -> Vec<Cidr6> {
        const LINK_PREFIX: u8 = 64;
        let link_local = self.link_local.map(|address| Cidr6 {
            address,
            prefix: LINK_PREFIX,
        });
        let global = self.addresses.iter().map(|a| a.value);
        global.chain(link_local).collect()
    }

    pub(crate) fn is_own(&self, address: Ipv6Addr) -> bool {
        self.own().any(|own| own == address)
    }

    pub(crate) fn is_on_link(&self, address: Ipv6Addr) -> bool {
        address.is_unicast_link_local() || self.networks.iter().any(|n| n.value.contains(address))
    }

    /// Returns whether a neighbour solicitation for one of our addresses goes to this group (RFC 4291 §2.7.1).
    pub(crate) fn is_in_group(&self, group: Ipv6Addr) -> bool {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        group == ALL_NODES || self.own().any(|own| solicited_node(own) == group)
    }

    /// Returns our address for packets to `destination`: one of its network if there is one (RFC 6724, as far as it
    /// matters with one card).
    fn source_for(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        let is_local = destination.is_unicast_link_local() || is_link_local_group(destination);
        if is_local {
            return self.link_local;
        }
        let mut addresses = self.addresses.iter().map(|a| a.value);
        let first = addresses.clone().next();
        let same = addresses.find(|a| a.contains(destination));
        same.or(first).map(|a| a.address)
    }

    fn next_hop(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        if destination.is_multicast() || self.is_on_link(destination) {
            return Some(destination);
        }
        self.router.map(|router| router.value)
    }

    /// Forgets what has run out; returns whether there was something.
    pub(crate) fn expire(&mut self, now: Nanos) -> bool {
        let is_over = |until: Option<Nanos>| until.is_some_and(|at| at <= now);
        let before = (self.addresses.len(), self.networks.len(), self.router);
        self.addresses.retain(|a| !is_over(a.until));
        self.networks.retain(|n| !is_over(n.until));
        self.router = self.router.filter(|r| !is_over(r.until));
        before != (self.addresses.len(), self.networks.len(), self.router)
    }

    /// Returns when something runs out.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        let lists = self.addresses.iter().chain(&self.networks);
        let untils = lists.filter_map(|timed| timed.until);
        untils.chain(self.router.and_then(|r| r.until)).min()
    }
}

fn is_link_local_group(address: Ipv6Addr) -> bool {
    address.is_multicast() && address.segments()[0] & 0xf <= 2
}

/// Returns the group in which a host listens for solicitations of its address.
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a & 0xff, b)
}

/// What a socket wants of routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// The one interface, if it is bound to one.
    pub(crate) device: Option<Path>,
    /// Only neighbours are reached.
    pub(crate) avoids_routers: bool,
}

/// All that is known of addresses.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) lease: Option<Lease>,
    pub(crate) v6: Ipv6,
    pub(crate) has_v6: bool,
}

impl Routes {
    /// Returns whether packets to `address` are for us.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => ip.is_loopback() || self.own_v4() == Some(ip),
            IpAddr::V6(ip) => ip.is_loopback() || self.v6.is_own(ip),
        }
    }

    pub(crate) fn own_v4(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().map(|l| l.address.address)
    }

    /// Returns whether `address` means every host on the card's network.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        let of_network = self.lease.as_ref().and_then(|l| l.address.broadcast());
        address.is_broadcast() || of_network == Some(address)
    }

    /// Returns which way leads to `destination`, and our address on that way.
    ///
    /// # Errors
    /// `ENETUNREACH`.
    pub(crate) fn route(&self, destination: IpAddr) -> Result<(Path, IpAddr), Errno> {
        if destination.is_loopback() {
            let own = match destination {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => destination,
            };
            return Ok((Path::Loopback, own));
        }
        if self.is_own(destination) {
            return Ok((Path::Loopback, destination));
        }
        self.route_by_card(destination)
    }

    fn route_by_card(&self, destination: IpAddr) -> Result<(Path, IpAddr), Errno> {
        let source = match destination {
            IpAddr::V4(_) => self.own_v4().map(IpAddr::V4),
            IpAddr::V6(ip) => self.v6.source_for(ip).map(IpAddr::V6),
        };
        match (source, self.next_hop(destination)) {
            (Some(source), Some(_)) => Ok((Path::Nic, source)),
            _ => Err(Errno::ENETUNREACH),
        }
    }

    /// As [`Routes::route`], by one interface alone (`SO_BINDTODEVICE`). As on Linux everything that goes by the loopback
    /// interface arrives.
    ///
    /// # Errors
    /// `ENETUNREACH`.
    pub(crate) fn route_by(
        &self,
        device: Option<Path>,
        destination: IpAddr,
    ) -> Result<(Path, IpAddr), Errno> {
        let is_own = self.is_own(destination);
        match (device, destination) {
            (None, _) => self.route(destination),
            (Some(Path::Loopback), _) if destination.is_loopback() => self.route(destination),
            (Some(Path::Loopback), IpAddr::V4(_)) => {
                let source = self.own_v4().unwrap_or(Ipv4Addr::LOCALHOST);
                Ok((Path::Loopback, source.into()))
            }
            (Some(Path::Loopback), IpAddr::V6(_)) => Err(Errno::ENETUNREACH),
            (Some(Path::Nic), _) if is_own && !destination.is_loopback() => self.route(destination),
            (Some(Path::Nic), _) => self.route_by_card(destination),
        }
    }

    /// As [`Routes::route_by`], for a socket that says what it wants of routes.
    ///
    /// # Errors
    /// `ENETUNREACH`.
    pub(crate) fn route_for(
        &self,
        wish: Wish,
        destination: IpAddr,
    ) -> Result<(Path, IpAddr), Errno> {
        let (path, source) = self.route_by(wish.device, destination)?;
        let is_direct = path == Path::Loopback || self.next_hop(destination) == Some(destination);
        // IPv6 knows nothing of it, as on Linux.
        if wish.avoids_routers && destination.is_ipv4() && !is_direct {
            return Err(Errno::ENETUNREACH);
        }
        Ok((path, source))
    }

    /// Returns the interface by which a packet to us counts as received: what we send to ourselves came by the one whose
    /// address it is for.
    pub(crate) fn device_of(&self, path: Path, destination: IpAddr) -> Path {
        if path == Path::Loopback && (destination.is_loopback() || !self.is_own(destination)) {
            Path::Loopback
        } else {
            Path::Nic
        }
    }

    /// Returns the host to hand a packet to: a broadcast or multicast address stands for itself.
    pub(crate) fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        let destination = match destination {
            IpAddr::V6(ip) => return self.v6.next_hop(ip).map(IpAddr::V6),
            IpAddr::V4(ip) => ip,
        };
        let lease = self.lease.as_ref()?;
        let is_direct = destination.is_broadcast()
            || destination.is_multicast()
            || lease.address.contains(destination);
        let hop = if is_direct {
            Some(destination)
        } else {
            lease.gateway
        };
        hop.map(IpAddr::V4)
    }

    /// Returns the routers that are used.
    pub(crate) fn routers(&self) -> Routers {
        let v4 = self.lease.as_ref().and_then(|lease| lease.gateway);
        let v6 = self.v6.router.map(|router| router.value);
        [v4.map(IpAddr::V4), v6.map(IpAddr::V6)]
    }

    /// Returns the name servers, those of DHCP first.
    pub(crate) fn resolvers(&self) -> Vec<IpAddr> {
        let v4 = self.lease.iter().flat_map(|l| l.dns.iter().copied());
        let v6 = self.v6.dns.iter().copied().map(IpAddr::V6);
        v4.map(IpAddr::V4).chain(v6).collect()
    }
}

/// Returns whether packets from an address of ours may go this way: 127.0.0.0/8 never leaves the host
/// (`__mkroute_output` of Linux).
pub(crate) fn is_source_on(path: Path, source: IpAddr) -> bool {
    path == Path::Loopback || !(source.is_ipv4() && source.is_loopback())
}
