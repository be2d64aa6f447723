//! Open regular files.

use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_abi::fs::open::{O_ACCMODE, O_RDONLY};
use tyn_abi::{Errno, Sink, Source};
use tyn_fs::tree::Ino;
use tyn_hal::mem::Frame;

use super::node::stat_tree;
use super::{Body, Pin};
use crate::file::{At, File};

/// A regular file, open: one for each description.
#[derive(Debug)]
pub struct RegularFile {
    pin: Pin,
    body: Arc<Body>,
    writes: bool,
    runs: AtomicBool,
}

impl RegularFile {
    /// Opens a file with these flags.
    ///
    /// # Errors
    /// `ETXTBSY` for writing, while it is run.
    pub(super) fn new(pin: Pin, body: Arc<Body>, flags: u32) -> Result<Self, Errno> {
        let writes = flags & O_ACCMODE != O_RDONLY;
        if writes {
            body.begin_writing()?;
        }
        Ok(Self {
            pin,
            body,
            writes,
            runs: AtomicBool::new(false),
        })
    }

    /// Keeps writers out as long as this description lives, for a file that is run.
    ///
    /// # Errors
    /// `ETXTBSY` while somebody has it open for writing.
    pub fn keep_writers_out(&self) -> Result<(), Errno> {
        if !self.runs.swap(true, Ordering::Relaxed)
            && let Err(errno) = self.body.begin_running()
        {
            self.runs.store(false, Ordering::Relaxed);
            return Err(errno);
        }
        Ok(())
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

    /// Returns the bytes.
    #[must_use]
    pub fn body(&self) -> &Arc<Body> {
        &self.body
    }
}

impl Drop for RegularFile {
    fn drop(&mut self) {
        if self.writes {
            self.body.end_writing();
        }
        if *self.runs.get_mut() {
            self.body.end_running();
        }
    }
}

impl File for RegularFile {
    fn read(&self, at: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        match at {
            At::Offset(offset) => self.body.read(offset, dst, None),
            At::Stream | At::End => Ok(0),
        }
    }

    fn write(&self, at: At, src: &mut dyn Source) -> Result<usize, Errno> {
        self.body.write(at, src, None)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn size(&self) -> u64 {
        self.body.size()
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(stat_tree(self.ino())?.to_bytes())
    }

    fn frame(&self, index: u64, write: bool) -> Result<Frame, Errno> {
        self.body.frame(index, write)
    }

    fn resident_frames(&self, pages: Range<u64>, each: &mut dyn FnMut(u64, Frame)) {
        self.body.resident_frames(pages, each);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
