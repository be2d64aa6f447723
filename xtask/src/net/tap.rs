//! A TAP device: an Ethernet card of this machine whose wire ends in a guest.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{is_root, output};
use crate::debian;

/// This machine's address on the wire.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 231, 77, 1);
/// The guest's.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 231, 77, 2);
/// Frames that may wait for the guest.
const QUEUE: &str = "20000";

/// The device; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    /// Its name.
    pub(crate) name: String,
}

impl Tap {
    /// Makes the device and gives it its address.
    ///
    /// # Errors
    /// Without root or `/dev/net/tun`.
    pub(crate) fn new() -> Result<Self> {
        ensure!(is_root(), "a TAP device needs root");
        debian::ensure_program("ip", "iproute2")?;
        let name = format!("tyn{}", std::process::id());
        let mut add = Command::new("ip");
        add.args(["tuntap", "add", "dev", &name, "mode", "tap"]);
        output(&mut add).context("no TAP device can be made")?;
        let tap = Self { name };
        tap.ip(&["address", "add", &format!("{HOST}/24"), "dev", &tap.name])?;
        tap.ip(&["link", "set", "dev", &tap.name, "txqueuelen", QUEUE, "up"])?;
        Ok(tap)
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        output(Command::new("ip").args(args)).map(drop)
    }

    /// Returns the kernel option that gives the guest its address.
    pub(crate) fn option() -> String {
        format!("ip={GUEST}/24,{HOST}")
    }

    /// Returns where a port of the guest is.
    pub(crate) fn guest(port: u16) -> SocketAddr {
        (GUEST, port).into()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Whoever made it cannot do more about it.
        let _ = self.ip(&["link", "delete", "dev", &self.name]);
    }
}
