//! `tyn run -d`: a guest without a terminal, and the process that looks after it, its supervisor.
//!
//! ```text
//! tyn run -d                                  tyn supervise (a session of its own)
//!   checks and reads everything
//!   order, archive  ──── standard input ───►    takes a name, starts the machine
//!   prints the name ◄─── standard output ───    "started": process 1 runs; or why not
//!   "go"            ──── standard input ───►    stays; without it (Ctrl-C): kills the machine, leaves no trace
//! ```
//! Nothing of the order is on a command line or in a file. Threads of the supervisor: one copies the console to the log, one
//! takes requests ([`crate::control`]), one reads what an attached terminal types, one waits for "go"; the first waits for the
//! machine's end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};
use tyn_vm_host::{Console, Control, ExitCode, Forward, Outcome, Resizer, Vm};

use crate::control::{self, Request, SIZE, TYPED};
use crate::guests::{Ended, Guests, Port, Record, Reserved, now};
use crate::interactive::Started;
use crate::launch::Launch;
use crate::log::{self, Log};
use crate::output::{self, Fate, Sink};
use crate::stopper::{Before, Stopper};
use crate::terminal;

/// What the supervisor is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    name: Option<String>,
    launch: Launch,
    /// Bytes that follow.
    archive_bytes: usize,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    /// The guest of this name runs.
    Started(String),
    /// Why it doesn't.
    Failed(String),
}

/// What the supervisor is started with.
pub(crate) const COMMAND: &str = "supervise";

/// What the order ends with once the answer has arrived.
const GO: u8 = b'g';

/// Starts a guest in the background and prints its name.
///
/// # Errors
/// Why it can't be started.
pub(crate) fn start(launch: Launch, name: Option<&str>) -> Result<()> {
    let order = Order {
        name: name.map(str::to_owned),
        archive_bytes: launch.archive.len(),
        launch,
    };
    let mut supervisor = Command::new("/proc/self/exe")
        .arg0("tyn")
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("the guest's supervisor can't be started")?;
    let (Some(mut input), Some(output)) = (supervisor.stdin.take(), supervisor.stdout.take())
    else {
        bail!("the guest's supervisor has no standard input");
    };
    let mut line = serde_json::to_string(&order)?;
    line.push('\n');
    let sent = input
        .write_all(line.as_bytes())
        .and_then(|()| input.write_all(&order.launch.archive));
    let mut answer = String::new();
    let received = BufReader::new(output).read_line(&mut answer);
    let answer = sent
        .and(received)
        .ok()
        .and_then(|_| serde_json::from_str(&answer).ok());
    match answer.context("the guest's supervisor ended before it answered")? {
        Answer::Failed(why) => bail!("{why}"),
        Answer::Started(name) => {
            input
                .write_all(&[GO])
                .context("the guest's supervisor ended")?;
            output::print(&format!("{name}\n"))
        }
    }
}

/// Is the supervisor: takes the order from standard input and stays until the guest has ended.
///
/// # Errors
/// When standard output is closed; all else is told there.
pub(crate) fn supervise() -> Result<()> {
    // It fails only where we lead a session already; and no folder is to be in use because of us.
    let _ = rustix::process::setsid();
    let mut input = BufReader::new(io::stdin());
    let stopper = Stopper::default();
    let order = receive(&mut input);
    let _ = std::env::set_current_dir("/");
    let (sender, is_wanted) = sync_channel(1);
    let watcher = stopper.clone();
    thread::spawn(move || {
        let mut go = [0];
        let is_wanted = input.read_exact(&mut go).is_ok() && go == [GO];
        if !is_wanted {
            watcher.kill_now();
        }
        // Nobody waits when the start failed.
        let _ = sender.send(is_wanted);
    });
    let (answer, running) = match order.and_then(|order| start_guest(order, stopper)) {
        Ok(running) => (Answer::Started(running.record.name.clone()), Some(running)),
        Err(error) => (Answer::Failed(format!("{error:#}")), None),
    };
    // Who is gone does not say "go".
    let _ = writeln!(io::stdout(), "{}", serde_json::to_string(&answer)?);
    match running {
        Some(running) if is_wanted.recv() == Ok(true) => running.look_after(),
        Some(running) => {
            running.abandon();
            Ok(())
        }
        None => Ok(()),
    }
}

fn receive(input: &mut impl BufRead) -> Result<Order> {
    let mut line = String::new();
    input.read_line(&mut line).context("no order")?;
    let mut order: Order =
        serde_json::from_str(&line).context("this is no order; use `tyn run -d`")?;
    order.launch.archive = vec![0; order.archive_bytes];
    input
        .read_exact(&mut order.launch.archive)
        .context("the order is cut off")?;
    Ok(order)
}

/// A guest that runs.
struct Running {
    reserved: Reserved,
    record: Record,
    vm: Vm,
    stopper: Stopper,
    log: Option<JoinHandle<()>>,
}

fn start_guest(order: Order, stopper: Stopper) -> Result<Running> {
    let Order { name, launch, .. } = order;
    let reserved = Guests::of_this_user()?.reserve(name.as_deref(), &launch.image)?;
    match boot(&reserved, &launch, &stopper) {
        Ok((record, vm, log)) => Ok(Running {
            reserved,
            record,
            vm,
            stopper,
            log: Some(log),
        }),
        Err(error) => {
            reserved.remove();
            Err(error)
        }
    }
}

fn boot(
    reserved: &Reserved,
    launch: &Launch,
    stopper: &Stopper,
) -> Result<(Record, Vm, JoinHandle<()>)> {
    let log = reserved.open_log().context("the log can't be made")?;
    let socket = control::listen(&reserved.dir).context("the control socket can't be made")?;
    stopper.install(Before::Wait)?;
    // From here on what is said is in the log; errors go where `tyn run -d` was typed.
    rustix::stdio::dup2_stderr(&log).context("standard error can't go to the log")?;
    let (started, when_started) = Started::new();
    let mut vm = launch.boot(Console::Pipe, stopper, move |line| started.see(line))?;
    stopper.start(vm.control());
    let pipe = vm.take_console().context("the machine has no console")?;
    let terminal = Terminal {
        attached: Arc::default(),
        input: Arc::new(Mutex::new(pipe.input)),
        size: launch
            .tty_size
            .and_then(|_| vm.take_resizer())
            .map(|r| Arc::new(Mutex::new(r))),
    };
    let attached = Arc::clone(&terminal.attached);
    let copier =
        thread::spawn(move || copy_to_log(pipe.output, Log::new(log, log::KEPT), &attached));
    // An error: it has ended before process 1 ran.
    if when_started.recv().is_err() {
        let outcome = vm.wait()?;
        return Err(match outcome {
            Outcome::Refused(why) => anyhow!("{why}"),
            Outcome::Panicked(lines) => anyhow!("the kernel panicked: {}", lines.join("; ")),
            Outcome::Vanished(how) => {
                anyhow!(
                    "the machine stopped before anything ran: {how}; see what `tyn run --trace` says"
                )
            }
            Outcome::Exited(_) => {
                anyhow!("the machine stopped before anything ran; see what `tyn run --trace` says")
            }
        });
    }
    let record = Record {
        name: reserved.name.clone(),
        image: launch.image.clone(),
        pid: std::process::id(),
        qemu_pid: vm.control().pid(),
        started: now(),
        cpus: launch.cpus,
        memory_bytes: launch.memory.0,
        ports: launch.ports.iter().map(Port::from).collect(),
        interactive: launch.tty_size.is_some(),
        ended: None,
    };
    reserved
        .write_node(&launch.node)
        .and_then(|()| reserved.write(&record))
        .context("what is known of the guest can't be written")?;
    let (stopper, machine) = (stopper.clone(), vm.control());
    thread::spawn(move || take_requests(&socket, &stopper, &machine, &terminal));
    Ok((record, vm, copier))
}

impl Running {
    /// Ends the guest as if it had never been.
    fn abandon(self) {
        drop(self.vm);
        self.reserved.remove();
    }

    /// Waits for the end, and notes it.
    fn look_after(mut self) -> Result<()> {
        let outcome = self.vm.wait()?;
        if let Some(log) = self.log.take() {
            // A panic there has ended us already.
            let _ = log.join();
        }
        let (how, code) = match &outcome {
            _ if self.stopper.has_killed() => ("killed", ExitCode::Killed as u8),
            Outcome::Exited(code) => ("exited", *code),
            Outcome::Panicked(_) => ("panicked", outcome.exit_code()),
            Outcome::Refused(_) => ("refused", outcome.exit_code()),
            Outcome::Vanished(_) => ("vanished", outcome.exit_code()),
        };
        self.record.ended = Some(Ended {
            at: now(),
            code,
            how: how.into(),
        });
        self.reserved
            .write(&self.record)
            .context("the end can't be noted")
    }
}

/// The guest's console, and who is there.
#[derive(Clone)]
struct Terminal {
    attached: Attached,
    input: Arc<Mutex<ChildStdin>>,
    size: Option<Arc<Mutex<Resizer>>>,
}

/// The terminal that looks on, if one does.
type Attached = Arc<Mutex<Option<UnixStream>>>;

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn copy_to_log(mut console: ChildStdout, log: Log, attached: &Attached) {
    let mut chunk = [0; 4096];
    let mut sink = Sink::new(log);
    while let Ok(length @ 1..) = console.read(&mut chunk) {
        if let Fate::Written { lost: lost @ 1.. } = sink.put(&chunk[..length]) {
            // Standard error is the log.
            terminal::say(&format!(
                "\ntyn: before this, {lost} bytes are lost: the log could not be written"
            ));
        }
        if let Some(stream) = &*locked(attached) {
            // One that doesn't fit needs not be sent: more than enough of them wait to be read.
            let _ = rustix::net::send(stream, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

fn take_requests(socket: &UnixListener, stopper: &Stopper, machine: &Control, terminal: &Terminal) {
    for stream in socket.incoming() {
        let Ok(stream) = stream else {
            return;
        };
        let (stopper, machine) = (stopper.clone(), machine.clone());
        let terminal = terminal.clone();
        thread::spawn(move || {
            // An error: whoever asked is gone.
            let _ = answer(stream, &stopper, &machine, &terminal);
        });
    }
}

fn answer(
    mut stream: UnixStream,
    stopper: &Stopper,
    machine: &Control,
    terminal: &Terminal,
) -> io::Result<()> {
    match control::receive(&stream)? {
        Request::Stop => stopper.stop_once(),
        Request::Kill => stopper.kill_now(),
        Request::Attach => return attach(stream, terminal),
        Request::Forward(port) => return forward(stream, machine, port),
    }
    control::write_line(&mut stream, "ok")?;
    // Open as long as we live: the other side waits for that.
    stream.read_exact(&mut [0])
}

/// Forwards a port until the other side is gone.
fn forward(mut stream: UnixStream, machine: &Control, guest: u16) -> io::Result<()> {
    let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let forward = Forward { host, guest };
    if let Err(error) = machine.add_forward(forward) {
        return control::write_line(&mut stream, &error.to_string());
    }
    let told = control::write_line(&mut stream, "ok");
    let told = told.and_then(|()| stream.write_all(&host.to_le_bytes()));
    // Nothing comes; it ends when the other side does.
    let _ = told.and_then(|()| stream.read(&mut [0]));
    machine.remove_forward(forward)
}

fn attach(mut stream: UnixStream, terminal: &Terminal) -> io::Result<()> {
    let Some(size) = &terminal.size else {
        return control::write_line(
            &mut stream,
            "there is no shell on the guest's console; start it with `tyn run -d -i`",
        );
    };
    let mut attached = locked(&terminal.attached);
    if attached.is_some() {
        drop(attached);
        return control::write_line(
            &mut stream,
            "somebody is at the guest's console already; leave it there by Ctrl-] d",
        );
    }
    control::write_line(&mut stream, "ok")?;
    *attached = Some(stream.try_clone()?);
    drop(attached);
    let result = read_frames(&mut stream, terminal, size);
    *locked(&terminal.attached) = None;
    result
}

fn read_frames(
    stream: &mut UnixStream,
    terminal: &Terminal,
    size: &Mutex<Resizer>,
) -> io::Result<()> {
    while let Some((kind, data)) = control::read_frame(stream)? {
        match kind {
            TYPED => locked(&terminal.input).write_all(&data)?,
            SIZE => {
                if let Some(new) = control::size_of(&data) {
                    locked(size).resize(new)?;
                }
            }
            other => terminal::say(&format!("tyn: a frame of unknown kind {other}")),
        }
    }
    Ok(())
}
