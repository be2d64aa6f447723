//! The master's side of a pseudo-terminal (`pty(7)`): what the slave has put out and the master has not read, who has the
//! two sides open, packet mode (`ioctl_tty(2)`, `TIOCPKT`).
//!
//! The slave is a terminal with a line discipline like any other (`tyn_fs::ldisc`); this is the device that it talks to.

use alloc::collections::VecDeque;

use tyn_abi::{Errno, Events, Sink};

/// Most bytes that wait for the master.
pub const OUTPUT_MAX: usize = 4096;

/// What packet mode tells of the terminal (`TIOCPKT_*`): bits of the byte that begins a read.
pub mod status {
    /// The slave's input was thrown away.
    pub const FLUSHREAD: u8 = 1;
    /// Its output was thrown away.
    pub const FLUSHWRITE: u8 = 2;
    /// Its output was stopped.
    pub const STOP: u8 = 4;
    /// It goes on.
    pub const START: u8 = 8;
    /// `^S` and `^Q` do not stop and start it any more.
    pub const NOSTOP: u8 = 16;
    /// They do now.
    pub const DOSTOP: u8 = 32;
}

/// The master's side.
#[derive(Debug)]
pub struct Master {
    output: VecDeque<u8>,
    /// `TIOCPKT`.
    is_packet: bool,
    /// News for packet mode.
    status: u8,
    /// `TIOCSPTLCK`: the slave cannot be opened.
    is_locked: bool,
    is_open: bool,
    /// Open descriptions of the slave.
    slaves: usize,
    /// The slave was open and is not any more.
    is_left: bool,
}

impl Default for Master {
    fn default() -> Self {
        Self::new()
    }
}

impl Master {
    /// Makes a pair whose master is open and whose slave is locked.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            output: VecDeque::new(),
            is_packet: false,
            status: 0,
            is_locked: true,
            is_open: true,
            slaves: 0,
            is_left: false,
        }
    }

    /// Takes what the slave puts out, as far as there is room, and returns how much that was. Nobody reads what comes after the
    /// master was closed: it is gone.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        if !self.is_open {
            return bytes.len();
        }
        let count = bytes.len().min(OUTPUT_MAX - self.output.len());
        self.output.extend(bytes.iter().take(count));
        count
    }

    /// Reads for the master; in packet mode news of the terminal, or bytes after a byte 0.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing yet, `EIO` when the slave was closed, `EFAULT`.
    pub fn read(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        if self.is_packet && self.status != 0 {
            dst.write_all(&[self.status])?;
            self.status = 0;
            return Ok(1);
        }
        if self.output.is_empty() {
            return Err(if self.is_left {
                Errno::EIO
            } else {
                Errno::EAGAIN
            });
        }
        let mut done = 0;
        if self.is_packet {
            dst.write_all(&[0])?;
            done = 1;
        }
        while dst.remaining() > 0 {
            let (front, _) = self.output.as_slices();
            let count = front.len().min(dst.remaining());
            let Some(part) = front.get(..count).filter(|p| !p.is_empty()) else {
                break;
            };
            dst.write_all(part)?;
            self.output.drain(..count);
            done += count;
        }
        Ok(done)
    }

    /// Returns what a master is ready for whose terminal takes input (`takes_input`).
    #[must_use]
    pub fn poll(&self, takes_input: bool) -> Events {
        let mut events = Events::empty();
        if !self.output.is_empty() {
            events |= Events::IN | Events::RDNORM;
        }
        if self.is_packet && self.status != 0 {
            events |= Events::PRI | Events::IN | Events::RDNORM;
        }
        if self.is_left {
            events |= Events::HUP;
        }
        if takes_input {
            events |= Events::OUT | Events::WRNORM;
        }
        events
    }

    /// Returns how many bytes wait (`FIONREAD`).
    #[must_use]
    pub fn unread(&self) -> usize {
        self.output.len()
    }

    /// Throws away what waits for the master (`TCIFLUSH` there).
    pub fn flush(&mut self) {
        self.output.clear();
    }

    /// Notes news for packet mode in place of some; returns whether the master wants to know.
    pub fn tell(&mut self, news: u8, instead_of: u8) -> bool {
        if self.is_packet {
            self.status = self.status & !instead_of | news;
        }
        self.is_packet
    }

    /// Opens the slave.
    ///
    /// # Errors
    /// `EIO` while it is locked, and after the master was closed.
    pub fn open_slave(&mut self) -> Result<(), Errno> {
        if self.is_locked || !self.is_open {
            return Err(Errno::EIO);
        }
        self.slaves += 1;
        self.is_left = false;
        Ok(())
    }

    /// Closes one description of the slave; returns whether it was the last.
    pub fn close_slave(&mut self) -> bool {
        self.slaves = self.slaves.saturating_sub(1);
        self.is_left = self.slaves == 0;
        self.is_left
    }

    /// Closes the master.
    pub fn close(&mut self) {
        self.is_open = false;
        self.output = VecDeque::new();
    }

    /// Returns whether the master is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Locks the slave or not (`TIOCSPTLCK`).
    pub fn set_locked(&mut self, is_locked: bool) {
        self.is_locked = is_locked;
    }

    /// Returns whether the slave is locked (`TIOCGPTLCK`).
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Turns packet mode on or off (`TIOCPKT`); old news is not told.
    pub fn set_packet(&mut self, is_packet: bool) {
        if is_packet && !self.is_packet {
            self.status = 0;
        }
        self.is_packet = is_packet;
    }

    /// Returns whether packet mode is on (`TIOCGPKT`).
    #[must_use]
    pub fn is_packet(&self) -> bool {
        self.is_packet
    }

    /// Returns how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.output.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    struct Room(Vec<u8>, usize);

    impl Sink for Room {
        fn remaining(&self) -> usize {
            self.1 - self.0.len()
        }

        fn write_all(&mut self, src: &[u8]) -> Result<(), Errno> {
            assert!(src.len() <= self.remaining());
            self.0.extend_from_slice(src);
            Ok(())
        }
    }

    fn read(master: &mut Master, room: usize) -> Result<Vec<u8>, Errno> {
        let mut sink = Room(Vec::new(), room);
        let count = master.read(&mut sink)?;
        assert_eq!(count, sink.0.len());
        Ok(sink.0)
    }

    fn unlocked() -> Master {
        let mut master = Master::new();
        master.set_locked(false);
        master
    }

    #[test]
    fn the_slave_opens_when_it_is_unlocked_and_the_master_open() {
        let mut master = Master::new();
        assert!(master.is_locked());
        assert_eq!(master.open_slave(), Err(Errno::EIO));
        master.set_locked(false);
        assert_eq!(master.open_slave(), Ok(()));
        master.close();
        assert_eq!(master.open_slave(), Err(Errno::EIO));
    }

    #[test]
    fn what_the_slave_left_is_read_before_the_end() {
        let mut master = unlocked();
        assert_eq!(read(&mut master, 9), Err(Errno::EAGAIN));
        assert_eq!(master.poll(true), Events::OUT | Events::WRNORM);
        master.open_slave().unwrap();
        master.open_slave().unwrap();
        assert_eq!(master.take(b"hello"), 5);
        assert!(!master.close_slave());
        assert!(master.close_slave());
        let all = Events::IN | Events::RDNORM | Events::HUP;
        assert_eq!(master.poll(false), all);
        assert_eq!(read(&mut master, 2).unwrap(), b"he");
        assert_eq!(master.unread(), 3);
        assert_eq!(read(&mut master, 9).unwrap(), b"llo");
        assert_eq!(read(&mut master, 9), Err(Errno::EIO));
        assert_eq!(master.poll(false), Events::HUP);
        master.open_slave().unwrap();
        assert_eq!(read(&mut master, 9), Err(Errno::EAGAIN));
    }

    #[test]
    fn output_is_bounded_until_the_master_is_closed() {
        let mut master = unlocked();
        let block = [b'x'; 3000];
        assert_eq!(master.take(&block), 3000);
        assert_eq!(master.take(&block), OUTPUT_MAX - 3000);
        assert_eq!(master.take(&block), 0);
        assert_eq!(read(&mut master, 10_000).unwrap().len(), OUTPUT_MAX);
        master.close();
        assert_eq!(master.take(&block), 3000);
        assert_eq!((master.unread(), master.bytes()), (0, 0));
    }

    #[test]
    fn packet_mode_puts_a_byte_in_front_and_tells_news_alone() {
        let mut master = unlocked();
        assert!(!master.tell(status::STOP, status::START));
        master.set_packet(true);
        master.take(b"ab");
        assert_eq!(read(&mut master, 9).unwrap(), b"\0ab");
        assert!(master.tell(status::STOP, status::START));
        assert!(master.tell(status::START, status::STOP));
        assert!(master.poll(false).contains(Events::PRI | Events::IN));
        master.take(b"c");
        assert_eq!(read(&mut master, 9).unwrap(), [status::START]);
        assert_eq!(read(&mut master, 1).unwrap(), b"\0");
        assert_eq!(read(&mut master, 9).unwrap(), b"\0c");
        master.tell(status::FLUSHREAD, 0);
        master.set_packet(false);
        master.set_packet(true);
        assert_eq!(read(&mut master, 9), Err(Errno::EAGAIN), "old news");
    }
}
