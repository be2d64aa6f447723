//! Local sockets as files (`unix(7)`): streams, sequenced packets and datagrams, in the file system and the abstract
//! namespace, with descriptor passing.
//!
//! # Locks
//! A socket's `role` comes before the lock of the [`Link`], listener or datagram box that it names, and those before wait
//! queues. [`rights::FLIGHTS`] comes before all of them. Open files that are dropped with a message are closed by
//! [`rights::bury`], outside all locks.

mod datagram;
mod garbage;
mod names;
mod rights;
mod socket;
mod stream;

use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::AtomicBool;

use tyn_abi::socket::{AF_UNIX, MsgFlags, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};
use tyn_abi::{Errno, Events, Sink, Source, UserVa};
use tyn_fs::net_text::LocalLine;
use tyn_hal::sync::SpinLock;
use tyn_io::unix::{Address, ConnectionKind, Credentials, Shutdown};

use self::datagram::DatagramBox;
use self::names::Name;
use self::rights::InFlight;
use self::stream::{Link, LinkEnd, Listener};
use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, OpenFile, flags};
use crate::net::interface_ioctl;
use crate::pipe::FIONREAD;
use crate::sched;
use crate::socket::Socket;
use crate::socket_options::Options;
use crate::user_io;
use crate::wait::WaitQueue;

/// Returns who is running.
fn running() -> Credentials {
    Credentials {
        pid: sched::current().map_or(0, |thread| thread.process().pid.0),
        ..Credentials::default()
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
    /// `SO_PASSCRED`: it hears who sent what it receives.
    passes_credentials: AtomicBool,
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
    kind: u32,
    protocol: u32,
    status: u32,
) -> Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
    let kind = check_kind(kind, protocol)?;
    let (a, b) = (UnixSocket::new(kind), UnixSocket::new(kind));
    match connection_kind(kind) {
        Some(connection_kind) => {
            let who = running();
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
            passes_credentials: AtomicBool::new(false),
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

    /// Returns what `/proc/net/unix` tells.
    pub(crate) fn facts(&self) -> LocalLine {
        let is = match &*self.role.lock() {
            Role::Listening(_) => (true, false),
            Role::Connected(_) => (false, true),
            Role::Datagram { peer, .. } => (false, peer.is_some()),
            Role::Fresh => (false, false),
        };
        let shown = |prefix: &str, name: &[u8]| {
            let name: Vec<u8> = name
                .iter()
                .map(|&b| if b == 0 { b'@' } else { b })
                .collect();
            String::from(prefix) + &String::from_utf8_lossy(&name)
        };
        LocalLine {
            is,
            kind: self.kind,
            inode: self.inode,
            name: match self.address() {
                Address::Unnamed => None,
                Address::Path(path) => Some(shown("", &path)),
                Address::Abstract(name) => Some(shown("@", &name)),
            },
        }
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
        self.send_message(src, &mut Vec::new(), running(), None)
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

    fn kernel_bytes(&self) -> usize {
        let waiting = match self.role.try_lock().as_deref() {
            Some(Role::Connected(end)) => end.waiting(),
            Some(Role::Datagram { inbox, .. }) => inbox.waiting(),
            _ => 0,
        };
        1024 + waiting
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Sockets, self.inode))
    }

    fn ioctl(&self, _: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        if request != FIONREAD {
            return interface_ioctl::ioctl(false, request, arg).unwrap_or(Err(Errno::ENOTTY));
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
        rights::socket_closed();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl UnixSocket {
    /// Visits the rights that can be received from it, now or after `accept(2)`.
    fn visit_rights(&self, visit: &mut dyn FnMut(&InFlight)) {
        match &*self.role.lock() {
            Role::Fresh => {}
            Role::Listening(listener) => listener.visit_rights(visit),
            Role::Connected(end) => end.visit_rights(visit),
            Role::Datagram { inbox, .. } => inbox.visit_rights(visit),
        }
    }

    /// Takes the rights that can be received from it away.
    fn take_rights(&self) -> Vec<InFlight> {
        match &*self.role.lock() {
            Role::Fresh => Vec::new(),
            Role::Listening(listener) => listener.take_rights(),
            Role::Connected(end) => end.take_rights(),
            Role::Datagram { inbox, .. } => inbox.take_rights(),
        }
    }

    /// Sends to the peer, or to `to`'s address; rights that went along are taken out of `rights`.
    fn send_message(
        &self,
        src: &mut dyn Source,
        rights: &mut Vec<InFlight>,
        who: Credentials,
        to: Option<(&Cx<'_>, Option<&[u8]>)>,
    ) -> Result<usize, Errno> {
        let address = to.and_then(|(cx, address)| Some((cx, address?)));
        if self.kind == SOCK_DGRAM {
            return self.send_datagram(src, rights, who, address);
        }
        match (self.link(), address) {
            (Some(_), Some(_)) if self.kind == SOCK_STREAM => Err(Errno::EISCONN),
            (None, Some(_)) if self.kind == SOCK_STREAM => Err(Errno::EOPNOTSUPP),
            (Some(end), _) => end.send(src, rights, who),
            (None, _) => Err(Errno::ENOTCONN),
        }
    }
}
