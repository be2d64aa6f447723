//! Two stacks on one wire: the harness and the suites that use it.

extern crate std;

mod census;
mod cork;
mod dhcp;
mod errors;
mod headers;
mod hostile;
mod ipv6;
mod memory;
mod mib;
mod mtu;
mod multicast;
mod offload;
mod path;
mod routers;
mod scale;
mod share;
mod sleep;
mod tcp_calls;
mod tcp_ends;
mod tcp_handshake;
mod tcp_options;
mod tcp_request;
mod transfer;
mod udp;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use smoltcp::wire::{EthernetFrame, EthernetProtocol, Ipv4Packet, TcpPacket};
use tyn_abi::{Errno, Events, Nanos};

use crate::device::{
    Full, NetDevice, Offload, Offloads, PartialChecksum, Received, Rings, RxChecksum,
};
use crate::{
    Cidr, FreeMemory, Ip6Config, IpConfig, Lease, Limits, SocketId, Stack, StackConfig, Take,
    TcpOptions,
};

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const LO: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(crate) const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

pub(crate) fn at(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

pub(crate) const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

pub(crate) const fn seconds(n: u64) -> Nanos {
    ms(n * 1000)
}

/// One card's end of the wire.
#[derive(Default)]
pub(crate) struct Card {
    pub(crate) sent: VecDeque<Vec<u8>>,
    pub(crate) received: VecDeque<Vec<u8>>,
    /// Frames it takes before it is full.
    pub(crate) capacity: Option<usize>,
    pub(crate) offloads: Offloads,
    /// The greatest packet, unless it is 1500.
    pub(crate) mtu: Option<usize>,
    /// Frames were queued since the last flush.
    pub(crate) has_news: bool,
    pub(crate) interrupts: bool,
    /// Length of the longest frame that it was given.
    pub(crate) longest: usize,
    mac: [u8; 6],
}

#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<Mutex<Card>>);

impl Handle {
    pub(crate) fn new(last: u8) -> Self {
        let card = Card {
            mac: [2, 0, 0, 0, 0, last],
            ..Card::default()
        };
        Self(Arc::new(Mutex::new(card)))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Card) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

impl NetDevice for Handle {
    fn mac(&self) -> [u8; 6] {
        self.with(|c| c.mac)
    }

    fn mtu(&self) -> usize {
        self.with(|c| c.mtu).unwrap_or(1500)
    }

    fn offloads(&self) -> Offloads {
        self.with(|c| c.offloads)
    }

    fn room(&mut self) -> usize {
        self.with(|c| c.capacity.unwrap_or(1000).saturating_sub(c.sent.len()))
    }

    fn transmit(&mut self, frame: &[u8], offload: Option<Offload>) -> Result<(), Full> {
        self.with(|c| {
            let mut pieces = offload::cut(frame, offload);
            if c.capacity.is_some_and(|n| c.sent.len() + pieces.len() > n) {
                return Err(Full);
            }
            if let Some(offload) = offload {
                for piece in &mut pieces {
                    complete(piece, offload.checksum);
                }
            }
            c.longest = c.longest.max(frame.len());
            c.has_news = true;
            c.sent.extend(pieces);
            Ok(())
        })
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Received> {
        let (next, verifies) =
            self.with(|c| (c.received.pop_front(), c.offloads.verifies_checksums));
        let checksum = if verifies {
            RxChecksum::Valid
        } else {
            RxChecksum::Unknown
        };
        next.map(|next| {
            let len = next.len();
            frame.resize(frame.len().max(len), 0);
            frame[..len].copy_from_slice(&next);
            Received { len, checksum }
        })
    }

    fn flush(&mut self) -> Rings {
        let has_news = self.with(|c| core::mem::take(&mut c.has_news));
        Rings(u128::from(has_news))
    }

    fn enable_interrupts(&mut self) -> bool {
        self.with(|c| {
            // With an event index, no interrupt comes for what is there already, nor for what comes after it.
            c.interrupts = c.received.is_empty();
            !c.interrupts
        })
    }

    fn disable_interrupts(&mut self) {
        self.with(|c| c.interrupts = false);
    }
}

/// What virtio's device does for `NEEDS_CSUM`.
fn complete(frame: &mut [u8], partial: PartialChecksum) {
    let start = usize::from(partial.start);
    let mut sum: u32 = 0;
    for pair in frame[start..].chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let at = start + usize::from(partial.offset);
    frame[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

pub(crate) fn lease(address: Ipv4Addr) -> Lease {
    Lease {
        address: Cidr {
            address,
            prefix: 24,
        },
        gateway: Some(Ipv4Addr::new(10, 0, 0, 254)),
        dns: Vec::new(),
    }
}

/// Memory that nobody uses up.
pub(crate) fn plenty() -> FreeMemory {
    Box::new(|| usize::MAX)
}

pub(crate) fn stack(card: &Handle, address: Ipv4Addr, limits: Limits) -> Stack {
    stack_with(card, address, limits, Ip6Config::Off)
}

pub(crate) fn stack_with(
    card: &Handle,
    address: Ipv4Addr,
    limits: Limits,
    ip6: Ip6Config,
) -> Stack {
    let config = StackConfig {
        device: Some(Box::new(card.clone())),
        ip: IpConfig::Static(lease(address)),
        ip6,
        entropy: [address.octets()[3]; 32],
        limits,
        free_memory: plenty(),
    };
    Stack::new(config, Nanos(0))
}

/// Whose turn: stack A or stack B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    A,
    B,
}

/// What the wire does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Deliver,
    Lose,
    Duplicate,
    /// The frame swaps places with the next one.
    Delay,
}

type Filter = Box<dyn FnMut(Side, &[u8]) -> Fault>;

/// Two stacks on a wire, and the clock.
pub(crate) struct World {
    pub(crate) a: Stack,
    pub(crate) b: Stack,
    pub(crate) cards: [Handle; 2],
    pub(crate) now: Nanos,
    /// Decides what becomes of a frame that this side sent.
    pub(crate) filter: Filter,
    pub(crate) wakes: Vec<(Side, SocketId, Events)>,
    /// Frames carried.
    pub(crate) frames: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let cards = [Handle::new(1), Handle::new(2)];
        Self {
            a: stack(&cards[0], A, limits),
            b: stack(&cards[1], B, limits),
            cards,
            now: Nanos(0),
            filter: Box::new(|_, _| Fault::Deliver),
            wakes: Vec::new(),
            frames: 0,
        }
    }

    fn carry(&mut self, from: Side) -> bool {
        let (source, target) = match from {
            Side::A => (0, 1),
            Side::B => (1, 0),
        };
        let mut frames = self.cards[source].with(|c| core::mem::take(&mut c.sent));
        let any = !frames.is_empty();
        let mut held: Option<Vec<u8>> = None;
        while let Some(frame) = frames.pop_front() {
            self.frames += 1;
            let mut out = Vec::new();
            match (self.filter)(from, &frame) {
                Fault::Deliver => out.push(frame),
                Fault::Lose => {}
                Fault::Duplicate => out.extend([frame.clone(), frame]),
                Fault::Delay => {
                    out.extend(held.replace(frame));
                }
            }
            if held.is_some() && !out.is_empty() {
                out.extend(held.take());
            }
            self.cards[target].with(|c| c.received.extend(out));
        }
        self.cards[target].with(|c| c.received.extend(held));
        any
    }

    /// Lets everything happen that happens without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.a.on_interrupt(self.now);
            self.b.on_interrupt(self.now);
            for (side, wakes) in [
                (Side::A, self.a.take_wakes()),
                (Side::B, self.b.take_wakes()),
            ] {
                self.wakes
                    .extend(wakes.into_iter().map(|w| (side, w.socket, w.events)));
            }
            let moved = self.carry(Side::A) | self.carry(Side::B);
            let is_due = |s: &Stack| s.deadline().is_some_and(|d| d <= self.now);
            if !moved && !is_due(&self.a) && !is_due(&self.b) {
                return;
            }
        }
        panic!("the stacks never come to rest at {:?}", self.now);
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass(&mut self, time: Nanos) {
        let end = self.now + time;
        self.settle();
        while let Some(next) = [self.a.deadline(), self.b.deadline()]
            .into_iter()
            .flatten()
            .min()
            .filter(|&d| d <= end)
        {
            assert!(next > self.now, "a deadline that has passed is left");
            self.now = next;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn take_wakes(&mut self, side: Side, id: SocketId) -> Events {
        let all = core::mem::take(&mut self.wakes);
        let (mine, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|w| (w.0, w.1) == (side, id));
        self.wakes = others;
        mine.into_iter().fold(Events::empty(), |e, w| e | w.2)
    }

    /// Makes a listener on B.
    pub(crate) fn listen(&mut self, port: u16, backlog: usize) -> SocketId {
        let id = self.b.tcp_socket(options()).unwrap();
        self.b
            .tcp_change_options(id, |o| o.reuses_address = true)
            .unwrap();
        self.b.tcp_bind(id, at(ANY, port)).unwrap();
        self.b.tcp_listen(id, backlog).unwrap();
        id
    }

    /// Begins to connect from A to B.
    pub(crate) fn dial(&mut self, port: u16) -> SocketId {
        let id = self.a.tcp_socket(options()).unwrap();
        self.a.tcp_connect(id, at(B, port), self.now).unwrap();
        id
    }

    /// Makes a connection and returns both ends.
    pub(crate) fn pair(&mut self) -> (SocketId, SocketId) {
        let listener = self.listen(80, 16);
        let client = self.dial(80);
        self.settle();
        assert_eq!(self.a.tcp_connect_result(client), Some(Ok(())));
        let (server, _) = self.b.tcp_accept(listener).unwrap();
        self.b.close(listener);
        self.settle();
        self.wakes.clear();
        (client, server)
    }
}

pub(crate) fn options() -> TcpOptions {
    TcpOptions::new(16384)
}

pub(crate) fn send(stack: &mut Stack, id: SocketId, mut data: &[u8]) -> Result<usize, Errno> {
    stack.tcp_send(id, &mut data, false)
}

pub(crate) fn receive(stack: &mut Stack, id: SocketId, max: usize) -> Result<Vec<u8>, Errno> {
    let mut buffer = alloc::vec![0; max];
    let n = stack.tcp_receive(id, Take::Bytes, &mut &mut buffer[..])?;
    buffer.truncate(n);
    Ok(buffer)
}

/// Returns the TCP segment in a frame.
pub(crate) fn segment(frame: &[u8]) -> Option<TcpPacket<&[u8]>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    if ip.next_header() != smoltcp::wire::IpProtocol::Tcp {
        return None;
    }
    let start = usize::from(ip.header_len());
    TcpPacket::new_checked(frame.payload().get(start..usize::from(ip.total_len()))?).ok()
}

/// A small generator for tests that need varied faults.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
