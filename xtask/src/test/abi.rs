//! Differential ABI tests: the cases of `tests/abi` on this Linux and in a guest, with equal transcripts.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};
use tyn_vm_host::{Config, Console, MemorySize, Outcome, Vm};

use super::Tally;
use crate::transcript::{Transcripts, compare, split};
use crate::{command, debian, kernel, paths};

/// Most that the guest may take for all cases; each has its own limit, too.
const LIMIT: Duration = Duration::from_secs(900);
/// Path of the program in the guest.
const PROGRAM: &str = "/abi";

/// Runs all cases.
pub(super) fn run() -> Result<Tally> {
    let mut tally = run_cases(&[])?;
    tally.count("out of memory", out_of_memory());
    Ok(tally)
}

/// Lets a process take more memory than the guest has: it alone is killed, and one line on the console says so. Not for
/// the host, which would let others feel it.
fn out_of_memory() -> Result<()> {
    let image = image(&build()?, &["--out-of-memory".to_owned()])?;
    let config = Config {
        memory: MemorySize(96 << 20),
        ..Config::new(&kernel::build()?, &image)
    };
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let outcome = vm.wait_for(LIMIT)?;
    let console = vm.console();
    ensure!(
        outcome == Some(Outcome::Exited(0)),
        "the guest ended: {outcome:?}; its console says: {console}"
    );
    let told = console
        .matches("tyn: out of memory: killed process")
        .count();
    ensure!(told == 1, "told {told} times: {console}");
    ensure!(
        console.contains("child: killed by SIGKILL"),
        "the parent saw: {console}"
    );
    Ok(())
}

/// Runs the cases whose names begin with one of `prefixes`, or all.
///
/// # Errors
/// When they cannot be built or started.
pub(crate) fn run_cases(prefixes: &[String]) -> Result<Tally> {
    let program = build()?;
    let expected = on_host(&program, prefixes)?;
    ensure!(!expected.is_empty(), "no case has such a name");
    let (found, end) = in_guest(&program, prefixes)?;
    let mut tally = Tally::default();
    for (name, expected) in &expected {
        let result = match found.get(name) {
            Some(found) => compare(expected, found),
            None => Err(anyhow::anyhow!("not run: {end}")),
        };
        tally.count(name, result);
    }
    Ok(tally)
}

/// Compiles the cases to one static program.
fn build() -> Result<PathBuf> {
    debian::ensure_program("gcc", "gcc")?;
    let dir = paths::root().join("tests/abi");
    let out = paths::target().join("abi");
    std::fs::create_dir_all(&out)?;
    let out = out.join("abi");
    let mut sources: Vec<PathBuf> = std::fs::read_dir(&dir)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()?;
    sources.retain(|path| path.extension().is_some_and(|e| e == "c"));
    sources.sort();
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror"])
        // Wrong arguments are what many cases are about.
        .args([
            "-Wno-stringop-overflow",
            "-Wno-stringop-overread",
            "-Wno-nonnull",
        ])
        .arg("-Wno-unused-result")
        .arg("-o")
        .arg(&out)
        .args(&sources);
    command::run(&mut gcc).context("the ABI cases need a C compiler and a static C library")?;
    Ok(out)
}

fn on_host(program: &Path, prefixes: &[String]) -> Result<Transcripts> {
    let mut host = Command::new(program);
    host.args(prefixes).env_clear();
    let output = command::output(&mut host)?;
    Ok(split(&output))
}

/// Boots the program as the first process; returns the transcripts and how the guest ended.
fn in_guest(program: &Path, prefixes: &[String]) -> Result<(Transcripts, String)> {
    let image = image(program, prefixes)?;
    let config = Config {
        cpus: 2,
        ..Config::new(&kernel::build()?, &image)
    };
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let end = match vm.wait_for(LIMIT)? {
        Some(Outcome::Exited(0)) => "the guest ended too early".to_owned(),
        Some(outcome) => format!("the guest ended: {outcome:?}"),
        None => format!("the guest was stopped after {LIMIT:?}"),
    };
    let console = vm.console().replace("\r\n", "\n");
    std::fs::write(paths::target().join("abi/guest.txt"), &console)?;
    let found = split(&console);
    if found.is_empty() {
        bail!("{end}; its console says: {}", console.trim());
    }
    Ok((found, end))
}

fn image(program: &Path, prefixes: &[String]) -> Result<PathBuf> {
    let mut args = vec![PROGRAM.as_bytes()];
    args.extend(prefixes.iter().map(|p| p.as_bytes()));
    let init = Init {
        args,
        env: Vec::new(),
        cwd: b"/",
        hostname: b"abi",
        ..Init::default()
    };
    let size = std::fs::metadata(program)?.len();
    let mut tree = Tree::default();
    let file = Node::File(0o755, Source::Path(program.to_path_buf(), size));
    tree.insert(Path::new(PROGRAM), file)?;
    let start = Node::File(0o600, Source::Bytes(init.to_bytes()?));
    tree.insert(Path::new(INIT_PATH), start)?;
    for (dir, mode) in [("/tmp", 0o1777), ("/proc", 0o555), ("/dev", 0o755)] {
        tree.insert(Path::new(dir), Node::Dir(mode))?;
    }
    let path = paths::target().join("abi/abi.img");
    let out = BufWriter::new(std::fs::File::create(&path)?);
    tree.write(out, Some(0), |_| {})
        .map_err(|(at, error)| anyhow::anyhow!("{}: {error}", at.display()))?;
    Ok(path)
}
