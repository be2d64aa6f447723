//! What is known of the MTU of paths (RFC 1191 §6.3, RFC 8201 §5.2): new connections need not find out again.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use tyn_abi::{Errno, Nanos};

use crate::fragment::link_mtu;
use crate::stack::{Socket, Stack};
use crate::tcp::input::TCP_HEADER;
use crate::tcp::{TcpOptions, TcpState};
use crate::types::{Path, SocketId, Tuple};
use crate::wire::header_len;

/// How long it is believed (`mtu_expires` of Linux): the path may have changed.
const LIFETIME: Nanos = Nanos(600 * Nanos::PER_SEC);
/// Hosts that are remembered.
const MOST: usize = 256;

/// The hosts whose packets must be smaller than our link's, and until when.
#[derive(Debug, Default)]
pub(crate) struct Paths(BTreeMap<IpAddr, (usize, Nanos)>);

impl Paths {
    /// Notes the MTU of the path to a host. Who comes when there is no room learns it by each connection.
    pub(crate) fn note(&mut self, host: IpAddr, mtu: usize, now: Nanos) {
        if self.0.len() >= MOST {
            self.0.retain(|_, &mut (_, until)| until > now);
        }
        if self.0.len() < MOST || self.0.contains_key(&host) {
            self.0.insert(host, (mtu, now + LIFETIME));
        }
    }

    fn mtu(&self, host: IpAddr, now: Nanos) -> Option<usize> {
        let &(mtu, until) = self.0.get(&host)?;
        (until > now).then_some(mtu)
    }
}

impl Stack {
    /// Returns the size of the segments that we take in.
    pub(crate) fn segment_size(&self, tuple: &Tuple, path: Path) -> u16 {
        let size = self.out.mtu(path) - header_len(tuple.remote.ip()) - TCP_HEADER;
        u16::try_from(size).unwrap_or(u16::MAX)
    }

    /// Returns the MTU of the way to a host, as far as it is known.
    pub(crate) fn path_mtu(&self, host: IpAddr, path: Path) -> usize {
        let link = link_mtu(self.out.mtu(path), path, host);
        let known = self.tcp.paths.mtu(host, self.out.now);
        known.map_or(link, |mtu| mtu.min(link))
    }

    /// Takes note that a router takes packets to a host only up to a size.
    pub(crate) fn learn_path(&mut self, path: Path, host: IpAddr, mtu: usize) {
        if mtu < self.path_mtu(host, path) {
            self.tcp.paths.note(host, mtu, self.out.now);
        }
    }

    /// Returns the MTU of a socket's path as far as it is known (`IP_MTU`, `IPV6_MTU`).
    ///
    /// # Errors
    /// `ENOTCONN` without a peer.
    pub fn socket_mtu(&mut self, id: SocketId) -> Result<usize, Errno> {
        let (host, path) = match self.sockets.get(id) {
            Some(Socket::Udp(socket)) => {
                let host = socket.peer().ok_or(Errno::ENOTCONN)?;
                (
                    host,
                    self.out.routes.route_by(socket.options.device, host)?.0,
                )
            }
            Some(Socket::Tcp(socket)) => match &socket.state {
                TcpState::Open(c) => (c.tuple.remote.ip(), c.path),
                _ => return Err(Errno::ENOTCONN),
            },
            None => return Err(Errno::EBADF),
        };
        Ok(self.path_mtu(host, path))
    }

    /// Returns what a connection is made with.
    pub(crate) fn config_for(
        &self,
        tuple: &Tuple,
        path: Path,
        options: &TcpOptions,
    ) -> tyn_tcp::Config {
        let ((receive, most), send) = options.buffers();
        let size = self.segment_size(tuple, path);
        tyn_tcp::Config {
            mss: options.longest_segment.map_or(size, |most| size.min(most)),
            receive: (receive.min(options.most_window()), most),
            send,
            clock_offset: self.secret.clock_offset(tuple),
        }
    }

    /// Makes a connection's segments as small as its path is known to want.
    pub(crate) fn limit_to_path(&self, tuple: &Tuple, tcp: &mut tyn_tcp::Connection) {
        let host = tuple.remote.ip();
        if let Some(mtu) = self.tcp.paths.mtu(host, self.out.now) {
            let size = mtu.saturating_sub(header_len(host) + TCP_HEADER);
            tcp.limit_segments(u16::try_from(size).unwrap_or(u16::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn paths_are_forgotten_in_time_and_bounded_in_number() {
        let host = |n: u32| IpAddr::from(Ipv4Addr::from(n));
        let mut paths = Paths::default();
        for n in 0..MOST as u32 + 10 {
            paths.note(host(n), 1000, Nanos(5));
        }
        assert_eq!(paths.0.len(), MOST);
        assert_eq!(paths.mtu(host(3), Nanos(5)), Some(1000));
        paths.note(host(3), 900, Nanos(6));
        assert_eq!(paths.mtu(host(3), Nanos(7)), Some(900));
        assert_eq!(paths.mtu(host(3), Nanos(6) + LIFETIME), None);
        paths.note(host(5000), 900, Nanos(7) + LIFETIME);
        assert_eq!(paths.0.len(), 1);
    }
}
