//! `connect(2)`.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use tyn_abi::{Errno, Events, Nanos};
use tyn_tcp::{Seq, State};

use crate::ports::{ephemeral, ephemeral_count};
use crate::routes::is_source_on;
use crate::stack::{Socket, Stack};
use crate::tcp::connection::{Connection, Handshake, policy};
use crate::tcp::{PortUse, TcpSocket, TcpState};
use crate::types::{Path, SocketId, Tuple};
use crate::udp::to_self_if_unspecified;
use crate::wire::with_ip;

impl Stack {
    /// Begins to connect (`connect(2)`); [`Stack::tcp_connect_result`] tells how it ended.
    ///
    /// # Errors
    /// `EISCONN`, `EALREADY`, `ENETUNREACH`, `EADDRNOTAVAIL`, `ENOBUFS`; the error of an attempt that failed before, or
    /// `ECONNABORTED` if that was told already.
    pub fn tcp_connect(&mut self, id: SocketId, to: SocketAddr, now: Nanos) -> Result<(), Errno> {
        self.out.now = self.out.now.max(now);
        let socket = self.tcp(id)?;
        match &mut socket.state {
            TcpState::Idle => {}
            TcpState::Open(c) if c.is_connecting() => return Err(Errno::EALREADY),
            TcpState::Open(_) | TcpState::Listening(_) | TcpState::Ended { .. } => {
                return Err(Errno::EISCONN);
            }
        }
        let error = socket.error.take();
        if core::mem::take(&mut socket.has_failed) {
            self.forget_attempt(id);
            self.report(id, Events::empty());
            return Err(error.unwrap_or(Errno::ECONNABORTED));
        }
        let to = to_self_if_unspecified(to);
        if to.ip().is_multicast() || self.out.routes.is_broadcast(to.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let wish = self.tcp(id)?.options.wish();
        let way = self.out.routes.route_for(wish, to.ip());
        let (path, source) = self.out.counted(way, to.ip())?;
        let tuple = self.choose_tuple(id, path, source, to)?;
        let options = self.tcp(id)?.options.clone();
        let config = self.config_for(&tuple, path, &options);
        let ours = Seq(self.secret.sequence_number(&tuple, self.out.now));
        let policy = policy(&options, State::SynSent, false);
        let mut tcp = tyn_tcp::Connection::connect(&config, policy, ours, self.out.now);
        self.limit_to_path(&tuple, &mut tcp);
        tcp.delay_acks(options.delays_acks || options.defers > 0);
        let connection = Connection::new(tuple, path, tcp);
        self.tcp.connections.insert(tuple, id);
        self.out.mib.tcp.active_opens += 1;
        let socket = self.tcp(id)?;
        socket.local = tuple.local;
        socket.state = TcpState::Open(Box::new(connection));
        self.enqueue(id);
        self.report(id, Events::empty());
        Ok(())
    }

    /// Chooses our end of a connection: the address bound to, or the route's and an ephemeral port.
    fn choose_tuple(
        &mut self,
        id: SocketId,
        path: Path,
        source: IpAddr,
        remote: SocketAddr,
    ) -> Result<Tuple, Errno> {
        let socket = self.tcp(id)?;
        let mut local = socket.local;
        if local.ip().is_unspecified() {
            local = with_ip(local, source);
        } else if local.is_ipv4() != source.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        } else if !is_source_on(path, local.ip()) {
            return Err(Errno::EINVAL);
        }
        if socket.port_use != PortUse::None {
            let tuple = Tuple { local, remote };
            return if self.tcp.is_in_use(&tuple) {
                Err(Errno::EADDRNOTAVAIL)
            } else {
                Ok(tuple)
            };
        }
        let offset = self.next_port_offset(remote);
        for n in 0..ephemeral_count() {
            local.set_port(ephemeral(offset.wrapping_add(n)));
            let tuple = Tuple { local, remote };
            let is_free = self.ports_tcp.is_unbound(local.port());
            if is_free && !self.tcp.is_in_use(&tuple) && local != remote {
                let socket = self.tcp(id)?;
                socket.port_use = PortUse::Held;
                let by = socket.port_usage();
                self.ports_tcp.hold(local, by);
                return Ok(tuple);
            }
        }
        Err(Errno::EADDRNOTAVAIL)
    }

    /// Returns how an attempt to connect ended; `None` while it goes on.
    ///
    /// # Errors
    /// `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, ...; `EISCONN` when success was reported before.
    pub fn tcp_connect_result(&mut self, id: SocketId) -> Option<Result<(), Errno>> {
        let socket = match self.tcp(id) {
            Ok(socket) => socket,
            Err(e) => return Some(Err(e)),
        };
        match &mut socket.state {
            TcpState::Open(c) if c.is_connecting() => None,
            TcpState::Open(c) if c.handshake == Handshake::Unreported => {
                c.handshake = Handshake::Reported;
                Some(Ok(()))
            }
            TcpState::Open(_) | TcpState::Listening(_) => Some(Err(Errno::EISCONN)),
            _ => {
                let error = socket.error.take().unwrap_or(Errno::ECONNABORTED);
                socket.has_failed = false;
                self.forget_attempt(id);
                self.report(id, Events::empty());
                Some(Err(error))
            }
        }
    }

    /// Gives back the port that was chosen for an attempt that failed.
    pub(super) fn forget_attempt(&mut self, id: SocketId) {
        let Ok(socket) = self.tcp(id) else {
            return;
        };
        if socket.port_use == PortUse::Held && matches!(socket.state, TcpState::Idle) {
            socket.port_use = PortUse::None;
            let local = socket.local;
            socket.local = SocketAddr::new(socket.any, 0);
            let by = socket.port_usage();
            self.ports_tcp.release(local, by);
        }
    }

    /// Dissolves a connection (`connect(2)` to `AF_UNSPEC`): it is reset, which is an error to tell, as on Linux, and the socket
    /// can be used again.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_disconnect(&mut self, id: SocketId) -> Result<(), Errno> {
        self.stop_listening(id);
        let socket = self.tcp(id)?;
        socket.options.delays_acks = false;
        let options = socket.options.clone();
        let (local, any) = (socket.local, socket.any);
        let state = core::mem::replace(&mut socket.state, TcpState::Idle);
        let was_reset = matches!(&state, TcpState::Open(c) if c.awaits_a_reset());
        socket.error = was_reset.then_some(Errno::ECONNRESET);
        (socket.has_failed, socket.is_done) = (false, false);
        (socket.is_read_shut, socket.is_write_shut) = (false, false);
        if matches!(state, TcpState::Open(_)) {
            // The connection moves to a socket of its own, which resets it and holds the port meanwhile.
            let mut heir = TcpSocket::new(options, any);
            (heir.local, heir.state) = (local, state);
            self.hand_over(id, heir);
        } else {
            self.tcp.uncount_ended(&state);
        }
        self.report(id, Events::empty());
        Ok(())
    }

    fn hand_over(&mut self, id: SocketId, mut heir: TcpSocket) {
        let TcpState::Open(connection) = &mut heir.state else {
            return;
        };
        let (tuple, mut due) = (connection.tuple, connection.due.take());
        connection.is_queued = false;
        let key = crate::timer::TimerKey::Socket(id);
        self.timers.set(key, &mut due, None);
        heir.port_use = PortUse::Held;
        self.ports_tcp.hold(tuple.local, heir.port_usage());
        if let Some(new) = self.sockets.insert(Socket::Tcp(Box::new(heir))) {
            self.tcp.connections.insert(tuple, new);
            self.reset(new);
        }
        self.forget_attempt(id);
    }
}
