//! `tyn run`: boots an image.
//!
//! The guest's console is our standard output. What the kernel reports goes to standard error: errors and panics always
//! (a backtrace with names), events and log lines when asked to. The first Ctrl-C or SIGTERM presses the guest's power
//! button, the second kills it; with `-i` Ctrl-C is the guest's ([`crate::interactive`]).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use tempfile::{NamedTempFile, TempDir};
use tyn_bootfmt::options::Options;
use tyn_release::image::{self, Checked, RunConfig};
use tyn_trace::Line;
use tyn_vm_host::{
    Accel, Config, Console, ExitCode, Forward, Machine, MemorySize, OnLine, Outcome, Symbols, Vm,
};

use crate::interactive::{self, Session, Started};
use crate::stopper::Stopper;
use crate::{kernel, terminal};

/// Arguments of `tyn run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image that `tyn build` made
    image: PathBuf,
    /// Start a shell on the console, and make it this terminal: what is typed goes to the guest, Ctrl-C, too; Ctrl-] x stops it
    #[arg(short, long)]
    interactive: bool,
    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// Memory, e.g. 128M or 2G
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: MemorySize,
    /// Forward a TCP port of this machine (on 127.0.0.1) to one of the guest
    #[arg(short, long = "port", value_name = "HOST:GUEST")]
    ports: Vec<Forward>,
    /// Set an environment variable of the guest; NAME alone takes the value from our own environment
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// How instructions are executed: kvm, tcg, or auto for kvm where the processor has it
    #[arg(long, value_name = "ACCEL", default_value = "auto")]
    accel: Accel,
    /// Machine type: q35, pc or microvm
    #[arg(long, value_name = "TYPE", default_value_t = Machine::Q35)]
    machine: Machine,
    /// Kernel to boot instead of the one inside this tool
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Options for the kernel
    #[arg(
        long,
        value_name = "OPTIONS",
        default_value = "",
        allow_hyphen_values = true
    )]
    append: String,
    /// Show what the kernel refused (or, with `=calls`, every system call) as it happens
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "events")]
    trace: Option<Trace>,
}

/// What is traced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Trace {
    /// Refused calls and options, ends of processes.
    Events,
    /// Every system call, too.
    Calls,
}

/// Boots the image and returns the exit code.
///
/// # Errors
/// Why it can't be booted, and what mends that.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let checked = image::check(&args.image)?;
    let append = kernel_options(args)?;
    let run_config = run_config(args, checked)?;
    let dir = tempfile::Builder::new()
        .prefix("tyn-")
        .tempdir()
        .context("a private folder can't be made")?;
    let kernel = kernel::find(args.kernel.as_deref(), dir.path())?;
    // Holds the image with its run-time configuration until the guest has ended.
    let with_run = with_run_config(&args.image, &run_config, &dir)?;
    let config = Config {
        machine: args.machine,
        accel: args.accel,
        cpus: args.cpus,
        memory: args.memory,
        append,
        forwards: args.ports.clone(),
        tty_size: args.interactive.then(terminal::size),
        ..Config::new(
            &kernel.file,
            with_run.as_ref().map_or(&args.image, |f| f.path()),
        )
    };
    let stopper = Stopper::default();
    stopper.install()?;
    let console = if args.interactive {
        Console::Pipe
    } else {
        Console::Inherit
    };
    let (started, when_started) = Started::new();
    let mut print = printer(kernel.symbols, args.trace);
    let on_line = Box::new(move |line: &Line<'_>| {
        started.see(line);
        print(line);
    });
    let mut vm = Vm::start(&config, console, on_line)?;
    stopper.start(vm.control());
    let session = match args.interactive {
        true => Some(Session::start(&mut vm, &stopper, when_started)?),
        false => None,
    };
    let outcome = vm.wait()?;
    if let Some(session) = session {
        session.finish();
    }
    if stopper.has_killed() {
        return Ok(ExitCode::Killed as u8);
    }
    match &outcome {
        // Its lines have been printed as they came.
        Outcome::Exited(_) | Outcome::Panicked(_) => {}
        Outcome::Refused(why) => return Err(anyhow!("{why}")),
        Outcome::Vanished => eprintln!(
            "tyn: the machine stopped and the kernel did not say why; \
             please report it with the output of --trace=calls"
        ),
    }
    Ok(outcome.exit_code())
}

/// Puts the kernel's options together, refusing unknown ones before anything is started.
fn kernel_options(args: &Args) -> Result<String> {
    let mut append = args.append.trim().to_owned();
    if let Some(trace) = args.trace {
        append += match trace {
            Trace::Events => " trace",
            Trace::Calls => " trace=calls",
        };
    }
    let append = append.trim().to_owned();
    if let Err(error) = Options::parse(&append) {
        bail!("{error}");
    }
    Ok(append)
}

/// Completes variables that are given by name alone.
fn environment(given: &[String]) -> Result<Vec<String>> {
    let complete = |variable: &String| {
        if variable.contains('=') {
            return Ok(variable.clone());
        }
        let value = std::env::var(variable).map_err(|_| {
            anyhow!("-e {variable} has no value, neither there nor in our own environment; use -e {variable}=VALUE")
        })?;
        Ok(format!("{variable}={value}"))
    };
    given.iter().map(complete).collect()
}

/// Returns what is handed over to the guest: variables and, for an interactive start, what that takes.
fn run_config(args: &Args, image: Checked) -> Result<RunConfig> {
    let mut config = RunConfig::default();
    if args.interactive {
        config.env = interactive::environment();
        // An image of something else than a release has one way to start.
        config.interactive = image.interactive;
    }
    config.env.extend(environment(&args.env)?);
    Ok(config)
}

/// Makes the private file that is booted instead of the image when there is something to hand over.
fn with_run_config(
    image: &Path,
    config: &RunConfig,
    dir: &TempDir,
) -> Result<Option<NamedTempFile>> {
    if config.is_empty() {
        return Ok(None);
    }
    let run =
        image::run_archive(config).map_err(|error| anyhow!("the environment (-e) {error}"))?;
    let file = image::with_run_archive(image, &run, dir.path())
        .context("the image with its environment can't be written to a temporary file")?;
    Ok(Some(file))
}

/// Returns what prints the kernel's report.
fn printer(symbols: Symbols, trace: Option<Trace>) -> OnLine {
    let mut has_panicked = false;
    Box::new(move |line| match line {
        Line::Panic(text) => {
            has_panicked = true;
            terminal::say(&format!("tyn: kernel panic: {}", symbols.annotate(text)));
        }
        Line::Trace(_) | Line::Log(_) | Line::Metric { .. } if has_panicked || trace.is_some() => {
            terminal::say(&format!("tyn: {line}"));
        }
        // An error is what `run` returns.
        Line::Trace(_) | Line::Log(_) | Line::Metric { .. } | Line::Exit(_) | Line::Error(_) => {}
    })
}
