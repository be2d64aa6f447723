//! After a connection was touched: errors, ends, deadlines and readiness.

use alloc::boxed::Box;
use alloc::vec::Vec;

use tyn_abi::{Errno, Events, Nanos};
use tyn_tcp::{End, State};

use crate::stack::{GREAT, Socket, Stack};
use crate::tcp::connection::{Connection, Handshake};
use crate::tcp::time_wait::LastSent;
use crate::tcp::{PortUse, TcpSocket, TcpState, TcpTables};
use crate::timer::TimerKey;
use crate::types::SocketId;

/// Segments that one connection sends before others have their turn.
const BURST: usize = 32;
/// How long a closed socket waits for the peer's FIN (`tcp_fin_timeout`).
const FIN_TIMEOUT: Nanos = Nanos(60 * Nanos::PER_SEC);

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
        let is_cut_off = self.is_cut_off(id);
        let Some(Socket::Tcp(socket)) = self.sockets.get_mut(id) else {
            return 0;
        };
        let TcpState::Open(connection) = &mut socket.state else {
            return 0;
        };
        connection.is_queued = false;
        let now = self.out.now;
        let repeated = connection.tcp.repeated();
        connection.release_due(now);
        connection.tune(&socket.options, socket.is_orphan);
        if connection.tcp.deadline().is_some_and(|at| at <= now) {
            connection.tcp.on_deadline(now);
        }
        let path = connection.path;
        let mut sent = 0;
        // Packets for which there is room at least.
        let mut room = 0;
        let mut is_exhausted = false;
        while sent < BURST {
            if room == 0 {
                room = self.out.room(path);
            }
            if room == 0 {
                is_exhausted = true;
                break;
            }
            let most = connection.most_at_once(&mut self.out);
            let Some(segment) = connection.tcp.next_train(now, most) else {
                break;
            };
            room = room.saturating_sub(most);
            if !is_cut_off {
                connection.emit(&mut self.out, &socket.options, &segment);
            }
            sent += 1 + segment.len / GREAT;
        }
        let repeated = connection.tcp.repeated().wrapping_sub(repeated);
        self.out.mib.tcp.repeated += u64::from(repeated);
        if is_exhausted {
            connection.is_queued = true;
            self.blocked.push(path, id);
        } else if sent >= BURST {
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
            is_done,
            is_orphan,
            options,
            ..
        } = &mut **socket
        else {
            return;
        };
        let old = connection.last_state;
        let fate = judge(connection, error, (*is_orphan, options.fin_timeout), now);
        self.out.mib.tcp.changed(old, connection.last_state);
        *is_done |= has_finished(connection.last_state);
        if fate != Fate::Lives {
            return self.finish(id, fate);
        }
        if connection.is_closed() && !connection.tcp.is_silent() && !connection.is_queued {
            connection.is_queued = true;
            self.dirty.push_back(id);
        }
        let is_done = after == After::Output(true);
        if is_done && connection.tcp.state() == State::TimeWait {
            return self.finish(id, Fate::TimeWait);
        }
        let due = if connection.is_queued {
            None
        } else {
            connection.tcp.deadline()
        };
        let due = [
            due,
            connection.abandoned_at,
            connection.held_until,
            connection.starved_until,
        ];
        let due = due.into_iter().flatten().min();
        // A timer that fires too early costs less than one that is moved with each segment.
        if due.is_some_and(|at| connection.due.is_none_or(|set| at < set)) {
            self.timers
                .set(TimerKey::Socket(id), &mut connection.due, due);
        }
        let readable = connection.tcp.readable();
        let grew = readable > connection.last_readable;
        connection.last_readable = readable;
        // The peer has everything: who waits for that (`SO_LINGER`) hears of it by what was true before.
        let has_ended = old == State::FinWait1 && connection.last_state != State::FinWait1;
        let news = match grew {
            _ if has_ended => Events::all(),
            true => Events::IN | Events::RDNORM,
            false => Events::empty(),
        };
        self.count(id);
        self.report(id, news);
        if is_done {
            self.note_quiet(id);
        }
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
        self.out.mib.tcp.attempt_fails += 1;
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
        let by = socket.port_usage();
        let TcpState::Open(connection) = &mut socket.state else {
            return;
        };
        self.timers
            .set(TimerKey::Socket(id), &mut connection.due, None);
        self.tcp.buffered = self.tcp.buffered.saturating_sub(connection.counted);
        let tuple = connection.tuple;
        self.tcp.connections.remove(&tuple);
        if fate == Fate::TimeWait {
            let (next, acked) = connection.tcp.numbers();
            let sent = LastSent {
                next: next.0,
                acked: acked.0,
            };
            let (path, limit) = (connection.path, self.limits.time_wait);
            let evicted = self
                .tcp
                .time_waits
                .insert(tuple, (path, by), sent, self.out.now, limit);
            self.ports_tcp.hold(tuple.local, by);
            if let Some((evicted, by)) = evicted {
                self.out.mib.tcp.time_wait_overflows += 1;
                self.ports_tcp.release(evicted.local, by);
            }
        }
        if fate != Fate::Attempt {
            socket.options.delays_acks = connection.tcp.delays_acks();
        }
        let unread = trimmed(connection.tcp.take_unread());
        socket.has_failed = fate == Fate::Attempt;
        socket.state = if fate == Fate::Attempt {
            TcpState::Idle
        } else {
            self.tcp.buffered += unread.capacity();
            TcpState::Ended {
                unread,
                taken: 0,
                info: Box::new(connection.tcp.info(self.out.now)),
            }
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
            self.tcp.uncount_ended(&socket.state);
            self.tcp.orphans -= usize::from(socket.is_orphan);
            match socket.port_use {
                PortUse::None => {}
                PortUse::Bound => self.ports_tcp.unbind(id, local.port()),
                PortUse::Held => self.ports_tcp.release(local, socket.port_usage()),
            }
        }
    }
}

impl TcpTables {
    /// Takes the bytes of a connection that is over out of the sum of all, before they go.
    pub(crate) fn uncount_ended(&mut self, state: &TcpState) {
        if let TcpState::Ended { unread, .. } = state {
            self.buffered = self.buffered.saturating_sub(unread.capacity());
        }
    }
}

/// Moves bytes into a piece of memory that is no greater than they are, if there is one.
fn trimmed(bytes: Vec<u8>) -> Vec<u8> {
    let mut fitting = Vec::new();
    if bytes.len() == bytes.capacity() || fitting.try_reserve_exact(bytes.len()).is_err() {
        return bytes;
    }
    fitting.extend_from_slice(&bytes);
    fitting
}

/// Finds out what a connection's state means, and resets one whose program is gone but whose peer sends on.
fn judge(
    connection: &mut Connection,
    error: &mut Option<Errno>,
    (is_orphan, fin_timeout): (bool, Option<u8>),
    now: Nanos,
) -> Fate {
    let state = connection.tcp.state();
    let old = core::mem::replace(&mut connection.last_state, state);
    if state == State::Closed && old != State::Closed {
        *error = match connection.tcp.end() {
            Some(End::Silence(soft)) => Some(soft.unwrap_or(Errno::ETIMEDOUT)),
            Some(End::Reset) => reset_error(old),
            Some(End::Finished | End::Aborted) | None => None,
        };
        if matches!(old, State::SynSent | State::SynReceived)
            && connection.handshake == Handshake::Unreported
        {
            return Fate::Attempt;
        }
    }
    if is_orphan {
        if state == State::FinWait2 && connection.abandoned_at.is_none() {
            match fin_timeout {
                None => connection.give_up(),
                Some(0) => connection.abandoned_at = Some(now + FIN_TIMEOUT),
                Some(seconds) => {
                    let time = Nanos(u64::from(seconds) * Nanos::PER_SEC);
                    connection.abandoned_at = Some(now + time);
                }
            }
        }
        if connection.abandoned_at.is_some_and(|at| at <= now) {
            return Fate::Over;
        }
        if connection.tcp.readable() > 0 && state != State::Closed {
            connection.give_up();
        }
    }
    let is_over = connection.is_closed() && connection.tcp.is_silent();
    if is_over { Fate::Over } else { Fate::Lives }
}

/// Returns whether the peer's FIN has come in a state that tells it.
fn has_finished(state: State) -> bool {
    matches!(
        state,
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait
    )
}

/// Returns the error of a connection that was reset in a state (`tcp_reset` of Linux).
fn reset_error(state: State) -> Option<Errno> {
    match state {
        State::SynSent | State::SynReceived => Some(Errno::ECONNREFUSED),
        State::CloseWait => Some(Errno::EPIPE),
        State::TimeWait => None,
        _ => Some(Errno::ECONNRESET),
    }
}
