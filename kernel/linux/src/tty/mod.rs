//! The console as a terminal: `/dev/console`, and `/dev/tty` for the session that has it.
//!
//! The line discipline ([`tyn_fs::ldisc`]) decides, the driver ([`ConsoleDevice`]) moves bytes. A writer that the driver
//! turns away waits for room; what was half taken (a newline becomes two bytes) and echo wait here, in order. Without a
//! driver the console is a sink, as Linux's `ttynull`.
//!
//! The requests of `ioctl_tty(2)` are in [`mod@ioctl`], the window's size from outside comes through [`mod@size`].
//!
//! Not supported: `VTIME`, flow control, SIGTTIN and SIGTTOU for background processes, hang-up.

mod ioctl;
mod size;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use tyn_abi::fs::makedev;
use tyn_abi::fs::open::{O_LARGEFILE, O_RDWR};
use tyn_abi::system::Winsize;
use tyn_abi::{Errno, Events, Pid, Sink, Source, UserVa};
use tyn_bootfmt::options::TtySize;
use tyn_fs::ldisc::{Discipline, Input};
use tyn_hal::sync::{Once, SpinLock};
use tyn_io::console::{ConsoleDevice, ConsoleListener};

use crate::cx::{Cx, SysResult};
use crate::exit::INIT;
use crate::file::{At, File, OpenFile};
use crate::fs::{Pin, stat_tree};
use crate::kernel::kernel;
use crate::signal;
use crate::wait::WaitQueue;

/// Device number of `/dev/tty`.
const TTY: u64 = makedev(5, 0);
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
    /// The session that the terminal controls.
    session: Pid,
    /// Its foreground process group.
    foreground: Pid,
}

/// The console terminal.
pub struct Tty {
    device: Option<Arc<dyn ConsoleDevice>>,
    state: SpinLock<State>,
    queue: WaitQueue,
}

impl core::fmt::Debug for Tty {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Tty(console)")
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
        device: device.clone(),
        state: SpinLock::new(State {
            discipline: Discipline::new(),
            pending: Vec::new(),
            session: INIT,
            foreground: INIT,
        }),
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

/// Room for one line of the kernel's.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // What does not fit is cut off.
        for (slot, &byte) in self.bytes.iter_mut().skip(self.len).zip(text.as_bytes()) {
            *slot = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Writes a line of the kernel's to the console, on a line of its own: what the owner of the machine must know. Allocates
/// nothing itself; called with no lock held.
pub(crate) fn kernel_line(text: core::fmt::Arguments<'_>) {
    use core::fmt::Write as _;
    let mut line = Line {
        bytes: [0; 160],
        len: 0,
    };
    let _ = writeln!(line, "\n{text}");
    let bytes = line.bytes.get(..line.len).unwrap_or_default();
    if let Some(console) = console() {
        // A console that takes nothing now has no room for it.
        let _ = console.write(&mut &*bytes);
    }
}

/// Opens `/dev/console` for the first process.
///
/// # Errors
/// `ENXIO` before [`init`]; `ENOENT` when the node is missing.
pub fn open_console() -> Result<Arc<OpenFile>, Errno> {
    let tty = console().ok_or(Errno::ENXIO)?;
    let file = TtyFile {
        tty: Arc::clone(tty),
        pin: Pin::find(|t| t.lookup(t.lookup(Pin::ROOT.ino(), b"dev")?, b"console"))?,
    };
    let flags = O_RDWR | O_LARGEFILE;
    Ok(OpenFile::new(
        Arc::new(file),
        flags,
        String::from("/dev/console"),
    ))
}

/// Opens a terminal device; `None` when the number is no terminal's.
pub(crate) fn open(rdev: u64, pin: &Pin) -> Option<Result<Arc<dyn File>, Errno>> {
    if rdev != TTY && rdev != CONSOLE {
        return None;
    }
    Some(open_terminal(rdev, pin))
}

fn open_terminal(rdev: u64, pin: &Pin) -> Result<Arc<dyn File>, Errno> {
    let tty = console().ok_or(Errno::ENXIO)?;
    if rdev == TTY && !tty.controls_caller() {
        return Err(Errno::ENXIO);
    }
    Ok(Arc::new(TtyFile {
        tty: Arc::clone(tty),
        pin: pin.clone(),
    }))
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

    fn controls_caller(&self) -> bool {
        let Some(thread) = crate::sched::current() else {
            return false;
        };
        let session = kernel().family.lock().session(thread.process().pid);
        session == Ok(self.session())
    }

    /// Gives the device what waits for it; returns whether all went.
    fn flush(&self, state: &mut State) -> bool {
        let taken = match &self.device {
            Some(device) if !state.pending.is_empty() => device.write(&state.pending),
            Some(_) | None => state.pending.len(),
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
        if state.pending.is_empty() {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    /// Sends the foreground process group a signal.
    fn signal_foreground(&self, number: u8) {
        let group = self.foreground();
        let members = kernel().family.lock().group_members(group);
        for pid in members {
            let process = kernel().processes.lock().get(&pid).cloned();
            if let Some(process) = process {
                signal::send_from_kernel(&process, number);
            }
        }
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

impl ConsoleListener for Tty {
    fn received(&self, bytes: &[u8]) {
        let reaction = {
            let mut state = self.state.lock();
            let mut reaction = state.discipline.receive(bytes);
            if state.pending.len() + reaction.echo.len() <= ECHO_MAX {
                state.pending.append(&mut reaction.echo);
            }
            self.flush(&mut state);
            reaction
        };
        for key in &reaction.signals {
            self.signal_foreground(key.number());
        }
        if reaction.is_readable {
            self.queue.notify(Events::IN | Events::RDNORM);
        }
    }

    fn writable(&self) {
        let is_empty = self.flush(&mut self.state.lock());
        if is_empty {
            self.queue.notify(Events::OUT | Events::WRNORM);
        }
    }
}

/// An open terminal.
#[derive(Debug)]
pub struct TtyFile {
    tty: Arc<Tty>,
    pin: Pin,
}

impl TtyFile {
    /// Returns what keeps the inode alive.
    #[must_use]
    pub fn pin(&self) -> &Pin {
        &self.pin
    }
}

impl File for TtyFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        self.tty.read(dst)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        self.tty.write(src)
    }

    fn poll(&self) -> Events {
        self.tty.poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.queue)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(stat_tree(self.pin.ino())?.to_bytes())
    }

    fn ioctl(&self, cx: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        self.tty.ioctl(cx, request, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
