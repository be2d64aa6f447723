//! `cargo xtask fuzz-readers`: the targets of `fuzz/` under libFuzzer, by way of cargo-fuzz.
//!
//! Only coverage is watched, without a sanitizer: that needs no nightly compiler, and there is no unsafe code in what is read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{command, debian, paths};

/// The program that builds and runs targets, and its version.
const TOOL: &str = "cargo-fuzz";
const VERSION: &str = "0.13.2";
/// Most memory of a target in MiB: what the kernel loads is never freed.
const MEMORY_MIB: u32 = 4096;
/// Most seconds for one input.
const PATIENCE: u32 = 20;

/// Options of the fuzzer.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Targets to run (default: all)
    targets: Vec<String>,
    /// Seconds for each of them
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs targets, one after the other.
///
/// # Errors
/// The first that fails; with where the input is that shows it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = paths::target().join("fuzz-readers");
    let corpus = dir.join("corpus");
    let known = write_seeds(&corpus)?;
    for name in &options.targets {
        let all = known.join(", ");
        ensure!(
            known.contains(name),
            "no target is called '{name}': there are {all}"
        );
    }
    let targets = if options.targets.is_empty() {
        &known
    } else {
        &options.targets
    };
    let tool = ensure_tool()?;
    for target in targets {
        let found = dir.join("found").join(target);
        fs::create_dir_all(&found)?;
        one(&tool, target, &corpus.join(target), &found, options.seconds)?;
    }
    println!(
        "{} targets, {} s each: nothing found",
        targets.len(),
        options.seconds
    );
    Ok(())
}

/// Writes the seeds of all targets beside what was found to be worth keeping earlier; returns their names.
fn write_seeds(corpus: &Path) -> Result<Vec<String>> {
    let mut cargo = cargo();
    cargo.args([
        "run",
        "--quiet",
        "--no-default-features",
        "--example",
        "seeds",
        "--",
    ]);
    let names = command::output(cargo.arg(corpus))?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Returns cargo for what is in `fuzz/`.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(folder())
        .env("CARGO_TARGET_DIR", paths::target());
    cargo
}

/// Returns the folder of the targets.
pub(crate) fn folder() -> PathBuf {
    paths::root().join("fuzz")
}

fn ensure_tool() -> Result<PathBuf> {
    let root = paths::target()
        .join("tools")
        .join(format!("{TOOL}-{VERSION}"));
    let tool = root.join("bin").join(TOOL);
    if !tool.is_file() {
        debian::ensure_program("g++", "g++")?;
        println!("installing {TOOL} {VERSION} of crates.io");
        let mut install = Command::new(env!("CARGO"));
        install.args(["install", TOOL, "--locked", "--version", VERSION, "--root"]);
        install
            .arg(&root)
            .arg("--target-dir")
            .arg(root.join("build"));
        command::run(&mut install)?;
    }
    Ok(tool)
}

fn one(tool: &Path, target: &str, corpus: &Path, found: &Path, seconds: u32) -> Result<()> {
    // Temporary files in memory: there are thousands a second.
    let memory = Path::new("/dev/shm");
    let temporary = tempfile::Builder::new()
        .prefix("tyn-fuzz-")
        .tempdir_in(memory)?;
    let mut fuzzer = Command::new(tool);
    fuzzer
        .current_dir(paths::root())
        .env("TMPDIR", temporary.path())
        .args(["run", "--sanitizer", "none", "--fuzz-dir"])
        .arg(folder())
        .arg("--target-dir")
        .arg(paths::target().join("fuzz-readers/build"))
        .arg(target)
        .arg(corpus)
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args([
            "-print_final_stats=1",
            "-use_value_profile=1",
            "-verbosity=1",
        ]);
    println!("{target}: {seconds} s");
    let output = fuzzer.output().context("cargo-fuzz can't be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().collect();
    if !output.status.success() {
        let last = &last[last.len().saturating_sub(60)..];
        bail!(
            "{target} failed; the input is in {}\n{}",
            found.display(),
            last.join("\n")
        );
    }
    let stats = last
        .iter()
        .filter(|line| line.starts_with("stat::number_of_executed_units"));
    stats.for_each(|line| println!("  {line}"));
    Ok(())
}
