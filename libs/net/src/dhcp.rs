//! The DHCP client (RFC 2131): smoltcp's, on an Ethernet interface of its own that sees nothing but DHCP and ARP replies.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::dhcpv4::{Event, Socket};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress};
use tyn_abi::Nanos;

use crate::output::{ETHERNET_HEADER, Output};
use crate::shim::{instant, nanos, set_address};
use crate::types::{Cidr, ConfigEvent, Lease, Path};

/// Frames that wait to be looked at.
const QUEUE: usize = 16;
/// When to look again if a message could not be sent.
const RETRY: Nanos = Nanos(10_000_000);
/// Time after the first message that nobody answers, and the longest one, in seconds; doubled in between, and each up to a
/// second shorter or longer, so that machines that start together do not ask together (RFC 2131 §4.1).
const FIRST_WAIT: u64 = 2;
const LONGEST_WAIT: u64 = 64;

/// The client.
pub(crate) struct Dhcp {
    iface: Interface,
    set: SocketSet<'static>,
    handle: SocketHandle,
    frames: VecDeque<Vec<u8>>,
    due: Option<Nanos>,
    /// How long the next message waits for an answer, in seconds.
    wait: u64,
    random: u64,
}

impl Dhcp {
    pub(crate) fn new(out: &mut Output, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(out.mac())));
        config.random_seed = seed;
        let now = instant(out.now);
        let iface = Interface::new(
            config,
            &mut Port {
                out,
                received: None,
                has_sent: &mut false,
            },
            now,
        );
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(Socket::new());
        let mut client = Self {
            iface,
            set,
            handle,
            frames: VecDeque::new(),
            due: Some(Nanos::ZERO),
            wait: FIRST_WAIT,
            random: seed,
        };
        client.set_wait(FIRST_WAIT);
        client
    }

    /// Sets how long the messages from the next one on wait for an answer.
    fn set_wait(&mut self, seconds: u64) {
        self.wait = seconds;
        let socket = self.set.get_mut::<Socket<'_>>(self.handle);
        let mut retry = socket.get_retry_config();
        // Knuth's generator (MMIX).
        self.random = self
            .random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let about = seconds * 1000 - 1000 + (self.random >> 33) % 2000;
        retry.discover_timeout = Duration::from_millis(about);
        retry.initial_request_timeout = Duration::from_secs(FIRST_WAIT);
        socket.set_retry_config(retry);
    }

    pub(crate) fn deadline(&self) -> Option<Nanos> {
        if self.frames.is_empty() {
            self.due
        } else {
            Some(Nanos::ZERO)
        }
    }

    /// Takes in a DHCP message.
    pub(crate) fn on_frame(&mut self, frame: &[u8]) {
        if self.frames.len() < QUEUE {
            self.frames.push_back(frame.to_vec());
        }
    }

    /// Takes in an ARP packet: replies tell where the server is when a lease is renewed.
    pub(crate) fn on_arp(&mut self, frame: &[u8]) {
        const REPLY: [u8; 2] = [0, 2];
        let operation = frame.get(ETHERNET_HEADER + 6..ETHERNET_HEADER + 8);
        if operation == Some(&REPLY) {
            self.on_frame(frame);
        }
    }

    /// Takes a turn; returns what became of the lease.
    pub(crate) fn poll(&mut self, out: &mut Output) -> Option<ConfigEvent> {
        let due = self.deadline();
        if due.is_none_or(|due| due > out.now) {
            return None;
        }
        let now = instant(out.now);
        let mut has_sent = false;
        while let Some(frame) = self.frames.pop_front() {
            let mut port = Port {
                out,
                received: Some(&frame),
                has_sent: &mut has_sent,
            };
            self.iface
                .poll_ingress_single(now, &mut port, &mut self.set);
        }
        let mut port = Port {
            out,
            received: None,
            has_sent: &mut has_sent,
        };
        for _ in 0..QUEUE {
            if self.iface.poll_egress(now, &mut port, &mut self.set) == PollResult::None {
                break;
            }
        }
        let event = self.take_event();
        if has_sent {
            self.set_wait((self.wait * 2).min(LONGEST_WAIT));
        } else if event.is_some() {
            self.set_wait(FIRST_WAIT);
        }
        let at = self.iface.poll_at(now, &self.set).map(nanos);
        self.due = at.map(|at| if at <= out.now { out.now + RETRY } else { at });
        event
    }

    fn take_event(&mut self) -> Option<ConfigEvent> {
        let lease = match self.set.get_mut::<Socket<'_>>(self.handle).poll()? {
            Event::Deconfigured => None,
            Event::Configured(config) => Some(Lease {
                address: Cidr {
                    address: config.address.address(),
                    prefix: config.address.prefix_len(),
                },
                gateway: config.router,
                dns: config.dns_servers.iter().copied().collect(),
            }),
        };
        // A router that is not on the network is no use, but the address is.
        let lease = lease.map(|lease| {
            if lease.is_usable() {
                return lease;
            }
            Lease {
                gateway: None,
                ..lease
            }
        });
        let lease = lease.filter(Lease::is_usable);
        set_address(&mut self.iface, lease.as_ref().map(|l| l.address));
        let routes = self.iface.routes_mut();
        match lease.as_ref().and_then(|l| l.gateway) {
            // The table has room for two.
            Some(gateway) => drop(routes.add_default_ipv4_route(gateway)),
            None => drop(routes.remove_default_ipv4_route()),
        }
        Some(lease.map_or(ConfigEvent::Down, ConfigEvent::Up))
    }
}

/// The device that smoltcp sees here: frames, unchanged.
struct Port<'a> {
    out: &'a mut Output,
    received: Option<&'a [u8]>,
    has_sent: &'a mut bool,
}

struct Received<'a>(&'a [u8]);
struct Transmit<'a>(&'a mut Output, &'a mut bool);

impl Device for Port<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Transmit<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        let frame = self.received.take()?;
        Some((Received(frame), Transmit(self.out, self.has_sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        self.out
            .has_room(Path::Nic)
            .then_some(Transmit(self.out, self.has_sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = self.out.mtu(Path::Nic) + ETHERNET_HEADER;
        caps
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.transmit_raw(&frame);
        *self.1 = true;
        result
    }
}
