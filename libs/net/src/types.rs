//! The small types that the stack hands out and takes.

use alloc::vec::{self, Vec};
use core::cmp::Ordering;
use core::iter::Chain;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::option;

use tyn_abi::Events;

/// Names a socket for as long as it is open. Never reused for another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId {
    /// Place in the owner's tables; reused.
    pub index: u32,
    /// Tells successive users of a place apart.
    pub generation: u32,
}

/// Events of a socket have become true (or more of what made them true has come).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// Whose.
    pub socket: SocketId,
    /// Which, among others that may be true already.
    pub events: Events,
}

/// Wakes in order. Most turns have one at most, which takes no memory.
#[derive(Debug, Default)]
pub struct Wakes {
    first: Option<Wake>,
    rest: Vec<Wake>,
}

impl Wakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn push(&mut self, wake: Wake) {
        if self.first.is_none() {
            self.first = Some(wake);
        } else {
            self.rest.push(wake);
        }
    }
}

impl IntoIterator for Wakes {
    type Item = Wake;
    type IntoIter = Chain<option::IntoIter<Wake>, vec::IntoIter<Wake>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// Both ends of a TCP connection, of one family. IPv6 addresses have neither scope nor flow.
///
/// Tuples are in order of their ports first, the peer's before ours: tables are searched with each segment, and what differs
/// most, and is compared fastest, comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

impl Ord for Tuple {
    fn cmp(&self, other: &Self) -> Ordering {
        let ports = |tuple: &Self| (tuple.remote.port(), tuple.local.port());
        let addresses = |tuple: &Self| (tuple.remote.ip(), tuple.local.ip());
        ports(self)
            .cmp(&ports(other))
            .then_with(|| addresses(self).cmp(&addresses(other)))
    }
}

impl PartialOrd for Tuple {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Tuple {
    /// Returns the tuple as the peer sees it.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Path {
    /// Through the network card.
    Nic,
    /// Back to ourselves.
    Loopback,
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    /// The address.
    pub address: Ipv4Addr,
    /// Prefix length in bits, at most 32.
    pub prefix: u8,
}

impl Cidr {
    /// Returns the mask of the prefix.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        let bits = u32::MAX
            .checked_shl(32 - u32::from(self.prefix.min(32)))
            .unwrap_or(0);
        Ipv4Addr::from(bits)
    }

    /// Returns whether `address` lies in the network.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let mask = u32::from(self.mask());
        u32::from(self.address) & mask == u32::from(address) & mask
    }

    /// Returns the network's broadcast address; networks of one or two addresses have none.
    #[must_use]
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        (self.prefix < 31)
            .then(|| Ipv4Addr::from(u32::from(self.address) | !u32::from(self.mask())))
    }
}

/// Where the card's address comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IpConfig {
    /// It has none.
    Off,
    /// From a DHCP server (RFC 2131).
    Dhcp,
    /// From whoever started us.
    Static(Lease),
}

/// How the card is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its address.
    pub address: Cidr,
    /// The router for everything outside its network.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers, for `/etc/resolv.conf`.
    pub dns: Vec<Ipv4Addr>,
}

impl Lease {
    /// Returns whether the addresses can be used: unicast, and a router that is on the network.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let own = self.address;
        is_unicast(own.address)
            && !own.address.is_loopback()
            && own.prefix <= 32
            && own.broadcast() != Some(own.address)
            && self.gateway.is_none_or(|g| {
                is_unicast(g) && g != own.address && own.contains(g) && own.broadcast() != Some(g)
            })
    }
}

/// An IPv6 address with the length of its network's prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr6 {
    /// The address.
    pub address: Ipv6Addr,
    /// Prefix length in bits, at most 128.
    pub prefix: u8,
}

impl Cidr6 {
    /// Returns whether `address` lies in the network.
    #[must_use]
    pub fn contains(self, address: Ipv6Addr) -> bool {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(self.prefix.min(128)))
            .unwrap_or(0);
        u128::from(self.address) & mask == u128::from(address) & mask
    }
}

/// Where the card's IPv6 addresses come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ip6Config {
    /// It has none.
    Off,
    /// From itself and from routers (RFC 4862).
    Auto,
    /// From whoever started us, beside the link-local one.
    Static {
        /// Its address.
        address: Cidr6,
        /// The router for everything outside its network.
        gateway: Option<Ipv6Addr>,
        /// Name servers.
        dns: Vec<Ipv6Addr>,
    },
}

/// Returns whether an address can name one host.
#[must_use]
pub const fn is_unicast_ip(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_unicast(address),
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
    }
}

/// Returns whether an address can name one host (class E is left to the network to refuse).
#[must_use]
pub const fn is_unicast(address: Ipv4Addr) -> bool {
    !address.is_broadcast() && !address.is_multicast() && !address.is_unspecified()
}

/// The card's configuration changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigEvent {
    /// It has an address.
    Up(Lease),
    /// It has lost it.
    Down,
    /// Its IPv6 addresses, routers or name servers have changed.
    Changed6,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(prefix: u8) -> Cidr {
        Cidr {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix,
        }
    }

    #[test]
    fn masks_cover_every_prefix() {
        assert_eq!(cidr(0).mask(), Ipv4Addr::UNSPECIFIED);
        assert_eq!(cidr(24).mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(cidr(32).mask(), Ipv4Addr::BROADCAST);
        assert!(cidr(0).contains(Ipv4Addr::new(8, 8, 8, 8)));
        assert!(cidr(24).contains(Ipv4Addr::new(10, 0, 2, 2)));
        assert!(!cidr(24).contains(Ipv4Addr::new(10, 0, 3, 2)));
        assert!(!cidr(32).contains(Ipv4Addr::new(10, 0, 2, 14)));
        assert_eq!(cidr(24).broadcast(), Some(Ipv4Addr::new(10, 0, 2, 255)));
        assert_eq!(cidr(31).broadcast(), None);
    }

    #[test]
    fn leases_with_impossible_addresses_are_refused() {
        let lease = |address, prefix, gateway: Option<[u8; 4]>| Lease {
            address: Cidr {
                address: Ipv4Addr::from(address),
                prefix,
            },
            gateway: gateway.map(Ipv4Addr::from),
            dns: Vec::new(),
        };
        assert!(lease([10, 0, 2, 15], 24, Some([10, 0, 2, 2])).is_usable());
        assert!(lease([10, 0, 2, 15], 24, None).is_usable());
        for address in [
            [0, 0, 0, 0],
            [255; 4],
            [224, 0, 0, 1],
            [127, 0, 0, 1],
            [10, 0, 2, 255],
        ] {
            assert!(!lease(address, 24, None).is_usable(), "{address:?}");
        }
        for gateway in [
            [0, 0, 0, 0],
            [255; 4],
            [224, 0, 0, 1],
            [10, 0, 2, 15],
            [10, 0, 3, 1],
            [10, 0, 2, 255],
        ] {
            assert!(
                !lease([10, 0, 2, 15], 24, Some(gateway)).is_usable(),
                "{gateway:?}"
            );
        }
    }
}
