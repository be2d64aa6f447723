//! Addresses, states and options of sockets.

use core::net::SocketAddr;

use tyn_abi::{Errno, Events};

use crate::stack::{Socket, Stack};
use crate::tcp::{PortUse, TcpOptions, TcpState, TcpStatus};
use crate::types::SocketId;

impl Stack {
    /// Returns the local address (`getsockname(2)`).
    ///
    /// # Errors
    /// `EBADF` for an id of no TCP socket, here as everywhere.
    pub fn tcp_local(&mut self, id: SocketId) -> Result<SocketAddr, Errno> {
        Ok(self.tcp(id)?.local)
    }

    /// Returns the peer (`getpeername(2)`).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn tcp_remote(&mut self, id: SocketId) -> Result<SocketAddr, Errno> {
        match &self.tcp(id)?.state {
            TcpState::Open(c) if !c.is_connecting() && !c.is_closed() => Ok(c.tuple.remote),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Returns the state of the connection.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_status(&mut self, id: SocketId) -> Result<TcpStatus, Errno> {
        Ok(match &self.tcp(id)?.state {
            TcpState::Open(c) => c.status(),
            TcpState::Listening(_) => TcpStatus::Listen,
            TcpState::Idle | TcpState::Ended { .. } => TcpStatus::Closed,
        })
    }

    /// Returns the bytes of data that fit a segment of its connection (`TCP_MAXSEG`); `None` without a connection.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_segment_size(&mut self, id: SocketId) -> Result<Option<u16>, Errno> {
        Ok(match &self.tcp(id)?.state {
            TcpState::Open(c) if !c.is_connecting() => u16::try_from(c.tcp.payload_size()).ok(),
            _ => None,
        })
    }

    /// Returns whether acknowledgements of its connection wait for company (`TCP_QUICKACK`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_delays_acks(&mut self, id: SocketId) -> Result<bool, Errno> {
        let socket = self.tcp(id)?;
        Ok(match &socket.state {
            TcpState::Open(c) if !c.is_connecting() => c.tcp.delays_acks(),
            _ => socket.options.delays_acks,
        })
    }

    /// Lets acknowledgements wait for company, or no longer; for `once` only that which waits now is sent.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_delay_acks(&mut self, id: SocketId, delays: bool, once: bool) -> Result<(), Errno> {
        let socket = self.tcp(id)?;
        let mut stays = delays;
        if let TcpState::Open(c) = &mut socket.state {
            let waits = c.tcp.delay_acks(delays);
            stays |= once && waits;
            c.tcp.delay_acks(stays);
        }
        socket.options.delays_acks = stays;
        self.enqueue(id);
        Ok(())
    }

    /// Returns the greatest window that may be told (`TCP_WINDOW_CLAMP`): what was asked for, else, of a connection, what its
    /// queue may hold.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_window_clamp(&mut self, id: SocketId) -> Result<u32, Errno> {
        let socket = self.tcp(id)?;
        Ok(match (&socket.state, socket.options.window_clamp) {
            (TcpState::Open(c), 0) if !c.is_connecting() => {
                u32::try_from(c.tcp.receive_capacity()).unwrap_or(u32::MAX)
            }
            (_, clamp) => clamp,
        })
    }

    /// Returns the options.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_options(&mut self, id: SocketId) -> Result<TcpOptions, Errno> {
        Ok(self.tcp(id)?.options.clone())
    }

    /// Changes the options.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_change_options(
        &mut self,
        id: SocketId,
        change: impl FnOnce(&mut TcpOptions),
    ) -> Result<(), Errno> {
        let socket = self.tcp(id)?;
        let (old, old_use) = (socket.options.clone(), socket.port_usage());
        change(&mut socket.options);
        // Programs give accepted connections what these have of their listener.
        if socket.options == old {
            return Ok(());
        }
        if old.is_corked
            && !socket.options.is_corked
            && let TcpState::Open(connection) = &mut socket.state
        {
            connection.release_held();
        }
        let looks_at_ttl = socket.options.least_ttl != [0; 2];
        let (sharing, at) = (socket.sharing(), socket.bound());
        let (local, by, port_use) = (socket.local, socket.port_usage(), socket.port_use);
        let port = local.port();
        self.ports_tcp.change(id, port, sharing, at.device);
        if port_use == PortUse::Held && by != old_use {
            self.ports_tcp.hold(local, by);
            self.ports_tcp.release(local, old_use);
        }
        self.tcp.looks_at_ttl |= looks_at_ttl;
        let here = self.tcp.listeners.get_mut(&port).into_iter().flatten();
        for listening in here.filter(|l| l.socket == id) {
            listening.at = at;
        }
        self.enqueue(id);
        self.report(id, Events::empty());
        Ok(())
    }

    /// Returns whether a call left nothing for a turn, and nothing to tell.
    #[must_use]
    pub fn has_nothing_new(&self) -> bool {
        self.dirty.is_empty() && self.wakes.is_empty() && !self.out.is_pending()
    }

    /// Returns which events are true of a socket.
    #[must_use]
    pub fn readiness(&self, id: SocketId) -> Events {
        match self.sockets.get(id) {
            Some(Socket::Tcp(s)) => s.readiness(),
            Some(Socket::Udp(s)) => s.readiness(),
            None => Events::NVAL,
        }
    }

    /// Takes the pending error (`SO_ERROR`).
    pub fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        if let Some(Socket::Udp(_)) = self.sockets.get(id) {
            return self.udp_error(id);
        }
        let error = self.tcp(id).ok()?.error.take();
        if error.is_some() {
            self.forget_attempt(id);
        }
        self.report(id, Events::empty());
        error
    }
}
