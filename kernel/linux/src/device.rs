//! Character devices: `null`, `zero`, `full`, `random`, `urandom` (`null(4)`, `full(4)`, `random(4)`).

use core::any::Any;

use tyn_abi::fs::makedev;
use tyn_abi::{Errno, Sink, Source};
use tyn_fs::tree::Ino;
use tyn_hal::mem::Frame;

use crate::file::{At, File};
use crate::fs::{Pin, stat_tree};
use crate::random;

/// What a device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Null,
    Zero,
    Full,
    Random,
}

/// An open character device.
#[derive(Debug)]
pub struct DeviceFile {
    pin: Pin,
    kind: Kind,
}

impl DeviceFile {
    /// Opens the device with this number.
    ///
    /// # Errors
    /// `ENXIO` when there is none.
    pub fn open(pin: Pin, rdev: u64) -> Result<Self, Errno> {
        const NULL: u64 = makedev(1, 3);
        const ZERO: u64 = makedev(1, 5);
        const FULL: u64 = makedev(1, 7);
        const RANDOM: u64 = makedev(1, 8);
        const URANDOM: u64 = makedev(1, 9);
        let kind = match rdev {
            NULL => Kind::Null,
            ZERO => Kind::Zero,
            FULL => Kind::Full,
            RANDOM | URANDOM => Kind::Random,
            _ => return Err(Errno::ENXIO),
        };
        Ok(Self { pin, kind })
    }

    /// Returns what keeps the inode alive.
    #[must_use]
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Returns the inode.
    #[must_use]
    pub fn ino(&self) -> Ino {
        self.pin.ino()
    }
}

/// Uses up a source without looking at it; an unreadable one is an error, as a device that copies would find.
fn swallow(src: &mut dyn Source) -> usize {
    // `null(4)` on Linux does not touch the buffer either.
    src.remaining()
}

fn random_bytes(dst: &mut dyn Sink) -> Result<usize, Errno> {
    let mut done = 0;
    let mut buffer = [0; 256];
    while dst.remaining() > 0 {
        let len = dst.remaining().min(buffer.len());
        let part = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
        random::fill(part);
        match dst.write_all(part) {
            Ok(()) => done += len,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

impl File for DeviceFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        match self.kind {
            Kind::Null => Ok(0),
            Kind::Zero | Kind::Full => {
                let len = dst.remaining();
                dst.write_zeros(len)?;
                Ok(len)
            }
            Kind::Random => random_bytes(dst),
        }
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        match self.kind {
            // Bytes for the random device are not mixed in: anyone may write them.
            Kind::Null | Kind::Zero | Kind::Random => Ok(swallow(src)),
            Kind::Full if src.remaining() == 0 => Ok(0),
            Kind::Full => Err(Errno::ENOSPC),
        }
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(stat_tree(self.ino())?.to_bytes())
    }

    fn frame(&self, _: u64, _: bool) -> Result<Frame, Errno> {
        match self.kind {
            // A private mapping gets zeros; a shared one is not supported (each fault would be a page of its own).
            Kind::Zero => Ok(Frame::zeroed()?),
            Kind::Null | Kind::Full | Kind::Random => Err(Errno::ENODEV),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
