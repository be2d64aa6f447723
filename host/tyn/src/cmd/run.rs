//! `tyn run`: boots an image.
//!
//! The guest's console is our standard output. What the kernel reports goes to standard error: errors and panics always
//! (a backtrace with names), events and log lines when asked to. The first Ctrl-C or SIGTERM presses the guest's power
//! button, the second kills it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use tempfile::{NamedTempFile, TempDir};
use tyn_bootfmt::options::Options;
use tyn_release::image;
use tyn_trace::Line;
use tyn_vm_host::{
    Accel, Config, Console, Control, ExitCode, Forward, Machine, MemorySize, OnLine, Outcome,
    Symbols, Vm,
};

use crate::kernel;

/// Arguments of `tyn run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image that `tyn build` made
    image: PathBuf,
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
    image::check(&args.image)?;
    let append = kernel_options(args)?;
    let env = environment(&args.env)?;
    let dir = tempfile::Builder::new()
        .prefix("tyn-")
        .tempdir()
        .context("a private folder can't be made")?;
    let kernel = kernel::find(args.kernel.as_deref(), dir.path())?;
    // Holds the image with its run-time configuration until the guest has ended.
    let with_env = with_environment(&args.image, &env, &dir)?;
    let config = Config {
        machine: args.machine,
        accel: args.accel,
        cpus: args.cpus,
        memory: args.memory,
        append,
        forwards: args.ports.clone(),
        ..Config::new(
            &kernel.file,
            with_env.as_ref().map_or(&args.image, |f| f.path()),
        )
    };
    let stopper = Stopper::default();
    stopper.install()?;
    let mut vm = Vm::start(
        &config,
        Console::Inherit,
        printer(kernel.symbols, args.trace),
    )?;
    stopper.start(vm.control());
    let outcome = vm.wait()?;
    if stopper.was_killed.load(Ordering::SeqCst) {
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

/// Makes the private file that is booted instead of the image when there are variables to hand over.
fn with_environment(image: &Path, env: &[String], dir: &TempDir) -> Result<Option<NamedTempFile>> {
    if env.is_empty() {
        return Ok(None);
    }
    let run = image::run_archive(env).map_err(|error| anyhow!("the environment (-e) {error}"))?;
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
            eprintln!("tyn: kernel panic: {}", symbols.annotate(text));
        }
        Line::Trace(_) | Line::Log(_) | Line::Metric { .. } if has_panicked || trace.is_some() => {
            eprintln!("tyn: {line}");
        }
        // An error is what `run` returns.
        Line::Trace(_) | Line::Log(_) | Line::Metric { .. } | Line::Exit(_) | Line::Error(_) => {}
    })
}

/// What comes so soon after the first signal is part of it: `timeout` and terminals signal a process and its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Follows Ctrl-C, SIGTERM and SIGHUP.
#[derive(Clone, Debug, Default)]
struct Stopper {
    state: Arc<Mutex<StopState>>,
    was_killed: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct StopState {
    /// When the first signal came.
    first: Option<Instant>,
    /// The machine, once it runs.
    control: Option<Control>,
}

impl Stopper {
    fn install(&self) -> Result<()> {
        let stopper = self.clone();
        ctrlc::set_handler(move || stopper.on_signal()).context("Ctrl-C can't be handled")
    }

    /// Learns of the machine; a signal that came before counts now.
    fn start(&self, control: Control) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.first.is_some() {
            self.power_down(&control);
        }
        state.control = Some(control);
    }

    fn on_signal(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (state.first, &state.control) {
            (None, control) => {
                if let Some(control) = control {
                    self.power_down(control);
                }
                state.first = Some(Instant::now());
            }
            (Some(first), Some(control)) if first.elapsed() > ONE_REQUEST => self.kill(control),
            (Some(_), _) => {}
        }
    }

    fn power_down(&self, control: &Control) {
        eprintln!("tyn: stopping the guest; once more kills it");
        if let Err(error) = control.power_down() {
            eprintln!("tyn: it can't be asked to stop ({error})");
            self.kill(control);
        }
    }

    fn kill(&self, control: &Control) {
        self.was_killed.store(true, Ordering::SeqCst);
        control.kill();
    }
}
