//! The system-call fuzzer, for a short time: fixed seeds, several CPUs, little memory.

use anyhow::Result;
use tyn_vm_host::{Machine, MemorySize};

use super::Tally;
use crate::fuzz::{self, Options};
use crate::hoard;

/// What is run: seed, calls, CPUs, MiB of memory.
const RUNS: &[(u64, u64, u32, u64)] = &[(1, 60_000, 4, 512), (2, 20_000, 2, 128)];

/// Runs the fuzzer on this Linux, then in guests.
pub(super) fn run() -> Result<Tally> {
    let program = fuzz::build()?;
    let mut tally = Tally::default();
    let on_host = fuzz::on_host(&program, options(1, 20_000, 2, 512));
    tally.count("runs on Linux", on_host);
    for &(seed, calls, cpus, memory) in RUNS {
        let name = format!("seed {seed}, {calls} calls, {cpus} CPUs, {memory} MiB");
        let result = fuzz::in_guest(&program, options(seed, calls, cpus, memory));
        tally.count(&name, result.map(drop));
    }
    tally.count("kernel's objects are hoarded without harm", hoards());
    Ok(tally)
}

/// Uses up the kernel's own memory by some kinds of objects, in little memory.
fn hoards() -> Result<()> {
    let kinds = ["eventfd", "full_pipe", "messages", "passed", "stream"];
    let options = hoard::Options {
        kinds: kinds.map(str::to_owned).to_vec(),
        cpus: 2,
        memory: MemorySize(64 << 20),
        limit: 600,
    };
    hoard::in_guest(&hoard::build()?, &options).map(drop)
}

fn options(seed: u64, calls: u64, cpus: u32, mib: u64) -> Options {
    Options {
        calls,
        seed,
        threads: 4,
        processes: 4,
        only: 0,
        cpus,
        memory: MemorySize(mib << 20),
        machine: Machine::Q35,
        limit: 300,
        on_host: false,
    }
}
