//! Idle connections without queues: what lets a guest hold many more connections than its memory has room for queues.
//!
//! The engine's queues grow as they are used. A connection on which everything that was sent is acknowledged, and everything
//! that was received is read, needs none: it gives them back when it has been quiet for a while, or at once when the memory
//! is needed by others. When all of it is in use by connections that are busy, others go on with the least queues, which the
//! engine grants to each.

use tyn_abi::Nanos;
use tyn_tcp::ring;

use crate::stack::{Socket, Stack};
use crate::tcp::TcpState;
use crate::tcp::connection::Connection;
use crate::types::SocketId;

/// How long a connection keeps its queues while nothing happens.
const QUIET_FOR: Nanos = Nanos(Nanos::PER_SEC);
/// When less than this is left for queues, quiet connections give up theirs.
const RESERVE: usize = 256 << 10;
/// About what a socket takes without queues.
const CONNECTION: usize = 4 << 10;

impl Stack {
    pub(crate) fn open_connection(&mut self, id: SocketId) -> Option<&mut Connection> {
        match self.sockets.get_mut(id) {
            Some(Socket::Tcp(socket)) => match &mut socket.state {
                TcpState::Open(connection) => Some(connection),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns how great the memory of a queue may become: what is left of the limit, or a little beyond it for each, if
    /// there is so much.
    pub(crate) fn spare(&mut self) -> usize {
        if self.left() < RESERVE {
            self.reclaim();
        }
        let left = self.limits.tcp_buffers.saturating_sub(self.tcp.buffered);
        left.max(ring::LEAST).min(self.out.free_memory())
    }

    /// Returns the bytes that can and may be allocated for queues.
    fn left(&self) -> usize {
        let left = self.limits.tcp_buffers.saturating_sub(self.tcp.buffered);
        left.min(self.out.free_memory())
    }

    /// Returns whether there is memory for one more connection beside what the owner keeps for itself.
    pub(crate) fn has_memory(&self) -> bool {
        self.out.free_memory() >= CONNECTION
    }

    /// Returns about how many bytes of memory a socket takes, with what waits in it.
    #[must_use]
    pub fn memory(&self, id: SocketId) -> usize {
        let queued = match self.sockets.get(id) {
            Some(Socket::Tcp(socket)) => match &socket.state {
                TcpState::Open(connection) => connection.counted,
                TcpState::Ended { unread, .. } => unread.capacity(),
                TcpState::Listening(listener) => {
                    listener.queue.iter().map(|&id| self.memory(id)).sum()
                }
                TcpState::Idle => 0,
            },
            Some(Socket::Udp(socket)) => socket.memory(),
            None => return 0,
        };
        CONNECTION + queued
    }

    /// Takes the memory of a connection's queues into account.
    pub(crate) fn count(&mut self, id: SocketId) {
        let Some(connection) = self.open_connection(id) else {
            return;
        };
        let memory = connection.tcp.memory();
        let before = core::mem::replace(&mut connection.counted, memory);
        self.tcp.buffered = self.tcp.buffered.saturating_sub(before) + memory;
    }

    /// Takes note of a connection that has become quiet and has memory to give back.
    pub(crate) fn note_quiet(&mut self, id: SocketId) {
        let now = self.out.now;
        let Some(connection) = self.open_connection(id) else {
            return;
        };
        if connection.counted == 0 || connection.is_queued || !connection.is_quiet() {
            connection.quiet_since = None;
            return;
        }
        connection.quiet_since = Some(now);
        if core::mem::replace(&mut connection.is_listed_quiet, true) {
            return;
        }
        if self.tcp.quiet.try_reserve(1).is_ok() {
            self.tcp.quiet.push_back((now, id));
        } else {
            self.give_up_queues(id);
        }
    }

    /// Returns when a connection is to give up its queues.
    pub(crate) fn sleep_deadline(&self) -> Option<Nanos> {
        self.tcp.quiet.front().map(|&(since, _)| since + QUIET_FOR)
    }

    /// Lets connections give up their queues that have been quiet for long enough.
    pub(crate) fn fall_asleep(&mut self) {
        while self
            .sleep_deadline()
            .is_some_and(|deadline| deadline <= self.out.now)
        {
            self.examine_first(QUIET_FOR);
        }
    }

    /// Takes the queues of quiet connections, as far as there are some.
    fn reclaim(&mut self) {
        for _ in 0..self.tcp.quiet.len() {
            if self.left() >= RESERVE {
                return;
            }
            self.examine_first(Nanos::ZERO);
        }
    }

    /// Looks at the connection that was noted first: it gives up its queues if it has been quiet for `at_least`, and is
    /// noted again if it became quiet since.
    fn examine_first(&mut self, at_least: Nanos) {
        let now = self.out.now;
        let Some((_, id)) = self.tcp.quiet.pop_front() else {
            return;
        };
        let Some(connection) = self.open_connection(id) else {
            return;
        };
        connection.is_listed_quiet = false;
        let Some(since) = connection.quiet_since.filter(|_| connection.is_quiet()) else {
            return;
        };
        if since + at_least <= now {
            self.give_up_queues(id);
        } else {
            connection.is_listed_quiet = true;
            self.tcp.quiet.push_back((since, id));
        }
    }

    fn give_up_queues(&mut self, id: SocketId) {
        if let Some(connection) = self.open_connection(id) {
            (connection.quiet_since, connection.is_listed_quiet) = (None, false);
            connection.tcp.release();
            self.count(id);
        }
    }
}

impl Connection {
    /// Returns whether the connection could do without queues.
    fn is_quiet(&self) -> bool {
        self.tcp.is_quiet() && self.held_until.is_none()
    }
}
