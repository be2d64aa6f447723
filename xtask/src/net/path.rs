//! A bad path between a TAP device and a guest: one thread that hands frames on as [`Line`] decides.
//!
//! Neither end has segmentation or checksums left to it: this program asks for none at the TAP device, and QEMU's stream
//! offers none to the guest's card. So all frames are packets as a wire would carry them, and a loss is one packet's.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::line::{Counts, Impairment, Line};

/// The longest frame: an Ethernet packet of 1,500 bytes.
pub(crate) const LONGEST: usize = 1514;
/// Frames that are read from one end before others have their turn.
const TURN: usize = 64;
/// Bytes that QEMU is given at most before it has read the ones before.
const AHEAD: usize = 64 << 10;

/// The path; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct BadPath {
    stop: UnixStream,
    thread: Option<JoinHandle<Result<[Counts; 2]>>>,
}

impl BadPath {
    /// Makes a path from a TAP device to a socket at `socket`, to which QEMU connects later.
    ///
    /// # Errors
    /// When the device or the socket can't be had.
    pub(crate) fn new(tap: &str, socket: &Path, how: Impairment) -> Result<Self> {
        let tap = DeviceBuilder::new().name(tap).layer(Layer::L2);
        let tap = tap.build_sync().context("the TAP device can't be opened")?;
        tap.set_nonblocking(true)?;
        let listener = UnixListener::bind(socket).context("no socket for frames")?;
        let (stop, stopped) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().name("path".into());
        let run = move || -> Result<[Counts; 2]> {
            let Some(guest) = accept(&listener, &stopped)? else {
                return Ok(Default::default());
            };
            let mut carrier = Carrier::new(tap, guest, how);
            carrier.run(&stopped).context("the path between")?;
            Ok(carrier.lines.map(|line| line.counts))
        };
        let thread = Some(thread.spawn(run)?);
        Ok(Self { stop, thread })
    }

    /// Ends it and returns what became of the frames: of those to the guest, and of those from it.
    ///
    /// # Errors
    /// When something went wrong on the way.
    pub(crate) fn finish(mut self) -> Result<[Counts; 2]> {
        self.end().context("it has ended already")?
    }

    fn end(&mut self) -> Option<Result<[Counts; 2]>> {
        // It may have ended by itself.
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        let result = self.thread.take()?.join();
        Some(result.unwrap_or_else(|_| Err(anyhow::anyhow!("the path panicked"))))
    }
}

impl Drop for BadPath {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for QEMU; `None` when it isn't wanted any more.
fn accept(listener: &UnixListener, stopped: &UnixStream) -> Result<Option<UnixStream>> {
    let mut fds = [
        PollFd::new(listener, PollFlags::IN),
        PollFd::new(stopped, PollFlags::IN),
    ];
    while poll(&mut fds, None).is_err_and(|error| error == Errno::INTR) {}
    if !fds[1].revents().is_empty() {
        return Ok(None);
    }
    let (guest, _) = listener.accept()?;
    guest.set_nonblocking(true)?;
    Ok(Some(guest))
}

/// What the thread has.
struct Carrier {
    start: Instant,
    tap: SyncDevice,
    guest: UnixStream,
    from_guest: Unframer,
    /// What QEMU has not read yet.
    to_guest: VecDeque<u8>,
    /// To the guest, and from it.
    lines: [Line; 2],
}

impl Carrier {
    fn new(tap: SyncDevice, guest: UnixStream, how: Impairment) -> Self {
        Self {
            start: Instant::now(),
            tap,
            guest,
            from_guest: Unframer::default(),
            to_guest: VecDeque::new(),
            lines: [Line::new(how, 0), Line::new(how, 1)],
        }
    }

    /// Runs until it is stopped, or QEMU is gone.
    fn run(&mut self, stopped: &UnixStream) -> Result<()> {
        loop {
            let is_over = self.read_tap()? || self.read_guest()?;
            let now = self.start.elapsed();
            while let Some(frame) = self.lines[1].leave(now) {
                match self.tap.send(&frame) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                    _ => {}
                }
            }
            if is_over || !self.write_guest(now)? || self.wait(stopped)? {
                return Ok(());
            }
        }
    }

    fn read_tap(&mut self) -> Result<bool> {
        let mut frame = [0; 2048];
        let now = self.start.elapsed();
        for _ in 0..TURN {
            match self.tap.recv(&mut frame) {
                Ok(len) => self.lines[0].enter(now, frame.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Returns whether QEMU is gone.
    fn read_guest(&mut self) -> Result<bool> {
        let now = self.start.elapsed();
        let line = &mut self.lines[1];
        match self
            .from_guest
            .read(&mut self.guest, |frame| line.enter(now, frame))
        {
            Ok(is_over) => Ok(is_over),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives QEMU what has arrived; returns whether it is there.
    fn write_guest(&mut self, now: Duration) -> Result<bool> {
        loop {
            while self.to_guest.len() < AHEAD
                && let Some(frame) = self.lines[0].leave(now)
            {
                self.to_guest.extend((frame.len() as u32).to_be_bytes());
                self.to_guest.extend(&frame);
            }
            if self.to_guest.is_empty() {
                return Ok(true);
            }
            match self.guest.write(self.to_guest.make_contiguous()) {
                Ok(n) => drop(self.to_guest.drain(..n)),
                Err(error) => {
                    return match error.kind() {
                        ErrorKind::WouldBlock => Ok(true),
                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(false),
                        _ => Err(error.into()),
                    };
                }
            }
        }
    }

    /// Waits until there is something to do; returns whether it is time to end.
    fn wait(&self, stopped: &UnixStream) -> Result<bool> {
        let now = self.start.elapsed();
        let is_full = !self.to_guest.is_empty();
        // What QEMU has no room for waits for QEMU.
        let to_guest = self.lines[0].next().filter(|_| !is_full);
        let next = to_guest.into_iter().chain(self.lines[1].next()).min();
        let timeout = next.map(|at| Timespec::try_from(at.saturating_sub(now)));
        let timeout = timeout.transpose()?;
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, is_full);
        let mut fds = [
            PollFd::new(&self.tap, PollFlags::IN),
            PollFd::from_borrowed_fd(self.guest.as_fd(), wanted),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(!fds[2].revents().is_empty()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes frames out of a stream in which each comes behind its length.
#[derive(Default)]
struct Unframer {
    bytes: Vec<u8>,
}

impl Unframer {
    /// Reads once, and gives away the frames that are whole; returns whether the stream has ended.
    fn read(&mut self, from: &mut impl Read, mut give: impl FnMut(&[u8])) -> std::io::Result<bool> {
        let mut chunk = [0; 64 << 10];
        let len = from.read(&mut chunk)?;
        self.bytes
            .extend_from_slice(chunk.get(..len).unwrap_or_default());
        let mut rest = self.bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > chunk.len() {
                return Err(ErrorKind::InvalidData.into());
            }
            let Some((frame, after)) = after.split_at_checked(length) else {
                break;
            };
            give(frame);
            rest = after;
        }
        let done = self.bytes.len() - rest.len();
        self.bytes.drain(..done);
        Ok(len == 0)
    }
}

/// Checks that no frame was longer than a packet: what is lost is one.
///
/// # Errors
/// When one was.
pub(crate) fn check(counts: &[Counts; 2]) -> Result<()> {
    for (way, counts) in ["to", "from"].iter().zip(counts) {
        let longest = counts.longest;
        ensure!(
            longest <= LONGEST,
            "a frame of {longest} bytes {way} the guest"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_of_a_stream_whole_however_it_is_cut() {
        let frames = [vec![1; 60], vec![], vec![2; 1514]];
        let mut stream = Vec::new();
        for frame in &frames {
            stream.extend((frame.len() as u32).to_be_bytes());
            stream.extend(frame);
        }
        for size in [1, 3, 64, 1600, stream.len()] {
            let (mut unframer, mut got) = (Unframer::default(), Vec::new());
            for mut piece in stream.chunks(size) {
                let is_over = unframer.read(&mut piece, |f| got.push(f.to_vec())).unwrap();
                assert!(!is_over);
            }
            assert_eq!(got, frames, "in pieces of {size}");
            assert!(unframer.read(&mut std::io::empty(), |_| {}).unwrap());
        }
        let nonsense = [0xff; 8];
        assert!(
            Unframer::default()
                .read(&mut &nonsense[..], |_| {})
                .is_err()
        );
    }
}
