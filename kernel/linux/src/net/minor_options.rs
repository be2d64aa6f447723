//! Options of `ip(7)` and `ipv6(7)` that few programs set: how far packets may have come, what only a raw socket can set,
//! headers to be sent along.

use core::sync::atomic::Ordering;

use tyn_abi::Errno;

use super::adjust;
use super::inet::{IPPROTO_IP, IPPROTO_IPV6, InetSocket, Protocol};
use crate::socket_options::Value;

const IP_HDRINCL: i32 = 3;
const IP_ROUTER_ALERT: i32 = 5;
pub(super) const IP_MINTTL: i32 = 21;
const IP_NODEFRAG: i32 = 22;
const IPV6_ROUTER_ALERT: i32 = 22;
const IPV6_HOPOPTS: i32 = 54;
const IPV6_RTHDRDSTOPTS: i32 = 55;
const IPV6_RTHDR: i32 = 57;
const IPV6_DSTOPTS: i32 = 59;
const IPV6_MINHOPCOUNT: i32 = 73;

/// Answers `getsockopt(2)`; `None` for other options.
pub(super) fn get(socket: &InetSocket, level: i32, name: i32) -> Option<Value> {
    Some(match (level, name) {
        (IPPROTO_IP, IP_HDRINCL | IP_ROUTER_ALERT | IP_NODEFRAG)
        | (IPPROTO_IPV6, IPV6_ROUTER_ALERT) => Value::int(0),
        (IPPROTO_IPV6, IPV6_HOPOPTS | IPV6_RTHDRDSTOPTS | IPV6_RTHDR | IPV6_DSTOPTS) => {
            Value::Bytes(alloc::vec::Vec::new())
        }
        _ => {
            let [v4, v6] = &socket.switches.least_ttl;
            let least = match (level, name) {
                (IPPROTO_IP, IP_MINTTL) => v4,
                (IPPROTO_IPV6, IPV6_MINHOPCOUNT) => v6,
                _ => return None,
            };
            Value::int(least.load(Ordering::Relaxed).into())
        }
    })
}

/// Answers `setsockopt(2)`; `None` for other options, and for headers that are not empty, which there are not.
pub(super) fn set(
    socket: &InetSocket,
    (level, name): (i32, i32),
    value: &[u8],
    number: Result<u32, Errno>,
) -> Option<Result<(), Errno>> {
    Some(match (level, name) {
        (IPPROTO_IP, IP_HDRINCL | IP_NODEFRAG) | (IPPROTO_IPV6, IPV6_ROUTER_ALERT) => {
            number.and(Err(Errno::ENOPROTOOPT))
        }
        (IPPROTO_IP, IP_ROUTER_ALERT) => number.and(Err(Errno::EINVAL)),
        (IPPROTO_IPV6, IPV6_HOPOPTS | IPV6_RTHDRDSTOPTS | IPV6_RTHDR | IPV6_DSTOPTS) => {
            match value.len() {
                0 => Ok(()),
                len if len % 8 != 0 => Err(Errno::EINVAL),
                _ => return None,
            }
        }
        (IPPROTO_IP, IP_MINTTL) => number.and_then(|n| set_least(socket, 0, n)),
        (IPPROTO_IPV6, IPV6_MINHOPCOUNT) => number.and_then(|n| set_least(socket, 1, n)),
        _ => return None,
    })
}

/// Keeps the least time to live of packets of one family. Only TCP heeds it, as on Linux.
fn set_least(socket: &InetSocket, family: usize, number: u32) -> Result<(), Errno> {
    let least = u8::try_from(number).map_err(|_| Errno::EINVAL)?;
    let all = &socket.switches.least_ttl;
    if let Some(kept) = all.get(family) {
        kept.store(least, Ordering::Relaxed);
    }
    if socket.protocol == Protocol::Udp {
        return Ok(());
    }
    let least_ttl = [&all[0], &all[1]].map(|least| least.load(Ordering::Relaxed));
    adjust(|stack| stack.tcp_change_options(socket.id, |o| o.least_ttl = least_ttl))
}
