//! Options of `IPPROTO_TCP` (`tcp(7)`).

use alloc::vec::Vec;

use tyn_abi::socket::SOMAXCONN;
use tyn_abi::{Errno, Nanos};
use tyn_hal::time;
use tyn_net::{Algorithm, TcpOptions, TcpStatus};

use super::inet::{IPPROTO_TCP, InetSocket};
use super::options::unknown;
use super::{adjust, inspect, operate, tcp_info};
use crate::cx::Cx;
use crate::socket_options::{Value, int};

const TCP_NODELAY: i32 = 1;
const TCP_MAXSEG: i32 = 2;
const TCP_CORK: i32 = 3;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
const TCP_KEEPCNT: i32 = 6;
const TCP_SYNCNT: i32 = 7;
const TCP_LINGER2: i32 = 8;
const TCP_DEFER_ACCEPT: i32 = 9;
const TCP_WINDOW_CLAMP: i32 = 10;
const TCP_INFO: i32 = 11;
const TCP_QUICKACK: i32 = 12;
const TCP_CONGESTION: i32 = 13;
const TCP_THIN_LINEAR_TIMEOUTS: i32 = 16;
const TCP_THIN_DUPACK: i32 = 17;
const TCP_USER_TIMEOUT: i32 = 18;
const TCP_FASTOPEN: i32 = 23;
const TCP_NOTSENT_LOWAT: i32 = 25;
const TCP_CC_INFO: i32 = 26;
const TCP_FASTOPEN_CONNECT: i32 = 30;
const TCP_ULP: i32 = 31;
/// Bytes of a congestion control's name (`TCP_CA_NAME_MAX`).
const NAME: usize = 16;
/// The congestion controls, as they are called.
pub(super) const ALGORITHMS: [(Algorithm, &str); 2] =
    [(Algorithm::Reno, "reno"), (Algorithm::Cubic, "cubic")];
/// `tcp_syn_retries`, `tcp_fin_timeout` (s) and `TCP_RTO_MAX` (s) of Linux.
pub(super) const DEFAULT_SYN_RETRIES: u32 = 6;
pub(super) const DEFAULT_FIN_TIMEOUT: u32 = 60;
const LONGEST_TIME_OUT: u32 = 120;

pub(super) fn seconds(time: Nanos) -> u32 {
    u32::try_from(time.split().0).unwrap_or(u32::MAX)
}

/// Answers `getsockopt(2)`; `None` for an option that there is not.
pub(super) fn get_tcp(socket: &InetSocket, name: i32) -> Result<Option<Value>, Errno> {
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
        TCP_QUICKACK => {
            let delays = inspect(|stack| stack.tcp_delays_acks(socket.id))?;
            (!delays).into()
        }
        TCP_USER_TIMEOUT => u32::try_from(options.user_timeout.0 / 1_000_000).unwrap_or(u32::MAX),
        TCP_WINDOW_CLAMP => inspect(|stack| stack.tcp_window_clamp(socket.id))?,
        TCP_CONGESTION => return Ok(Some(name_of(options.algorithm).into())),
        TCP_THIN_LINEAR_TIMEOUTS => options.is_thin.into(),
        // Linux has forgotten what it was, and checks it.
        TCP_THIN_DUPACK => 0,
        TCP_FASTOPEN => options.fast_open,
        TCP_FASTOPEN_CONNECT => 0,
        TCP_NOTSENT_LOWAT => options.unsent_low,
        // Neither congestion control tells anything, and there is no upper layer.
        TCP_CC_INFO | TCP_ULP => return Ok(Some(Vec::new().into())),
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

/// The same of options by which few programs choose how they send.
fn set_more(socket: &InetSocket, cx: &Cx<'_>, name: i32, number: u32) -> Result<(), Errno> {
    // Half of SOCK_MIN_RCVBUF.
    const LEAST_CLAMP: i32 = 1152;
    let change =
        |f: &mut dyn FnMut(&mut TcpOptions)| adjust(|stack| stack.tcp_change_options(socket.id, f));
    let is = |of: &[TcpStatus]| {
        let status = inspect(|stack| stack.tcp_status(socket.id))?;
        Ok::<_, Errno>(of.contains(&status))
    };
    match name {
        TCP_WINDOW_CLAMP => {
            if number == 0 && !is(&[TcpStatus::Closed])? {
                return Err(Errno::EINVAL);
            }
            let clamp = match number.cast_signed() {
                0 => 0,
                ..LEAST_CLAMP => LEAST_CLAMP.cast_unsigned(),
                _ => number,
            };
            change(&mut |o| o.window_clamp = clamp)
        }
        TCP_THIN_LINEAR_TIMEOUTS | TCP_THIN_DUPACK if number > 1 => Err(Errno::EINVAL),
        TCP_THIN_LINEAR_TIMEOUTS => change(&mut |o| o.is_thin = number == 1),
        TCP_THIN_DUPACK => Ok(()),
        TCP_NOTSENT_LOWAT => change(&mut |o| o.unsent_low = number),
        TCP_FASTOPEN => {
            if number.cast_signed() < 0 || !is(&[TcpStatus::Closed, TcpStatus::Listen])? {
                return Err(Errno::EINVAL);
            }
            change(&mut |o| o.fast_open = number.min(SOMAXCONN as u32))
        }
        TCP_FASTOPEN_CONNECT if number > 1 => Err(Errno::EINVAL),
        // As where `net.ipv4.tcp_fastopen` does not let clients.
        TCP_FASTOPEN_CONNECT => {
            unknown(cx, IPPROTO_TCP, name);
            Err(Errno::EOPNOTSUPP)
        }
        _ => Err(unknown(cx, IPPROTO_TCP, name)),
    }
}

/// Returns a congestion control's name, with zeros behind it.
fn name_of(algorithm: Algorithm) -> Vec<u8> {
    let name = ALGORITHMS.iter().find(|(a, _)| *a == algorithm);
    let mut bytes = name.map_or("", |(_, name)| name).as_bytes().to_vec();
    bytes.resize(NAME, 0);
    bytes
}

/// Returns the congestion control of a name, which ends with its bytes or with a zero.
///
/// # Errors
/// `ENOENT`.
fn algorithm_of(name: &[u8]) -> Result<Algorithm, Errno> {
    let name = name.get(..NAME - 1).unwrap_or(name);
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    let known = ALGORITHMS.iter().find(|(_, n)| n.as_bytes() == name);
    known.map(|(algorithm, _)| *algorithm).ok_or(Errno::ENOENT)
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

/// Answers `setsockopt(2)`.
pub(super) fn set_tcp(
    socket: &InetSocket,
    cx: &Cx<'_>,
    name: i32,
    value: &[u8],
) -> Result<(), Errno> {
    const LONGEST_KEEP_S: u32 = 32_767;
    const MOST_PROBES: u32 = 127;
    const MOST_RETRIES: u8 = 127;
    const LONGEST_FIN_TIMEOUT: u32 = 120;
    // TCP_MIN_MSS and MAX_TCP_WINDOW.
    const SHORTEST_SEGMENT: u32 = 88;
    const LONGEST_SEGMENT: u32 = 32_767;
    let change =
        |f: &mut dyn FnMut(&mut TcpOptions)| adjust(|stack| stack.tcp_change_options(socket.id, f));
    match name {
        TCP_CONGESTION | TCP_ULP if value.is_empty() => return Err(Errno::EINVAL),
        TCP_CONGESTION => {
            let algorithm = algorithm_of(value)?;
            return change(&mut |o| o.algorithm = algorithm);
        }
        // As on a Linux that has none of them.
        TCP_ULP => {
            unknown(cx, IPPROTO_TCP, name);
            return Err(Errno::ENOENT);
        }
        _ => {}
    }
    let number = int(value)?;
    let in_seconds = || match number {
        1..=LONGEST_KEEP_S => Ok(Nanos(u64::from(number) * Nanos::PER_SEC)),
        _ => Err(Errno::EINVAL),
    };
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
        _ => set_more(socket, cx, name, number),
    }
}
