//! Options of `IPPROTO_IP` (`ip(7)`) and `IPPROTO_IPV6` (`ipv6(7)`), and the control messages that are sent along.

use core::net::{IpAddr, Ipv6Addr};
use core::sync::atomic::Ordering;

use tyn_abi::socket::{SOL_SOCKET, so};
use tyn_abi::{Errno, UserVa};
use tyn_net::UdpSend;

use super::address::Family;
use super::inet::{IPPROTO_IP, IPPROTO_IPV6, InetSocket, Protocol};
use super::minor_options::IP_MINTTL;
use super::multicast_options as multicast;
use super::options::unknown;
use super::switches::{IP_FREEBIND, IP_PKTINFO, IP_TRANSPARENT, IPV6_DONTFRAG, is_on};
use super::{
    adjust, error_queue, filter_options, inspect, minor_options, mtu_options, packet_options,
};
use crate::cx::Cx;
use crate::socket::Control;
use crate::socket_options::{Value, int};

/// `ip(7)` options.
pub(super) const IP_TOS: i32 = 1;
pub(super) const IP_TTL: i32 = 2;
/// `ipv6(7)` options.
const IPV6_UNICAST_HOPS: i32 = 16;
const IPV6_V6ONLY: i32 = 26;
pub(super) const IPV6_PKTINFO: i32 = 50;
pub(super) const IPV6_HOPLIMIT: i32 = 52;
pub(super) const IPV6_TCLASS: i32 = 67;
/// Those of `ip(7)` for which nothing is not taken for 0.
const LOOKED_AT: [i32; 4] = [IP_TTL, IP_MINTTL, IP_FREEBIND, IP_TRANSPARENT];
/// Time to live unless set.
const DEFAULT_TTL: u8 = 64;

/// What a socket's packets say in their headers.
struct HeaderFields {
    tos: u8,
    traffic_class: u8,
    ttl: u8,
}

fn header_fields(socket: &InetSocket) -> Option<HeaderFields> {
    inspect(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_options(socket.id).map(|o| HeaderFields {
            tos: o.tos,
            traffic_class: o.traffic_class,
            ttl: o.ttl,
        }),
        Protocol::Udp => stack.udp_options(socket.id).map(|o| HeaderFields {
            tos: o.tos,
            traffic_class: o.traffic_class,
            ttl: o.ttl,
        }),
    })
    .ok()
}

/// Answers `getsockopt(2)` of `IPPROTO_IP` and `IPPROTO_IPV6`; `None` for options that there are not.
pub(super) fn get(
    socket: &InetSocket,
    (level, name): (i32, i32),
    at: UserVa,
    room: usize,
) -> Option<Result<Value, Errno>> {
    if let Some(control) = packet_options::get(socket, level, name, room) {
        return Some(control.map(Value::Control));
    }
    if let Some(filter) = filter_options::answer(socket, level, name, at, room) {
        return Some(filter.map(Value::Bytes));
    }
    if let Some(result) = mtu_options::get_path(socket, level, name, room) {
        return Some(result.map(Value::from));
    }
    if let Some(switch) = socket.switches.of(level, name) {
        return Some(Ok(Value::int(is_on(switch).into())));
    }
    if let Some(is_v6) = error_queue::option(level, name) {
        let is_asked_for = error_queue::is_asked_for(socket, is_v6);
        return Some(Ok(Value::int(is_asked_for.into())));
    }
    if let Some(number) = mtu_options::get(socket, level, name) {
        return Some(number.map(Value::int));
    }
    if let Some(value) = minor_options::get(socket, level, name) {
        return Some(Ok(value));
    }
    let fields = header_fields(socket)?;
    Some(Ok(Value::int(match (level, name) {
        (IPPROTO_IP, IP_TOS) => fields.tos.into(),
        (IPPROTO_IP, IP_TTL) => fields.ttl.into(),
        (IPPROTO_IPV6, IPV6_TCLASS) => fields.traffic_class.into(),
        (IPPROTO_IPV6, IPV6_UNICAST_HOPS) => fields.ttl.into(),
        (IPPROTO_IPV6, IPV6_V6ONLY) => socket.is_v6_only().into(),
        (IPPROTO_IP, _) => return multicast::get_ip(socket, name).map(Ok),
        _ => return multicast::get_ipv6(socket, name).map(Ok),
    })))
}

/// Reads the int or the byte that options of `ip(7)` may be given as.
pub(super) fn int_or_byte(value: &[u8]) -> Result<u32, Errno> {
    match *value {
        [byte] | [byte, _] | [byte, _, _] => Ok(byte.into()),
        _ => int(value),
    }
}

fn set_tos(socket: &InetSocket, tos: u8) -> Result<(), Errno> {
    adjust(|stack| match socket.protocol {
        // ECN bits belong to TCP itself.
        Protocol::Tcp => stack.tcp_change_options(socket.id, |o| o.tos = tos & !3),
        Protocol::Udp => stack.udp_change_options(socket.id, |o| o.tos = tos),
    })
}

fn set_class(socket: &InetSocket, class: u8) -> Result<(), Errno> {
    adjust(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_change_options(socket.id, |o| o.traffic_class = class & !3),
        Protocol::Udp => stack.udp_change_options(socket.id, |o| o.traffic_class = class),
    })
}

fn set_ttl(socket: &InetSocket, ttl: u8) -> Result<(), Errno> {
    adjust(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_change_options(socket.id, |o| o.ttl = ttl),
        Protocol::Udp => stack.udp_change_options(socket.id, |o| o.ttl = ttl),
    })
}

/// Reads a byte of at least `least`; -1 stands for `default`.
pub(super) fn byte_or(number: u32, least: u8, default: u8) -> Result<u8, Errno> {
    match number.cast_signed() {
        -1 => Ok(default),
        _ => u8::try_from(number)
            .ok()
            .filter(|n| *n >= least)
            .ok_or(Errno::EINVAL),
    }
}

/// Answers `setsockopt(2)` of options that are numbers, if the value is one, and of both protocols; `None` for others.
fn set_common(
    socket: &InetSocket,
    level: i32,
    name: i32,
    number: Result<u32, Errno>,
) -> Option<Result<(), Errno>> {
    if let Some(switch) = socket.switches.of(level, name) {
        return Some(number.and_then(|number| {
            switch.store(number != 0, Ordering::Relaxed);
            let binds_freely = socket.switches.binds_freely();
            let [_, notes] = socket.switches.wanted();
            adjust(|stack| match socket.protocol {
                Protocol::Tcp => stack.tcp_change_options(socket.id, |o| {
                    (o.notes, o.binds_freely) = (notes, binds_freely);
                }),
                Protocol::Udp => {
                    stack.udp_change_options(socket.id, |o| o.binds_freely = binds_freely)
                }
            })
        }));
    }
    if let Some(is_v6) = error_queue::option(level, name) {
        return Some(number.and_then(|number| error_queue::ask(socket, is_v6, number != 0)));
    }
    mtu_options::set(socket, level, name, number)
}

/// Answers `setsockopt(2)` of `IPPROTO_IP`.
pub(super) fn set_ip(
    socket: &InetSocket,
    cx: &Cx<'_>,
    name: i32,
    value: &[u8],
) -> Result<(), Errno> {
    if let Some(result) = multicast::set_ip(socket, name, value) {
        return result;
    }
    let number = match value {
        // Linux takes nothing for 0, but for what it wants to see (`do_ip_setsockopt`).
        [] if !LOOKED_AT.contains(&name) => 0,
        _ => int_or_byte(value)?,
    };
    if let Some(result) = set_common(socket, IPPROTO_IP, name, Ok(number)) {
        return result;
    }
    if let Some(result) = minor_options::set(socket, (IPPROTO_IP, name), value, Ok(number)) {
        return result;
    }
    match name {
        IP_TOS => set_tos(socket, number as u8),
        IP_TTL => set_ttl(socket, byte_or(number, 1, DEFAULT_TTL)?),
        _ => Err(unknown(cx, IPPROTO_IP, name)),
    }
}

/// Answers `setsockopt(2)` of `IPPROTO_IPV6`.
pub(super) fn set_ipv6(
    socket: &InetSocket,
    cx: &Cx<'_>,
    name: i32,
    value: &[u8],
) -> Result<(), Errno> {
    if let Some(result) = multicast::set_ipv6(socket, name, value) {
        return result;
    }
    let number = match int(value) {
        // Linux takes what is too short for 0 here, as it does not look at the length.
        Err(_) if name == IPV6_DONTFRAG => Ok(0),
        number => number,
    };
    if let Some(result) = set_common(socket, IPPROTO_IPV6, name, number) {
        return result;
    }
    if let Some(result) = minor_options::set(socket, (IPPROTO_IPV6, name), value, number) {
        return result;
    }
    match name {
        IPV6_TCLASS => set_class(socket, byte_or(number?, 0, 0)?),
        IPV6_UNICAST_HOPS => set_ttl(socket, byte_or(number?, 0, DEFAULT_TTL)?),
        IPV6_V6ONLY => {
            let is_on = number? != 0;
            adjust(|stack| match socket.protocol {
                Protocol::Tcp if stack.tcp_local(socket.id)?.port() != 0 => Err(Errno::EINVAL),
                Protocol::Udp if stack.udp_local(socket.id)?.port() != 0 => Err(Errno::EINVAL),
                Protocol::Tcp => stack.tcp_change_options(socket.id, |o| o.is_v6_only = is_on),
                Protocol::Udp => stack.udp_change_options(socket.id, |o| o.is_v6_only = is_on),
            })
        }
        // Without a value the headers of packets are as they are anyway.
        packet_options::IPV6_2292PKTOPTIONS if value.is_empty() => Ok(()),
        _ => Err(unknown(cx, IPPROTO_IPV6, name)),
    }
}

/// Reads the control messages with which a datagram is sent, as far as its family has them.
///
/// # Errors
/// `EINVAL` for one that is malformed, or that the family does not know.
pub(super) fn read_control(
    socket: &InetSocket,
    cx: &Cx<'_>,
    control: &[Control],
) -> Result<UdpSend, Errno> {
    let mut how = socket.switches.send();
    let level = match socket.family {
        Family::V4 => IPPROTO_IP,
        Family::V6 => IPPROTO_IPV6,
    };
    for Control { kind, data, .. } in control.iter().filter(|c| c.level == level) {
        let number = || int_or_byte(data);
        match (socket.family, *kind) {
            (Family::V4, IP_TTL) => how.ttl = Some(one_byte(int(data)?, 1)?),
            (Family::V4, IP_TOS) => how.tos = Some(one_byte(number()?, 0)?),
            (Family::V4, IP_PKTINFO) => {
                // `struct in_pktinfo`: interface, source, destination.
                let info: &[u8; 12] = data.as_slice().try_into().map_err(|_| Errno::EINVAL)?;
                let [_, _, _, _, source @ .., _, _, _, _] = *info;
                how.source = Some(IpAddr::from(source));
            }
            (Family::V6, IPV6_HOPLIMIT) => how.ttl = own_byte(int(data)?)?,
            (Family::V6, IPV6_TCLASS) => how.tos = own_byte(int(data)?)?,
            (Family::V6, IPV6_DONTFRAG) => how.never_splits = one_of_two(data)?,
            (Family::V6, IPV6_PKTINFO) => {
                // `struct in6_pktinfo`: address, interface.
                let [source @ .., _, _, _, _] = *data.first_chunk::<20>().ok_or(Errno::EINVAL)?;
                let source = Ipv6Addr::from(source);
                let v4 = source.to_ipv4_mapped().map(IpAddr::V4);
                how.source = Some(v4.unwrap_or(IpAddr::V6(source)));
            }
            _ => {
                cx.trace_unsupported("send control message", kind.cast_unsigned().into());
                return Err(Errno::EINVAL);
            }
        }
    }
    how.source = how.source.filter(|ip| !ip.is_unspecified());
    Ok(how)
}

/// Refuses what is said for a message at the level of all sockets, but for its mark (`SO_MARK`), by which nothing here tells
/// packets apart.
pub(super) fn check_common(cx: &Cx<'_>, control: &[Control]) -> Result<(), Errno> {
    let is_mark = |c: &Control| c.kind == so::MARK && c.data.len() == size_of::<u32>();
    let mut common = control.iter().filter(|c| c.level == SOL_SOCKET);
    match common.find(|c| !is_mark(c)) {
        None => Ok(()),
        Some(control) => {
            cx.trace_unsupported("send control message", control.kind.cast_unsigned().into());
            Err(Errno::EINVAL)
        }
    }
}

/// Reads an int that is 0 or 1.
fn one_of_two(data: &[u8]) -> Result<bool, Errno> {
    let number: &[u8; 4] = data.try_into().map_err(|_| Errno::EINVAL)?;
    match u32::from_le_bytes(*number) {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno::EINVAL),
    }
}

fn one_byte(number: u32, least: u8) -> Result<u8, Errno> {
    u8::try_from(number)
        .ok()
        .filter(|n| *n >= least)
        .ok_or(Errno::EINVAL)
}

/// Reads a byte; -1 leaves the choice to the socket.
fn own_byte(number: u32) -> Result<Option<u8>, Errno> {
    match number.cast_signed() {
        -1 => Ok(None),
        _ => one_byte(number, 0).map(Some),
    }
}
