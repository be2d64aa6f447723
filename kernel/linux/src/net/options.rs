//! Options of internet sockets: `SOL_SOCKET` (`socket(7)`), `IPPROTO_TCP` (`tcp(7)`). Those of `IPPROTO_IP` and `IPPROTO_IPV6`
//! are in [`super::ip_options`].

use core::sync::atomic::Ordering;

use tyn_abi::socket::{SOL_SOCKET, so};
use tyn_abi::{Errno, Nanos, UserVa};
use tyn_hal::time;
use tyn_net::{TcpOptions, UdpOptions};

use super::address::Family;
use super::inet::{
    IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, InetSocket, Protocol, take_error,
};
use super::ip_options::{get as get_ip, set_ip, set_ipv6};
use super::{adjust, device, inspect, operate, tcp_info};
use crate::cx::Cx;
use crate::socket::Socket;
use crate::socket_options::{Value, int};

const IPPROTO_UDPLITE: i32 = 136;
/// `tcp(7)` options.
const TCP_NODELAY: i32 = 1;
const TCP_MAXSEG: i32 = 2;
const TCP_CORK: i32 = 3;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
const TCP_KEEPCNT: i32 = 6;
const TCP_SYNCNT: i32 = 7;
const TCP_LINGER2: i32 = 8;
const TCP_DEFER_ACCEPT: i32 = 9;
const TCP_INFO: i32 = 11;
const TCP_QUICKACK: i32 = 12;
const TCP_CONGESTION: i32 = 13;
const TCP_USER_TIMEOUT: i32 = 18;
/// What keeps connections from sending more than a path carries, and the room for such a name.
const CONGESTION_CONTROL: &[u8] = b"cubic";
const TCP_CA_NAME_MAX: usize = 16;
/// `tcp_syn_retries`, `tcp_fin_timeout` (s) and `TCP_RTO_MAX` (s) of Linux.
const DEFAULT_SYN_RETRIES: u32 = 6;
const DEFAULT_FIN_TIMEOUT: u32 = 60;
const LONGEST_TIME_OUT: u32 = 120;

fn seconds(time: Nanos) -> u32 {
    u32::try_from(time.split().0).unwrap_or(u32::MAX)
}

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

fn get_tcp(socket: &InetSocket, name: i32) -> Result<Option<Value>, Errno> {
    const DEFAULT_MSS: u32 = 536;
    let (options, segment) = inspect(|stack| {
        let id = socket.id;
        let segment = stack.tcp_segment_size(id)?;
        Ok::<_, Errno>((stack.tcp_options(id)?, segment))
    })?;
    Ok(Some(Value::int(match name {
        TCP_NODELAY => options.no_delay.into(),
        TCP_CORK => options.is_corked.into(),
        TCP_MAXSEG => segment
            .or(options.longest_segment)
            .map_or(DEFAULT_MSS, u32::from),
        TCP_KEEPIDLE => seconds(options.keep_idle),
        TCP_KEEPINTVL => seconds(options.keep_interval),
        TCP_KEEPCNT => options.keep_count.into(),
        TCP_SYNCNT => match options.syn_retries {
            0 => DEFAULT_SYN_RETRIES,
            retries => retries.into(),
        },
        TCP_LINGER2 => match options.fin_timeout {
            None => u32::MAX,
            Some(0) => DEFAULT_FIN_TIMEOUT,
            Some(seconds) => seconds.into(),
        },
        TCP_DEFER_ACCEPT => time_of(options.defers),
        TCP_CONGESTION => {
            let mut name = CONGESTION_CONTROL.to_vec();
            name.resize(TCP_CA_NAME_MAX, 0);
            return Ok(Some(name.into()));
        }
        TCP_QUICKACK => {
            let delays = inspect(|stack| stack.tcp_delays_acks(socket.id))?;
            (!delays).into()
        }
        TCP_USER_TIMEOUT => u32::try_from(options.user_timeout.0 / 1_000_000).unwrap_or(u32::MAX),
        TCP_INFO => {
            let now = time::now();
            let info = inspect(|stack| {
                stack.set_now(now);
                stack.tcp_info(socket.id)
            })?;
            return Ok(Some(tcp_info::encode(&info).into()));
        }
        _ => return Ok(None),
    })))
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
        SOL_SOCKET => {
            socket
                .options
                .set(name, value)
                .ok_or_else(|| unknown(cx, level, name))??;
            apply(socket, name)
        }
        IPPROTO_IP => set_ip(socket, cx, name, value),
        IPPROTO_IPV6 if socket.family == Family::V6 => set_ipv6(socket, cx, name, value),
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
            o.linger = options
                .linger()
                .map(|s| Nanos(u64::from(s) * Nanos::PER_SEC));
            if name == so::RCVBUF {
                o.receive_buffer = options.receive_buffer();
                o.receive_most = o.receive_buffer;
            }
            if name == so::SNDBUF {
                o.send_buffer = options.send_buffer();
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

/// Returns in how many time-outs so many seconds are over (`secs_to_retrans` of Linux): each is twice the one before.
fn time_outs_in(seconds: i32) -> u8 {
    let mut count: u8 = 0;
    while seconds > 0 && count < u8::MAX && (count == 0 || time_of(count) < seconds.cast_unsigned())
    {
        count += 1;
    }
    count
}

/// Returns the seconds of so many time-outs.
fn time_of(time_outs: u8) -> u32 {
    (0..time_outs)
        .map(|n| (1 << n.min(7)).min(LONGEST_TIME_OUT))
        .sum()
}

/// Answers `TCP_CONGESTION`: there is one to choose.
fn choose_congestion_control(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() {
        return Err(Errno::EINVAL);
    }
    let name = name.get(..TCP_CA_NAME_MAX - 1).unwrap_or(name);
    match name.split(|b| *b == 0).next() {
        Some(CONGESTION_CONTROL) => Ok(()),
        _ => Err(Errno::ENOENT),
    }
}

fn set_tcp(socket: &InetSocket, cx: &Cx<'_>, name: i32, value: &[u8]) -> Result<(), Errno> {
    const LONGEST_KEEP_S: u32 = 32_767;
    const MOST_PROBES: u32 = 127;
    const MOST_RETRIES: u8 = 127;
    const LONGEST_FIN_TIMEOUT: u32 = 120;
    // TCP_MIN_MSS and MAX_TCP_WINDOW.
    const SHORTEST_SEGMENT: u32 = 88;
    const LONGEST_SEGMENT: u32 = 32_767;
    if name == TCP_CONGESTION {
        return choose_congestion_control(value);
    }
    let number = int(value)?;
    let in_seconds = || match number {
        1..=LONGEST_KEEP_S => Ok(Nanos(u64::from(number) * Nanos::PER_SEC)),
        _ => Err(Errno::EINVAL),
    };
    let change =
        |f: &mut dyn FnMut(&mut TcpOptions)| adjust(|stack| stack.tcp_change_options(socket.id, f));
    match name {
        TCP_NODELAY => change(&mut |o| o.no_delay = number != 0),
        TCP_CORK => change(&mut |o| o.is_corked = number != 0),
        TCP_MAXSEG => {
            let longest = match number {
                0 => None,
                SHORTEST_SEGMENT..=LONGEST_SEGMENT => u16::try_from(number).ok(),
                _ => return Err(Errno::EINVAL),
            };
            change(&mut |o| o.longest_segment = longest)
        }
        TCP_KEEPIDLE => {
            let time = in_seconds()?;
            change(&mut |o| o.keep_idle = time)
        }
        TCP_KEEPINTVL => {
            let time = in_seconds()?;
            change(&mut |o| o.keep_interval = time)
        }
        TCP_KEEPCNT if (1..=MOST_PROBES).contains(&number) => {
            change(&mut |o| o.keep_count = number as u8)
        }
        TCP_KEEPCNT => Err(Errno::EINVAL),
        TCP_SYNCNT => match u8::try_from(number) {
            Ok(retries @ 1..=MOST_RETRIES) => change(&mut |o| o.syn_retries = retries),
            _ => Err(Errno::EINVAL),
        },
        TCP_LINGER2 => {
            let seconds = match number.cast_signed() {
                ..0 => None,
                _ => Some(number.min(LONGEST_FIN_TIMEOUT) as u8),
            };
            change(&mut |o| o.fin_timeout = seconds)
        }
        TCP_DEFER_ACCEPT => {
            let defers = time_outs_in(number.cast_signed());
            change(&mut |o| o.defers = defers)
        }
        TCP_QUICKACK => operate(|stack| {
            let (delays, once) = (number == 0, number & 1 == 0);
            stack.tcp_delay_acks(socket.id, delays, once)
        }),
        TCP_USER_TIMEOUT if number.cast_signed() < 0 => Err(Errno::EINVAL),
        TCP_USER_TIMEOUT => change(&mut |o| o.user_timeout = Nanos::from_millis(number.into())),
        _ => Err(unknown(cx, IPPROTO_TCP, name)),
    }
}
