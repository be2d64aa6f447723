//! Output and echo: what the device gets for what programs write and keys say, and in which column that is.

use alloc::vec::Vec;

use super::{Discipline, Reaction, bits};

/// Columns from one tab stop to the next.
const TAB: usize = 8;

impl Discipline {
    /// Appends `bytes` to `out` as the device is to get them: at most [`TAB`] times as many (`do_output_char` of Linux).
    pub fn process_output(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.termios.oflag & bits::OPOST == 0 {
            out.extend_from_slice(bytes);
            return;
        }
        for &byte in bytes {
            self.put(byte, out);
        }
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        let oflag = self.termios.oflag;
        let has = |bit: u32| oflag & bit != 0;
        match byte {
            b'\n' => {
                if has(bits::ONLRET | bits::ONLCR) {
                    self.column = 0;
                }
                if has(bits::ONLCR) {
                    out.push(b'\r');
                }
                self.edit_column = self.column;
                out.push(b'\n');
            }
            b'\r' if has(bits::ONOCR) && self.column == 0 => {}
            b'\r' if has(bits::OCRNL) => {
                if has(bits::ONLRET) {
                    (self.column, self.edit_column) = (0, 0);
                }
                out.push(b'\n');
            }
            b'\r' => {
                (self.column, self.edit_column) = (0, 0);
                out.push(b'\r');
            }
            b'\t' => {
                let spaces = TAB - self.column % TAB;
                self.column += spaces;
                if oflag & bits::TABDLY == bits::XTABS {
                    out.resize(out.len() + spaces, b' ');
                } else {
                    out.push(b'\t');
                }
            }
            0x08 => {
                self.column = self.column.saturating_sub(1);
                out.push(byte);
            }
            _ if is_control(byte) => out.push(byte),
            _ => {
                self.column += usize::from(!self.continues(byte));
                let is_upper = has(bits::OLCUC);
                out.push(if is_upper {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                });
            }
        }
    }

    /// Returns whether a byte belongs to the character before it.
    fn continues(&self, byte: u8) -> bool {
        self.termios.iflag & bits::IUTF8 != 0 && byte & 0xc0 == 0x80
    }

    /// Whether a byte is echoed as `^X`.
    fn shows_as_two(&self, byte: u8) -> bool {
        self.local(bits::ECHOCTL) && is_control(byte) && byte != b'\t' && byte != b'\n'
    }

    pub(super) fn echo(&mut self, byte: u8, reaction: &mut Reaction) {
        if !self.local(bits::ECHO) {
            return;
        }
        if self.shows_as_two(byte) {
            reaction.echo.extend_from_slice(&[b'^', byte ^ 0x40]);
            self.column += 2;
        } else {
            self.echo_raw(byte, reaction);
        }
    }

    pub(super) fn echo_raw(&mut self, byte: u8, reaction: &mut Reaction) {
        self.process_output(&[byte], &mut reaction.echo);
    }

    /// Takes a byte off the screen that was the last one of the line being edited.
    pub(super) fn echo_erased(&mut self, byte: u8, reaction: &mut Reaction) {
        if !self.local(bits::ECHO) || !self.local(bits::ECHOE) {
            return;
        }
        let has_two = self.local(bits::ECHOCTL);
        if byte == b'\t' {
            return self.erase_tab(reaction);
        }
        let width = match is_control(byte) {
            true if has_two => 2,
            true => 0,
            false => 1,
        };
        for _ in 0..width {
            for byte in *b"\x08 \x08" {
                self.echo_raw(byte, reaction);
            }
        }
    }

    /// Goes back over a tab: what stands before it says how wide it was.
    fn erase_tab(&mut self, reaction: &mut Reaction) {
        let before = self
            .edit
            .rsplit(|byte| *byte == b'\t')
            .next()
            .unwrap_or_default();
        let width = |&byte: &u8| match is_control(byte) {
            true if self.local(bits::ECHOCTL) => 2,
            true => 0,
            false => usize::from(!self.continues(byte)),
        };
        let mut column: usize = before.iter().map(width).sum();
        if before.len() == self.edit.len() {
            column += self.edit_column;
        }
        let back = TAB - column % TAB;
        self.column = self.column.saturating_sub(back);
        reaction.echo.resize(reaction.echo.len() + back, 0x08);
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}
