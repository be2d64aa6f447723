//! After a connection was touched: errors, ends, deadlines and readiness.

use smoltcp::iface::PollResult;
use smoltcp::socket::tcp::State;
use tyn_abi::{Errno, Events, Nanos};

use crate::shim::{Shim, instant, nanos};
use crate::stack::{Socket, Stack};
use crate::tcp::connection::{Connection, Handshake};
use crate::tcp::{PortUse, TcpSocket, TcpState};
use crate::timer::TimerKey;
use crate::types::{Path, SocketId};

/// Segments that one connection sends before others have their turn.
const BURST: usize = 32;
/// How long a closed socket waits for the peer's FIN (`tcp_fin_timeout`).
const FIN_TIMEOUT: Nanos = Nanos(60 * Nanos::PER_SEC);
/// smoltcp has something to say but did not say it: look again after this. Its two functions agree, so this never
/// runs; it keeps a disagreement from turning into a busy loop.
const RELUCTANCE: Nanos = Nanos(1_000_000);

/// What the connection was just given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// A segment.
    Input,
    /// Its turn to send, all of which it used (`true`) or had to break off.
    Output(bool),
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lives,
    /// It failed before it was established.
    Attempt,
    /// It is over and forgotten.
    Over,
    /// It is over, and a TIME-WAIT record remains.
    TimeWait,
}

impl Stack {
    /// Puts a connection on the list of those that get their turn to send.
    pub(crate) fn enqueue(&mut self, id: SocketId) {
        if let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id)
            && let TcpState::Open(connection) = &mut socket.state
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.dirty.push_back(id);
        }
    }

    /// Gives a connection its turn to send; returns how many segments it sent.
    pub(crate) fn run(&mut self, id: SocketId) -> usize {
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return 0;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return 0;
        };
        connection.is_queued = false;
        if connection.is_asleep() {
            return 0;
        }
        connection.release_due(self.out.now);
        connection.tune(&socket.options, socket.is_orphan, self.out.now);
        let path = connection.path;
        let tos = socket.options.service(connection.tuple.remote.ip());
        let iface = match path {
            Path::Nic => &mut self.nic,
            Path::Loopback => &mut self.lo,
        };
        let now = instant(self.out.now);
        let mut shim = Shim::new(&mut self.out, path, tos)
            .after(connection.last_sent)
            .scaling(connection.missing_shift());
        let mut sent = 0;
        while sent < BURST
            && iface.poll_egress(now, &mut shim, &mut connection.set)
                == PollResult::SocketStateChanged
        {
            sent += 1;
        }
        let is_exhausted = shim.is_exhausted;
        connection.last_sent = shim.last_sent;
        if is_exhausted {
            connection.is_queued = true;
            self.blocked.push(path, id);
        } else if sent == BURST {
            self.enqueue(id);
        }
        self.settle(id, After::Output(!is_exhausted && sent < BURST));
        sent
    }

    /// Draws the conclusions from a connection's new state.
    pub(crate) fn settle(&mut self, id: SocketId, after: After) {
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        let now = self.out.now;
        let TcpSocket {
            state: TcpState::Open(connection),
            error,
            is_orphan,
            ..
        } = &mut **socket
        else {
            return;
        };
        let fate = judge(connection, error, *is_orphan, after, now);
        if fate != Fate::Lives {
            return self.finish(id, fate);
        }
        let iface = match connection.path {
            Path::Nic => &mut self.nic,
            Path::Loopback => &mut self.lo,
        };
        let due = if connection.is_queued {
            None
        } else {
            let at = iface.poll_at(instant(now), &connection.set).map(nanos);
            at.map(|at| if at <= now { now + RELUCTANCE } else { at })
        };
        let due = [due, connection.abandoned_at, connection.held_until];
        let due = due.into_iter().flatten().min();
        if after == After::Output(true) && is_waiting_out(connection, due, now) {
            return self.finish(id, Fate::TimeWait);
        }
        self.timers
            .set(TimerKey::Socket(id), &mut connection.due, due);
        let readable = connection.receive_queue();
        let grew = readable > connection.last_readable;
        connection.last_readable = readable;
        let news = if grew {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        };
        self.report(id, news);
        self.note_quiet(id);
    }

    /// Tells of events that have become true, or of which there is more.
    pub(crate) fn report(&mut self, id: SocketId, more: Events) {
        let (ready, reported, is_orphan) = match self.sockets.get_mut(id) {
            Some(Socket::Tcp(s)) => {
                let ready = s.readiness();
                (
                    ready,
                    core::mem::replace(&mut s.reported, ready),
                    s.is_orphan,
                )
            }
            Some(Socket::Udp(s)) => {
                let ready = s.readiness();
                (ready, core::mem::replace(&mut s.reported, ready), false)
            }
            None => return,
        };
        let events = ready.difference(reported) | (ready & more);
        if !events.is_empty() && !is_orphan {
            self.wakes.push(crate::types::Wake { socket: id, events });
        }
    }

    /// Ends an attempt to connect whose error is set already.
    pub(crate) fn end_attempt(&mut self, id: SocketId) {
        self.finish(id, Fate::Attempt);
    }

    /// Ends a connection without another word.
    pub(crate) fn end(&mut self, id: SocketId) {
        self.finish(id, Fate::Over);
    }

    fn finish(&mut self, id: SocketId, fate: Fate) {
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return;
        };
        self.timers
            .set(TimerKey::Socket(id), &mut connection.due, None);
        self.tcp.buffered = self.tcp.buffered.saturating_sub(connection.buffer_bytes());
        let tuple = connection.tuple;
        self.tcp.connections.remove(&tuple);
        if fate == Fate::TimeWait
            && let Some(sent) = connection.last_sent
        {
            let (path, limit) = (connection.path, self.limits.time_wait);
            let evicted = self
                .tcp
                .time_waits
                .insert(tuple, path, sent, self.out.now, limit);
            self.ports_tcp.hold(tuple.local);
            if let Some(evicted) = evicted {
                self.ports_tcp.release(evicted.local);
            }
        }
        let unread = connection.take_unread();
        socket.state = if fate == Fate::Attempt {
            TcpState::Idle
        } else {
            TcpState::Ended { unread, taken: 0 }
        };
        if socket.is_orphan {
            self.remove_tcp(id);
        } else {
            self.report(id, Events::empty());
        }
    }

    /// Removes a socket for good and gives its port back.
    pub(crate) fn remove_tcp(&mut self, id: SocketId) {
        if let Some(Socket::Tcp(socket)) = self.sockets.remove(id) {
            let local = socket.local;
            self.tcp.orphans -= usize::from(socket.is_orphan);
            match socket.port_use {
                PortUse::None => {}
                PortUse::Bound => self.ports_tcp.unbind(id, local.port()),
                PortUse::Held => self.ports_tcp.release(local),
            }
        }
    }
}

/// Finds out what a connection's state means, and resets one whose program is gone but whose peer sends on.
fn judge(
    connection: &mut Connection,
    error: &mut Option<Errno>,
    is_orphan: bool,
    after: After,
    now: Nanos,
) -> Fate {
    let state = connection.socket().state();
    let old = core::mem::replace(&mut connection.last_state, state);
    if state == State::Closed && old != State::Closed {
        let cause = match (after, old) {
            (After::Input, State::LastAck | State::Closing | State::TimeWait) => None,
            (After::Input, State::SynSent | State::SynReceived) => Some(Errno::ECONNREFUSED),
            (After::Input, State::CloseWait) => Some(Errno::EPIPE),
            (After::Input, _) => Some(Errno::ECONNRESET),
            (After::Output(_), State::TimeWait) => None,
            (After::Output(_), _) => Some(Errno::ETIMEDOUT),
        };
        *error = cause;
        if matches!(old, State::SynSent | State::SynReceived)
            && connection.handshake == Handshake::Unreported
        {
            return Fate::Attempt;
        }
    }
    if is_orphan {
        if state == State::FinWait2 && connection.abandoned_at.is_none() {
            connection.abandoned_at = Some(now + FIN_TIMEOUT);
        }
        if connection.abandoned_at.is_some_and(|at| at <= now) {
            return Fate::Over;
        }
        if connection.receive_queue() > 0 && state != State::Closed {
            connection.socket_mut().abort();
            connection.last_state = State::Closed;
        }
    }
    // smoltcp forgets the peer when it has nothing more to send to it.
    let is_over = connection.is_closed() && connection.socket().remote_endpoint().is_none();
    if is_over { Fate::Over } else { Fate::Lives }
}

/// Returns whether a connection only waits for TIME-WAIT to pass, which a record can do.
fn is_waiting_out(connection: &Connection, due: Option<Nanos>, now: Nanos) -> bool {
    const NOTHING_BEFORE: Nanos = Nanos(Nanos::PER_SEC);
    connection.socket().state() == State::TimeWait && due.is_none_or(|at| at > now + NOTHING_BEFORE)
}
