//! Packets that may be split on their way, and those that we split ourselves (RFC 791 §3.2, RFC 8200 §4.5).

use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

use crate::output::{ETHERNET_HEADER, Output};
use crate::types::Path;
use crate::wire::IPV6_HEADER;

/// Length of the extension header that IPv6 says it by.
pub(crate) const FRAGMENT_HEADER: usize = 8;
/// What packets of IPv6 may have beside their header.
const MOST_V6: usize = 65_535;

/// What is done about the MTU of paths (`IP_MTU_DISCOVER`, `IPV6_MTU_DISCOVER`), numbered as Linux does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum MtuDiscovery {
    /// Routers may split packets.
    Dont,
    /// What is longer than the path is split here, nothing on the way.
    #[default]
    Want,
    /// Nothing is split anywhere.
    Do,
    /// As `Do`, whatever is known of the path.
    Probe,
    /// As `Dont`, whatever is known of the path; only the link's own MTU matters, and nothing longer leaves.
    Interface,
    /// As `Interface`, but what is longer is split here.
    Omit,
}

impl MtuDiscovery {
    /// Returns the way that has a number.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Dont,
            1 => Self::Want,
            2 => Self::Do,
            3 => Self::Probe,
            4 => Self::Interface,
            5 => Self::Omit,
            _ => return None,
        })
    }

    /// Returns whether we split what is too long (`ip_sk_ignore_df` of Linux).
    pub(crate) fn splits(self) -> bool {
        matches!(self, Self::Dont | Self::Want | Self::Omit)
    }

    /// Returns whether what is known of the path counts (`ip_sk_use_pmtu`).
    pub(crate) fn heeds_path(self) -> bool {
        matches!(self, Self::Dont | Self::Want | Self::Do)
    }

    /// Returns whether routers are believed (`ip_sk_accept_pmtu`).
    pub(crate) fn believes(self) -> bool {
        !matches!(self, Self::Interface | Self::Omit)
    }

    /// Returns whether routers may split datagrams that we did not.
    pub(crate) fn lets_routers_split(self) -> bool {
        matches!(self, Self::Dont | Self::Interface | Self::Omit)
    }

    /// The same of segments (`ip_dont_fragment`).
    pub(crate) fn lets_routers_split_segments(self) -> bool {
        !matches!(self, Self::Want | Self::Do)
    }
}

/// Returns the MTU of a path of which nothing is known, for packets to `host`. Linux numbers its loopback interface so; no
/// packet of IPv4 is that long.
pub(crate) fn link_mtu(link: usize, path: Path, host: IpAddr) -> usize {
    match (path, host) {
        (Path::Loopback, IpAddr::V6(_)) => link.max(65_536),
        _ => link,
    }
}

/// Returns the greatest packet to `host` that can be described at all.
pub(crate) fn longest(host: IpAddr) -> usize {
    match host {
        IpAddr::V4(_) => 65_535,
        IpAddr::V6(_) => IPV6_HEADER + MOST_V6,
    }
}

/// Lets routers split a packet of IPv4, which needs a number for that (RFC 6864); those of IPv6 never are.
pub(crate) fn let_split(packet: &mut [u8], number: u32) {
    if packet.first().is_some_and(|b| b >> 4 == 4) {
        let mut ip = Ipv4Packet::new_unchecked(packet);
        ip.clear_flags();
        ip.set_ident(number as u16);
        ip.fill_checksum();
    }
}

/// A packet that leaves in pieces.
#[derive(Debug)]
pub(crate) struct Split {
    packet: Vec<u8>,
    header: usize,
    /// Bytes that the pieces have so far.
    sent: usize,
    /// Bytes of all pieces but the last.
    each: usize,
    number: u32,
}

impl Split {
    /// Begins to split a packet without IPv6 extension headers for a path that takes `mtu` bytes; `None` without memory.
    pub(crate) fn new(packet: &[u8], mtu: usize, number: u32) -> Option<Self> {
        let (header, more) = match packet.first()? >> 4 {
            4 => (
                usize::from(Ipv4Packet::new_checked(packet).ok()?.header_len()),
                0,
            ),
            _ => (IPV6_HEADER, FRAGMENT_HEADER),
        };
        let mut copy = Vec::new();
        copy.try_reserve_exact(packet.len()).ok()?;
        copy.extend_from_slice(packet);
        Some(Self {
            packet: copy,
            header,
            sent: 0,
            each: (mtu.saturating_sub(header + more) & !7).max(8),
            number,
        })
    }

    fn left(&self) -> usize {
        (self.packet.len() - self.header).saturating_sub(self.sent)
    }

    /// Appends the next piece to `to`; `None` when there is no more, or no memory.
    pub(crate) fn next(&mut self, to: &mut Vec<u8>) -> Option<()> {
        let len = self.left().min(self.each);
        let at = self.header + self.sent;
        let start = to.len();
        to.try_reserve(self.header + FRAGMENT_HEADER + len).ok()?;
        let (head, data) = (
            self.packet.get(..self.header)?,
            self.packet.get(at..at + len)?,
        );
        if data.is_empty() {
            return None;
        }
        let (offset, is_last) = (self.sent as u16, len == self.left());
        to.extend_from_slice(head);
        if self.header == IPV6_HEADER {
            let mut ip = Ipv6Packet::new_unchecked(to.get_mut(start..)?);
            let protocol = ip.next_header();
            ip.set_next_header(IpProtocol::Ipv6Frag);
            ip.set_payload_len((FRAGMENT_HEADER + len) as u16);
            let [high, low] = (offset | u16::from(!is_last)).to_be_bytes();
            to.extend([protocol.into(), 0, high, low]);
            to.extend(self.number.to_be_bytes());
        } else {
            let mut ip = Ipv4Packet::new_unchecked(to.get_mut(start..)?);
            ip.set_total_len((self.header + len) as u16);
            ip.set_ident(self.number as u16);
            ip.clear_flags();
            ip.set_more_frags(!is_last);
            ip.set_frag_offset(offset);
            ip.fill_checksum();
        }
        to.extend_from_slice(data);
        self.sent += len;
        Some(())
    }
}

impl Output {
    /// Sends the packet that was built in pieces that a path with such an MTU takes, all when there is room for them: no
    /// other packet of a socket comes before. Its transport checksum is complete. Without memory it is lost.
    pub(crate) fn launch_split(&mut self, mtu: usize) {
        self.numbers = self.numbers.wrapping_add(1);
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        self.split = Split::new(packet, mtu, self.numbers);
        self.mib.sent(packet, None);
        let ip = self.mib.of_sent(packet);
        match self.split {
            Some(_) => ip.split += 1,
            None => ip.split_failures += 1,
        }
        self.send_split();
    }

    /// As [`Output::send_split`], for callers that seldom find a piece.
    #[inline]
    pub(crate) fn has_sent_split(&mut self) -> bool {
        self.split.is_none() || self.send_split()
    }

    /// Sends the pieces that have room; returns whether none is left.
    pub(crate) fn send_split(&mut self) -> bool {
        while let Some(mut split) = self.split.take() {
            if self.device.as_mut().is_some_and(|d| d.room() == 0) {
                self.split = Some(split);
                return false;
            }
            self.frame.resize(ETHERNET_HEADER, 0);
            if split.next(&mut self.frame).is_some() {
                let piece = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
                self.mib.of_sent(piece).pieces_made += 1;
                self.send_packet();
                self.split = Some(split);
            }
        }
        true
    }

    /// Begins to number packets where nobody can foresee.
    pub(crate) fn number_from(&mut self, seed: u64) {
        self.numbers = seed as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::write_header;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;

    /// Returns offset, whether more follow, and data of a piece.
    fn read(piece: &[u8], number: u32) -> (usize, bool, &[u8]) {
        if piece[0] >> 4 == 4 {
            let ip = Ipv4Packet::new_checked(piece).unwrap();
            assert!(ip.verify_checksum() && !ip.dont_frag());
            assert_eq!(
                (ip.ident(), ip.next_header()),
                (number as u16, IpProtocol::Udp)
            );
            assert_eq!(usize::from(ip.total_len()), piece.len());
            (ip.frag_offset().into(), ip.more_frags(), &piece[20..])
        } else {
            let ip = Ipv6Packet::new_checked(piece).unwrap();
            assert_eq!(ip.total_len(), piece.len());
            assert_eq!(ip.next_header(), IpProtocol::Ipv6Frag);
            let (header, data) = piece[40..].split_at(8);
            assert_eq!(header[..2], [17, 0]);
            assert_eq!(header[4..], number.to_be_bytes());
            let word = u16::from_be_bytes([header[2], header[3]]);
            (usize::from(word & !7), word & 1 != 0, data)
        }
    }

    proptest! {
        #[test]
        fn pieces_fit_and_make_the_whole(
            is_v4: bool,
            len in 0usize..65_516,
            mtu in 1280usize..9000,
            number: u32,
        ) {
            let ends = if is_v4 { ["10.0.0.1", "10.0.0.2"] } else { ["fd00::1", "fd00::2"] };
            let [from, to] = ends.map(|a| a.parse().unwrap());
            let header = crate::wire::header_len(to);
            let mut packet = alloc::vec![0; header + len];
            let caps = ChecksumCapabilities::default();
            let data = write_header(&mut packet, from, to, IpProtocol::Udp, 9, &caps);
            data.iter_mut().zip(0u32..).for_each(|(b, n)| *b = (n % 251) as u8);
            let mut split = Split::new(&packet, mtu, number).unwrap();
            let (mut found, mut piece) = (BTreeMap::new(), Vec::new());
            let mut ends = 0;
            while split.next(&mut piece).is_some() {
                prop_assert!(piece.len() <= mtu);
                let (offset, more, data) = read(&piece, number);
                prop_assert!(!more || data.len() % 8 == 0 && piece.len() + 8 > mtu);
                ends += usize::from(!more);
                found.insert(offset, data.to_vec());
                piece.clear();
            }
            prop_assert_eq!(ends, usize::from(len > 0));
            prop_assert!(found.into_values().flatten().eq(packet[header..].iter().copied()));
        }
    }

    #[test]
    fn ways_are_those_of_linux() {
        let all = [0, 1, 2, 3, 4, 5].map(|n| MtuDiscovery::from_number(n).unwrap());
        for (number, way) in (0..).zip(all) {
            assert_eq!(way as i32, number);
        }
        assert_eq!([-1, 6].map(MtuDiscovery::from_number), [None; 2]);
        let of = |what: fn(MtuDiscovery) -> bool| all.map(|way| u8::from(what(way)));
        assert_eq!(of(MtuDiscovery::splits), [1, 1, 0, 0, 0, 1]);
        assert_eq!(of(MtuDiscovery::heeds_path), [1, 1, 1, 0, 0, 0]);
        assert_eq!(of(MtuDiscovery::believes), [1, 1, 1, 1, 0, 0]);
        assert_eq!(of(MtuDiscovery::lets_routers_split), [1, 0, 0, 0, 1, 1]);
        let segments = of(MtuDiscovery::lets_routers_split_segments);
        assert_eq!(segments, [1, 0, 0, 1, 1, 1]);
    }
}
