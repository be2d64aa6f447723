//! `cargo xtask otp-suite`: OTP's own test suites, in a guest and on Linux, in the same root tree.

mod compile;
mod outcome;
mod root;
pub(crate) mod suites;

pub(crate) use root::ensure as ensure_tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use self::outcome::{Expected, Outcomes};
use self::suites::Selected;
use crate::paths;
use crate::tree::{self, First, Guest, System};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Suites: AREA, AREA/SUITE, AREA/SUITE:CASE,CASE,… or AREA/SUITE:@GROUP (with cases: those inside of it); without names:
    /// lists what there is
    names: Vec<String>,
    /// Run on this Linux instead, and write the lists of cases that pass
    #[arg(long)]
    linux: bool,
    /// Boot Debian's Linux instead of Tyn: what the same machine, emulator and load make of a case
    #[arg(long, conflicts_with_all = ["linux", "kernel", "trace"])]
    linux_guest: bool,
    /// Virtual CPUs of the guest
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory of the guest in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u64,
    /// How many times longer than OTP says a case may take [default: 2 on Linux, 10 in a guest]
    #[arg(long)]
    scale: Option<u32>,
    /// How many minutes a suite may take
    #[arg(long, default_value_t = 60)]
    limit: u64,
    /// Kernel to boot instead of the one that is built here
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Keep what the kernel refused beside the transcript
    #[arg(long)]
    trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            linux: false,
            linux_guest: false,
            cpus: 2,
            memory: 2048,
            scale: None,
            limit: 60,
            kernel: None,
            trace: false,
        }
    }
}

/// Runs suites.
///
/// # Errors
/// When a case that passes on Linux doesn't pass in the guest, or a suite can't be run.
pub(crate) fn otp_suite(options: &Options) -> Result<()> {
    if options.names.is_empty() {
        println!("{}", suites::names().join("\n"));
        return Ok(());
    }
    let mut failed = Vec::new();
    for selected in suites::select(&options.names)? {
        if options.linux {
            on_linux(&selected, options)?;
        } else if let Err(error) = in_guest(&selected, options) {
            eprintln!("{}: {error:#}", selected.name());
            failed.push(selected.name());
        }
    }
    ensure!(failed.is_empty(), "not as on Linux: {}", failed.join(", "));
    Ok(())
}

/// Runs a suite on this Linux and writes its list, unless only some of its cases were asked for.
fn on_linux(selected: &Selected, options: &Options) -> Result<()> {
    let root = root::ensure(slice::from_ref(selected))?;
    let mut expected = Expected::read(selected)?;
    let start = Instant::now();
    let first = first(selected, &expected, options, 2);
    let text = tree::on_linux(&root, &first, &transcript("linux", selected)?)?;
    let outcomes = Outcomes::parse(&text);
    println!(
        "{} on Linux: {outcomes} in {:.0?}",
        selected.name(),
        start.elapsed()
    );
    for (case, outcome) in outcomes.not_passed() {
        println!("  {case} {outcome}");
    }
    ensure!(outcomes.ended(), "the suite did not come to its end");
    if selected.cases.is_empty() {
        expected.update(&outcomes);
        expected.write(selected)?;
    }
    Ok(())
}

/// Runs a suite in a guest and says what became of it.
///
/// # Errors
/// When it isn't as on Linux.
fn in_guest(selected: &Selected, options: &Options) -> Result<()> {
    let root = ensure_tree(slice::from_ref(selected))?;
    let start = Instant::now();
    let ran = run_in_guest(selected, options, &root)?;
    println!(
        "{} on {}: {} in {:.0?}; {}",
        selected.name(),
        if options.linux_guest {
            "a guest's Linux"
        } else {
            "Tyn"
        },
        ran.outcomes,
        start.elapsed(),
        ran.end
    );
    for (case, outcome) in &ran.differ {
        println!("  {case} {outcome}");
    }
    ensure!(
        ran.outcomes.ended(),
        "the suite did not come to its end: {}",
        ran.end
    );
    ensure!(
        ran.differ.is_empty(),
        "{} cases pass on Linux and not in the guest",
        ran.differ.len()
    );
    Ok(())
}

/// A suite that ran in a guest.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How its cases ended.
    outcomes: Outcomes,
    /// How the guest ended.
    end: String,
    /// The cases that should have passed and did not, with what became of them.
    pub(crate) differ: Vec<(String, String)>,
    /// How many cases had to pass.
    pub(crate) expected: usize,
}

/// Runs a suite of the tree `root` ([`ensure_tree`]) in a guest.
///
/// # Errors
/// When there is no guest.
pub(crate) fn run_in_guest(selected: &Selected, options: &Options, root: &Path) -> Result<Ran> {
    let expected = Expected::read(selected)?;
    let first = first(selected, &expected, options, 10);
    let (name, system) = match &options.kernel {
        _ if options.linux_guest => ("linux-guest", System::Linux),
        Some(kernel) => ("tyn", System::Kernel(kernel.clone())),
        None => ("tyn", System::Tyn),
    };
    let guest = Guest {
        system,
        cpus: options.cpus,
        memory: options.memory,
        trace: options.trace,
    };
    let image = paths::target().join(format!("otp-suite/{}.img", selected.suite));
    let out = transcript(name, selected)?;
    let (text, end) = tree::in_guest(root, &first, &guest, &image, &out)?;
    let outcomes = Outcomes::parse(&text);
    Ok(Ran {
        differ: expected.missing(&outcomes, selected),
        expected: expected.count(),
        outcomes,
        end,
    })
}

/// Returns where the output of a suite goes.
fn transcript(system: &str, selected: &Selected) -> Result<PathBuf> {
    let dir = paths::target().join("otp-suite/out").join(system);
    fs::create_dir_all(&dir)?;
    Ok(dir.join(format!("{}-{}.txt", selected.area.name, selected.suite)))
}

/// Returns what runs a suite in the tree, by default `scale` times longer than OTP says.
fn first(selected: &Selected, expected: &Expected, options: &Options, scale: u32) -> First {
    let mut arguments = vec![
        RUN.to_owned(),
        selected.area.name.to_owned(),
        selected.suite.to_owned(),
        options.scale.unwrap_or(scale).to_string(),
    ];
    arguments.extend(selected.cases.iter().cloned());
    First {
        arguments,
        variable: (SKIP, expected.skip()),
        limit: Duration::from_secs(options.limit * 60),
    }
}

/// The program that runs a suite.
const RUN: &str = "/otp/runner/run.sh";
/// The environment variable that names the cases which are not run.
const SKIP: &str = "OTP_SUITE_SKIP";
