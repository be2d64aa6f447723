//! `cargo xtask hoard`: a program that makes as many of the kernel's objects as it can (`tests/hoard`), in a guest of little
//! memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use tyn_vm_host::{Config, Console, MemorySize, Outcome, Vm};

use crate::{command, debian, kernel, lab, paths};

/// Options of the command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Kinds of objects; all when none is named
    pub(crate) kinds: Vec<String>,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    pub(crate) cpus: u32,
    /// Memory, e.g. 96M
    #[arg(long, default_value = "96M")]
    pub(crate) memory: MemorySize,
    /// End the run after so many seconds
    #[arg(long, default_value_t = 1200)]
    pub(crate) limit: u64,
}

/// Builds the program and runs it; shows what it says.
///
/// # Errors
/// When the kernel panicked, hung or lost memory.
pub(crate) fn hoard(options: &Options) -> Result<()> {
    let program = build()?;
    println!("{}", in_guest(&program, options)?);
    Ok(())
}

/// Compiles the program.
///
/// # Errors
/// When there is no compiler.
pub(crate) fn build() -> Result<PathBuf> {
    debian::ensure_program("gcc", "gcc")?;
    let folder = paths::target().join("hoard");
    std::fs::create_dir_all(&folder)?;
    let out = folder.join("hoard");
    let mut gcc = Command::new("gcc");
    gcc.args([
        "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o",
    ])
    .arg(&out)
    .arg(paths::root().join("tests/hoard/hoard.c"));
    command::run(&mut gcc)?;
    Ok(out)
}

/// Boots the program as the first process; returns what it said.
///
/// # Errors
/// When it did not end well: with the end of what the guest said.
pub(crate) fn in_guest(program: &Path, options: &Options) -> Result<String> {
    let image = lab::program_image(program, "/hoard", &options.kinds)?;
    let config = Config {
        cpus: options.cpus,
        memory: options.memory,
        ..Config::new(&kernel::build()?, &image)
    };
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let outcome = vm.wait_for(Duration::from_secs(options.limit))?;
    if outcome != Some(Outcome::Exited(0)) {
        bail!("{outcome:?}\n{}", lab::last_words(&vm));
    }
    Ok(vm.console().replace("\r\n", "\n"))
}
