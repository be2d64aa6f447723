//! `cargo xtask fuzz`: random system calls from ring 3 (`tests/fuzz`), in a guest or on this Linux.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tyn_vm_host::{Config, Console, Machine, MemorySize, Outcome, Vm};

use crate::{command, debian, kernel, lab, paths};

/// Path of the program in the guest.
const PROGRAM: &str = "/fuzz";

/// Options of the fuzzer.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Calls to make
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) calls: u64,
    /// Seed that all random choices come from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Threads of each process
    #[arg(long, default_value_t = 4)]
    pub(crate) threads: u32,
    /// Processes at a time, without those that they fork
    #[arg(long, default_value_t = 4)]
    pub(crate) processes: u32,
    /// Run only the worker of this number, again and again
    #[arg(long, default_value_t = 0)]
    pub(crate) only: u64,
    /// Virtual CPUs
    #[arg(long, default_value_t = 4)]
    pub(crate) cpus: u32,
    /// Memory, e.g. 96M
    #[arg(long, default_value = "512M")]
    pub(crate) memory: MemorySize,
    /// Machine type: q35, pc or microvm
    #[arg(long, default_value_t = Machine::Q35)]
    pub(crate) machine: Machine,
    /// End the run after so many seconds
    #[arg(long, default_value_t = 3600)]
    pub(crate) limit: u64,
    /// Run on this Linux, without rights and without what could hurt it
    #[arg(long)]
    pub(crate) on_host: bool,
}

/// Builds the fuzzer and runs it; shows what it says.
///
/// # Errors
/// When the kernel panicked, hung or lost memory.
pub(crate) fn fuzz(options: Options) -> Result<()> {
    let program = build()?;
    if options.on_host {
        return on_host(&program, options);
    }
    println!("{}", in_guest(&program, options)?);
    Ok(())
}

/// Compiles the fuzzer: one static program without a C library, whose state random calls would break.
///
/// # Errors
/// When there is no compiler.
pub(crate) fn build() -> Result<PathBuf> {
    debian::ensure_program("gcc", "gcc")?;
    let out = paths::target().join("fuzz");
    std::fs::create_dir_all(&out)?;
    let out = out.join("fuzz");
    let mut sources: Vec<PathBuf> = std::fs::read_dir(paths::root().join("tests/fuzz"))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()?;
    sources.retain(|path| path.extension().is_some_and(|e| e == "c"));
    sources.sort();
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-nostdlib", "-ffreestanding", "-O1"])
        .args(["-fno-pic", "-no-pie", "-fcf-protection=none"])
        .args(["-fno-stack-protector", "-fno-tree-loop-distribute-patterns"])
        .args(["-Wall", "-Wextra", "-Werror"])
        .arg("-Wno-missing-field-initializers")
        .arg("-o")
        .arg(&out)
        .args(&sources);
    command::run(&mut gcc).context("the fuzzer needs a C compiler and a C library's headers")?;
    Ok(out)
}

/// Runs the fuzzer on this Linux: shows that what it finds elsewhere is not its own fault.
///
/// # Errors
/// When it fails.
pub(crate) fn on_host(program: &Path, options: Options) -> Result<()> {
    // Without rights it could not read a private folder.
    let copy = std::env::temp_dir().join(format!("tyn-fuzz-{}", std::process::id()));
    std::fs::copy(program, &copy)?;
    let result = command::run(Command::new(&copy).args(arguments(options)));
    std::fs::remove_file(&copy)?;
    result
}

/// Boots the fuzzer as the first process; returns its last line.
///
/// # Errors
/// When it did not end well: with the end of what the guest said.
pub(crate) fn in_guest(program: &Path, options: Options) -> Result<String> {
    let config = Config {
        cpus: options.cpus,
        memory: options.memory,
        machine: options.machine,
        ..Config::new(&kernel::build()?, &image(program, options)?)
    };
    let start = Instant::now();
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let outcome = vm.wait_for(Duration::from_secs(options.limit))?;
    let console = vm.console().replace("\r\n", "\n");
    if outcome != Some(Outcome::Exited(0)) {
        bail!(
            "seed {}: {outcome:?}\n{}",
            options.seed,
            lab::last_words(&vm)
        );
    }
    ensure!(!console.contains("FAILED"), "{}", lab::last_words(&vm));
    let summary = console.lines().rev().find(|l| l.contains("free before"));
    let summary = summary.context("the fuzzer did not say what it did")?;
    Ok(format!("{summary} in {:.0?}", start.elapsed()))
}

fn arguments(options: Options) -> [String; 10] {
    let of = |name: &str| name.to_owned();
    [
        of("--calls"),
        options.calls.to_string(),
        of("--seed"),
        options.seed.to_string(),
        of("--threads"),
        options.threads.to_string(),
        of("--processes"),
        options.processes.to_string(),
        of("--only"),
        options.only.to_string(),
    ]
}

fn image(program: &Path, options: Options) -> Result<PathBuf> {
    lab::program_image(program, PROGRAM, &arguments(options))
}
