//! A guest that runs at the end of a TAP device, to be measured.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tyn_vm_host::{Config, Console, MemorySize, Network, Ram, Vm};

use super::guests::{self, Guest};
use super::table::{Row, compare, machine_load};
use super::{Options, Rivals};
use crate::lab::GUEST_PORT;
use crate::net::flood::{self, Wire};
use crate::net::path::BadPath;
use crate::net::tap::Tap;
use crate::net::{Wiring, bulk, clients};

/// The addresses that `bench/linux-init.c` gives its guest.
const HOST: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 2, 2);
pub(super) const GUEST: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 0, 2, 15);
/// Units of `/proc/PID/stat` in a second (`USER_HZ`, the same on all x86 machines).
const TICKS: f64 = 100.0;
/// How long a guest may take to its first answer.
const BOOT: Duration = Duration::from_secs(60);

/// Measures Tyn and the Linux guests with the image that also moves bytes, in turn, and prints `what` and the table.
///
/// # Errors
/// When a guest can't be built; those of `measure`.
pub(super) fn beside(
    options: Options,
    rivals: &Rivals,
    what: &str,
    measure: impl Fn(&Guest) -> Result<Vec<Row>>,
) -> Result<()> {
    let image = bulk::image(&guests::example_image()?)?;
    let mut all = vec![guests::tyn(&image)?];
    for linux in &rivals.linux {
        all.push(guests::linux(*linux, &image)?);
    }
    println!(
        "{} boots of each guest in turn, {} CPUs, {} MiB, {what}; medians; load of this machine {}",
        options.runs,
        options.cpus,
        options.memory,
        machine_load()?
    );
    compare(&all, options.runs, measure)
}

/// A guest at the end of a TAP device.
pub(super) struct Running {
    pub(super) vm: Vm,
    /// The bad path to it, if there is one.
    pub(super) path: Option<BadPath>,
    /// The wire on which frames can be forged, if there is one.
    pub(super) wire: Option<Wire>,
    // Behind the machine: they must go first.
    pub(super) tap: Tap,
    _dir: tempfile::TempDir,
}

impl Running {
    /// Boots a guest and waits for its first answer.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn boot(guest: &Guest, options: Options, wiring: Wiring) -> Result<Self> {
        let tap = Tap::at(HOST)?;
        let dir = tempfile::Builder::new().prefix("tyn-bench-").tempdir()?;
        let (mut path, mut wire) = (None, None);
        let network = match wiring {
            Wiring::Tap => Network::Tap(tap.name.clone()),
            Wiring::Path(how) => {
                let socket = dir.path().join("path");
                path = Some(BadPath::new(&tap.name, &socket, how)?);
                Network::Stream(socket)
            }
            Wiring::Wire => {
                wire = Some(Wire::new(dir.path())?);
                Network::Hub {
                    tap: tap.name.clone(),
                    sockets: flood::sockets(dir.path()),
                }
            }
        };
        let config = Config {
            machine: guest.machine,
            cpus: options.cpus,
            memory: MemorySize(options.memory << 20),
            ram: Ram::Memfd,
            append: format!("{} ip={GUEST}/24,{HOST}", guest.append),
            network,
            ..Config::new(&guest.kernel, &guest.initrd)
        };
        let vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
        let running = Self {
            vm,
            path,
            wire,
            tap,
            _dir: dir,
        };
        let start = Instant::now();
        while clients::connect(1, (GUEST, GUEST_PORT).into(), Duration::from_secs(2))
            .and_then(|one| clients::ask(&one))
            .is_err()
        {
            let console = || running.vm.console();
            ensure!(start.elapsed() < BOOT, "it does not answer: {}", console());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    /// Returns how much of the guest's memory was ever used.
    ///
    /// # Errors
    /// When that can't be seen.
    pub(super) fn touched(&self) -> Result<u64> {
        let touched = self.vm.guest_ram_touched();
        touched.context("the guest's memory can't be seen")
    }

    /// Returns the CPU time that QEMU has used, in seconds.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub(super) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.vm.control().pid()))?;
        let ticks = cpu_ticks(&stat).context("/proc/PID/stat makes no sense")?;
        Ok(ticks as f64 / TICKS)
    }
}

/// Returns user and system time of a process (`proc(5)`).
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name may have spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process_are_found_behind_its_name() {
        let stat = "12 (qemu (x) y) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("12 (q) S"), None);
    }
}
