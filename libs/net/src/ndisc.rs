//! Neighbour discovery and stateless autoconfiguration of IPv6 (RFC 4861, RFC 4862, RFC 8106): our link-local address,
//! questions and answers about hardware addresses, and what routers tell.
//!
//! Addresses are used at once (optimistic, RFC 4429), and given up when somebody else turns out to have them.

use core::net::{IpAddr, Ipv6Addr};

use alloc::vec::Vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    NdiscNeighborFlags, NdiscOption, NdiscOptionRepr, NdiscPrefixInfoFlags, NdiscPrefixInformation,
    NdiscRepr, RawHardwareAddress,
};
use tyn_abi::Nanos;

use crate::neighbor::Mac;
use crate::output::{ETHERNET_HEADER, Output};
use crate::routes::{Timed, note, solicited_node};
use crate::trouble::LEAST_MTU6;
use crate::types::{Cidr6, Ip6Config, Path};
use crate::wire::{IPV6_HEADER, Ip, write_header};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Router solicitations that are sent, and the time between them.
const SOLICITATIONS: u8 = 3;
const SOLICIT_EVERY: Nanos = Nanos(4 * Nanos::PER_SEC);
/// How long an address may turn out to be somebody else's.
const TENTATIVE_FOR: Nanos = Nanos(Nanos::PER_SEC);
/// Hop limit that proves that a message comes from the link.
const HOP_LIMIT: u8 = 255;
/// The option with name servers (RFC 8106 §5.1).
const OPTION_RDNSS: u8 = 25;
/// Name servers that are kept.
const MOST_SERVERS: usize = 3;
/// A network's lifetime is never cut to less than this by a message that anybody can forge (RFC 4862 §5.5.3).
const LEAST_LIFETIME: Nanos = Nanos(7200 * Nanos::PER_SEC);

/// What goes on with the card's configuration.
#[derive(Debug, Default)]
pub(crate) struct Autoconf {
    listens_to_routers: bool,
    solicitations: u8,
    solicit_at: Option<Nanos>,
    /// Addresses that may turn out to be somebody else's, and until when.
    tentative: Vec<(Ipv6Addr, Nanos)>,
}

/// Returns the Ethernet address of a group (RFC 2464 §7).
pub(crate) fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Returns the lower half of addresses that are made from a hardware address (RFC 4291, appendix A).
fn interface_id([a, b, c, d, e, f]: Mac) -> u64 {
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn with_interface(prefix: Ipv6Addr, mac: Mac) -> Ipv6Addr {
    let upper = u128::from(prefix) >> 64 << 64;
    Ipv6Addr::from(upper | u128::from(interface_id(mac)))
}

fn raw(mac: Mac) -> Option<RawHardwareAddress> {
    Some(RawHardwareAddress::from(EthernetAddress(mac)))
}

fn unicast_mac(address: Option<RawHardwareAddress>) -> Option<Mac> {
    let bytes: Mac = address?.as_bytes().try_into().ok()?;
    EthernetAddress(bytes).is_unicast().then_some(bytes)
}

impl Output {
    /// Gives the card its link-local address and what `config` says, and asks for routers.
    pub(crate) fn start_v6(&mut self, config: Ip6Config) {
        // A link that takes less carries no IPv6 (RFC 8200 §5).
        let is_too_narrow = self.mtu(Path::Nic) < LEAST_MTU6;
        if config == Ip6Config::Off || self.device().is_none() || is_too_narrow {
            return;
        }
        let prefix = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
        let own = with_interface(prefix, self.mac());
        self.routes.has_v6 = true;
        self.routes.v6.link_local = Some(own);
        self.ask_whether_used(own);
        match config {
            Ip6Config::Static {
                address,
                gateway,
                dns,
            } => {
                let forever = |value| Timed { value, until: None };
                let v6 = &mut self.routes.v6;
                v6.addresses.push(forever(address));
                v6.networks.push(forever(address));
                v6.router = gateway.map(|value| Timed { value, until: None });
                v6.dns = dns;
                self.ask_whether_used(address.address);
            }
            _ => {
                self.autoconf.listens_to_routers = true;
                self.autoconf.solicit_at = Some(self.now);
            }
        }
    }

    /// Sends a message whose hop limit proves that it comes from this link.
    fn send_ndisc(&mut self, from: Ipv6Addr, to: Ipv6Addr, mac: Mac, repr: NdiscRepr<'_>) {
        let own_mac = self.mac();
        if !self.has_device() {
            return;
        }
        let repr = Icmpv6Repr::Ndisc(repr);
        let mut bytes = alloc::vec![0; ETHERNET_HEADER + IPV6_HEADER + repr.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_dst_addr(EthernetAddress(mac));
        frame.set_src_addr(EthernetAddress(own_mac));
        frame.set_ethertype(EthernetProtocol::Ipv6);
        let caps = ChecksumCapabilities::default();
        let (source, destination) = (IpAddr::V6(from), IpAddr::V6(to));
        let protocol = IpProtocol::Icmpv6;
        let packet = frame.payload_mut();
        let payload = write_header(packet, source, destination, protocol, HOP_LIMIT, &caps);
        repr.emit(&from, &to, &mut Icmpv6Packet::new_unchecked(payload), &caps);
        let packet = frame.payload_mut();
        self.mib.sent(packet, None);
        self.mib.of_sent(packet).transmits += 1;
        self.transmit_raw(&bytes);
    }

    /// Asks for a host's hardware address.
    pub(crate) fn solicit(&mut self, host: Ipv6Addr) {
        let lladdr = raw(self.mac());
        let Some(own) = self.routes.v6.link_local else {
            return;
        };
        let group = solicited_node(host);
        let question = NdiscRepr::NeighborSolicit {
            target_addr: host,
            lladdr,
        };
        self.send_ndisc(own, group, group_mac(group), question);
    }

    /// Asks whether somebody else has an address that became ours just now.
    fn ask_whether_used(&mut self, own: Ipv6Addr) {
        let now = self.now;
        let tentative = &mut self.autoconf.tentative;
        tentative.retain(|&(address, until)| address != own && now < until);
        tentative.push((own, now + TENTATIVE_FOR));
        let group = solicited_node(own);
        let question = NdiscRepr::NeighborSolicit {
            target_addr: own,
            lladdr: None,
        };
        self.send_ndisc(Ipv6Addr::UNSPECIFIED, group, group_mac(group), question);
    }

    /// Returns when [`Output::expire_v6`] has something to do.
    pub(crate) fn deadline_v6(&self) -> Option<Nanos> {
        let expiry = self.routes.v6.deadline();
        self.autoconf.solicit_at.into_iter().chain(expiry).min()
    }

    /// Asks for routers again; forgets what has run out. Returns whether the configuration changed.
    pub(crate) fn expire_v6(&mut self) -> bool {
        let now = self.now;
        if self.autoconf.solicit_at.is_some_and(|at| at <= now) {
            self.autoconf.solicit_at = None;
            self.solicit_routers();
        }
        self.routes.v6.expire(now)
    }

    /// Asks for routers, if we still have an address to ask from.
    fn solicit_routers(&mut self) {
        let Some(own) = self.routes.v6.link_local else {
            return;
        };
        self.autoconf.solicitations += 1;
        let again = self.autoconf.solicitations < SOLICITATIONS;
        self.autoconf.solicit_at = again.then_some(self.now + SOLICIT_EVERY);
        let lladdr = raw(self.mac());
        let question = NdiscRepr::RouterSolicit { lladdr };
        self.send_ndisc(own, ALL_ROUTERS, group_mac(ALL_ROUTERS), question);
    }

    /// Takes in a message of neighbour discovery, whose checksum is right. Returns whether the configuration changed.
    pub(crate) fn on_ndisc(&mut self, ip: &Ip<'_>, message: &Icmpv6Packet<&[u8]>) -> bool {
        let (IpAddr::V6(source), true) = (ip.source, ip.ttl == HOP_LIMIT) else {
            return false;
        };
        if !self.routes.has_v6 || message.msg_code() != 0 {
            return false;
        }
        match NdiscRepr::parse(message) {
            Ok(NdiscRepr::NeighborSolicit {
                target_addr,
                lladdr,
            }) => {
                self.on_solicitation(source, target_addr, unicast_mac(lladdr));
                false
            }
            Ok(NdiscRepr::NeighborAdvert {
                target_addr,
                lladdr,
                ..
            }) => self.on_advertisement(target_addr, unicast_mac(lladdr)),
            Ok(NdiscRepr::RouterAdvert {
                router_lifetime,
                lladdr,
                ..
            }) => {
                if !self.autoconf.listens_to_routers || !source.is_unicast_link_local() {
                    return false;
                }
                if let Some(mac) = unicast_mac(lladdr) {
                    self.learn(IpAddr::V6(source), mac);
                }
                self.autoconf.solicit_at = None;
                self.on_router(source, router_lifetime.secs(), message.payload())
            }
            _ => false,
        }
    }

    fn on_solicitation(&mut self, source: Ipv6Addr, target: Ipv6Addr, mac: Option<Mac>) {
        if !self.routes.v6.is_own(target) {
            return;
        }
        let lladdr = raw(self.mac());
        let answer = |flags| NdiscRepr::NeighborAdvert {
            flags,
            target_addr: target,
            lladdr,
        };
        if source.is_unspecified() {
            // Somebody asks whether the address is taken: it is, by us.
            let mac = group_mac(ALL_NODES);
            return self.send_ndisc(target, ALL_NODES, mac, answer(NdiscNeighborFlags::OVERRIDE));
        }
        let is_neighbor = !source.is_multicast()
            && !self.routes.v6.is_own(source)
            && self.routes.v6.is_on_link(source);
        if let (true, Some(mac)) = (is_neighbor, mac) {
            self.learn(IpAddr::V6(source), mac);
            let flags = NdiscNeighborFlags::OVERRIDE | NdiscNeighborFlags::SOLICITED;
            self.send_ndisc(target, source, mac, answer(flags));
        }
    }

    fn on_advertisement(&mut self, target: Ipv6Addr, mac: Option<Mac>) -> bool {
        if self.routes.v6.is_own(target) {
            let now = self.now;
            let tentative = &mut self.autoconf.tentative;
            let is_lost = tentative
                .iter()
                .any(|&(a, until)| a == target && now < until);
            if is_lost {
                tentative.retain(|&(address, _)| address != target);
                let v6 = &mut self.routes.v6;
                v6.link_local = v6.link_local.filter(|own| *own != target);
                v6.addresses.retain(|a| a.value.address != target);
            }
            return is_lost;
        }
        if let Some(mac) = mac
            && self.neighbors.knows(target.into())
        {
            self.learn(target.into(), mac);
        }
        false
    }

    fn on_router(&mut self, router: Ipv6Addr, lifetime_s: u64, mut options: &[u8]) -> bool {
        let now = self.now;
        let before = self.routes.v6.router.map(|r| r.value);
        if lifetime_s > 0 {
            self.routes.v6.router = Some(Timed {
                value: router,
                until: Some(now + Nanos(lifetime_s * Nanos::PER_SEC)),
            });
        } else if before == Some(router) {
            self.routes.v6.router = None;
        }
        let mut is_changed = before != self.routes.v6.router.map(|r| r.value);
        while let Some(&[kind, eights]) = options.first_chunk() {
            let length = usize::from(eights) * 8;
            let Some(option) = options.get(..length).filter(|_| length > 0) else {
                break;
            };
            if kind == OPTION_RDNSS {
                is_changed |= self.on_servers(option);
            } else if let Ok(option) = NdiscOption::new_checked(option)
                && let Ok(NdiscOptionRepr::PrefixInformation(info)) =
                    NdiscOptionRepr::parse(&option)
            {
                is_changed |= self.on_network(&info);
            }
            options = options.get(length..).unwrap_or_default();
        }
        is_changed
    }

    /// Takes note of name servers: type, length, two reserved bytes, lifetime, addresses.
    fn on_servers(&mut self, option: &[u8]) -> bool {
        let Some((head, addresses)) = option.split_first_chunk::<8>() else {
            return false;
        };
        let [_, _, _, _, lifetime @ ..] = *head;
        let (addresses, _) = addresses.as_chunks::<16>();
        let servers: Vec<Ipv6Addr> = match u32::from_be_bytes(lifetime) {
            0 => Vec::new(),
            _ => addresses
                .iter()
                .map(|&a| Ipv6Addr::from(a))
                .take(MOST_SERVERS)
                .collect(),
        };
        let is_changed = servers != self.routes.v6.dns;
        self.routes.v6.dns = servers;
        is_changed
    }

    fn on_network(&mut self, info: &NdiscPrefixInformation) -> bool {
        const FOREVER: u64 = 0xffff_ffff;
        let now = self.now;
        let until = match info.valid_lifetime.secs() {
            FOREVER => None,
            s => Some(now + Nanos(s * Nanos::PER_SEC)),
        };
        if info.prefix_len > 128
            || info.prefix.is_unicast_link_local()
            || info.prefix.is_multicast()
        {
            return false;
        }
        let network = Cidr6 {
            address: info.prefix,
            prefix: info.prefix_len,
        };
        let is_over = until.is_some_and(|at| at <= now);
        let mac = self.mac();
        let v6 = &mut self.routes.v6;
        let mut is_changed = false;
        if info.flags.contains(NdiscPrefixInfoFlags::ON_LINK) {
            if is_over {
                v6.networks.retain(|n| n.value != network);
            } else {
                note(
                    &mut v6.networks,
                    Timed {
                        value: network,
                        until,
                    },
                );
            }
        }
        let makes_address = info.flags.contains(NdiscPrefixInfoFlags::ADDRCONF)
            && info.prefix_len == 64
            && info.preferred_lifetime <= info.valid_lifetime;
        if makes_address {
            let address = with_interface(info.prefix, mac);
            let value = Cidr6 {
                address,
                prefix: 64,
            };
            let old = v6
                .addresses
                .iter()
                .find(|a| a.value == value)
                .map(|a| a.until);
            let until = match (old, until) {
                (Some(Some(old)), Some(new)) if new < old && new < now + LEAST_LIFETIME => {
                    Some(old.min(now + LEAST_LIFETIME))
                }
                (Some(None), Some(new)) => Some(new.max(now + LEAST_LIFETIME)),
                (None, Some(_)) if is_over => return is_changed,
                _ => until,
            };
            if note(&mut v6.addresses, Timed { value, until }) {
                is_changed = true;
                self.ask_whether_used(address);
            }
        }
        is_changed
    }
}
