//! Scenarios of real use of OTP: each case on this Linux and in a guest, with equal transcripts.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::Tally;
use crate::paths;
use crate::scenarios::{self, CLibrary, Scenarios};
use crate::transcript::{Transcripts, compare, split};

mod ends;
mod tls;

/// Most that one boot may take.
const LIMIT: Duration = Duration::from_secs(900);
/// Beginnings of lines that differ from run to run.
const NOTES: &[&str] = &["wall clock ", "timers late ", "tyn: out of memory: "];

/// Cases that share a boot: their beginnings, the number of CPUs, the memory. Those that take longest begin.
const GROUPS: &[(&str, u32, &str)] = &[
    ("big", 2, "4G"),
    ("port", 2, "1G"),
    ("signal halt heart limit system nif net", 2, "1G"),
    ("crypto tls memory time", 4, "2G"),
    ("store file", 2, "1G"),
];

/// Which scenarios to run by hand.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Beginnings of the names of the cases
    #[arg(required = true)]
    cases: Vec<String>,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory of the guest
    #[arg(long, default_value = "1G")]
    memory: String,
    /// Run them on Linux only
    #[arg(long)]
    linux: bool,
    /// With a run-time system and programs that are linked with musl (compiles them once)
    #[arg(long)]
    musl: bool,
    /// Run the cases with programs on this machine and of ends of guests, too
    #[arg(long)]
    host: bool,
}

/// Runs some scenarios and shows their transcripts.
///
/// # Errors
/// When transcripts differ.
pub(crate) fn some(options: &Options) -> Result<()> {
    scenarios::ensure_programs()?;
    let scenarios = Scenarios::build(if options.musl {
        CLibrary::Musl
    } else {
        CLibrary::Glibc
    })?;
    let mut tally = Tally::default();
    if options.host {
        ends::run(&scenarios, &mut tally);
        tls::run(&scenarios, &mut tally)?;
    }
    let env = environment(&options.cases.join(" "));
    let linux = Run::of(scenarios.on_linux(&env)?, |line| println!("linux  {line}"))?;
    println!("linux ended with {:?} {}", linux.status, linux.errors);
    if options.linux {
        return Ok(());
    }
    let command = scenarios.in_guest(options.cpus, &options.memory, &env);
    let tyn = Run::of(command, |line| println!("tyn    {line}"))?;
    println!("tyn ended with {:?} {}", tyn.status, tail(&tyn.errors));
    keep("some", &linux, &tyn)?;
    count(&linux, &tyn, &mut tally)?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    ensure!(tally.failed == 0, "transcripts differ");
    Ok(())
}

/// Runs all scenarios.
pub(super) fn run() -> Result<Tally> {
    scenarios::ensure_programs()?;
    let scenarios = Scenarios::build(CLibrary::Glibc)?;
    let mut tally = Tally::default();
    tally.count_two_at_a_time(GROUPS, |&(cases, cpus, memory), tally| {
        if let Err(error) = group(&scenarios, cases, cpus, memory, tally) {
            tally.count(cases, Err(error));
        }
    });
    ends::run(&scenarios, &mut tally);
    tls::run(&scenarios, &mut tally)?;
    Ok(tally)
}

/// What a run wrote and how it ended.
#[derive(Debug)]
pub(super) struct Run {
    /// Standard output, without notes.
    output: String,
    /// Notes, each with the time at which it came.
    notes: Vec<(String, SystemTime)>,
    /// Exit status, or 128 and the signal.
    status: Option<i32>,
    /// The end of standard error.
    errors: String,
}

impl Run {
    /// Runs a command to its end; `on_line` sees each line of its output as it comes.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn of(mut command: Command, mut on_line: impl FnMut(&str)) -> Result<Self> {
        let errors = tempfile::NamedTempFile::new()?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.reopen()?)
            .spawn()
            .with_context(|| format!("{} can't be started", command.get_program().display()))?;
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line)
                    .trim_end_matches('\r')
                    .to_owned();
                if send.send((line, SystemTime::now())).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + LIMIT;
        let (mut output, mut notes) = (String::new(), Vec::new());
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((line, _)) if !NOTES.iter().any(|note| line.starts_with(note)) => {
                    on_line(&line);
                    output.push_str(&line);
                    output.push('\n');
                }
                Ok(note) => notes.push(note),
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // A signal is told as shells do it.
        let ended = child.wait()?;
        let status = ended.code().or(ended.signal().map(|signal| 128 + signal));
        let errors = std::fs::read_to_string(errors.path()).unwrap_or_default();
        Ok(Self {
            output,
            notes,
            status,
            errors,
        })
    }

    /// Runs a command on this machine and one of a guest's, at the same time.
    ///
    /// # Errors
    /// When one can't be started.
    pub(super) fn of_both(linux: Command, tyn: Command) -> Result<(Self, Self)> {
        let (linux, tyn) = thread::scope(|scope| {
            let linux = scope.spawn(|| Self::of(linux, |_| {}));
            let tyn = Self::of(tyn, |_| {});
            (linux.join(), tyn)
        });
        let linux = linux.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((linux?, tyn?))
    }

    fn transcripts(&self) -> Transcripts {
        split(&self.output)
    }
}

fn environment(cases: &str) -> Vec<(&'static str, String)> {
    vec![("SCENARIOS", cases.to_owned())]
}

fn group(
    scenarios: &Scenarios,
    cases: &str,
    cpus: u32,
    memory: &str,
    tally: &mut Tally,
) -> Result<()> {
    let env = environment(cases);
    let (linux, tyn) = Run::of_both(
        scenarios.on_linux(&env)?,
        scenarios.in_guest(cpus, memory, &env),
    )?;
    keep(cases, &linux, &tyn)?;
    if tyn.output.contains("== time_wall_clock") {
        tally.count("time_wall_clock_is_the_host's", ends::wall_clock(&tyn));
    }
    count(&linux, &tyn, tally)
}

/// Keeps what was written, for looking at it.
fn keep(name: &str, linux: &Run, tyn: &Run) -> Result<()> {
    let base = paths::target().join("scenarios");
    let name = name.replace(' ', "-");
    for (system, run) in [("linux", linux), ("tyn", tyn)] {
        std::fs::write(base.join(format!("{name}.{system}.txt")), &run.output)?;
        std::fs::write(base.join(format!("{name}.{system}.err")), &run.errors)?;
    }
    Ok(())
}

/// Compares each case.
fn count(linux: &Run, tyn: &Run, tally: &mut Tally) -> Result<()> {
    let expected = linux.transcripts();
    ensure!(
        !expected.is_empty(),
        "no case ran on Linux: {}{}",
        linux.output,
        linux.errors
    );
    let found = tyn.transcripts();
    for (name, expected) in &expected {
        let result = match found.get(name) {
            Some(found) => good(expected).and_then(|()| compare(expected, found)),
            None => Err(anyhow::anyhow!(
                "not run; the guest ended with {:?}: {}",
                tyn.status,
                tail(&tyn.errors)
            )),
        };
        tally.count(name, result);
    }
    Ok(())
}

/// A case that fails on Linux proves nothing.
fn good(transcript: &str) -> Result<()> {
    ensure!(
        transcript.ends_with("--: ok\n"),
        "fails on Linux, too: {}",
        tail(transcript)
    );
    Ok(())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("; ")
}
