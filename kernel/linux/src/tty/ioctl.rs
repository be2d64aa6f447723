//! Requests of `ioctl_tty(2)`: settings, job control, window size.

use alloc::sync::Arc;

use tyn_abi::signal::Signal;
use tyn_abi::system::{Termios, Winsize};
use tyn_abi::{Errno, Pid, UserVa};
use tyn_io::console::ConsoleListener;
use tyn_io::pty::status;

use super::Tty;
use crate::cx::{Cx, SysResult};
use crate::user_io;

/// Requests of `ioctl_tty(2)`.
pub(super) mod request {
    pub(in super::super) const TCGETS: u32 = 0x5401;
    pub(in super::super) const TCSETS: u32 = 0x5402;
    pub(in super::super) const TCSETSW: u32 = 0x5403;
    pub(in super::super) const TCSETSF: u32 = 0x5404;
    pub(in super::super) const TCSBRK: u32 = 0x5409;
    pub(in super::super) const TCXONC: u32 = 0x540a;
    pub(in super::super) const TCFLSH: u32 = 0x540b;
    pub(in super::super) const TIOCEXCL: u32 = 0x540c;
    pub(in super::super) const TIOCNXCL: u32 = 0x540d;
    pub(in super::super) const TIOCSCTTY: u32 = 0x540e;
    pub(in super::super) const TIOCGPGRP: u32 = 0x540f;
    pub(in super::super) const TIOCSPGRP: u32 = 0x5410;
    pub(in super::super) const TIOCOUTQ: u32 = 0x5411;
    pub(in super::super) const TIOCSTI: u32 = 0x5412;
    pub(in super::super) const TIOCGWINSZ: u32 = 0x5413;
    pub(in super::super) const TIOCSWINSZ: u32 = 0x5414;
    pub(in super::super) const FIONREAD: u32 = 0x541b;
    pub(in super::super) const TIOCPKT: u32 = 0x5420;
    pub(in super::super) const TIOCNOTTY: u32 = 0x5422;
    pub(in super::super) const TIOCSETD: u32 = 0x5423;
    pub(in super::super) const TIOCGETD: u32 = 0x5424;
    pub(in super::super) const TCSBRKP: u32 = 0x5425;
    pub(in super::super) const TIOCGSID: u32 = 0x5429;
    pub(in super::super) const TIOCVHANGUP: u32 = 0x5437;
    pub(in super::super) const TIOCGPTPEER: u32 = 0x5441;
    pub(in super::super) const TCGETS2: u32 = 0x802c_542a;
    pub(in super::super) const TCSETS2: u32 = 0x402c_542b;
    pub(in super::super) const TCSETSW2: u32 = 0x402c_542c;
    pub(in super::super) const TCSETSF2: u32 = 0x402c_542d;
    pub(in super::super) const TIOCGPTN: u32 = 0x8004_5430;
    pub(in super::super) const TIOCSPTLCK: u32 = 0x4004_5431;
    pub(in super::super) const TIOCSIG: u32 = 0x4004_5436;
    pub(in super::super) const TIOCGPKT: u32 = 0x8004_5438;
    pub(in super::super) const TIOCGPTLCK: u32 = 0x8004_5439;
    pub(in super::super) const TIOCGEXCL: u32 = 0x8004_5440;
}

/// Whose descriptor asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The terminal's own.
    Own,
    /// Its master's.
    Master,
}

/// What a request gives on a terminal that was hung up.
pub(super) fn error_of_dead(number: u32) -> Errno {
    if number == request::TIOCSPGRP {
        Errno::ENOTTY
    } else {
        Errno::EIO
    }
}

/// Bits a second of the speeds in `c_cflag` (`termios(3)`): `B0`... and, with `CBAUDEX`, `B57600`...
fn speed(cflag: u32) -> u32 {
    const SLOW: [u32; 16] = [
        0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
    ];
    const FAST: [u32; 16] = [
        0, 57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000,
        1_500_000, 2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ];
    let table = if cflag & 0o10000 == 0 { SLOW } else { FAST };
    table.get((cflag & 0o17) as usize).copied().unwrap_or(0)
}

impl Tty {
    fn set_termios(&self, mut termios: Termios, flush: bool, side: Side) {
        /// What both sides of a pair always have: `CS8`, `CREAD`.
        const FIXED: u32 = 0o60 | 0o200;
        const PARENB: u32 = 0o400;
        if self.master().is_some() {
            termios.cflag = termios.cflag & !PARENB | FIXED;
        }
        let mut state = self.state.lock();
        if flush {
            state.discipline.flush_input();
        }
        let had_flow_keys = state.discipline.has_usual_flow_keys();
        let was_stopped = state.discipline.is_stopped();
        state.discipline.set_termios(termios);
        let has_flow_keys = state.discipline.has_usual_flow_keys();
        self.tell_flow(was_stopped, &state);
        drop(state);
        if flush && side == Side::Own {
            self.tell_master(status::FLUSHREAD, 0);
        }
        match (had_flow_keys, has_flow_keys) {
            (true, false) => self.tell_master(status::NOSTOP, status::DOSTOP),
            (false, true) => self.tell_master(status::DOSTOP, status::NOSTOP),
            _ => {}
        }
        self.settled();
    }

    /// `tcflow(3)`.
    fn control_flow(&self, action: u64) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let was_stopped = state.discipline.is_stopped();
        match action {
            0 | 1 => {
                state.discipline.set_stopped(action == 0);
                self.tell_flow(was_stopped, &state);
            }
            2 | 3 => {
                let character = state.discipline.flow_character(action == 3);
                state.pending.extend(character);
            }
            _ => return Err(Errno::EINVAL),
        }
        drop(state);
        self.settled();
        Ok(())
    }

    /// `tcflush(3)`: what was written is with the line already.
    fn flush_queues(&self, which: u64, side: Side) -> Result<(), Errno> {
        if which > 2 {
            return Err(Errno::EINVAL);
        }
        match side {
            Side::Own => {
                if which != 1 {
                    self.state.lock().discipline.flush_input();
                    self.tell_master(status::FLUSHREAD, 0);
                }
                if which != 0 {
                    self.state.lock().pending.clear();
                    self.tell_master(status::FLUSHWRITE, 0);
                }
            }
            Side::Master => {
                if let Some(master) = self.master().filter(|_| which != 1) {
                    master.flush();
                }
            }
        }
        self.settled();
        Ok(())
    }

    /// Whether a request changes what the terminal is to those in the foreground.
    fn check_background(&self, number: u32, side: Side) -> Result<(), Errno> {
        use request as r;
        let changes = matches!(
            number,
            r::TCSETS
                | r::TCSETSW
                | r::TCSETSF
                | r::TCSETS2
                | r::TCSETSW2
                | r::TCSETSF2
                | r::TCSBRK
                | r::TCSBRKP
                | r::TCXONC
                | r::TCFLSH
                | r::TIOCSETD
                | r::TIOCSPGRP
        );
        if !changes || side == Side::Master {
            return Ok(());
        }
        self.check_job(Signal::SIGTTOU).map_err(|errno| {
            if number == r::TIOCSPGRP && errno == Errno::EIO {
                Errno::ENOTTY
            } else {
                errno
            }
        })
    }

    /// Requests about sessions and groups; `None` for others.
    fn job_ioctl(
        self: &Arc<Self>,
        cx: &Cx<'_>,
        number: u32,
        arg: UserVa,
        side: Side,
    ) -> Result<Option<u64>, Errno> {
        use request as r;
        let store = |value: u32| user_io::write_bytes(arg, &value.to_le_bytes()).map(|()| Some(0));
        match number {
            r::TIOCSCTTY => self.make_controlling(cx, arg.0 == 1).map(Some),
            r::TIOCNOTTY => self.disown(cx).map(Some),
            r::TIOCGPGRP => {
                self.check_controls(cx, side)?;
                store(self.foreground().0)
            }
            r::TIOCSPGRP => {
                let group = user_io::read_u32(arg)?;
                self.set_foreground(cx, group.cast_signed()).map(Some)
            }
            r::TIOCGSID => {
                self.check_controls(cx, side)?;
                let session = self.session();
                if session == Pid(0) {
                    return Err(Errno::ENOTTY);
                }
                store(session.0)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn ioctl(
        self: &Arc<Self>,
        cx: &Cx<'_>,
        number: u32,
        arg: UserVa,
        side: Side,
    ) -> SysResult {
        use request as r;
        self.check_background(number, side)?;
        if let Some(value) = self.job_ioctl(cx, number, arg, side)? {
            return Ok(value);
        }
        let store = |value: u32| user_io::write_bytes(arg, &value.to_le_bytes());
        match number {
            r::TCGETS => {
                let termios = self.state.lock().discipline.termios();
                user_io::write_bytes(arg, &termios.to_bytes())?;
            }
            r::TCSETS | r::TCSETSW | r::TCSETSF => {
                let termios = Termios::from_bytes(&user_io::read_bytes(arg)?);
                self.set_termios(termios, number == r::TCSETSF, side);
            }
            // glibc since 2.42.
            r::TCGETS2 => {
                let termios = self.state.lock().discipline.termios();
                let mut bytes = [0; Termios::SIZE + 8];
                let (settings, speeds) = bytes.split_at_mut(Termios::SIZE);
                settings.copy_from_slice(&termios.to_bytes());
                for value in speeds.chunks_exact_mut(4) {
                    value.copy_from_slice(&speed(termios.cflag).to_le_bytes());
                }
                user_io::write_bytes(arg, &bytes)?;
            }
            r::TCSETS2 | r::TCSETSW2 | r::TCSETSF2 => {
                let bytes: [u8; Termios::SIZE + 8] = user_io::read_bytes(arg)?;
                let settings = bytes.first_chunk().ok_or(Errno::EINVAL)?;
                self.set_termios(Termios::from_bytes(settings), number == r::TCSETSF2, side);
            }
            // `tcdrain(3)`: what was written is in the line's hands, in order. There is no break to send.
            r::TCSBRK | r::TCSBRKP => {}
            r::TCXONC => self.control_flow(arg.0)?,
            r::TCFLSH => self.flush_queues(arg.0, side)?,
            r::TIOCEXCL | r::TIOCNXCL => {
                self.state.lock().is_exclusive = number == r::TIOCEXCL;
            }
            r::TIOCGEXCL => store(u32::from(self.state.lock().is_exclusive))?,
            r::TIOCOUTQ => {
                let waiting = match self.master() {
                    Some(_) => 0,
                    None => self.state.lock().pending.len() as u32,
                };
                store(waiting)?;
            }
            r::TIOCSTI => {
                let byte: [u8; 1] = user_io::read_bytes(arg)?;
                self.received(&byte);
            }
            r::TIOCGWINSZ => {
                let winsize = self.state.lock().discipline.winsize;
                user_io::write_bytes(arg, &winsize.to_bytes())?;
            }
            r::TIOCSWINSZ => {
                self.set_winsize(Winsize::from_bytes(&user_io::read_bytes(arg)?));
            }
            r::FIONREAD => store(self.state.lock().discipline.unread() as u32)?,
            r::TIOCGETD => store(0)?,
            r::TIOCSETD => {
                let discipline = user_io::read_u32(arg)?;
                if discipline != 0 {
                    cx.trace_unsupported("line discipline", u64::from(discipline));
                    return Err(Errno::EINVAL);
                }
            }
            // Only a master has a peer.
            r::TIOCGPTPEER => return Err(Errno::EIO),
            r::TIOCVHANGUP if self.master().is_some() => self.hang_up(),
            _ => {
                cx.trace_unsupported("tty ioctl", u64::from(number));
                return Err(Errno::ENOTTY);
            }
        }
        Ok(0)
    }

    fn check_controls(&self, cx: &Cx<'_>, side: Side) -> Result<(), Errno> {
        if side == Side::Master || cx.process.terminal.is(self) {
            Ok(())
        } else {
            Err(Errno::ENOTTY)
        }
    }
}
