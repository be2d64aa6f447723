//! What a socket knows of the headers of packets that came for its connection (`IP_PKTOPTIONS`, `IPV6_2292PKTOPTIONS`).
//!
//! As in Linux, where it is kept in what belongs to multicast: an accepted connection has what the packet said that made it; one
//! of IPv6 what the latest packet says of which the program wanted to know by then; and else the defaults of multicast.

use core::net::{IpAddr, SocketAddr};

use tyn_abi::Errno;

use crate::stack::{Socket, Stack};
use crate::tcp::{TcpOptions, TcpState};
use crate::types::{Path, SocketId};
use crate::wire::Ip;

/// Headers that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Where the packet came in, if one did.
    pub path: Option<Path>,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Nothing came after the connection was made, and its listener wanted to know.
    pub is_first: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            path: None,
            ttl: 1,
            tos: 0,
            is_first: false,
        }
    }
}

impl Seen {
    /// Returns what the packet says that makes a connection.
    pub(crate) fn first(path: Path, ip: &Ip<'_>) -> Self {
        Self {
            path: Some(path),
            ttl: ip.ttl,
            tos: ip.tos,
            is_first: false,
        }
    }

    /// The same, for a listener with these options.
    pub(crate) fn for_listener(self, options: &TcpOptions) -> Self {
        let [info, limit, _] = options.notes;
        Self {
            is_first: info || limit,
            ..self
        }
    }

    /// Takes note of a later packet.
    fn note(&mut self, [info, limit, class]: [bool; 3], path: Path, ip: &Ip<'_>) {
        self.is_first = false;
        if info {
            self.path = Some(path);
        }
        if limit {
            self.ttl = ip.ttl;
        }
        if class {
            self.tos = ip.tos;
        }
    }
}

impl Stack {
    /// Takes note of a packet of IPv6 that was in order.
    pub(crate) fn note_headers(&mut self, id: SocketId, packet: &[u8]) {
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        let notes = socket.options.notes;
        let TcpState::Open(connection) = &socket.state else {
            return;
        };
        if notes != [false; 3]
            && !connection.is_closed()
            && let Some(ip) = Ip::parse(packet)
        {
            socket.seen.note(notes, connection.path, &ip);
        }
    }

    /// Returns what a socket knows of the headers that came, its own address and its peer's.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_seen(&mut self, id: SocketId) -> Result<(Seen, IpAddr, Option<SocketAddr>), Errno> {
        let socket = self.tcp(id)?;
        let peer = match &socket.state {
            TcpState::Open(connection) => Some(connection.tuple.remote),
            _ => None,
        };
        Ok((socket.seen, socket.local.ip(), peer))
    }
}
