//! A TAP device: an Ethernet card of this machine whose wire ends in a guest.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{is_root, output};
use crate::debian;

/// This machine's address on the wire.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(10, 231, 77, 1);
/// The guest's.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 231, 77, 2);
/// Beginning of a device's name; the id of the process that made it follows.
const PREFIX: &str = "tyn";
/// Frames that may wait for the guest.
const QUEUE: &str = "20000";

/// What went one way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
}

impl Traffic {
    /// Returns the mean length of a frame since then.
    pub(crate) fn mean_since(self, before: Self) -> u64 {
        (self.bytes - before.bytes) / (self.frames - before.frames).max(1)
    }
}

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
        Self::with(HOST, &[])
    }

    /// The same with several pairs of queues, as many as whoever opens it asks for.
    ///
    /// # Errors
    /// Without root or `/dev/net/tun`.
    pub(crate) fn with_queues() -> Result<Self> {
        Self::with(HOST, &["multi_queue"])
    }

    /// The same with another address.
    ///
    /// # Errors
    /// Without root or `/dev/net/tun`.
    pub(crate) fn at(host: Ipv4Addr) -> Result<Self> {
        Self::with(host, &[])
    }

    fn with(host: Ipv4Addr, more: &[&str]) -> Result<Self> {
        ensure!(is_root(), "a TAP device needs root");
        debian::ensure_program("ip", "iproute2")?;
        remove_abandoned()?;
        let name = format!("{PREFIX}{}", std::process::id());
        let mut add = Command::new("ip");
        add.args(["tuntap", "add", "dev", &name, "mode", "tap"]);
        add.args(more);
        output(&mut add).context("no TAP device can be made")?;
        let tap = Self { name };
        tap.ip(&["address", "add", &format!("{host}/24"), "dev", &tap.name])?;
        tap.ip(&["link", "set", "dev", &tap.name, "txqueuelen", QUEUE, "up"])?;
        Ok(tap)
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        output(Command::new("ip").args(args)).map(drop)
    }

    /// Gives this machine's end an IPv6 address. It does not listen to routers: those that a test plays are for the guest.
    ///
    /// # Errors
    /// When this machine has no IPv6.
    pub(crate) fn add_v6(&self, address: Ipv6Addr) -> Result<()> {
        let setting = format!("/proc/sys/net/ipv6/conf/{}/accept_ra", self.name);
        fs::write(&setting, "0").with_context(|| setting)?;
        let address = format!("{address}/64");
        self.ip(&["-6", "address", "add", &address, "dev", &self.name, "nodad"])
    }

    /// Returns the device's number, the scope of link-local addresses.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn index(&self) -> Result<u32> {
        let path = format!("/sys/class/net/{}/ifindex", self.name);
        Ok(fs::read_to_string(path)?.trim().parse()?)
    }

    /// Returns what came from the guest and what went to it: bytes and frames, where a great segment is one.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn traffic(&self) -> Result<[Traffic; 2]> {
        let count = |what: &str| -> Result<u64> {
            let path = format!("/sys/class/net/{}/statistics/{what}", self.name);
            Ok(fs::read_to_string(path)?.trim().parse()?)
        };
        Ok([
            Traffic {
                bytes: count("rx_bytes")?,
                frames: count("rx_packets")?,
            },
            Traffic {
                bytes: count("tx_bytes")?,
                frames: count("tx_packets")?,
            },
        ])
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

/// Removes devices whose makers were killed: they have the address of ours, and what is for our guest would go to them.
fn remove_abandoned() -> Result<()> {
    for entry in fs::read_dir("/sys/class/net")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let maker = name
            .strip_prefix(PREFIX)
            .and_then(|id| id.parse::<u32>().ok());
        if maker.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            output(Command::new("ip").args(["link", "delete", "dev", name]))?;
        }
    }
    Ok(())
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Whoever made it cannot do more about it.
        let _ = self.ip(&["link", "delete", "dev", &self.name]);
    }
}
