//! Bytes to and from programs, and their end.

use tyn_abi::{Errno, Events, Sink, Source};

use crate::stack::{Socket, Stack};
use crate::tcp::{READABLE, TcpSocket, TcpState};
use crate::types::SocketId;

/// How bytes are received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// They are copied and leave the queue.
    Bytes,
    /// They are copied and stay (`MSG_PEEK`).
    Peek,
    /// The same, once all that fits is there or no more will come (`MSG_WAITALL`).
    PeekAll,
    /// They leave the queue, once there are enough (`SO_RCVLOWAT`), all that fits, or no more will come.
    Enough,
    /// They leave the queue uncopied, at most this many (`MSG_TRUNC`).
    Discard(usize),
}

impl TcpSocket {
    /// Returns whether fewer bytes can be read, and more may come.
    fn will_have(&self, len: usize) -> bool {
        let TcpState::Open(c) = &self.state else {
            return false;
        };
        let is_over = c.tcp.has_peer_finished() || c.is_closed() || self.is_read_shut;
        !is_over && self.error.is_none() && c.tcp.readable() < len
    }
}

impl Stack {
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
        // Only then does a write change what the socket is ready for.
        let is_full = !connection.is_writable();
        self.count(id);
        if sent == 0 && !is_empty {
            self.enqueue(id);
            // Who waits now is to hear of room, even if there seemed to be some before.
            self.report(id, Events::empty());
            self.tcp(id)?.reported.remove(Events::OUT | Events::WRNORM);
            return Err(Errno::EAGAIN);
        }
        self.enqueue(id);
        if is_full {
            self.report(id, Events::empty());
        }
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
        let is_early = match take {
            Take::PeekAll => socket.will_have(dst.remaining()),
            Take::Enough => socket.will_have(socket.low_water().min(dst.remaining())),
            Take::Bytes | Take::Peek | Take::Discard(_) => false,
        };
        let count = match &mut socket.state {
            TcpState::Idle | TcpState::Listening(_) => 0,
            _ if is_for_nothing => return Ok(0),
            TcpState::Open(_) if is_early => 0,
            TcpState::Open(c) => match take {
                Take::Bytes | Take::Enough => c.tcp.read(dst)?,
                Take::Peek | Take::PeekAll => c.tcp.peek(dst)?,
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
                if !matches!(take, Take::Peek | Take::PeekAll) {
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
            let mut speaks = false;
            if let TcpState::Open(c) = &mut socket.state {
                c.last_readable = c.tcp.readable();
                // The window may have opened.
                speaks = !c.tcp.is_silent();
            }
            let is_drained = matches!(&socket.state, TcpState::Open(c)
                if c.tcp.readable() == 0 && !c.tcp.has_peer_finished() && !socket.is_read_shut);
            if is_drained {
                // That is all that reading changes.
                socket.reported.remove(READABLE);
            }
            if speaks {
                self.enqueue(id);
            } else {
                self.note_quiet(id);
            }
            if !is_drained {
                self.report(id, Events::empty());
            }
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
            TcpState::Idle if socket.has_failed => Ok(0),
            TcpState::Idle | TcpState::Listening(_) => Err(Errno::ENOTCONN),
            TcpState::Ended { .. } => Ok(0),
            TcpState::Open(_) if socket.is_read_shut => Ok(0),
            TcpState::Open(c) if c.is_closed() => Ok(0),
            TcpState::Open(_) => Err(Errno::EAGAIN),
        }
    }

    /// Shuts down one or both directions (`shutdown(2)`). An attempt to connect ends, as on Linux.
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
            TcpState::Open(connection) if connection.is_connecting() => {
                return self.tcp_disconnect(id);
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
}
