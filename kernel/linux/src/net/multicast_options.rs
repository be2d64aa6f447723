//! Options of `IPPROTO_IP` (`ip(7)`) and `IPPROTO_IPV6` (`ipv6(7)`) about multicast.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tyn_abi::Errno;
use tyn_net::{FilterMode, Multicast, Path, Stack, UdpOptions};

use super::address::{CARD, LOOPBACK};
use super::inet::{InetSocket, Protocol};
use super::ip_options::{byte_or, int_or_byte};
use super::{inspect, operate, source_options};
use crate::socket_options::{Value, int};

const IP_MULTICAST_IF: i32 = 32;
const IP_MULTICAST_TTL: i32 = 33;
const IP_MULTICAST_LOOP: i32 = 34;
const IP_ADD_MEMBERSHIP: i32 = 35;
const IP_DROP_MEMBERSHIP: i32 = 36;
const IP_MULTICAST_ALL: i32 = 49;
const IPV6_MULTICAST_IF: i32 = 17;
const IPV6_MULTICAST_HOPS: i32 = 18;
const IPV6_MULTICAST_LOOP: i32 = 19;
const IPV6_JOIN_GROUP: i32 = 20;
const IPV6_LEAVE_GROUP: i32 = 21;
const IPV6_MULTICAST_ALL: i32 = 29;

/// `struct ip_mreqn`, or `struct ip_mreq`, which has no interface number.
pub(super) struct Request {
    pub(super) group: Ipv4Addr,
    pub(super) address: Ipv4Addr,
    pub(super) interface: u32,
}

impl Request {
    fn read(value: &[u8]) -> Result<Self, Errno> {
        let (group, rest) = value.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        let (address, rest) = rest.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
        Ok(Self {
            group: Ipv4Addr::from(*group),
            address: Ipv4Addr::from(*address),
            interface: int(rest).unwrap_or(0),
        })
    }

    /// Returns the interface that was named, by number or by address; `Ok(None)` when none was.
    fn named(&self, stack: &Stack, unknown: Errno) -> Result<Option<Path>, Errno> {
        let address = IpAddr::V4(self.address);
        match self.interface {
            0 if self.address.is_unspecified() => Ok(None),
            0 => stack.interface_of(address).ok_or(unknown).map(Some),
            number => path_of(stack, number).ok_or(unknown).map(Some),
        }
    }

    /// Returns the interface, which is the one on the way to the group when none was named (`ip_mc_find_dev` of Linux).
    pub(super) fn path(&self, stack: &Stack, unknown: Errno) -> Result<Path, Errno> {
        let towards = || stack.interface_towards(self.group.into());
        let path = self.named(stack, unknown)?.or_else(towards);
        path.ok_or(Errno::ENODEV)
    }

    /// Makes a socket a member.
    pub(super) fn join(&self, socket: &InetSocket, mode: FilterMode) -> Result<(), Errno> {
        let group = IpAddr::V4(self.group);
        operate(|stack| {
            if !group.is_multicast() {
                return Err(Errno::EINVAL);
            }
            let path = self.path(stack, Errno::ENODEV)?;
            stack.udp_join(socket.id, group, Some(path), mode)
        })
    }

    /// Ends a membership.
    pub(super) fn leave(&self, socket: &InetSocket) -> Result<(), Errno> {
        operate(|stack| {
            let path = self.path(stack, Errno::EADDRNOTAVAIL)?;
            stack.udp_leave(socket.id, self.group.into(), Some(path))
        })
    }
}

/// Returns the interface of a number.
pub(super) fn path_of(stack: &Stack, number: u32) -> Option<Path> {
    match number {
        LOOPBACK => Some(Path::Loopback),
        CARD if stack.has_card() => Some(Path::Nic),
        _ => None,
    }
}

/// Returns the interface that a program chose by its number, if it did; without a choice there must be one for the group.
///
/// # Errors
/// `ENODEV`.
pub(super) fn chosen_path(
    stack: &Stack,
    group: IpAddr,
    number: u32,
) -> Result<Option<Path>, Errno> {
    let path = match number {
        0 => None,
        number => Some(path_of(stack, number).ok_or(Errno::ENODEV)?),
    };
    let any = path.or_else(|| stack.interface_towards(group));
    any.map(|_| path).ok_or(Errno::ENODEV)
}

fn number_of(path: Option<Path>) -> u32 {
    match path {
        None => 0,
        Some(Path::Loopback) => LOOPBACK,
        Some(Path::Nic) => CARD,
    }
}

fn options(socket: &InetSocket) -> UdpOptions {
    let options = match socket.protocol {
        // TCP knows no groups; it answers what a socket starts with.
        Protocol::Tcp => None,
        Protocol::Udp => inspect(|stack| stack.udp_options(socket.id)).ok(),
    };
    options.unwrap_or_default()
}

fn change(socket: &InetSocket, change: impl FnOnce(&mut UdpOptions)) -> Result<(), Errno> {
    match socket.protocol {
        Protocol::Tcp => Ok(()),
        Protocol::Udp => operate(|stack| stack.udp_change_options(socket.id, change)),
    }
}

/// Answers `getsockopt(2)` of `IPPROTO_IP`.
pub(super) fn get_ip(socket: &InetSocket, name: i32) -> Option<Value> {
    let UdpOptions {
        v4, multicast_ttl, ..
    } = options(socket);
    Some(match name {
        IP_MULTICAST_IF => {
            let address = v4.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
            Value::Int(address.octets())
        }
        IP_MULTICAST_TTL => Value::int(multicast_ttl.into()),
        IP_MULTICAST_LOOP => Value::int(v4.loops.into()),
        IP_MULTICAST_ALL => Value::int(v4.hears_all.into()),
        _ => return None,
    })
}

/// Answers `getsockopt(2)` of `IPPROTO_IPV6`.
pub(super) fn get_ipv6(socket: &InetSocket, name: i32) -> Option<Value> {
    let UdpOptions {
        v6, multicast_ttl, ..
    } = options(socket);
    Some(Value::int(match name {
        IPV6_MULTICAST_IF => number_of(v6.path),
        IPV6_MULTICAST_HOPS => multicast_ttl.into(),
        IPV6_MULTICAST_LOOP => v6.loops.into(),
        IPV6_MULTICAST_ALL => v6.hears_all.into(),
        _ => return None,
    }))
}

/// Answers `setsockopt(2)` of `IPPROTO_IP`; `None` for options that have nothing to do with multicast.
pub(super) fn set_ip(socket: &InetSocket, name: i32, value: &[u8]) -> Option<Result<(), Errno>> {
    let is_tcp = socket.protocol == Protocol::Tcp;
    Some(match name {
        IP_MULTICAST_IF | IP_MULTICAST_TTL if is_tcp => Err(Errno::EINVAL),
        IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP if is_tcp => Err(Errno::EPROTO),
        IP_MULTICAST_IF => set_interface(socket, value),
        IP_MULTICAST_TTL => int_or_byte(value)
            .and_then(|number| byte_or(number, 0, 1))
            .and_then(|ttl| change(socket, |o| o.multicast_ttl = ttl)),
        IP_MULTICAST_LOOP => {
            int_or_byte(value).and_then(|number| change(socket, |o| o.v4.loops = number != 0))
        }
        IP_MULTICAST_ALL => {
            truth(value).and_then(|is_on| change(socket, |o| o.v4.hears_all = is_on))
        }
        IP_ADD_MEMBERSHIP => Request::read(value).and_then(|r| r.join(socket, FilterMode::Exclude)),
        IP_DROP_MEMBERSHIP => Request::read(value).and_then(|r| r.leave(socket)),
        _ => return source_options::set_ip(socket, name, value),
    })
}

/// Answers `setsockopt(2)` of `IPPROTO_IPV6`; `None` for options that have nothing to do with multicast.
pub(super) fn set_ipv6(socket: &InetSocket, name: i32, value: &[u8]) -> Option<Result<(), Errno>> {
    let is_tcp = socket.protocol == Protocol::Tcp;
    Some(match name {
        IPV6_MULTICAST_IF | IPV6_MULTICAST_HOPS if is_tcp => Err(Errno::ENOPROTOOPT),
        IPV6_JOIN_GROUP | IPV6_LEAVE_GROUP if is_tcp => Err(Errno::EPROTO),
        IPV6_MULTICAST_IF => set_interface6(socket, value),
        IPV6_MULTICAST_HOPS => int(value)
            .and_then(|number| byte_or(number, 0, 1))
            .and_then(|ttl| change(socket, |o| o.multicast_ttl = ttl)),
        IPV6_MULTICAST_LOOP => {
            truth(value).and_then(|is_on| change(socket, |o| o.v6.loops = is_on))
        }
        IPV6_MULTICAST_ALL => {
            truth(value).and_then(|is_on| change(socket, |o| o.v6.hears_all = is_on))
        }
        IPV6_JOIN_GROUP => request6(value).and_then(|r| join6(socket, r, FilterMode::Exclude)),
        IPV6_LEAVE_GROUP => request6(value).and_then(|r| leave6(socket, r)),
        _ => return source_options::set_ipv6(socket, name, value),
    })
}

/// Reads an int that is 0 or 1.
fn truth(value: &[u8]) -> Result<bool, Errno> {
    match int(value)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::EINVAL),
    }
}

fn set_interface(socket: &InetSocket, value: &[u8]) -> Result<(), Errno> {
    // It may be a `struct in_addr`, too.
    let request = Request::read(value).or_else(|_| {
        let address = value.first_chunk::<4>().ok_or(Errno::EINVAL)?;
        Ok::<_, Errno>(Request {
            group: Ipv4Addr::UNSPECIFIED,
            address: Ipv4Addr::from(*address),
            interface: 0,
        })
    })?;
    operate(|stack| {
        let path = request.named(stack, Errno::EADDRNOTAVAIL)?;
        let address = Some(request.address).filter(|a| !a.is_unspecified());
        stack.udp_change_options(socket.id, |o| {
            o.v4 = Multicast {
                path,
                address,
                ..o.v4
            };
        })
    })
}

fn set_interface6(socket: &InetSocket, value: &[u8]) -> Result<(), Errno> {
    let number = int(value)?;
    operate(|stack| {
        let path = match number {
            0 => None,
            number => Some(path_of(stack, number).ok_or(Errno::ENODEV)?),
        };
        stack.udp_change_options(socket.id, |o| o.v6.path = path)
    })
}

/// Reads `struct ipv6_mreq`: the group and the number of the interface.
fn request6(value: &[u8]) -> Result<(IpAddr, u32), Errno> {
    let (group, rest) = value.split_first_chunk::<16>().ok_or(Errno::EINVAL)?;
    let group = IpAddr::V6(Ipv6Addr::from(*group));
    match group.is_multicast() {
        true => Ok((group, int(rest)?)),
        false => Err(Errno::EINVAL),
    }
}

/// Makes a socket a member of a group on the interface of a number; 0 stands for the way there.
pub(super) fn join6(
    socket: &InetSocket,
    (group, number): (IpAddr, u32),
    mode: FilterMode,
) -> Result<(), Errno> {
    operate(|stack| {
        let path = match number {
            0 => None,
            number => Some(path_of(stack, number).ok_or(Errno::ENODEV)?),
        };
        stack.udp_join(socket.id, group, path, mode)
    })
}

/// Ends a membership on the interface of a number; 0 stands for whichever.
pub(super) fn leave6(socket: &InetSocket, (group, number): (IpAddr, u32)) -> Result<(), Errno> {
    operate(|stack| {
        let path = match number {
            0 => None,
            number => Some(path_of(stack, number).ok_or(Errno::EADDRNOTAVAIL)?),
        };
        stack.udp_leave(socket.id, group, path)
    })
}
