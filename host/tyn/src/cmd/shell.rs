//! `tyn shell`: our terminal on the console of a guest in the background that was started with `-d -i`; for others a shell of its
//! node ([`crate::remote`]).
//!
//! What is typed goes to the guest's supervisor; what the guest says is read from its log, beginning with the line that it has
//! last begun. Who runs when: one thread reads what is typed, one follows the window's size, the first copies the log each
//! time the supervisor says that it has grown.

use std::io::{self, IsTerminal, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::cmd::logs::{skipped, start_of_last};
use crate::control::{self, Request, SIZE, TYPED};
use crate::escape::{self, Escape};
use crate::guests::{Guest, Guests, Status};
use crate::log::Reader;
use crate::output::{self, Output};
use crate::remote;
use crate::terminal::{self, Terminal};

/// Shown when asked for.
const HELP: &str =
    "tyn: Ctrl-] d leaves the guest running, Ctrl-] x stops it, Ctrl-] Ctrl-] sends Ctrl-]";

/// How long we wait for the other side when we leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// Arguments of `tyn shell`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of a guest in the background, or its image
    guest: String,
}

/// The way to the supervisor.
#[derive(Clone)]
struct Link {
    stream: Arc<Mutex<UnixStream>>,
    has_left: Arc<AtomicBool>,
}

impl Link {
    fn send(&self, kind: u8, data: &[u8]) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        control::write_frame(&mut stream, kind, data)
    }

    /// Says that we leave. The other side closes the connection when the console is free for the next.
    fn leave(&self, stream: &UnixStream) {
        self.has_left.store(true, Ordering::SeqCst);
        // An error: it has ended.
        let _ = stream.shutdown(Shutdown::Write);
        // We end when it has closed; it doesn't where it is stuck with input that the guest does not read.
        thread::sleep(LEAVE_LIMIT);
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Connects the terminal; returns the guest's exit code if it ends meanwhile.
///
/// # Errors
/// When there is no such guest, or no shell on its console.
pub(crate) fn shell(args: &Args) -> Result<u8> {
    let guests = Guests::of_this_user()?;
    let guest = guests.find_by_name_or_image(&args.guest)?;
    let name = &guest.record.name;
    if guest.status != Status::Running {
        bail!("{name} has ended; `tyn logs {name}` shows what it said");
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!("a shell needs a terminal; use `tyn logs {name}` to see the guest's output");
    }
    if !guest.record.interactive {
        return remote::shell(&guest);
    }
    let mut wakes = control::ask(guest.dir(), Request::Attach)?.into_inner();
    let mut log = open_log(&guest)?;
    terminal::say(&format!(
        "tyn: {name}'s console; Ctrl-] d leaves it, Ctrl-] ? says more"
    ));
    let link = Link {
        stream: Arc::new(Mutex::new(wakes.try_clone()?)),
        has_left: Arc::default(),
    };
    let raw = Terminal::enter_raw()?;
    follow_signals(link.clone(), wakes.try_clone()?)?;
    let (typing, dir) = (link.clone(), guest.dir().to_path_buf());
    let stream = wakes.try_clone()?;
    thread::spawn(move || {
        read_input(&typing, &dir, &stream);
        typing.leave(&stream);
    });
    let mut out = Output::new().context("standard output can't be written")?;
    let mut bytes = [0; 512];
    loop {
        log.copy(&mut out, &skipped)?;
        match wakes.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(1..) => {}
            _ => break,
        }
    }
    log.copy(&mut out, &skipped)?;
    drop(raw);
    if link.has_left.load(Ordering::SeqCst) {
        terminal::say(&format!(
            "\ntyn: {name} runs on; `tyn shell {name}` comes back"
        ));
        return Ok(0);
    }
    let ended = guests.find(name).ok().and_then(|guest| guest.record.ended);
    let code = ended.map_or(0, |ended| ended.code);
    terminal::say(&format!("tyn: {name} has ended ({code})"));
    Ok(code)
}

/// Opens the log where its last line begins: there is the prompt.
fn open_log(guest: &Guest) -> Result<Reader> {
    let open = || {
        let mut log = Reader::open(&guest.log())?;
        log.skip(|bytes| {
            let is_whole = bytes.last().is_none_or(|&byte| byte == b'\n');
            start_of_last(bytes, usize::from(!is_whole))
        })?;
        Ok::<_, io::Error>(log)
    };
    open().with_context(|| format!("the log {} can't be read", guest.log().display()))
}

fn follow_signals(link: Link, stream: UnixStream) -> Result<()> {
    let signals = [SIGWINCH, SIGCONT, SIGTERM, SIGHUP];
    let mut signals = Signals::new(signals).context("signals can't be handled")?;
    thread::spawn(move || {
        let tell = |link: &Link| link.send(SIZE, &control::size_data(terminal::size()));
        let mut told = tell(&link);
        for signal in signals.forever() {
            match signal {
                SIGTERM | SIGHUP => return link.leave(&stream),
                SIGCONT => {
                    // An error is that of a terminal that is gone.
                    let _ = terminal::make_raw();
                }
                _ => {}
            }
            told = told.and_then(|()| tell(&link));
        }
    });
    Ok(())
}

/// Sends what is typed; returns when the guest is to be left.
fn read_input(link: &Link, dir: &Path, stream: &UnixStream) {
    let mut escape = Escape::default();
    let mut chunk = [0; 4096];
    loop {
        let Ok(length @ 1..) = output::read_input(&mut chunk) else {
            return;
        };
        let mut typed = Vec::new();
        for request in escape.feed(&chunk[..length], &mut typed) {
            match request {
                escape::Request::Detach => return,
                escape::Request::Help => terminal::say(HELP),
                escape::Request::Stop => {
                    let dir = dir.to_path_buf();
                    // Answered at once; the guest may take its time.
                    if let Err(error) = control::ask(&dir, Request::Stop) {
                        terminal::say(&format!("tyn: {error:#}"));
                    }
                }
            }
        }
        if !typed.is_empty() && link.send(TYPED, &typed).is_err() {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}
