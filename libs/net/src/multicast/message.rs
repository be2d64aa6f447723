//! Messages of IGMP (RFC 2236, RFC 3376) and MLD (RFC 2710, RFC 3810).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv6Packet, IpProtocol, Ipv4Packet};
use tyn_abi::Nanos;

use super::Message;
use crate::checksum;
use crate::output::Output;
use crate::types::Path;
use crate::wire::{IPV4_HEADER, IPV6_HEADER, Ip, write_header};

const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const ALL_ROUTERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Those who listen to reports of IGMPv3 (RFC 3376 §4.2.14) and MLDv2 (RFC 3810 §5.2.14).
const IGMP_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Types of messages.
const IGMP_QUERY: u8 = 0x11;
const IGMP_OLD_REPORT: u8 = 0x16;
const IGMP_LEAVE: u8 = 0x17;
const IGMP_REPORT: u8 = 0x22;
const MLD_OLD_REPORT: u8 = 131;
const MLD_DONE: u8 = 132;
const MLD_REPORT: u8 = 143;
/// Questions without a time, of version 1, mean 10 s (RFC 2236 §4).
const ANSWER_WITHIN: Nanos = Nanos(10 * Nanos::PER_SEC);
/// The router alert option (RFC 2113); a hop-by-hop header with it (RFC 2711, RFC 8200 §4.3), before ICMPv6.
const ALERT_V4: [u8; 4] = [0x94, 4, 0, 0];
const ALERT_V6: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];
/// What comes before the records of a report, and before the group of a record.
const REPORT_HEADER: usize = 8;
const RECORD_HEADER: usize = 4;

/// What a record says (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    IsInclude = 1,
    IsExclude = 2,
    ToInclude = 3,
    ToExclude = 4,
    Allow = 5,
    Block = 6,
}

/// A record: what it says, and of which sources.
pub(super) type Record = (Kind, Vec<IpAddr>);

/// A router's question.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Query {
    /// About which group; the unspecified address of its family for all.
    pub(super) group: IpAddr,
    /// About which sources; none for all.
    pub(super) sources: Vec<IpAddr>,
    /// How long the answer may take.
    pub(super) within: Nanos,
    /// It is of a version older than IGMPv3 or MLDv2.
    pub(super) is_old: bool,
}

impl Query {
    /// Reads a message of IGMP, if it is a question; its checksum is right.
    pub(super) fn parse_v4(message: &[u8]) -> Option<Self> {
        let (&[kind, code, _, _, a, b, c, d], rest) = message.split_first_chunk()?;
        if kind != IGMP_QUERY {
            return None;
        }
        let within = match code {
            0 if rest.is_empty() => ANSWER_WITHIN,
            code if rest.is_empty() => tenths(code.into()),
            code => tenths(floating(u16::from(code), 4)),
        };
        Some(Self {
            group: Ipv4Addr::new(a, b, c, d).into(),
            sources: sources(rest, |a: [u8; 4]| a.into())?,
            within,
            is_old: rest.is_empty(),
        })
    }

    /// Reads a question of MLD, whose checksum is right.
    pub(super) fn parse_v6(message: &[u8]) -> Option<Self> {
        let (&[_, _, _, _, high, low, _, _], rest) = message.split_first_chunk()?;
        let (group, rest) = rest.split_first_chunk::<16>()?;
        let code = u16::from_be_bytes([high, low]);
        let within = match rest {
            [] => code.into(),
            _ => floating(code, 12),
        };
        Some(Self {
            group: Ipv6Addr::from(*group).into(),
            sources: sources(rest, |a: [u8; 16]| a.into())?,
            within: Nanos::from_millis(within),
            is_old: rest.is_empty(),
        })
    }
}

/// Returns tenths of a second.
fn tenths(count: u64) -> Nanos {
    Nanos::from_millis(100 * count)
}

/// Reads what follows a question's group: flags, the router's interval, the number of sources and these.
fn sources<const N: usize>(rest: &[u8], read: impl Fn([u8; N]) -> IpAddr) -> Option<Vec<IpAddr>> {
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let (&[_, _, high, low], list) = rest.split_first_chunk()?;
    let list = list.get(..N * usize::from(u16::from_be_bytes([high, low])))?;
    let (sources, _) = list.as_chunks::<N>();
    Some(sources.iter().map(|s| read(*s)).collect())
}

/// Returns the number that a code stands for: a byte (RFC 3376 §4.1.1) with 4 bits of mantissa, 16 bits (RFC 3810 §5.1.3)
/// with 12.
fn floating(code: u16, mantissa_bits: u32) -> u64 {
    let first_float = 8 << mantissa_bits;
    if code < first_float {
        return code.into();
    }
    let implied = 1 << mantissa_bits;
    let mantissa = u64::from(code) & (implied - 1);
    let exponent = u32::from(code >> mantissa_bits & 7);
    (mantissa | implied) << (exponent + 3)
}

/// Returns the records of which no one has more sources than fit into a packet.
fn fitting(records: Vec<Record>, most: usize) -> Vec<Record> {
    let mut fitting = Vec::new();
    for (kind, mut sources) in records {
        if matches!(kind, Kind::IsExclude | Kind::ToExclude) {
            // Who is not listed is let through (RFC 3376 §4.2.16).
            sources.truncate(most);
        }
        if sources.len() <= most {
            fitting.push((kind, sources));
        } else {
            fitting.extend(sources.chunks(most).map(|part| (kind, part.to_vec())));
        }
    }
    fitting
}

/// Writes a report with one record; the checksum is left out.
fn write_report(message: &mut [u8], of: u8, group: IpAddr, (kind, sources): &Record) {
    let mut bytes = Vec::from([of, 0, 0, 0, 0, 0, 0, 1, *kind as u8, 0]);
    bytes.extend((sources.len() as u16).to_be_bytes());
    for address in core::iter::once(&group).chain(sources) {
        match address {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
    }
    for (to, byte) in message.iter_mut().zip(bytes) {
        *to = byte;
    }
}

/// Returns the length of a report with one record.
fn report_len(group: IpAddr, sources: usize) -> usize {
    REPORT_HEADER + RECORD_HEADER + (1 + sources) * address_len(group)
}

fn address_len(group: IpAddr) -> usize {
    if group.is_ipv4() { 4 } else { 16 }
}

impl Output {
    /// Tells the network of groups that it is to be told of.
    pub(crate) fn report_groups(&mut self) {
        while let Some(message) = self.groups.due(self.now) {
            match message {
                Message::Old(IpAddr::V4(group)) => self.send_old(group, IGMP_OLD_REPORT, group),
                Message::OldLeave(IpAddr::V4(group)) => {
                    self.send_old(ALL_ROUTERS, IGMP_LEAVE, group);
                }
                Message::Old(IpAddr::V6(group)) => {
                    self.send_old_mld(group, MLD_OLD_REPORT, group);
                }
                Message::OldLeave(IpAddr::V6(group)) => {
                    self.send_old_mld(ALL_ROUTERS_V6, MLD_DONE, group);
                }
                Message::Records(group, records) => {
                    let header = match group {
                        IpAddr::V4(_) => IPV4_HEADER + ALERT_V4.len(),
                        IpAddr::V6(_) => IPV6_HEADER + ALERT_V6.len(),
                    };
                    let room = self.mtu(Path::Nic) - header - report_len(group, 0);
                    for record in fitting(records, room / address_len(group)) {
                        match group {
                            IpAddr::V4(_) => self.send_igmp_report(group, &record),
                            IpAddr::V6(_) => self.send_mld_report(group, &record),
                        }
                    }
                }
            }
        }
    }

    /// Sends a message of IGMPv2.
    fn send_old(&mut self, to: Ipv4Addr, kind: u8, group: Ipv4Addr) {
        let [a, b, c, d] = group.octets();
        self.send_igmp(to, 8, |message| {
            message.copy_from_slice(&[kind, 0, 0, 0, a, b, c, d]);
        });
    }

    fn send_igmp_report(&mut self, group: IpAddr, record: &Record) {
        let len = report_len(group, record.1.len());
        self.send_igmp(IGMP_ROUTERS, len, |message| {
            write_report(message, IGMP_REPORT, group, record);
        });
    }

    fn send_igmp(&mut self, to: Ipv4Addr, len: usize, fill: impl FnOnce(&mut [u8])) {
        const HEADER: usize = IPV4_HEADER + ALERT_V4.len();
        let Some(own) = self.routes.own_v4() else {
            return;
        };
        let caps = ChecksumCapabilities::ignored();
        let _ = self.emit(Path::Nic, HEADER + len, 0, |packet| {
            let rest = write_header(packet, own.into(), to.into(), IpProtocol::Igmp, 1, &caps);
            let (alert, message) = rest.split_at_mut(ALERT_V4.len());
            alert.copy_from_slice(&ALERT_V4);
            fill(message);
            let sum = !checksum::plain(message);
            if let Some(field) = message.get_mut(2..4) {
                field.copy_from_slice(&sum.to_be_bytes());
            }
            let mut ip = Ipv4Packet::new_unchecked(packet);
            ip.set_header_len(HEADER as u8);
            ip.fill_checksum();
            Ok::<_, core::convert::Infallible>(())
        });
    }

    /// Sends a message of MLDv1 (RFC 2710 §3).
    fn send_old_mld(&mut self, to: Ipv6Addr, kind: u8, group: Ipv6Addr) {
        self.send_mld(to, 24, |message| {
            let (header, address) = message.split_at_mut(8);
            header.copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
            address.copy_from_slice(&group.octets());
        });
    }

    fn send_mld_report(&mut self, group: IpAddr, record: &Record) {
        let len = report_len(group, record.1.len());
        self.send_mld(MLD_ROUTERS, len, |message| {
            write_report(message, MLD_REPORT, group, record);
        });
    }

    fn send_mld(&mut self, to: Ipv6Addr, len: usize, fill: impl FnOnce(&mut [u8])) {
        const HEADER: usize = IPV6_HEADER + ALERT_V6.len();
        // Before it has an address a host reports from none (RFC 3810 §5.2.13).
        let own = self.routes.v6.link_local;
        let own = own.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let caps = ChecksumCapabilities::ignored();
        let _ = self.emit(Path::Nic, HEADER + len, 0, |packet| {
            let (source, hops) = (own.into(), IpProtocol::HopByHop);
            let rest = write_header(packet, source, to.into(), hops, 1, &caps);
            let (alert, message) = rest.split_at_mut(ALERT_V6.len());
            alert.copy_from_slice(&ALERT_V6);
            fill(message);
            Icmpv6Packet::new_unchecked(message).fill_checksum(&own, &to);
            Ok::<_, core::convert::Infallible>(())
        });
    }

    /// Takes in a message of IGMP: only questions matter.
    pub(crate) fn on_igmp(&mut self, ip: &Ip<'_>, dice: u64) {
        if checksum::plain(ip.payload) != 0xffff {
            return;
        }
        if let Some(query) = Query::parse_v4(ip.payload) {
            self.groups.on_query(&query, self.now, dice);
        }
    }

    /// Takes in a question of MLD, whose checksum is right.
    pub(crate) fn on_mld_query(&mut self, ip: &Ip<'_>, message: &[u8], dice: u64) {
        let is_from_link = matches!(ip.source, IpAddr::V6(a) if a.is_unicast_link_local());
        if !is_from_link || ip.ttl != 1 {
            return;
        }
        if let Some(query) = Query::parse_v6(message) {
            self.groups.on_query(&query, self.now, dice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_written_with_an_exponent() {
        assert_eq!(floating(0x7fff, 12), 32767);
        assert_eq!(floating(0x8000, 12), 32768);
        assert_eq!(floating(0xffff, 12), 0x1fff << 10);
        assert_eq!((floating(127, 4), floating(128, 4)), (127, 128));
        assert_eq!(floating(255, 4), 31744);
    }

    #[test]
    fn questions_of_each_version_are_read() {
        let ask = |message: &[u8]| Query::parse_v4(message);
        let old = ask(&[0x11, 100, 0, 0, 239, 1, 2, 3]).unwrap();
        assert_eq!((old.is_old, old.within), (true, Nanos::from_millis(10_000)));
        assert_eq!(
            ask(&[0x11, 0, 0, 0, 0, 0, 0, 0]).unwrap().within,
            ANSWER_WITHIN
        );
        let of_two = [
            0x11, 10, 0, 0, 239, 1, 2, 3, 2, 125, 0, 2, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let new = ask(&of_two).unwrap();
        assert_eq!((new.is_old, new.within), (false, Nanos::from_millis(1000)));
        assert_eq!(
            new.sources,
            ["10.0.0.1", "10.0.0.2"].map(|a| a.parse::<IpAddr>().unwrap())
        );
        assert_eq!(ask(&of_two[..19]), None);
        assert_eq!(ask(&[0x16, 100, 0, 0, 239, 1, 2, 3]), None);
        let mut six = [0; 44];
        six[4] = 0x80;
        six[8] = 0xff;
        (six[27], six[43]) = (1, 9);
        let six = Query::parse_v6(&six).unwrap();
        assert_eq!(six.group, "ff00::".parse::<IpAddr>().unwrap());
        assert_eq!(six.sources, ["::9".parse::<IpAddr>().unwrap()]);
        assert_eq!(six.within, Nanos::from_millis(32768));
    }

    #[test]
    fn lists_that_do_not_fit_are_split_or_cut() {
        let hosts = |count: u8| -> Vec<IpAddr> {
            (0..count)
                .map(|n| Ipv4Addr::new(10, 0, 0, n).into())
                .collect()
        };
        let records = fitting(
            [
                (Kind::ToInclude, hosts(5)),
                (Kind::ToExclude, hosts(5)),
                (Kind::ToInclude, hosts(0)),
            ]
            .into(),
            2,
        );
        let shape: Vec<_> = records.iter().map(|(kind, s)| (*kind, s.len())).collect();
        assert_eq!(
            shape,
            [
                (Kind::ToInclude, 2),
                (Kind::ToInclude, 2),
                (Kind::ToInclude, 1),
                (Kind::ToExclude, 2),
                (Kind::ToInclude, 0),
            ]
        );
    }
}
