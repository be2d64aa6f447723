//! The way out: routes, Ethernet framing and ARP for the card, a queue for packets to ourselves.
//!
//! Packets are built in one buffer behind room for the Ethernet header and leave at once: to the card when the next
//! hop's address is known, into the neighbour table when it is not, into the queue of the loopback path.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol,
    Ipv4Packet, TcpPacket, UdpPacket,
};
use tyn_abi::{Errno, Nanos};

use crate::device::{NetDevice, PartialChecksum, RxChecksum};
use crate::neighbor::{Mac, Neighbors, Retry};
use crate::types::{Lease, Path};

/// Length of an Ethernet header.
pub(crate) const ETHERNET_HEADER: usize = 14;
/// Length of the IPv4 headers that we build.
pub(crate) const IP_HEADER: usize = 20;
/// Greatest packet on the loopback path: what an IPv4 header can say.
const LOOPBACK_MTU: usize = 65535;
/// Packets on the loopback path that nobody has looked at yet.
const LOOPED_PACKETS: usize = 512;
const BROADCAST: Mac = [0xff; 6];

/// Everything that a packet meets on its way out.
pub(crate) struct Output {
    device: Option<Box<dyn NetDevice>>,
    lease: Option<Lease>,
    neighbors: Neighbors,
    looped: VecDeque<Vec<u8>>,
    frame: Vec<u8>,
    /// The current time, set at the start of each turn.
    pub(crate) now: Nanos,
}

impl Output {
    pub(crate) fn new(device: Option<Box<dyn NetDevice>>) -> Self {
        Self {
            device,
            lease: None,
            neighbors: Neighbors::default(),
            looped: VecDeque::new(),
            frame: Vec::new(),
            now: Nanos::ZERO,
        }
    }

    pub(crate) fn device(&mut self) -> Option<&mut (dyn NetDevice + 'static)> {
        self.device.as_deref_mut()
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
                .map_or(1500, |d| d.mtu().clamp(576, LOOPBACK_MTU)),
        }
    }

    /// Returns which checksums smoltcp computes; it never verifies any, the way in has done so.
    pub(crate) fn checksums(&self, path: Path) -> ChecksumCapabilities {
        let mut caps = ChecksumCapabilities::ignored();
        if path == Path::Nic {
            caps.ipv4 = Checksum::Tx;
            caps.icmpv4 = Checksum::Tx;
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
        self.lease.as_ref()
    }

    pub(crate) fn configure(&mut self, lease: Option<Lease>) {
        self.lease = lease;
        self.neighbors.clear();
    }

    /// Returns whether packets to `address` are for us.
    pub(crate) fn is_own(&self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.own_address() == Some(address)
    }

    pub(crate) fn own_address(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().map(|l| l.address.address)
    }

    /// Returns whether `address` means every host on the card's network.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self
                .lease
                .as_ref()
                .is_some_and(|l| l.address.broadcast() == Some(address))
    }

    /// Returns which way leads to `destination`, and our address on that way.
    ///
    /// # Errors
    /// `ENETUNREACH`.
    pub(crate) fn route(&self, destination: Ipv4Addr) -> Result<(Path, Ipv4Addr), Errno> {
        if destination.is_loopback() {
            return Ok((Path::Loopback, Ipv4Addr::LOCALHOST));
        }
        let lease = self.lease.as_ref().ok_or(Errno::ENETUNREACH)?;
        let own = lease.address.address;
        if destination == own {
            return Ok((Path::Loopback, own));
        }
        match self.next_hop(destination) {
            Some(_) => Ok((Path::Nic, own)),
            None => Err(Errno::ENETUNREACH),
        }
    }

    /// Returns the host to hand a packet to: a broadcast or multicast address stands for itself.
    fn next_hop(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let lease = self.lease.as_ref()?;
        let is_direct = destination.is_broadcast()
            || destination.is_multicast()
            || lease.address.contains(destination);
        if is_direct {
            Some(destination)
        } else {
            lease.gateway
        }
    }

    /// Returns whether a packet can leave now. When it cannot, the card interrupts as soon as one can.
    pub(crate) fn has_room(&mut self, path: Path) -> bool {
        match path {
            Path::Loopback => self.looped.len() < LOOPED_PACKETS,
            Path::Nic => self.device.as_mut().is_none_or(|d| d.room() > 0),
        }
    }

    /// Builds a packet of `len` bytes (IPv4 header included) with `fill` and sends it; one that finds no room is lost,
    /// as on any network.
    ///
    /// # Errors
    /// Those of `fill`; nothing is sent then.
    pub(crate) fn emit<R, E>(
        &mut self,
        path: Path,
        len: usize,
        tos: u8,
        fill: impl FnOnce(&mut [u8]) -> Result<R, E>,
    ) -> Result<R, E> {
        self.frame.resize(ETHERNET_HEADER + len, 0);
        let packet = self.frame.get_mut(ETHERNET_HEADER..).unwrap_or_default();
        let result = fill(packet)?;
        if tos != 0 {
            let mut ip = Ipv4Packet::new_unchecked(packet);
            ip.set_dscp(tos >> 2);
            ip.set_ecn(tos & 3);
            ip.fill_checksum();
        }
        match path {
            Path::Loopback if self.looped.len() < LOOPED_PACKETS => {
                let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
                self.looped.push_back(packet.to_vec());
            }
            Path::Loopback => {}
            Path::Nic => self.send_packet(),
        }
        Ok(result)
    }

    /// Takes the oldest packet that we sent to ourselves.
    pub(crate) fn take_looped(&mut self) -> Option<Vec<u8>> {
        self.looped.pop_front()
    }

    pub(crate) fn has_looped(&self) -> bool {
        !self.looped.is_empty()
    }

    /// Sends the packet in `frame` to its next hop, or lets it wait for the hop's address.
    fn send_packet(&mut self) {
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        let Ok(ip) = Ipv4Packet::new_checked(packet) else {
            return;
        };
        let destination = ip.dst_addr();
        let Some(hop) = self.next_hop(destination) else {
            return;
        };
        if self.completes_checksums() {
            start_checksum(self.frame.get_mut(ETHERNET_HEADER..).unwrap_or_default());
        }
        if self.is_broadcast(destination) {
            return self.transmit(BROADCAST);
        }
        if destination.is_multicast() {
            let [_, b, c, d] = destination.octets();
            return self.transmit([0x01, 0x00, 0x5e, b & 0x7f, c, d]);
        }
        let packet = self.frame.get(ETHERNET_HEADER..).unwrap_or_default();
        let resolution = self.neighbors.resolve(hop, packet, self.now);
        if let Some(mac) = resolution.mac {
            self.transmit(mac);
        }
        if resolution.asks {
            self.send_arp(ArpOperation::Request, hop, BROADCAST);
        }
    }

    /// Hands the packet in `frame` to the card.
    fn transmit(&mut self, to: Mac) {
        let Some(device) = self.device.as_mut() else {
            return;
        };
        let mut frame = EthernetFrame::new_unchecked(&mut self.frame[..]);
        frame.set_dst_addr(EthernetAddress(to));
        frame.set_src_addr(EthernetAddress(device.mac()));
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let checksum = device
            .offloads()
            .completes_checksums
            .then(|| partial_checksum(frame.payload_mut()))
            .flatten();
        // A full queue loses the packet: sockets have asked for room, replies may be lost.
        let _ = device.transmit(&self.frame, checksum);
    }

    /// Sends a frame that somebody else has built (DHCP).
    pub(crate) fn transmit_raw(&mut self, frame: &[u8]) {
        if let Some(device) = self.device.as_mut() {
            let _ = device.transmit(frame, None);
        }
    }

    fn send_arp(&mut self, operation: ArpOperation, host: Ipv4Addr, mac: Mac) {
        let (Some(own), Some(device)) = (self.own_address(), self.device.as_mut()) else {
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
    }

    /// Takes in an ARP packet: learns its sender, answers a request for our address.
    pub(crate) fn on_arp(&mut self, packet: &[u8]) {
        let arp = ArpPacket::new_checked(packet).and_then(|p| ArpRepr::parse(&p));
        let (Some(lease), Ok(arp)) = (self.lease.as_ref(), arp) else {
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
            for packet in self.neighbors.learn(sender, mac.0, self.now) {
                self.frame.resize(ETHERNET_HEADER, 0);
                self.frame.extend_from_slice(&packet);
                self.transmit(mac.0);
            }
        }
        // A sender without an address probes for a conflict (RFC 5227) and gets an answer, too.
        if operation == ArpOperation::Request && (is_neighbor || sender.is_unspecified()) {
            self.send_arp(ArpOperation::Reply, sender, mac.0);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.neighbors.deadline()
    }

    /// Carries on with requests that got no answer; returns packets whose next hop is unreachable.
    pub(crate) fn expire(&mut self) -> Vec<Vec<u8>> {
        let mut lost = Vec::new();
        while let Some(retry) = self.neighbors.expire(self.now) {
            match retry {
                Retry::Ask(host) => self.send_arp(ArpOperation::Request, host, BROADCAST),
                Retry::Unreachable(packets) => lost.extend(packets),
            }
        }
        lost
    }

    /// Receives a frame from the card into `frame`; `None` when there is none.
    pub(crate) fn receive(&mut self, frame: &mut Vec<u8>) -> Option<RxChecksum> {
        let mut checksum = RxChecksum::Unknown;
        let was_one = self.device.as_mut()?.receive(&mut |bytes, c| {
            frame.clear();
            frame.extend_from_slice(bytes);
            checksum = c;
        });
        was_one.then_some(checksum)
    }

    pub(crate) fn flush(&mut self) {
        if let Some(device) = self.device.as_mut() {
            device.flush();
        }
    }
}

/// Puts the sum of the pseudo-header where the checksum goes, for the card to complete.
fn start_checksum(packet: &mut [u8]) {
    let Some(partial) = partial_checksum(packet) else {
        return;
    };
    let mut ip = Ipv4Packet::new_unchecked(packet);
    let protocol = ip.next_header();
    let sum = pseudo_header_sum(&ip);
    match protocol {
        IpProtocol::Tcp => TcpPacket::new_unchecked(ip.payload_mut()).set_checksum(sum),
        _ if partial.offset == 6 => UdpPacket::new_unchecked(ip.payload_mut()).set_checksum(sum),
        _ => {}
    }
}

/// Returns what the card is to complete; fragments and other protocols carry checksums of their own.
fn partial_checksum(packet: &[u8]) -> Option<PartialChecksum> {
    let ip = Ipv4Packet::new_checked(packet).ok()?;
    if ip.more_frags() || ip.frag_offset() != 0 {
        return None;
    }
    let offset = match ip.next_header() {
        IpProtocol::Tcp if ip.payload().len() >= 20 => 16,
        IpProtocol::Udp if ip.payload().len() >= 8 => 6,
        _ => return None,
    };
    Some(PartialChecksum {
        start: ETHERNET_HEADER as u16 + u16::from(ip.header_len()),
        offset,
    })
}

/// Sums the pseudo-header (RFC 9293 §3.1), folded, not complemented.
fn pseudo_header_sum<T: AsRef<[u8]>>(ip: &Ipv4Packet<T>) -> u16 {
    let halves = |a: Ipv4Addr| (u32::from(a) >> 16) + (u32::from(a) & 0xffff);
    let length = u32::from(ip.total_len()).saturating_sub(u32::from(ip.header_len()));
    let sum = halves(ip.src_addr())
        + halves(ip.dst_addr())
        + u32::from(u8::from(ip.next_header()))
        + length;
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}
