//! What there is: all sockets, the routes, and how much went through the interfaces (`proc_pid_net(5)`).

mod tcp;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tyn_abi::{Errno, Nanos};

use crate::stack::{Socket, Stack};
use crate::tcp::{TcpState, TcpStatus};
use crate::types::{Cidr6, Path, SocketId};

pub use tcp::Place;

/// Packets and bytes that an interface took in and sent; those of the card with their Ethernet headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Packets in, and out.
    pub packets: [u64; 2],
    /// Bytes in, and out.
    pub bytes: [u64; 2],
}

impl Traffic {
    pub(crate) fn count(&mut self, is_out: bool, bytes: usize) {
        let [packets_in, packets_out] = &mut self.packets;
        let [bytes_in, bytes_out] = &mut self.bytes;
        let (packets, total) = if is_out {
            (packets_out, bytes_out)
        } else {
            (packets_in, bytes_in)
        };
        *packets += 1;
        *total += bytes as u64;
    }
}

/// What a row tells of a connection's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Nothing: UDP, and what is left of a connection or will become one.
    None,
    /// It listens.
    Listening,
    /// It has a connection.
    Connection {
        /// Time-outs in a row.
        timeouts: u8,
        /// Until the next one, in hundredths of a second.
        timeout: u64,
        /// Congestion window and slow-start threshold in segments.
        window: (u32, Option<u32>),
    },
}

/// A socket, or what is left of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The socket; `None` for a request or a TIME-WAIT record.
    pub socket: Option<SocketId>,
    /// Whether it is a socket of IPv6, whatever the addresses.
    pub is_v6: bool,
    /// Our end.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// State; UDP sockets are established or closed.
    pub status: TcpStatus,
    /// Bytes that were written and not acknowledged, and bytes that can be read (of a listener connections).
    pub queues: (usize, usize),
    /// More.
    pub life: Life,
}

/// A route of IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRow {
    /// Network.
    pub destination: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// The router, if there is one.
    pub gateway: Option<Ipv4Addr>,
}

/// A route of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route6Row {
    /// Network.
    pub network: Cidr6,
    /// What it is for.
    pub kind: Route6,
    /// A router told of it, and until when.
    pub is_told: bool,
}

/// What a route of IPv6 is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route6 {
    /// An address of ours.
    Own,
    /// Hosts on the link.
    Link,
    /// All others, by a router.
    Router(Ipv6Addr),
}

/// A group that an interface is a member of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupRow {
    /// The group.
    pub group: IpAddr,
    /// How many sockets are in it.
    pub sockets: u32,
    /// When a question about it is answered, if there was one.
    pub answer_at: Option<Nanos>,
}

/// Makes a list with room for `count`.
fn vec_for<T>(count: usize) -> Result<Vec<T>, Errno> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    Ok(list)
}

fn any_like(address: IpAddr) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    }
}

impl Stack {
    /// Lists the UDP sockets that have a port.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn udp_rows(&self) -> Result<Vec<Row>, Errno> {
        let mut rows = vec_for(self.sockets.iter().count())?;
        let bound = self.sockets.iter().filter_map(|(id, socket)| match socket {
            Socket::Udp(socket) if socket.local().port() != 0 => Some((id, socket)),
            Socket::Udp(_) | Socket::Tcp(_) => None,
        });
        rows.extend(bound.map(|(id, socket)| Row {
            socket: Some(id),
            is_v6: socket.is_v6(),
            local: socket.local(),
            remote: socket.remote().unwrap_or(any_like(socket.local().ip())),
            status: match socket.remote() {
                Some(_) => TcpStatus::Established,
                None => TcpStatus::Closed,
            },
            queues: (0, socket.queued_bytes),
            life: Life::None,
        }));
        Ok(rows)
    }

    /// Returns how many TCP sockets and UDP sockets there are, of IPv4 and IPv6.
    #[must_use]
    pub fn socket_counts(&self) -> [(usize, usize); 2] {
        let mut counts = [(0, 0); 2];
        let [v4, v6] = &mut counts;
        for (_, socket) in self.sockets.iter() {
            let is_v6 = match socket {
                Socket::Tcp(s) => s.any.is_ipv6(),
                Socket::Udp(s) => s.is_v6(),
            };
            let of = if is_v6 { &mut *v6 } else { &mut *v4 };
            match socket {
                Socket::Tcp(_) => of.0 += 1,
                Socket::Udp(_) => of.1 += 1,
            }
        }
        counts
    }

    /// Returns how many connections go on without their program, how many are over, and how many bytes TCP's queues take.
    #[must_use]
    pub fn tcp_totals(&self) -> (usize, usize, usize) {
        let over = self.tcp.time_waits.len();
        (self.tcp.orphans, over, self.tcp.buffered)
    }

    /// Lists the card's routes of IPv4: its network, and all others by the router.
    #[must_use]
    pub fn route_rows(&self) -> Vec<RouteRow> {
        let Some(lease) = self.lease() else {
            return Vec::new();
        };
        let prefix = lease.address.prefix;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let network = RouteRow {
            destination: Ipv4Addr::from(u32::from(lease.address.address) & mask),
            prefix,
            gateway: None,
        };
        let others = lease.gateway.map(|gateway| RouteRow {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(gateway),
        });
        others.into_iter().chain([network]).collect()
    }

    /// Lists the card's routes of IPv6.
    #[must_use]
    pub fn route6_rows(&self) -> Vec<Route6Row> {
        let v6 = &self.out.routes.v6;
        let Some(link_local) = v6.link_local else {
            return Vec::new();
        };
        let row = |network, kind| Route6Row {
            network,
            kind,
            is_told: false,
        };
        let networks = v6.networks.iter().map(|network| Route6Row {
            is_told: network.until.is_some(),
            ..row(network.value, Route6::Link)
        });
        let whole = |address, prefix| Cidr6 { address, prefix };
        let link = whole(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
        let router = v6.router.map(|router| Route6Row {
            is_told: router.until.is_some(),
            ..row(
                whole(Ipv6Addr::UNSPECIFIED, 0),
                Route6::Router(router.value),
            )
        });
        let global = v6.addresses.iter().map(|a| a.value.address);
        let own = global.chain([link_local]);
        let groups = whole(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);
        networks
            .chain([row(link, Route6::Link)])
            .chain(router)
            .chain(own.map(|own| row(whole(own, 128), Route6::Own)))
            .chain([row(groups, Route6::Link)])
            .collect()
    }

    /// Lists the neighbours of IPv4 that are known or asked for, with their hardware addresses.
    #[must_use]
    pub fn neighbor_rows(&self) -> Vec<(Ipv4Addr, Option<[u8; 6]>)> {
        self.out.neighbors.v4().collect()
    }

    /// Lists the groups that an interface is a member of for sockets.
    #[must_use]
    pub fn group_rows(&self, path: Path) -> Vec<GroupRow> {
        self.out.groups.rows(path).collect()
    }

    /// Returns the version of IGMP that is spoken.
    #[must_use]
    pub fn igmp_version(&self) -> u8 {
        self.out.groups.version(self.out.now)
    }

    /// Returns how many connections can carry data (RFC 4022, `tcpCurrEstab`).
    #[must_use]
    pub fn established(&self) -> usize {
        let open = self.sockets.iter().filter(|(_, socket)| match socket {
            Socket::Tcp(socket) => match &socket.state {
                TcpState::Open(c) => {
                    matches!(c.status(), TcpStatus::Established | TcpStatus::CloseWait)
                }
                _ => false,
            },
            Socket::Udp(_) => false,
        });
        open.count()
    }

    /// Returns what went through `lo`, and through the card.
    #[must_use]
    pub fn traffic(&self) -> [Traffic; 2] {
        self.out.traffic
    }
}
