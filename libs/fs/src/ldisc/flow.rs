//! Flow control: output that is stopped, input that there is no room for.

use super::{Discipline, INPUT_MAX, bits};

/// Who stopped the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// The STOP key: another key may start it.
    ByKey,
    /// A program (`tcflow(3)`): only a program starts it.
    ByProgram,
}

impl Discipline {
    /// Returns whether output is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Stops output in a program's name (`TCOOFF`), or starts it (`TCOON`).
    pub fn set_stopped(&mut self, is_stopped: bool) {
        self.stopped = is_stopped.then_some(Stopped::ByProgram);
    }

    /// Returns the STOP character, or the START character; `None` when it is disabled.
    #[must_use]
    pub fn flow_character(&self, starts: bool) -> Option<u8> {
        let index = if starts { bits::VSTART } else { bits::VSTOP };
        self.termios.cc.get(index).copied().filter(|&c| c != 0)
    }

    /// Returns whether `^S` and `^Q` stop and start output (what packet mode of `ioctl_tty(2)` tells).
    #[must_use]
    pub fn has_usual_flow_keys(&self) -> bool {
        self.has_flow_keys()
            && self.flow_character(false) == Some(0x13)
            && self.flow_character(true) == Some(0x11)
    }

    /// Returns whether programs in the background may not write (`TOSTOP`).
    #[must_use]
    pub fn stops_background(&self) -> bool {
        self.local(bits::TOSTOP)
    }

    /// Returns how many bytes of input can be taken now. A line that is too long goes on to be taken, to be dropped, as else
    /// its end would never come.
    #[must_use]
    pub fn room(&self) -> usize {
        let free = (INPUT_MAX - 1).saturating_sub(self.ready.len() + self.edit.len());
        if free == 0 && self.is_canonical() && self.lines.is_empty() {
            return 1;
        }
        free
    }

    fn has_flow_keys(&self) -> bool {
        self.termios.iflag & bits::IXON != 0
    }

    /// Handles the keys that stop and start output; returns whether `byte` was one.
    pub(super) fn flow_key(&mut self, byte: u8) -> bool {
        if !self.has_flow_keys() {
            return false;
        }
        if self.is_key(byte, bits::VSTART) {
            self.stopped = None;
            return true;
        }
        if self.is_key(byte, bits::VSTOP) {
            self.stopped = self.stopped.or(Some(Stopped::ByKey));
            return true;
        }
        if self.termios.iflag & bits::IXANY != 0 && self.stopped == Some(Stopped::ByKey) {
            self.stopped = None;
        }
        false
    }

    /// Starts output: a key sent a signal.
    pub(super) fn signal_key(&mut self) {
        if self.has_flow_keys() {
            self.stopped = None;
        }
    }

    /// Starts output that nothing else would start any more.
    pub(super) fn flow_changed(&mut self) {
        if !self.has_flow_keys() && self.stopped == Some(Stopped::ByKey) {
            self.stopped = None;
        }
    }

    /// Returns about how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ready.capacity() + self.edit.capacity() + self.lines.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldisc::Input;
    use alloc::vec;

    #[test]
    fn keys_stop_and_start_output() {
        let mut d = Discipline::for_pty();
        assert!(d.has_usual_flow_keys());
        let r = d.receive(b"\x13");
        assert!(d.is_stopped() && r.echo.is_empty());
        d.receive(b"a");
        assert!(d.is_stopped(), "without IXANY");
        d.receive(b"\x11");
        assert!(!d.is_stopped());
        let mut t = d.termios();
        t.iflag |= bits::IXANY;
        d.set_termios(t);
        d.receive(b"\x13a");
        assert!(!d.is_stopped());
        d.receive(b"\x13");
        assert!(d.receive(b"\x03").is_flushed);
        assert!(!d.is_stopped(), "a signal starts it");
        d.receive(b"\x13");
        t.iflag &= !bits::IXON;
        d.set_termios(t);
        assert!(!d.is_stopped() && !d.has_usual_flow_keys());
        assert_eq!(d.receive(b"\x13").echo, b"^S");
    }

    #[test]
    fn only_a_program_starts_what_a_program_stopped() {
        let mut d = Discipline::for_pty();
        let mut t = d.termios();
        d.set_stopped(true);
        t.iflag |= bits::IXANY;
        d.set_termios(t);
        d.receive(b"a");
        t.iflag &= !bits::IXON;
        d.set_termios(t);
        assert!(d.is_stopped());
        d.set_stopped(false);
        assert!(!d.is_stopped());
    }

    #[test]
    fn there_is_room_until_lines_wait_in_a_full_buffer() {
        let mut d = Discipline::for_pty();
        assert_eq!(d.room(), INPUT_MAX - 1);
        d.receive(b"line\n");
        assert_eq!(d.room(), INPUT_MAX - 6);
        d.receive(&vec![b'x'; d.room()]);
        assert_eq!(d.room(), 0);
        assert_eq!(d.read(9), Input::Bytes(b"line\n".to_vec()));
        assert_eq!(d.room(), 5);
        d.receive(&[b'x'; 5]);
        assert_eq!(d.room(), 1, "the line must be able to end");
        d.receive(b"\n");
        assert_eq!(d.room(), 0);
    }
}
