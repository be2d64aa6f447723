//! The stack: sockets, interfaces, and the turn that moves packets.
//!
//! ```text
//!   card ─► frames ─┐                                  ┌─► card (ARP, Ethernet)
//!                   ├─► by tuple ─► one connection ─►  out
//!   queue to self ──┘      │            │              └─► queue to self
//!                          │            └─► wakes (values for the owner)
//!                          └─► request record, TIME-WAIT record, UDP socket, smoltcp's refusals
//! ```
//! The owner calls [`Stack::on_interrupt`] when the card interrupts, and after that, when the deadline passes and after each
//! operation on a socket that left anything new ([`Stack::has_nothing_new`]) [`Stack::poll_if_due`]; then it does what
//! [`Stack::take_rings`] asks and delivers [`Stack::take_wakes`]. A turn costs what there is to do: nothing walks over all
//! sockets.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use smoltcp::iface::{Interface, SocketSet};
use tyn_abi::Nanos;

use crate::device::{NetDevice, Received, Rings};
use crate::dhcp::Dhcp;
use crate::errors::{NetError, Trouble};
use crate::output::Output;
use crate::ports::Ports;
use crate::reassembly::Reassembly;
use crate::secret::Secret;
use crate::shim::{interface, set_address};
use crate::slab::Slab;
use crate::tcp::{TcpSocket, TcpTables};
use crate::timer::{TimerKey, Timers};
use crate::types::{ConfigEvent, Ip6Config, IpConfig, Lease, Path, SocketId, Wakes};
use crate::udp::{UdpReceived, UdpSocket, UdpTable};
use crate::wire::Ip;

/// Packets that one turn takes in, and that it sends, before the owner gets a chance to do something else.
const BUDGET: usize = 512;
/// Bytes that cost as much as a packet: those of 64 KiB count for more than one.
pub(crate) const GREAT: usize = 8192;

/// What bounds the memory that peers can make us use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of all TCP queues together.
    pub tcp_buffers: usize,
    /// Connection requests that were not acknowledged yet.
    pub half_open: usize,
    /// TIME-WAIT records.
    pub time_wait: usize,
}

impl Limits {
    /// Returns how many bytes packets may take of which not all pieces have come: Linux's `ipfrag_high_thresh`, and less where
    /// memory is short.
    fn pieces(&self) -> usize {
        (self.tcp_buffers / 16).min(4 << 20)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tcp_buffers: 64 << 20,
            half_open: 4096,
            time_wait: 8192,
        }
    }
}

/// What a stack is made from.
pub struct StackConfig {
    /// The network card, if there is one.
    pub device: Option<Box<dyn NetDevice>>,
    /// Where its address comes from.
    pub ip: IpConfig,
    /// Where its IPv6 addresses come from.
    pub ip6: Ip6Config,
    /// Random bytes that nobody else knows.
    pub entropy: [u8; 32],
    /// Bounds.
    pub limits: Limits,
    /// Says how much memory there is.
    pub free_memory: FreeMemory,
}

/// Returns how many bytes could be allocated now without touching what the owner keeps for itself.
pub type FreeMemory = Box<dyn Fn() -> usize + Send>;

impl core::fmt::Debug for StackConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "StackConfig({:?}, {:?}, {:?})",
            self.ip, self.ip6, self.limits
        )
    }
}

/// A socket of any kind.
pub(crate) enum Socket {
    Tcp(Box<TcpSocket>),
    Udp(Box<UdpSocket>),
}

/// Sockets that had something to send and no room.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    nic: Vec<SocketId>,
    lo: Vec<SocketId>,
}

impl Blocked {
    pub(crate) fn push(&mut self, path: Path, id: SocketId) {
        self.of(path).push(id);
    }

    fn is_empty(&self) -> bool {
        self.nic.is_empty() && self.lo.is_empty()
    }

    fn of(&mut self, path: Path) -> &mut Vec<SocketId> {
        match path {
            Path::Nic => &mut self.nic,
            Path::Loopback => &mut self.lo,
        }
    }
}

/// The network stack.
pub struct Stack {
    pub(crate) sockets: Slab<Socket>,
    pub(crate) nic: Interface,
    pub(crate) lo: Interface,
    /// An empty set: packets that nobody wants are shown to it.
    pub(crate) nobody: SocketSet<'static>,
    pub(crate) out: Output,
    pub(crate) secret: Secret,
    pub(crate) tcp: TcpTables,
    pub(crate) ports_tcp: Ports,
    pub(crate) udp: UdpTable,
    pub(crate) ports_udp: Ports,
    pub(crate) timers: Timers,
    pub(crate) dirty: VecDeque<SocketId>,
    pub(crate) blocked: Blocked,
    pub(crate) wakes: Wakes,
    pub(crate) limits: Limits,
    pub(crate) dhcp: Option<Dhcp>,
    pub(crate) reassembly: Reassembly,
    events: Vec<ConfigEvent>,
    frame: Vec<u8>,
    /// There is more to do than the last turn did.
    is_behind: bool,
    /// The card was asked for interrupts when there were frames already: none may come until it is asked again.
    lacks_interrupts: bool,
}

impl core::fmt::Debug for Stack {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Stack({:?})", self.out.lease())
    }
}

impl Stack {
    /// Makes a stack at time `now`.
    #[must_use]
    pub fn new(config: StackConfig, now: Nanos) -> Self {
        let secret = Secret::new(config.entropy);
        let mut out = Output::new(config.device, config.free_memory);
        out.now = now;
        out.number_from(secret.seed);
        let nic = interface(&mut out, Path::Nic, secret.seed);
        let lo = interface(&mut out, Path::Loopback, secret.seed);
        let dhcp = match config.ip {
            IpConfig::Dhcp if out.device().is_some() => Some(Dhcp::new(&mut out, secret.seed)),
            _ => None,
        };
        out.start_v6(config.ip6);
        let mut stack = Self {
            sockets: Slab::new(),
            nic,
            lo,
            nobody: SocketSet::new(Vec::new()),
            out,
            secret,
            tcp: TcpTables::default(),
            ports_tcp: Ports::default(),
            udp: UdpTable::default(),
            ports_udp: Ports::default(),
            timers: Timers::default(),
            dirty: VecDeque::new(),
            blocked: Blocked::default(),
            wakes: Wakes::default(),
            limits: config.limits,
            dhcp,
            reassembly: Reassembly::new(config.limits.pieces()),
            events: Vec::new(),
            frame: Vec::new(),
            is_behind: true,
            lacks_interrupts: false,
        };
        if stack.out.routes.has_v6 {
            stack.changed6();
        }
        if let IpConfig::Static(lease) = config.ip {
            stack.configure(Some(lease));
        }
        stack
    }

    /// Gives the card its addresses, or takes them away. A lease that cannot be used counts as none.
    pub(crate) fn configure(&mut self, lease: Option<Lease>) {
        let lease = lease.filter(|l| self.out.device().is_some() && l.is_usable());
        if lease.as_ref() == self.out.lease() {
            return;
        }
        set_address(&mut self.nic, lease.as_ref().map(|l| l.address));
        self.events.push(match &lease {
            Some(lease) => ConfigEvent::Up(lease.clone()),
            None => ConfigEvent::Down,
        });
        self.out.configure(lease);
        // Whoever forwards groups to us hears of them anew.
        let now = self.out.now;
        self.out.groups.tell_again(now);
    }

    /// Takes note that the card's IPv6 configuration changed.
    pub(crate) fn changed6(&mut self) {
        self.events.push(ConfigEvent::Changed6);
    }

    /// Returns the name servers.
    #[must_use]
    pub fn resolvers(&self) -> Vec<core::net::IpAddr> {
        self.out.routes.resolvers()
    }

    /// Takes what happened to the card's configuration since the last call.
    pub fn take_config_events(&mut self) -> Vec<ConfigEvent> {
        core::mem::take(&mut self.events)
    }

    /// Takes the wakes since the last call, in order.
    pub fn take_wakes(&mut self) -> Wakes {
        core::mem::take(&mut self.wakes)
    }

    /// Takes what the card is to be told of since the last call.
    pub fn take_rings(&mut self) -> Rings {
        core::mem::take(&mut self.out.rings)
    }

    /// Returns the network card's configuration.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.out.lease()
    }

    /// Returns the network card's hardware address and MTU, if there is a card.
    pub fn card(&mut self) -> Option<([u8; 6], usize)> {
        self.out.device().map(|d| (d.mac(), d.mtu()))
    }

    /// Returns whether there is a network card.
    #[must_use]
    pub fn has_card(&self) -> bool {
        self.out.has_device()
    }

    /// Returns when [`Stack::poll`] must be called next; a time in the past means at once.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        if self.is_behind || !self.dirty.is_empty() {
            return Some(self.out.now);
        }
        // In numbers without options: this is asked after each call.
        let never = Nanos(u64::MAX);
        let mut first = never;
        let mut take = |at: Option<Nanos>| first = first.min(at.unwrap_or(never));
        take(self.timers.deadline());
        self.out.deadlines(&mut take);
        take(self.tcp.time_waits.deadline());
        take(self.sleep_deadline());
        take(self.reassembly.deadline());
        take(self.dhcp.as_ref().and_then(Dhcp::deadline));
        (first != never).then_some(first)
    }

    /// Takes the card's interrupt: polls until it has no more frames.
    pub fn on_interrupt(&mut self, now: Nanos) {
        const TURNS: usize = 4;
        if let Some(device) = self.out.device() {
            device.disable_interrupts();
        }
        self.lacks_interrupts = false;
        for _ in 0..TURNS {
            self.poll(now);
            let has_more = self.out.device().is_some_and(NetDevice::enable_interrupts);
            if !has_more {
                return;
            }
        }
        // No interrupt will come for what is there already; the deadline does instead.
        (self.is_behind, self.lacks_interrupts) = (true, true);
    }

    /// Asks the card for interrupts, when its owner is ready for them. What came before makes the deadline pass.
    pub fn enable_interrupts(&mut self) {
        self.lacks_interrupts = self.out.device().is_some_and(NetDevice::enable_interrupts);
        self.is_behind |= self.lacks_interrupts;
    }

    /// Tells the time, by which calls between two turns begin what takes time.
    pub fn set_now(&mut self, now: Nanos) {
        self.out.now = self.out.now.max(now);
    }

    /// Takes a turn unless that can wait for the card's interrupt or for the deadline, which is returned. Most calls of
    /// programs give nothing to do: options are set, bytes are there to be read.
    pub fn poll_if_due(&mut self, now: Nanos) -> Option<Nanos> {
        let has_sent = self.out.is_pending() || !self.dirty.is_empty();
        if has_sent || self.lacks_interrupts || !self.blocked.is_empty() {
            // What is due shows in the deadline, which is not asked for where one turn follows another.
            self.turn(now, self.is_behind);
            if self.is_behind {
                return Some(self.out.now);
            }
        }
        let deadline = self.deadline();
        if deadline.is_none_or(|at| at > now) {
            return deadline;
        }
        self.poll(now);
        self.deadline()
    }

    /// Takes a turn: receives, lets timers pass, sends.
    pub fn poll(&mut self, now: Nanos) {
        self.turn(now, true);
    }

    fn turn(&mut self, now: Nanos, passes_time: bool) {
        self.set_now(now);
        self.is_behind = false;
        self.out.has_sent_split();
        // One for each way: what comes by the card without end keeps nobody from sending, or from talking to itself.
        let [mut budget_in, mut budget_lo, mut budget_out] = [BUDGET; 3];
        loop {
            self.receive_frames(&mut budget_in);
            self.receive_looped(&mut budget_lo);
            if passes_time {
                self.expire();
            }
            self.unblock();
            self.send(&mut budget_out);
            let is_idle = self.dirty.is_empty() && !self.out.has_looped() && !self.can_unblock();
            if is_idle {
                break;
            }
            if [budget_in, budget_lo, budget_out].contains(&0) {
                self.is_behind = true;
                break;
            }
        }
        if passes_time {
            self.poll_dhcp();
        }
        self.out.flush();
        if self.lacks_interrupts {
            self.enable_interrupts();
        }
    }

    fn receive_frames(&mut self, budget: &mut usize) {
        let mut frame = core::mem::take(&mut self.frame);
        while *budget > 0 {
            let Some(Received { len, checksum }) = self.out.receive(&mut frame) else {
                break;
            };
            *budget = budget.saturating_sub(1 + len / GREAT);
            self.on_frame(frame.get(..len).unwrap_or_default(), checksum);
        }
        if *budget == 0 {
            self.is_behind = true;
        }
        self.frame = frame;
    }

    fn receive_looped(&mut self, budget: &mut usize) {
        while *budget > 0
            && let Some(packet) = self.out.take_looped()
        {
            *budget -= 1;
            self.on_looped(&packet);
        }
    }

    fn expire(&mut self) {
        let now = self.out.now;
        while let Some(key) = self.timers.expire(now) {
            match key {
                TimerKey::Socket(id) => {
                    if let Some(Socket::Tcp(s)) = self.sockets.get_mut(id)
                        && let crate::tcp::TcpState::Open(c) = &mut s.state
                    {
                        c.due = None;
                    }
                    self.enqueue(id);
                }
                TimerKey::HalfOpen(tuple) => self.expire_half_open(tuple),
            }
        }
        while let Some((tuple, by)) = self.tcp.time_waits.expire(now) {
            self.ports_tcp.release(tuple.local, by);
            self.out.mib.tcp.time_waits_over += 1;
        }
        self.fall_asleep();
        let out = &mut self.out;
        self.reassembly
            .expire(now, |piece| out.tell_of_pieces(piece));
        if self.out.expire_v6() {
            self.changed6();
        }
        self.out.report_groups();
        for packet in self.out.expire() {
            self.on_silence(&packet);
        }
    }

    /// Tells the sender of a packet that the neighbour it was for does not answer.
    fn on_silence(&mut self, packet: &[u8]) {
        let Some(ip) = Ip::parse(packet) else {
            return;
        };
        let report = UdpReceived {
            source: SocketAddr::new(ip.source, 0),
            destination: ip.source,
            path: Path::Loopback,
            at: self.out.now,
            tos: 0,
            ttl: 64,
            copied: 0,
            len: 0,
        };
        let trouble = Trouble {
            error: NetError::silent_neighbor(ip.source.is_ipv4()),
            report: Some(report),
        };
        self.on_trouble(Path::Nic, packet, &trouble, 0);
    }

    /// Returns whether a socket that had no room can go on. When none can, the card interrupts as soon as one can.
    fn can_unblock(&mut self) -> bool {
        [Path::Nic, Path::Loopback]
            .into_iter()
            .any(|path| !self.blocked.of(path).is_empty() && self.out.has_room(path))
    }

    /// Lets sockets that had no room try again.
    fn unblock(&mut self) {
        for path in [Path::Nic, Path::Loopback] {
            if self.blocked.of(path).is_empty() || !self.out.has_room(path) {
                continue;
            }
            for id in core::mem::take(self.blocked.of(path)) {
                match self.sockets.get_mut(id) {
                    Some(Socket::Tcp(_)) => self.dirty.push_back(id),
                    Some(Socket::Udp(s)) => {
                        s.is_blocked = false;
                        self.report(id, tyn_abi::Events::empty());
                    }
                    None => {}
                }
            }
        }
    }

    fn send(&mut self, budget: &mut usize) {
        while *budget > 0
            && let Some(id) = self.dirty.pop_front()
        {
            let sent = self.run(id);
            *budget = budget.saturating_sub(sent + 1);
        }
    }

    fn poll_dhcp(&mut self) {
        let Some(dhcp) = self.dhcp.as_mut() else {
            return;
        };
        match dhcp.poll(&mut self.out) {
            Some(ConfigEvent::Up(lease)) => self.configure(Some(lease)),
            Some(ConfigEvent::Down) => self.configure(None),
            Some(ConfigEvent::Changed6) | None => {}
        }
    }
}
