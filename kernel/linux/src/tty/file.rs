//! Open terminals.

use alloc::sync::Arc;
use core::any::Any;

use tyn_abi::fs::open::O_NOCTTY;
use tyn_abi::fs::{major, makedev, minor};
use tyn_abi::signal::Signal;
use tyn_abi::{Errno, Events, Sink, Source, UserVa};
use tyn_hal::time;

use super::ioctl::Side;
use super::{CONSOLE, Tty, console, job, pty};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, flags};
use crate::fs::{Pin, stat_tree};
use crate::sched;
use crate::wait::{Interrupted, WaitQueue};

/// Device number of `/dev/tty`.
const TTY: u64 = makedev(5, 0);

/// Opens a terminal device with the flags `how`; `None` when the number is no terminal's.
pub(crate) fn open(rdev: u64, pin: &Pin, how: u32) -> Option<Result<Arc<dyn File>, Errno>> {
    let file = match rdev {
        TTY => job::of_caller().ok_or(Errno::ENXIO),
        CONSOLE => console().cloned().ok_or(Errno::ENXIO),
        pty::PTMX => return Some(pty::open_master(pin)),
        _ if major(rdev) == pty::MAJOR => pty::find(minor(rdev)).ok_or(Errno::EIO),
        _ => return None,
    };
    let file = file.and_then(|tty| TtyFile::new(tty, pin.clone(), rdev));
    Some(file.map(|file| {
        let is_readable = how & flags::O_ACCMODE != flags::O_WRONLY;
        if how & O_NOCTTY == 0 && rdev != CONSOLE && is_readable {
            file.tty.offer_control();
        }
        Arc::new(file) as Arc<dyn File>
    }))
}

/// An open terminal.
#[derive(Debug)]
pub struct TtyFile {
    tty: Arc<Tty>,
    pin: Pin,
    /// The number that it was opened by.
    via: u64,
    /// How often the terminal had been hung up by then.
    hangups: u64,
}

impl TtyFile {
    /// Opens a terminal.
    ///
    /// # Errors
    /// `EIO` for a slave that is locked, or whose master is closed.
    pub(super) fn new(tty: Arc<Tty>, pin: Pin, via: u64) -> Result<Self, Errno> {
        if let Some(master) = tty.master() {
            master.open_slave()?;
        }
        let hangups = tty.state.lock().hangups;
        Ok(Self {
            tty,
            pin,
            via,
            hangups,
        })
    }

    /// Returns what keeps the inode alive.
    #[must_use]
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    fn is_dead(&self) -> bool {
        self.tty.state.lock().hangups != self.hangups
    }

    /// Reads for somebody who waits: what was hung up meanwhile is over, with an error if the master is gone (`n_tty_read` of
    /// Linux).
    fn read_on(&self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if self.is_dead() {
            let is_gone = self.tty.master().is_some_and(pty::Master::is_closed);
            return if is_gone { Err(Errno::EIO) } else { Ok(0) };
        }
        self.check_job(Signal::SIGTTIN)?;
        self.tty.read(dst)
    }

    fn wait_and_read(&self, cx: &Cx<'_>, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if self.is_dead() {
            return Ok(0);
        }
        let patience = self.tty.state.lock().discipline.patience();
        let mut deadline = patience.first.map(|time| time::now() + time);
        let mut done = 0;
        loop {
            let attempt = || match self.read_on(dst) {
                Err(Errno::EAGAIN) => None,
                other => Some(other),
            };
            let interest = Events::IN | Events::RDNORM;
            let read = match cx.block_on(&[&self.tty.queue], interest, deadline, attempt) {
                Ok(read) => read,
                Err(Interrupted::TimedOut) => Ok(0),
                Err(signal) => Err(signal.or_restart()),
            };
            match read {
                Err(_) if done > 0 => return Ok(done),
                Ok(0) | Err(_) => return read.map(|_| done),
                Ok(count) => done += count,
            }
            if done >= patience.least || dst.remaining() == 0 {
                return Ok(done);
            }
            deadline = patience.next.map(|time| time::now() + time);
        }
    }

    /// As on Linux whoever has `/dev/console` open is not kept from it.
    fn check_job(&self, signal: Signal) -> Result<(), Errno> {
        if self.via == CONSOLE {
            return Ok(());
        }
        self.tty.check_job(signal)
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        if let Some(master) = self.tty.master() {
            master.close_slave();
        }
    }
}

impl File for TtyFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if self.is_dead() {
            return Ok(0);
        }
        self.check_job(Signal::SIGTTIN)?;
        self.tty.read(dst)
    }

    fn read_patiently(&self, cx: &Cx<'_>, dst: &mut dyn Sink) -> Option<Result<usize, Errno>> {
        Some(self.wait_and_read(cx, dst))
    }

    fn has_empty_writes(&self) -> bool {
        true
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        if self.is_dead() {
            return Err(Errno::EIO);
        }
        if self.tty.state.lock().discipline.stops_background() {
            self.check_job(Signal::SIGTTOU)?;
        }
        self.tty.write(src)
    }

    fn poll(&self) -> Events {
        if self.is_dead() {
            let events = Events::IN | Events::RDNORM | Events::OUT | Events::WRNORM;
            return events | Events::ERR | Events::HUP;
        }
        self.tty.poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.queue)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(stat_tree(self.pin.ino())?.to_bytes())
    }

    fn ioctl(&self, cx: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        if self.is_dead() {
            return Err(super::ioctl::error_of_dead(request));
        }
        self.tty.ioctl(cx, request, arg, Side::Own)
    }

    fn kernel_bytes(&self) -> usize {
        512 + self.tty.bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Returns the running process, if it is not the kernel that runs.
pub(super) fn current_process() -> Option<Arc<crate::process::Process>> {
    sched::current().map(|thread| Arc::clone(thread.process()))
}
