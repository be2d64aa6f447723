//! `cargo xtask python-suite`: CPython's own test suite, in a guest and on Linux, in the same root tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use glob::Pattern;

use crate::paths;
use crate::test::Tally;
use crate::tree::{self, First, Guest, Packaged, System};

/// Programs that bring the libraries they need; the suite and the programs that it starts.
const PACKAGES: &[&str] = &[
    "coreutils",
    "dash",
    "libpython3.13-testsuite",
    "netbase",
    "openssl",
    "procps",
    "python3",
    "sed",
    "tzdata",
    "util-linux",
];

/// Configuration files.
const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost otp\n::1 localhost\n"),
    ("etc/host.conf", "multi on\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
    ("etc/resolv.conf", ""),
];

/// What the tree is before the runner is put into it.
const PACKAGED: Packaged = Packaged {
    of: "CPython's suite",
    packages: PACKAGES,
    alone: &[],
    files: FILES,
    links: &[],
};

/// Stands for a case: how a module's process ended.
const EXIT: &str = "(exit)";

/// What suite `python` runs.
const MODULES: &[&str] = &[
    "test_epoll",
    "test_fcntl",
    "test_mmap",
    "test_os",
    "test_poll",
    "test_posix",
    "test_select",
    "test_selectors",
    "test_signal",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Modules of `test`, as `test_os` or `test_asyncio.test_events`
    #[arg(required = true)]
    names: Vec<String>,
    /// Boot Debian's Linux instead of Tyn: what the same machine, emulator and load make of a case
    #[arg(long, conflicts_with = "trace")]
    linux_guest: bool,
    /// Virtual CPUs of the guest
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory of the guest in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u64,
    /// How many seconds a module may take
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// Keep what the kernel refused beside the transcript
    #[arg(long)]
    trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            linux_guest: false,
            cpus: 2,
            memory: 2048,
            limit: 600,
            trace: false,
        }
    }
}

/// Runs modules on both systems.
///
/// # Errors
/// When a case's outcome isn't the same, or nothing can be run.
pub(crate) fn python_suite(options: &Options) -> Result<()> {
    let compared = compare(options)?;
    println!(
        "on Linux: {}\nin a guest: {}; {}",
        compared.linux, compared.guest, compared.end
    );
    for (name, how) in &compared.differ {
        println!("  {name}: {how}");
    }
    ensure!(
        compared.differ.is_empty(),
        "not as on Linux: {} cases",
        compared.differ.len()
    );
    Ok(())
}

/// Suite `python`: modules that are quick and lean on the kernel; each case whose outcome is Linux's is a test.
///
/// # Errors
/// When nothing can be run.
pub(crate) fn suite() -> Result<Tally> {
    let compared = compare(&Options {
        names: MODULES.iter().map(|&m| m.to_owned()).collect(),
        ..Options::default()
    })?;
    let mut tally = Tally::default();
    let passed = compared.linux.both_ok(&compared.guest);
    tally.passed = u32::try_from(passed)?;
    eprintln!("  ok      {} cases", tally.passed);
    for (name, how) in compared.differ {
        tally.count(&name, Err(anyhow!("{how}")));
    }
    Ok(tally)
}

/// What became of modules on both systems.
struct Compared {
    linux: Outcomes,
    guest: Outcomes,
    /// How the guest ended.
    end: String,
    /// Cases whose outcome differs and may not, with how.
    differ: Vec<(String, String)>,
}

fn compare(options: &Options) -> Result<Compared> {
    let root = ensure_tree()?;
    let out = paths::target().join("python-suite/out");
    fs::create_dir_all(&out)?;
    let excused = Excused::read()?;
    let count = u64::try_from(options.names.len())?;
    let first = First {
        arguments: [
            vec!["/python/run.sh".to_owned(), options.limit.to_string()],
            options.names.clone(),
        ]
        .concat(),
        variable: ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        limit: Duration::from_secs(options.limit * count),
    };
    let linux = Outcomes::parse(&tree::on_linux(&root, &first, &out.join("linux.txt"))?);
    if let Some(name) = options.names.iter().find(|name| !linux.has_cases(name)) {
        bail!("{name} ran no case on Linux: see {}", out.display());
    }
    let guest = Guest {
        system: if options.linux_guest {
            System::Linux
        } else {
            System::Tyn
        },
        cpus: options.cpus,
        memory: options.memory,
        trace: options.trace,
    };
    let image = paths::target().join("python-suite/suite.img");
    let (text, end) = tree::in_guest(&root, &first, &guest, &image, &out.join("guest.txt"))?;
    let guest = Outcomes::parse(&text);
    Ok(Compared {
        differ: linux.differ(&guest, &excused),
        linux,
        guest,
        end,
    })
}

/// The cases whose outcome need not be as on Linux.
#[derive(Debug)]
struct Excused(Vec<Pattern>);

impl Excused {
    fn read() -> Result<Self> {
        let path = paths::root().join("tests/python/excused.txt");
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let patterns = lines.map(|line| {
            let (cases, _) = line
                .split_once(": ")
                .with_context(|| format!("'{line}' gives no reason"))?;
            Ok(Pattern::new(cases)?)
        });
        Ok(Self(patterns.collect::<Result<_>>()?))
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

/// What became of the cases: outcome and reason by module and name.
#[derive(Debug, Default)]
struct Outcomes(BTreeMap<String, (String, String)>);

impl Outcomes {
    fn parse(text: &str) -> Self {
        let mut cases = BTreeMap::new();
        for line in text.lines() {
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("@case ") {
                let mut parts = rest.splitn(4, ' ');
                let mut next = || parts.next().unwrap_or_default().to_owned();
                let (module, case, outcome, reason) = (next(), next(), next(), next());
                cases.insert(format!("{module} {case}"), (outcome, reason));
            } else if let Some(rest) = line.strip_prefix("@end ") {
                let (module, status) = rest.split_once(' ').unwrap_or((rest, ""));
                cases.insert(
                    format!("{module} {EXIT}"),
                    (status.to_owned(), String::new()),
                );
            }
        }
        Self(cases)
    }

    /// Returns how many cases had an outcome.
    fn count(&self, wanted: &str) -> usize {
        self.0.values().filter(|(o, _)| o == wanted).count()
    }

    /// Returns whether a module ran any case.
    fn has_cases(&self, module: &str) -> bool {
        let mut names = self.0.keys().filter_map(|name| name.split_once(' '));
        names.any(|(of, case)| of == module && case != EXIT)
    }

    /// Returns how many cases passed on both systems.
    fn both_ok(&self, guest: &Self) -> usize {
        let is_ok = |outcomes: &Self, name| outcomes.0.get(name).is_some_and(|(o, _)| o == "ok");
        let names = self.0.keys();
        names
            .filter(|&name| is_ok(self, name) && is_ok(guest, name))
            .count()
    }

    /// Returns the cases whose outcome is another one in the guest and may not be, with both.
    fn differ(&self, guest: &Self, excused: &Excused) -> Vec<(String, String)> {
        let missing = (String::from("missing"), String::new());
        let names: BTreeSet<&String> = self.0.keys().chain(guest.0.keys()).collect();
        let mut differ = Vec::new();
        for name in names {
            let here = self.0.get(name).unwrap_or(&missing);
            let there = guest.0.get(name).unwrap_or(&missing);
            if here.0 != there.0 && !excused.has(name) {
                let how = format!(
                    "{} {} on Linux; {} {} in the guest",
                    here.0, here.1, there.0, there.1
                );
                differ.push((name.clone(), how));
            }
        }
        differ
    }
}

impl std::fmt::Display for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ok, {} skipped, {} failed",
            self.count("ok"),
            self.count("skipped"),
            self.count("failed")
        )
    }
}

/// Returns the tree with the suite; makes what is missing or out of date.
///
/// # Errors
/// When packages can't be fetched.
fn ensure_tree() -> Result<PathBuf> {
    let base = paths::target().join("python-suite");
    // Released when it is closed.
    let lock = File::create(base.with_extension("lock"))?;
    lock.lock()?;
    let root = base.join("root");
    PACKAGED.ensure(&base, &root)?;
    let runner = root.join("python");
    fs::create_dir_all(&runner)?;
    let from = paths::root().join("tests/python");
    for name in ["run.sh", "run.py"] {
        let to = runner.join(name);
        fs::copy(from.join(name), &to).with_context(|| format!("{}", to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    Ok(root)
}
