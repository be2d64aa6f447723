//! The way out: Ethernet framing and ARP for the card, a queue for packets to ourselves.
//!
//! Packets are built in one buffer behind room for the Ethernet header and leave at once: to the card when the next
//! hop's address is known, into the neighbour table when it is not, into the queue of the loopback path.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
};
use tyn_abi::Nanos;

use crate::census::Traffic;
use crate::device::{NetDevice, PartialChecksum, Received, Rings};
use crate::fragment::{Split, let_split};
use crate::icmp::ErrorRate;
use crate::mib::Mib;
use crate::multicast::Groups;
use crate::ndisc::{Autoconf, group_mac};
use crate::neighbor::{Mac, Neighbors, Retry};
use crate::offload;
use crate::routes::Routes;
use crate::stack::FreeMemory;
use crate::types::{Lease, Path};
use crate::wire::{Ip, set_tos};

/// Length of an Ethernet header.
pub(crate) const ETHERNET_HEADER: usize = 14;
/// Greatest packet on the loopback path: what an IPv4 header can say.
const LOOPBACK_MTU: usize = 65535;
/// What every link takes (RFC 791).
const LEAST_MTU: usize = 68;
/// Packets on the loopback path that nobody has looked at yet, and their bytes.
const LOOPED_PACKETS: usize = 512;
const LOOPED_BYTES: usize = 1 << 20;
/// The bytes that they may have when the memory is used up: they are gone in a moment, and make room.
const LEAST_LOOPED_BYTES: usize = 128 << 10;
const BROADCAST: Mac = [0xff; 6];

/// Everything that a packet meets on its way out.
pub(crate) struct Output {
    pub(crate) device: Option<Box<dyn NetDevice>>,
    free_memory: FreeMemory,
    pub(crate) routes: Routes,
    pub(crate) neighbors: Neighbors,
    pub(crate) autoconf: Autoconf,
    pub(crate) groups: Groups,
    looped: VecDeque<Vec<u8>>,
    looped_bytes: usize,
    pub(crate) frame: Vec<u8>,
    /// What is split, and finds no room yet.
    pub(crate) split: Option<Split>,
    /// Numbers packets that are or may be split.
    pub(crate) numbers: u32,
    /// Routers may split the next packet that is built.
    pub(crate) lets_split: bool,
    pub(crate) errors: ErrorRate,
    /// Bytes of data of each piece that the card is to cut the packet in `frame` into, if it is.
    pub(crate) piece: Option<u16>,
    /// The current time, set at the start of each turn.
    pub(crate) now: Nanos,
    /// Frames were handed to the card that it can't see before the next flush.
    pub(crate) has_queued: bool,
    /// What the card is to be told of.
    pub(crate) rings: Rings,
    /// What went through `lo`, and through the card.
    pub(crate) traffic: [Traffic; 2],
    pub(crate) mib: Mib,
}

impl Output {
    pub(crate) fn new(device: Option<Box<dyn NetDevice>>, free_memory: FreeMemory) -> Self {
        Self {
            device,
            free_memory,
            routes: Routes::default(),
            neighbors: Neighbors::default(),
            autoconf: Autoconf::default(),
            groups: Groups::default(),
            looped: VecDeque::new(),
            looped_bytes: 0,
            frame: Vec::new(),
            split: None,
            numbers: 0,
            lets_split: false,
            errors: ErrorRate::new(),
            piece: None,
            now: Nanos::ZERO,
            has_queued: false,
            rings: Rings::default(),
            traffic: [Traffic::default(); 2],
            mib: Mib::default(),
        }
    }

    pub(crate) fn device(&mut self) -> Option<&mut (dyn NetDevice + 'static)> {
        self.device.as_deref_mut()
    }

    pub(crate) fn has_device(&self) -> bool {
        self.device.is_some()
    }

    pub(crate) fn mac(&self) -> Mac {
        self.device.as_ref().map_or([0; 6], |d| d.mac())
    }

    pub(crate) fn mtu(&self, path: Path) -> usize {
        match path {
            Path::Loopback => LOOPBACK_MTU,
            Path::Nic => self
                .device
                .as_ref()
                .map_or(1500, |d| d.mtu().clamp(LEAST_MTU, LOOPBACK_MTU)),
        }
    }

    /// Returns which checksums smoltcp computes; it never verifies any, the way in has done so.
    pub(crate) fn checksums(&self, path: Path) -> ChecksumCapabilities {
        let mut caps = ChecksumCapabilities::ignored();
        if path == Path::Nic {
            caps.ipv4 = Checksum::Tx;
            caps.icmpv4 = Checksum::Tx;
            caps.icmpv6 = Checksum::Tx;
            if !self.completes_checksums() {
                caps.tcp = Checksum::Tx;
                caps.udp = Checksum::Tx;
            }
        }
        caps
    }

    fn completes_checksums(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(|d| d.offloads().completes_checksums)
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.routes.lease.as_ref()
    }

    pub(crate) fn configure(&mut self, lease: Option<Lease>) {
        self.routes.lease = lease;
        self.neighbors.clear_v4();
    }

    /// Returns whether a packet can leave now. When it cannot, the card interrupts as soon as one can.
    pub(crate) fn has_room(&mut self, path: Path) -> bool {
        self.room(path) > 0
    }

    /// Returns for how many packets there is room at least.
    pub(crate) fn room(&mut self, path: Path) -> usize {
        match path {
            Path::Loopback => usize::from(self.loop_has_room()),
            Path::Nic if self.has_sent_split() => self.device.as_mut().map_or(1, |d| d.room()),
            Path::Nic => 0,
        }
    }

    /// Builds a packet of `len` bytes (IP header included) with `fill` and sends it; one that finds no room or no memory is
    /// lost, as on any network.
    ///
    /// # Errors
    /// Those of `fill`; nothing is sent then.
    pub(crate) fn emit<E>(
        &mut self,
        path: Path,
        len: usize,
        tos: u8,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.reserve(len) {
            self.emit_reserved(path, len, tos, fill)?;
        }
        self.lets_split = false;
        Ok(())
    }

    /// Does as [`Output::emit`], after [`Output::reserve`] has made sure of the memory.
    ///
    /// # Errors
    /// Those of `fill`.
    pub(crate) fn emit_reserved<R, E>(
        &mut self,
        path: Path,
        len: usize,
        tos: u8,
        fill: impl FnOnce(&mut [u8]) -> Result<R, E>,
    ) -> Result<R, E> {
        let result = self.build(len, tos, fill)?;
        self.launch(path);
        Ok(result)
    }

    /// Sends the packet that was built.
    pub(crate) fn launch(&mut self, path: Path) {
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        self.mib.sent(packet, self.piece);
        match path {
            Path::Loopback if self.loop_has_room() => self.send_looped(),
            Path::Loopback => self.mib.of_sent(packet).discards += 1,
            Path::Nic => self.send_packet(),
        }
    }

    /// Returns how many bytes could be allocated now without touching what the owner keeps for itself.
    pub(crate) fn free_memory(&self) -> usize {
        (self.free_memory)()
    }

    fn loop_has_room(&self) -> bool {
        let most = self.free_memory().clamp(LEAST_LOOPED_BYTES, LOOPED_BYTES);
        self.looped.len() < LOOPED_PACKETS && self.looped_bytes < most
    }

    /// Makes sure that a packet of `len` bytes can be built; `false` without memory.
    pub(crate) fn reserve(&mut self, len: usize) -> bool {
        let more = (ETHERNET_HEADER + len).saturating_sub(self.frame.len());
        self.frame.try_reserve(more).is_ok()
    }

    /// Puts the packet that was built on the loopback path; without memory it is lost.
    fn send_looped(&mut self) {
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        let mut copy = Vec::new();
        let has_memory = copy.try_reserve_exact(packet.len()).is_ok();
        if has_memory && self.looped.try_reserve(1).is_ok() {
            copy.extend_from_slice(packet);
            self.looped_bytes += copy.len();
            self.mib.of_sent(&copy).transmits += 1;
            let [lo, _] = &mut self.traffic;
            for is_out in [true, false] {
                lo.count(is_out, packet.len());
            }
            self.looped.push_back(copy);
        }
    }

    /// Builds a packet for [`Output::built`] alone, after [`Output::reserve`].
    ///
    /// # Errors
    /// Those of `fill`.
    pub(crate) fn build<R, E>(
        &mut self,
        len: usize,
        tos: u8,
        fill: impl FnOnce(&mut [u8]) -> Result<R, E>,
    ) -> Result<R, E> {
        self.frame.resize(ETHERNET_HEADER + len, 0);
        let packet = self.frame.get_mut(ETHERNET_HEADER..).unwrap_or_default();
        let lets_split = core::mem::take(&mut self.lets_split);
        let result = fill(packet)?;
        if tos != 0 {
            set_tos(packet, tos);
        }
        if lets_split {
            self.numbers = self.numbers.wrapping_add(1);
            let_split(packet, self.numbers);
        }
        Ok(result)
    }

    /// Returns the packet that was built last. Its transport checksum may be left to the card.
    pub(crate) fn built(&self) -> &[u8] {
        self.frame.get(ETHERNET_HEADER..).unwrap_or_default()
    }

    /// Takes the oldest packet that we sent to ourselves.
    pub(crate) fn take_looped(&mut self) -> Option<Vec<u8>> {
        let packet = self.looped.pop_front()?;
        self.looped_bytes -= packet.len();
        Some(packet)
    }

    pub(crate) fn has_looped(&self) -> bool {
        !self.looped.is_empty()
    }

    /// Sends the packet in `frame` to its next hop, or lets it wait for the hop's address.
    pub(crate) fn send_packet(&mut self) {
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        let Some(ip) = Ip::parse(packet) else {
            return;
        };
        let destination = ip.destination;
        let Some(hop) = self.routes.next_hop(destination) else {
            self.mib.of_sent(packet).no_routes += 1;
            return;
        };
        self.mib.of_sent(packet).transmits += 1;
        let checksum = if self.completes_checksums() {
            offload::partial_checksum(packet, &ip)
        } else {
            None
        };
        if let Some(checksum) = checksum {
            let sum = offload::sum_of_pseudo_header(&ip);
            offload::start_checksum(&mut self.frame, checksum, sum);
        }
        if self.routes.is_broadcast(destination) {
            let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
            self.mib.of_sent(packet).out_broadcast.add(packet);
            return self.transmit(BROADCAST, checksum);
        }
        match destination {
            IpAddr::V4(group) if group.is_multicast() => {
                let [_, b, c, d] = group.octets();
                return self.transmit([0x01, 0x00, 0x5e, b & 0x7f, c, d], checksum);
            }
            IpAddr::V6(group) if group.is_multicast() => {
                return self.transmit(group_mac(group), checksum);
            }
            _ => {}
        }
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        let routers = self.routes.routers();
        let resolution = self.neighbors.resolve(hop, packet, routers, self.now);
        if let Some(mac) = resolution.mac {
            self.transmit(mac, checksum);
        }
        if resolution.asks {
            self.ask(hop);
        }
    }

    /// Asks for a host's hardware address.
    fn ask(&mut self, host: IpAddr) {
        match host {
            IpAddr::V4(host) => self.send_arp(ArpOperation::Request, host, BROADCAST),
            IpAddr::V6(host) => self.solicit(host),
        }
    }

    /// Takes note of a host's hardware address, and sends what waited for it.
    pub(crate) fn learn(&mut self, host: IpAddr, mac: Mac) {
        for packet in self.neighbors.learn(host, mac, self.now) {
            if !self.reserve(packet.len()) {
                continue;
            }
            self.frame.resize(ETHERNET_HEADER, 0);
            self.frame.extend_from_slice(&packet);
            let checksum = if self.completes_checksums() {
                Ip::parse(&packet).and_then(|ip| offload::partial_checksum(&packet, &ip))
            } else {
                None
            };
            self.transmit(mac, checksum);
        }
    }

    /// Hands the packet in `frame` to the card, which is to complete this checksum.
    fn transmit(&mut self, to: Mac, checksum: Option<PartialChecksum>) {
        let piece = self.piece;
        let Some(device) = self.device.as_mut() else {
            return;
        };
        let mut frame = EthernetFrame::new_unchecked(&mut self.frame[..]);
        frame.set_dst_addr(EthernetAddress(to));
        frame.set_src_addr(EthernetAddress(device.mac()));
        let is_v6 = frame.payload_mut().first().is_some_and(|b| b >> 4 == 6);
        frame.set_ethertype(if is_v6 {
            EthernetProtocol::Ipv6
        } else {
            EthernetProtocol::Ipv4
        });
        let offload = checksum.map(|sum| offload::of_packet(frame.payload_mut(), sum, piece));
        // A full queue loses the packet: sockets have asked for room, replies may be lost.
        let _ = device.transmit(&self.frame, offload);
        self.has_queued = true;
        let [_, card] = &mut self.traffic;
        card.count(true, self.frame.len());
    }

    /// Sends a frame that was built elsewhere (DHCP, neighbour discovery).
    pub(crate) fn transmit_raw(&mut self, frame: &[u8]) {
        if let Some(device) = self.device.as_mut() {
            let _ = device.transmit(frame, None);
            self.has_queued = true;
            let [_, card] = &mut self.traffic;
            card.count(true, frame.len());
        }
    }

    fn send_arp(&mut self, operation: ArpOperation, host: Ipv4Addr, mac: Mac) {
        let (Some(own), Some(device)) = (self.routes.own_v4(), self.device.as_mut()) else {
            return;
        };
        let arp = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(device.mac()),
            source_protocol_addr: own,
            target_hardware_addr: EthernetAddress(mac),
            target_protocol_addr: host,
        };
        let mut bytes = [0; ETHERNET_HEADER + 28];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_dst_addr(EthernetAddress(mac));
        frame.set_src_addr(EthernetAddress(device.mac()));
        frame.set_ethertype(EthernetProtocol::Arp);
        arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        let _ = device.transmit(&bytes, None);
        self.has_queued = true;
        let [_, card] = &mut self.traffic;
        card.count(true, bytes.len());
    }

    /// Takes in an ARP packet: learns its sender, answers a request for our address.
    pub(crate) fn on_arp(&mut self, packet: &[u8]) {
        let arp = ArpPacket::new_checked(packet).and_then(|p| ArpRepr::parse(&p));
        let (Some(lease), Ok(arp)) = (self.routes.lease.as_ref(), arp) else {
            return;
        };
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: sender,
            target_protocol_addr: target,
            ..
        } = arp
        else {
            return;
        };
        let own = lease.address;
        if target != own.address || !mac.is_unicast() || sender == own.address {
            return;
        }
        let is_neighbor = crate::types::is_unicast(sender)
            && own.contains(sender)
            && own.broadcast() != Some(sender);
        if is_neighbor {
            self.learn(IpAddr::V4(sender), mac.0);
        }
        // A sender without an address probes for a conflict (RFC 5227) and gets an answer, too.
        if operation == ArpOperation::Request && (is_neighbor || sender.is_unspecified()) {
            self.send_arp(ArpOperation::Reply, sender, mac.0);
        }
    }

    /// Says when [`Output::expire`], [`Output::expire_v6`] and [`Output::report_groups`] have something to do.
    pub(crate) fn deadlines(&self, mut take: impl FnMut(Option<Nanos>)) {
        take(self.neighbors.deadline());
        take(self.deadline_v6());
        take(self.groups.deadline());
    }

    /// Carries on with requests that got no answer; returns packets whose next hop is unreachable.
    pub(crate) fn expire(&mut self) -> Vec<Vec<u8>> {
        let mut lost = Vec::new();
        while let Some(retry) = self.neighbors.expire(self.now) {
            match retry {
                Retry::Ask(host) => self.ask(host),
                Retry::Unreachable(packets) => lost.extend(packets),
            }
        }
        lost
    }

    /// Receives a frame from the card to the beginning of `frame`; `None` when there is none.
    pub(crate) fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Received> {
        let received = self.device.as_mut()?.receive(frame)?;
        let [_, card] = &mut self.traffic;
        card.count(false, received.len);
        Some(received)
    }

    /// Returns whether there is something that the next turn sends, or looks at, however early it comes.
    pub(crate) fn is_pending(&self) -> bool {
        self.has_queued || self.split.is_some() || self.has_looped()
    }

    pub(crate) fn flush(&mut self) {
        self.has_queued = false;
        if let Some(device) = self.device.as_mut() {
            self.rings = self.rings.union(device.flush());
        }
    }
}
