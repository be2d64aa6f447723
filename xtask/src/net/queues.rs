//! Several pairs of queues: the card offers them, the guest takes one for each CPU, and flows go by all of them.

use anyhow::{Context, Result, ensure};
use tyn_vm_host::Machine;

use super::tap::Tap;
use super::{Guest, LIMIT, Options, bulk, clients};
use crate::lab::{GUEST_PORT, Lab};

/// Pairs that the card offers.
const OFFERED: u16 = 3;
/// Connections; the least that one pair gets of so many is far from none.
const CONNECTIONS: usize = 100;

/// Asks over many connections and transfers some blocks over a card with several pairs of queues, by PCI and by MMIO, and
/// looks at each queue.
///
/// # Errors
/// When something is lost, or a pair of those that the guest should use was not used.
pub(super) fn several(lab: &Lab, options: &Options) -> Result<()> {
    let image = bulk::image(&lab.image)?;
    for (machine, cpus) in [(Machine::Q35, 2), (Machine::Microvm, 2), (Machine::Q35, 4)] {
        let guest = Guest::boot_with(lab, options, |config| {
            config.initrd = image.clone();
            config.machine = machine;
            config.cpus = cpus;
            config.queue_pairs = OFFERED;
        })?;
        let expected = OFFERED.min(cpus as u16);
        let streams = clients::connect(CONNECTIONS, Tap::guest(GUEST_PORT), LIMIT);
        let streams = guest.explain(streams)?;
        for _ in 0..3 {
            guest.explain(clients::ask(&streams))?;
        }
        let blocks = options.blocks.div_ceil(10);
        guest.explain(bulk::to_guest(Tap::guest(bulk::PORT), blocks))?;
        guest.explain(bulk::from_guest(Tap::guest(bulk::PORT), blocks))?;
        let said = guest.vm.report().metrics.get("net_queue_pairs").copied();
        ensure!(
            said == Some(expected.into()),
            "the guest says that it uses {said:?} pairs of queues, not {expected}"
        );
        let mut frames = Vec::new();
        for pair in 0..expected {
            frames.push([used(&guest, 2 * pair)?, used(&guest, 2 * pair + 1)?]);
        }
        eprintln!(
            "          {machine}, {cpus} CPUs: {CONNECTIONS} connections by {expected} pairs of queues; frames received and \
             sent by each: {frames:?}"
        );
        // What a pair gets of the connections' own packets, had it a tenth of its share.
        let least = CONNECTIONS as u64 / u64::from(expected) / 10;
        ensure!(
            frames.iter().flatten().all(|&n| n >= least),
            "a queue was hardly used"
        );
        drop(streams);
        guest.shut_down()?;
    }
    Ok(())
}

/// Returns how many buffers of a queue the card has used, modulo 65536.
fn used(guest: &Guest, queue: u16) -> Result<u64> {
    let control = guest.vm.control();
    // The card's place in QEMU's tree depends on the machine; it says by itself what it is.
    let list = control.monitor("info virtio")?;
    let path = list
        .lines()
        .find_map(|line| line.trim().strip_suffix("[virtio-net]"))
        .with_context(|| format!("QEMU knows no network card: {list}"))?
        .trim();
    let status = control.monitor(&format!("info virtio-queue-status {path} {queue}"))?;
    status
        .lines()
        .find_map(|line| line.trim().strip_prefix("used_idx:"))
        .with_context(|| format!("QEMU says nothing of queue {queue}: {status}"))?
        .trim()
        .parse()
        .context("not a number")
}
