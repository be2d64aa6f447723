//! The node at the other end: a connection of Erlang's distribution, and calls of its functions.
//!
//! Who runs when: one thread receives, one says every now and then that we are there, any may send and call. A call waits for the
//! receiving thread to see its answer.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::mpsc::{self, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use eetf::{Atom, Pid, Reference, Term};
use erl_dist::epmd::EpmdClient;
use erl_dist::handshake::{ClientSideHandshake, HandshakeError, HandshakeStatus};
use erl_dist::message::{self, Message};
use erl_dist::node::{Creation, LocalNode, NodeName};
use erl_dist::term::PidOrAtom;
use erl_dist::{DistributionFlags, LOWEST_DISTRIBUTION_PROTOCOL_VERSION};
use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncWrite};

use crate::frames::Frames;
use crate::term::{atom, elements, list, tuple};

/// How long a node may take to answer when we introduce ourselves.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Nodes take others for dead that say nothing for a minute (`net_ticktime`).
const TICK: Duration = Duration::from_secs(15);

/// Where a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The port of this machine that leads to it.
    pub port: u16,
    /// Its cookie.
    pub cookie: String,
}

/// Why a node can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Nobody is there.
    #[error("nobody answers on the port of Erlang's distribution")]
    NoAnswer,
    /// It refuses us.
    #[error("the node refuses us: it has another cookie")]
    Cookie,
    /// Something else went wrong when we introduced ourselves.
    #[error("the node can't be talked to: {0}")]
    Handshake(String),
    /// The connection is lost.
    #[error("the connection to the node is closed")]
    Closed,
    /// Ours, or signals.
    #[error("the terminal can't be used: {0}")]
    Terminal(String),
    /// A function failed there.
    #[error("{0} failed there: {1}")]
    Failed(&'static str, String),
}

/// Asks epmd behind a port of this machine for the port of the node called so (without its host).
///
/// # Errors
/// When it doesn't answer; `None` when it doesn't know the node.
pub fn port_of(name: &str, epmd: u16) -> Result<Option<u16>, PeerError> {
    let stream = Stream::connect(epmd)?;
    let entry = block_on(EpmdClient::new(stream).get_node(name));
    match entry {
        Ok(entry) => Ok(entry.map(|entry| entry.port)),
        Err(_) => Err(PeerError::NoAnswer),
    }
}

/// A connection that blocks; what awaits it never has to wait.
#[derive(Clone, Debug)]
struct Stream {
    tcp: Arc<TcpStream>,
    /// Once we are introduced: what comes are messages.
    frames: Option<Frames>,
}

impl Stream {
    fn connect(port: u16) -> Result<Self, PeerError> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = stream.map_err(|_| PeerError::NoAnswer)?;
        // Errors: no limit then, and packets a little later.
        let _ = stream.set_read_timeout(Some(ANSWER_LIMIT));
        let _ = stream.set_nodelay(true);
        Ok(Self {
            tcp: Arc::new(stream),
            frames: None,
        })
    }
}

/// Does it again when a signal comes between, which a time limit makes an error: signals are another thread's.
fn uninterrupted(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let tcp = Arc::clone(&self.tcp);
        Poll::Ready(match &mut self.frames {
            Some(frames) => uninterrupted(|| frames.read(&*tcp, bytes)),
            None => uninterrupted(|| (&*tcp).read(bytes)),
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(uninterrupted(|| (&*self.tcp).write(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready((&*self.tcp).flush())
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.tcp.shutdown(Shutdown::Write))
    }
}

/// What comes from a node, but for answers of calls.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message to our process.
    Message(Term),
    /// The process that we look after has ended.
    Down,
    /// The connection is closed.
    Closed,
}

/// A node that we are connected to.
#[derive(Debug)]
pub(crate) struct Peer {
    sender: Mutex<message::Sender<Stream>>,
    stream: Stream,
    /// Our only process.
    pid: Pid,
    calls: Mutex<Calls>,
}

/// Calls that wait for their answers.
#[derive(Debug, Default)]
struct Calls {
    last: u32,
    waiting: HashMap<u32, SyncSender<Term>>,
    is_closed: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// Connects to the node at `address`; what comes from it goes to `incoming`.
    ///
    /// # Errors
    /// Why it can't be talked to.
    pub(crate) fn connect(
        address: &Address,
        incoming: impl Fn(Incoming) + Send + 'static,
    ) -> Result<Arc<Self>, PeerError> {
        let stream = Stream::connect(address.port)?;
        let name = NodeName::new(&format!("tyn-{}", std::process::id()), "127.0.0.1");
        let name = name.map_err(|error| PeerError::Handshake(error.to_string()))?;
        // Without `PUBLISHED` we are hidden: other nodes don't connect to us, and `nodes()` does not list us.
        let local = LocalNode {
            name: name.clone(),
            // With `UNICODE_IO` requests are those of today, with their encodings.
            flags: DistributionFlags::mandatory()
                | DistributionFlags::ALIAS
                | DistributionFlags::UNICODE_IO,
            creation: Creation::random(),
        };
        let creation = local.creation.get();
        block_on(introduce(stream.clone(), local, &address.cookie))?;
        let _ = stream.tcp.set_read_timeout(None);
        let messages = Stream {
            frames: Some(Frames::default()),
            ..stream.clone()
        };
        let (sender, receiver) = message::channel(messages, DistributionFlags::mandatory());
        let peer = Arc::new(Self {
            sender: Mutex::new(sender),
            stream,
            pid: Pid::new(name.to_string(), 1, 0, creation),
            calls: Mutex::default(),
        });
        let (receiving, ticking) = (Arc::clone(&peer), Arc::downgrade(&peer));
        thread::spawn(move || receiving.receive(receiver, &incoming));
        thread::spawn(move || {
            loop {
                thread::sleep(TICK);
                match ticking.upgrade() {
                    Some(peer) if peer.send(Message::Tick).is_ok() => {}
                    _ => return,
                }
            }
        });
        Ok(peer)
    }

    fn receive(&self, mut receiver: message::Receiver<Stream>, incoming: &dyn Fn(Incoming)) {
        while let Ok(message) = block_on(receiver.recv()) {
            match message {
                Message::Send(m) => self.deliver(m.message, incoming),
                Message::SendSender(m) => self.deliver(m.message, incoming),
                Message::MonitorPExit(_) | Message::PayloadMonitorPExit(_) => {
                    incoming(Incoming::Down);
                }
                // Signals that say nothing to us: we link to nobody and have no name.
                _ => {}
            }
        }
        let mut calls = locked(&self.calls);
        calls.is_closed = true;
        calls.waiting.clear();
        drop(calls);
        incoming(Incoming::Closed);
    }

    /// Gives an answer to who waits for it, and everything else to us.
    fn deliver(&self, message: Term, incoming: &dyn Fn(Incoming)) {
        if let Some([Term::Reference(reference), answer]) = elements(&message)
            && let Some(id) = reference.id.first()
        {
            if let Some(caller) = locked(&self.calls).waiting.remove(id) {
                // It waits.
                let _ = caller.try_send(answer.clone());
            }
            return;
        }
        incoming(Incoming::Message(message));
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) fn send(&self, message: Message) -> Result<(), PeerError> {
        block_on(locked(&self.sender).send(message)).map_err(|_| PeerError::Closed)
    }

    /// Sends a message to a process, given by its identifier or an alias.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) fn tell(&self, to: &Term, message: Term) -> Result<(), PeerError> {
        match to.clone() {
            Term::Pid(pid) => self.send(Message::send(pid, message)),
            Term::Reference(alias) => {
                self.send(Message::alias_send(self.pid.clone(), *alias, message))
            }
            _ => Ok(()),
        }
    }

    /// Learns of a process's end ([`Incoming::Down`]).
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) fn monitor(&self, pid: &Pid) -> Result<(), PeerError> {
        let (reference, _) = self.reference(None);
        let to = PidOrAtom::Pid(pid.clone());
        self.send(Message::monitor_p(self.pid.clone(), to, reference))
    }

    /// Does `exit(Pid, interrupt)`.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(crate) fn interrupt(&self, pid: &Pid) -> Result<(), PeerError> {
        let reason = atom("interrupt");
        self.send(Message::exit2(self.pid.clone(), pid.clone(), reason))
    }

    /// Calls a function there, with us as group leader, as `rpc:call/4` does.
    ///
    /// # Errors
    /// When the connection is closed; what the function makes of its arguments is returned, be it `{badrpc, _}`.
    pub(crate) fn call(
        &self,
        module: Term,
        function: Term,
        args: Vec<Term>,
    ) -> Result<Term, PeerError> {
        let (answer, answered) = sync_channel(1);
        let (reference, is_closed) = self.reference(Some(answer));
        if is_closed {
            return Err(PeerError::Closed);
        }
        let us: Term = self.pid.clone().into();
        let call = [atom("call"), module, function, list(args), us.clone()];
        let from = tuple(vec![us, reference.into()]);
        let request = tuple(vec![atom("$gen_call"), from, tuple(call)]);
        let rex = Atom::from("rex");
        self.send(Message::reg_send(self.pid.clone(), rex, request))?;
        answered.recv().map_err(|mpsc::RecvError| PeerError::Closed)
    }

    /// Makes a reference, of a call whose answer `answer` gets.
    fn reference(&self, answer: Option<SyncSender<Term>>) -> (Reference, bool) {
        let mut calls = locked(&self.calls);
        calls.last = calls.last.wrapping_add(1);
        let id = calls.last;
        if let (Some(answer), false) = (answer, calls.is_closed) {
            calls.waiting.insert(id, answer);
        }
        let reference = Reference {
            node: self.pid.node.clone(),
            id: vec![id, 0, 0],
            creation: self.pid.creation,
        };
        (reference, calls.is_closed)
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        // An error: it is closed.
        let _ = self.stream.tcp.shutdown(Shutdown::Both);
    }
}

/// Introduces us to the node ("Distribution Handshake" in ERTS's user's guide).
async fn introduce(stream: Stream, local: LocalNode, cookie: &str) -> Result<(), PeerError> {
    let mut handshake = ClientSideHandshake::new(stream, local, cookie);
    let failed = |error: HandshakeError| PeerError::Handshake(error.to_string());
    let status = handshake.execute_send_name(LOWEST_DISTRIBUTION_PROTOCOL_VERSION);
    let status = status.await.map_err(|error| match error {
        HandshakeError::Io(_) => PeerError::NoAnswer,
        other => failed(other),
    })?;
    if status == HandshakeStatus::NotAllowed {
        return Err(PeerError::Handshake("it allows others only".into()));
    }
    // A node hangs up on those whose cookie is another.
    let rest = handshake.execute_rest(true).await;
    rest.map(drop).map_err(|error| match error {
        HandshakeError::Io(_) | HandshakeError::CookieMismatch => PeerError::Cookie,
        other => failed(other),
    })
}
