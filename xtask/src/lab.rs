//! What demo, soak and VM tests share: the tool, the kernel, the example's image, free ports, and booting.

use std::fs;
use std::io::BufWriter;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};
use tyn_vm_host::http::{self, Response};
use tyn_vm_host::{Config, Console, Forward, Machine, MemorySize, Outcome, Vm};

use crate::command::output;
use crate::sysroot::{self, Sysroot};
use crate::{debian, example, kernel, paths};

/// The port on which the example listens.
pub(crate) const GUEST_PORT: u16 = 8080;
/// How long a guest may take to its first answer, on a busy machine with more virtual CPUs than real ones.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(180);
/// How long a guest may take to stop after its power button was pressed.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(30);

/// All that is needed to boot the example.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// The kernel's ELF file.
    pub(crate) kernel: PathBuf,
    /// The `tyn` tool with that kernel inside.
    pub(crate) tool: PathBuf,
    /// The OTP sysroot.
    pub(crate) sysroot: Sysroot,
    /// The example's release.
    pub(crate) release: PathBuf,
    /// The example's image.
    pub(crate) image: PathBuf,
}

impl Lab {
    /// Fetches and builds what is missing or out of date.
    ///
    /// # Errors
    /// What can't be fetched or built, and what mends it.
    pub(crate) fn new() -> Result<Self> {
        debian::ensure_program("qemu-system-x86_64", "qemu-system-x86")?;
        let sysroot = sysroot::ensure()?;
        let release = example::ensure(&sysroot)?;
        let kernel = kernel::build().context("the kernel can't be built")?;
        let tool = kernel::build_tool(&kernel).context("the tyn tool can't be built")?;
        let image = paths::target().join("examples/erlang_http.img");
        let lab = Self {
            kernel,
            tool,
            sysroot,
            release,
            image,
        };
        let mut build = lab.tyn();
        build.arg("build").arg(&lab.release);
        build.arg("--sysroot").arg(lab.sysroot.dir());
        output(build.arg("--output").arg(&lab.image))?;
        Ok(lab)
    }

    /// Returns a command that runs the tool.
    pub(crate) fn tyn(&self) -> Command {
        Command::new(&self.tool)
    }

    /// Returns a machine for the example with `forwards` ports of this machine that lead to it; see [`Guest::boot`].
    ///
    /// # Errors
    /// When no ports are free.
    pub(crate) fn config(&self, machine: Machine, cpus: u32, forwards: usize) -> Result<Config> {
        let forwards = free_ports(forwards)?.into_iter().map(|host| Forward {
            host,
            guest: GUEST_PORT,
        });
        Ok(Config {
            machine,
            cpus,
            forwards: forwards.collect(),
            ..Config::new(&self.kernel, &self.image)
        })
    }
}

/// A guest that serves.
#[derive(Debug)]
pub(crate) struct Guest {
    /// The machine.
    pub(crate) vm: Vm,
    /// Its first answer.
    pub(crate) answer: Response,
    /// From the start of QEMU to the answer.
    pub(crate) took: Duration,
    /// The ports of this machine that lead to it.
    pub(crate) ports: Vec<u16>,
}

impl Guest {
    /// Boots and waits for the first answer.
    ///
    /// # Errors
    /// When there is none; with the end of what the guest said.
    pub(crate) fn boot(config: &Config) -> Result<Self> {
        let vm = Vm::start(config, Console::Keep, Box::new(|_| {}))?;
        let ports: Vec<u16> = config.forwards.iter().map(|f| f.host).collect();
        let port = *ports.first().context("a port must be forwarded")?;
        let answer = vm
            .wait_http(port, "/", ANSWER_LIMIT)
            .with_context(|| last_words(&vm))?;
        let took = vm.age();
        ensure!(answer.status == 200, "status {} at GET /", answer.status);
        Ok(Self {
            vm,
            answer,
            took,
            ports,
        })
    }

    /// Asks once more, on a fresh connection.
    ///
    /// # Errors
    /// When there is no good answer.
    pub(crate) fn get(&self, path: &str) -> Result<Response> {
        let port = *self.ports.first().context("a port must be forwarded")?;
        Ok(http::get(port, path, ANSWER_LIMIT)?)
    }

    /// Presses the power button and waits for the end: the program must stop by itself with exit status 0.
    ///
    /// # Errors
    /// When it doesn't; with the end of what the guest said.
    pub(crate) fn shut_down(self) -> Result<()> {
        self.shut_down_and_read().map(drop)
    }

    /// As [`Guest::shut_down`]; returns all that was written to the console: loggers are behind what is served.
    ///
    /// # Errors
    /// When it does not end well.
    pub(crate) fn shut_down_and_read(mut self) -> Result<String> {
        self.vm.control().power_down()?;
        let outcome = self.vm.wait_for(STOP_LIMIT)?;
        ensure!(
            outcome == Some(Outcome::Exited(0)),
            "after the power button: {outcome:?}\n{}",
            last_words(&self.vm)
        );
        Ok(self.vm.console())
    }
}

/// Makes an image, beside `program`, of that one static program as the first process, at `path` and with `args`.
///
/// # Errors
/// When a file can't be read or written.
pub(crate) fn program_image(program: &Path, path: &str, args: &[String]) -> Result<PathBuf> {
    let mut all = vec![path.as_bytes()];
    all.extend(args.iter().map(String::as_bytes));
    let init = Init {
        args: all,
        env: Vec::new(),
        cwd: b"/",
        hostname: b"test",
        ..Init::default()
    };
    let size = fs::metadata(program)?.len();
    let mut tree = Tree::default();
    let file = Node::File(0o755, Source::Path(program.to_path_buf(), size));
    tree.insert(Path::new(path), file)?;
    let start = Node::File(0o600, Source::Bytes(init.to_bytes()?));
    tree.insert(Path::new(INIT_PATH), start)?;
    for (dir, mode) in [("/tmp", 0o1777), ("/proc", 0o555), ("/dev", 0o755)] {
        tree.insert(Path::new(dir), Node::Dir(mode))?;
    }
    let image = program.with_extension("img");
    let out = BufWriter::new(fs::File::create(&image)?);
    tree.write(out, Some(0), |_| {})
        .map_err(|(at, error)| anyhow::anyhow!("{}: {error}", at.display()))?;
    Ok(image)
}

/// Returns the end of a guest's console and of its kernel's report, to go with an error.
pub(crate) fn last_words(vm: &Vm) -> String {
    let console = vm.console();
    let report = vm.report();
    let tail = |lines: Vec<&str>| {
        let skip = lines.len().saturating_sub(30);
        let shown: Vec<String> = lines
            .iter()
            .skip(skip)
            .map(|l| format!("    {l}\n"))
            .collect();
        shown.concat()
    };
    format!(
        "console:\n{}report ({} panic lines, errors {:?}, metrics {:?}):\n{}{}",
        tail(console.lines().collect()),
        report.panic.len(),
        report.errors,
        report.metrics,
        tail(report.lines.iter().map(String::as_str).collect()),
        tail(report.panic.iter().map(String::as_str).collect()),
    )
}

/// Returns free TCP ports of this machine, all different.
///
/// # Errors
/// When there aren't so many.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    // Below those that the system gives to who connects (`ip_local_port_range`): one of these might be taken before a guest
    // listens on it. None twice, as until then the system thinks it free.
    const PORTS: core::ops::Range<u16> = 10_000..30_000;
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let start = std::process::id() * 61 % u32::from(PORTS.end - PORTS.start);
    let mut port = next.unwrap_or(PORTS.start + start as u16);
    let mut ports = Vec::new();
    for _ in PORTS {
        if ports.len() == count {
            break;
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            ports.push(port);
        }
        port = if port + 1 == PORTS.end {
            PORTS.start
        } else {
            port + 1
        };
    }
    *next = Some(port);
    ensure!(ports.len() == count, "no {count} free ports");
    Ok(ports)
}

/// Returns the memory size of so many MiB.
pub(crate) const fn mib(mib: u64) -> MemorySize {
    MemorySize(mib << 20)
}
