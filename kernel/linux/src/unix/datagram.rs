//! Datagram sockets.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use tyn_abi::socket::SOCK_DGRAM;
use tyn_abi::{Errno, Events, Sink, Source};
use tyn_hal::sync::SpinLock;
use tyn_io::unix::{Address, Credentials, Datagram, Inbox, Shutdown, Take};

use super::rights::{self, InFlight};
use super::{Role, UnixSocket, names};
use crate::cx::Cx;
use crate::wait::{Observer, RegistrationId, WaitQueue};

/// The receiving half of a datagram socket, which its senders hold.
pub(super) struct DatagramBox {
    inbox: SpinLock<Inbox<InFlight>>,
    name: SpinLock<Address>,
    /// The box that its socket is connected to.
    peer: SpinLock<Option<Weak<DatagramBox>>>,
    /// The socket's queue.
    queue: Arc<WaitQueue>,
    /// Notified when there is room again, for senders.
    room: WaitQueue,
    /// The boxes whose `room` this one's socket hears of.
    awaited: SpinLock<Vec<(Weak<DatagramBox>, RegistrationId)>>,
}

/// Tells a sender's queue that there is room at the receiver.
struct Forward(Weak<WaitQueue>);

impl Observer for Forward {
    fn notify(&self, _: Events) {
        if let Some(queue) = self.0.upgrade() {
            queue.notify(Events::OUT | Events::WRNORM | Events::WRBAND);
        }
    }
}

impl DatagramBox {
    /// Makes the box of the socket with this queue.
    pub(super) fn new(queue: &Arc<WaitQueue>) -> Arc<Self> {
        Arc::new(Self {
            inbox: SpinLock::new(Inbox::new()),
            name: SpinLock::new(Address::Unnamed),
            peer: SpinLock::new(None),
            queue: Arc::clone(queue),
            room: WaitQueue::new(),
            awaited: SpinLock::new(Vec::new()),
        })
    }

    /// Sets the socket's name.
    pub(super) fn set_name(&self, name: Address) {
        *self.name.lock() = name;
    }

    /// Returns the socket's name.
    pub(super) fn name(&self) -> Address {
        self.name.lock().clone()
    }

    /// Returns the length of the first datagram.
    pub(super) fn first_length(&self) -> usize {
        self.inbox.lock().first_length()
    }

    /// Returns what the waiting messages cost; 0 if somebody else is looking at them.
    pub(super) fn waiting(&self) -> usize {
        self.inbox.try_lock().map_or(0, |inbox| inbox.cost())
    }

    /// Returns whether this box's socket is connected to `other`.
    fn is_connected_to(&self, other: &Arc<Self>) -> bool {
        self.peer
            .lock()
            .as_ref()
            .is_some_and(|p| core::ptr::eq(p.as_ptr(), Arc::as_ptr(other)))
    }

    /// Receives.
    pub(super) fn receive(
        &self,
        dst: &mut dyn Sink,
        take: Take,
    ) -> Result<Datagram<InFlight>, Errno> {
        let (datagram, has_room) = self.inbox.lock().receive(dst, take)?;
        if has_room {
            self.room.notify(Events::OUT);
        }
        Ok(datagram)
    }

    /// Visits the rights that wait.
    pub(super) fn visit_rights(&self, visit: &mut dyn FnMut(&InFlight)) {
        self.inbox.lock().rights().for_each(visit);
    }

    /// Takes the rights that wait away.
    pub(super) fn take_rights(&self) -> Vec<InFlight> {
        self.inbox.lock().take_rights()
    }

    /// Makes this box's socket hear when `receiver` has room again.
    fn await_room(&self, receiver: &Arc<Self>) {
        let mut awaited = self.awaited.lock();
        awaited.retain(|(weak, _)| weak.strong_count() > 0);
        let known = awaited
            .iter()
            .any(|(w, _)| core::ptr::eq(w.as_ptr(), Arc::as_ptr(receiver)));
        if !known {
            let forward = Arc::new(Forward(Arc::downgrade(&self.queue)));
            let id = receiver.room.register(forward, Events::OUT);
            awaited.push((Arc::downgrade(receiver), id));
        }
    }

    /// Refuses further datagrams.
    pub(super) fn shut(&self) {
        self.inbox.lock().shut();
        self.room.notify(Events::all());
    }

    /// Refuses further datagrams and drops those that wait.
    pub(super) fn close(&self) {
        let unreceived = self.inbox.lock().close();
        self.room.notify(Events::all());
        for (receiver, id) in core::mem::take(&mut *self.awaited.lock()) {
            if let Some(receiver) = receiver.upgrade() {
                receiver.room.unregister(id);
            }
        }
        rights::bury(unreceived);
    }
}

/// Returns what a datagram socket is ready for.
pub(super) fn poll(
    inbox: &Arc<DatagramBox>,
    peer: Option<&Arc<DatagramBox>>,
    shutdown: Shutdown,
) -> Events {
    let ended = shutdown.contains(Shutdown::RECEIVE);
    let mut events = Events::empty();
    events.set(Events::HUP, shutdown.is_all());
    events.set(Events::RDHUP, ended);
    events.set(
        Events::IN | Events::RDNORM,
        ended || !inbox.inbox.lock().is_empty(),
    );
    let is_full = |peer: &Arc<DatagramBox>| {
        let is_peer = peer.is_connected_to(inbox);
        peer.inbox.lock().is_full(is_peer)
    };
    let can_send = peer.is_none_or(|peer| {
        !is_full(peer) || {
            inbox.await_room(peer);
            !is_full(peer)
        }
    });
    events.set(Events::OUT | Events::WRNORM | Events::WRBAND, can_send);
    events
}

/// Connects two datagram sockets to each other.
pub(super) fn connect_pair(a: &UnixSocket, b: &UnixSocket) {
    let (mut role_a, mut role_b) = (a.role.lock(), b.role.lock());
    if let (
        Role::Datagram {
            inbox: box_a,
            peer: peer_a,
            ..
        },
        Role::Datagram {
            inbox: box_b,
            peer: peer_b,
            ..
        },
    ) = (&mut *role_a, &mut *role_b)
    {
        *box_a.peer.lock() = Some(Arc::downgrade(box_b));
        *box_b.peer.lock() = Some(Arc::downgrade(box_a));
        *peer_a = Some(Arc::clone(box_b));
        *peer_b = Some(Arc::clone(box_a));
    }
}

/// Returns the box of the datagram socket at `address`.
fn find_box(cx: &Cx<'_>, address: &Address) -> Result<Arc<DatagramBox>, Errno> {
    let target = names::find(cx, SOCK_DGRAM, address)?;
    match &*target.role.lock() {
        Role::Datagram { inbox, .. } => Ok(Arc::clone(inbox)),
        _ => Err(Errno::EPROTOTYPE),
    }
}

impl UnixSocket {
    /// Sets or (with `AF_UNSPEC`) forgets the destination.
    pub(super) fn connect_datagrams(&self, cx: &Cx<'_>, address: &[u8]) -> Result<(), Errno> {
        let target = match address {
            [0, 0, ..] => None,
            address => {
                self.name_if_asked(cx)?;
                Some(find_box(cx, &Address::parse(address)?)?)
            }
        };
        let mut role = self.role.lock();
        let Role::Datagram { inbox, peer, .. } = &mut *role else {
            return Err(Errno::EINVAL);
        };
        // A socket that is connected to another one can be sent to by that one only.
        if let Some(target) = &target
            && target.peer.lock().is_some()
            && !target.is_connected_to(inbox)
        {
            return Err(Errno::EPERM);
        }
        *inbox.peer.lock() = target.as_ref().map(Arc::downgrade);
        let former = core::mem::replace(peer, target);
        drop(role);
        drop(former);
        self.queue.notify(Events::OUT);
        Ok(())
    }

    /// Sends to `to`, or to the destination of `connect`.
    pub(super) fn send_datagram(
        &self,
        src: &mut dyn Source,
        rights: &mut Vec<InFlight>,
        who: Credentials,
        to: Option<(&Cx<'_>, &[u8])>,
    ) -> Result<usize, Errno> {
        let named = match to {
            Some((cx, address)) => Some(find_box(cx, &Address::parse(address)?)?),
            None => None,
        };
        let (ours, connected) = match &*self.role.lock() {
            Role::Datagram { shutdown, .. } if shutdown.contains(Shutdown::SEND) => {
                return Err(Errno::EPIPE);
            }
            Role::Datagram { inbox, peer, .. } => (Arc::clone(inbox), peer.clone()),
            _ => return Err(Errno::EINVAL),
        };
        let target = named.or(connected).ok_or(Errno::ENOTCONN)?;
        let is_peer = target.is_connected_to(&ours);
        if !is_peer && target.peer.lock().is_some() {
            return Err(Errno::EPERM);
        }
        let mut send = || {
            let mut inbox = target.inbox.lock();
            inbox.set_writer(who);
            inbox.send(src, rights, ours.name(), is_peer)
        };
        let sent = match send() {
            Err(Errno::EAGAIN) => {
                ours.await_room(&target);
                send()
            }
            sent => sent,
        };
        if sent.is_ok() {
            target.queue.notify(Events::IN | Events::RDNORM);
        }
        sent
    }
}
