//! The device that smoltcp sees: at most one packet to take in, and [`Output`] to send by.

use core::convert::Infallible;

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpProtocol, Ipv4Cidr, TcpPacket, TcpSeqNumber};
use tyn_abi::Nanos;

use crate::output::Output;
use crate::types::{Cidr, Path};
use crate::wire::Ip;

/// Converts a point in time to smoltcp's.
pub(crate) fn instant(at: Nanos) -> Instant {
    Instant::from_micros(i64::try_from(at.0 / 1000).unwrap_or(i64::MAX))
}

/// Converts a point in time of smoltcp's, rounding up.
pub(crate) fn nanos(at: Instant) -> Nanos {
    Nanos(
        u64::try_from(at.total_micros())
            .unwrap_or(0)
            .saturating_mul(1000),
    )
}

/// Converts a duration to smoltcp's.
pub(crate) fn duration(of: Nanos) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(of.0 / 1000)
}

/// What a connection has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastSent {
    /// The sequence number after everything that was ever sent (SND.NXT of RFC 9293).
    pub(crate) next: u32,
    /// The last acknowledgement number.
    pub(crate) acked: u32,
}

/// A device for one call into smoltcp.
pub(crate) struct Shim<'a> {
    out: &'a mut Output,
    path: Path,
    tos: u8,
    received: Option<&'a [u8]>,
    /// What has been sent; given to, and taken from the connection.
    pub(crate) last_sent: Option<LastSent>,
    /// A packet was ready but could not leave.
    pub(crate) is_exhausted: bool,
    /// What is sent goes nowhere.
    is_mute: bool,
    /// Windows are divided by two to this power on their way out.
    shift: u8,
}

impl<'a> Shim<'a> {
    pub(crate) fn new(out: &'a mut Output, path: Path, tos: u8) -> Self {
        Self {
            out,
            path,
            tos,
            received: None,
            last_sent: None,
            is_exhausted: false,
            is_mute: false,
            shift: 0,
        }
    }

    /// Offers a packet to be taken in.
    pub(crate) fn receiving(mut self, packet: &'a [u8]) -> Self {
        self.received = Some(packet);
        self
    }

    /// Returns the current time.
    pub(crate) fn now(&self) -> Nanos {
        self.out.now
    }

    /// Goes on from what a connection has sent.
    pub(crate) fn after(mut self, last_sent: Option<LastSent>) -> Self {
        self.last_sent = last_sent;
        self
    }

    /// Divides the windows that are sent by two to the power of `shift`, besides what smoltcp scales them by.
    pub(crate) fn scaling(mut self, shift: u8) -> Self {
        self.shift = shift;
        self
    }

    /// Swallows what is sent.
    pub(crate) fn mute(mut self) -> Self {
        self.is_mute = true;
        self
    }
}

impl Device for Shim<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Transmit<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        let packet = self.received.take()?;
        let transmit = Transmit {
            out: self.out,
            path: self.path,
            tos: self.tos,
            last_sent: &mut self.last_sent,
            is_mute: self.is_mute,
            shift: self.shift,
        };
        Some((Received(packet), transmit))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        if !self.is_mute && !self.out.has_room(self.path) {
            self.is_exhausted = true;
            return None;
        }
        Some(Transmit {
            out: self.out,
            path: self.path,
            tos: self.tos,
            last_sent: &mut self.last_sent,
            is_mute: self.is_mute,
            shift: self.shift,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = self.out.mtu(self.path);
        caps.checksum = self.out.checksums(self.path);
        caps
    }
}

/// A packet that came in.
pub(crate) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Leave to send one packet.
pub(crate) struct Transmit<'a> {
    out: &'a mut Output,
    path: Path,
    tos: u8,
    last_sent: &'a mut Option<LastSent>,
    is_mute: bool,
    shift: u8,
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if self.is_mute {
            return f(&mut alloc::vec![0; len]);
        }
        let last_sent = self.last_sent;
        let has_checksum = self.out.checksums(self.path).tcp.tx();
        let fill = |packet: &mut [u8]| {
            let result = f(packet);
            if self.shift > 0 {
                scale_window(packet, self.shift, has_checksum);
            }
            if let Some(sent) = follow(packet, *last_sent, has_checksum) {
                *last_sent = Some(sent);
            }
            Ok::<R, Infallible>(result)
        };
        let Ok(result) = self.out.emit(self.path, len, self.tos, fill);
        result
    }
}

/// Takes note of a segment on its way out, and gives acknowledgements the sequence number that they must have.
///
/// When its retransmission timer fires, smoltcp goes back to the oldest segment that was not acknowledged, and numbers
/// acknowledgements and resets from there, too. The peer may be beyond that already; it then ignores them as out of its
/// window (RFC 9293 §3.10.7.4), and two such peers ignore each other for ever. RFC 9293 asks for SND.NXT.
fn follow(packet: &mut [u8], before: Option<LastSent>, has_checksum: bool) -> Option<LastSent> {
    let ip = Ip::parse(packet)?;
    if ip.protocol != IpProtocol::Tcp {
        return None;
    }
    let (source, destination, header) = (ip.source.into(), ip.destination.into(), ip.header);
    let mut tcp = TcpPacket::new_checked(packet.get_mut(header..)?).ok()?;
    let acked = tcp.ack_number().0.cast_unsigned();
    let start = tcp.seq_number().0.cast_unsigned();
    let end = start.wrapping_add(tcp.segment_len() as u32);
    let Some(before) = before else {
        return Some(LastSent { next: end, acked });
    };
    let is_behind = |n: u32| n.wrapping_sub(before.next).cast_signed() < 0;
    let next = if is_behind(end) { before.next } else { end };
    if end == start && tcp.ack() && is_behind(start) {
        tcp.set_seq_number(TcpSeqNumber(next.cast_signed()));
        if has_checksum {
            tcp.fill_checksum(&source, &destination);
        }
    }
    Some(LastSent { next, acked })
}

/// Scales the window of a segment on its way out, if it is of the kind whose window is scaled (RFC 7323 §2.2).
fn scale_window(packet: &mut [u8], shift: u8, has_checksum: bool) -> Option<()> {
    let ip = Ip::parse(packet)?;
    if ip.protocol != IpProtocol::Tcp {
        return None;
    }
    let (source, destination, header) = (ip.source.into(), ip.destination.into(), ip.header);
    let mut tcp = TcpPacket::new_checked(packet.get_mut(header..)?).ok()?;
    if !tcp.syn() {
        tcp.set_window_len(tcp.window_len() >> shift);
        if has_checksum {
            tcp.fill_checksum(&source, &destination);
        }
    }
    Some(())
}

/// Makes an interface of smoltcp's for one way. What it is shown is ours: every address counts as its own.
pub(crate) fn interface(out: &mut Output, path: Path, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let now = instant(out.now);
    let mut iface = Interface::new(config, &mut Shim::new(out, path, 0), now);
    iface.set_any_ip(true);
    iface
}

/// Gives an interface its address.
pub(crate) fn set_address(iface: &mut Interface, address: Option<Cidr>) {
    iface.update_ip_addrs(|addresses| {
        addresses.clear();
        if let Some(cidr) = address {
            // The list has room for two.
            let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(cidr.address, cidr.prefix)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::listen::{plain_segment, segment_len, write_segment};
    use crate::types::Tuple;
    use crate::wire::IPV4_HEADER;
    use core::net::{Ipv4Addr, SocketAddr};
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::TcpControl;

    fn sent(seq: u32, control: TcpControl, before: u32) -> (u32, u32, bool) {
        let at = |d, p| SocketAddr::new(Ipv4Addr::new(10, 0, 0, d).into(), p);
        let tuple = Tuple {
            local: at(1, 80),
            remote: at(2, 5000),
        };
        let mut segment = plain_segment(&tuple, seq, Some(7));
        segment.control = control;
        let mut packet = alloc::vec![0; segment_len(&tuple, &segment)];
        let checksums = ChecksumCapabilities::default();
        write_segment(&mut packet, &tuple, 64, &segment, &checksums);
        let before = LastSent {
            next: before,
            acked: 0,
        };
        let after = follow(&mut packet, Some(before), true).unwrap();
        let tcp = TcpPacket::new_checked(&packet[IPV4_HEADER..]).unwrap();
        let (source, destination) = tuple.addresses();
        let is_sound = tcp.verify_checksum(&source, &destination);
        assert_eq!(after.acked, 7);
        (tcp.seq_number().0 as u32, after.next, is_sound)
    }

    #[test]
    fn acknowledgements_and_resets_never_go_back() {
        for control in [TcpControl::None, TcpControl::Rst] {
            assert_eq!(sent(100, control, 300), (300, 300, true));
            assert_eq!(sent(300, control, 300), (300, 300, true));
            assert_eq!(sent(u32::MAX - 5, control, 10), (10, 10, true));
            assert_eq!(sent(10, control, u32::MAX - 5), (10, 10, true));
        }
        assert_eq!(sent(100, TcpControl::Fin, 300), (100, 300, true));
        assert_eq!(sent(300, TcpControl::Fin, 300), (300, 301, true));
    }
}
