//! Frames and packets on their way in: what is not ours or not sound stops here.

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, IpAddress,
    IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
};
use tyn_abi::Errno;

use crate::device::RxChecksum;
use crate::stack::Stack;
use crate::tcp::input::tuple_of;
use crate::types::{Path, is_unicast};

/// Ports of DHCP servers and clients.
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

impl Stack {
    /// Takes in a frame from the card.
    pub(crate) fn on_frame(&mut self, bytes: &[u8], checksum: RxChecksum) {
        let Ok(frame) = EthernetFrame::new_checked(bytes) else {
            return;
        };
        let to = frame.dst_addr();
        if to != EthernetAddress(self.out.mac()) && !to.is_broadcast() && !to.is_multicast() {
            return;
        }
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                self.out.on_arp(frame.payload());
                if let Some(dhcp) = self.dhcp.as_mut() {
                    dhcp.on_arp(bytes);
                }
            }
            EthernetProtocol::Ipv4 => self.on_nic_packet(bytes, frame.payload(), checksum),
            _ => {}
        }
    }

    fn on_nic_packet(&mut self, frame: &[u8], packet: &[u8], checksum: RxChecksum) {
        let Ok(ip) = Ipv4Packet::new_checked(packet) else {
            return;
        };
        let (source, destination) = (ip.src_addr(), ip.dst_addr());
        if ip.version() != 4 || !ip.verify_checksum() {
            return;
        }
        // Fragments are not put together: they are lost, as their senders must expect.
        if ip.more_frags() || ip.frag_offset() != 0 {
            return;
        }
        if ip.next_header() == IpProtocol::Udp
            && let Ok(udp) = UdpPacket::new_checked(ip.payload())
            && (udp.src_port(), udp.dst_port()) == (DHCP_SERVER, DHCP_CLIENT)
            && let Some(dhcp) = self.dhcp.as_mut()
        {
            return dhcp.on_frame(frame);
        }
        // Martians (RFC 1812 §5.3.7): addresses that never come from a wire, ours among them.
        let is_forged = !is_unicast(source)
            || source.is_loopback()
            || self.out.is_broadcast(source)
            || self.out.own_address() == Some(source);
        let is_for_us = self.out.own_address() == Some(destination)
            || self.out.is_broadcast(destination)
            || (destination.is_multicast() && self.out.own_address().is_some());
        if is_forged || !is_for_us {
            return;
        }
        let whole = packet
            .get(..usize::from(ip.total_len()))
            .unwrap_or_default();
        let sound = checksum == RxChecksum::Valid || has_valid_checksum(&ip);
        if sound || !matches!(ip.next_header(), IpProtocol::Tcp | IpProtocol::Udp) {
            self.on_packet(Path::Nic, whole);
        }
    }

    /// Takes in a packet that we sent to ourselves.
    pub(crate) fn on_looped(&mut self, packet: &[u8]) {
        self.on_packet(Path::Loopback, packet);
    }

    /// Takes in a packet that is for us; transport checksums are right.
    fn on_packet(&mut self, path: Path, packet: &[u8]) {
        let Ok(ip) = Ipv4Packet::new_checked(packet) else {
            return;
        };
        let (source, destination) = (ip.src_addr(), ip.dst_addr());
        let is_unicast = self.out.is_own(destination);
        match ip.next_header() {
            IpProtocol::Tcp if is_unicast => {
                let Ok(tcp) = TcpPacket::new_checked(ip.payload()) else {
                    return;
                };
                let tuple = tuple_of(destination, tcp.dst_port(), source, tcp.src_port());
                self.on_tcp(path, tuple, ip.payload(), packet);
            }
            IpProtocol::Tcp => {}
            IpProtocol::Udp => self.on_udp(path, &ip, packet),
            IpProtocol::Icmp => self.on_icmp(path, &ip, packet),
            _ if is_unicast => self.refuse(path, packet),
            _ => {}
        }
    }

    fn on_icmp(&mut self, path: Path, ip: &Ipv4Packet<&[u8]>, packet: &[u8]) {
        let Ok(icmp) = Icmpv4Packet::new_checked(ip.payload()) else {
            return;
        };
        if path == Path::Nic && !icmp.verify_checksum() {
            return;
        }
        match icmp.msg_type() {
            // smoltcp answers.
            Icmpv4Message::EchoRequest => self.refuse(path, packet),
            Icmpv4Message::DstUnreachable => {
                if let Some((error, is_hard)) = unreachable(icmp.msg_code()) {
                    self.on_undeliverable(icmp.data(), error, is_hard);
                }
            }
            _ => {}
        }
    }

    /// Tells the sender of `packet` (or of its first 28 bytes) that it did not arrive.
    pub(crate) fn on_undeliverable(&mut self, packet: &[u8], error: Errno, is_hard: bool) {
        let ip = Ipv4Packet::new_unchecked(packet);
        let Some(first) = packet.first().filter(|_| packet.len() >= 20) else {
            return;
        };
        if first >> 4 != 4 {
            return;
        }
        let transport = packet.get(usize::from(ip.header_len())..);
        let Some(&[s0, s1, d0, d1, q0, q1, q2, q3]) = transport.and_then(|t| t.first_chunk())
        else {
            return;
        };
        // The packet is ours: its source is our end.
        let tuple = tuple_of(
            ip.src_addr(),
            u16::from_be_bytes([s0, s1]),
            ip.dst_addr(),
            u16::from_be_bytes([d0, d1]),
        );
        match ip.next_header() {
            IpProtocol::Tcp => {
                self.on_tcp_error(tuple, u32::from_be_bytes([q0, q1, q2, q3]), error);
            }
            IpProtocol::Udp if is_hard => self.on_udp_error(tuple, error),
            _ => {}
        }
    }
}

fn has_valid_checksum(ip: &Ipv4Packet<&[u8]>) -> bool {
    let (source, destination) = (
        IpAddress::Ipv4(ip.src_addr()),
        IpAddress::Ipv4(ip.dst_addr()),
    );
    match ip.next_header() {
        IpProtocol::Tcp => TcpPacket::new_checked(ip.payload())
            .is_ok_and(|p| p.verify_checksum(&source, &destination)),
        IpProtocol::Udp => UdpPacket::new_checked(ip.payload())
            .is_ok_and(|p| p.verify_checksum(&source, &destination)),
        _ => true,
    }
}

/// Returns the error that a code of ICMP's "destination unreachable" stands for, and whether it is final
/// (`icmp_err_convert` of Linux; RFC 1122 §4.2.3.9). "Fragmentation needed" has none: segments never exceed our MTU's
/// size, and smoltcp cannot make them smaller.
fn unreachable(code: u8) -> Option<(Errno, bool)> {
    Some(match code {
        0 | 11 => (Errno::ENETUNREACH, false),
        1 | 12 => (Errno::EHOSTUNREACH, false),
        2 => (Errno::ENOPROTOOPT, true),
        3 => (Errno::ECONNREFUSED, true),
        6 | 9 => (Errno::ENETUNREACH, true),
        7 | 8 | 10 | 13..=15 => (Errno::EHOSTUNREACH, true),
        _ => return None,
    })
}
