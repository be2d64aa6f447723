//! Requests of `ioctl_tty(2)`: settings, job control, window size.

use tyn_abi::system::{Termios, Winsize};
use tyn_abi::{Errno, Events, Pid, UserVa};

use super::Tty;
use crate::cx::{Cx, SysResult};
use crate::kernel::kernel;
use crate::user_io;

/// Requests of `ioctl_tty(2)`.
mod request {
    pub(super) const TCGETS: u32 = 0x5401;
    pub(super) const TCSETS: u32 = 0x5402;
    pub(super) const TCSETSW: u32 = 0x5403;
    pub(super) const TCSETSF: u32 = 0x5404;
    pub(super) const TCSBRK: u32 = 0x5409;
    pub(super) const TCFLSH: u32 = 0x540b;
    pub(super) const TIOCSCTTY: u32 = 0x540e;
    pub(super) const TIOCGPGRP: u32 = 0x540f;
    pub(super) const TIOCSPGRP: u32 = 0x5410;
    pub(super) const TIOCOUTQ: u32 = 0x5411;
    pub(super) const TIOCGWINSZ: u32 = 0x5413;
    pub(super) const TIOCSWINSZ: u32 = 0x5414;
    pub(super) const FIONREAD: u32 = 0x541b;
    pub(super) const TIOCNOTTY: u32 = 0x5422;
    pub(super) const TIOCGSID: u32 = 0x5429;
    pub(super) const TCGETS2: u32 = 0x802c_542a;
    pub(super) const TCSETS2: u32 = 0x402c_542b;
    pub(super) const TCSETSW2: u32 = 0x402c_542c;
    pub(super) const TCSETSF2: u32 = 0x402c_542d;
}

/// What `struct termios2` says of both directions: the speed that the console is set to, in bits a second.
const SPEED: u32 = 115_200;

impl Tty {
    fn set_termios(&self, termios: Termios, flush: bool) {
        let mut state = self.state.lock();
        if flush {
            state.discipline.flush_input();
        }
        state.discipline.set_termios(termios);
        let is_readable = state.discipline.is_readable();
        drop(state);
        if is_readable {
            self.queue.notify(Events::IN | Events::RDNORM);
        }
    }

    fn set_foreground(&self, cx: &Cx<'_>, group: u32) -> SysResult {
        if !self.controls_caller() {
            return Err(Errno::ENOTTY);
        }
        let family = kernel().family.lock();
        let session = family.session(cx.process.pid)?;
        let members = family.group_members(Pid(group));
        let first = members.first().ok_or(Errno::ESRCH)?;
        if family.session(*first)? != session {
            return Err(Errno::EPERM);
        }
        drop(family);
        self.state.lock().foreground = Pid(group);
        Ok(0)
    }

    fn make_controlling(&self, cx: &Cx<'_>) -> SysResult {
        let family = kernel().family.lock();
        let session = family.session(cx.process.pid)?;
        let group = family.group(cx.process.pid)?;
        drop(family);
        let mut state = self.state.lock();
        if state.session == session {
            return Ok(0);
        }
        // Everybody is root, but only a session leader may, and stealing takes an explicit argument on Linux, too.
        if session != cx.process.pid {
            return Err(Errno::EPERM);
        }
        state.session = session;
        state.foreground = group;
        Ok(0)
    }

    pub(super) fn ioctl(&self, cx: &Cx<'_>, number: u32, arg: UserVa) -> SysResult {
        use request as r;
        match number {
            r::TCGETS => {
                let termios = self.state.lock().discipline.termios();
                user_io::write_bytes(arg, &termios.to_bytes())?;
            }
            r::TCSETS | r::TCSETSW | r::TCSETSF => {
                let termios = Termios::from_bytes(&user_io::read_bytes(arg)?);
                self.set_termios(termios, number == r::TCSETSF);
            }
            // glibc since 2.42. The line's speed stays what it is.
            r::TCGETS2 => {
                let termios = self.state.lock().discipline.termios();
                let mut bytes = [0; Termios::SIZE + 8];
                let (settings, speeds) = bytes.split_at_mut(Termios::SIZE);
                settings.copy_from_slice(&termios.to_bytes());
                for speed in speeds.chunks_exact_mut(4) {
                    speed.copy_from_slice(&SPEED.to_le_bytes());
                }
                user_io::write_bytes(arg, &bytes)?;
            }
            r::TCSETS2 | r::TCSETSW2 | r::TCSETSF2 => {
                let bytes: [u8; Termios::SIZE + 8] = user_io::read_bytes(arg)?;
                let settings = bytes.first_chunk().ok_or(Errno::EINVAL)?;
                self.set_termios(Termios::from_bytes(settings), number == r::TCSETSF2);
            }
            // `tcdrain(3)`: what was written is in the driver's hands, in order.
            r::TCSBRK => {}
            r::TCFLSH => match arg.0 {
                0 | 2 => self.state.lock().discipline.flush_input(),
                1 => {}
                _ => return Err(Errno::EINVAL),
            },
            r::TIOCSCTTY => return self.make_controlling(cx),
            r::TIOCGPGRP => {
                self.check_controls()?;
                user_io::write_bytes(arg, &self.foreground().0.to_le_bytes())?;
            }
            r::TIOCSPGRP => {
                let group = user_io::read_u32(arg)?;
                return self.set_foreground(cx, group);
            }
            r::TIOCGSID => {
                self.check_controls()?;
                user_io::write_bytes(arg, &self.session().0.to_le_bytes())?;
            }
            r::TIOCOUTQ => {
                let count = self.state.lock().pending.len() as u32;
                user_io::write_bytes(arg, &count.to_le_bytes())?;
            }
            r::TIOCGWINSZ => {
                let winsize = self.state.lock().discipline.winsize;
                user_io::write_bytes(arg, &winsize.to_bytes())?;
            }
            r::TIOCSWINSZ => {
                self.set_winsize(Winsize::from_bytes(&user_io::read_bytes(arg)?));
            }
            r::FIONREAD => {
                let count = self.state.lock().discipline.unread() as u32;
                user_io::write_bytes(arg, &count.to_le_bytes())?;
            }
            r::TIOCNOTTY => {
                self.check_controls()?;
                cx.trace_unsupported("ioctl TIOCNOTTY", 0);
                return Err(Errno::EINVAL);
            }
            _ => {
                cx.trace_unsupported("tty ioctl", u64::from(number));
                return Err(Errno::ENOTTY);
            }
        }
        Ok(0)
    }

    fn check_controls(&self) -> Result<(), Errno> {
        if self.controls_caller() {
            Ok(())
        } else {
            Err(Errno::ENOTTY)
        }
    }
}
