//! What programs read, and how long they wait for it (`termios(3)`, canonical and noncanonical mode).

use alloc::vec::Vec;

use tyn_abi::Nanos;

use super::{Discipline, bits};

/// What a read found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Nothing yet: wait.
    NotYet,
    /// These bytes; none at all is the end of the file (the EOF key), or VMIN 0.
    Bytes(Vec<u8>),
}

/// How long a read waits that may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Until it has so many bytes.
    pub least: usize,
    /// At most so long for the first of them, unless for ever.
    pub first: Option<Nanos>,
    /// At most so long for each that follows.
    pub next: Option<Nanos>,
}

impl Discipline {
    /// Returns how many bytes a read could take now (`FIONREAD`).
    #[must_use]
    pub fn unread(&self) -> usize {
        if self.is_canonical() {
            self.lines.iter().sum()
        } else {
            self.ready.len()
        }
    }

    fn control(&self, index: usize) -> u8 {
        self.termios.cc.get(index).copied().unwrap_or(0)
    }

    /// Returns whether there is a line, or a byte.
    pub(super) fn has_input(&self) -> bool {
        if self.is_canonical() {
            !self.lines.is_empty()
        } else {
            !self.ready.is_empty()
        }
    }

    /// Returns whether a read would return at once (`input_available_p` of Linux's `n_tty.c`).
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let is_counted = !self.is_canonical() && self.control(bits::VTIME) == 0;
        let least = if is_counted {
            self.control(bits::VMIN).max(1)
        } else {
            1
        };
        self.has_input() && (!is_counted || self.ready.len() >= usize::from(least))
    }

    /// Returns how long a read waits (`n_tty_read` of Linux).
    #[must_use]
    pub fn patience(&self) -> Patience {
        const TENTH: u64 = Nanos::PER_SEC / 10;
        let time = Nanos(u64::from(self.control(bits::VTIME)) * TENTH);
        let for_ever = Patience {
            least: 1,
            first: None,
            next: None,
        };
        match usize::from(self.control(bits::VMIN)) {
            _ if self.is_canonical() => for_ever,
            0 => Patience {
                first: Some(time),
                ..for_ever
            },
            least => Patience {
                least,
                next: (time > Nanos::ZERO).then_some(time),
                ..for_ever
            },
        }
    }

    /// Takes at most `max` bytes of what there is: in canonical mode of one line.
    pub fn read(&mut self, max: usize) -> Input {
        if self.is_canonical() {
            let Some(line) = self.lines.front_mut() else {
                return Input::NotYet;
            };
            let count = max.min(*line);
            *line -= count;
            if *line == 0 {
                self.lines.pop_front();
            }
            return Input::Bytes(self.ready.drain(..count).collect());
        }
        if self.ready.is_empty() && self.patience().first != Some(Nanos::ZERO) {
            return Input::NotYet;
        }
        let count = max.min(self.ready.len());
        Input::Bytes(self.ready.drain(..count).collect())
    }
}
