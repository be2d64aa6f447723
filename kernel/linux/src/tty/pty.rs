//! Pseudo-terminals (`pty(7)`, `ptmx(4)`): `/dev/ptmx` makes a pair, whose slave is a file of `/dev/pts` until the master is
//! closed.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::any::Any;

use tyn_abi::fs::open::{O_CLOEXEC, O_LARGEFILE};
use tyn_abi::fs::{makedev, minor, mode};
use tyn_abi::signal::Signal;
use tyn_abi::{Errno, Events, Pid, Sink, Source, UserVa};
use tyn_fs::fd_info;
use tyn_fs::ldisc::Discipline;
use tyn_fs::name::Name;
use tyn_fs::tree::{New, NewKind};
use tyn_hal::sync::SpinLock;
use tyn_io::console::ConsoleListener;

use super::ioctl::{Side, request};
use super::{CHUNK, Line, State, Tty};
use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::file::{At, File};
use crate::fs::{self, How, Node, Pin, ShownName, fs, stat_tree, watch};
use crate::user_io;
use crate::wait::WaitQueue;

/// Device number of `/dev/ptmx`.
pub(super) const PTMX: u64 = makedev(5, 2);
/// Major device number of slaves.
pub(super) const MAJOR: u32 = 136;
/// Most pairs (`/proc/sys/kernel/pty/max`), and how many of them Linux keeps for its first mount of devpts.
pub(crate) const MAX_PAIRS: u32 = 4096;
pub(crate) const RESERVED_PAIRS: u32 = 1024;

/// All pairs of which a side is open.
static PAIRS: SpinLock<BTreeMap<u32, Weak<Tty>>> = SpinLock::new(BTreeMap::new());

/// Returns how many there are.
pub(crate) fn pairs() -> usize {
    PAIRS.lock().len()
}

/// Returns a slave.
pub(super) fn find(index: u32) -> Option<Arc<Tty>> {
    PAIRS.lock().get(&index)?.upgrade()
}

/// The master's side of a pair, as the slave sees it.
pub(super) struct Master {
    state: SpinLock<tyn_io::pty::Master>,
    pub(super) queue: WaitQueue,
    index: u32,
}

impl Drop for Master {
    fn drop(&mut self) {
        let removed = PAIRS.lock().remove(&self.index);
        drop(removed);
    }
}

impl Master {
    /// Takes the slave's output.
    pub(super) fn take(&self, bytes: &[u8]) -> usize {
        let taken = self.state.lock().take(bytes);
        if taken > 0 {
            self.queue.notify(Events::IN | Events::RDNORM);
        }
        taken
    }

    /// Tells news for packet mode.
    pub(super) fn tell(&self, news: u8, instead_of: u8) {
        let is_told = self.state.lock().tell(news, instead_of);
        if is_told {
            let events = Events::PRI | Events::IN | Events::RDNORM;
            self.queue.notify(events);
        }
    }

    pub(super) fn open_slave(&self) -> Result<(), Errno> {
        self.state.lock().open_slave()
    }

    pub(super) fn close_slave(&self) {
        let is_last = self.state.lock().close_slave();
        if is_last {
            self.queue.notify(Events::IN | Events::HUP);
        }
    }

    /// Returns whether nobody has the master open any more.
    pub(super) fn is_closed(&self) -> bool {
        !self.state.lock().is_open()
    }

    pub(super) fn unread(&self) -> usize {
        self.state.lock().unread()
    }

    pub(super) fn flush(&self) {
        self.state.lock().flush();
    }
}

/// Makes a pair and opens its master by the file `pin`.
pub(super) fn open_master(pin: &Pin) -> Result<Arc<dyn File>, Errno> {
    let tty = new_pair()?;
    let file = MasterFile {
        tty,
        pin: pin.clone(),
    };
    file.show_slave()?;
    Ok(Arc::new(file))
}

fn new_pair() -> Result<Arc<Tty>, Errno> {
    let mut pairs = PAIRS.lock();
    let index = (0..MAX_PAIRS).find(|index| !pairs.contains_key(index));
    let index = index.ok_or(Errno::ENOSPC)?;
    let tty = Arc::new(Tty {
        line: Line::Master(Arc::new(Master {
            state: SpinLock::new(tyn_io::pty::Master::new()),
            queue: WaitQueue::new(),
            index,
        })),
        number: makedev(MAJOR, index),
        state: SpinLock::new(State::new(Discipline::for_pty(), Pid(0))),
        queue: WaitQueue::new(),
    });
    pairs.insert(index, Arc::downgrade(&tty));
    Ok(tty)
}

/// An open master.
#[derive(Debug)]
pub struct MasterFile {
    tty: Arc<Tty>,
    pin: Pin,
}

impl MasterFile {
    /// Returns what keeps the inode alive, `/dev/ptmx`.
    #[must_use]
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    fn master(&self) -> Result<&Master, Errno> {
        self.tty.master().ok_or(Errno::EIO)
    }

    /// Returns the slave's number, and its name in `/dev/pts`.
    pub(crate) fn index(&self) -> u32 {
        minor(self.tty.number)
    }

    /// Makes the slave's file.
    fn show_slave(&self) -> Result<(), Errno> {
        let name = format!("{}", self.index());
        let new = New {
            kind: NewKind::Special(self.tty.number),
            mode: mode::S_IFCHR | 0o600,
            uid: 0,
            gid: 0,
        };
        let (pts, now) = (fs().pts(), fs::now());
        fs().with_tree(|t| {
            t.seal(pts, false)?;
            let made = t.create(pts, Name::copied(name.as_bytes()), new, now);
            t.seal(pts, true)?;
            made
        })?;
        Ok(())
    }

    fn hide_slave(&self) {
        let name = format!("{}", self.index());
        let (pts, now) = (fs().pts(), fs::now());
        let removed = fs().with_tree(|t| {
            t.seal(pts, false)?;
            let removed = t.unlink(pts, name.as_bytes(), now);
            t.seal(pts, true)?;
            removed
        });
        if let Ok(removed) = removed {
            watch::removed(removed);
        }
    }

    /// `TIOCGPTPEER`: opens the slave, whatever became of its name.
    fn open_peer(&self, cx: &Cx<'_>, flags: u32) -> SysResult {
        let (pts, name) = (fs().pts(), format!("{}", self.index()).into_bytes());
        let pin = Pin::find(|t| t.lookup(pts, &name))?;
        let ino = pin.ino();
        let shown = ShownName::Entry(Pin::find(|_| Ok(pts))?, name, ino);
        let open = fs::open_node(&Node::Tree(pin), shown, How::existing(flags))?;
        // Linux keeps these as they came.
        open.set_flags(O_LARGEFILE | O_CLOEXEC, flags);
        let fd = cx.install(open, OnExec::from_flags(flags))?;
        Ok(u64::from(fd.0.cast_unsigned()))
    }

    fn own_ioctl(&self, cx: &Cx<'_>, number: u32, arg: UserVa) -> Result<Option<u64>, Errno> {
        use request as r;
        let state = &self.master()?.state;
        let store = |value: u32| user_io::write_bytes(arg, &value.to_le_bytes());
        match number {
            r::TIOCGPTN => store(self.index())?,
            r::TIOCSPTLCK => {
                let is_locked = user_io::read_u32(arg)? != 0;
                state.lock().set_locked(is_locked);
            }
            r::TIOCGPTLCK => store(u32::from(state.lock().is_locked()))?,
            r::TIOCPKT => {
                let is_packet = user_io::read_u32(arg)? != 0;
                state.lock().set_packet(is_packet);
            }
            r::TIOCGPKT => store(u32::from(state.lock().is_packet()))?,
            r::TIOCGPTPEER => return self.open_peer(cx, arg.0 as u32).map(Some),
            r::TIOCSIG => {
                let keys = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP];
                let signal = keys.iter().find(|s| u64::from(s.number()) == arg.0);
                let signal = signal.ok_or(Errno::EINVAL)?;
                self.tty.signal_foreground(signal.number());
            }
            r::FIONREAD => store(self.master()?.unread() as u32)?,
            _ => return Ok(None),
        }
        Ok(Some(0))
    }
}

impl Drop for MasterFile {
    fn drop(&mut self) {
        self.hide_slave();
        if let Ok(master) = self.master() {
            master.state.lock().close();
        }
        self.tty.hang_up();
    }
}

impl File for MasterFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let count = self.master()?.state.lock().read(dst)?;
        self.tty.writable();
        Ok(count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut done = 0;
        while src.remaining() > 0 {
            let mut buffer = [0; CHUNK];
            let mut state = self.tty.state.lock();
            let len = src.remaining().min(CHUNK).min(state.discipline.room());
            let chunk = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
            if chunk.is_empty() {
                break;
            }
            match src.read_exact(chunk) {
                Ok(()) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
            let reaction = self.tty.take_input(&mut state, chunk);
            drop(state);
            self.tty.follow(&reaction);
            done += len;
        }
        if done == 0 && src.remaining() > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(done)
    }

    fn poll(&self) -> Events {
        let takes_input = self.tty.state.lock().discipline.room() > 0;
        self.tty
            .master()
            .map_or(Events::ERR, |m| m.state.lock().poll(takes_input))
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.master()?.queue)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(stat_tree(self.pin.ino())?.to_bytes())
    }

    fn ioctl(&self, cx: &mut Cx<'_>, number: u32, arg: UserVa) -> SysResult {
        match self.own_ioctl(cx, number, arg)? {
            Some(value) => Ok(value),
            None => self.tty.ioctl(cx, number, arg, Side::Master),
        }
    }

    fn kernel_bytes(&self) -> usize {
        let master = self.tty.master().and_then(|m| m.state.try_lock());
        1024 + self.tty.bytes() + master.map_or(0, |m| m.bytes())
    }

    fn show_info(&self, out: &mut String) {
        out.push_str(&fd_info::master(self.index()));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
