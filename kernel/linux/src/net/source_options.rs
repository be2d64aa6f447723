//! Options about the sources of multicast groups (RFC 3678; `ip(7)`), of `IPPROTO_IP` and `IPPROTO_IPV6`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tyn_abi::Errno;
use tyn_abi::socket::{AF_INET, AF_INET6};
use tyn_net::{FilterMode, SourceChange};

use super::address::Family;
use super::filter_options::{set_filter, set_ip_filter};
use super::inet::{InetSocket, Protocol};
use super::multicast_options::{Request, chosen_path, join6, leave6};
use super::operate;

const IP_UNBLOCK_SOURCE: i32 = 37;
const IP_BLOCK_SOURCE: i32 = 38;
const IP_ADD_SOURCE_MEMBERSHIP: i32 = 39;
const IP_DROP_SOURCE_MEMBERSHIP: i32 = 40;
pub(super) const IP_MSFILTER: i32 = 41;
/// Those of both families.
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_BLOCK_SOURCE: i32 = 43;
const MCAST_UNBLOCK_SOURCE: i32 = 44;
const MCAST_LEAVE_GROUP: i32 = 45;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;
const MCAST_LEAVE_SOURCE_GROUP: i32 = 47;
pub(super) const MCAST_MSFILTER: i32 = 48;
/// `struct ip_mreq_source`; `struct group_req` and `struct group_source_req`, which begin with a number and have a `struct
/// sockaddr_storage` for each address.
const MREQ_SOURCE: usize = 12;
pub(super) const STORAGE: usize = 128;
const GROUP_REQ: usize = 8 + STORAGE;
const GROUP_SOURCE_REQ: usize = 8 + 2 * STORAGE;

/// Reads the number at an offset; what is not there counts as 0.
pub(super) fn number(value: &[u8], at: usize) -> u32 {
    let bytes = value.get(at..).and_then(|b| b.first_chunk());
    bytes.map_or(0, |b| u32::from_le_bytes(*b))
}

/// Reads an address of IPv4 at an offset.
pub(super) fn v4(value: &[u8], at: usize) -> Ipv4Addr {
    let bytes = value.get(at..).and_then(|b| b.first_chunk::<4>());
    bytes.map_or(Ipv4Addr::UNSPECIFIED, |b| Ipv4Addr::from(*b))
}

/// Reads the address in a `struct sockaddr_storage` at an offset, and whether it says that it is of the family.
pub(super) fn stored(value: &[u8], at: usize, family: Family) -> (IpAddr, bool) {
    let says = value.get(at..).and_then(|b| b.first_chunk());
    let says = says.map_or(0, |b| u16::from_le_bytes(*b));
    match family {
        Family::V4 => (v4(value, at + 4).into(), says == AF_INET),
        Family::V6 => {
            let bytes = value.get(at + 8..).and_then(|b| b.first_chunk::<16>());
            let address = bytes.map_or(Ipv6Addr::UNSPECIFIED, |b| Ipv6Addr::from(*b));
            (address.into(), says == AF_INET6)
        }
    }
}

/// Answers `setsockopt(2)` of `IPPROTO_IP`; `None` for options that have nothing to do with sources.
pub(super) fn set_ip(socket: &InetSocket, name: i32, value: &[u8]) -> Option<Result<(), Errno>> {
    let is_ours = (IP_UNBLOCK_SOURCE..=MCAST_MSFILTER).contains(&name);
    is_ours.then(|| match (socket.protocol, name) {
        (Protocol::Tcp, _) => Err(Errno::EPROTO),
        (_, IP_MSFILTER) => set_ip_filter(socket, value),
        (_, MCAST_MSFILTER) => set_filter(socket, Family::V4, value),
        (_, MCAST_JOIN_GROUP | MCAST_LEAVE_GROUP) => {
            let (request, is_v4) = group_request(value)?;
            match name {
                _ if !is_v4 => Err(Errno::EINVAL),
                MCAST_JOIN_GROUP => request.join(socket, FilterMode::Exclude),
                _ => request.leave(socket),
            }
        }
        (_, ..=IP_DROP_SOURCE_MEMBERSHIP) => {
            if value.len() != MREQ_SOURCE {
                return Err(Errno::EINVAL);
            }
            let request = Request {
                group: v4(value, 0),
                address: v4(value, 4),
                interface: 0,
            };
            change_ip(socket, name, &request, v4(value, 8).into())
        }
        _ => {
            let (source, is_v4) = stored(value, GROUP_REQ, Family::V4);
            let (request, is_group_v4) = group_request(value)?;
            if value.len() < GROUP_SOURCE_REQ {
                return Err(Errno::EINVAL);
            }
            if !is_v4 || !is_group_v4 {
                return Err(Errno::EADDRNOTAVAIL);
            }
            change_ip(socket, name, &request, source)
        }
    })
}

/// Reads the beginning of `struct group_req` for IPv4, and whether the group says that it is of that.
fn group_request(value: &[u8]) -> Result<(Request, bool), Errno> {
    if value.len() < GROUP_REQ {
        return Err(Errno::EINVAL);
    }
    let (_, is_v4) = stored(value, 8, Family::V4);
    let request = Request {
        group: v4(value, 12),
        address: Ipv4Addr::UNSPECIFIED,
        interface: number(value, 0),
    };
    Ok((request, is_v4))
}

/// Answers `setsockopt(2)` of `IPPROTO_IPV6`; `None` for options that have nothing to do with sources.
pub(super) fn set_ipv6(socket: &InetSocket, name: i32, value: &[u8]) -> Option<Result<(), Errno>> {
    let is_ours = (MCAST_JOIN_GROUP..=MCAST_MSFILTER).contains(&name);
    is_ours.then(|| {
        let (group, is_v6) = stored(value, 8, Family::V6);
        let at = (group, number(value, 0));
        match (socket.protocol, name) {
            (Protocol::Tcp, _) => Err(Errno::EPROTO),
            (_, MCAST_MSFILTER) => set_filter(socket, Family::V6, value),
            (_, MCAST_JOIN_GROUP | MCAST_LEAVE_GROUP) => match name {
                _ if value.len() < GROUP_REQ => Err(Errno::EINVAL),
                _ if !is_v6 => Err(Errno::EADDRNOTAVAIL),
                _ if !group.is_multicast() => Err(Errno::EINVAL),
                MCAST_JOIN_GROUP => join6(socket, at, FilterMode::Exclude),
                _ => leave6(socket, at),
            },
            _ => {
                let (source, is_source_v6) = stored(value, GROUP_REQ, Family::V6);
                match value.len() {
                    ..GROUP_SOURCE_REQ => Err(Errno::EINVAL),
                    _ if !is_v6 || !is_source_v6 => Err(Errno::EADDRNOTAVAIL),
                    _ => change_ipv6(socket, name, at, source),
                }
            }
        }
    })
}

/// Returns what an option does to a source, and whether it joins the group first.
fn change_of(name: i32, source: IpAddr) -> Result<(SourceChange, bool), Errno> {
    let (mode, adds) = match name {
        IP_BLOCK_SOURCE | MCAST_BLOCK_SOURCE => (FilterMode::Exclude, true),
        IP_UNBLOCK_SOURCE | MCAST_UNBLOCK_SOURCE => (FilterMode::Exclude, false),
        IP_ADD_SOURCE_MEMBERSHIP | MCAST_JOIN_SOURCE_GROUP => (FilterMode::Include, true),
        IP_DROP_SOURCE_MEMBERSHIP | MCAST_LEAVE_SOURCE_GROUP => (FilterMode::Include, false),
        _ => return Err(Errno::ENOPROTOOPT),
    };
    let change = SourceChange { source, mode, adds };
    Ok((change, adds && mode == FilterMode::Include))
}

/// A group may be joined for one source after the other.
fn unless_member(joined: Result<(), Errno>) -> Result<(), Errno> {
    match joined {
        Err(Errno::EADDRINUSE) => Ok(()),
        joined => joined,
    }
}

fn change_ip(
    socket: &InetSocket,
    name: i32,
    request: &Request,
    source: IpAddr,
) -> Result<(), Errno> {
    let (change, joins) = change_of(name, source)?;
    if joins {
        unless_member(request.join(socket, FilterMode::Include))?;
    }
    let group = IpAddr::V4(request.group);
    if !group.is_multicast() {
        return Err(Errno::EINVAL);
    }
    operate(|stack| {
        let path = request.path(stack, Errno::ENODEV)?;
        stack.udp_change_source(socket.id, group, Some(path), &change)
    })
}

fn change_ipv6(
    socket: &InetSocket,
    name: i32,
    (group, number): (IpAddr, u32),
    source: IpAddr,
) -> Result<(), Errno> {
    if !group.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let (change, joins) = change_of(name, source)?;
    if joins {
        unless_member(join6(socket, (group, number), FilterMode::Include))?;
    }
    operate(|stack| {
        let path = chosen_path(stack, group, number)?;
        stack.udp_change_source(socket.id, group, path, &change)
    })
}
