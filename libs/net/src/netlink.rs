//! Answers of `NETLINK_ROUTE` (`rtnetlink(7)`): dumps of links and addresses, which `getifaddrs(3)` and
//! `getaddrinfo(3)` ask for.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use tyn_abi::Errno;

use crate::stack::Stack;
use crate::types::{Cidr, Cidr6};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// Message types below this one are netlink's own.
const NLMSG_MIN_TYPE: u16 = 16;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_MULTI: u16 = 2;
/// `NLM_F_ROOT | NLM_F_MATCH`; either one asks for a dump.
const NLM_F_DUMP: u16 = 0x300;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceInfo {
    /// Its number, from 1.
    pub index: u32,
    /// Its name.
    pub name: &'static str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Greatest packet in bytes.
    pub mtu: u32,
    /// Its IPv4 address.
    pub address: Option<Cidr>,
    /// Its IPv6 addresses.
    pub addresses6: Vec<Cidr6>,
    /// Whether it leads back to ourselves.
    pub is_loopback: bool,
}

impl Stack {
    /// Lists the interfaces: `lo`, and `eth0` when there is a card.
    pub fn interfaces(&mut self) -> Vec<InterfaceInfo> {
        let lo = InterfaceInfo {
            index: 1,
            name: "lo",
            mac: [0; 6],
            mtu: 65536,
            address: Some(Cidr {
                address: Ipv4Addr::LOCALHOST,
                prefix: 8,
            }),
            addresses6: alloc::vec![Cidr6 {
                address: Ipv6Addr::LOCALHOST,
                prefix: 128,
            }],
            is_loopback: true,
        };
        let address = self.lease().map(|l| l.address);
        let addresses6 = self.out.routes.v6.with_prefixes();
        let card = self.card().map(|(mac, mtu)| InterfaceInfo {
            index: 2,
            name: "eth0",
            mac,
            mtu: mtu as u32,
            address,
            addresses6,
            is_loopback: false,
        });
        [Some(lo), card].into_iter().flatten().collect()
    }
}

/// Answers the requests in one datagram of the socket with netlink port `port`; each element is a datagram.
#[must_use]
pub fn answer(mut requests: &[u8], port: u32, interfaces: &[InterfaceInfo]) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    while let Some(header) = requests.first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some(message) = requests.get(..len).filter(|m| m.len() >= HEADER) else {
            break;
        };
        let reply = Reply {
            kind: u16::from_le_bytes([t0, t1]),
            flags: u16::from_le_bytes([f0, f1]),
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            port,
        };
        reply.to(message, interfaces, &mut replies);
        let next = len.next_multiple_of(4);
        requests = requests.get(next..).unwrap_or_default();
    }
    replies
}

/// A request's header.
struct Reply {
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

impl Reply {
    fn to(&self, message: &[u8], interfaces: &[InterfaceInfo], replies: &mut Vec<Vec<u8>>) {
        if self.flags & NLM_F_REQUEST == 0 || self.kind < NLMSG_MIN_TYPE {
            return;
        }
        let family = message.get(HEADER).copied().unwrap_or(AF_UNSPEC);
        let is_dump = self.flags & NLM_F_DUMP != 0;
        let mut dump = Vec::new();
        match self.kind {
            RTM_GETLINK if is_dump => {
                for link in interfaces {
                    dump.extend(self.message(RTM_NEWLINK, NLM_F_MULTI, &link_body(link)));
                }
            }
            RTM_GETADDR if is_dump => {
                let mut add = |body: Vec<u8>| {
                    dump.extend(self.message(RTM_NEWADDR, NLM_F_MULTI, &body));
                };
                if matches!(family, AF_UNSPEC | AF_INET) {
                    let with = interfaces.iter().filter_map(|l| Some((l, l.address?)));
                    with.for_each(|(link, cidr)| add(address_body(link, cidr)));
                }
                if matches!(family, AF_UNSPEC | AF_INET6) {
                    let with = interfaces.iter();
                    let with = with.flat_map(|l| l.addresses6.iter().map(move |c| (l, *c)));
                    with.for_each(|(link, cidr)| add(address6_body(link, cidr)));
                }
            }
            _ => return replies.push(self.error(Errno::EOPNOTSUPP, message)),
        }
        if !dump.is_empty() {
            replies.push(dump);
        }
        replies.push(self.message(NLMSG_DONE, NLM_F_MULTI, &[0; 4]));
    }

    fn message(&self, kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut message = ((HEADER + body.len()) as u32).to_le_bytes().to_vec();
        message.extend(kind.to_le_bytes());
        message.extend(flags.to_le_bytes());
        message.extend(self.sequence.to_le_bytes());
        message.extend(self.port.to_le_bytes());
        message.extend_from_slice(body);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn error(&self, errno: Errno, request: &[u8]) -> Vec<u8> {
        let mut body = (-i32::from(errno.number())).to_le_bytes().to_vec();
        body.extend_from_slice(request.get(..HEADER).unwrap_or_default());
        self.message(NLMSG_ERROR, 0, &body)
    }
}

/// Appends a `struct rtattr`.
fn attribute(body: &mut Vec<u8>, kind: u16, data: &[u8]) {
    body.extend(((4 + data.len()) as u16).to_le_bytes());
    body.extend(kind.to_le_bytes());
    body.extend_from_slice(data);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Appends a string with its NUL.
fn text(body: &mut Vec<u8>, kind: u16, value: &str) {
    let mut data = value.as_bytes().to_vec();
    data.push(0);
    attribute(body, kind, &data);
}

/// `struct ifinfomsg` and attributes.
fn link_body(link: &InterfaceInfo) -> Vec<u8> {
    const ARPHRD_ETHER: u16 = 1;
    const ARPHRD_LOOPBACK: u16 = 772;
    /// `IFF_UP | IFF_RUNNING | IFF_LOWER_UP`.
    const UP: u32 = 0x1_0041;
    const IFF_BROADCAST_MULTICAST: u32 = 0x1002;
    const IFF_LOOPBACK: u32 = 0x8;
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_BROADCAST: u16 = 2;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    let (kind, flags, broadcast) = if link.is_loopback {
        (ARPHRD_LOOPBACK, UP | IFF_LOOPBACK, [0; 6])
    } else {
        (ARPHRD_ETHER, UP | IFF_BROADCAST_MULTICAST, [0xff; 6])
    };
    let mut body = alloc::vec![AF_UNSPEC, 0];
    body.extend(kind.to_le_bytes());
    body.extend(link.index.to_le_bytes());
    body.extend(flags.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    text(&mut body, IFLA_IFNAME, link.name);
    attribute(&mut body, IFLA_MTU, &link.mtu.to_le_bytes());
    attribute(&mut body, IFLA_ADDRESS, &link.mac);
    attribute(&mut body, IFLA_BROADCAST, &broadcast);
    body
}

/// `struct ifaddrmsg` and attributes.
fn address_body(link: &InterfaceInfo, cidr: Cidr) -> Vec<u8> {
    const IFA_F_PERMANENT: u8 = 0x80;
    const RT_SCOPE_UNIVERSE: u8 = 0;
    const RT_SCOPE_HOST: u8 = 254;
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_LABEL: u16 = 3;
    const IFA_BROADCAST: u16 = 4;
    let scope = if link.is_loopback {
        RT_SCOPE_HOST
    } else {
        RT_SCOPE_UNIVERSE
    };
    let mut body = alloc::vec![AF_INET, cidr.prefix, IFA_F_PERMANENT, scope];
    body.extend(link.index.to_le_bytes());
    let own = cidr.address.octets();
    attribute(&mut body, IFA_ADDRESS, &own);
    attribute(&mut body, IFA_LOCAL, &own);
    if let (Some(broadcast), false) = (cidr.broadcast(), link.is_loopback) {
        attribute(&mut body, IFA_BROADCAST, &broadcast.octets());
    }
    text(&mut body, IFA_LABEL, link.name);
    body
}

/// The same for IPv6.
fn address6_body(link: &InterfaceInfo, cidr: Cidr6) -> Vec<u8> {
    const IFA_F_PERMANENT: u8 = 0x80;
    const RT_SCOPE_UNIVERSE: u8 = 0;
    const RT_SCOPE_LINK: u8 = 253;
    const RT_SCOPE_HOST: u8 = 254;
    const IFA_ADDRESS: u16 = 1;
    const IFA_FLAGS: u16 = 8;
    let scope = match cidr.address {
        address if address.is_loopback() => RT_SCOPE_HOST,
        address if address.is_unicast_link_local() => RT_SCOPE_LINK,
        _ => RT_SCOPE_UNIVERSE,
    };
    let mut body = alloc::vec![AF_INET6, cidr.prefix, IFA_F_PERMANENT, scope];
    body.extend(link.index.to_le_bytes());
    attribute(&mut body, IFA_ADDRESS, &cidr.address.octets());
    attribute(
        &mut body,
        IFA_FLAGS,
        &u32::from(IFA_F_PERMANENT).to_le_bytes(),
    );
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<InterfaceInfo> {
        let card = InterfaceInfo {
            index: 2,
            name: "eth0",
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            address: Some(Cidr {
                address: Ipv4Addr::new(10, 0, 2, 15),
                prefix: 24,
            }),
            addresses6: alloc::vec![Cidr6 {
                address: "fe80::2".parse().unwrap(),
                prefix: 64,
            }],
            is_loopback: false,
        };
        let lo = InterfaceInfo {
            index: 1,
            name: "lo",
            address: None,
            addresses6: Vec::new(),
            is_loopback: true,
            ..card.clone()
        };
        alloc::vec![lo, card]
    }

    fn request(kind: u16, flags: u16, family: u8) -> Vec<u8> {
        let mut r = 17u32.to_le_bytes().to_vec();
        r.extend(kind.to_le_bytes());
        r.extend(flags.to_le_bytes());
        r.extend(77u32.to_le_bytes());
        r.extend([0; 4]);
        r.push(family);
        r
    }

    /// Splits a datagram into (type, sequence, port, body).
    fn messages(mut bytes: &[u8]) -> Vec<(u16, u32, u32, Vec<u8>)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let len = word(0) as usize;
            all.push((word(4) as u16, word(8), word(12), bytes[16..len].to_vec()));
            bytes = &bytes[len.next_multiple_of(4)..];
        }
        all
    }

    #[test]
    fn links_are_dumped_and_the_dump_ends() {
        let replies = answer(&request(RTM_GETLINK, 0x301, 0), 42, &interfaces());
        let links = messages(&replies[0]);
        let heads: Vec<_> = links.iter().map(|m| (m.0, m.1, m.2)).collect();
        assert_eq!(heads, [(RTM_NEWLINK, 77, 42); 2]);
        assert_eq!(links[0].3[2..8], [4, 3, 1, 0, 0, 0]);
        assert_eq!(links[1].3[16..28], *b"\x09\0\x03\0eth0\0\0\0\0");
        assert_eq!(messages(&replies[1])[0].0, NLMSG_DONE);
        assert_eq!(replies.len(), 2);
    }

    #[test]
    fn addresses_are_dumped_for_the_family_asked_for() {
        let replies = answer(&request(RTM_GETADDR, 0x301, AF_INET), 1, &interfaces());
        let (kind, _, _, body) = messages(&replies[0]).remove(0);
        assert_eq!(
            (kind, &body[..8]),
            (RTM_NEWADDR, &[2, 24, 0x80, 0, 2, 0, 0, 0][..])
        );
        assert_eq!(body[8..16], [8, 0, 1, 0, 10, 0, 2, 15]);
        assert_eq!(body[24..32], [8, 0, 4, 0, 10, 0, 2, 255]);
        let replies = answer(&request(RTM_GETADDR, 0x301, AF_INET6), 1, &interfaces());
        let (kind, _, _, body) = messages(&replies[0]).remove(0);
        assert_eq!(
            (kind, &body[..8]),
            (RTM_NEWADDR, &[10, 64, 0x80, 253, 2, 0, 0, 0][..])
        );
        assert_eq!(body[8..16], [20, 0, 1, 0, 0xfe, 0x80, 0, 0]);
        let replies = answer(&request(RTM_GETADDR, 0x301, 0), 1, &interfaces());
        let families: Vec<u8> = messages(&replies[0]).iter().map(|m| m.3[0]).collect();
        assert_eq!(families, [AF_INET, AF_INET6]);
        let replies = answer(&request(RTM_GETADDR, 0x301, 17), 1, &interfaces());
        assert_eq!(replies.len(), 1);
        assert_eq!(messages(&replies[0])[0].0, NLMSG_DONE);
    }

    #[test]
    fn other_requests_are_refused_and_broken_ones_ignored() {
        let replies = answer(&request(RTM_GETLINK, 1, 0), 1, &interfaces());
        let (kind, _, _, body) = messages(&replies[0]).remove(0);
        assert_eq!(
            (kind, &body[..4]),
            (NLMSG_ERROR, &(-95i32).to_le_bytes()[..])
        );
        let mut two = request(RTM_GETLINK, 0x301, 0);
        two.resize(20, 0);
        two.extend(request(RTM_GETADDR, 0x301, 0));
        assert_eq!(answer(&two, 1, &interfaces()).len(), 4);
        assert!(answer(&two[..15], 1, &interfaces()).is_empty());
        two[0] = 200;
        assert!(answer(&two, 1, &interfaces()).is_empty());
        two[0] = 3;
        assert!(answer(&two, 1, &interfaces()).is_empty());
        assert!(answer(&request(RTM_GETLINK, 0x300, 0), 1, &interfaces()).is_empty());
    }
}
