//! Standard output, which its reader may close (`| head`), or which may take nothing for a while (a full disk).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

use crate::terminal;

/// Our standard output without a buffer: what could not be written is not kept either.
#[derive(Debug)]
pub(crate) struct Output(File);

impl Output {
    /// Returns it.
    ///
    /// # Errors
    /// When it is closed since we were started.
    pub(crate) fn new() -> io::Result<Self> {
        let fd = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self(fd.into()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                // Others can make our terminal or pipe one that doesn't wait; we wait all the same.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(self.0.as_fd(), PollFlags::OUT)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads standard input, which may be one that doesn't wait.
///
/// # Errors
/// When it can't be read.
pub(crate) fn read_input(chunk: &mut [u8]) -> io::Result<usize> {
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait(io::stdin().as_fd(), PollFlags::IN)?;
            }
            other => return other,
        }
    }
}

fn wait(fd: BorrowedFd<'_>, wanted: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, wanted)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes text, with its colours only to a terminal that wants them (`NO_COLOR`); whoever closes the pipe has seen enough.
///
/// # Errors
/// When it can't be written.
pub(crate) fn print(text: &str) -> Result<()> {
    let is_plain = anstream::AutoStream::choice(&io::stdout()) == anstream::ColorChoice::Never;
    let written = Output::new().and_then(|mut out| match is_plain {
        true => write!(out, "{}", anstream::adapter::strip_str(text)),
        false => out.write_all(text.as_bytes()),
    });
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output can't be written"),
    }
}

/// What becomes of a piece of a guest's output.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It is written; bytes before it were not.
    Written {
        /// How many.
        lost: u64,
    },
    /// It is lost, for this reason, as the first one after others were written.
    Lost(String),
    /// It is lost, too.
    LostToo,
    /// Nobody reads any more.
    Closed,
}

/// A place for a guest's output. A guest does not stop because there is no room: what can't be written is lost, and counted.
#[derive(Debug)]
pub(crate) struct Sink<W> {
    out: W,
    lost: u64,
}

impl<W: Write> Sink<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, lost: 0 }
    }

    /// Writes a piece.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Fate {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(length @ 1..) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Fate::Closed,
                other => {
                    let is_first = self.lost == 0;
                    self.lost += bytes.len() as u64;
                    let error = other.err().unwrap_or(ErrorKind::WriteZero.into());
                    return match is_first {
                        true => Fate::Lost(error.to_string()),
                        false => Fate::LostToo,
                    };
                }
            }
        }
        Fate::Written {
            lost: std::mem::take(&mut self.lost),
        }
    }
}

/// Copies all that a guest writes to standard output. When nobody reads that any more, `on_closed` is called, once, and the rest is
/// dropped. When it takes nothing for another reason, that is said, and what it does not take is lost.
pub(crate) fn copy(guest: impl Read, on_closed: impl FnOnce()) {
    match Output::new() {
        Ok(out) => copy_to(out, guest, on_closed),
        // Closed since we were started (`>&-`): it is as /dev/null.
        Err(_) => copy_to(io::sink(), guest, on_closed),
    }
}

fn copy_to(out: impl Write, mut guest: impl Read, on_closed: impl FnOnce()) {
    let mut sink = Sink::new(out);
    let mut chunk = [0; 4096];
    let mut on_closed = Some(on_closed);
    while let Ok(length @ 1..) = guest.read(&mut chunk) {
        if on_closed.is_none() {
            continue;
        }
        match sink.put(&chunk[..length]) {
            Fate::Written { lost: 0 } | Fate::LostToo => {}
            Fate::Written { lost } => terminal::say(&format!(
                "tyn: standard output can be written again; {lost} bytes are lost"
            )),
            Fate::Lost(why) => terminal::say(&format!(
                "tyn: standard output can't be written: {why}; the guest goes on, and what it writes is lost until there is room"
            )),
            Fate::Closed => {
                if let Some(tell) = on_closed.take() {
                    tell();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Takes what the next of its answers says: so many bytes, or an error.
    struct Disk(VecDeque<Result<usize, i32>>, Vec<u8>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let answer = self.0.pop_front().unwrap_or(Ok(bytes.len()));
            let length = answer.map_err(io::Error::from_raw_os_error)?;
            let taken = &bytes[..length.min(bytes.len())];
            self.1.extend(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const ENOSPC: i32 = 28;
    const EPIPE: i32 = 32;
    const EINTR: i32 = 4;

    #[test]
    fn full_disk_loses_bytes_and_says_so_once() {
        let answers = [Ok(2), Err(ENOSPC), Err(ENOSPC), Err(EINTR), Ok(3)];
        let out = Disk(answers.into(), Vec::new());
        let mut sink = Sink::new(out);
        assert!(matches!(sink.put(b"abc"), Fate::Lost(why) if why.contains("No space left")));
        assert_eq!(sink.put(b"def"), Fate::LostToo);
        assert_eq!(sink.put(b"ghi"), Fate::Written { lost: 4 });
        assert_eq!(sink.put(b"jkl"), Fate::Written { lost: 0 });
        assert_eq!(sink.out.1, b"abghijkl");
    }

    #[test]
    fn only_a_broken_pipe_is_closed() {
        for (error, closed) in [(EPIPE, 1), (ENOSPC, 0)] {
            let out = Disk([Err(error)].into(), Vec::new());
            let mut told = 0;
            let guest = [b'x'; 10_000];
            copy_to(out, &guest[..], || told += 1);
            assert_eq!(told, closed, "{error}");
        }
    }

    #[test]
    fn output_that_does_not_wait_is_waited_for() {
        use rustix::fs::{OFlags, fcntl_setfl};
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let out = Output(File::from(std::os::fd::OwnedFd::from(writer)));
        let copier = std::thread::spawn(move || {
            let guest = io::repeat(b'x').take(1 << 20);
            copy_to(out, guest, || panic!("it is not closed"));
        });
        // More than a pipe holds: it must have waited.
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        copier.join().unwrap();
        assert_eq!(bytes.len(), 1 << 20);
    }
}
