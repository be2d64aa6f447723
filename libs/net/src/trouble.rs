//! What neighbours and routers tell by ICMP: answers, and errors about packets of ours.

use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet,
};
use tyn_abi::Errno;

use crate::errors::{NetError, Trouble};
use crate::stack::Stack;
use crate::tcp::input::tuple_of;
use crate::types::Path;
use crate::udp::{UDP_HEADER, UdpReceived};
use crate::wire::{IPV6_HEADER, Ip};

/// The least MTU of a path that is believed (`min_pmtu` of Linux; RFC 8200 §5).
const LEAST_MTU: usize = 552;
pub(crate) const LEAST_MTU6: usize = 1280;

impl Stack {
    pub(crate) fn on_icmp(&mut self, path: Path, ip: &Ip<'_>, packet: &[u8]) {
        let Ok(icmp) = Icmpv4Packet::new_checked(ip.payload) else {
            return;
        };
        let is_right = path == Path::Loopback || icmp.verify_checksum();
        let kind = icmp.msg_type().into();
        self.out.mib.received_icmp(ip.source, kind, is_right);
        if !is_right {
            return;
        }
        match icmp.msg_type() {
            // smoltcp answers.
            Icmpv4Message::EchoRequest => self.refuse(path, packet),
            kind => {
                let &[_, code, _, _, _, _, high, low, ..] = ip.payload else {
                    return;
                };
                let mtu = usize::from(u16::from_be_bytes([high, low]));
                // Routers of old do not say what would fit (RFC 1191 §5).
                let mtu = mtu.max(LEAST_MTU);
                if let Some(error) = NetError::from_icmp(kind.into(), code, mtu) {
                    self.on_trouble(path, icmp.data(), &self.told_by(error, path, ip), mtu);
                }
            }
        }
    }

    pub(crate) fn on_icmp6(&mut self, path: Path, ip: &Ip<'_>, packet: &[u8]) {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (ip.source, ip.destination) else {
            return;
        };
        let Ok(icmp) = Icmpv6Packet::new_checked(ip.payload) else {
            return;
        };
        let is_right = path == Path::Loopback || icmp.verify_checksum(&source, &destination);
        let kind = icmp.msg_type().into();
        self.out.mib.received_icmp(ip.source, kind, is_right);
        if !is_right {
            return;
        }
        let routes = &self.out.routes;
        let is_listening = routes.is_own(ip.destination) || routes.v6.is_in_group(destination);
        if !is_listening {
            return;
        }
        match icmp.msg_type() {
            Icmpv6Message::EchoRequest if !source.is_unspecified() => {
                if destination.is_multicast() {
                    return;
                }
                self.refuse(path, packet);
            }
            kind if kind.is_ndisc() && path == Path::Nic && self.out.on_ndisc(ip, &icmp) => {
                self.changed6();
            }
            kind => {
                // Type, code, checksum and an MTU or nothing come before the packet.
                let (Some(&mtu), Some(original)) = (
                    ip.payload.get(4..).and_then(<[u8]>::first_chunk),
                    ip.payload.get(8..),
                ) else {
                    return;
                };
                let mtu = (u32::from_be_bytes(mtu) as usize).max(LEAST_MTU6);
                if let Some(error) = NetError::from_icmp6(kind.into(), icmp.msg_code(), mtu) {
                    self.on_trouble(path, original, &self.told_by(error, path, ip), mtu);
                }
            }
        }
    }

    /// Tells the sender of `packet` (or of its header and eight more bytes) that it did not arrive; who says so came by
    /// `path`: nobody on the wire knows of what never left us. `mtu` is what would have fitted.
    pub(crate) fn on_trouble(&mut self, path: Path, packet: &[u8], trouble: &Trouble, mtu: usize) {
        let Some((source, destination, protocol, transport)) = ends_of(packet) else {
            return;
        };
        let Some(&[s0, s1, d0, d1, q0, q1, q2, q3]) = transport.first_chunk() else {
            return;
        };
        // The packet is ours: its source is our end.
        let tuple = tuple_of(
            source,
            u16::from_be_bytes([s0, s1]),
            destination,
            u16::from_be_bytes([d0, d1]),
        );
        let sequence = u32::from_be_bytes([q0, q1, q2, q3]);
        match protocol {
            IpProtocol::Tcp if trouble.error.errno == Errno::EMSGSIZE => {
                self.on_tcp_too_big(path, tuple, sequence, mtu);
            }
            IpProtocol::Tcp => self.on_tcp_error(path, tuple, transport, trouble),
            IpProtocol::Udp if path == self.path_to(destination) => {
                let payload = transport.get(UDP_HEADER..).unwrap_or_default();
                self.on_udp_error(path, tuple, payload, trouble);
            }
            _ => {}
        }
    }

    /// Puts together what happened and who says so.
    fn told_by(&self, error: NetError, path: Path, ip: &Ip<'_>) -> Trouble {
        let report = UdpReceived {
            source: SocketAddr::new(ip.source, 0),
            destination: ip.destination,
            path,
            at: self.out.now,
            tos: ip.tos,
            ttl: ip.ttl,
            copied: 0,
            len: 0,
        };
        Trouble {
            error,
            report: Some(report),
        }
    }

    /// Returns by which way a packet for a host goes.
    fn path_to(&self, host: IpAddr) -> Path {
        if self.out.routes.is_own(host) {
            Path::Loopback
        } else {
            Path::Nic
        }
    }
}

/// Returns source, destination, protocol and payload of a packet that may be cut off.
fn ends_of(packet: &[u8]) -> Option<(IpAddr, IpAddr, IpProtocol, &[u8])> {
    use smoltcp::wire::Ipv6Packet;
    match packet.first()? >> 4 {
        4 if packet.len() >= 20 => {
            let ip = Ipv4Packet::new_unchecked(packet);
            let transport = packet.get(usize::from(ip.header_len())..)?;
            let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            Some((source, destination, ip.next_header(), transport))
        }
        6 if packet.len() >= IPV6_HEADER => {
            let ip = Ipv6Packet::new_unchecked(packet);
            let transport = packet.get(IPV6_HEADER..)?;
            let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            Some((source, destination, ip.next_header(), transport))
        }
        _ => None,
    }
}
