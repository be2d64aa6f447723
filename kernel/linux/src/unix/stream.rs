//! Connected sockets and listeners.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Events, Sink, Source};
use tyn_hal::sync::SpinLock;
use tyn_io::unix::{
    Address, Backlog, Connection, ConnectionKind, Credentials, Received, Shutdown, Side, Take,
};

use super::rights::{self, InFlight};
use super::{Role, UnixSocket, connection_kind, names, running};
use crate::cx::Cx;
use crate::socket::{Blocking, Direction, Socket};
use crate::wait::{Interrupted, WaitQueue};

/// A value for each side of a connection.
#[derive(Debug)]
struct Both<T> {
    a: T,
    b: T,
}

impl<T> Both<T> {
    const fn of(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }
}

/// A connection and what belongs to its sides.
#[derive(Debug)]
pub(super) struct Link {
    connection: SpinLock<Connection<InFlight>>,
    queues: Both<Arc<WaitQueue>>,
    names: Both<SpinLock<Address>>,
    credentials: Both<Credentials>,
}

/// One side of a connection.
#[derive(Clone, Debug)]
pub(super) struct LinkEnd {
    link: Arc<Link>,
    side: Side,
}

impl Link {
    /// Connects two unnamed sockets that have these wait queues.
    pub(super) fn pair(
        kind: ConnectionKind,
        [a, b]: [&Arc<WaitQueue>; 2],
        [who_a, who_b]: [Credentials; 2],
    ) -> (LinkEnd, LinkEnd) {
        let name = || SpinLock::new(Address::Unnamed);
        let link = Arc::new(Self {
            connection: SpinLock::new(Connection::new(kind)),
            queues: Both {
                a: Arc::clone(a),
                b: Arc::clone(b),
            },
            names: Both {
                a: name(),
                b: name(),
            },
            credentials: Both { a: who_a, b: who_b },
        });
        let other = Arc::clone(&link);
        (
            LinkEnd {
                link,
                side: Side::A,
            },
            LinkEnd {
                link: other,
                side: Side::B,
            },
        )
    }
}

impl LinkEnd {
    fn notify_peer(&self, events: Events) {
        self.link.queues.of(self.side.other()).notify(events);
    }

    /// Returns the wait queue of this side.
    pub(super) fn own_queue(&self) -> Arc<WaitQueue> {
        Arc::clone(self.link.queues.of(self.side))
    }

    /// Sets this side's name.
    pub(super) fn set_name(&self, name: Address) {
        *self.link.names.of(self.side).lock() = name;
    }

    /// Returns the peer's name.
    pub(super) fn peer_name(&self) -> Address {
        self.link.names.of(self.side.other()).lock().clone()
    }

    /// Returns who the peer is.
    pub(super) fn peer_credentials(&self) -> Credentials {
        *self.link.credentials.of(self.side.other())
    }

    /// Sets how much may wait for the peer.
    pub(super) fn set_send_limit(&self, limit: usize) {
        self.link.connection.lock().set_send_limit(self.side, limit);
    }

    /// Sends for `who`; rights that went along are taken out of `rights`.
    pub(super) fn send(
        &self,
        src: &mut dyn Source,
        rights: &mut Vec<InFlight>,
        who: Credentials,
    ) -> Result<usize, Errno> {
        let mut connection = self.link.connection.lock();
        connection.set_writer(self.side, who);
        let sent = connection.send(self.side, src, rights);
        drop(connection);
        let sent = sent?;
        self.notify_peer(Events::IN | Events::RDNORM);
        Ok(sent)
    }

    /// Receives, what others have sent apart if `is_apart`.
    pub(super) fn receive(
        &self,
        dst: &mut dyn Sink,
        take: Take,
        is_apart: bool,
    ) -> Result<Received<InFlight>, Errno> {
        let mut connection = self.link.connection.lock();
        connection.set_apart(self.side, is_apart);
        let received = connection.receive(self.side, dst, take);
        drop(connection);
        let (received, peer_can_send) = received?;
        if peer_can_send {
            self.notify_peer(Events::OUT | Events::WRNORM | Events::WRBAND);
        }
        Ok(received)
    }

    /// Shuts down halves.
    pub(super) fn shutdown(&self, how: Shutdown) {
        self.link.connection.lock().shutdown(self.side, how);
        self.notify_peer(Events::all());
    }

    /// Closes this side.
    pub(super) fn close(&self) {
        let unreceived = self.link.connection.lock().close(self.side);
        self.notify_peer(Events::all());
        rights::bury(unreceived);
    }

    /// Closes this side, which was never accepted.
    fn abort(&self) {
        let unreceived = self.link.connection.lock().abort();
        self.notify_peer(Events::all());
        rights::bury(unreceived);
    }

    /// Visits the rights that wait for this side.
    pub(super) fn visit_rights(&self, visit: &mut dyn FnMut(&InFlight)) {
        self.link
            .connection
            .lock()
            .rights(self.side)
            .for_each(visit);
    }

    /// Takes the rights that wait for this side away.
    pub(super) fn take_rights(&self) -> Vec<InFlight> {
        self.link.connection.lock().take_rights(self.side)
    }

    /// Returns and clears the pending error.
    pub(super) fn take_error(&self) -> Option<Errno> {
        self.link.connection.lock().take_error(self.side)
    }

    /// Returns how many bytes wait.
    pub(super) fn unread(&self) -> usize {
        self.link.connection.lock().unread(self.side)
    }

    /// Returns what the waiting messages cost; 0 if somebody else is looking at them.
    pub(super) fn waiting(&self) -> usize {
        let connection = self.link.connection.try_lock();
        connection.map_or(0, |connection| connection.cost(self.side))
    }

    /// Returns what this side is ready for.
    pub(super) fn poll(&self) -> Events {
        self.link.connection.lock().poll(self.side)
    }
}

/// A listening socket.
pub(super) struct Listener {
    kind: ConnectionKind,
    backlog: SpinLock<Backlog<LinkEnd>>,
    name: Address,
    /// The listening socket's queue.
    queue: Arc<WaitQueue>,
    /// Notified when there is room again, for those who connect.
    room: WaitQueue,
    credentials: Credentials,
}

impl Listener {
    /// Makes a listener for the socket with this name and queue.
    pub(super) fn new(
        kind: ConnectionKind,
        name: Address,
        queue: &Arc<WaitQueue>,
        credentials: Credentials,
        backlog: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            kind,
            backlog: SpinLock::new(Backlog::new(backlog)),
            name,
            queue: Arc::clone(queue),
            room: WaitQueue::new(),
            credentials,
        })
    }

    /// Returns its name, which accepted sockets share.
    pub(super) const fn name(&self) -> &Address {
        &self.name
    }

    /// Returns who listens.
    pub(super) const fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// Changes the backlog.
    pub(super) fn set_limit(&self, limit: usize) {
        if self.backlog.lock().set_limit(limit) {
            self.room.notify(Events::OUT);
        }
    }

    /// Puts a connection into the queue and returns the connecting side.
    fn connect(
        &self,
        queue: &Arc<WaitQueue>,
        name: &Address,
        who: Credentials,
    ) -> Result<LinkEnd, Errno> {
        let mut ours = None;
        self.backlog.lock().connect(|| {
            let accepted_queue = Arc::new(WaitQueue::new());
            let (a, b) = Link::pair(self.kind, [queue, &accepted_queue], [who, self.credentials]);
            a.set_name(name.clone());
            b.set_name(self.name.clone());
            ours = Some(a);
            b
        })?;
        self.queue.notify(Events::IN | Events::RDNORM);
        ours.ok_or(Errno::ECONNREFUSED)
    }

    /// Takes the oldest connection from the queue.
    pub(super) fn accept(&self) -> Result<LinkEnd, Errno> {
        let (end, was_full) = self.backlog.lock().accept()?;
        if was_full {
            self.room.notify(Events::OUT);
        }
        Ok(end)
    }

    /// Returns what the listening socket is ready for.
    pub(super) fn poll(&self) -> Events {
        self.backlog.lock().poll()
    }

    /// Shuts halves down.
    pub(super) fn shut(&self, how: Shutdown) {
        self.backlog.lock().shut(how);
        self.room.notify(Events::all());
    }

    /// Visits the rights that wait for connections which were not accepted.
    pub(super) fn visit_rights(&self, visit: &mut dyn FnMut(&InFlight)) {
        for end in self.backlog.lock().waiting() {
            end.visit_rights(visit);
        }
    }

    /// Takes the rights that wait for connections which were not accepted away.
    pub(super) fn take_rights(&self) -> Vec<InFlight> {
        let backlog = self.backlog.lock();
        backlog.waiting().flat_map(LinkEnd::take_rights).collect()
    }

    /// Refuses all that wait and all that come.
    pub(super) fn close(&self) {
        let refused = self.backlog.lock().close();
        self.room.notify(Events::all());
        refused.iter().for_each(LinkEnd::abort);
    }
}

impl UnixSocket {
    /// Connects to the listening socket at `address`.
    pub(super) fn connect_stream(
        &self,
        cx: &mut Cx<'_>,
        address: &Address,
        blocking: Blocking,
    ) -> Result<(), Errno> {
        let target = names::find(cx, self.kind, address)?;
        if target.kind != self.kind || connection_kind(self.kind).is_none() {
            return Err(Errno::EPROTOTYPE);
        }
        let listener = match &*target.role.lock() {
            Role::Listening(listener) => Arc::clone(listener),
            _ => return Err(Errno::ECONNREFUSED),
        };
        self.name_if_asked(cx)?;
        let name = self.address();
        let who = running();
        let attempt = || {
            let mut role = self.role.lock();
            match &*role {
                Role::Fresh => {}
                Role::Connected(_) => return Err(Errno::EISCONN),
                Role::Listening(_) | Role::Datagram { .. } => return Err(Errno::EINVAL),
            }
            let end = listener.connect(&self.queue, &name, who)?;
            end.set_send_limit(self.options.send_buffer());
            *role = Role::Connected(end);
            Ok(())
        };
        let first = attempt();
        if first != Err(Errno::EAGAIN) || blocking == Blocking::No {
            return first;
        }
        let timeout = self.timeout(Direction::Send);
        let deadline = timeout.map(|t| tyn_hal::time::now() + t);
        let waited = cx.block_on(&[&listener.room], Events::OUT, deadline, || {
            Some(attempt()).filter(|r| *r != Err(Errno::EAGAIN))
        });
        match waited {
            Ok(result) => result,
            Err(Interrupted::TimedOut) => Err(Errno::EAGAIN),
            Err(Interrupted::Signal) if timeout.is_some() => Err(Errno::EINTR),
            Err(Interrupted::Signal) => Err(Errno::ERESTARTSYS),
        }
    }
}
