//! Multicast groups: which the interfaces are members of for sockets, and how the network learns of it (IGMPv2, RFC 2236;
//! MLDv2, RFC 3810, in reports without sources).

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv6Packet, Icmpv6Repr, IgmpPacket, IgmpRepr, IgmpVersion, IpProtocol, Ipv4Packet,
    MldAddressRecordRepr, MldRecordType, MldRepr,
};
use tyn_abi::Nanos;

use crate::output::Output;
use crate::types::Path;
use crate::wire::{IPV4_HEADER, IPV6_HEADER, Ip, write_header};

const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Those who listen to reports of MLDv2 (RFC 3810 §5.2.14).
const MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Every membership is told twice, in case the first report was lost (RFC 2236 §8.10, RFC 3810 §9.1).
const REPORTS: u8 = 2;
/// Time between the two (RFC 2236 allows up to 10 s, RFC 3810 up to 1 s).
const REPORT_AGAIN: Nanos = Nanos(Nanos::PER_SEC);
/// Queries without a time, of version 1, mean 10 s (RFC 2236 §4).
const ANSWER_WITHIN: Nanos = Nanos(10 * Nanos::PER_SEC);
/// The router alert option (RFC 2113); a hop-by-hop header with it (RFC 2711, RFC 8200 §4.3), before ICMPv6.
const ALERT_V4: [u8; 4] = [0x94, 4, 0, 0];
const ALERT_V6: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

#[derive(Debug)]
struct Member {
    /// Sockets that joined.
    sockets: u32,
    /// When the network is told next, and how many times more.
    report: Option<(Nanos, u8)>,
}

/// The groups of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<(Path, IpAddr), Member>);

/// Returns whether a group is one that every host is in, of which nobody is told (RFC 2236 §6, RFC 3810 §6).
fn is_of_all(group: IpAddr) -> bool {
    group == ALL_HOSTS || group == ALL_NODES
}

impl Groups {
    /// Counts a socket that joined.
    pub(crate) fn join(&mut self, path: Path, group: IpAddr, now: Nanos) {
        let tells = path == Path::Nic && !is_of_all(group);
        let member = self.0.entry((path, group)).or_insert(Member {
            sockets: 0,
            report: tells.then_some((now, REPORTS)),
        });
        member.sockets += 1;
    }

    /// Ends what [`Groups::join`] began; returns whether the network is to be told that nobody is left.
    pub(crate) fn leave(&mut self, path: Path, group: IpAddr) -> bool {
        let Some(member) = self.0.get_mut(&(path, group)) else {
            return false;
        };
        member.sockets -= 1;
        let is_last = member.sockets == 0;
        if is_last {
            self.0.remove(&(path, group));
        }
        is_last && path == Path::Nic && !is_of_all(group)
    }

    /// Returns whether an interface takes in what is sent to a group.
    pub(crate) fn contains(&self, path: Path, group: IpAddr) -> bool {
        is_of_all(group) || self.0.contains_key(&(path, group))
    }

    /// Takes note of a question for one group, or for all of a family; each answer comes at a time of its own before
    /// `within`, which `dice` chooses.
    pub(crate) fn on_query(&mut self, about: IpAddr, within: Nanos, now: Nanos, dice: u64) {
        let mut dice = dice;
        for ((path, group), member) in &mut self.0 {
            let is_meant =
                about == *group || (about.is_unspecified() && about.is_ipv4() == group.is_ipv4());
            if *path != Path::Nic || is_of_all(*group) || !is_meant {
                continue;
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = now + Nanos((dice >> 32) % within.0.max(1));
            let earlier = member.report.filter(|&(due, _)| due <= at);
            member.report = earlier.or(Some((at, 1)));
        }
    }

    /// Returns when somebody is to be told next.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.0.values().filter_map(|m| m.report).map(|r| r.0).min()
    }

    /// Takes a group that the network is to be told of now.
    fn due(&mut self, now: Nanos) -> Option<IpAddr> {
        let (&(_, group), member) = self
            .0
            .iter_mut()
            .find(|(_, m)| m.report.is_some_and(|(at, _)| at <= now))?;
        let left = member.report.map_or(0, |(_, left)| left.saturating_sub(1));
        member.report = (left > 0).then_some((now + REPORT_AGAIN, left));
        Some(group)
    }
}

impl Output {
    /// Tells the network of groups that it is to be told of.
    pub(crate) fn report_groups(&mut self) {
        while let Some(group) = self.groups.due(self.now) {
            match group {
                IpAddr::V4(group_addr) => {
                    let version = IgmpVersion::Version2;
                    let report = IgmpRepr::MembershipReport {
                        group_addr,
                        version,
                    };
                    self.send_igmp(group_addr, &report);
                }
                IpAddr::V6(group) => self.send_mld(MldRecordType::ChangeToExclude, group),
            }
        }
    }

    /// Tells the network that nobody is left in a group.
    pub(crate) fn report_left(&mut self, group: IpAddr) {
        match group {
            IpAddr::V4(group_addr) => {
                self.send_igmp(ALL_ROUTERS, &IgmpRepr::LeaveGroup { group_addr });
            }
            IpAddr::V6(group) => self.send_mld(MldRecordType::ChangeToInclude, group),
        }
    }

    fn send_igmp(&mut self, to: Ipv4Addr, message: &IgmpRepr) {
        const HEADER: usize = IPV4_HEADER + ALERT_V4.len();
        let Some(own) = self.routes.own_v4() else {
            return;
        };
        let caps = ChecksumCapabilities::ignored();
        let len = HEADER + message.buffer_len();
        let _ = self.emit(Path::Nic, len, 0, |packet| {
            write_header(packet, own.into(), to.into(), IpProtocol::Igmp, 1, &caps);
            let (header, payload) = packet.split_at_mut(HEADER);
            if let Some(options) = header.get_mut(IPV4_HEADER..) {
                options.copy_from_slice(&ALERT_V4);
            }
            message.emit(&mut IgmpPacket::new_unchecked(payload));
            let mut ip = Ipv4Packet::new_unchecked(packet);
            ip.set_header_len(HEADER as u8);
            ip.fill_checksum();
            Ok::<_, core::convert::Infallible>(())
        });
    }

    fn send_mld(&mut self, kind: MldRecordType, group: Ipv6Addr) {
        // Before it has an address a host reports from none (RFC 3810 §5.2.13).
        let own = self.routes.v6.link_local;
        let own = own.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let records = [MldAddressRecordRepr::new(kind, group)];
        let message = Icmpv6Repr::Mld(MldRepr::ReportRecordReprs(&records));
        let caps = ChecksumCapabilities::default();
        // smoltcp's length is without the records.
        let records_len = records
            .iter()
            .map(MldAddressRecordRepr::buffer_len)
            .sum::<usize>();
        let len = IPV6_HEADER + ALERT_V6.len() + message.buffer_len() + records_len;
        let _ = self.emit(Path::Nic, len, 0, |packet| {
            let (source, to) = (own.into(), MLD_ROUTERS.into());
            let rest = write_header(packet, source, to, IpProtocol::HopByHop, 1, &caps);
            let (alert, icmp) = rest.split_at_mut(ALERT_V6.len());
            alert.copy_from_slice(&ALERT_V6);
            message.emit(
                &own,
                &MLD_ROUTERS,
                &mut Icmpv6Packet::new_unchecked(icmp),
                &caps,
            );
            Ok::<_, core::convert::Infallible>(())
        });
    }

    /// Takes in a message of IGMP: only questions matter.
    pub(crate) fn on_igmp(&mut self, ip: &Ip<'_>, dice: u64) {
        let packet = IgmpPacket::new_checked(ip.payload).ok();
        let Some(packet) = packet.filter(IgmpPacket::verify_checksum) else {
            return;
        };
        if let Ok(IgmpRepr::MembershipQuery {
            max_resp_time,
            group_addr,
            version,
        }) = IgmpRepr::parse(&packet)
        {
            let within = match version {
                IgmpVersion::Version1 => ANSWER_WITHIN,
                IgmpVersion::Version2 => Nanos(max_resp_time.total_micros() * 1000),
            };
            self.groups
                .on_query(group_addr.into(), within, self.now, dice);
        }
    }

    /// Takes in a question of MLD, whose checksum is right.
    pub(crate) fn on_mld_query(&mut self, ip: &Ip<'_>, message: &Icmpv6Packet<&[u8]>, dice: u64) {
        let is_from_link = matches!(ip.source, IpAddr::V6(a) if a.is_unicast_link_local());
        if !is_from_link || ip.ttl != 1 {
            return;
        }
        if let Ok(MldRepr::Query {
            max_resp_code,
            mcast_addr,
            ..
        }) = MldRepr::parse(message)
        {
            let within = Nanos::from_millis(max_response_ms(max_resp_code));
            self.groups
                .on_query(mcast_addr.into(), within, self.now, dice);
        }
    }
}

/// Returns the time that a code stands for (RFC 3810 §5.1.3).
fn max_response_ms(code: u16) -> u64 {
    const FLOAT: u16 = 0x8000;
    if code < FLOAT {
        return code.into();
    }
    let (mantissa, exponent) = (u64::from(code & 0xfff), u32::from(code >> 12 & 7));
    (mantissa | 0x1000) << (exponent + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
    const OTHER: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7));

    #[test]
    fn first_and_last_of_a_group_are_told() {
        let mut groups = Groups::default();
        assert!(!groups.contains(Path::Nic, GROUP) && groups.contains(Path::Nic, ALL_HOSTS.into()));
        groups.join(Path::Nic, GROUP, Nanos(5));
        groups.join(Path::Nic, GROUP, Nanos(6));
        assert!(groups.contains(Path::Nic, GROUP) && !groups.contains(Path::Loopback, GROUP));
        assert_eq!(groups.deadline(), Some(Nanos(5)));
        assert_eq!(
            (groups.due(Nanos(4)), groups.due(Nanos(5))),
            (None, Some(GROUP))
        );
        assert_eq!(groups.deadline(), Some(Nanos(5) + REPORT_AGAIN));
        assert_eq!(groups.due(Nanos(5) + REPORT_AGAIN), Some(GROUP));
        assert_eq!(groups.deadline(), None);
        assert!(!groups.leave(Path::Nic, GROUP) && groups.leave(Path::Nic, GROUP));
        assert!(!groups.leave(Path::Nic, GROUP) && !groups.contains(Path::Nic, GROUP));
    }

    #[test]
    fn nobody_is_told_of_our_own_interface_or_the_group_of_all() {
        let mut groups = Groups::default();
        groups.join(Path::Loopback, GROUP, Nanos(5));
        groups.join(Path::Nic, ALL_NODES.into(), Nanos(5));
        assert_eq!(groups.deadline(), None);
        assert!(!groups.leave(Path::Loopback, GROUP) && !groups.leave(Path::Nic, ALL_NODES.into()));
    }

    #[test]
    fn questions_are_answered_in_time_once() {
        let mut groups = Groups::default();
        groups.join(Path::Nic, GROUP, Nanos(0));
        groups.join(Path::Nic, OTHER, Nanos(0));
        for n in 0..4 {
            assert!(groups.due(Nanos(n * Nanos::PER_SEC)).is_some());
        }
        assert_eq!(groups.deadline(), None);
        let (now, within) = (Nanos(1000), Nanos(100));
        for dice in 0..50 {
            groups.on_query(Ipv4Addr::UNSPECIFIED.into(), within, now, dice);
            groups.on_query(OTHER, within, now, dice);
            assert!(
                groups
                    .deadline()
                    .is_some_and(|at| at >= now && at < now + within)
            );
            let mut told = [groups.due(now + within), groups.due(now + within)];
            told.sort();
            assert_eq!(told, [Some(GROUP), Some(OTHER)]);
            assert_eq!(groups.due(now + within), None);
        }
        groups.on_query("239.9.9.9".parse().unwrap(), within, now, 1);
        assert_eq!(groups.deadline(), None);
    }

    #[test]
    fn long_times_are_written_with_an_exponent() {
        assert_eq!(max_response_ms(0x7fff), 32767);
        assert_eq!(max_response_ms(0x8000), 32768);
        assert_eq!(max_response_ms(0xffff), 0x1fff << 10);
    }
}
