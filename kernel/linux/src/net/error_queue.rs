//! What a socket tells of packets that did not arrive (`ip(7)`: `IP_RECVERR`, `MSG_ERRQUEUE`).

use alloc::vec::Vec;
use core::net::SocketAddr;

use tyn_abi::socket::MsgFlags;
use tyn_abi::{Errno, Sink};
use tyn_net::Trouble;

use super::address::{Family, encode};
use super::inet::{IPPROTO_IP, IPPROTO_IPV6, InetSocket, Protocol};
use super::{inspect, operate};
use crate::socket::{Control, Incoming};

const IP_RECVERR: i32 = 11;
const IPV6_RECVERR: i32 = 25;
/// Sizes of `struct sockaddr_in` and `struct sockaddr_in6`.
const SOCKADDR_IN: usize = 16;
const SOCKADDR_IN6: usize = 28;

/// Returns whether an option is about errors, and of IPv6.
pub(super) fn option(level: i32, name: i32) -> Option<bool> {
    match (level, name) {
        (IPPROTO_IP, IP_RECVERR) => Some(false),
        (IPPROTO_IPV6, IPV6_RECVERR) => Some(true),
        _ => None,
    }
}

/// Answers `getsockopt(2)`.
pub(super) fn is_asked_for(socket: &InetSocket, is_v6: bool) -> bool {
    let asks = inspect(|stack| match socket.protocol {
        Protocol::Tcp => stack.tcp_options(socket.id).map(|o| o.asks_for_errors),
        Protocol::Udp => stack.udp_options(socket.id).map(|o| o.asks_for_errors),
    });
    asks.is_ok_and(|[v4, v6]| if is_v6 { v6 } else { v4 })
}

/// Answers `setsockopt(2)`.
pub(super) fn ask(socket: &InetSocket, is_v6: bool, asks: bool) -> Result<(), Errno> {
    operate(|stack| stack.ask_for_errors(socket.id, is_v6, asks))
}

/// Takes an error out of the queue: the payload of what was sent, where it was to go, and what happened.
///
/// # Errors
/// `EAGAIN` when there is none.
pub(super) fn take(socket: &InetSocket, dst: &mut dyn Sink) -> Result<Incoming, Errno> {
    let (entry, copied) = operate(|stack| stack.take_queued_error(socket.id, dst))?;
    let mut control = match &entry.trouble.report {
        Some(report) => socket.switches.control(socket.family, report, 0),
        None => Vec::new(),
    };
    control.push(describe(socket.family, &entry.trouble));
    let mut flags = MsgFlags::ERRQUEUE;
    flags.set(MsgFlags::TRUNC, copied < entry.data.len());
    Ok(Incoming {
        count: copied,
        address: Some(encode(socket.family, entry.to)),
        control,
        flags,
        ..Incoming::default()
    })
}

/// `struct sock_extended_err` and the address of who says so.
fn describe(family: Family, trouble: &Trouble) -> Control {
    let error = &trouble.error;
    let mut data = u32::from(error.errno.number()).to_le_bytes().to_vec();
    data.extend([error.origin as u8, error.kind, error.code, 0]);
    data.extend(error.info.to_le_bytes());
    data.extend([0; 4]);
    let offender = trouble.report.map(|by| SocketAddr::new(by.source.ip(), 0));
    let (level, kind, size) = match family {
        Family::V4 => (IPPROTO_IP, IP_RECVERR, SOCKADDR_IN),
        Family::V6 => (IPPROTO_IPV6, IPV6_RECVERR, SOCKADDR_IN6),
    };
    let mut offender = offender.map_or_else(Vec::new, |at| encode(family, at));
    offender.resize(size, 0);
    data.extend(offender);
    Control { level, kind, data }
}
