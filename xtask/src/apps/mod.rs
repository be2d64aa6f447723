//! Real applications, as Debian packages them: built into an image and started by the tool, then used by their own clients.
//! What they prove and need is in `docs/applications.md`; their files are in `tests/apps`.

mod ejabberd;
mod rabbitmq;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::command::{self, output};
use crate::lab::free_ports;
use crate::sysroot::{self, Kind, Sysroot};
use crate::{debian, demo, kernel, paths};

/// Most that an application may take to start, on a busy machine without virtualization.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// Most that it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// Memory of the machine.
const MEMORY_MIB: u64 = 1024;
/// What the clients are, of PyPI.
const CLIENTS: [&str; 3] = ["pika==1.3.2", "selenium==4.51.0", "slixmpp==1.17.0"];

/// An application.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Name {
    /// RabbitMQ with its management page
    Rabbitmq,
    /// ejabberd
    Ejabberd,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Applications (default: all)
    names: Vec<Name>,
}

/// Runs the proofs.
///
/// # Errors
/// The first that fails; with the end of what the guest said.
pub(crate) fn apps(options: &Options) -> Result<()> {
    debian::ensure_program("qemu-system-x86_64", "qemu-system-x86")?;
    let tool = kernel::build_tool(&kernel::build()?)?;
    let all = [Name::Rabbitmq, Name::Ejabberd];
    let names = if options.names.is_empty() {
        &all[..]
    } else {
        &options.names
    };
    for name in names {
        let bench = Bench::new(&tool)?;
        match name {
            Name::Rabbitmq => rabbitmq::prove(&bench).context("RabbitMQ")?,
            Name::Ejabberd => ejabberd::prove(&bench).context("ejabberd")?,
        }
    }
    Ok(())
}

/// What the proofs share.
struct Bench {
    tool: PathBuf,
    dir: PathBuf,
    python: PathBuf,
}

/// How an application is built and started.
struct App<'a> {
    name: &'a str,
    kind: Kind,
    /// Folder of its applications in the sysroot.
    input: &'a str,
    start: &'a str,
    /// Folders that its package makes.
    folders: &'a [&'a str],
    env: &'a [&'a str],
    /// Files for the guest: where, and what.
    files: Vec<(&'a str, PathBuf)>,
    /// Ports of the guest.
    ports: &'a [u16],
    /// What it writes on the console when it is ready.
    ready: &'a str,
}

impl Bench {
    fn new(tool: &Path) -> Result<Self> {
        let dir = paths::target().join("apps");
        let python = dir.join("venv/bin/python");
        fs::create_dir_all(&dir)?;
        if !python.exists() {
            let mut venv = Command::new("python3");
            output(venv.args(["-m", "venv"]).arg(dir.join("venv")))?;
        }
        let mut pip = Command::new(&python);
        output(pip.args(["-m", "pip", "--quiet", "install"]).args(CLIENTS))?;
        Ok(Self {
            tool: tool.to_path_buf(),
            dir,
            python,
        })
    }

    /// Returns the folder of an application's files.
    fn files(name: &str) -> PathBuf {
        paths::root().join("tests/apps").join(name)
    }

    /// Builds the image and boots it.
    fn start(&self, app: &App<'_>) -> Result<Running> {
        let sysroot = sysroot::ensure_kind(app.kind)?;
        let image = self.build(app, &sysroot)?;
        let log = self.dir.join(format!("{}.log", app.name));
        let ports = free_ports(app.ports.len())?;
        let mut run = Command::new(&self.tool);
        run.arg("run").arg(&image);
        run.args(["--cpus", "2", "--vm-args"]);
        run.arg(Self::files(app.name).join("vm.args"));
        run.args(["--memory", &format!("{MEMORY_MIB}M")]);
        for (guest, host) in &app.files {
            let mut file = OsString::from(format!("{guest}="));
            file.push(host);
            run.arg("--file").arg(file);
        }
        for variable in app.env {
            run.args(["-e", variable]);
        }
        for (host, guest) in ports.iter().zip(app.ports) {
            run.args(["-p", &format!("{host}:{guest}")]);
        }
        demo::show(&run);
        let console = File::create(&log)?;
        run.stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console);
        let start = Instant::now();
        let mut running = Running {
            tool: run.spawn().context("the tyn tool can't be started")?,
            log,
            ports,
        };
        running.wait_for(app.ready)?;
        println!(
            "{} is ready after {:.1} s",
            app.name,
            start.elapsed().as_secs_f64()
        );
        demo::print_memory(&running.tool, MEMORY_MIB);
        Ok(running)
    }

    fn build(&self, app: &App<'_>, sysroot: &Sysroot) -> Result<PathBuf> {
        let image = self.dir.join(format!("{}.img", app.name));
        let mut build = Command::new(&self.tool);
        build.arg("build").arg(sysroot.dir().join(app.input));
        build.args(["--start", app.start, "--sysroot"]);
        build.arg(sysroot.dir());
        for folder in app.folders {
            build.args(["--include", folder]);
        }
        build.arg("--output").arg(&image);
        demo::show(&build);
        command::run(&mut build)?;
        Ok(image)
    }

    /// Runs one of an application's clients.
    fn client(&self, app: &str, script: &str, args: &[String]) -> Result<()> {
        let mut python = Command::new(&self.python);
        python.args(["-W", "ignore"]);
        command::run(python.arg(Self::files(app).join(script)).args(args))
    }
}

/// An application that runs. Killed when dropped.
struct Running {
    tool: Child,
    log: PathBuf,
    ports: Vec<u16>,
}

impl Running {
    fn wait_for(&mut self, text: &str) -> Result<()> {
        let start = Instant::now();
        while !fs::read(&self.log)?
            .windows(text.len())
            .any(|at| at == text.as_bytes())
        {
            if let Some(status) = self.tool.try_wait()? {
                bail!("it ended ({status}):\n{}", self.last_words());
            }
            if start.elapsed() > READY_LIMIT {
                bail!(
                    "it is not ready after {READY_LIMIT:?}:\n{}",
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let skip = log.lines().count().saturating_sub(30);
        let lines: Vec<&str> = log.lines().skip(skip).collect();
        lines.join("\n")
    }

    /// Asks it to stop: its exit status must be 0.
    fn stop(mut self) -> Result<()> {
        demo::print_memory(&self.tool, MEMORY_MIB);
        kill_process(Pid::from_child(&self.tool), Signal::TERM)?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.tool.try_wait()? {
                ensure!(
                    status.success(),
                    "it ended: {status}:\n{}",
                    self.last_words()
                );
                println!("stopped after {:.1} s", start.elapsed().as_secs_f64());
                return Ok(());
            }
            ensure!(
                start.elapsed() < STOP_LIMIT,
                "it does not stop:\n{}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most likely it ended before.
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}
