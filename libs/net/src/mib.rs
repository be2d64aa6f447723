//! Counters of the protocols (RFC 4293, RFC 4022, RFC 4113, RFC 2466), as `/proc/net/snmp` and `netstat` show them
//! (`proc_pid_net(5)`). They are plain numbers, counted where a packet passes anyway.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use smoltcp::wire::IpProtocol;
use tyn_abi::Errno;
use tyn_tcp::State;

use crate::output::Output;
use crate::stack::Stack;
use crate::wire::{IPV4_HEADER, IPV6_HEADER};

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Volume {
    pub(crate) fn add(&mut self, packet: &[u8]) {
        self.packets += 1;
        self.bytes += packet.len() as u64;
    }
}

/// Counters of one version of IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of RFC 4293")]
pub struct IpCounters {
    pub receives: Volume,
    pub header_errors: u64,
    pub checksum_errors: u64,
    pub truncated: u64,
    pub address_errors: u64,
    pub unknown_protocols: u64,
    pub delivers: u64,
    pub in_multicast: Volume,
    pub in_broadcast: Volume,
    /// By the bits for congestion (RFC 3168): not capable, capable (1), capable (0), experienced.
    pub congestion: [u64; 4],
    pub requests: Volume,
    pub discards: u64,
    pub no_routes: u64,
    pub transmits: u64,
    pub out_multicast: Volume,
    pub out_broadcast: Volume,
    pub pieces: u64,
    pub reassembled: u64,
    pub reassembly_timeouts: u64,
    pub reassembly_failures: u64,
    pub split: u64,
    pub split_failures: u64,
    pub pieces_made: u64,
}

/// Counters of one version of ICMP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IcmpCounters {
    /// Messages that came, of each type.
    pub received: BTreeMap<u8, u64>,
    /// Messages that made no sense.
    pub errors: u64,
    /// Messages with a wrong checksum.
    pub checksum_errors: u64,
    /// Messages that were sent, of each type.
    pub sent: BTreeMap<u8, u64>,
    /// Errors that were not sent as there were too many.
    pub limited: u64,
}

/// Counters of TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of RFC 4022 and of Linux")]
pub struct TcpCounters {
    pub active_opens: u64,
    pub passive_opens: u64,
    pub attempt_fails: u64,
    pub established_resets: u64,
    pub in_segments: u64,
    pub in_errors: u64,
    pub in_checksum_errors: u64,
    pub out_segments: u64,
    pub out_resets: u64,
    pub repeated: u64,
    pub listen_overflows: u64,
    pub listen_drops: u64,
    pub cookies_sent: u64,
    pub cookies_received: u64,
    pub cookies_failed: u64,
    pub requests_reset: u64,
    pub time_waits_over: u64,
    pub time_wait_overflows: u64,
}

impl TcpCounters {
    /// Counts a connection that may have ended (RFC 4022, `tcpAttemptFails` and `tcpEstabResets`).
    pub(crate) fn changed(&mut self, old: State, new: State) {
        match (old, new) {
            (State::SynSent | State::SynReceived, State::Closed) => self.attempt_fails += 1,
            (State::Established | State::CloseWait, State::Closed) => self.established_resets += 1,
            _ => {}
        }
    }
}

/// Counters of UDP over one version of IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of RFC 4113 and of Linux")]
pub struct UdpCounters {
    pub in_datagrams: u64,
    pub no_ports: u64,
    pub in_errors: u64,
    pub in_checksum_errors: u64,
    pub out_datagrams: u64,
    pub queue_full: u64,
    pub no_memory: u64,
    pub send_errors: u64,
    pub ignored_multicast: u64,
}

/// All counters; pairs are of IPv4 and IPv6.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of the protocols")]
pub struct Mib {
    pub ip: [IpCounters; 2],
    pub icmp: [IcmpCounters; 2],
    pub udp: [UdpCounters; 2],
    pub tcp: TcpCounters,
}

/// Returns the one of a pair that is for an address's version.
pub(crate) fn of<T>(pair: &mut [T; 2], address: IpAddr) -> &mut T {
    let [v4, v6] = pair;
    if address.is_ipv4() { v4 } else { v6 }
}

/// Returns the one of a pair that is for a packet's version.
fn of_packet<'a, T>(pair: &'a mut [T; 2], packet: &[u8]) -> &'a mut T {
    let [v4, v6] = pair;
    let is_v6 = packet.first().is_some_and(|b| b >> 4 == 6);
    if is_v6 { v6 } else { v4 }
}

/// Returns the bits for congestion in a packet's header.
fn congestion(packet: &[u8]) -> usize {
    let class = match packet {
        [first, second, ..] if first >> 4 == 6 => second >> 4,
        [_, second, ..] => *second,
        _ => 0,
    };
    usize::from(class & 3)
}

impl Mib {
    /// Counts a packet that came in, whatever is in it.
    pub(crate) fn received(&mut self, packet: &[u8]) {
        let ip = of_packet(&mut self.ip, packet);
        ip.receives.add(packet);
        if let Some(count) = ip.congestion.get_mut(congestion(packet)) {
            *count += 1;
        }
    }

    /// Counts a packet of IPv4 that makes no sense.
    pub(crate) fn is_malformed(&mut self, packet: &[u8]) {
        let [ip, _] = &mut self.ip;
        match packet.first_chunk() {
            Some(&[0x45..=0x4f, _, high, low]) if packet.len() >= IPV4_HEADER => {
                let total = usize::from(u16::from_be_bytes([high, low]));
                if total > packet.len() {
                    ip.truncated += 1;
                } else {
                    ip.header_errors += 1;
                }
            }
            _ => ip.header_errors += 1,
        }
    }

    /// Counts a packet that is for several hosts.
    pub(crate) fn received_by_many(&mut self, destination: IpAddr, packet: &[u8]) {
        let ip = of(&mut self.ip, destination);
        if destination.is_multicast() {
            ip.in_multicast.add(packet);
        } else {
            ip.in_broadcast.add(packet);
        }
    }

    /// Counts a packet whose transport checksum is wrong.
    pub(crate) fn is_damaged(&mut self, source: IpAddr, protocol: IpProtocol) {
        match protocol {
            IpProtocol::Tcp => {
                self.tcp.in_segments += 1;
                self.tcp.in_errors += 1;
                self.tcp.in_checksum_errors += 1;
            }
            IpProtocol::Udp => {
                let udp = of(&mut self.udp, source);
                udp.in_errors += 1;
                udp.in_checksum_errors += 1;
            }
            _ => {}
        }
    }

    /// Counts a message of ICMP that came; it is right unless its checksum is not.
    pub(crate) fn received_icmp(&mut self, source: IpAddr, kind: u8, is_right: bool) {
        let icmp = of(&mut self.icmp, source);
        *icmp.received.entry(kind).or_default() += 1;
        if !is_right {
            icmp.errors += 1;
            icmp.checksum_errors += 1;
        }
    }

    /// Counts a packet that is about to leave: a TCP segment in pieces with `piece` bytes of data, if that is said.
    pub(crate) fn sent(&mut self, packet: &[u8], piece: Option<u16>) {
        let ip = of_packet(&mut self.ip, packet);
        ip.requests.add(packet);
        let (protocol, header) = match packet.first() {
            Some(first) if first >> 4 == 6 => (packet.get(6), IPV6_HEADER),
            Some(first) => (packet.get(9), usize::from(first & 0xf) * 4),
            None => return,
        };
        let is_multicast = match (header, packet.get(16), packet.get(24)) {
            (IPV6_HEADER, _, Some(first)) => *first == 0xff,
            (_, Some(first), _) => first >> 4 == 0xe,
            _ => false,
        };
        if is_multicast {
            ip.out_multicast.add(packet);
        }
        /// A hop-by-hop header of ours, in front of MLD.
        const ALERT: usize = 8;
        let message = packet.get(header..).unwrap_or_default();
        let (protocol, message) = match protocol.map(|p| IpProtocol::from(*p)) {
            Some(IpProtocol::HopByHop) => {
                (IpProtocol::Icmpv6, message.get(ALERT..).unwrap_or_default())
            }
            Some(protocol) => (protocol, message),
            None => return,
        };
        match (protocol, message) {
            (IpProtocol::Tcp, [_, _, _, _, _, _, _, _, _, _, _, _, words, flags, ..]) => {
                const RESET: u8 = 4;
                let data = message.len().saturating_sub(usize::from(words >> 4) * 4);
                let pieces = piece.map_or(1, |piece| data.div_ceil(usize::from(piece).max(1)));
                self.tcp.out_segments += pieces.max(1) as u64;
                self.tcp.out_resets += u64::from(flags & RESET != 0);
            }
            (IpProtocol::Icmp | IpProtocol::Icmpv6, [kind, ..]) => {
                let icmp = of_packet(&mut self.icmp, packet);
                *icmp.sent.entry(*kind).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Returns the counters of the packet that is about to leave.
    pub(crate) fn of_sent(&mut self, packet: &[u8]) -> &mut IpCounters {
        of_packet(&mut self.ip, packet)
    }
}

impl Output {
    /// Counts a destination to which no way leads.
    pub(crate) fn counted<T>(&mut self, way: Result<T, Errno>, to: IpAddr) -> Result<T, Errno> {
        if matches!(way, Err(Errno::ENETUNREACH)) {
            of(&mut self.mib.ip, to).no_routes += 1;
        }
        way
    }
}

impl Stack {
    /// Returns the counters of the protocols.
    #[must_use]
    pub fn mib(&self) -> Mib {
        let mut mib = self.out.mib.clone();
        let lost = self
            .reassembly
            .timeouts
            .into_iter()
            .zip(self.reassembly.failures);
        for (ip, (timeouts, failures)) in mib.ip.iter_mut().zip(lost) {
            (ip.reassembly_timeouts, ip.reassembly_failures) = (timeouts, failures);
        }
        mib
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_by_what_is_in_them() {
        let mut mib = Mib::default();
        let mut segment = [0; 40 + 2920];
        segment[..2].copy_from_slice(&[0x45, 0xb9]);
        segment[9] = 6;
        (segment[32], segment[33]) = (0x50, 0x10);
        mib.sent(&segment, Some(1460));
        mib.received(&segment);
        segment[33] = 0x14;
        mib.sent(&segment[..40], None);
        assert_eq!((mib.tcp.out_segments, mib.tcp.out_resets), (3, 1));
        let [v4, v6] = &mib.ip;
        assert_eq!((v4.requests.packets, v4.requests.bytes), (2, 3000));
        assert_eq!((v4.congestion, v4.out_multicast.packets), ([0, 1, 0, 0], 0));
        assert_eq!(*v6, IpCounters::default());
        let mut report = [0; 40 + 8 + 8];
        report[..2].copy_from_slice(&[0x60, 0x20]);
        (report[24], report[48]) = (0xff, 143);
        mib.sent(&report, None);
        mib.received(&report);
        let [_, v6] = &mib.ip;
        assert_eq!((v6.out_multicast.packets, v6.congestion), (1, [0, 0, 1, 0]));
        assert_eq!(mib.icmp[1].sent, BTreeMap::from([(143, 1)]));
        mib.sent(&[], None);
        mib.received(&[]);
    }

    #[test]
    fn packets_that_are_cut_off_are_told_from_those_that_make_no_sense() {
        let mut mib = Mib::default();
        let mut packet = [0; 24];
        (packet[0], packet[3]) = (0x45, 25);
        mib.is_malformed(&packet);
        packet[0] = 0x44;
        mib.is_malformed(&packet);
        mib.is_malformed(&packet[..1]);
        assert_eq!((mib.ip[0].truncated, mib.ip[0].header_errors), (1, 2));
    }
}
