//! What archives may take, all of one tree together: a small one can unpack to a disk, or a memory, full of nothing.

use std::io;
use std::path::Path;

use super::Defect;
use crate::limit;

/// Most entries and folders on the way to them.
pub(super) const MAX_ENTRIES: usize = 1_000_000;
/// Most bytes, unpacked.
pub(super) const MAX_BYTES: u64 = 32 << 30;
/// Longest path, as in Linux.
const MAX_PATH: usize = 4096;
/// Most bytes of paths, which are kept in memory.
pub(super) const MAX_NAMES: usize = 128 << 20;
/// Unit of a disk.
const BLOCK: u64 = 4096;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Budget {
    entries: usize,
    names: usize,
    bytes: u64,
    room: u64,
}

impl Budget {
    /// Of the room that there is on the disk of the folder `spool` a sixteenth is left to others.
    pub(super) fn new(spool: &Path) -> io::Result<Self> {
        let room = limit::room(spool)?;
        Ok(Self::with_room(room - room / 16))
    }

    pub(super) fn with_room(room: u64) -> Self {
        Self {
            entries: 0,
            names: 0,
            bytes: 0,
            room,
        }
    }

    /// Returns the number of entries until now.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Takes an entry with this path.
    pub(super) fn entry(&mut self, path: &Path) -> Result<(), Defect> {
        let length = path.as_os_str().len();
        if length > MAX_PATH {
            return Err(Defect::LongPath(length));
        }
        self.entries += 1;
        self.names += length;
        match self.entries > MAX_ENTRIES || self.names > MAX_NAMES {
            true => Err(Defect::TooBig),
            false => Ok(()),
        }
    }

    /// Takes the contents of a file.
    pub(super) fn contents(&mut self, length: u64, spool: &Path) -> Result<(), Defect> {
        self.bytes = self
            .bytes
            .saturating_add(length.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX));
        if self.bytes > MAX_BYTES {
            return Err(Defect::TooBig);
        }
        if self.bytes > self.room {
            return Err(Defect::NoRoom {
                at: spool.to_path_buf(),
                room: self.room,
            });
        }
        Ok(())
    }
}
