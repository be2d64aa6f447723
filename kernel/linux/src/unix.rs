//! Local sockets as files (`unix(7)`): streams, sequenced packets and datagrams, in the file system and the abstract
//! namespace, with descriptor passing.
//!
//! # Locks
//! A socket's `role` comes before the lock of the [`Link`], listener or datagram box that it names, and those before wait
//! queues. Open files that are dropped with a message are closed by [`rights::bury`], outside all locks.

mod datagram;
mod names;
mod rights;
mod stream;

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use tyn_abi::socket::{
    AF_UNIX, MsgFlags, SHUT_RD, SHUT_WR, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
    SOL_SOCKET, so,
};
use tyn_abi::{Errno, Events, Nanos, Sink, Source, UserVa};
use tyn_hal::sync::SpinLock;
use tyn_io::unix::{Address, ConnectionKind, Shutdown, Take};

use self::datagram::DatagramBox;
use self::names::Name;
use self::rights::InFlight;
use self::stream::{Link, LinkEnd, Listener};
use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, OpenFile, flags};
use crate::pipe::FIONREAD;
use crate::socket::{Accepted, Blocking, Direction, Incoming, Outgoing, Socket};
use crate::socket_options::Options;
use crate::user_io;
use crate::wait::WaitQueue;

/// Who is at the other end (`struct ucred`, `SO_PEERCRED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Credentials {
    pid: u32,
    uid: u32,
    gid: u32,
}

impl Credentials {
    /// Nobody: no peer.
    const NONE: Self = Self {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };

    fn of(cx: &Cx<'_>) -> Self {
        Self {
            pid: cx.process.pid.0,
            uid: 0,
            gid: 0,
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        [self.pid, self.uid, self.gid]
            .map(u32::to_le_bytes)
            .concat()
    }
}

/// What a socket is at the moment.
enum Role {
    /// A stream or packet socket that is neither listening nor connected.
    Fresh,
    /// It listens.
    Listening(Arc<Listener>),
    /// One side of a connection.
    Connected(LinkEnd),
    /// A datagram socket, with the destination of `connect(2)`.
    Datagram {
        inbox: Arc<DatagramBox>,
        peer: Option<Arc<DatagramBox>>,
        shutdown: Shutdown,
    },
}

/// A local socket.
pub struct UnixSocket {
    kind: u32,
    role: SpinLock<Role>,
    /// Its name, with its place in the namespace.
    name: SpinLock<Option<Name>>,
    queue: Arc<WaitQueue>,
    options: Options,
    inode: u64,
    this: Weak<Self>,
}

impl core::fmt::Debug for UnixSocket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "UnixSocket({})", self.inode)
    }
}

/// Checks type and protocol; `SOCK_RAW` is the same as `SOCK_DGRAM`.
fn check_kind(kind: u32, protocol: u32) -> Result<u32, Errno> {
    if protocol != 0 && protocol != u32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => Ok(kind),
        SOCK_RAW => Ok(SOCK_DGRAM),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// Opens a new socket with these status flags.
///
/// # Errors
/// `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`.
pub(crate) fn open(kind: u32, protocol: u32, status: u32) -> Result<Arc<OpenFile>, Errno> {
    let kind = check_kind(kind, protocol)?;
    Ok(open_socket(UnixSocket::new(kind), status))
}

/// Opens two sockets that are connected to each other.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_pair(
    cx: &Cx<'_>,
    kind: u32,
    protocol: u32,
    status: u32,
) -> Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
    let kind = check_kind(kind, protocol)?;
    let (a, b) = (UnixSocket::new(kind), UnixSocket::new(kind));
    match connection_kind(kind) {
        Some(connection_kind) => {
            let who = Credentials::of(cx);
            let (end_a, end_b) = Link::pair(connection_kind, [&a.queue, &b.queue], [who, who]);
            *a.role.lock() = Role::Connected(end_a);
            *b.role.lock() = Role::Connected(end_b);
        }
        None => datagram::connect_pair(&a, &b),
    }
    Ok((open_socket(a, status), open_socket(b, status)))
}

fn open_socket(socket: Arc<UnixSocket>, status: u32) -> Arc<OpenFile> {
    let name = format!("socket:[{}]", socket.inode);
    OpenFile::new(socket, status | flags::O_RDWR, name)
}

/// Returns how a connection of this type behaves; `None` for datagrams.
fn connection_kind(kind: u32) -> Option<ConnectionKind> {
    match kind {
        SOCK_STREAM => Some(ConnectionKind::Stream),
        SOCK_SEQPACKET => Some(ConnectionKind::Packets),
        _ => None,
    }
}

impl UnixSocket {
    fn new(kind: u32) -> Arc<Self> {
        let queue = Arc::new(WaitQueue::new());
        let role = if kind == SOCK_DGRAM {
            let inbox = DatagramBox::new(&queue);
            Role::Datagram {
                inbox,
                peer: None,
                shutdown: Shutdown::empty(),
            }
        } else {
            Role::Fresh
        };
        Self::with_role(kind, role, queue, None)
    }

    fn with_role(kind: u32, role: Role, queue: Arc<WaitQueue>, name: Option<Name>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            kind,
            role: SpinLock::new(role),
            name: SpinLock::new(name),
            queue,
            options: Options::default(),
            inode: anon::inode_number(),
            this: Weak::clone(this),
        })
    }

    /// Returns the connection, or what `none` says of a socket without one.
    fn link(&self) -> Option<LinkEnd> {
        match &*self.role.lock() {
            Role::Connected(end) => Some(end.clone()),
            _ => None,
        }
    }

    fn address(&self) -> Address {
        self.name
            .lock()
            .as_ref()
            .map_or(Address::Unnamed, |name| name.address().clone())
    }

    fn take_error(&self) -> Option<Errno> {
        self.link().and_then(|end| end.take_error())
    }
}

/// Reads nothing, which is allowed even where there is nothing to read.
fn is_empty(dst: &dyn Sink) -> bool {
    dst.remaining() == 0
}

impl File for UnixSocket {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if is_empty(dst) {
            return Ok(0);
        }
        Socket::receive(self, dst, MsgFlags::empty()).map(|incoming| incoming.count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        self.send_message(src, &mut Vec::new(), None)
    }

    fn poll(&self) -> Events {
        match &*self.role.lock() {
            Role::Fresh => Events::OUT | Events::WRNORM | Events::WRBAND | Events::HUP,
            Role::Listening(listener) => listener.poll(),
            Role::Connected(end) => end.poll(),
            Role::Datagram {
                inbox,
                peer,
                shutdown,
            } => datagram::poll(inbox, peer.as_ref(), *shutdown),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Sockets, self.inode))
    }

    fn ioctl(&self, _: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let unread = match &*self.role.lock() {
            Role::Fresh => 0,
            Role::Listening(_) => return Err(Errno::EINVAL),
            Role::Connected(end) => end.unread(),
            Role::Datagram { inbox, .. } => inbox.first_length(),
        };
        user_io::write_bytes(arg, &(unread as u32).to_le_bytes())?;
        Ok(0)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn release(&self) {
        drop(self.name.lock().take());
        let role = core::mem::replace(&mut *self.role.lock(), Role::Fresh);
        match role {
            Role::Fresh => {}
            Role::Listening(listener) => listener.close(),
            Role::Connected(end) => end.close(),
            Role::Datagram { inbox, .. } => inbox.close(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Socket for UnixSocket {
    fn kind(&self) -> u32 {
        self.kind
    }

    fn bind(&self, cx: &mut Cx<'_>, address: &[u8]) -> Result<(), Errno> {
        let address = Address::parse(address)?;
        let this = self.this.upgrade().ok_or(Errno::EINVAL)?;
        if self.name.lock().is_some() {
            return Err(Errno::EINVAL);
        }
        let name = Name::claim(cx, address, &this)?;
        let address = name.address().clone();
        let mut slot = self.name.lock();
        if slot.is_some() {
            return Err(Errno::EINVAL);
        }
        *slot = Some(name);
        drop(slot);
        match &*self.role.lock() {
            Role::Connected(end) => end.set_name(address),
            Role::Datagram { inbox, .. } => inbox.set_name(address),
            Role::Fresh | Role::Listening(_) => {}
        }
        Ok(())
    }

    fn connect(&self, cx: &mut Cx<'_>, address: &[u8], blocking: Blocking) -> Result<(), Errno> {
        if self.kind == SOCK_DGRAM {
            return self.connect_datagrams(cx, address);
        }
        let address = Address::parse(address)?;
        self.connect_stream(cx, &address, blocking)
    }

    fn listen(&self, cx: &mut Cx<'_>, backlog: usize) -> Result<(), Errno> {
        let Some(kind) = connection_kind(self.kind) else {
            return Err(Errno::EOPNOTSUPP);
        };
        let address = self.address();
        let mut role = self.role.lock();
        match &*role {
            Role::Fresh if address == Address::Unnamed => Err(Errno::EINVAL),
            Role::Fresh => {
                let who = Credentials::of(cx);
                *role = Role::Listening(Listener::new(kind, address, &self.queue, who, backlog));
                Ok(())
            }
            Role::Listening(listener) => {
                listener.set_limit(backlog);
                Ok(())
            }
            Role::Connected(_) | Role::Datagram { .. } => Err(Errno::EINVAL),
        }
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        let listener = match &*self.role.lock() {
            Role::Listening(listener) => Arc::clone(listener),
            Role::Datagram { .. } => return Err(Errno::EOPNOTSUPP),
            Role::Fresh | Role::Connected(_) => return Err(Errno::EINVAL),
        };
        let end = listener.accept()?;
        let peer = end.peer_name().to_bytes();
        let queue = end.own_queue();
        let name = Some(Name::inherited(listener.name().clone()));
        let socket = Self::with_role(self.kind, Role::Connected(end), queue, name);
        let name = format!("socket:[{}]", socket.inode);
        Ok(Accepted {
            file: socket,
            name,
            peer,
        })
    }

    fn local_address(&self) -> Result<Vec<u8>, Errno> {
        Ok(self.address().to_bytes())
    }

    fn peer_address(&self) -> Result<Vec<u8>, Errno> {
        match &*self.role.lock() {
            Role::Connected(end) => Ok(end.peer_name().to_bytes()),
            Role::Datagram {
                peer: Some(peer), ..
            } => Ok(peer.name().to_bytes()),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn send(
        &self,
        cx: &Cx<'_>,
        src: &mut dyn Source,
        message: &mut Outgoing,
    ) -> Result<usize, Errno> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut rights = InFlight::launch(cx, &message.rights)?;
        let sent = self.send_message(src, &mut rights, Some((cx, message.address.as_deref())));
        rights::bury(rights);
        if sent.is_ok() {
            // They went with the first bytes.
            rights::bury_open(core::mem::take(&mut message.rights));
        }
        sent
    }

    fn receive(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno> {
        if flags.contains(MsgFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let take = if flags.contains(MsgFlags::PEEK) {
            Take::Peek
        } else {
            Take::Remove
        };
        let (end, inbox) = match &*self.role.lock() {
            Role::Connected(end) => (Some(end.clone()), None),
            Role::Datagram {
                inbox, shutdown, ..
            } => (None, Some((Arc::clone(inbox), *shutdown))),
            Role::Fresh | Role::Listening(_) if self.kind == SOCK_STREAM => {
                return Err(Errno::EINVAL);
            }
            Role::Fresh | Role::Listening(_) => return Err(Errno::ENOTCONN),
        };
        let (received, address) = match (end, inbox) {
            (Some(end), _) => (end.receive(dst, take)?, None),
            (None, Some((inbox, shutdown))) => match inbox.receive(dst, take) {
                Err(Errno::EAGAIN) if shutdown.contains(Shutdown::RECEIVE) => {
                    return Ok(Incoming::default());
                }
                result => {
                    let datagram = result?;
                    let sender = match datagram.sender {
                        Address::Unnamed => None,
                        sender => Some(sender.to_bytes()),
                    };
                    (datagram.received, sender)
                }
            },
            (None, None) => return Err(Errno::ENOTCONN),
        };
        let mut result = MsgFlags::empty();
        let is_record = self.kind != SOCK_STREAM;
        result.set(
            MsgFlags::TRUNC,
            is_record && received.full_length > received.count,
        );
        let wants_length = is_record && flags.contains(MsgFlags::TRUNC);
        let count = if wants_length {
            received.full_length
        } else {
            received.count
        };
        let rights = InFlight::land(received.rights);
        Ok(Incoming {
            count,
            address,
            rights,
            control: Vec::new(),
            flags: result,
        })
    }

    fn shutdown(&self, how: i32) -> Result<(), Errno> {
        let how = match how {
            SHUT_RD => Shutdown::RECEIVE,
            SHUT_WR => Shutdown::SEND,
            _ => Shutdown::all(),
        };
        let listener = match &mut *self.role.lock() {
            Role::Fresh => None,
            Role::Listening(listener) => Some(Arc::clone(listener)),
            Role::Connected(end) => {
                end.shutdown(how);
                None
            }
            Role::Datagram { shutdown, .. } => {
                *shutdown |= how;
                None
            }
        };
        if let Some(listener) = listener.filter(|_| how.contains(Shutdown::RECEIVE)) {
            listener.close();
        }
        self.queue.notify(Events::all());
        Ok(())
    }

    fn get_option(&self, _: &Cx<'_>, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        let int = |value: u32| Ok(value.to_le_bytes().to_vec());
        match name {
            so::TYPE => int(self.kind),
            so::DOMAIN => int(u32::from(AF_UNIX)),
            so::PROTOCOL => int(0),
            so::ERROR => int(self.take_error().map_or(0, |e| u32::from(e.number()))),
            so::ACCEPTCONN => int(u32::from(matches!(&*self.role.lock(), Role::Listening(_)))),
            so::PASSCRED => int(0),
            so::PEERCRED => {
                let peer = match &*self.role.lock() {
                    Role::Connected(end) => end.peer_credentials(),
                    Role::Listening(listener) => listener.credentials(),
                    Role::Fresh | Role::Datagram { .. } => Credentials::NONE,
                };
                Ok(peer.to_bytes())
            }
            name => self.options.get(name).ok_or(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, _: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        self.options
            .set(name, value)
            .unwrap_or(Err(Errno::ENOPROTOOPT))?;
        if name == so::SNDBUF
            && let Some(end) = self.link()
        {
            end.set_send_limit(self.options.send_buffer());
        }
        Ok(())
    }

    fn timeout(&self, direction: Direction) -> Option<Nanos> {
        self.options.timeout(direction)
    }
}

impl UnixSocket {
    /// Sends to the peer, or to `to`'s address; rights that went along are taken out of `rights`.
    fn send_message(
        &self,
        src: &mut dyn Source,
        rights: &mut Vec<InFlight>,
        to: Option<(&Cx<'_>, Option<&[u8]>)>,
    ) -> Result<usize, Errno> {
        let address = to.and_then(|(cx, address)| Some((cx, address?)));
        if self.kind == SOCK_DGRAM {
            return self.send_datagram(src, rights, address);
        }
        match (self.link(), address) {
            (Some(_), Some(_)) if self.kind == SOCK_STREAM => Err(Errno::EISCONN),
            (None, Some(_)) if self.kind == SOCK_STREAM => Err(Errno::EOPNOTSUPP),
            (Some(end), _) => end.send(src, rights),
            (None, _) => Err(Errno::ENOTCONN),
        }
    }
}
