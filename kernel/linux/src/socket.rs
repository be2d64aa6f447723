//! What the socket calls need from every family's sockets.
//!
//! `sys/socket.rs` decodes the calls, waits, and handles descriptors; a family implements [`Socket`] beside [`File`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::socket::MsgFlags;
use tyn_abi::{Errno, Nanos, Sink, Source, UserVa};
use tyn_io::unix::Credentials;

use crate::cx::Cx;
use crate::file::{File, OpenFile};
use crate::socket_options::Value;

/// Whether a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// It waits.
    Yes,
    /// It fails with `EAGAIN` (`connect`: `EINPROGRESS`) instead: `O_NONBLOCK`, `MSG_DONTWAIT`.
    No,
}

/// A control message of a family's own (`cmsg(3)`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// Protocol level.
    pub level: i32,
    /// Type at that level.
    pub kind: i32,
    /// What it carries.
    pub data: Vec<u8>,
}

/// A message to be sent, beside its bytes.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The destination (`struct sockaddr`), if one was given.
    pub address: Option<Vec<u8>>,
    /// Files to pass (`SCM_RIGHTS`).
    pub rights: Vec<Arc<OpenFile>>,
    /// Who is to be said to send it (`SCM_CREDENTIALS`), if not who does.
    pub credentials: Option<Credentials>,
    /// Other control messages.
    pub control: Vec<Control>,
    /// `MSG_*`; `DONTWAIT` and `NOSIGNAL` are the caller's business.
    pub flags: MsgFlags,
}

/// What came beside the bytes of a received message.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Bytes stored; with `MSG_TRUNC` asked for, the record's real length.
    pub count: usize,
    /// The sender (`struct sockaddr`), where the family tells; `None` leaves `msg_name` untouched with length 0.
    pub address: Option<Vec<u8>>,
    /// Files that were passed.
    pub rights: Vec<Arc<OpenFile>>,
    /// Other control messages.
    pub control: Vec<Control>,
    /// Flags for `msg_flags`: `TRUNC`, `EOR`, ...
    pub flags: MsgFlags,
}

/// A connection that was accepted.
pub struct Accepted {
    /// The new socket.
    pub file: Arc<dyn File>,
    /// Its name for `/proc/self/fd`.
    pub name: String,
    /// The peer's `struct sockaddr`.
    pub peer: Vec<u8>,
}

impl core::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Accepted({})", self.name)
    }
}

/// Which direction a time-out is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// `SO_RCVTIMEO`: receiving and accepting.
    Receive,
    /// `SO_SNDTIMEO`: sending and connecting.
    Send,
}

/// A socket. As with [`File`], nothing but [`Socket::connect`] blocks: the caller waits on [`File::wait_queue`] after
/// `EAGAIN`. `read(2)` and `write(2)` arrive through [`File`].
pub trait Socket: File {
    /// Returns the type: `SOCK_STREAM`, ... Only streams raise SIGPIPE.
    fn kind(&self) -> u32;

    /// Answers `bind(2)`.
    ///
    /// # Errors
    /// As `bind(2)`.
    fn bind(&self, cx: &mut Cx<'_>, address: &[u8]) -> Result<(), Errno>;

    /// Answers `connect(2)`, and waits when `blocking` says so.
    ///
    /// # Errors
    /// As `connect(2)`.
    fn connect(&self, cx: &mut Cx<'_>, address: &[u8], blocking: Blocking) -> Result<(), Errno>;

    /// Answers `listen(2)`; `backlog` is already limited to [`tyn_abi::socket::SOMAXCONN`].
    ///
    /// # Errors
    /// As `listen(2)`.
    fn listen(&self, cx: &mut Cx<'_>, backlog: usize) -> Result<(), Errno>;

    /// Takes a connection from the queue.
    ///
    /// # Errors
    /// `EAGAIN` when there is none yet; others as `accept(2)`.
    fn accept(&self) -> Result<Accepted, Errno>;

    /// Answers `getsockname(2)`.
    ///
    /// # Errors
    /// As `getsockname(2)`.
    fn local_address(&self) -> Result<Vec<u8>, Errno>;

    /// Answers `getpeername(2)`.
    ///
    /// # Errors
    /// `ENOTCONN`.
    fn peer_address(&self) -> Result<Vec<u8>, Errno>;

    /// Sends a message; the count is short when only part of a stream's bytes fits now. On a partial or full success
    /// `rights` and `control` of `message` are used up.
    ///
    /// # Errors
    /// `EAGAIN` when nothing fits now, `EPIPE` (the caller raises SIGPIPE); others as `send(2)`.
    fn send(
        &self,
        cx: &Cx<'_>,
        src: &mut dyn Source,
        message: &mut Outgoing,
    ) -> Result<usize, Errno>;

    /// Receives a message or what a stream has. `flags` has `MSG_DONTWAIT` if nobody will wait.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing yet; others as `recv(2)`.
    fn receive(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno>;

    /// Answers `shutdown(2)`; `how` is one of `SHUT_RD`, `SHUT_WR`, `SHUT_RDWR`.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    fn shutdown(&self, how: i32) -> Result<(), Errno>;

    /// Answers `getsockopt(2)` for a buffer of `room` bytes at `at` with the option's value, which the caller cuts if it is longer.
    /// What is in the buffer says of some options what is asked.
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EOPNOTSUPP`; `EINVAL` for too little room.
    fn get_option(
        &self,
        cx: &Cx<'_>,
        option: (i32, i32),
        at: UserVa,
        room: usize,
    ) -> Result<Value, Errno>;

    /// Answers `setsockopt(2)`.
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EINVAL` for a value that is too short, ...
    fn set_option(&self, cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<(), Errno>;

    /// Begins to close for a caller who waits until it is not [`Socket::is_closing`] any more, and returns how long that may
    /// take; `None` if nobody has to.
    fn linger(&self) -> Option<Nanos> {
        None
    }

    /// Returns whether there is something that the peer has not got.
    fn is_closing(&self) -> bool {
        false
    }

    /// Returns the time-out set for a direction; `None` waits for ever.
    fn timeout(&self, direction: Direction) -> Option<Nanos>;
}
