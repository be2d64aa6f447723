//! What a stream's socket knows of the headers of its packets: `IP_PKTOPTIONS` (`do_ip_getsockopt` of Linux) and
//! `IPV6_2292PKTOPTIONS` (`do_ipv6_getsockopt`; RFC 2292 §4.1): control messages, of which those are told that were asked for.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use tyn_abi::Errno;
use tyn_abi::socket::{ControlMessage, ControlWriter};
use tyn_net::{Path, Seen};

use super::address::{CARD, Family, LOOPBACK, as_v6};
use super::inet::{IPPROTO_IP, IPPROTO_IPV6, InetSocket, Protocol};
use super::inspect;
use super::ip_options::{IP_TOS, IP_TTL, IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_TCLASS};
use super::switches::IP_PKTINFO;

const IP_PKTOPTIONS: i32 = 9;
pub(super) const IPV6_2292PKTOPTIONS: i32 = 6;
/// What stands for an address of IPv6 where Linux has room for one of IPv4 only (`LOOPBACK4_IPV6`).
const STAND_IN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// Answers `getsockopt(2)` for a buffer of `room` bytes; `None` for other options.
pub(super) fn get(
    socket: &InetSocket,
    level: i32,
    name: i32,
    room: usize,
) -> Option<Result<Vec<u8>, Errno>> {
    let is_known = match (level, name) {
        (IPPROTO_IP, IP_PKTOPTIONS) => true,
        (IPPROTO_IPV6, IPV6_2292PKTOPTIONS) => socket.family == Family::V6,
        _ => false,
    };
    if !is_known || socket.protocol != Protocol::Tcp {
        return None;
    }
    let mut writer = ControlWriter::new(room);
    let all = inspect(|stack| stack.tcp_seen(socket.id)).map(|(seen, own, peer)| {
        if level == IPPROTO_IP {
            of_v4(socket, &seen, own)
        } else {
            of_v6(socket, &seen, own, peer)
        }
    });
    Some(all.map(|all| {
        for (kind, data) in &all {
            writer.push(ControlMessage {
                level,
                kind: *kind,
                data,
            });
        }
        writer.finish().0
    }))
}

fn index_of(seen: &Seen) -> u32 {
    match seen.path {
        None => 0,
        Some(Path::Loopback) => LOOPBACK,
        Some(Path::Nic) => CARD,
    }
}

fn number(value: u8) -> Vec<u8> {
    u32::from(value).to_le_bytes().to_vec()
}

fn of_v4(socket: &InetSocket, seen: &Seen, own: IpAddr) -> Vec<(i32, Vec<u8>)> {
    let [[info, ttl, tos], _] = socket.switches.wanted();
    let own = match own {
        IpAddr::V4(own) => own,
        IpAddr::V6(own) if own.is_unspecified() => Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(_) => STAND_IN,
    };
    let is_v4 = own != STAND_IN;
    // Of a connection of IPv6 this was never written down.
    let seen = if is_v4 { *seen } else { Seen::default() };
    let mut all = Vec::new();
    if info {
        let mut data = index_of(&seen).to_le_bytes().to_vec();
        data.extend(own.octets());
        data.extend(own.octets());
        all.push((IP_PKTINFO, data));
    }
    if ttl {
        all.push((IP_TTL, number(seen.ttl)));
    }
    if tos {
        all.push((IP_TOS, number(seen.tos)));
    }
    all
}

fn of_v6(
    socket: &InetSocket,
    seen: &Seen,
    own: IpAddr,
    peer: Option<SocketAddr>,
) -> Vec<(i32, Vec<u8>)> {
    let [_, [info, limit, class]] = socket.switches.wanted();
    let mut all = Vec::new();
    if info {
        let address = match peer.filter(|_| seen.path.is_some()) {
            _ if seen.is_first && own.is_ipv6() => as_v6(own),
            // The peer's, where one would expect our own: so it is on Linux.
            Some(peer) => as_v6(peer.ip()),
            None => core::net::Ipv6Addr::UNSPECIFIED,
        };
        let mut data = address.octets().to_vec();
        data.extend(index_of(seen).to_le_bytes());
        all.push((IPV6_PKTINFO, data));
    }
    if limit {
        all.push((IPV6_HOPLIMIT, number(seen.ttl)));
    }
    if class {
        let class = if own.is_ipv6() { seen.tos } else { 0 };
        all.push((IPV6_TCLASS, number(class)));
    }
    all
}
