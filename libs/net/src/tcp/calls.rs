//! What programs do with TCP sockets.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tyn_abi::{Errno, Events, Nanos, Sink, Source};
use tyn_tcp::{Seq, State};

use crate::ports::{Bound, ephemeral, ephemeral_count};
use crate::routes::is_source_on;
use crate::stack::{Socket, Stack};
use crate::tcp::connection::{Connection, Handshake, policy};
use crate::tcp::{Listener, Listening, PortUse, TcpOptions, TcpSocket, TcpState, TcpStatus};
use crate::types::{Path, SocketId, Tuple};
use crate::udp::to_self_if_unspecified;
use crate::wire::with_ip;

/// How bytes are received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// They are copied and leave the queue.
    Bytes,
    /// They are copied and stay (`MSG_PEEK`).
    Peek,
    /// They leave the queue uncopied, at most this many (`MSG_TRUNC`).
    Discard(usize),
}

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

    fn next_port_offset(&mut self, peer: SocketAddr) -> u32 {
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

    /// Begins to connect (`connect(2)`); [`Stack::tcp_connect_result`] tells how it ended.
    ///
    /// # Errors
    /// `EISCONN`, `EALREADY`, `ENETUNREACH`, `EADDRNOTAVAIL`, `ENOBUFS`; the error of an attempt that failed before.
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
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let to = to_self_if_unspecified(to);
        if to.ip().is_multicast() || self.out.routes.is_broadcast(to.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let device = self.tcp(id)?.options.device;
        let (path, source) = self.out.routes.route_by(device, to.ip())?;
        let tuple = self.choose_tuple(id, path, source, to)?;
        let options = self.tcp(id)?.options.clone();
        let config = self.config_for(&tuple, path, &options);
        let ours = Seq(self.secret.sequence_number(&tuple, self.out.now));
        let policy = policy(&options, State::SynSent, false);
        let mut tcp = tyn_tcp::Connection::connect(&config, policy, ours, self.out.now);
        self.limit_to_path(&tuple, &mut tcp);
        let connection = Connection::new(tuple, path, tcp);
        self.tcp.connections.insert(tuple, id);
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
            TcpState::Open(_) => Some(Err(Errno::EISCONN)),
            _ => {
                let error = socket.error.take().unwrap_or(Errno::ECONNABORTED);
                self.forget_attempt(id);
                self.report(id, Events::empty());
                Some(Err(error))
            }
        }
    }

    /// Gives back the port that was chosen for an attempt that failed.
    fn forget_attempt(&mut self, id: SocketId) {
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

    /// Sends what fits of `src` and returns its length. With `more` (`MSG_MORE`) or a corked socket (`TCP_CORK`) the part of it
    /// that fills no segment is held back until more comes, the socket is uncorked or closed, or 200 ms have passed.
    ///
    /// # Errors
    /// `EAGAIN` when nothing fits now; `EPIPE` when no more can be sent; `EFAULT`, and a pending error.
    pub fn tcp_send(
        &mut self,
        id: SocketId,
        src: &mut dyn Source,
        more: bool,
    ) -> Result<usize, Errno> {
        let now = self.out.now;
        let socket = self.tcp(id)?;
        if let Some(error) = socket.error.take() {
            self.report(id, Events::empty());
            return Err(error);
        }
        if socket.is_write_shut {
            return Err(Errno::EPIPE);
        }
        let spare = self.spare();
        let socket = self.tcp(id)?;
        let connection = match &mut socket.state {
            TcpState::Open(c) if c.is_connecting() => return Err(Errno::EAGAIN),
            TcpState::Open(c) => c,
            _ => return Err(Errno::EPIPE),
        };
        let is_empty = src.remaining() == 0;
        connection.tcp.set_spare(spare);
        connection.starved_until = None;
        let sent = if more || socket.options.is_corked {
            connection.send_held(src, now)?
        } else {
            connection.release_held();
            connection.tcp.write(src)?
        };
        if sent == 0 && !is_empty {
            connection.note_starved(now);
        }
        self.count(id);
        if sent == 0 && !is_empty {
            self.enqueue(id);
            // Who waits now is to hear of room, even if there seemed to be some before.
            self.report(id, Events::empty());
            self.tcp(id)?.reported.remove(Events::OUT | Events::WRNORM);
            return Err(Errno::EAGAIN);
        }
        self.enqueue(id);
        self.report(id, Events::empty());
        Ok(sent)
    }

    /// Receives what there is and returns its length; 0 is the end.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing yet; `ENOTCONN`, `EFAULT`, and a pending error.
    pub fn tcp_receive(
        &mut self,
        id: SocketId,
        take: Take,
        dst: &mut dyn Sink,
    ) -> Result<usize, Errno> {
        let is_for_nothing = match take {
            Take::Discard(len) => len == 0,
            _ => dst.remaining() == 0,
        };
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return Err(Errno::EBADF);
        };
        let count = match &mut socket.state {
            TcpState::Idle | TcpState::Listening(_) => 0,
            _ if is_for_nothing => return Ok(0),
            TcpState::Open(c) => match take {
                Take::Bytes => c.tcp.read(dst)?,
                Take::Peek => c.tcp.peek(dst)?,
                Take::Discard(len) => c.tcp.discard(len),
            },
            TcpState::Ended { unread, taken, .. } => {
                let rest = unread.get(*taken..).unwrap_or_default();
                let wanted = match take {
                    Take::Discard(len) => len,
                    _ => dst.remaining(),
                };
                let piece = rest.get(..wanted).unwrap_or(rest);
                if !matches!(take, Take::Discard(_)) {
                    dst.write_all(piece)?;
                }
                let count = piece.len();
                if take != Take::Peek {
                    *taken += count;
                }
                if *taken == unread.len() {
                    let all = core::mem::take(unread);
                    *taken = 0;
                    self.tcp.buffered = self.tcp.buffered.saturating_sub(all.capacity());
                }
                count
            }
        };
        if count > 0 {
            if let TcpState::Open(c) = &mut socket.state {
                c.last_readable = c.tcp.readable();
            }
            // The window may have opened.
            self.enqueue(id);
            self.report(id, Events::empty());
            return Ok(count);
        }
        if socket.is_done {
            return Ok(0);
        }
        if let Some(error) = socket.error.take() {
            self.report(id, Events::empty());
            return Err(error);
        }
        match &socket.state {
            TcpState::Idle | TcpState::Listening(_) => Err(Errno::ENOTCONN),
            TcpState::Ended { .. } => Ok(0),
            TcpState::Open(_) if socket.is_read_shut => Ok(0),
            TcpState::Open(c) if c.is_closed() => Ok(0),
            TcpState::Open(_) => Err(Errno::EAGAIN),
        }
    }

    /// Shuts down one or both directions (`shutdown(2)`).
    ///
    /// # Errors
    /// `ENOTCONN`.
    pub fn tcp_shutdown(&mut self, id: SocketId, read: bool, write: bool) -> Result<(), Errno> {
        let socket = self.tcp(id)?;
        match &mut socket.state {
            TcpState::Idle | TcpState::Ended { .. } => return Err(Errno::ENOTCONN),
            TcpState::Listening(_) => {
                if read {
                    self.stop_listening(id);
                }
                return Ok(());
            }
            TcpState::Open(connection) => {
                socket.is_read_shut |= read;
                if write && !socket.is_write_shut {
                    socket.is_write_shut = true;
                    connection.release_held();
                    connection.tcp.shut_down();
                }
            }
        }
        self.enqueue(id);
        self.report(id, Events::empty());
        Ok(())
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

    /// Dissolves a connection (`connect(2)` to `AF_UNSPEC`): it is reset, and the socket can be used again.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn tcp_disconnect(&mut self, id: SocketId) -> Result<(), Errno> {
        self.stop_listening(id);
        let socket = self.tcp(id)?;
        let options = socket.options.clone();
        let (local, any) = (socket.local, socket.any);
        let state = core::mem::replace(&mut socket.state, TcpState::Idle);
        (socket.error, socket.is_done) = (None, false);
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

    /// Returns how many bytes can be read, and how many were written but not acknowledged (`FIONREAD`, `SIOCOUTQ`).
    ///
    /// # Errors
    /// `EINVAL` when it listens.
    pub fn tcp_queues(&mut self, id: SocketId) -> Result<(usize, usize), Errno> {
        Ok(match &self.tcp(id)?.state {
            TcpState::Open(c) => (c.tcp.readable(), c.tcp.unsent()),
            TcpState::Ended { unread, taken, .. } => (unread.len() - taken, 0),
            TcpState::Idle => (0, 0),
            TcpState::Listening(_) => return Err(Errno::EINVAL),
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
        let was_corked = socket.options.is_corked;
        let before = socket.port_usage();
        change(&mut socket.options);
        if was_corked
            && !socket.options.is_corked
            && let TcpState::Open(connection) = &mut socket.state
        {
            connection.release_held();
        }
        let (sharing, at) = (socket.sharing(), socket.bound());
        let (local, by, port_use) = (socket.local, socket.port_usage(), socket.port_use);
        let port = local.port();
        self.ports_tcp.change(id, port, sharing, at.device);
        if port_use == PortUse::Held && by != before {
            self.ports_tcp.hold(local, by);
            self.ports_tcp.release(local, before);
        }
        let here = self.tcp.listeners.get_mut(&port).into_iter().flatten();
        for listening in here.filter(|l| l.socket == id) {
            listening.at = at;
        }
        self.enqueue(id);
        self.report(id, Events::empty());
        Ok(())
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
