//! Options of `IPPROTO_TCP` (`tcp(7)`).

use tyn_abi::{Errno, Nanos};
use tyn_hal::time;
use tyn_net::TcpOptions;

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
const TCP_INFO: i32 = 11;
const TCP_QUICKACK: i32 = 12;
const TCP_USER_TIMEOUT: i32 = 18;
/// `tcp_syn_retries`, `tcp_fin_timeout` (s) and `TCP_RTO_MAX` (s) of Linux.
const DEFAULT_SYN_RETRIES: u32 = 6;
const DEFAULT_FIN_TIMEOUT: u32 = 60;
const LONGEST_TIME_OUT: u32 = 120;

fn seconds(time: Nanos) -> u32 {
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
