//! Options of internet sockets: `SOL_SOCKET` (`socket(7)`). Those of `IPPROTO_TCP` are in [`super::tcp_options`], those of
//! `IPPROTO_IP` and `IPPROTO_IPV6` in [`super::ip_options`].

use core::sync::atomic::Ordering;

use tyn_abi::socket::{SOL_SOCKET, so};
use tyn_abi::{Errno, UserVa};
use tyn_net::{TcpOptions, UdpOptions};

use super::address::Family;
use super::inet::{
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, InetSocket, Protocol, take_error,
};
use super::ip_options::{get as get_ip, set_ip, set_ipv6};
use super::tcp_options::{get_tcp, set_tcp};
use super::{adjust, device, inspect, operate};
use crate::cx::Cx;
use crate::socket::Socket;
use crate::socket_options::{Value, int};

const IPPROTO_UDPLITE: i32 = 136;
/// `udp(7)`.
const UDP_CORK: i32 = 1;
pub(super) fn unknown(cx: &Cx<'_>, level: i32, name: i32) -> Errno {
    let what = match level {
        SOL_SOCKET => "SOL_SOCKET option",
        IPPROTO_IP => "IPPROTO_IP option",
        IPPROTO_IPV6 => "IPPROTO_IPV6 option",
        IPPROTO_TCP => "IPPROTO_TCP option",
        _ => "socket option of another level",
    };
    cx.trace_unsupported(what, name.cast_unsigned().into());
    Errno::ENOPROTOOPT
}

/// Answers `getsockopt(2)`.
pub(super) fn get(
    socket: &InetSocket,
    cx: &Cx<'_>,
    (level, name): (i32, i32),
    at: UserVa,
    room: usize,
) -> Result<Value, Errno> {
    match level {
        SOL_SOCKET => match name {
            so::TYPE => Ok(Value::int(socket.kind())),
            so::DOMAIN => Ok(Value::int(socket.family.number().into())),
            so::PROTOCOL => Ok(Value::int(match socket.protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
            })),
            // As Linux 6.16 and newer: only sockets of AF_UNIX tell.
            so::PASSCRED => Err(Errno::EOPNOTSUPP),
            so::ERROR => Ok(Value::int(take_error(socket.id))),
            so::BINDTODEVICE => device::get(socket, room).map(Value::from),
            so::ACCEPTCONN => Ok(Value::int(
                socket.is_listening.load(Ordering::Relaxed).into(),
            )),
            _ => match socket.switches.stamps.get(name) {
                Some(is_on) => Ok(Value::int(is_on.into())),
                None => socket
                    .options
                    .get(name)
                    .ok_or_else(|| unknown(cx, level, name)),
            },
        },
        IPPROTO_IP => {
            let value = get_ip(socket, (level, name), at, room);
            let value = value.ok_or_else(|| unknown(cx, level, name))??;
            Ok(match value {
                // Who has no room for an int gets the byte, if it is one (`do_ip_getsockopt`).
                Value::Int([byte, 0, 0, 0]) if (1..4).contains(&room) => alloc::vec![byte].into(),
                value => value,
            })
        }
        IPPROTO_IPV6 if socket.family == Family::V6 => {
            get_ip(socket, (level, name), at, room).ok_or_else(|| unknown(cx, level, name))?
        }
        IPPROTO_TCP if socket.protocol == Protocol::Tcp => {
            get_tcp(socket, name)?.ok_or_else(|| unknown(cx, level, name))
        }
        IPPROTO_UDP if socket.protocol == Protocol::Udp && name == UDP_CORK => {
            let is_corked = inspect(|stack| stack.udp_options(socket.id))?.is_corked;
            Ok(Value::int(is_corked.into()))
        }
        // As on Linux, where IPv4 is asked last and says so of levels of others (`do_ip_getsockopt`).
        _ => Err(match (unknown(cx, level, name), socket.family, level) {
            (_, Family::V4, level) if !is_own_level(socket, level) => Errno::EOPNOTSUPP,
            (unknown, ..) => unknown,
        }),
    }
}

fn is_own_level(socket: &InetSocket, level: i32) -> bool {
    socket.protocol == Protocol::Udp && matches!(level, IPPROTO_UDP | IPPROTO_UDPLITE)
}

/// Answers `setsockopt(2)`.
pub(super) fn set(
    socket: &InetSocket,
    cx: &Cx<'_>,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<(), Errno> {
    match level {
        SOL_SOCKET if name == so::BINDTODEVICE => device::set(socket, value),
        // As on Linux before it looks which option it is (`sk_setsockopt`).
        SOL_SOCKET if value.len() < size_of::<i32>() => Err(Errno::EINVAL),
        SOL_SOCKET if socket.switches.stamps.get(name).is_some() => {
            socket.switches.stamps.set(name, int(value)? != 0);
            Ok(())
        }
        SOL_SOCKET if name == so::PASSCRED => int(value).and(Err(Errno::EOPNOTSUPP)),
        SOL_SOCKET => {
            socket
                .options
                .set(name, value)
                .ok_or_else(|| unknown(cx, level, name))??;
            apply(socket, name)
        }
        IPPROTO_IP => set_ip(socket, cx, name, value),
        IPPROTO_IPV6 if socket.family == Family::V6 => set_ipv6(socket, cx, name, value),
        IPPROTO_UDP if socket.protocol == Protocol::Udp && name == UDP_CORK => {
            let is_corked = int(value)? != 0;
            operate(|stack| stack.udp_cork(socket.id, is_corked))
        }
        IPPROTO_TCP if socket.protocol == Protocol::Tcp => set_tcp(socket, cx, name, value),
        _ => Err(unknown(cx, level, name)),
    }
}

/// Hands the options of `SOL_SOCKET` that the stack acts upon to it. Buffers are tuned until `name` says how large they are
/// to be, as on Linux.
fn apply(socket: &InetSocket, name: i32) -> Result<(), Errno> {
    const ACTED_UPON: [i32; 9] = [
        so::REUSEADDR,
        so::REUSEPORT,
        so::DONTROUTE,
        so::BROADCAST,
        so::KEEPALIVE,
        so::LINGER,
        so::SNDBUF,
        so::RCVBUF,
        so::RCVLOWAT,
    ];
    if !ACTED_UPON.contains(&name) {
        return Ok(());
    }
    let options = &socket.options;
    let low_water = options.receive_low();
    adjust(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_change_options(socket.id, |o: &mut TcpOptions| {
            o.reuses_address = options.is_on(so::REUSEADDR);
            o.reuses_port = options.is_on(so::REUSEPORT);
            o.avoids_routers = options.is_on(so::DONTROUTE);
            o.keeps_alive = options.is_on(so::KEEPALIVE);
            o.linger = options.linger();
            if name == so::RCVBUF {
                o.receive_buffer = options.receive_buffer() as u32;
                o.receive_most = o.receive_buffer;
            }
            if name == so::SNDBUF {
                o.send_buffer = options.send_buffer() as u32;
                o.send_most = o.send_buffer;
            }
            o.low_water = low_water;
        }),
        Protocol::Udp => stack.udp_change_options(socket.id, |o: &mut UdpOptions| {
            o.reuses_address = options.is_on(so::REUSEADDR);
            o.reuses_port = options.is_on(so::REUSEPORT);
            o.avoids_routers = options.is_on(so::DONTROUTE);
            o.broadcasts = options.is_on(so::BROADCAST);
            o.receive_buffer = options.receive_buffer();
        }),
    })
}
