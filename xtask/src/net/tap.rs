//! A TAP device: an Ethernet card of this machine whose wire ends in a guest.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use super::clients;
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

/// Addresses that connections come from.
const MOST_SOURCES: u8 = 3;

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
    host: Ipv4Addr,
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
        let tap = Self { name, host };
        // Its own address of IPv6 is good at once: until it is, this machine would speak to neighbours by another address, to
        // which they know no way.
        let setting = tap.v6_setting("accept_dad");
        if setting.exists() {
            fs::write(&setting, "0").with_context(|| setting.display().to_string())?;
        }
        tap.ip(&["address", "add", &format!("{host}/24"), "dev", &tap.name])?;
        tap.ip(&["link", "set", "dev", &tap.name, "txqueuelen", QUEUE, "up"])?;
        Ok(tap)
    }

    fn v6_setting(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/sys/net/ipv6/conf/{}/{name}", self.name))
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        output(Command::new("ip").args(args)).map(drop)
    }

    /// Gives this machine's end an IPv6 address. It does not listen to routers: those that a test plays are for the guest.
    ///
    /// # Errors
    /// When this machine has no IPv6.
    pub(crate) fn add_v6(&self, address: Ipv6Addr) -> Result<()> {
        let setting = self.v6_setting("accept_ra");
        fs::write(&setting, "0").with_context(|| setting.display().to_string())?;
        let address = format!("{address}/64");
        self.ip(&["-6", "address", "add", &address, "dev", &self.name, "nodad"])
    }

    /// Gives this machine's end as many IPv4 addresses more as `connections` need (see `clients::connect_many`); returns them.
    ///
    /// # Errors
    /// When the device is gone.
    pub(crate) fn add_sources(&self, connections: usize) -> Result<Vec<Ipv4Addr>> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let count = connections.div_ceil(clients::PER_ADDRESS);
        ensure!(count <= usize::from(MOST_SOURCES), "too many connections");
        let turn = std::process::id().wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let all = sources(self.host, turn, count as u8);
        for address in &all {
            self.ip(&[
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                &self.name,
            ])?;
        }
        Ok(all)
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

/// Returns addresses beside `host`, others than those of the turn before, whose connections this machine remembers for a minute.
fn sources(host: Ipv4Addr, turn: u32, count: u8) -> Vec<Ipv4Addr> {
    let [a, b, c, _] = host.octets();
    let first = 100 + (turn % 50) as u8 * MOST_SOURCES;
    (first..first + count)
        .map(|d| Ipv4Addr::new(a, b, c, d))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_has_its_own_addresses() {
        let all: std::collections::HashSet<_> = (7..57)
            .flat_map(|turn| sources(HOST, turn, MOST_SOURCES))
            .collect();
        assert_eq!(all.len(), 150);
        assert!(!all.contains(&HOST) && !all.contains(&GUEST));
    }
}
