//! Sockets: made, bound, listening, accepting.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tyn_abi::{Errno, Events};

use crate::ports::Bound;
use crate::stack::{Socket, Stack};
use crate::tcp::{Listener, Listening, PortUse, TcpOptions, TcpSocket, TcpState};
use crate::types::SocketId;

impl Stack {
    /// Makes a TCP socket of IPv4.
    ///
    /// # Errors
    /// `ENFILE` when there are 2^32 sockets.
    pub fn tcp_socket(&mut self, options: TcpOptions) -> Result<SocketId, Errno> {
        self.insert_tcp(options, Ipv4Addr::UNSPECIFIED.into())
    }

    /// Makes a TCP socket of IPv6, which takes addresses of IPv4, too.
    ///
    /// # Errors
    /// `ENFILE` when there are 2^32 sockets.
    pub fn tcp_socket_v6(&mut self, options: TcpOptions) -> Result<SocketId, Errno> {
        self.insert_tcp(options, Ipv6Addr::UNSPECIFIED.into())
    }

    fn insert_tcp(&mut self, options: TcpOptions, any: IpAddr) -> Result<SocketId, Errno> {
        let socket = Socket::Tcp(Box::new(TcpSocket::new(options, any)));
        self.sockets.insert(socket).ok_or(Errno::ENFILE)
    }

    pub(crate) fn tcp(&mut self, id: SocketId) -> Result<&mut TcpSocket, Errno> {
        match self.sockets.get_mut(id) {
            Some(Socket::Tcp(socket)) => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    /// Binds a socket (`bind(2)`); port 0 asks for any free one.
    ///
    /// # Errors
    /// `EINVAL` when it is bound already, `EADDRNOTAVAIL`, `EADDRINUSE`.
    pub fn tcp_bind(&mut self, id: SocketId, at: SocketAddr) -> Result<(), Errno> {
        let is_ours = at.ip().is_unspecified() || self.out.routes.is_own(at.ip());
        let socket = self.tcp(id)?;
        let is_ours = is_ours || socket.options.binds_freely && !at.ip().is_multicast();
        let sharing = socket.sharing();
        if socket.port_use != PortUse::None || !matches!(socket.state, TcpState::Idle) {
            return Err(Errno::EINVAL);
        }
        if !is_ours {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let mut at = at;
        if at.port() == 0 {
            let offset = self.next_port_offset(at);
            at.set_port(self.ports_tcp.find_free(offset).ok_or(Errno::EADDRINUSE)?);
        }
        let bound = Bound {
            ip: at.ip(),
            ..self.tcp(id)?.bound()
        };
        self.ports_tcp.bind(id, bound, at.port(), sharing)?;
        let socket = self.tcp(id)?;
        socket.local = at;
        // As on Linux: who has an address of IPv6 has none of IPv4.
        socket.options.is_v6_only |= at.is_ipv6() && !at.ip().is_unspecified();
        socket.port_use = PortUse::Bound;
        Ok(())
    }

    pub(super) fn next_port_offset(&mut self, peer: SocketAddr) -> u32 {
        self.tcp.port_counter = self.tcp.port_counter.wrapping_add(1);
        self.secret.port_offset(peer, self.tcp.port_counter)
    }

    /// Makes a socket listen, or changes its backlog (`listen(2)`).
    ///
    /// # Errors
    /// `EADDRINUSE`; `EINVAL` when it is connected.
    pub fn tcp_listen(&mut self, id: SocketId, backlog: usize) -> Result<(), Errno> {
        match &mut self.tcp(id)?.state {
            TcpState::Idle => {}
            TcpState::Listening(listener) => {
                listener.backlog = backlog;
                self.establish_waiting(id);
                return Ok(());
            }
            TcpState::Open(_) | TcpState::Ended { .. } => return Err(Errno::EINVAL),
        }
        if self.tcp(id)?.port_use == PortUse::None {
            let any = self.tcp(id)?.any;
            self.tcp_bind(id, SocketAddr::new(any, 0))?;
        }
        let (port, bound, is_in_group) = {
            let socket = self.tcp(id)?;
            (
                socket.local.port(),
                socket.bound(),
                socket.options.reuses_port,
            )
        };
        self.ports_tcp.listen(id, bound, port)?;
        let here = self.tcp.listeners.entry(port).or_default();
        here.push(Listening {
            at: bound,
            socket: id,
            is_in_group,
        });
        self.tcp(id)?.state = TcpState::Listening(Box::new(Listener {
            backlog,
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
        }));
        self.report(id, Events::empty());
        Ok(())
    }

    /// Takes an established connection from a listener's queue; returns its socket and the peer.
    ///
    /// # Errors
    /// `EAGAIN` when there is none; `EINVAL` when the socket does not listen.
    pub fn tcp_accept(&mut self, id: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        let TcpState::Listening(listener) = &mut self.tcp(id)?.state else {
            return Err(Errno::EINVAL);
        };
        let child = listener.queue.pop_front().ok_or(Errno::EAGAIN)?;
        self.establish_waiting(id);
        self.report(id, Events::empty());
        let child_socket = self.tcp(child)?;
        let peer = match &child_socket.state {
            TcpState::Open(connection) => connection.tuple.remote,
            // It is over already; its reader finds out.
            _ => SocketAddr::new(child_socket.any, 0),
        };
        Ok((child, peer))
    }

    /// Ends a listener: connections that nobody accepted are reset.
    pub(crate) fn stop_listening(&mut self, id: SocketId) {
        let Ok(socket) = self.tcp(id) else {
            return;
        };
        let TcpState::Listening(listener) = &mut socket.state else {
            return;
        };
        let children = core::mem::take(&mut listener.queue);
        let waiting = core::mem::take(&mut listener.waiting);
        socket.state = TcpState::Idle;
        let port = socket.local.port();
        self.ports_tcp.stop_listening(id, port);
        if let Some(here) = self.tcp.listeners.get_mut(&port) {
            here.retain(|l| l.socket != id);
            if here.is_empty() {
                self.tcp.listeners.remove(&port);
            }
        }
        for child in children {
            self.reset(child);
        }
        self.forget_waiting(waiting);
        self.report(id, Events::empty());
    }
}
