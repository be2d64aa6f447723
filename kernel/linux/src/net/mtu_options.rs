//! Options about the MTU of paths (`ip(7)`: `IP_MTU_DISCOVER`, `IP_MTU`; `ipv6(7)`: `IPV6_MTU_DISCOVER`, `IPV6_MTU`; RFC 3542
//! §11: `IPV6_PATHMTU`, `IPV6_RECVPATHMTU`).

use alloc::vec::Vec;

use tyn_abi::Errno;
use tyn_net::MtuDiscovery;

use super::address::{Family, encode};
use super::inet::{IPPROTO_IP, IPPROTO_IPV6, InetSocket, Protocol};
use super::{adjust, inspect, operate};
use crate::socket::{Control, Incoming};

const IP_MTU_DISCOVER: i32 = 10;
const IP_MTU: i32 = 14;
const IPV6_MTU_DISCOVER: i32 = 23;
const IPV6_MTU: i32 = 24;
const IPV6_PATHMTU: i32 = 61;
/// Lengths of `struct sockaddr_in6`, and of `struct ip6_mtuinfo`, which is one with a number.
const SOCKADDR: usize = 28;
const MTU_INFO: usize = 32;
/// The least MTU of IPv6.
const LEAST_V6: u32 = 1280;

/// Answers `getsockopt(2)`; `None` for other options.
pub(super) fn get(socket: &InetSocket, level: i32, name: i32) -> Option<Result<u32, Errno>> {
    Some(match (level, name) {
        (IPPROTO_IP, IP_MTU_DISCOVER) => discovery(socket).map(|[v4, _]| v4 as u32),
        (IPPROTO_IPV6, IPV6_MTU_DISCOVER) => discovery(socket).map(|[_, v6]| v6 as u32),
        (IPPROTO_IP, IP_MTU) | (IPPROTO_IPV6, IPV6_MTU) => {
            let mtu = inspect(|stack| stack.socket_mtu(socket.id));
            mtu.map(|mtu| u32::try_from(mtu).unwrap_or(u32::MAX))
        }
        _ => return None,
    })
}

/// Answers `getsockopt(2)` of `IPV6_PATHMTU`; `None` for other options.
pub(super) fn get_path(
    socket: &InetSocket,
    level: i32,
    name: i32,
    room: usize,
) -> Option<Result<Vec<u8>, Errno>> {
    if (level, name) != (IPPROTO_IPV6, IPV6_PATHMTU) {
        return None;
    }
    if room < MTU_INFO {
        return Some(Err(Errno::EINVAL));
    }
    let mtu = inspect(|stack| stack.socket_mtu(socket.id));
    Some(mtu.map(|mtu| info(alloc::vec![0; SOCKADDR], mtu)))
}

fn info(mut address: Vec<u8>, mtu: usize) -> Vec<u8> {
    address.extend(u32::try_from(mtu).unwrap_or(u32::MAX).to_le_bytes());
    address
}

/// Takes what there is to tell of a datagram that was too long for its path (`IPV6_RECVPATHMTU`): no bytes, but a message.
pub(super) fn take_path(socket: &InetSocket) -> Option<Incoming> {
    if socket.family == Family::V4 || !socket.switches.send().tells_mtu {
        return None;
    }
    let (host, mtu) = operate(|stack| stack.udp_take_path_mtu(socket.id))?;
    let address = encode(Family::V6, (host, 0).into());
    let control = Control {
        level: IPPROTO_IPV6,
        kind: IPV6_PATHMTU,
        data: info(address.clone(), mtu),
    };
    Some(Incoming {
        address: Some(address),
        control: alloc::vec![control],
        ..Incoming::default()
    })
}

fn discovery(socket: &InetSocket) -> Result<[MtuDiscovery; 2], Errno> {
    inspect(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_options(socket.id).map(|o| o.mtu_discovery),
        Protocol::Udp => stack.udp_options(socket.id).map(|o| o.mtu_discovery),
    })
}

/// Answers `setsockopt(2)`; `None` for other options.
pub(super) fn set(
    socket: &InetSocket,
    level: i32,
    name: i32,
    number: Result<u32, Errno>,
) -> Option<Result<(), Errno>> {
    Some(match (level, name) {
        (IPPROTO_IP, IP_MTU_DISCOVER) => number.and_then(|n| set_discovery(socket, n, false)),
        (IPPROTO_IPV6, IPV6_MTU_DISCOVER) => number.and_then(|n| set_discovery(socket, n, true)),
        (IPPROTO_IPV6, IPV6_MTU) => number.and_then(|n| set_longest(socket, n)),
        _ => return None,
    })
}

fn set_discovery(socket: &InetSocket, number: u32, is_v6: bool) -> Result<(), Errno> {
    let way = MtuDiscovery::from_number(number.cast_signed()).ok_or(Errno::EINVAL)?;
    let choose = |[v4, v6]: &mut [MtuDiscovery; 2]| *if is_v6 { v6 } else { v4 } = way;
    adjust(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_change_options(socket.id, |o| choose(&mut o.mtu_discovery)),
        Protocol::Udp => stack.udp_change_options(socket.id, |o| choose(&mut o.mtu_discovery)),
    })
}

/// Sets what packets of IPv6 may have before they are split. Segments never are, so TCP does not care, as on Linux.
fn set_longest(socket: &InetSocket, number: u32) -> Result<(), Errno> {
    let is_possible = number == 0 || number.cast_signed() >= LEAST_V6.cast_signed();
    match socket.protocol {
        _ if !is_possible => Err(Errno::EINVAL),
        Protocol::Tcp => Ok(()),
        Protocol::Udp => {
            operate(|stack| stack.udp_change_options(socket.id, |o| o.longest_v6 = number as usize))
        }
    }
}
