//! The rows of TCP, in pieces, so that nobody waits for the stack while a hundred thousand of them are made.

use alloc::vec::Vec;
use core::ops::Bound;

use tyn_abi::Errno;

use super::{Life, Row, any_like, vec_for};
use crate::stack::Stack;
use crate::tcp::{TcpLife, TcpState, TcpStatus};
use crate::types::{SocketId, Tuple};

/// How far a list of rows has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// It has not begun: who listens comes first.
    #[default]
    Listeners,
    /// Connections after this one.
    Connections(Option<Tuple>),
    /// Requests after this one.
    Requests(Option<Tuple>),
    /// Records of connections that are over, after this one.
    TimeWaits(Option<Tuple>),
    /// It is at its end.
    End,
}

impl Stack {
    /// Lists the TCP sockets that can get segments, and the records of requests and of connections that are over: those who
    /// listen, and after that at most so many at a time; none at the end. What comes and goes in between is listed or not; what
    /// goes on from one kind to the next may be listed as both.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn tcp_rows(&mut self, place: &mut Place, most: usize) -> Result<Vec<Row>, Errno> {
        loop {
            let (rows, next) = match *place {
                Place::Listeners => (self.listener_rows()?, Place::Connections(None)),
                Place::Connections(after) => {
                    let mut ids = vec_for(most)?;
                    let here = self.tcp.connections.range((bound(after), Bound::Unbounded));
                    ids.extend(here.map(|(tuple, &id)| (*tuple, id)).take(most));
                    let mut rows = vec_for(ids.len())?;
                    rows.extend(ids.iter().filter_map(|&(_, id)| self.tcp_row(id)));
                    let last = ids.last().map(|&(tuple, _)| tuple);
                    (
                        rows,
                        last.map_or(Place::Requests(None), |t| Place::Connections(Some(t))),
                    )
                }
                Place::Requests(after) => {
                    let here = self.tcp.half_open.range((bound(after), Bound::Unbounded));
                    let rows = records(here.map(|(tuple, _)| tuple), TcpStatus::SynReceived, most)?;
                    let last = last_tuple(&rows);
                    (
                        rows,
                        last.map_or(Place::TimeWaits(None), |t| Place::Requests(Some(t))),
                    )
                }
                Place::TimeWaits(after) => {
                    let here = self.tcp.time_waits.tuples_after(bound(after));
                    let rows = records(here, TcpStatus::TimeWait, most)?;
                    let last = last_tuple(&rows);
                    (rows, last.map_or(Place::End, |t| Place::TimeWaits(Some(t))))
                }
                Place::End => return Ok(Vec::new()),
            };
            *place = next;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }

    fn listener_rows(&mut self) -> Result<Vec<Row>, Errno> {
        let count = self.tcp.listeners.values().map(Vec::len).sum();
        let (mut ids, mut rows) = (vec_for(count)?, vec_for(count)?);
        ids.extend(self.tcp.listeners.values().flatten().map(|l| l.socket));
        rows.extend(ids.into_iter().filter_map(|id| self.tcp_row(id)));
        Ok(rows)
    }

    fn tcp_row(&mut self, id: SocketId) -> Option<Row> {
        let info = self.tcp_info(id).ok()?;
        let socket = self.tcp(id).ok()?;
        let (remote, queues) = match &socket.state {
            TcpState::Listening(listener) => (any_like(socket.any), (0, listener.queue.len())),
            TcpState::Open(c) => {
                let unread = c.tcp.readable();
                // As on Linux the FIN behind them counts.
                let end = usize::from(unread > 0 && c.tcp.has_peer_finished());
                (c.tuple.remote, (c.tcp.unsent(), unread + end))
            }
            TcpState::Idle | TcpState::Ended { .. } => return None,
        };
        let life = match info.life {
            TcpLife::Connection { info, .. } => Life::Connection {
                timeouts: info.timeouts,
                timeout: info.timeout.0 / 10_000_000,
                window: (info.window, info.threshold),
            },
            TcpLife::Listening { .. } => Life::Listening,
            TcpLife::None => Life::None,
        };
        Some(Row {
            socket: Some(id),
            is_v6: socket.any.is_ipv6(),
            local: socket.local,
            remote,
            status: info.status,
            queues,
            life,
        })
    }
}

fn bound(after: Option<Tuple>) -> Bound<Tuple> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

fn last_tuple(rows: &[Row]) -> Option<Tuple> {
    rows.last().map(|row| Tuple {
        local: row.local,
        remote: row.remote,
    })
}

/// Makes the rows of what has no socket, at most so many.
fn records<'a, I: Iterator<Item = &'a Tuple>>(
    tuples: I,
    status: TcpStatus,
    most: usize,
) -> Result<Vec<Row>, Errno> {
    let mut rows = vec_for(most)?;
    rows.extend(tuples.take(most).map(|tuple| Row {
        socket: None,
        is_v6: tuple.local.is_ipv6(),
        local: tuple.local,
        remote: tuple.remote,
        status,
        queues: (0, 0),
        life: Life::None,
    }));
    Ok(rows)
}
