//! Options that are the whole filter of a multicast group (RFC 3678): `IP_MSFILTER`, `MCAST_MSFILTER`.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use tyn_abi::socket::{AF_INET, AF_INET6};
use tyn_abi::{Errno, UserVa};
use tyn_net::{FilterMode, SourceFilter, most_sources};

use super::address::Family;
use super::inet::{IPPROTO_IP, IPPROTO_IPV6, InetSocket, Protocol};
use super::multicast_options::{Request, chosen_path, path_of};
use super::operate;
use super::source_options::{IP_MSFILTER, MCAST_MSFILTER, STORAGE, number, stored, v4};

/// Modes of filters.
const MCAST_EXCLUDE: u32 = 0;
const MCAST_INCLUDE: u32 = 1;
/// `struct ip_msfilter` and `struct group_filter` without sources; the mode and the number of sources are the last of them.
const IP_FILTER: usize = 16;
const GROUP_FILTER: usize = 16 + STORAGE;

/// Checks the number of sources of a filter, each of `each` bytes after `header`.
fn count_of(value: &[u8], (header, each): (usize, usize), most: usize) -> Result<usize, Errno> {
    if value.len() < header {
        return Err(Errno::EINVAL);
    }
    match number(value, header - 4) as usize {
        count if count > most => Err(Errno::ENOBUFS),
        count if header + each * count > value.len() => Err(Errno::EINVAL),
        count => Ok(count),
    }
}

fn mode_of(number: u32) -> Result<FilterMode, Errno> {
    match number {
        MCAST_EXCLUDE => Ok(FilterMode::Exclude),
        MCAST_INCLUDE => Ok(FilterMode::Include),
        _ => Err(Errno::EINVAL),
    }
}

/// Sets the filter of a membership of IPv4; who is to hear nobody leaves.
fn replace_ip(
    socket: &InetSocket,
    request: &Request,
    mode: u32,
    sources: Vec<IpAddr>,
) -> Result<(), Errno> {
    let group = IpAddr::V4(request.group);
    if !group.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let mode = mode_of(mode)?;
    operate(|stack| {
        let path = request.path(stack, Errno::ENODEV)?;
        if mode == FilterMode::Include && sources.is_empty() {
            return stack.udp_leave(socket.id, group, Some(path));
        }
        stack.udp_set_filter(socket.id, (path, group), SourceFilter { mode, sources })
    })
}

/// Answers `IP_MSFILTER`.
pub(super) fn set_ip_filter(socket: &InetSocket, value: &[u8]) -> Result<(), Errno> {
    let count = count_of(value, (IP_FILTER, 4), most_sources(false))?;
    let request = Request {
        group: v4(value, 0),
        address: v4(value, 4),
        interface: 0,
    };
    let source = |index| v4(value, IP_FILTER + 4 * index).into();
    replace_ip(
        socket,
        &request,
        number(value, 8),
        (0..count).map(source).collect(),
    )
}

/// Answers `MCAST_MSFILTER`.
pub(super) fn set_filter(socket: &InetSocket, family: Family, value: &[u8]) -> Result<(), Errno> {
    let most = most_sources(family == Family::V6);
    let count = count_of(value, (GROUP_FILTER, STORAGE), most)?;
    let mode = number(value, GROUP_FILTER - 8);
    let sources = (0..count).map(|index| stored(value, GROUP_FILTER + STORAGE * index, family));
    let (group, is_right) = stored(value, 8, family);
    match (family, group) {
        (Family::V4, IpAddr::V4(group)) => {
            if !is_right || !sources.clone().all(|(_, is_right)| is_right) {
                return Err(Errno::EADDRNOTAVAIL);
            }
            let request = Request {
                group,
                address: Ipv4Addr::UNSPECIFIED,
                interface: number(value, 0),
            };
            replace_ip(socket, &request, mode, sources.map(|(ip, _)| ip).collect())
        }
        // Linux does not look at what these say of their family.
        _ => {
            let sources = sources.map(|(ip, _)| ip).collect();
            replace_ipv6(socket, (group, number(value, 0)), mode, sources)
        }
    }
}

fn replace_ipv6(
    socket: &InetSocket,
    (group, number): (IpAddr, u32),
    mode: u32,
    sources: Vec<IpAddr>,
) -> Result<(), Errno> {
    if !group.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let mode = mode_of(mode)?;
    operate(|stack| {
        let path = chosen_path(stack, group, number)?;
        match path {
            _ if mode == FilterMode::Include && sources.is_empty() => {
                stack.udp_leave(socket.id, group, path)
            }
            Some(path) => {
                stack.udp_set_filter(socket.id, (path, group), SourceFilter { mode, sources })
            }
            // No membership has the number 0.
            None => Err(Errno::EINVAL),
        }
    })
}

/// Answers `getsockopt(2)` of `IP_MSFILTER` and `MCAST_MSFILTER`, whose value says which filter is asked for.
pub(super) fn answer(
    socket: &InetSocket,
    level: i32,
    name: i32,
    question: UserVa,
    room: usize,
) -> Option<Result<Vec<u8>, Errno>> {
    let (family, header) = match (level, name) {
        (IPPROTO_IP, IP_MSFILTER) => (Family::V4, IP_FILTER),
        (IPPROTO_IP, MCAST_MSFILTER) => (Family::V4, GROUP_FILTER),
        (IPPROTO_IPV6, MCAST_MSFILTER) if socket.family == Family::V6 => (Family::V6, GROUP_FILTER),
        _ => return None,
    };
    Some(filter_of(socket, family, header, question, room))
}

fn filter_of(
    socket: &InetSocket,
    family: Family,
    header: usize,
    question: UserVa,
    room: usize,
) -> Result<Vec<u8>, Errno> {
    if room < header {
        return Err(Errno::EINVAL);
    }
    let mut answer = alloc::vec![0; header];
    tyn_hal::user::copy_from(&mut answer, question)?;
    let is_short = header == IP_FILTER;
    let (group, is_right) = match is_short {
        true => (v4(&answer, 0).into(), true),
        false => stored(&answer, 8, family),
    };
    let wrong_family = match family {
        Family::V4 => Errno::EINVAL,
        Family::V6 => Errno::EADDRNOTAVAIL,
    };
    if !is_right {
        return Err(wrong_family);
    }
    if !group.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let filter = operate(|stack| {
        let path = if is_short {
            let request = Request {
                group: v4(&answer, 0),
                address: v4(&answer, 4),
                interface: 0,
            };
            request.path(stack, Errno::ENODEV)?
        } else {
            path_of(stack, number(&answer, 0)).ok_or(Errno::EADDRNOTAVAIL)?
        };
        match socket.protocol {
            Protocol::Tcp => Err(Errno::EADDRNOTAVAIL),
            Protocol::Udp => stack.udp_filter(socket.id, (path, group)),
        }
    })?;
    let asked = number(&answer, header - 4) as usize;
    let mode = match filter.mode {
        FilterMode::Exclude => MCAST_EXCLUDE,
        FilterMode::Include => MCAST_INCLUDE,
    };
    answer.truncate(header - 8);
    answer.extend(mode.to_le_bytes());
    answer.extend((filter.sources.len() as u32).to_le_bytes());
    for source in filter.sources.iter().take(asked) {
        let end = answer.len() + STORAGE;
        match source {
            IpAddr::V4(ip) if is_short => answer.extend(ip.octets()),
            IpAddr::V4(ip) => {
                answer.extend(AF_INET.to_le_bytes());
                answer.extend([0; 2]);
                answer.extend(ip.octets());
                answer.resize(end, 0);
            }
            IpAddr::V6(ip) => {
                answer.extend(AF_INET6.to_le_bytes());
                answer.extend([0; 6]);
                answer.extend(ip.octets());
                answer.resize(end, 0);
            }
        }
    }
    Ok(answer)
}
