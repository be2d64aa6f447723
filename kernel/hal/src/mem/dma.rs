//! Memory shared with devices.

use super::{OutOfMemory, PhysAddr};

/// Physically contiguous, page-aligned, zeroed memory that a device may read and write at any time. Bytes are only
/// copied in and out (volatile), never borrowed.
#[derive(Debug)]
pub struct DmaRegion {
    phys: PhysAddr,
    len: usize,
}

impl DmaRegion {
    /// Allocates at least `len` bytes (rounded up to a power-of-two number of pages).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(len: usize) -> Result<Self, OutOfMemory> {
        let _ = len;
        unimplemented!()
    }

    /// Returns the address that the device is given.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the region is empty (never).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies out. Panics (kernel bug) when the range is outside, as all accessors here.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        let _ = (offset, dst);
        unimplemented!()
    }

    /// Copies in.
    pub fn write(&self, offset: usize, src: &[u8]) {
        let _ = (offset, src);
        unimplemented!()
    }

    /// Reads a little-endian u16 with acquire ordering (ring indices).
    #[must_use]
    pub fn load_u16(&self, offset: usize) -> u16 {
        let _ = offset;
        unimplemented!()
    }

    /// Writes a little-endian u16 with release ordering (ring indices).
    pub fn store_u16(&self, offset: usize, value: u16) {
        let _ = (offset, value);
        unimplemented!()
    }

    /// Orders all earlier accesses before all later ones (`mfence`), as virtio's event-index handshake needs.
    pub fn full_fence() {
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }
}
