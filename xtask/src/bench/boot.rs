//! `cargo xtask bench boot`: boot to the first HTTP answer and memory, Tyn beside Linux guests with the same image.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tyn_vm_host::{Config, Console, Forward, Machine, MemorySize, Ram, Vm};

use super::guests::{self, Guest};
use super::{Options, median};
use crate::lab::free_ports;

/// How long a guest may take to its first answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a guest that serves is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(700);
/// The port on which the example listens.
const GUEST_PORT: u16 = 8080;

/// What one boot showed.
#[derive(Clone, Copy, Debug)]
struct Boot {
    answer_s: f64,
    ram_mib: f64,
    rss_mib: f64,
    /// PVH entry to the first user instruction, where the kernel tells.
    kernel_ms: Option<f64>,
}

/// Compares boot to the first HTTP answer and memory of Tyn, Debian's cloud kernel and a trimmed Linux.
///
/// # Errors
/// When a guest can't be built or does not serve.
pub(super) fn boot(options: Options, least: bool) -> Result<()> {
    let guests = guests::with_example()?;
    println!(
        "boot to first HTTP answer; {} runs of each guest in turn, {} CPUs, {} MiB, medians (min-max)",
        options.runs, options.cpus, options.memory
    );
    let mut boots: Vec<Vec<Boot>> = vec![Vec::new(); guests.len()];
    for run in 0..options.runs {
        for (guest, results) in guests.iter().zip(&mut boots) {
            let (name, machine) = (guest.name, guest.machine);
            match measure(guest, options.cpus, options.memory) {
                Ok(result) => results.push(result),
                Err(error) => println!("{name} on {machine:?} failed in run {run}: {error:#}"),
            }
        }
    }
    for (guest, results) in guests.iter().zip(&boots) {
        let (name, machine) = (guest.name, guest.machine);
        ensure!(!results.is_empty(), "{name} on {machine:?} never served");
    }
    println!(
        "| guest | machine | boot to HTTP s | guest RAM touched MiB | QEMU RSS MiB | entry to user ms |"
    );
    println!("|---|---|---|---|---|---|");
    for (guest, results) in guests.iter().zip(&boots) {
        let column = |f: fn(&Boot) -> f64| summary(&results.iter().map(f).collect::<Vec<_>>());
        let kernel: Vec<f64> = results.iter().filter_map(|b| b.kernel_ms).collect();
        let kernel = if kernel.is_empty() {
            "-".into()
        } else {
            summary(&kernel)
        };
        let (answer, ram, rss) = (
            column(|b| b.answer_s),
            column(|b| b.ram_mib),
            column(|b| b.rss_mib),
        );
        println!(
            "| {} | {:?} | {answer} | {ram} | {rss} | {kernel} |",
            guest.name, guest.machine
        );
    }
    print_ratios(&guests, &boots);
    if least {
        least_memory(&guests, options.cpus)?;
    }
    Ok(())
}

fn print_ratios(guests: &[Guest], boots: &[Vec<Boot>]) {
    let median_of =
        |i: usize, f: fn(&Boot) -> f64| median(&boots[i].iter().map(f).collect::<Vec<_>>());
    for (t, tyn) in guests.iter().enumerate().filter(|(_, g)| g.name == "tyn") {
        for (l, linux) in guests
            .iter()
            .enumerate()
            .filter(|(_, g)| g.name != "tyn" && g.machine == tyn.machine)
        {
            let ratio = |f: fn(&Boot) -> f64| median_of(t, f) / median_of(l, f);
            println!(
                "ratio tyn / {} on {:?}: boot to HTTP {:.2}, guest RAM touched {:.2}",
                linux.name,
                tyn.machine,
                ratio(|b| b.answer_s),
                ratio(|b| b.ram_mib)
            );
            if let Some(there_s) = reference_s(linux) {
                let here_s = median_of(l, |b| b.answer_s);
                let kernel_ms = median_of(t, |b| b.kernel_ms.unwrap_or(f64::NAN));
                println!(
                    "entry to user on {:?}: {kernel_ms:.1} ms here, {:.1} ms where {} takes {there_s} s (here {here_s:.2}); target {ENTRY_TO_USER_MS} ms there",
                    tyn.machine,
                    kernel_ms * there_s / here_s,
                    linux.name,
                );
            }
        }
    }
}

/// Most that PVH entry to the first user instruction is to take on the machine on which that was decided, in milliseconds.
const ENTRY_TO_USER_MS: u32 = 30;

/// Returns what the trimmed Linux took to its answer on that machine, in seconds: how much slower this one is, now, is told by
/// the same guest in the same run. Both times are an emulator's translating and running code.
fn reference_s(guest: &Guest) -> Option<f64> {
    (guest.name == guests::LINUX).then_some(match guest.machine {
        Machine::Microvm => 2.82,
        Machine::Q35 | Machine::Pc => 3.05,
    })
}

fn summary(values: &[f64]) -> String {
    let fold = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f).unwrap_or(f64::NAN);
    format!(
        "{:.2} ({:.2}-{:.2})",
        median(values),
        fold(f64::min),
        fold(f64::max)
    )
}

/// Boots a guest, waits for its answer, looks at its memory.
fn measure(guest: &Guest, cpus: u32, memory_mib: u64) -> Result<Boot> {
    let port = free_ports(1)?.pop().context("no free port")?;
    let mut config = Config::new(&guest.kernel, &guest.initrd);
    config.machine = guest.machine;
    config.cpus = cpus;
    config.memory = MemorySize(memory_mib << 20);
    config.ram = Ram::Memfd;
    config.append = guest.append.into();
    config.forwards.push(Forward {
        host: port,
        guest: GUEST_PORT,
    });
    let vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let response = vm
        .wait_http(port, "/", LIMIT)
        .with_context(|| format!("console: {}", vm.console()))?;
    let answer_s = vm.age().as_secs_f64();
    ensure!(response.status == 200, "it answered {}", response.status);
    std::thread::sleep(SETTLE);
    let mib = |bytes: Option<u64>| bytes.map_or(f64::NAN, |b| b as f64 / f64::from(1 << 20));
    let kernel_ms = vm
        .report()
        .metrics
        .get("boot_to_user_ns")
        .map(|&ns| ns as f64 / 1e6);
    Ok(Boot {
        answer_s,
        ram_mib: mib(vm.guest_ram_touched()),
        rss_mib: mib(vm.host_rss()),
        kernel_ms,
    })
}

/// Prints the least memory, in steps of 4 MiB, with which each guest answers three times in three boots.
fn least_memory(guests: &[Guest], cpus: u32) -> Result<()> {
    const STEP: u64 = 4;
    for guest in guests {
        let serves = |mib: u64| (0..3).all(|_| measure(guest, cpus, mib).is_ok());
        let (mut low, mut high) = (40 / STEP, 256 / STEP);
        ensure!(
            serves(high * STEP),
            "{} does not even serve with {} MiB",
            guest.name,
            high * STEP
        );
        while low < high {
            let middle = low.midpoint(high);
            if serves(middle * STEP) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        println!(
            "least memory of {} on {:?}: {} MiB",
            guest.name,
            guest.machine,
            high * STEP
        );
    }
    Ok(())
}
