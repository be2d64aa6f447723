//! How a guest ends: exit statuses as on Linux, clocks at boot, and the end of memory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::super::Tally;
use super::{Run, environment, keep, tail};
use crate::scenarios::Scenarios;

/// Cases that end the first process, each in its own way.
const ENDS: &[&str] = &[
    "end_7",
    "end_abort",
    "end_slogan",
    "end_stop",
    "end_kill",
    "end_usr1",
    "end_term",
];

/// A process that SIGKILL ended, as shells tell it.
const KILLED: i32 = 128 + 9;

/// Cases that use up the memory.
const OOMS: &[&str] = &["oom_of_the_first", "oom_of_allocators", "oom_of_a_child"];

/// Runs the cases.
pub(super) fn run(scenarios: &Scenarios, tally: &mut Tally) {
    tally.count_two_at_a_time(ENDS, |case, tally| tally.count(case, end(scenarios, case)));
    tally.count_two_at_a_time(OOMS, |case, tally| tally.count(case, oom(scenarios, case)));
}

fn end(scenarios: &Scenarios, case: &str) -> Result<()> {
    let env = environment(case);
    let linux = Run::of(scenarios.on_linux(&env)?, |_| {})?;
    let tyn = Run::of(scenarios.in_guest(1, "256M", &env), |_| {})?;
    keep(case, &linux, &tyn)?;
    same_end(&linux, &tyn)
}

fn oom(scenarios: &Scenarios, case: &str) -> Result<()> {
    let is_childs = case == "oom_of_a_child";
    let memory = if is_childs { "512M" } else { "256M" };
    let run = Run::of(scenarios.in_guest(2, memory, &environment(case)), |_| {})?;
    keep(case, &run, &run)?;
    if is_childs {
        child_out_of_memory(&run)
    } else {
        out_of_memory(&run)
    }
}

/// The exit status of the first process is the tool's, as it is that of `unshare` on Linux.
fn same_end(linux: &Run, tyn: &Run) -> Result<()> {
    ensure!(
        linux.status.is_some() && linux.status == tyn.status,
        "Linux ends with {:?}, Tyn with {:?}: {}",
        linux.status,
        tyn.status,
        tail(&tyn.errors)
    );
    let lines = |run: &Run| run.output.lines().filter(|l| *l == "alive").count();
    ensure!(
        lines(linux) == lines(tyn),
        "Tyn says: {}",
        tail(&tyn.output)
    );
    Ok(())
}

/// The emulator either gives up by itself, which is status 1 with its own words, or is killed with a line of the kernel's. It
/// also gives up when its helper is killed before it, and it notices that before it needs more memory.
fn out_of_memory(run: &Run) -> Result<()> {
    let says = |words| run.status == Some(1) && run.output.contains(words);
    let is_own = says("Cannot allocate");
    let is_alone =
        says("erl_child_setup closed") && run.errors.contains("was killed: out of memory");
    let is_killed = run.status == Some(KILLED) && kernel_says_so(run);
    ensure!(
        is_own || is_alone || is_killed,
        "ended with {:?}: {}; {}",
        run.status,
        tail(&run.output),
        tail(&run.errors)
    );
    Ok(())
}

/// The first process is the last to be killed, with one line of its own.
fn kernel_says_so(run: &Run) -> bool {
    let mut deaths = run.errors.lines().filter(|l| l.contains("out of memory"));
    let first_process = |l: &&str| l.contains("process 1 was killed");
    deaths.clone().filter(first_process).count() == 1
        && deaths.next_back().as_ref().is_some_and(first_process)
}

/// The child dies, its parent lives and has the memory back.
fn child_out_of_memory(run: &Run) -> Result<()> {
    let found = run.transcripts();
    let text = found
        .get("oom_of_a_child")
        .with_context(|| format!("no transcript; {:?}: {}", run.status, tail(&run.errors)))?;
    // The kernel's line, which is a note, begins with a line feed.
    let (status, rest) = text.trim_start().split_once('\n').unwrap_or_default();
    ensure!(
        ["1", "137"].contains(&status) && rest == "given back\n\"alive\\n\"\n--: ok\n",
        "{text}{}",
        tail(&run.errors)
    );
    Ok(())
}

/// Checks the guest's wall clock, read when the note was written, with the time at which it came here.
pub(super) fn wall_clock(run: &Run) -> Result<()> {
    let mut differences = Vec::new();
    for (note, came) in &run.notes {
        let Some(text) = note.strip_prefix("wall clock ") else {
            continue;
        };
        let said = UNIX_EPOCH + Duration::from_micros(text.parse()?);
        differences.push(signed_seconds(*came, said));
    }
    // What comes late is late by chance: the least difference tells.
    let least = differences
        .iter()
        .copied()
        .reduce(f64::min)
        .context("no wall clock was told")?;
    ensure!(
        least.abs() < 1.0,
        "the guest's clock is {least:.3} s behind this machine's"
    );
    Ok(())
}

fn signed_seconds(a: SystemTime, b: SystemTime) -> f64 {
    match a.duration_since(b) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}
