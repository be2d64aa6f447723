//! TCP sockets: what a program sees of a connection, over the engine of `tyn-tcp`.
//!
//! Half-open and TIME-WAIT connections are small records without buffers ([`listen`], [`time_wait`]); idle ones have no
//! queues ([`sleep`]).

pub(crate) mod bare;
mod calls;
mod close;
mod connect;
pub(crate) mod connection;
pub(crate) mod cookie;
pub(crate) mod info;
pub(crate) mod input;
mod inquire;
pub(crate) mod listen;
mod options;
pub(crate) mod paths;
mod seen;
pub(crate) mod settle;
pub(crate) mod sleep;
pub(crate) mod stream;
pub(crate) mod time_wait;
mod waiting;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use tyn_abi::{Errno, Events, Nanos};

use crate::errors::ErrorQueue;
use crate::ports::{Bound, Sharing, Use};
use crate::tcp::connection::Connection;
pub(crate) use crate::tcp::info::TcpLife;
use crate::tcp::listen::HalfOpen;
pub use crate::tcp::options::TcpOptions;
pub use crate::tcp::seen::Seen;
use crate::tcp::time_wait::TimeWaits;
use crate::types::{Path, SocketId, Tuple};

/// The states that a program can tell apart, as `TCP_INFO` numbers them (`include/net/tcp_states.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TcpStatus {
    /// ESTABLISHED.
    Established = 1,
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED.
    SynReceived,
    /// FIN-WAIT-1.
    FinWait1,
    /// FIN-WAIT-2.
    FinWait2,
    /// TIME-WAIT.
    TimeWait,
    /// CLOSED.
    Closed,
    /// CLOSE-WAIT.
    CloseWait,
    /// LAST-ACK.
    LastAck,
    /// LISTEN.
    Listen,
    /// CLOSING.
    Closing,
}

/// A socket that waits for connections.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Connections beyond this number are not taken in.
    pub(crate) backlog: usize,
    /// Established connections that were not accepted yet.
    pub(crate) queue: VecDeque<SocketId>,
    /// Requests that were acknowledged while the queue was full; some may be gone meanwhile.
    pub(crate) waiting: VecDeque<Tuple>,
}

impl Listener {
    /// Returns whether no further connection is taken in; as on Linux, one more than the backlog fits.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() > self.backlog
    }
}

/// What a socket is about.
pub(crate) enum TcpState {
    /// Neither connected nor listening.
    Idle,
    /// `listen(2)`.
    Listening(Box<Listener>),
    /// It has a connection, or is making one.
    Open(Box<Connection>),
    /// Its connection is over; this is what was not read yet. Its memory counts among that of the queues.
    Ended {
        /// Received bytes.
        unread: Vec<u8>,
        /// How many of them have been read.
        taken: usize,
        /// What there was to tell of it.
        info: Box<tyn_tcp::Info>,
    },
}

/// Whether a socket occupies its local port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PortUse {
    /// It has none.
    None,
    /// By `bind`, or by a port chosen for `connect` or `listen`.
    Bound,
    /// By a connection that was accepted.
    Held,
}

/// A TCP socket.
pub(crate) struct TcpSocket {
    pub(crate) options: TcpOptions,
    pub(crate) local: SocketAddr,
    /// The address of its family that stands for any one.
    pub(crate) any: IpAddr,
    pub(crate) port_use: PortUse,
    pub(crate) state: TcpState,
    pub(crate) error: Option<Errno>,
    pub(crate) errors: ErrorQueue,
    pub(crate) reported: Events,
    /// The program has closed it.
    pub(crate) is_orphan: bool,
    /// The peer sends no more (`SOCK_DONE` of Linux): what happens to the connection afterwards does not keep a program from
    /// reading to the end.
    pub(crate) is_done: bool,
    /// An attempt to connect has failed, and no `connect` has told so: nothing blocks until one does.
    pub(crate) has_failed: bool,
    /// `SHUT_RD`.
    pub(crate) is_read_shut: bool,
    /// `SHUT_WR`.
    pub(crate) is_write_shut: bool,
    pub(crate) seen: Seen,
}

impl TcpSocket {
    pub(crate) fn new(options: TcpOptions, any: IpAddr) -> Self {
        let mut socket = Self {
            options,
            local: SocketAddr::new(any, 0),
            any,
            port_use: PortUse::None,
            state: TcpState::Idle,
            error: None,
            errors: ErrorQueue::default(),
            reported: Events::empty(),
            is_orphan: false,
            is_done: false,
            has_failed: false,
            is_read_shut: false,
            is_write_shut: false,
            seen: Seen::default(),
        };
        socket.reported = socket.readiness();
        socket
    }

    /// Returns what it is bound to.
    pub(crate) fn bound(&self) -> Bound {
        Bound {
            ip: self.local.ip(),
            is_v6_only: self.options.is_v6_only,
            device: self.options.device,
        }
    }

    /// Returns how it uses the port of its connection when it is not bound.
    pub(crate) fn port_usage(&self) -> Use {
        Use {
            device: self.options.device,
            sharing: self.sharing(),
        }
    }

    pub(crate) fn sharing(&self) -> Sharing {
        Sharing {
            address: self.options.reuses_address,
            port: self.options.reuses_port,
        }
    }

    /// Returns how many bytes are worth to be told of (`SO_RCVLOWAT`), which is never more than the queue holds.
    pub(crate) fn low_water(&self) -> usize {
        let most = match &self.state {
            TcpState::Open(c) => c.tcp.receive_capacity(),
            _ => usize::MAX,
        };
        (self.options.low_water as usize).clamp(1, most.max(1))
    }

    /// Returns which events are true (`tcp_poll` of Linux).
    pub(crate) fn readiness(&self) -> Events {
        const WRITABLE: Events = Events::OUT.union(Events::WRNORM);
        let mut events = match &self.state {
            TcpState::Idle if self.has_failed => READABLE | WRITABLE | Events::HUP | Events::RDHUP,
            TcpState::Idle => WRITABLE | Events::HUP,
            TcpState::Listening(l) if l.queue.is_empty() => Events::empty(),
            TcpState::Listening(_) => READABLE,
            TcpState::Ended { .. } => READABLE | WRITABLE | Events::HUP | Events::RDHUP,
            TcpState::Open(c) if c.is_connecting() => Events::empty(),
            TcpState::Open(c) => {
                let mut e = Events::empty();
                let no_more = c.tcp.has_peer_finished() || self.is_read_shut;
                if no_more {
                    e |= READABLE | Events::RDHUP;
                }
                if c.tcp.readable() >= self.low_water() {
                    e |= READABLE;
                }
                if self.is_write_shut || c.is_closed() || c.is_writable() {
                    e |= WRITABLE;
                }
                if c.is_closed() || (no_more && self.is_write_shut) {
                    e |= Events::HUP;
                }
                e
            }
        };
        if self.error.is_some() || !self.errors.is_empty() {
            events |= Events::ERR;
        }
        events
    }
}

/// What a stream is ready for that has something to read.
pub(crate) const READABLE: Events = Events::IN.union(Events::RDNORM);

/// Where a socket listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    pub(crate) at: Bound,
    pub(crate) socket: SocketId,
    /// It began to listen as one of a group (`SO_REUSEPORT`).
    pub(crate) is_in_group: bool,
}

/// Everything that finds a TCP socket for a segment.
#[derive(Default)]
pub(crate) struct TcpTables {
    pub(crate) connections: BTreeMap<Tuple, SocketId>,
    pub(crate) half_open: BTreeMap<Tuple, HalfOpen>,
    pub(crate) time_waits: TimeWaits,
    pub(crate) listeners: BTreeMap<u16, Vec<Listening>>,
    /// Connections that go on without their program.
    pub(crate) orphans: usize,
    /// Bytes of all queues.
    pub(crate) buffered: usize,
    /// What is known of the MTU of paths.
    pub(crate) paths: paths::Paths,
    /// Connections that became quiet, and when; in that order.
    pub(crate) quiet: VecDeque<(Nanos, SocketId)>,
    /// The slot of time in which the latest SYN cookie was sent.
    pub(crate) last_cookie: Option<u32>,
    /// Varies the search for ephemeral ports.
    pub(crate) port_counter: u32,
    /// A socket has asked for packets of a least time to live.
    pub(crate) looks_at_ttl: bool,
}

impl TcpTables {
    /// Finds the listener for a segment that came by an interface: the one whose address fits best, the latest of several.
    /// Of a group that fits equally well `dice` chooses (`inet_lhash2_lookup` of Linux).
    pub(crate) fn listener(
        &self,
        local: SocketAddr,
        device: Path,
        dice: impl FnOnce() -> u32,
    ) -> Option<SocketId> {
        let here = self.listeners.get(&local.port())?;
        let score = |l: &Listening| {
            let fit = l.at.fit(local.ip()).filter(|_| l.at.takes(device))?;
            Some((
                fit == 2,
                u8::from(fit > 0) + u8::from(l.at.device.is_some()),
            ))
        };
        let fitting = here.iter().filter_map(|l| Some((score(l)?, l)));
        let (best, latest) = fitting.max_by_key(|(score, _)| *score)?;
        let is_in_group = |l: &&Listening| l.is_in_group && score(l) == Some(best);
        let count = here.iter().filter(is_in_group).count();
        if !latest.is_in_group || count < 2 {
            return Some(latest.socket);
        }
        let chosen = here.iter().filter(is_in_group).nth(share_of(dice(), count));
        chosen.map(|l| l.socket)
    }

    /// Returns whether a tuple is used by a connection in any state.
    pub(crate) fn is_in_use(&self, tuple: &Tuple) -> bool {
        self.connections.contains_key(tuple)
            || self.half_open.contains_key(tuple)
            || self.time_waits.contains(tuple)
    }
}

/// Returns which of `count` a hash means (`reciprocal_scale` of Linux).
pub(crate) fn share_of(hash: u32, count: usize) -> usize {
    ((u64::from(hash) * count as u64) >> 32) as usize
}

/// What each connection has of these is allocated in powers of two: a byte more and it takes twice as much.
const _: () = assert!(size_of::<TcpSocket>() <= 256 && size_of::<Connection>() <= 1024);
