//! The device that smoltcp sees: at most one packet to take in, and [`Output`] to send by.

use core::convert::Infallible;

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Cidr, TcpPacket};
use tyn_abi::Nanos;

use crate::output::{IP_HEADER, Output};
use crate::types::{Cidr, Path};

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

/// Where the last segment that was sent ends, and what it acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LastSent {
    /// The sequence number after it.
    pub(crate) next: u32,
    /// Its acknowledgement number.
    pub(crate) acked: u32,
}

/// A device for one call into smoltcp.
pub(crate) struct Shim<'a> {
    out: &'a mut Output,
    path: Path,
    tos: u8,
    received: Option<&'a [u8]>,
    /// The last TCP segment sent.
    pub(crate) last_sent: Option<LastSent>,
    /// A packet was ready but could not leave.
    pub(crate) is_exhausted: bool,
    /// What is sent goes nowhere.
    is_mute: bool,
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
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if self.is_mute {
            return f(&mut alloc::vec![0; len]);
        }
        let last_sent = self.last_sent;
        let fill = |packet: &mut [u8]| {
            let result = f(packet);
            if let Some(sent) = segment_end(packet) {
                *last_sent = Some(sent);
            }
            Ok::<R, Infallible>(result)
        };
        let Ok(result) = self.out.emit(self.path, len, self.tos, fill);
        result
    }
}

/// Reads where a TCP segment of ours ends.
fn segment_end(packet: &[u8]) -> Option<LastSent> {
    const PROTOCOL_TCP: u8 = 6;
    if *packet.get(9)? != PROTOCOL_TCP {
        return None;
    }
    let tcp = TcpPacket::new_checked(packet.get(IP_HEADER..)?).ok()?;
    let start = tcp.seq_number().0.cast_unsigned();
    Some(LastSent {
        next: start.wrapping_add(tcp.segment_len() as u32),
        acked: tcp.ack_number().0.cast_unsigned(),
    })
}

/// Makes an interface of smoltcp's for one way. On the loopback path every address is ours.
pub(crate) fn interface(
    out: &mut Output,
    path: Path,
    address: Option<Cidr>,
    seed: u64,
) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let now = instant(out.now);
    let mut iface = Interface::new(config, &mut Shim::new(out, path, 0), now);
    iface.set_any_ip(path == Path::Loopback);
    set_address(&mut iface, address);
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
