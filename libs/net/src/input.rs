//! Frames and packets on their way in: what is not ours or not sound stops here.

use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Message, Icmpv6Packet, IpProtocol,
    Ipv4Packet, TcpPacket, UdpPacket,
};

use crate::device::RxChecksum;
use crate::extension::{Refusal, without_headers};
use crate::mib;
use crate::reassembly::Piece;
use crate::stack::Stack;
use crate::tcp::input::tuple_of;
use crate::types::{Path, is_unicast};
use crate::wire::{IPV6_HEADER, Ip};

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
            EthernetProtocol::Ipv6 => self.on_nic_packet6(frame.payload(), checksum),
            _ => {}
        }
    }

    fn on_nic_packet(&mut self, frame: &[u8], packet: &[u8], checksum: RxChecksum) {
        self.out.mib.received(packet);
        let Ok(ip) = Ipv4Packet::new_checked(packet) else {
            return self.out.mib.is_malformed(packet);
        };
        let (source, destination) = (ip.src_addr(), ip.dst_addr());
        if ip.version() != 4 || !ip.verify_checksum() {
            let [counters, _] = &mut self.out.mib.ip;
            counters.header_errors += 1;
            counters.checksum_errors += u64::from(ip.version() == 4);
            return;
        }
        let is_piece = ip.more_frags() || ip.frag_offset() != 0;
        if !is_piece
            && ip.next_header() == IpProtocol::Udp
            && let Ok(udp) = UdpPacket::new_checked(ip.payload())
            && (udp.src_port(), udp.dst_port()) == (DHCP_SERVER, DHCP_CLIENT)
            && let Some(dhcp) = self.dhcp.as_mut()
        {
            return dhcp.on_frame(frame);
        }
        // Martians (RFC 1812 §5.3.7): addresses that never come from a wire, ours among them.
        let is_forged = !is_unicast(source)
            || source.is_loopback()
            || self.out.routes.is_broadcast(source.into())
            || self.out.routes.own_v4() == Some(source);
        let is_for_us = self.out.routes.own_v4() == Some(destination)
            || self.out.routes.is_broadcast(destination.into())
            || (destination.is_multicast() && self.out.routes.own_v4().is_some());
        if is_forged || !is_for_us {
            let [counters, _] = &mut self.out.mib.ip;
            counters.address_errors += u64::from(!is_for_us);
            return;
        }
        if self.out.routes.own_v4() != Some(destination) {
            self.out.mib.received_by_many(destination.into(), packet);
        }
        let whole = packet
            .get(..usize::from(ip.total_len()))
            .unwrap_or_default();
        if is_piece {
            self.on_piece(whole);
        } else {
            self.on_sound(whole, checksum);
        }
    }

    fn on_nic_packet6(&mut self, packet: &[u8], checksum: RxChecksum) {
        self.out.mib.received(packet);
        let Some(ip) = Ip::parse(packet) else {
            let [_, counters] = &mut self.out.mib.ip;
            counters.header_errors += 1;
            return;
        };
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (ip.source, ip.destination) else {
            return;
        };
        let routes = &self.out.routes;
        let is_forged = source.is_multicast()
            || source.is_loopback()
            || source.to_ipv4_mapped().is_some()
            || routes.v6.is_own(source)
            || (source.is_unspecified() && ip.protocol != IpProtocol::Icmpv6);
        let is_for_us =
            routes.v6.is_own(destination) || (destination.is_multicast() && routes.has_v6);
        if is_forged || !is_for_us {
            let [_, counters] = &mut self.out.mib.ip;
            counters.address_errors += u64::from(!is_for_us);
            return;
        }
        if destination.is_multicast() {
            self.out.mib.received_by_many(ip.destination, packet);
        }
        let len = IPV6_HEADER + ip.payload.len();
        let whole = packet.get(..len).unwrap_or_default();
        if ip.protocol == IpProtocol::HopByHop && self.on_group_query(&ip) {
            return;
        }
        self.on_headers6(whole, false, checksum);
    }

    /// Takes in what is for us of a packet of IPv6, without the extension headers in front of it.
    fn on_headers6(&mut self, packet: &[u8], in_pieces: bool, checksum: RxChecksum) {
        let is_multicast = packet.get(24) == Some(&0xff);
        let plain = match without_headers(packet, is_multicast, in_pieces) {
            Ok(plain) => plain,
            Err(Refusal::Silent) => return,
            Err(Refusal::Problem(code, at)) => {
                let [_, counters] = &mut self.out.mib.ip;
                counters.header_errors += 1;
                return self.out.tell_of_problem(packet, code, at);
            }
        };
        let packet = plain.as_deref().unwrap_or(packet);
        if Ip::parse(packet).is_some_and(|ip| ip.protocol == IpProtocol::Ipv6Frag) {
            // A piece does not come in pieces.
            if !in_pieces {
                self.on_piece(packet);
            }
        } else {
            self.on_sound(packet, checksum);
        }
    }

    /// Takes in a piece of a packet that is for us.
    fn on_piece(&mut self, packet: &[u8]) {
        let now = self.out.now;
        let piece = Piece::parse(packet);
        if let Some(ip) = Ip::parse(packet) {
            mib::of(&mut self.out.mib.ip, ip.source).pieces += 1;
        }
        let Some(whole) = piece.and_then(|piece| self.reassembly.add(&piece, now)) else {
            return;
        };
        let Some(ip) = Ip::parse(&whole) else {
            return;
        };
        mib::of(&mut self.out.mib.ip, ip.source).reassembled += 1;
        // What neighbours and routers say never comes in pieces (RFC 6980).
        let is_allowed = match ip.protocol {
            IpProtocol::Igmp => false,
            IpProtocol::Icmpv6 => {
                Icmpv6Packet::new_checked(ip.payload).is_ok_and(|icmp| !icmp.msg_type().is_ndisc())
            }
            _ => true,
        };
        if is_allowed {
            // What a card says of a piece's checksum says nothing of the whole's.
            match ip.source {
                IpAddr::V4(_) => self.on_sound(&whole, RxChecksum::Unknown),
                IpAddr::V6(_) => self.on_headers6(&whole, true, RxChecksum::Unknown),
            }
        }
    }

    /// Takes in a packet from the card that is for us, if its transport checksum is right.
    fn on_sound(&mut self, packet: &[u8], checksum: RxChecksum) {
        let Some(ip) = Ip::parse(packet) else {
            return;
        };
        if checksum == RxChecksum::Valid || ip.has_valid_checksum() {
            self.on_packet(Path::Nic, &ip, packet);
        } else {
            self.out.mib.is_damaged(ip.source, ip.protocol);
        }
    }

    /// Takes in a packet that we sent to ourselves.
    pub(crate) fn on_looped(&mut self, packet: &[u8]) {
        self.out.mib.received(packet);
        if let Some(ip) = Ip::parse(packet) {
            if ip.destination.is_multicast() {
                self.out.mib.received_by_many(ip.destination, packet);
            }
            self.on_packet(Path::Loopback, &ip, packet);
        }
    }

    /// Takes in a packet that is for us, and what its header says; transport checksums are right.
    fn on_packet(&mut self, path: Path, ip: &Ip<'_>, packet: &[u8]) {
        // What goes by the loopback interface arrives, whatever it is for.
        let is_unicast = match path {
            Path::Nic => self.out.routes.is_own(ip.destination),
            Path::Loopback => {
                !ip.destination.is_multicast() && !self.out.routes.is_broadcast(ip.destination)
            }
        };
        mib::of(&mut self.out.mib.ip, ip.source).delivers += u64::from(self.is_delivered(path, ip));
        match ip.protocol {
            IpProtocol::Tcp if is_unicast => {
                let Ok(tcp) = TcpPacket::new_checked(ip.payload) else {
                    return;
                };
                let tuple = tuple_of(ip.destination, tcp.dst_port(), ip.source, tcp.src_port());
                self.on_tcp(path, tuple, ip.payload, packet);
            }
            IpProtocol::Tcp => {}
            IpProtocol::Udp => self.on_udp(path, ip, packet),
            IpProtocol::Icmp if ip.source.is_ipv4() => self.on_icmp(path, ip, packet),
            IpProtocol::Icmpv6 if ip.source.is_ipv6() => self.on_icmp6(path, ip, packet),
            IpProtocol::Igmp if ip.source.is_ipv4() && path == Path::Nic => {
                let dice = self.dice();
                self.out.on_igmp(ip, dice);
            }
            // Those that come by the wire were looked at before.
            IpProtocol::HopByHop
            | IpProtocol::Ipv6Opts
            | IpProtocol::Ipv6Route
            | IpProtocol::Ipv6Frag => {}
            _ => {
                mib::of(&mut self.out.mib.ip, ip.source).unknown_protocols += 1;
                if is_unicast {
                    self.tell_unwanted(path, packet);
                }
            }
        }
    }

    /// Returns whether somebody here deals with the protocol of a packet, and is in the group that it is for.
    fn is_delivered(&self, path: Path, ip: &Ip<'_>) -> bool {
        let is_known = match ip.protocol {
            IpProtocol::Tcp | IpProtocol::Udp => true,
            IpProtocol::Icmp | IpProtocol::Igmp => ip.source.is_ipv4(),
            IpProtocol::Icmpv6 => ip.source.is_ipv6(),
            _ => false,
        };
        is_known
            && (!ip.destination.is_multicast() || self.is_heard(path, ip.destination, ip.source))
    }

    /// Takes in a packet with a hop-by-hop header if it asks about groups; returns whether it does.
    fn on_group_query(&mut self, ip: &Ip<'_>) -> bool {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (ip.source, ip.destination) else {
            return false;
        };
        let Some(&[protocol, eights]) = ip.payload.first_chunk() else {
            return false;
        };
        let rest = ip.payload.get(8 * (usize::from(eights) + 1)..);
        // Not read by `Icmpv6Packet`, which takes a question of MLDv1 for cut off.
        let message = rest.unwrap_or_default();
        let kind = u8::from(Icmpv6Message::MldQuery);
        if protocol != u8::from(IpProtocol::Icmpv6) || message.first() != Some(&kind) {
            return false;
        }
        let protocol = IpProtocol::Icmpv6;
        let is_right =
            crate::checksum::of(source.into(), destination.into(), protocol, message) == 0xffff;
        self.out.mib.received_icmp(ip.source, kind, is_right);
        let routes = &self.out.routes;
        let is_listening = routes.v6.is_in_group(destination)
            || routes.v6.is_own(destination)
            || self.out.groups.contains(Path::Nic, ip.destination);
        if is_right && is_listening {
            let dice = self.dice();
            self.out.on_mld_query(ip, message, dice);
        }
        true
    }

    /// Returns bits that nobody else can foresee.
    fn dice(&self) -> u64 {
        let now = self.out.now.0;
        let at = SocketAddr::new(core::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        u64::from(self.secret.port_offset(at, now as u32))
    }
}
