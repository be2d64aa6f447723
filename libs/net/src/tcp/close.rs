//! Closing: what a connection does when its program has let go of it.

use tyn_abi::Nanos;
use tyn_tcp::State;

use crate::stack::{Limits, Socket, Stack};
use crate::tcp::TcpState;
use crate::types::SocketId;

/// Memory for queues for which there may be one orphan, and how many there may be in any case.
const BYTES_PER_ORPHAN: usize = 16 << 10;
const LEAST_ORPHANS: usize = 64;

impl Limits {
    /// Returns how many connections may go on without their program (`tcp_max_orphans`).
    pub(crate) fn orphans(&self) -> usize {
        (self.tcp_buffers / BYTES_PER_ORPHAN).max(LEAST_ORPHANS)
    }
}

impl Stack {
    /// Closes a TCP or UDP socket: no operation finds it from here on. A connection goes on until its data and FIN are
    /// acknowledged; it is reset if data was not read, if `SO_LINGER` is zero, or if too many go on like this.
    pub fn close(&mut self, id: SocketId) {
        match self.sockets.get(id) {
            Some(Socket::Udp(_)) => self.udp_close(id),
            Some(Socket::Tcp(_)) => self.tcp_close(id),
            None => {}
        }
    }

    /// Begins to close a socket whose program waits for that, and returns for how long (`SO_LINGER`); `None` if there is nothing
    /// to wait for.
    pub fn tcp_linger(&mut self, id: SocketId) -> Option<Nanos> {
        let socket = self.tcp(id).ok()?;
        let seconds = socket.options.linger.filter(|seconds| *seconds != 0)?;
        let TcpState::Open(connection) = &socket.state else {
            return None;
        };
        if connection.is_connecting() || connection.tcp.readable() > 0 {
            return None;
        }
        self.tcp_shutdown(id, false, true).ok()?;
        Some(Nanos(u64::from(seconds) * Nanos::PER_SEC))
    }

    /// Returns whether the peer has not acknowledged everything yet (`sk_stream_closing` of Linux).
    pub fn tcp_is_closing(&mut self, id: SocketId) -> bool {
        const CLOSING: [State; 3] = [State::FinWait1, State::Closing, State::LastAck];
        matches!(self.tcp(id).map(|socket| &socket.state),
            Ok(TcpState::Open(c)) if CLOSING.contains(&c.tcp.state()))
    }

    fn tcp_close(&mut self, id: SocketId) {
        self.stop_listening(id);
        if self.tcp.orphans >= self.limits.orphans() {
            return self.reset(id);
        }
        let Ok(socket) = self.tcp(id) else {
            return;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return self.remove_tcp(id);
        };
        let is_reset = connection.tcp.readable() > 0 || socket.options.linger == Some(0);
        if connection.is_connecting() || is_reset {
            return self.reset(id);
        }
        connection.release_held();
        connection.tcp.shut_down();
        self.orphan(id);
        self.enqueue(id);
    }

    /// Takes note that a socket's program is gone.
    fn orphan(&mut self, id: SocketId) {
        let now = self.out.now;
        if let Ok(socket) = self.tcp(id)
            && !core::mem::replace(&mut socket.is_orphan, true)
        {
            if let TcpState::Open(connection) = &mut socket.state {
                connection.tcp.set_orphan(now);
            }
            self.tcp.orphans += 1;
        }
    }

    /// Closes a socket whose connection is not to be finished in order.
    pub(crate) fn reset(&mut self, id: SocketId) {
        self.orphan(id);
        let Ok(socket) = self.tcp(id) else {
            return;
        };
        match &mut socket.state {
            // A request that was not answered ends without a word.
            TcpState::Open(c) if c.tcp.state() == State::SynSent => self.end(id),
            TcpState::Open(c) => {
                c.tcp.abort();
                let old = core::mem::replace(&mut c.last_state, State::Closed);
                self.out.mib.tcp.changed(old, State::Closed);
                self.enqueue(id);
            }
            _ => self.remove_tcp(id),
        }
    }
}
