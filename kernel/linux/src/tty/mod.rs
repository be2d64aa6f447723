//! Terminals: the console (`/dev/console`), the slaves of pseudo-terminals (`/dev/pts/N`), and `/dev/tty`, the one that
//! controls the caller's session.
//!
//! The line discipline ([`tyn_fs::ldisc`]) decides, the line moves bytes: a driver ([`ConsoleDevice`]), or the master of a
//! pair ([`mod@pty`]). A writer that the line turns away waits for room; what was half taken (a newline becomes two bytes)
//! and echo wait here, in order. Without a driver the console is a sink, as Linux's `ttynull`.
//!
//! | file | what |
//! |---|---|
//! | `file.rs` | open terminals |
//! | `ioctl.rs` | requests of `ioctl_tty(2)` |
//! | `job.rs` | sessions, foreground and background, hang-up |
//! | `pty.rs` | masters, `/dev/ptmx`, `/dev/pts` |
//! | `size.rs` | the console's size, told from outside |
//! | `line.rs` | the kernel's own lines on the console |
//!
//! Locks, outermost first: a terminal's state, its master's.
//!
//! Not supported: hang-up of the console.

mod file;
mod ioctl;
mod job;
mod line;
mod pty;
mod size;

pub use file::TtyFile;
pub(crate) use file::open;
pub(crate) use job::{Terminal, leader_exits};
pub(crate) use line::kernel_line;
pub use pty::MasterFile;
pub(crate) use pty::{MAX_PAIRS, RESERVED_PAIRS, pairs};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::fs::makedev;
use tyn_abi::fs::open::{O_LARGEFILE, O_RDWR};
use tyn_abi::system::Winsize;
use tyn_abi::{Errno, Events, Pid, Sink, Source};
use tyn_bootfmt::options::TtySize;
use tyn_fs::ldisc::{Discipline, Input, Reaction};
use tyn_hal::sync::{Once, SpinLock};
use tyn_io::console::{ConsoleDevice, ConsoleListener};
use tyn_io::pty::status;

use crate::exit::INIT;
use crate::file::OpenFile;
use crate::fs::Pin;
use crate::wait::WaitQueue;

/// Device number of `/dev/console`.
const CONSOLE: u64 = makedev(5, 1);
/// Echo is dropped while this many bytes wait for the device.
const ECHO_MAX: usize = 4096;
/// Bytes of a write that are processed at a time.
const CHUNK: usize = 512;
const SIGWINCH: u8 = 28;

struct State {
    discipline: Discipline,
    /// Processed output that the device has not taken yet.
    pending: Vec<u8>,
    /// The session that the terminal controls; 0 for none.
    session: Pid,
    /// Its foreground process group; 0 for none.
    foreground: Pid,
    /// How often it was hung up: what was opened before is dead.
    hangups: u64,
    /// `TIOCEXCL`, which does not keep root from opening it.
    is_exclusive: bool,
}

impl State {
    fn new(discipline: Discipline, session: Pid) -> Self {
        Self {
            discipline,
            pending: Vec::new(),
            session,
            foreground: session,
            hangups: 0,
            is_exclusive: false,
        }
    }
}

/// What a terminal talks to.
enum Line {
    /// Nothing: output is lost.
    Nothing,
    /// A driver.
    Device(Arc<dyn ConsoleDevice>),
    /// The master of a pseudo-terminal.
    Master(Arc<pty::Master>),
}

/// A terminal.
pub struct Tty {
    line: Line,
    /// Its device number.
    number: u64,
    state: SpinLock<State>,
    queue: WaitQueue,
}

impl core::fmt::Debug for Tty {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tty({:#x})", self.number)
    }
}

static CONSOLE_TTY: Once<Arc<Tty>> = Once::new();

/// Makes the console terminal over its driver, if there is one; called once. It belongs to the first process's session.
/// Its window has the size `size`, and follows the lines of the serial port `control`.
pub fn init(
    device: Option<Arc<dyn ConsoleDevice>>,
    size: Option<TtySize>,
    control: Option<Arc<dyn ConsoleDevice>>,
) {
    let tty = Arc::new(Tty {
        line: device.clone().map_or(Line::Nothing, Line::Device),
        number: CONSOLE,
        state: SpinLock::new(State::new(Discipline::new(), INIT)),
        queue: WaitQueue::new(),
    });
    if let Some(device) = device {
        device.set_listener(Arc::clone(&tty) as Arc<dyn ConsoleListener>);
    }
    if let Some(size) = size {
        tty.resize(size);
    }
    if let Some(control) = control {
        control.set_listener(Arc::new(size::SizeLines::new(Arc::clone(&tty))));
    }
    CONSOLE_TTY.set(tty);
}

/// Returns the console terminal, after [`init`].
#[must_use]
pub fn console() -> Option<&'static Arc<Tty>> {
    CONSOLE_TTY.get()
}

/// Opens `/dev/console` for the first process.
///
/// # Errors
/// `ENXIO` before [`init`]; `ENOENT` when the node is missing.
pub fn open_console() -> Result<Arc<OpenFile>, Errno> {
    let tty = console().ok_or(Errno::ENXIO)?;
    let pin = Pin::find(|t| t.lookup(t.lookup(Pin::ROOT.ino(), b"dev")?, b"console"))?;
    let file = TtyFile::new(Arc::clone(tty), pin, CONSOLE)?;
    let flags = O_RDWR | O_LARGEFILE;
    Ok(OpenFile::new(
        Arc::new(file),
        flags,
        String::from("/dev/console"),
    ))
}

impl Tty {
    /// Returns the session that the terminal controls.
    #[must_use]
    pub fn session(&self) -> Pid {
        self.state.lock().session
    }

    /// Returns the foreground process group.
    #[must_use]
    pub fn foreground(&self) -> Pid {
        self.state.lock().foreground
    }

    /// Returns the device number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the master of a pseudo-terminal.
    fn master(&self) -> Option<&pty::Master> {
        match &self.line {
            Line::Master(master) => Some(master),
            Line::Nothing | Line::Device(_) => None,
        }
    }

    /// Gives the line what waits for it; returns whether all went and more may come.
    fn flush(&self, state: &mut State) -> bool {
        if state.discipline.is_stopped() {
            return false;
        }
        let taken = match &self.line {
            _ if state.pending.is_empty() => 0,
            Line::Nothing => state.pending.len(),
            Line::Device(device) => device.write(&state.pending),
            Line::Master(master) => master.take(&state.pending),
        };
        state.pending.drain(..taken.min(state.pending.len()));
        state.pending.is_empty()
    }

    fn write(&self, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut done = 0;
        while src.remaining() > 0 {
            // Asked before the copy: bytes that were copied must be kept.
            if !self.flush(&mut self.state.lock()) {
                break;
            }
            let mut buffer = [0; CHUNK];
            let len = src.remaining().min(CHUNK);
            let chunk = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
            match src.read_exact(chunk) {
                Ok(()) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
            let mut state = self.state.lock();
            let State {
                discipline,
                pending,
                ..
            } = &mut *state;
            discipline.process_output(chunk, pending);
            self.flush(&mut state);
            done += len;
        }
        if done == 0 && src.remaining() > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(done)
    }

    fn read(&self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let input = self.state.lock().discipline.read(dst.remaining());
        match input {
            Input::NotYet => Err(Errno::EAGAIN),
            Input::Bytes(bytes) => {
                self.has_room();
                dst.write_all(&bytes)?;
                Ok(bytes.len())
            }
        }
    }

    fn poll(&self) -> Events {
        let state = self.state.lock();
        let mut events = Events::empty();
        if state.discipline.is_readable() {
            events |= Events::IN | Events::RDNORM;
        }
        if state.pending.is_empty() && !state.discipline.is_stopped() {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    /// Tells what came of changes to the settings or to what waits.
    fn settled(&self) {
        let mut state = self.state.lock();
        let is_readable = state.discipline.is_readable();
        let is_writable = self.flush(&mut state);
        drop(state);
        let mut events = Events::empty();
        if is_readable {
            events |= Events::IN | Events::RDNORM;
        }
        if is_writable {
            events |= Events::OUT | Events::WRNORM;
        }
        self.queue.notify(events);
        self.has_room();
    }

    /// Tells the master that input was taken away.
    fn has_room(&self) {
        if let Some(master) = self.master() {
            master.queue.notify(Events::OUT | Events::WRNORM);
        }
    }

    /// Returns about how many bytes of memory it takes.
    fn bytes(&self) -> usize {
        let state = self.state.try_lock();
        state.map_or(0, |s| s.discipline.bytes() + s.pending.capacity())
    }

    fn resize(&self, size: TtySize) {
        self.set_winsize(Winsize {
            rows: size.rows,
            cols: size.columns,
            ..Winsize::default()
        });
    }

    fn set_winsize(&self, winsize: Winsize) {
        let mut state = self.state.lock();
        let is_changed = state.discipline.winsize != winsize;
        state.discipline.winsize = winsize;
        drop(state);
        if is_changed {
            self.signal_foreground(SIGWINCH);
        }
    }
}

impl Tty {
    /// Takes input under the lock; the caller [`follow`](Tty::follow)s it up without.
    fn take_input(&self, state: &mut State, bytes: &[u8]) -> Reaction {
        let was_stopped = state.discipline.is_stopped();
        let mut reaction = state.discipline.receive(bytes);
        if state.pending.len() + reaction.echo.len() <= ECHO_MAX {
            state.pending.append(&mut reaction.echo);
        }
        self.flush(state);
        self.tell_flow(was_stopped, state);
        reaction
    }

    /// Does what input asks for.
    fn follow(&self, reaction: &Reaction) {
        if reaction.is_flushed {
            self.tell_master(status::FLUSHREAD, 0);
            self.has_room();
        }
        for key in &reaction.signals {
            self.signal_foreground(key.number());
        }
        if reaction.is_readable {
            self.queue.notify(Events::IN | Events::RDNORM);
        }
    }

    /// Tells of output that was stopped or goes on.
    fn tell_flow(&self, was_stopped: bool, state: &State) {
        match (was_stopped, state.discipline.is_stopped()) {
            (false, true) => self.tell_master(status::STOP, status::START),
            (true, false) => {
                self.tell_master(status::START, status::STOP);
                self.queue.notify(Events::OUT | Events::WRNORM);
            }
            _ => {}
        }
    }

    /// Tells a master in packet mode.
    fn tell_master(&self, news: u8, instead_of: u8) {
        if let Some(master) = self.master() {
            master.tell(news, instead_of);
        }
    }
}

impl ConsoleListener for Tty {
    fn received(&self, bytes: &[u8]) {
        let reaction = self.take_input(&mut self.state.lock(), bytes);
        self.follow(&reaction);
    }

    fn writable(&self) {
        let is_empty = self.flush(&mut self.state.lock());
        if is_empty {
            self.queue.notify(Events::OUT | Events::WRNORM);
        }
    }
}
