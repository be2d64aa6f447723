//! A running virtual machine: QEMU, its console, its report channel and its machine protocol.
//!
//! Who runs when: QEMU is a child process in a process group of its own, so that Ctrl-C reaches us alone. One thread reads
//! the report channel until QEMU closes it, which it does when it ends, however it ends; another collects the console
//! when asked to. [`Vm::wait`] waits for the first and then for the process. [`Control`] may be used from any thread
//! meanwhile. Whatever happens, dropping the [`Vm`] ends QEMU.

use std::fs;
use std::io::{self, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tyn_trace::Line;

mod control;
mod error;
mod start;

pub use control::Control;
pub use error::VmError;
use error::failed;
use start::{NO_MEMORY, check, connect, spawn};

use crate::config::{self, Config};
use crate::console::{Console, ConsolePipe, Resizer, collect};
use crate::http::{self, Response};
use crate::memory;
use crate::report::{self, Outcome, Report};

/// The most CPUs that are offered: what the kernel is built for.
pub const MAX_CPUS: u32 = 64;
/// Called for each line of the report channel, as it comes.
pub type OnLine = Box<dyn FnMut(&Line<'_>) + Send>;

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

#[cfg(test)]
mod mini_kernel;
#[cfg(test)]
mod tests;
