//! `cargo xtask bench path`: great transfers over a path that loses, delays and reorders, Tyn beside Linux
//! guests. This program is the other end, and the path (`crate::net::path`); every byte is checked.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::guests::Guest;
use super::running::{GUEST, Running, beside};
use super::table::{Better, Row};
use super::{Options, Rivals};
use crate::net::line::Impairment;
use crate::net::path;
use crate::net::{Wiring, bulk};

/// The congestion controls of this machine that send to the guest, if it has them.
const CONGESTION: &[&str] = &["cubic", "bbr"];

/// How much is measured, and over what.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Load {
    /// Blocks of 64 KiB to transfer each way; 16389 are 1 GiB
    #[arg(long, default_value_t = 300)]
    blocks: usize,
    /// Connections among which they are divided
    #[arg(long, default_value_t = 1)]
    flows: usize,
    #[command(flatten)]
    how: Impairment,
}

/// Measures all guests in turn and prints the table.
///
/// # Errors
/// When a guest can't be built, or a byte is wrong.
pub(super) fn path(options: Options, rivals: &Rivals, load: Load) -> Result<()> {
    let what = format!(
        "{} blocks over {} connections; {:?}",
        load.blocks, load.flows, load.how
    );
    beside(options, rivals, &what, |guest| {
        measure(guest, options, load)
    })
}

/// Boots a guest and measures all rows.
fn measure(guest: &Guest, options: Options, load: Load) -> Result<Vec<Row>> {
    let mut running = Running::boot(guest, options, Wiring::Path(load.how))?;
    let result = rows(&running, load);
    let rows = result.with_context(|| format!("console: {}", running.vm.console()))?;
    let counts = running.path.take().context("there is a path")?.finish()?;
    path::check(&counts)?;
    for (way, counts) in ["to", "from"].iter().zip(counts) {
        eprintln!("{}: frames {way} the guest: {counts:?}", guest.name);
    }
    Ok(rows)
}

fn rows(running: &Running, load: Load) -> Result<Vec<Row>> {
    let address = (GUEST, bulk::PORT).into();
    let mut rows = Vec::new();
    let mut measure = |name: &str, transfer: &(dyn Fn(usize) -> Result<Duration> + Sync)| {
        let before = running.cpu()?;
        let kib = (load.blocks * bulk::BLOCK) as f64 / 1024.0;
        let rate = divided(load, transfer)?;
        let cpu = running.cpu()? - before;
        rows.push(Row {
            name: name.into(),
            unit: "KiB/s",
            better: Better::More,
            value: rate,
        });
        rows.push(Row {
            name: format!("CPU {name}"),
            unit: "ms/MiB",
            better: Better::Less,
            value: cpu * 1e3 * 1024.0 / kib,
        });
        anyhow::Ok(())
    };
    measure("from the guest", &|count| bulk::from_guest(address, count))?;
    let there_are = fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")?;
    for name in CONGESTION {
        if there_are.split_whitespace().any(|n| n == *name) {
            let transfer = |count| bulk::to_guest_by(address, count, Some(name));
            measure(&format!("to the guest by {name}"), &transfer)?;
        }
    }
    Ok(rows)
}

/// Transfers all blocks over all connections at once; returns the sum of their rates, in KiB a second.
fn divided(load: Load, transfer: &(dyn Fn(usize) -> Result<Duration> + Sync)) -> Result<f64> {
    let flows = load.flows.max(1);
    let count = load.blocks.div_ceil(flows);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..flows)
            .map(|_| scope.spawn(move || transfer(count)))
            .collect();
        let mut sum = 0.0;
        for one in all {
            let took = one
                .join()
                .map_err(|_| anyhow::anyhow!("a transfer panicked"))??;
            sum += (count * bulk::BLOCK) as f64 / 1024.0 / took.as_secs_f64();
        }
        Ok(sum)
    })
}
