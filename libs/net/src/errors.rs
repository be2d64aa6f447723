//! What the network says of packets that did not arrive, and the queues in which programs can read it (`ip(7)`,
//! `IP_RECVERR`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use tyn_abi::Errno;

use crate::udp::UdpReceived;

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 512;

/// Who noticed an error, as Linux numbers it (`SO_EE_ORIGIN_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Origin {
    /// This host.
    Local = 1,
    /// Somebody who said so by ICMP.
    Icmp = 2,
    /// The same by ICMPv6.
    Icmp6 = 3,
}

/// Why a packet did not arrive (`struct sock_extended_err`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetError {
    /// The error that stands for it.
    pub errno: Errno,
    /// Who noticed.
    pub origin: Origin,
    /// Type and code of ICMP.
    pub kind: u8,
    /// See above.
    pub code: u8,
    /// The MTU that it was too big for.
    pub info: u32,
    /// It will not pass (RFC 1122 §4.2.3.9): connected sockets hear of it in any case.
    pub(crate) is_hard: bool,
}

/// An error, and the packet that told of it; the payload's lengths are those of what had been sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// What happened.
    pub error: NetError,
    /// Who says so; `None` if it is us.
    pub report: Option<UdpReceived>,
}

/// Returns whether a program that `asks` for errors of IPv4 and of IPv6 (`IP_RECVERR`, `IPV6_RECVERR`) wants one.
pub(crate) fn is_asked_for([v4, v6]: [bool; 2], is_v6: bool) -> bool {
    if is_v6 { v6 } else { v4 }
}

/// An entry of a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedError {
    /// What happened.
    pub trouble: Trouble,
    /// Where the packet was to go.
    pub to: SocketAddr,
    /// Its payload, as far as it came back.
    pub data: Vec<u8>,
}

/// Errors that a program has asked to read.
#[derive(Debug, Default)]
pub(crate) struct ErrorQueue {
    entries: VecDeque<QueuedError>,
    pub(crate) bytes: usize,
}

impl ErrorQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends an entry, if `most` bytes have room for it.
    pub(crate) fn push(&mut self, trouble: &Trouble, to: SocketAddr, payload: &[u8], most: usize) {
        let cost = payload.len() + OVERHEAD;
        let mut data = Vec::new();
        let has_room = self.bytes + cost <= most
            && self.entries.try_reserve(1).is_ok()
            && data.try_reserve_exact(payload.len()).is_ok();
        if !has_room {
            return;
        }
        data.extend_from_slice(payload);
        self.bytes += cost;
        self.entries.push_back(QueuedError {
            trouble: *trouble,
            to,
            data,
        });
    }

    /// Takes the oldest entry. `pending` is the socket's error, which becomes that of the next entry
    /// (`sock_dequeue_err_skb` of Linux).
    pub(crate) fn take(&mut self, pending: &mut Option<Errno>) -> Option<QueuedError> {
        let taken = self.entries.pop_front()?;
        self.bytes -= taken.data.len() + OVERHEAD;
        let by_icmp = |e: &QueuedError| e.trouble.error.origin != Origin::Local;
        match self.entries.front().filter(|next| by_icmp(next)) {
            Some(next) => *pending = Some(next.trouble.error.errno),
            None if by_icmp(&taken) => *pending = None,
            None => {}
        }
        Some(taken)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Types of ICMP and ICMPv6 messages that tell of errors.
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER: u8 = 12;
const UNREACHABLE6: u8 = 1;
const TOO_BIG6: u8 = 2;
const TIME_EXCEEDED6: u8 = 3;
const PARAMETER6: u8 = 4;
/// The code of "destination unreachable" for a packet that is too big and must not be split.
const FRAGMENTATION_NEEDED: u8 = 4;

impl NetError {
    /// Returns what ICMP says with a type and a code (`icmp_err_convert` and `__udp4_lib_err` of Linux). `mtu` is the one
    /// in "fragmentation needed".
    pub(crate) fn from_icmp(kind: u8, code: u8, mtu: usize) -> Option<Self> {
        let (errno, is_hard) = match (kind, code) {
            (UNREACHABLE, 0 | 11) => (Errno::ENETUNREACH, false),
            (UNREACHABLE, 1 | 12) => (Errno::EHOSTUNREACH, false),
            (UNREACHABLE, 2) => (Errno::ENOPROTOOPT, true),
            (UNREACHABLE, 3) => (Errno::ECONNREFUSED, true),
            (UNREACHABLE, FRAGMENTATION_NEEDED) => (Errno::EMSGSIZE, true),
            (UNREACHABLE, 5) => (Errno::EOPNOTSUPP, false),
            (UNREACHABLE, 6 | 9) => (Errno::ENETUNREACH, true),
            (UNREACHABLE, 7 | 8 | 10 | 13..=15) => (Errno::EHOSTUNREACH, true),
            (TIME_EXCEEDED, _) => (Errno::EHOSTUNREACH, false),
            (PARAMETER, _) => (Errno::EPROTO, true),
            _ => return None,
        };
        let is_mtu = (kind, code) == (UNREACHABLE, FRAGMENTATION_NEEDED);
        Some(Self {
            errno,
            origin: Origin::Icmp,
            kind,
            code,
            info: if is_mtu { mtu as u32 } else { 0 },
            is_hard,
        })
    }

    /// The same for ICMPv6 (`icmpv6_err_convert`).
    pub(crate) fn from_icmp6(kind: u8, code: u8, mtu: usize) -> Option<Self> {
        let (errno, is_hard) = match (kind, code) {
            (UNREACHABLE6, 0) => (Errno::ENETUNREACH, false),
            (UNREACHABLE6, 1 | 5 | 6) => (Errno::EACCES, true),
            (UNREACHABLE6, 2 | 3) => (Errno::EHOSTUNREACH, false),
            (UNREACHABLE6, 4) => (Errno::ECONNREFUSED, true),
            (TOO_BIG6, _) => (Errno::EMSGSIZE, true),
            (TIME_EXCEEDED6, _) => (Errno::EHOSTUNREACH, false),
            (PARAMETER6, _) => (Errno::EPROTO, true),
            _ => return None,
        };
        Some(Self {
            errno,
            origin: Origin::Icmp6,
            kind,
            code,
            info: if kind == TOO_BIG6 { mtu as u32 } else { 0 },
            is_hard,
        })
    }

    /// A neighbour does not answer.
    pub(crate) fn silent_neighbor(is_v4: bool) -> Self {
        let (origin, kind, code) = if is_v4 {
            (Origin::Icmp, UNREACHABLE, 1)
        } else {
            (Origin::Icmp6, UNREACHABLE6, 3)
        };
        Self {
            errno: Errno::EHOSTUNREACH,
            origin,
            kind,
            code,
            info: 0,
            is_hard: false,
        }
    }

    /// A datagram is longer than our own link takes.
    pub(crate) fn too_long(mtu: usize) -> Self {
        Self {
            errno: Errno::EMSGSIZE,
            origin: Origin::Local,
            kind: 0,
            code: 0,
            info: mtu as u32,
            is_hard: true,
        }
    }
}
