//! A running virtual machine: QEMU, its console, its report channel and its machine protocol.
//!
//! Who runs when: QEMU is a child process in a process group of its own, so that Ctrl-C reaches us alone. One thread reads
//! the report channel until QEMU closes it, which it does when it ends, however it ends; another collects the console
//! when asked to. [`Vm::wait`] waits for the first and then for the process. [`Control`] may be used from any thread
//! meanwhile. Whatever happens, dropping the [`Vm`] ends QEMU.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tyn_trace::Line;

use crate::config::{self, Accel, Config, kvm_problem};
use crate::console::{Console, ConsolePipe, Resizer, collect};
use crate::http::{self, Response};
use crate::memory;
use crate::qemu::{self, OLDEST, QEMU, Version, find_program};
use crate::qmp::Qmp;
use crate::report::{self, Outcome, Report};

/// The most CPUs that are offered: what the kernel is built for.
pub const MAX_CPUS: u32 = 64;
/// What QEMU says when the guest's memory can't be had (`util/oslib-posix.c`, `softmmu/physmem.c`).
const NO_MEMORY: &str = "cannot set up guest memory";
/// How long QEMU may take to open its sockets.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Called for each line of the report channel, as it comes.
pub type OnLine = Box<dyn FnMut(&Line<'_>) + Send>;

/// Why a machine can't be started or used.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU isn't installed.
    #[error("{QEMU} is missing; install it (Debian package qemu-system-x86)")]
    NoQemu,
    /// It lacks something that we ask of it.
    #[error(
        "{QEMU} {version} is too old, {OLDEST} or newer is needed; install a newer one (Debian package qemu-system-x86). It said: {said}"
    )]
    OldQemu {
        /// Its version.
        version: Version,
        /// What it refused.
        said: String,
    },
    /// KVM was asked for and can't be used.
    #[error("--accel kvm can't be used: {0}; use --accel tcg")]
    NoKvm(&'static str),
    /// A number of CPUs that can't be.
    #[error("{0} CPUs can't be had; use 1 to {MAX_CPUS}")]
    Cpus(u32),
    /// A forwarded port belongs to somebody else.
    #[error(
        "port {port} of this machine can't be used: {error}; stop what uses it, or forward another one"
    )]
    Port {
        /// The port.
        port: u16,
        /// Why.
        error: io::Error,
    },
    /// A port that only root may have.
    #[error(
        "port {0} of this machine is for root only; forward one from 1024 on, or allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start={0}"
    )]
    PortDenied(u16),
    /// A port that is forwarded to two of the guest.
    #[error("port {0} of this machine can't be forwarded twice; use another one for one of both")]
    PortTwice(u16),
    /// This machine has not so much memory.
    #[error("{0} of memory can't be had on this machine; use less by --memory")]
    NoMemory(config::MemorySize),
    /// The image does not fit.
    #[error(
        "{memory} of memory is too little for an image of {image_mib} MiB; use --memory {least_mib}M or more"
    )]
    Memory {
        /// What was asked for.
        memory: config::MemorySize,
        /// Size of the image in MiB.
        image_mib: u64,
        /// What would do, in MiB.
        least_mib: u64,
    },
    /// QEMU would misread this path.
    #[error("{} can't be given to QEMU; move it to a path of plain letters", .0.display())]
    Path(PathBuf),
    /// QEMU ended before the machine ran.
    #[error("QEMU did not start the machine: {0}")]
    Qemu(String),
    /// The machine ended while something was expected of it.
    #[error("the guest {0}")]
    Ended(String),
    /// Nothing within the time limit.
    #[error("the guest did not answer on port {port} within {limit:?}")]
    NoAnswer {
        /// Port of this machine.
        port: u16,
        /// The limit.
        limit: Duration,
    },
    /// Something else failed.
    #[error("{what}: {error}")]
    Io {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> VmError {
    move |error| VmError::Io { what, error }
}

/// Takes a lock; a thread that panicked with it has left the plain data in it whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running machine; ends when it is dropped.
#[derive(Debug)]
pub struct Vm {
    control: Control,
    report: Arc<Mutex<Report>>,
    report_reader: Option<JoinHandle<()>>,
    console: Arc<Mutex<Vec<u8>>>,
    console_reader: Option<JoinHandle<()>>,
    console_pipe: Option<ConsolePipe>,
    /// Where the guest is told the terminal's size.
    size: Option<UnixStream>,
    /// What QEMU says.
    stderr: Mutex<fs::File>,
    ram_bytes: u64,
    started: Instant,
}

/// Stops a machine; may be used from any thread while another waits for it.
#[derive(Clone, Debug)]
pub struct Control {
    child: Arc<Mutex<Child>>,
    qmp: Arc<Mutex<Qmp>>,
    pid: u32,
}

impl Control {
    /// Presses the power button.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn power_down(&self) -> io::Result<()> {
        lock(&self.qmp).execute("system_powerdown").map(drop)
    }

    /// Forwards one more port.
    ///
    /// # Errors
    /// When QEMU can't.
    pub fn add_forward(&self, forward: config::Forward) -> io::Result<()> {
        let config::Forward { host, guest } = forward;
        let line = format!("hostfwd_add net tcp:127.0.0.1:{host}-:{guest}");
        match lock(&self.qmp).monitor(&line)?.trim() {
            "" => Ok(()),
            refusal => Err(io::Error::other(refusal.to_owned())),
        }
    }

    /// Ends the forwarding of a port that [`Control::add_forward`] began; connections that were made stay.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn remove_forward(&self, forward: config::Forward) -> io::Result<()> {
        let line = format!("hostfwd_remove net tcp:127.0.0.1:{}", forward.host);
        lock(&self.qmp).monitor(&line).map(drop)
    }

    /// Asks QEMU's human monitor, for what has no other command.
    ///
    /// # Errors
    /// When QEMU refuses the command or is gone.
    pub fn monitor(&self, line: &str) -> io::Result<String> {
        lock(&self.qmp).monitor(line)
    }

    /// Ends QEMU at once.
    pub fn kill(&self) {
        // An error says that it has ended already.
        let _ = lock(&self.child).kill();
    }

    /// Returns QEMU's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Vm {
    /// Starts a machine. `on_line` is called for each line that the kernel reports.
    ///
    /// QEMU ends with the calling thread at the latest, where util-linux's `setpriv` is installed.
    ///
    /// # Errors
    /// [`VmError`]: what is wrong with the configuration or this machine.
    pub fn start(config: &Config, console: Console, mut on_line: OnLine) -> Result<Self, VmError> {
        check(config)?;
        let dir = tyn_scratch::Dir::new().map_err(failed("a private folder can't be made"))?;
        let listen = |path: &Path| {
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let mut sockets = vec![
            config::qmp_socket(dir.path()),
            config::report_socket(dir.path()),
        ];
        sockets.extend(config.tty_size.map(|_| config::size_socket(dir.path())));
        let sockets: io::Result<Vec<_>> = sockets.iter().map(|path| listen(path)).collect();
        let sockets = sockets.map_err(failed("a socket can't be made"))?;
        let stderr = dir.path().join("stderr");
        let errors = fs::File::create(&stderr).and_then(|_| fs::File::open(&stderr));
        let errors = errors.map_err(failed("a private file can't be made"))?;
        let started = Instant::now();
        let mut child = spawn(config, dir.path(), console, &stderr)?;
        let connected = connect(&mut child, &sockets, &stderr);
        let (qmp, reports, size) = connected.map_err(|error| {
            let _ = child.kill();
            let _ = child.wait();
            match error {
                VmError::Qemu(said) if said.contains(NO_MEMORY) => VmError::NoMemory(config.memory),
                other => other,
            }
        })?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut console_reader, mut console_pipe) = (None, None);
        // Whatever happens to us from now on, no file is left behind.
        drop(dir);
        match (console, child.stdin.take(), child.stdout.take()) {
            (Console::Pipe, Some(input), Some(output)) => {
                console_pipe = Some(ConsolePipe { input, output });
            }
            (Console::Keep, _, Some(stdout)) => {
                console_reader = Some(collect(stdout, Arc::clone(&output)));
            }
            (Console::Keep | Console::Pipe, _, _) => {}
        }
        let report = Arc::new(Mutex::new(Report::default()));
        let shared = Arc::clone(&report);
        let report_reader = std::thread::spawn(move || {
            // An error ends the report as its end does; how QEMU ended is seen by waiting for it.
            let _ = report::read_lines(&mut BufReader::new(reports), |line| {
                lock(&shared).add(line);
                on_line(line);
            });
        });
        let pid = child.id();
        Ok(Self {
            control: Control {
                child: Arc::new(Mutex::new(child)),
                qmp: Arc::new(Mutex::new(qmp)),
                pid,
            },
            report,
            report_reader: Some(report_reader),
            console: output,
            console_reader,
            console_pipe,
            size,
            stderr: Mutex::new(errors),
            ram_bytes: config.memory.0,
            started,
        })
    }

    /// Returns a handle for stopping the machine.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Returns how long ago QEMU was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns what the kernel reported so far.
    #[must_use]
    pub fn report(&self) -> Report {
        lock(&self.report).clone()
    }

    /// Returns the console output so far, with [`Console::Keep`].
    #[must_use]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&lock(&self.console)).into_owned()
    }

    /// Returns the ends of the console, once, with [`Console::Pipe`].
    pub fn take_console(&mut self) -> Option<ConsolePipe> {
        self.console_pipe.take()
    }

    /// Returns what tells the guest that its terminal has another size, once, if it has one ([`Config::tty_size`]).
    pub fn take_resizer(&mut self) -> Option<Resizer> {
        self.size.take().map(Resizer)
    }

    /// Returns whether the machine has stopped by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.report_reader
            .as_ref()
            .is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the machine stops by itself, and says how.
    ///
    /// # Errors
    /// When QEMU can't be waited for.
    pub fn wait(&mut self) -> Result<Outcome, VmError> {
        for reader in [self.report_reader.take(), self.console_reader.take()]
            .into_iter()
            .flatten()
        {
            // A panic in there would be one of `on_line`; the report is whole up to it.
            let _ = reader.join();
        }
        self.outcome()
    }

    /// Waits for QEMU and says how the machine stopped.
    fn outcome(&self) -> Result<Outcome, VmError> {
        let status = lock(&self.control.child)
            .wait()
            .map_err(failed("QEMU can't be waited for"))?;
        let mut report = lock(&self.report);
        if report.machine.is_empty() {
            let mut said = Vec::new();
            // What can't be read was not said.
            let _ = lock(&self.stderr).read_to_end(&mut said);
            report.machine = report::describe_end(status, &String::from_utf8_lossy(&said));
        }
        Ok(report.outcome())
    }

    /// Waits like [`Vm::wait`], but at most for `limit`; `None` when the machine still runs then.
    ///
    /// # Errors
    /// When QEMU can't be waited for.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<Outcome>, VmError> {
        let start = Instant::now();
        while !self.has_ended() {
            if start.elapsed() > limit {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.wait().map(Some)
    }

    /// Waits until the guest answers `GET path` on the forwarded `port` of this machine, at most for `limit`.
    ///
    /// # Errors
    /// When it doesn't, or ends before.
    pub fn wait_http(&self, port: u16, path: &str, limit: Duration) -> Result<Response, VmError> {
        if let Some(response) = http::wait(port, path, limit, || self.has_ended()) {
            return Ok(response);
        }
        if !self.has_ended() {
            return Err(VmError::NoAnswer { port, limit });
        }
        Err(VmError::Ended(match self.outcome()? {
            Outcome::Exited(code) => format!("ended with exit status {code} before it answered"),
            Outcome::Panicked(lines) => format!("panicked: {}", lines.join("; ")),
            Outcome::Refused(why) => format!("refused to boot: {why}"),
            Outcome::Vanished(how) => format!("stopped without saying why: {how}"),
        }))
    }

    /// Returns how many bytes of the guest's memory the host has had to provide; `None` when that can't be told.
    #[must_use]
    pub fn guest_ram_touched(&self) -> Option<u64> {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.control.pid)).ok()?;
        memory::touched(&smaps, self.ram_bytes)
    }

    /// Returns the resident memory of QEMU in bytes, its own and the guest's; `None` when that can't be told.
    #[must_use]
    pub fn host_rss(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.control.pid)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib << 10)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.control.kill();
        let _ = lock(&self.control.child).wait();
    }
}

/// Refuses what can be known to fail before QEMU is started.
fn check(config: &Config) -> Result<(), VmError> {
    if !qemu::is_installed() {
        return Err(VmError::NoQemu);
    }
    if config.accel == Accel::Kvm
        && let Some(problem) = kvm_problem()
    {
        return Err(VmError::NoKvm(problem));
    }
    if !(1..=MAX_CPUS).contains(&config.cpus) {
        return Err(VmError::Cpus(config.cpus));
    }
    for path in [&config.kernel, &config.initrd] {
        if path.to_str().is_none_or(|text| text.contains(',')) {
            return Err(VmError::Path(path.clone()));
        }
    }
    let image = fs::metadata(&config.initrd)
        .map_err(failed("the image can't be read"))?
        .len();
    // What the kernel and the firmware need besides the image; with less, QEMU can't even load it.
    let least_mib = (image >> 20) + 24;
    if config.memory.0 >> 20 < least_mib {
        return Err(VmError::Memory {
            memory: config.memory,
            image_mib: image >> 20,
            least_mib,
        });
    }
    let mut ports = BTreeSet::new();
    let twice = config.forwards.iter().find(|f| !ports.insert(f.host));
    if let Some(forward) = twice {
        return Err(VmError::PortTwice(forward.host));
    }
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => VmError::PortDenied(port),
            _ => VmError::Port { port, error },
        })?;
    }
    Ok(())
}

fn spawn(config: &Config, dir: &Path, console: Console, stderr: &Path) -> Result<Child, VmError> {
    let errors = fs::File::create(stderr).map_err(failed("a private file can't be made"))?;
    // `setpriv` executes QEMU in its own place, with the wish to be killed when we die.
    let mut command = match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--", QEMU]);
            command
        }
        None => Command::new(QEMU),
    };
    command
        .args(config.qemu_args(dir))
        .stdin(match console {
            Console::Pipe => Stdio::piped(),
            Console::Keep => Stdio::null(),
        })
        // Never our own standard output: QEMU would make it non-blocking, for us and the shell, too.
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(failed("QEMU can't be started"))
}

/// The connections of a machine: its protocol, its reports and, with a terminal, the size's.
type Connections = (Qmp, UnixStream, Option<UnixStream>);

/// Waits until QEMU has connected to all sockets, which it does before the machine runs.
fn connect(
    child: &mut Child,
    sockets: &[UnixListener],
    stderr: &Path,
) -> Result<Connections, VmError> {
    let start = Instant::now();
    let mut streams: Vec<Option<UnixStream>> = sockets.iter().map(|_| None).collect();
    loop {
        for (socket, stream) in sockets.iter().zip(&mut streams) {
            accept(socket, stream)?;
        }
        if streams.iter().all(Option::is_some) {
            break;
        }
        let ended = child
            .try_wait()
            .map_err(failed("QEMU can't be waited for"))?;
        if ended.is_some() || start.elapsed() > START_LIMIT {
            return Err(not_started(match last_words(stderr).as_str() {
                "" => "it said nothing".into(),
                text => text.into(),
            }));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut streams = streams.into_iter().flatten();
    match (streams.next(), streams.next()) {
        (Some(control), Some(report)) => run(control)
            .map(|qmp| (qmp, report, streams.next()))
            .map_err(|error| {
                // It connected, and ended before it spoke: its own words say more.
                not_started(format!("{error}; {}", last_words(stderr)))
            }),
        _ => Err(VmError::Qemu("it did not connect".into())),
    }
}

/// Returns what QEMU said, as one line.
fn last_words(stderr: &Path) -> String {
    let text = fs::read_to_string(stderr).unwrap_or_default();
    let text = text.trim().trim_start_matches(QEMU);
    text.trim_start_matches(": ").replace('\n', "; ")
}

/// Says why there is no machine. QEMU's version is asked for only now, since that takes time: one that starts is new enough.
fn not_started(said: String) -> VmError {
    let version = qemu::version_text().and_then(|text| Version::parse(&text));
    match version.filter(|version| *version < OLDEST) {
        Some(version) => VmError::OldQemu { version, said },
        None => VmError::Qemu(said),
    }
}

/// Begins to speak with a QEMU that waits, and lets its machine run.
fn run(control: UnixStream) -> io::Result<Qmp> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let mut qmp = Qmp::new(control)?;
    match qmp.execute("cont") {
        // The guest is over already, and its exit took QEMU along before the answer: the report says how it ended.
        Err(e) if matches!(e.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => Ok(qmp),
        result => result.map(|_| qmp),
    }
}

fn accept(listener: &UnixListener, slot: &mut Option<UnixStream>) -> Result<(), VmError> {
    if slot.is_some() {
        return Ok(());
    }
    let wrong = failed("QEMU's connection can't be accepted");
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false).map_err(wrong)?;
            *slot = Some(stream);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(wrong(error)),
    }
}

#[cfg(test)]
mod mini_kernel;
#[cfg(test)]
mod tests;
