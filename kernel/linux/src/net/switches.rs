//! Switches of `IPPROTO_IP` and `IPPROTO_IPV6`, most of which ask for control messages, and these messages.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tyn_net::{Path, UdpReceived, UdpSend};

use super::address::{CARD, Family, LOOPBACK, as_v6, encode};
use super::inet::{IPPROTO_IP, IPPROTO_IPV6};
use super::ip_options::{IP_TOS, IP_TTL, IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_TCLASS};
use super::stamps::Stamps;
use crate::socket::Control;

/// `ip(7)` options.
pub(super) const IP_PKTINFO: i32 = 8;
const IP_RECVTTL: i32 = 12;
const IP_RECVTOS: i32 = 13;
pub(super) const IP_FREEBIND: i32 = 15;
pub(super) const IP_TRANSPARENT: i32 = 19;
const IP_RECVORIGDSTADDR: i32 = 20;
/// `ipv6(7)` options.
const IPV6_RECVPKTINFO: i32 = 49;
const IPV6_RECVHOPLIMIT: i32 = 51;
const IPV6_RECVPATHMTU: i32 = 60;
pub(super) const IPV6_DONTFRAG: i32 = 62;
const IPV6_RECVTCLASS: i32 = 66;
const IPV6_RECVORIGDSTADDR: i32 = 74;
const IPV6_TRANSPARENT: i32 = 75;
const IPV6_FREEBIND: i32 = 78;

/// Which control messages the receiver wants.
#[derive(Debug, Default)]
pub(crate) struct IpSwitches {
    /// `IP_RECVTTL`.
    receives_ttl: AtomicBool,
    /// `IP_RECVTOS`.
    receives_tos: AtomicBool,
    /// `IP_PKTINFO`.
    receives_info: AtomicBool,
    /// `IPV6_RECVHOPLIMIT`.
    receives_hop_limit: AtomicBool,
    /// `IPV6_RECVTCLASS`.
    receives_class: AtomicBool,
    /// `IPV6_RECVPKTINFO`.
    receives_info6: AtomicBool,
    /// `IPV6_RECVPATHMTU`.
    receives_path_mtu: AtomicBool,
    /// `IPV6_DONTFRAG`: datagrams are not split.
    never_splits: AtomicBool,
    /// `SO_TIMESTAMP`, `SO_TIMESTAMPNS`.
    pub(super) stamps: Stamps,
    /// `IP_RECVORIGDSTADDR`.
    receives_destination: AtomicBool,
    /// `IPV6_RECVORIGDSTADDR`.
    receives_destination6: AtomicBool,
    /// `IP_FREEBIND`, `IPV6_FREEBIND`.
    binds_freely: AtomicBool,
    /// `IP_TRANSPARENT`, `IPV6_TRANSPARENT`.
    is_transparent: AtomicBool,
    /// `IP_MINTTL`, `IPV6_MINHOPCOUNT`.
    pub(super) least_ttl: [AtomicU8; 2],
}

pub(super) fn is_on(switch: &AtomicBool) -> bool {
    switch.load(Ordering::Relaxed)
}

impl IpSwitches {
    pub(super) fn duplicate(&self) -> Self {
        let copy = |switch: &AtomicBool| AtomicBool::new(is_on(switch));
        Self {
            receives_ttl: copy(&self.receives_ttl),
            receives_tos: copy(&self.receives_tos),
            receives_info: copy(&self.receives_info),
            receives_hop_limit: copy(&self.receives_hop_limit),
            receives_class: copy(&self.receives_class),
            receives_info6: copy(&self.receives_info6),
            receives_path_mtu: copy(&self.receives_path_mtu),
            never_splits: copy(&self.never_splits),
            stamps: self.stamps.duplicate(),
            receives_destination: copy(&self.receives_destination),
            receives_destination6: copy(&self.receives_destination6),
            binds_freely: copy(&self.binds_freely),
            is_transparent: copy(&self.is_transparent),
            least_ttl: [&self.least_ttl[0], &self.least_ttl[1]]
                .map(|least| AtomicU8::new(least.load(Ordering::Relaxed))),
        }
    }

    pub(super) fn of(&self, level: i32, name: i32) -> Option<&AtomicBool> {
        Some(match (level, name) {
            (IPPROTO_IP, IP_RECVTTL) => &self.receives_ttl,
            (IPPROTO_IP, IP_RECVTOS) => &self.receives_tos,
            (IPPROTO_IP, IP_PKTINFO) => &self.receives_info,
            (IPPROTO_IP, IP_RECVORIGDSTADDR) => &self.receives_destination,
            (IPPROTO_IPV6, IPV6_RECVORIGDSTADDR) => &self.receives_destination6,
            (IPPROTO_IP, IP_FREEBIND) | (IPPROTO_IPV6, IPV6_FREEBIND) => &self.binds_freely,
            (IPPROTO_IP, IP_TRANSPARENT) | (IPPROTO_IPV6, IPV6_TRANSPARENT) => &self.is_transparent,
            (IPPROTO_IPV6, IPV6_RECVHOPLIMIT) => &self.receives_hop_limit,
            (IPPROTO_IPV6, IPV6_RECVTCLASS) => &self.receives_class,
            (IPPROTO_IPV6, IPV6_RECVPKTINFO) => &self.receives_info6,
            (IPPROTO_IPV6, IPV6_RECVPATHMTU) => &self.receives_path_mtu,
            (IPPROTO_IPV6, IPV6_DONTFRAG) => &self.never_splits,
            _ => return None,
        })
    }

    /// Returns how a datagram is sent that says nothing of it.
    pub(super) fn send(&self) -> UdpSend {
        UdpSend {
            never_splits: is_on(&self.never_splits),
            tells_mtu: is_on(&self.receives_path_mtu),
            ..UdpSend::default()
        }
    }

    /// Returns whether it may be bound to an address that is not ours.
    pub(super) fn binds_freely(&self) -> bool {
        is_on(&self.binds_freely) || is_on(&self.is_transparent)
    }

    /// Returns whether the destination of datagrams is wanted with its port.
    pub(super) fn wants_destination(&self) -> bool {
        is_on(&self.receives_destination) || is_on(&self.receives_destination6)
    }

    /// Returns whether interface and address, time to live, and type of service are wanted: of IPv4, and of IPv6.
    pub(super) fn wanted(&self) -> [[bool; 3]; 2] {
        [
            [
                is_on(&self.receives_info),
                is_on(&self.receives_ttl),
                is_on(&self.receives_tos),
            ],
            [
                is_on(&self.receives_info6),
                is_on(&self.receives_hop_limit),
                is_on(&self.receives_class),
            ],
        ]
    }

    /// Returns the control messages of a datagram that came to `port`, in Linux's order.
    pub(super) fn control(&self, family: Family, of: &UdpReceived, port: u16) -> Vec<Control> {
        let mut all = Vec::from_iter(self.stamps.control(of.at));
        let interface = match of.path {
            Path::Nic => CARD,
            Path::Loopback => LOOPBACK,
        };
        let mut push = |wanted: &AtomicBool, level, kind, data: Vec<u8>| {
            if is_on(wanted) {
                all.push(Control { level, kind, data });
            }
        };
        if family == Family::V6 {
            let mut info = as_v6(of.destination).octets().to_vec();
            info.extend(interface.to_le_bytes());
            push(&self.receives_info6, IPPROTO_IPV6, IPV6_PKTINFO, info);
        }
        let to = SocketAddr::new(of.destination, port);
        let number = |value: u8| i32::from(value).to_le_bytes().to_vec();
        match of.destination {
            IpAddr::V4(ip) => {
                let mut info = interface.to_le_bytes().to_vec();
                info.extend(ip.octets());
                info.extend(ip.octets());
                push(&self.receives_info, IPPROTO_IP, IP_PKTINFO, info);
                push(&self.receives_ttl, IPPROTO_IP, IP_TTL, number(of.ttl));
                push(&self.receives_tos, IPPROTO_IP, IP_TOS, alloc::vec![of.tos]);
                let (wanted, to) = (&self.receives_destination, encode(Family::V4, to));
                push(wanted, IPPROTO_IP, IP_RECVORIGDSTADDR, to);
            }
            IpAddr::V6(_) => {
                let (limit, class) = (number(of.ttl), number(of.tos));
                push(&self.receives_hop_limit, IPPROTO_IPV6, IPV6_HOPLIMIT, limit);
                push(&self.receives_class, IPPROTO_IPV6, IPV6_TCLASS, class);
                let (wanted, to) = (&self.receives_destination6, encode(Family::V6, to));
                push(wanted, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, to);
            }
        }
        all
    }
}
