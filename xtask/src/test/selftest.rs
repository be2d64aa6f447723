//! The self-test of hal: an image of its own (`kernel/selftest`), run in QEMU on each machine type with several numbers of
//! CPUs. Every case of every run counts.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tyn_trace::report::Line;
use tyn_vm_host::{Config, Console, Machine, MemorySize, Vm};

use super::Tally;
use crate::kernel;

/// Machines and numbers of CPUs.
const RUNS: &[(Machine, u32)] = &[
    (Machine::Q35, 1),
    (Machine::Q35, 2),
    (Machine::Q35, 8),
    (Machine::Pc, 4),
    (Machine::Microvm, 1),
    (Machine::Microvm, 4),
];

/// Longest that one run may take, on a busy host.
const LIMIT: Duration = Duration::from_secs(300);

/// Builds the image and runs it.
pub(super) fn run() -> Result<Tally> {
    let elf = kernel::build_package("tyn-selftest")?;
    let mut tally = Tally::default();
    for &(machine, cpus) in RUNS {
        let name = format!("{machine:?} with {cpus} CPUs");
        match run_once(&elf, machine, cpus) {
            Ok(lines) => count(&name, &lines, &mut tally),
            Err(error) => tally.count(&name, Err(error)),
        }
    }
    Ok(tally)
}

/// Runs the image on one machine and returns its report lines.
fn run_once(elf: &Path, machine: Machine, cpus: u32) -> Result<Vec<String>> {
    let dir = tempfile::tempdir()?;
    // The image needs no archive, but every machine is given one.
    let archive = dir.path().join("empty");
    fs::write(&archive, [0; 4096])?;
    let mut config = Config::new(elf, &archive);
    config.machine = machine;
    config.cpus = cpus;
    config.memory = MemorySize(256 << 20);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&lines);
    let mut vm = Vm::start(
        &config,
        Console::Keep,
        Box::new(move |line| {
            let text = match line {
                Line::Log(text) => String::from(*text),
                Line::Panic(text) => format!("panic {text}"),
                Line::Error(text) => format!("error {text}"),
                Line::Exit(_) | Line::Trace(_) | Line::Metric { .. } => return,
            };
            out.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
        }),
    )?;
    let ended = vm.wait_for(LIMIT)?;
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(
        ended.is_some(),
        "still running after {LIMIT:?}; the last line was: {}",
        lines.last().map_or("(none)", String::as_str)
    );
    Ok(lines)
}

/// Counts the cases of one run; without the tally at its end the run itself failed.
fn count(name: &str, lines: &[String], tally: &mut Tally) {
    let mut has_tally = false;
    for line in lines {
        if line.starts_with("ok ") {
            tally.passed += 1;
        } else if let Some(why) = line.strip_prefix("FAILED ") {
            tally.count(name, Err(anyhow::anyhow!("{why}")));
        }
        has_tally |= line.ends_with(" failed") && line.contains(" passed, ");
    }
    if !has_tally {
        tally.count(name, no_tally(lines).context("the run did not end"));
    }
}

fn no_tally(lines: &[String]) -> Result<()> {
    let panic = lines.iter().find(|l| l.starts_with("panic "));
    bail!(
        "{}",
        panic
            .or(lines.last())
            .map_or("no line was reported", String::as_str)
    )
}
