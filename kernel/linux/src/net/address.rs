//! `struct sockaddr_in` and `struct sockaddr_in6` (`ip(7)`, `ipv6(7)`).
//!
//! The stack knows addresses of one family each; a socket of IPv6 that speaks IPv4 shows its addresses as IPv6's
//! `::ffff:a.b.c.d`. Link-local addresses have the card as their scope, the only place where they can be.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tyn_abi::Errno;
use tyn_abi::socket::{AF_INET, AF_INET6};

/// Address family "none": dissolves an association (`connect(2)`).
const AF_UNSPEC: u16 = 0;
/// Interface number of the loopback interface.
pub(super) const LOOPBACK: u32 = 1;
/// Interface number of the card.
pub(super) const CARD: u32 = 2;
/// Length of `struct sockaddr_in`.
const LENGTH_V4: usize = 16;
/// Length of `struct sockaddr_in6`, and without its last field, which RFC 2133 did not have.
const LENGTH_V6: usize = 28;
const LEAST_LENGTH_V6: usize = 24;

/// The family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns its number.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }
}

fn family_of(address: &[u8]) -> Option<u16> {
    address.first_chunk().map(|f| u16::from_le_bytes(*f))
}

/// Returns whether an address says `AF_UNSPEC`.
pub(super) fn is_unspecified(address: &[u8]) -> bool {
    family_of(address) == Some(AF_UNSPEC)
}

/// Decodes a `struct sockaddr_in`.
///
/// # Errors
/// `EINVAL` when it is too short, `EAFNOSUPPORT`.
pub(super) fn decode_v4(address: &[u8]) -> Result<SocketAddr, Errno> {
    decode_v4_if(address, |family, _| family == AF_INET)
}

/// The same of who may leave the family out: to send, and to bind to any address (`udp_sendmsg` and `__inet_bind` of Linux).
///
/// # Errors
/// As [`decode_v4`].
pub(super) fn decode_v4_or_any(address: &[u8], binds: bool) -> Result<SocketAddr, Errno> {
    decode_v4_if(address, |family, ip| match family {
        AF_UNSPEC => !binds || ip.is_unspecified(),
        family => family == AF_INET,
    })
}

fn decode_v4_if(
    address: &[u8],
    is_taken: impl FnOnce(u16, Ipv4Addr) -> bool,
) -> Result<SocketAddr, Errno> {
    let Some(&[_, _, p0, p1, a, b, c, d]) = address.first_chunk() else {
        return Err(Errno::EINVAL);
    };
    if address.len() < LENGTH_V4 {
        return Err(Errno::EINVAL);
    }
    let ip = Ipv4Addr::new(a, b, c, d);
    if !family_of(address).is_some_and(|family| is_taken(family, ip)) {
        return Err(Errno::EAFNOSUPPORT);
    }
    Ok(SocketAddr::new(ip.into(), u16::from_be_bytes([p0, p1])))
}

/// An address given to a socket of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Given {
    /// The address; of IPv4 if it was given as `::ffff:a.b.c.d`.
    pub(super) at: SocketAddr,
    scope: u32,
}

impl Given {
    /// Decodes a `struct sockaddr_in6`.
    ///
    /// # Errors
    /// `EINVAL` when it is too short, `EAFNOSUPPORT`.
    pub(super) fn decode(address: &[u8]) -> Result<Self, Errno> {
        if address.len() < LEAST_LENGTH_V6 {
            return Err(Errno::EINVAL);
        }
        if family_of(address) != Some(AF_INET6) {
            return Err(Errno::EAFNOSUPPORT);
        }
        let port = address.get(2..4).and_then(|p| p.first_chunk());
        let ip = address.get(8..24).and_then(|a| a.first_chunk::<16>());
        let scope = address.get(24..28).and_then(|s| s.first_chunk());
        let ip = Ipv6Addr::from(*ip.ok_or(Errno::EINVAL)?);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        Ok(Self {
            at: SocketAddr::new(ip, port.map_or(0, |p| u16::from_be_bytes(*p))),
            scope: scope.map_or(0, |s| u32::from_le_bytes(*s)),
        })
    }

    /// Checks that a link-local address says where it is.
    ///
    /// # Errors
    /// `EINVAL` when it does not, `ENODEV` for a place that has none.
    pub(super) fn scoped(self) -> Result<Self, Errno> {
        match (self.at.ip(), self.scope) {
            (IpAddr::V6(ip), 0) if ip.is_unicast_link_local() => Err(Errno::EINVAL),
            (IpAddr::V6(ip), scope) if ip.is_unicast_link_local() && scope != CARD => {
                Err(Errno::ENODEV)
            }
            _ => Ok(self),
        }
    }
}

/// Returns an address as a socket of IPv6 shows it.
pub(super) fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Encodes an address for a socket of this family.
pub(super) fn encode(family: Family, address: SocketAddr) -> Vec<u8> {
    let mut bytes = family.number().to_le_bytes().to_vec();
    bytes.extend(address.port().to_be_bytes());
    match (family, address.ip()) {
        (Family::V4, IpAddr::V4(ip)) => {
            bytes.extend(ip.octets());
            bytes.resize(LENGTH_V4, 0);
        }
        (_, ip) => {
            let ip = as_v6(ip);
            let scope = if ip.is_unicast_link_local() { CARD } else { 0 };
            bytes.extend([0; 4]);
            bytes.extend(ip.octets());
            bytes.extend(scope.to_le_bytes());
            debug_assert_eq!(bytes.len(), LENGTH_V6);
        }
    }
    bytes
}
