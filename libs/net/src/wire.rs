//! Headers of IPv4 and IPv6 packets, read and written alike.

use core::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpPacket, UdpPacket};

use crate::checksum;

/// Length of the IPv4 headers that we build.
pub(crate) const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;

/// Returns the length of the header that we build for packets to `address`.
pub(crate) const fn header_len(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => IPV4_HEADER,
        IpAddr::V6(_) => IPV6_HEADER,
    }
}

/// A packet whose header is sound; IPv6 extension headers count as payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    /// Type of service, or traffic class.
    pub(crate) tos: u8,
    /// Time to live, or hop limit.
    pub(crate) ttl: u8,
    pub(crate) header: usize,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ip<'a> {
    /// Reads a packet. Checksums are not looked at.
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let ip = Ipv4Packet::new_checked(packet).ok()?;
                Some(Self {
                    source: ip.src_addr().into(),
                    destination: ip.dst_addr().into(),
                    protocol: ip.next_header(),
                    tos: ip.dscp() << 2 | ip.ecn(),
                    ttl: ip.hop_limit(),
                    header: usize::from(ip.header_len()),
                    payload: packet
                        .get(usize::from(ip.header_len())..usize::from(ip.total_len()))?,
                })
            }
            6 => {
                let ip = Ipv6Packet::new_checked(packet).ok()?;
                Some(Self {
                    source: ip.src_addr().into(),
                    destination: ip.dst_addr().into(),
                    protocol: ip.next_header(),
                    tos: ip.traffic_class(),
                    ttl: ip.hop_limit(),
                    header: IPV6_HEADER,
                    payload: packet.get(IPV6_HEADER..ip.total_len())?,
                })
            }
            _ => None,
        }
    }

    /// Returns whether the checksum of a TCP segment or a UDP datagram is right; of other protocols nothing is said.
    pub(crate) fn has_valid_checksum(&self) -> bool {
        let is_right = |bytes: &[u8]| {
            // Chance finds no checksum (as in smoltcp).
            cfg!(fuzzing)
                || checksum::of(self.source, self.destination, self.protocol, bytes) == 0xffff
        };
        match self.protocol {
            IpProtocol::Tcp => {
                TcpPacket::new_checked(self.payload).is_ok() && is_right(self.payload)
            }
            IpProtocol::Udp => UdpPacket::new_checked(self.payload).is_ok_and(|p| {
                let datagram = self.payload.get(..usize::from(p.len())).unwrap_or_default();
                // Only IPv4 has datagrams without a checksum (RFC 8200 §8.1).
                match p.checksum() {
                    0 => self.source.is_ipv4(),
                    _ => is_right(datagram),
                }
            }),
            _ => true,
        }
    }
}

/// Writes the header of a packet and returns what follows it. Addresses of different families write nothing sensible.
pub(crate) fn write_header<'a>(
    packet: &'a mut [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    ttl: u8,
    checksums: &ChecksumCapabilities,
) -> &'a mut [u8] {
    let header = header_len(destination);
    let payload_len = packet.len().saturating_sub(header);
    let hop_limit = ttl.max(1);
    match (source, destination) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let repr = Ipv4Repr {
                src_addr,
                dst_addr,
                next_header: protocol,
                payload_len,
                hop_limit,
            };
            repr.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), checksums);
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let repr = Ipv6Repr {
                src_addr,
                dst_addr,
                next_header: protocol,
                payload_len,
                hop_limit,
            };
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
        }
        _ => {}
    }
    packet.get_mut(header..).unwrap_or_default()
}

/// Sets the type of service, or traffic class, of a packet whose header is written.
pub(crate) fn set_tos(packet: &mut [u8], tos: u8) {
    match packet.first().map(|b| b >> 4) {
        Some(4) => {
            let mut ip = Ipv4Packet::new_unchecked(packet);
            ip.set_dscp(tos >> 2);
            ip.set_ecn(tos & 3);
            ip.fill_checksum();
        }
        Some(6) => Ipv6Packet::new_unchecked(packet).set_traffic_class(tos),
        _ => {}
    }
}

/// Replaces the address of a socket's end.
pub(crate) fn with_ip(at: SocketAddr, ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, at.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn headers_are_read_as_they_were_written() {
        let caps = ChecksumCapabilities::default();
        for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fe80::1", "fd00::2")] {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            let mut packet = vec![7; header_len(source) + 9];
            let rest = write_header(&mut packet, source, destination, IpProtocol::Udp, 33, &caps);
            assert_eq!(rest, [7; 9]);
            set_tos(&mut packet, 0xb9);
            let ip = Ip::parse(&packet).unwrap();
            assert_eq!((ip.source, ip.destination), (source, destination));
            assert_eq!((ip.protocol, ip.tos, ip.ttl), (IpProtocol::Udp, 0xb9, 33));
            assert_eq!((ip.header, ip.payload), (header_len(source), &[7; 9][..]));
            assert!(Ip::parse(&packet[..packet.len() - 1]).is_none());
        }
        assert!(Ip::parse(&[]).is_none() && Ip::parse(&[0x50; 60]).is_none());
    }

    #[test]
    fn only_ipv4_has_datagrams_without_a_checksum() {
        let udp = [0, 1, 0, 2, 0, 8, 0, 0];
        let ip = |address: &str| Ip {
            source: address.parse().unwrap(),
            destination: address.parse().unwrap(),
            protocol: IpProtocol::Udp,
            tos: 0,
            ttl: 1,
            header: 0,
            payload: &udp,
        };
        assert!(ip("10.0.0.1").has_valid_checksum());
        assert!(!ip("fe80::1").has_valid_checksum());
    }
}
