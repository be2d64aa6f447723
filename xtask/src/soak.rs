//! `cargo xtask soak`: many cold boots, each of which must serve; what failed is shown with its trace.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tyn_vm_host::{Machine, MemorySize};

use crate::lab::{Guest, Lab};

/// Options of the soak.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of boots
    #[arg(long, default_value_t = 50)]
    boots: u32,
    /// Virtual CPUs
    #[arg(long, default_value_t = 4)]
    cpus: u32,
    /// Memory, e.g. 128M or 2G
    #[arg(long, default_value = "512M")]
    memory: MemorySize,
    /// Machine type: q35, pc or microvm
    #[arg(long, default_value_t = Machine::Q35)]
    machine: Machine,
    /// Stop each guest by its power button, which must lead to exit status 0
    #[arg(long)]
    shut_down: bool,
}

/// Boots again and again.
///
/// # Errors
/// When a boot failed; each failure was printed.
pub(crate) fn soak(options: Options) -> Result<()> {
    let lab = Lab::new()?;
    let mut times = Vec::new();
    let start = Instant::now();
    for boot in 1..=options.boots {
        match boot_once(&lab, options) {
            Ok(took) => times.push(took),
            Err(error) => println!("boot {boot} FAILED: {error:#}"),
        }
    }
    times.sort();
    let served = times.len();
    println!(
        "{served} of {} boots served ({} CPUs, {}, {}) in {:.0?}; boot to HTTP median {:.2?}, slowest {:.2?}",
        options.boots,
        options.cpus,
        options.memory,
        options.machine,
        start.elapsed(),
        times.get(served / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default(),
    );
    ensure!(
        served == options.boots as usize,
        "{} of {} boots failed",
        options.boots as usize - served,
        options.boots
    );
    Ok(())
}

fn boot_once(lab: &Lab, options: Options) -> Result<Duration> {
    let mut config = lab.config(options.machine, options.cpus, 1)?;
    config.memory = options.memory;
    config.append = "trace".into();
    let guest = Guest::boot(&config)?;
    let took = guest.took;
    if options.shut_down {
        guest.shut_down()?;
    }
    Ok(took)
}
