//! Physical page frames with shared ownership.

use super::PhysAddr;
use tyn_abi::Errno;

/// No free frame above the kernel's reserve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl From<OutOfMemory> for Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}

/// A handle on one 4096-byte frame. Clones share it (reference count in the frame table); the last drop frees it.
///
/// User space may have the frame mapped and change it at any time, so its bytes are only ever copied, never
/// borrowed.
#[derive(Debug)]
pub struct Frame {
    number: u64,
}

impl Frame {
    /// Allocates a zeroed frame for user data; fails while free memory is below the kernel's reserve.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        unimplemented!()
    }

    /// Allocates a frame with the same contents as `self`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn duplicate(&self) -> Result<Self, OutOfMemory> {
        unimplemented!()
    }

    /// Returns the physical address.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(self.number << 12)
    }

    /// Returns whether this handle is the only one (page-table entries hold a handle each).
    #[must_use]
    pub fn is_unique(&self) -> bool {
        unimplemented!()
    }

    /// Copies out of the frame.
    ///
    /// # Panics
    /// When `offset + dst.len()` exceeds 4096.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        let _ = (offset, dst);
        unimplemented!()
    }

    /// Copies into the frame.
    ///
    /// # Panics
    /// When `offset + src.len()` exceeds 4096.
    pub fn write(&self, offset: usize, src: &[u8]) {
        let _ = (offset, src);
        unimplemented!()
    }

    /// Zeroes a part of the frame.
    ///
    /// # Panics
    /// When `offset + len` exceeds 4096.
    pub fn zero(&self, offset: usize, len: usize) {
        let _ = (offset, len);
        unimplemented!()
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        unimplemented!()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        unimplemented!()
    }
}

/// Frame counts.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Frames managed in all.
    pub total: u64,
    /// Frames free now.
    pub free: u64,
    /// Fewest frames that were ever free.
    pub least_free: u64,
}

/// Returns the frame counts.
#[must_use]
pub fn stats() -> Stats {
    unimplemented!()
}
