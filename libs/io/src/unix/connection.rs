//! Two connected sockets: streams and sequenced packets.

use alloc::vec::Vec;

use tyn_abi::{Errno, Events, Sink, Source};

use super::queue::{Credentials, DEFAULT_BUFFER, Queue, Received, Take};

/// One of the two sockets of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The socket that connected, or the first of a pair.
    A,
    /// The accepted one, or the second of a pair.
    B,
}

impl Side {
    /// Returns the peer.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Whether boundaries between messages are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionKind {
    /// No: `SOCK_STREAM`.
    Stream,
    /// Yes: `SOCK_SEQPACKET`.
    Packets,
}

bitflags::bitflags! {
    /// Halves of a socket that were shut down (`shutdown(2)`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Shutdown: u8 {
        /// Nothing more is received once the queue is empty.
        const RECEIVE = 1;
        /// Nothing more can be sent.
        const SEND = 2;
    }
}

#[derive(Debug)]
struct Endpoint<R> {
    /// Messages for this socket.
    inbox: Queue<R>,
    shutdown: Shutdown,
    is_closed: bool,
    /// `ECONNRESET` is pending: the peer closed without reading everything.
    was_reset: bool,
    /// Cost of this socket's messages in the peer's inbox from which on it must wait (`SO_SNDBUF`).
    send_limit: usize,
}

impl<R: Clone> Endpoint<R> {
    const fn new() -> Self {
        Self {
            inbox: Queue::new(),
            shutdown: Shutdown::empty(),
            is_closed: false,
            was_reset: false,
            send_limit: DEFAULT_BUFFER,
        }
    }
}

/// Two sockets that are connected to each other.
///
/// # Invariants
/// What one side shut down for sending, the other has shut down for receiving, and the reverse.
#[derive(Debug)]
pub struct Connection<R> {
    kind: ConnectionKind,
    a: Endpoint<R>,
    b: Endpoint<R>,
}

impl<R: Clone> Connection<R> {
    /// Connects two sockets.
    #[must_use]
    pub const fn new(kind: ConnectionKind) -> Self {
        Self {
            kind,
            a: Endpoint::new(),
            b: Endpoint::new(),
        }
    }

    fn end(&self, side: Side) -> &Endpoint<R> {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut Endpoint<R> {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Says who sends from `side` from now on.
    pub fn set_writer(&mut self, side: Side, writer: Credentials) {
        self.end_mut(side.other()).inbox.set_writer(writer);
    }

    /// Says whether `side` receives what others have sent apart (`SO_PASSCRED`).
    pub fn set_apart(&mut self, side: Side, is_apart: bool) {
        self.end_mut(side).inbox.set_apart(is_apart);
    }

    /// Sets `SO_SNDBUF`, in bytes of memory.
    pub fn set_send_limit(&mut self, side: Side, limit: usize) {
        self.end_mut(side).send_limit = limit;
    }

    /// Sends from `side` to its peer; rights that went along are taken out of `rights`.
    ///
    /// # Errors
    /// `EPIPE` when this side cannot send or the peer cannot receive (the caller raises SIGPIPE), `EAGAIN` when nothing
    /// fits now, `EMSGSIZE` for a record above the buffer size, `EFAULT`, `ENOMEM`.
    pub fn send(
        &mut self,
        side: Side,
        src: &mut dyn Source,
        rights: &mut Vec<R>,
    ) -> Result<usize, Errno> {
        let sender = self.end(side);
        let limit = sender.send_limit;
        let kind = self.kind;
        let len = src.remaining();
        if sender.shutdown.contains(Shutdown::SEND) || self.end(side.other()).is_closed {
            return Err(Errno::EPIPE);
        }
        let inbox = &mut self.end_mut(side.other()).inbox;
        match kind {
            ConnectionKind::Stream => inbox.send_bytes(src, rights, limit),
            ConnectionKind::Packets if len > limit => Err(Errno::EMSGSIZE),
            ConnectionKind::Packets if inbox.cost() >= limit => Err(Errno::EAGAIN),
            ConnectionKind::Packets => inbox.push(src, len, rights),
        }
    }

    /// Receives what was sent to `side`. A count of 0 without error is the end (or an empty record). The flag tells
    /// whether the peer, which could not send before, can now.
    ///
    /// # Errors
    /// `ECONNRESET` once when the peer closed without having read everything, `EAGAIN` when nothing is there yet,
    /// `EFAULT`.
    pub fn receive(
        &mut self,
        side: Side,
        dst: &mut dyn Sink,
        take: Take,
    ) -> Result<(Received<R>, bool), Errno> {
        let kind = self.kind;
        let was_writable = self.is_writable(side.other());
        let end = self.end_mut(side);
        if (kind == ConnectionKind::Packets || end.inbox.is_empty()) && end.was_reset {
            end.was_reset = false;
            return Err(Errno::ECONNRESET);
        }
        let received = match kind {
            ConnectionKind::Stream => end.inbox.receive_bytes(dst, take),
            ConnectionKind::Packets => end.inbox.receive_record(dst, take),
        };
        match received {
            Err(Errno::EAGAIN) if end.shutdown.contains(Shutdown::RECEIVE) => Ok((
                Received {
                    count: 0,
                    full_length: 0,
                    rights: Vec::new(),
                    writer: Credentials::default(),
                },
                false,
            )),
            Err(e) => Err(e),
            Ok(received) => Ok((received, !was_writable && self.is_writable(side.other()))),
        }
    }

    /// Shuts down halves of `side`, and with them the peer's counterparts.
    pub fn shutdown(&mut self, side: Side, how: Shutdown) {
        self.end_mut(side).shutdown |= how;
        let peer = self.end_mut(side.other());
        peer.shutdown.set(
            Shutdown::RECEIVE,
            how.contains(Shutdown::SEND) || peer.shutdown.contains(Shutdown::RECEIVE),
        );
        peer.shutdown.set(
            Shutdown::SEND,
            how.contains(Shutdown::RECEIVE) || peer.shutdown.contains(Shutdown::SEND),
        );
    }

    /// Closes `side` and returns the rights that nobody received, to be dropped by the caller.
    pub fn close(&mut self, side: Side) -> Vec<R> {
        let had_unread = !self.end(side).inbox.is_empty();
        self.shutdown(side, Shutdown::all());
        let end = self.end_mut(side);
        end.is_closed = true;
        let rights = end.inbox.drain();
        self.end_mut(side.other()).was_reset |= had_unread;
        rights
    }

    /// Closes side B, which was never accepted; the peer's next call fails with `ECONNRESET`.
    pub fn abort(&mut self) -> Vec<R> {
        let rights = self.close(Side::B);
        self.a.was_reset = true;
        rights
    }

    /// Returns and clears the pending error (`SO_ERROR`).
    pub fn take_error(&mut self, side: Side) -> Option<Errno> {
        let end = self.end_mut(side);
        let was_reset = core::mem::take(&mut end.was_reset);
        was_reset.then_some(Errno::ECONNRESET)
    }

    /// Returns the rights that wait for `side`.
    pub fn rights(&self, side: Side) -> impl Iterator<Item = &R> {
        self.end(side).inbox.rights()
    }

    /// Takes the rights that wait for `side` away.
    pub fn take_rights(&mut self, side: Side) -> Vec<R> {
        self.end_mut(side).inbox.take_rights()
    }

    /// Returns the memory that the messages waiting for `side` take.
    #[must_use]
    pub fn cost(&self, side: Side) -> usize {
        self.end(side).inbox.cost()
    }

    /// Returns how many bytes wait (`FIONREAD`): all of a stream's, the first record's.
    #[must_use]
    pub fn unread(&self, side: Side) -> usize {
        match self.kind {
            ConnectionKind::Stream => self.end(side).inbox.unread(),
            ConnectionKind::Packets => self.end(side).inbox.first_length(),
        }
    }

    /// Returns whether `side` may send: as in Linux, at most a quarter of its buffer is in use.
    fn is_writable(&self, side: Side) -> bool {
        self.end(side.other()).inbox.cost().saturating_mul(4) <= self.end(side).send_limit
    }

    /// Returns what `side` is ready for.
    #[must_use]
    pub fn poll(&self, side: Side) -> Events {
        let end = self.end(side);
        let ended = end.shutdown.contains(Shutdown::RECEIVE);
        let mut events = Events::empty();
        events.set(Events::ERR, end.was_reset);
        events.set(Events::HUP, end.shutdown.is_all());
        events.set(Events::RDHUP, ended);
        events.set(Events::IN | Events::RDNORM, ended || !end.inbox.is_empty());
        events.set(
            Events::OUT | Events::WRNORM | Events::WRBAND,
            self.is_writable(side),
        );
        events
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
