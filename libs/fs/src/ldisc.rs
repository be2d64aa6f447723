//! The line discipline of a terminal (`termios(3)`): line editing, echo, signals from the keyboard, output processing.
//!
//! Pure: bytes from the device go in by [`Discipline::receive`], which says what to echo and which signals to send;
//! programs take their input with [`Discipline::read`]. Supported: `ICRNL INLCR IGNCR ISTRIP`, `ICANON`
//! with ERASE, WERASE, KILL, EOF, EOL, EOL2, LNEXT, REPRINT; `ECHO ECHOE ECHOK ECHONL ECHOCTL ECHOKE`; `ISIG` with INTR,
//! QUIT, SUSP and `NOFLSH`; `IXON` and `IXANY` with START and STOP; `TOSTOP`; `OPOST` with `ONLCR OCRNL ONLRET ONOCR OLCUC
//! XTABS`; VMIN and VTIME ([`Patience`]). Not supported: `IXOFF`, parity and break.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use tyn_abi::system::{Termios, Winsize};

mod bits;
mod flow;
mod output;
mod reading;

pub use reading::{Input, Patience};

/// Most bytes of input that are kept (`N_TTY_BUF_SIZE`).
const INPUT_MAX: usize = 4096;

/// A signal that a key sends to the foreground process group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySignal {
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTSTP.
    Suspend,
}

impl KeySignal {
    /// Returns the signal's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Quit => 3,
            Self::Suspend => 20,
        }
    }
}

/// The state of a terminal.
#[derive(Debug)]
pub struct Discipline {
    termios: Termios,
    /// `TIOCSWINSZ`.
    pub winsize: Winsize,
    /// Bytes that a read may take.
    ready: VecDeque<u8>,
    /// Lengths of the lines at the front of `ready` (with their delimiters), in canonical mode.
    lines: VecDeque<usize>,
    /// The line being edited.
    edit: Vec<u8>,
    /// The next byte is taken literally (LNEXT).
    is_literal: bool,
    /// Output is stopped.
    stopped: Option<flow::Stopped>,
    /// Where output is on its line, and where the line being edited began.
    column: usize,
    edit_column: usize,
}

/// What came of received bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// To be written to the device.
    pub echo: Vec<u8>,
    /// To be sent, in order.
    pub signals: Vec<KeySignal>,
    /// A read may get something now.
    pub is_readable: bool,
    /// Unread input was thrown away.
    pub is_flushed: bool,
}

impl Default for Discipline {
    fn default() -> Self {
        Self::new()
    }
}

impl Discipline {
    /// Makes a terminal in the state that Linux gives a new one (`tty_std_termios`), 80 columns by 24 rows.
    #[must_use]
    pub fn new() -> Self {
        use bits::{
            ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ICANON, ICRNL, IEXTEN, ISIG, IXON, ONLCR, OPOST,
        };
        let mut cc = [0; 19];
        let defaults = b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\x00";
        for (slot, byte) in cc.iter_mut().zip(defaults) {
            *slot = *byte;
        }
        // B115200 | CS8 | CREAD | HUPCL | CLOCAL
        const CFLAG: u32 = 0o10002 | 0o60 | 0o200 | 0o2000 | 0o4000;
        Self {
            termios: Termios {
                iflag: ICRNL | IXON,
                oflag: OPOST | ONLCR,
                cflag: CFLAG,
                lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
                line: 0,
                cc,
            },
            winsize: Winsize {
                rows: 24,
                cols: 80,
                ..Winsize::default()
            },
            ready: VecDeque::new(),
            lines: VecDeque::new(),
            edit: Vec::new(),
            is_literal: false,
            stopped: None,
            column: 0,
            edit_column: 0,
        }
    }

    /// Makes the terminal of a new pseudo-terminal: without a size, at 38400 bits a second.
    #[must_use]
    pub fn for_pty() -> Self {
        // B38400 | CS8 | CREAD
        const CFLAG: u32 = 0o17 | 0o60 | 0o200;
        let mut discipline = Self::new();
        discipline.termios.cflag = CFLAG;
        discipline.winsize = Winsize::default();
        discipline
    }

    /// Returns the settings.
    #[must_use]
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes the settings. A half-edited line becomes readable when canonical mode ends.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = self.is_canonical();
        self.termios = termios;
        self.flow_changed();
        if was_canonical && !self.is_canonical() {
            self.lines.clear();
            self.ready.extend(self.edit.drain(..));
        } else if !was_canonical && self.is_canonical() && !self.ready.is_empty() {
            self.lines.push_back(self.ready.len());
        }
    }

    /// Throws away unread input (`TCIFLUSH`).
    pub fn flush_input(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.edit.clear();
    }

    fn local(&self, bit: u32) -> bool {
        self.termios.lflag & bit != 0
    }

    fn is_canonical(&self) -> bool {
        self.local(bits::ICANON)
    }

    /// Returns whether `byte` is the control character `index`; 0 disables one.
    fn is_key(&self, byte: u8, index: usize) -> bool {
        let key = self.termios.cc.get(index).copied().unwrap_or(0);
        key != 0 && key == byte
    }

    /// Takes bytes that the device received.
    pub fn receive(&mut self, bytes: &[u8]) -> Reaction {
        let mut reaction = Reaction::default();
        for &byte in bytes {
            self.receive_one(byte, &mut reaction);
        }
        reaction.is_readable = self.has_input();
        reaction
    }

    fn receive_one(&mut self, byte: u8, reaction: &mut Reaction) {
        if core::mem::take(&mut self.is_literal) {
            return self.accept(byte, reaction);
        }
        let Some(byte) = self.translate(byte) else {
            return;
        };
        if self.flow_key(byte) {
            return;
        }
        if self.local(bits::ISIG)
            && let Some(signal) = self.signal_of(byte)
        {
            if !self.local(bits::NOFLSH) {
                self.flush_input();
                reaction.is_flushed = true;
            }
            self.signal_key();
            self.echo(byte, reaction);
            reaction.signals.push(signal);
            return;
        }
        if self.is_canonical() && self.edit_key(byte, reaction) {
            return;
        }
        self.accept(byte, reaction);
    }

    /// Applies the input flags; `None` drops the byte.
    fn translate(&self, byte: u8) -> Option<u8> {
        let iflag = self.termios.iflag;
        let byte = if iflag & bits::ISTRIP != 0 {
            byte & 0x7f
        } else {
            byte
        };
        match byte {
            b'\r' if iflag & bits::IGNCR != 0 => None,
            b'\r' if iflag & bits::ICRNL != 0 => Some(b'\n'),
            b'\n' if iflag & bits::INLCR != 0 => Some(b'\r'),
            other => Some(other),
        }
    }

    fn signal_of(&self, byte: u8) -> Option<KeySignal> {
        [
            (bits::VINTR, KeySignal::Interrupt),
            (bits::VQUIT, KeySignal::Quit),
            (bits::VSUSP, KeySignal::Suspend),
        ]
        .into_iter()
        .find(|&(index, _)| self.is_key(byte, index))
        .map(|(_, signal)| signal)
    }

    /// Handles the editing keys of canonical mode; returns whether `byte` was one.
    fn edit_key(&mut self, byte: u8, reaction: &mut Reaction) -> bool {
        let extended = self.local(bits::IEXTEN);
        if self.is_key(byte, bits::VERASE) {
            self.erase_character(reaction);
        } else if self.is_key(byte, bits::VKILL) {
            self.kill_line(byte, reaction);
        } else if extended && self.is_key(byte, bits::VWERASE) {
            self.erase_word(reaction);
        } else if extended && self.is_key(byte, bits::VLNEXT) {
            self.is_literal = true;
            if self.local(bits::ECHO) && self.local(bits::ECHOCTL) {
                reaction.echo.extend_from_slice(b"^\x08");
            }
        } else if extended && self.is_key(byte, bits::VREPRINT) {
            self.echo(byte, reaction);
            self.echo_raw(b'\n', reaction);
            for byte in self.edit.clone() {
                self.echo(byte, reaction);
            }
        } else if self.is_key(byte, bits::VEOF) {
            self.finish_line();
        } else if byte == b'\n'
            || self.is_key(byte, bits::VEOL)
            || (extended && self.is_key(byte, bits::VEOL2))
        {
            if self.local(bits::ECHO) || (byte == b'\n' && self.local(bits::ECHONL)) {
                self.echo_raw(byte, reaction);
            }
            self.edit.push(byte);
            self.finish_line();
        } else {
            return false;
        }
        true
    }

    fn finish_line(&mut self) {
        self.lines.push_back(self.edit.len());
        self.ready.extend(self.edit.drain(..));
    }

    /// Takes an ordinary byte; what does not fit is dropped with a bell.
    fn accept(&mut self, byte: u8, reaction: &mut Reaction) {
        // One place is kept free for the end of the line.
        if self.ready.len() + self.edit.len() + 1 >= INPUT_MAX {
            reaction.echo.push(7);
            return;
        }
        if self.edit.is_empty() {
            self.edit_column = self.column;
        }
        if self.is_canonical() {
            self.edit.push(byte);
        } else {
            self.ready.push_back(byte);
        }
        self.echo(byte, reaction);
    }

    fn erase_character(&mut self, reaction: &mut Reaction) {
        let Some(byte) = self.edit.pop() else {
            return;
        };
        if self.termios.iflag & bits::IUTF8 != 0 {
            // The bytes that continue a character go with the one that begins it.
            let mut last = byte;
            while last & 0xc0 == 0x80 {
                match self.edit.pop() {
                    Some(previous) => last = previous,
                    None => break,
                }
            }
        }
        self.echo_erased(byte, reaction);
    }

    fn erase_word(&mut self, reaction: &mut Reaction) {
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80;
        let mut seen_word = false;
        while let Some(last) = self.edit.last() {
            if seen_word && !is_word(last) {
                break;
            }
            seen_word |= is_word(last);
            self.erase_character(reaction);
        }
    }

    fn kill_line(&mut self, key: u8, reaction: &mut Reaction) {
        if self.local(bits::ECHOKE) && self.local(bits::ECHOE) {
            while !self.edit.is_empty() {
                self.erase_character(reaction);
            }
            return;
        }
        self.edit.clear();
        self.echo(key, reaction);
        if self.local(bits::ECHO) && self.local(bits::ECHOK) {
            self.echo_raw(b'\n', reaction);
        }
    }
}

#[cfg(test)]
mod tests;
