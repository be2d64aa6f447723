//! The device that smoltcp sees: at most one packet to take in, and [`Output`] to send by.

use core::convert::Infallible;

use smoltcp::iface::{Config, Interface};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Cidr};
use tyn_abi::Nanos;

use crate::output::Output;
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

/// The longest ICMP error (RFC 4443 §2.4).
const LONGEST_ERROR: usize = 1280;

/// A device for one call into smoltcp.
pub(crate) struct Shim<'a> {
    out: &'a mut Output,
    path: Path,
    tos: u8,
    received: Option<&'a [u8]>,
}

impl<'a> Shim<'a> {
    pub(crate) fn new(out: &'a mut Output, path: Path, tos: u8) -> Self {
        Self {
            out,
            path,
            tos,
            received: None,
        }
    }

    /// Offers a packet to be taken in.
    pub(crate) fn receiving(mut self, packet: &'a [u8]) -> Self {
        self.received = Some(packet);
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
        // An answer is no longer than the question, but for errors, which quote as much as always gets through.
        if !self.out.reserve(packet.len().max(LONGEST_ERROR)) {
            return None;
        }
        let transmit = Transmit {
            out: self.out,
            path: self.path,
            tos: self.tos,
        };
        Some((Received(packet), transmit))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        let is_ready = self.out.has_room(self.path) && self.out.reserve(self.out.mtu(self.path));
        is_ready.then_some(Transmit {
            out: self.out,
            path: self.path,
            tos: self.tos,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        // What is longer than the link is split behind smoltcp's back.
        caps.max_transmission_unit = self.out.mtu(Path::Loopback);
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
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { out, path, tos } = self;
        let fill = |packet: &mut [u8]| {
            // smoltcp leaves the fields of errors that mean nothing as they are, and a packet was here before.
            packet.fill(0);
            Ok::<R, Infallible>(f(packet))
        };
        let mtu = out.mtu(path);
        if path == Path::Loopback || len <= mtu {
            let Ok(result) = out.emit_reserved(path, len, tos, fill);
            return result;
        }
        // The answer to a question that came in pieces; it is lost when another packet's pieces wait for room.
        let is_free = out.send_split();
        let Ok(result) = out.build(len, tos, fill);
        if is_free {
            out.launch_split(mtu);
        }
        result
    }
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
