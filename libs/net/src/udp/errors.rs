//! Datagrams that did not arrive: who hears of it, and how (`ip(7)`, `IP_RECVERR`).

use core::net::{IpAddr, SocketAddr};

use tyn_abi::{Errno, Events, Sink};

use crate::errors::{NetError, Origin, QueuedError, Trouble, is_asked_for};
use crate::fragment::MtuDiscovery;
use crate::stack::{Socket, Stack};
use crate::types::{Path, SocketId, Tuple};
use crate::udp::UdpSocket;

impl UdpSocket {
    /// Queues an error, if what was received leaves room for it.
    fn queue_error(&mut self, trouble: &Trouble, to: SocketAddr, payload: &[u8]) {
        let room = self.options.receive_buffer;
        let room = room.saturating_sub(self.queued_bytes);
        self.errors.push(trouble, to, payload, room);
    }
}

impl Stack {
    /// Takes note that a datagram could not be delivered. Connected sockets hear of what will not pass, others of
    /// everything, if they have asked for it.
    pub(crate) fn on_udp_error(
        &mut self,
        path: Path,
        tuple: Tuple,
        payload: &[u8],
        trouble: &Trouble,
    ) {
        let Some(id) = self.udp_best(path, &tuple) else {
            return;
        };
        let Ok(socket) = self.udp(id) else {
            return;
        };
        let error = &trouble.error;
        let is_v6 = error.origin == Origin::Icmp6;
        let discovery = socket.options.discovery(is_v6);
        let is_too_big = error.errno == Errno::EMSGSIZE;
        let is_ignored = is_too_big && discovery == MtuDiscovery::Dont;
        let is_believed = is_too_big && discovery.believes();
        // As `__udp4_lib_err` and `__udp6_lib_err` of Linux have it.
        let concerns_program = if is_v6 {
            !is_too_big || is_believed
        } else {
            !is_ignored
        };
        let is_asked_for = is_asked_for(socket.options.asks_for_errors, is_v6);
        let is_hard = error.is_hard && !is_ignored;
        if concerns_program && is_asked_for {
            socket.queue_error(trouble, tuple.remote, payload);
        }
        if concerns_program && (is_asked_for || is_hard && socket.remote.is_some()) {
            socket.error = Some(error.errno);
            self.report(id, Events::ERR);
        }
        if is_believed {
            self.learn_path(path, tuple.remote.ip(), error.info as usize);
        }
    }

    /// Takes note that a datagram was too long for our own link.
    pub(super) fn udp_too_long(&mut self, id: SocketId, to: SocketAddr, mtu: usize) {
        let Ok(socket) = self.udp(id) else {
            return;
        };
        if is_asked_for(socket.options.asks_for_errors, to.is_ipv6()) {
            let trouble = Trouble {
                error: NetError::too_long(mtu),
                report: None,
            };
            socket.queue_error(&trouble, to, &[]);
            self.report(id, Events::ERR);
        }
    }

    /// Takes what was noted of a datagram that was too long (`IPV6_RECVPATHMTU`): where it was to go, and the path's MTU.
    pub fn udp_take_path_mtu(&mut self, id: SocketId) -> Option<(IpAddr, usize)> {
        self.udp(id).ok()?.path_mtu.take()
    }

    /// Takes the oldest error of a socket's queue (`MSG_ERRQUEUE`); copies what fits of the payload that came back, and
    /// returns how much that is.
    ///
    /// # Errors
    /// `EAGAIN` when there is none, `EFAULT`.
    pub fn take_queued_error(
        &mut self,
        id: SocketId,
        dst: &mut dyn Sink,
    ) -> Result<(QueuedError, usize), Errno> {
        let taken = match self.sockets.get_mut(id) {
            Some(Socket::Udp(s)) => s.errors.take(&mut s.error),
            Some(Socket::Tcp(s)) => s.errors.take(&mut s.error),
            None => return Err(Errno::EBADF),
        };
        let taken = taken.ok_or(Errno::EAGAIN)?;
        self.report(id, Events::empty());
        let copied = taken.data.len().min(dst.remaining());
        dst.write_all(taken.data.get(..copied).unwrap_or_default())?;
        Ok((taken, copied))
    }

    /// Asks for errors of IPv4 or IPv6 (`IP_RECVERR`, `IPV6_RECVERR`), or no longer, which empties the queue.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn ask_for_errors(&mut self, id: SocketId, is_v6: bool, asks: bool) -> Result<(), Errno> {
        let ([v4, v6], errors) = match self.sockets.get_mut(id) {
            Some(Socket::Udp(s)) => (&mut s.options.asks_for_errors, &mut s.errors),
            Some(Socket::Tcp(s)) => (&mut s.options.asks_for_errors, &mut s.errors),
            None => return Err(Errno::EBADF),
        };
        *if is_v6 { v6 } else { v4 } = asks;
        if !asks {
            errors.clear();
        }
        self.report(id, Events::empty());
        Ok(())
    }
}
