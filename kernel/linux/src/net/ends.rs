//! Addresses that programs give to internet sockets: what each kind of socket takes.

use core::net::{IpAddr, SocketAddr};

use tyn_abi::Errno;
use tyn_abi::socket::AF_INET;

use super::address::{Family, Given, decode_v4, decode_v4_or_any};
use super::inet::{InetSocket, Protocol};
use super::inspect;

/// `AF_INET` as it begins a `struct sockaddr_in`.
const V4: [u8; 2] = AF_INET.to_le_bytes();

impl InetSocket {
    pub(super) fn is_v6_only(&self) -> bool {
        inspect(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_options(self.id).map(|o| o.is_v6_only),
            Protocol::Udp => stack.udp_options(self.id).map(|o| o.is_v6_only),
        })
        .unwrap_or(false)
    }

    /// Returns whether the socket is bound to a link-local address, and thereby to the card.
    fn is_link_local(&self) -> bool {
        let local = inspect(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_local(self.id),
            Protocol::Udp => stack.udp_local(self.id),
        });
        matches!(local.map(|at| at.ip()), Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local())
    }

    /// Decodes an address to bind to.
    pub(super) fn decode_own(&self, address: &[u8]) -> Result<SocketAddr, Errno> {
        if self.family == Family::V4 {
            return decode_v4_or_any(address, true);
        }
        let at = Given::decode(address)?.scoped()?.at;
        if at.is_ipv4() && self.is_v6_only() {
            return Err(Errno::EINVAL);
        }
        Ok(at)
    }

    /// Decodes a peer's address. Datagram sockets of IPv6 take `struct sockaddr_in`, too.
    pub(super) fn decode_peer(&self, address: &[u8], connects: bool) -> Result<SocketAddr, Errno> {
        if self.family == Family::V4 {
            return match connects {
                true => decode_v4(address),
                false => decode_v4_or_any(address, false),
            };
        }
        let given_as_v4 = self.protocol == Protocol::Udp && address.first_chunk() == Some(&V4);
        let at = if given_as_v4 {
            if connects && self.is_v6_only() {
                return Err(Errno::EAFNOSUPPORT);
            }
            decode_v4(address)?
        } else {
            let given = Given::decode(address)?;
            match given.scoped() {
                // The scope is that of our own address.
                Err(Errno::EINVAL) if self.is_link_local() => given.at,
                scoped if connects => scoped?.at,
                _ => given.at,
            }
        };
        if at.is_ipv4() && self.is_v6_only() {
            return Err(Errno::ENETUNREACH);
        }
        Ok(at)
    }
}
