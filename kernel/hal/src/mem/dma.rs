//! Memory shared with devices.

use core::sync::atomic::{AtomicU16, Ordering, fence};

use tyn_abi::PAGE_SIZE;

use super::frame::{self, Purpose};
use super::{OutOfMemory, PhysAddr, direct};

/// Physically contiguous, page-aligned, zeroed memory that a device may read and write at any time. Bytes are only
/// copied in and out, never borrowed.
#[derive(Debug)]
pub struct DmaRegion {
    phys: PhysAddr,
    len: usize,
    order: usize,
}

impl DmaRegion {
    /// Allocates at least `len` bytes (rounded up to a power-of-two number of pages).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(len: usize) -> Result<Self, OutOfMemory> {
        let order = len
            .div_ceil(PAGE_SIZE)
            .max(1)
            .next_power_of_two()
            .trailing_zeros() as usize;
        let phys = frame::allocate_block(order, Purpose::Kernel)?;
        // SAFETY: the block is ours alone, in the direct map.
        unsafe { core::ptr::write_bytes(direct(phys), 0, PAGE_SIZE << order) };
        Ok(Self { phys, len, order })
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

    /// Returns whether the region is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the address of `offset`, after checking that `len` bytes there belong to the region.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(
            inside,
            "access of {len} bytes at {offset} in a DMA region of {}",
            self.len
        );
        direct(self.phys).wrapping_add(offset)
    }

    /// Copies out.
    ///
    /// # Panics
    /// When the range is outside the region, as all accessors here.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        let from = self.at(offset, dst.len());
        // SAFETY: the range was checked; the device may race, which any bytes may result from.
        unsafe { core::ptr::copy_nonoverlapping(from, dst.as_mut_ptr(), dst.len()) };
    }

    /// Copies in.
    pub fn write(&self, offset: usize, src: &[u8]) {
        let to = self.at(offset, src.len());
        // SAFETY: the range was checked; no Rust reference points into the region.
        unsafe { core::ptr::copy_nonoverlapping(src.as_ptr(), to, src.len()) };
    }

    fn word(&self, offset: usize) -> &AtomicU16 {
        let at = self.at(offset, 2).cast::<u16>();
        assert!(at.is_aligned(), "misaligned ring index at {offset}");
        // SAFETY: the range was checked, it is aligned, and only atomics refer to it.
        unsafe { AtomicU16::from_ptr(at) }
    }

    /// Reads a little-endian u16 with acquire ordering (ring indices).
    #[must_use]
    #[inline]
    pub fn load_u16(&self, offset: usize) -> u16 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes a little-endian u16 with release ordering (ring indices).
    #[inline]
    pub fn store_u16(&self, offset: usize, value: u16) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Orders all earlier accesses before all later ones (`mfence`), as virtio's event-index handshake needs.
    pub fn full_fence() {
        fence(Ordering::SeqCst);
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        // SAFETY: the owner has stopped the device before it drops the region (drivers keep theirs for ever).
        unsafe { frame::free_block(self.phys, self.order) };
    }
}
