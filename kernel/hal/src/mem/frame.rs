//! Physical page frames with shared ownership.
//!
//! The frame table has one reference count for each frame below the end of RAM. Free frames are found by [`super::buddy`].
//! Frames of the boot module start with a count of 1 that is never given back.

use core::fmt;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Errno, PAGE_SIZE};

use super::buddy::Buddy;
use super::{PhysAddr, direct};
use crate::sync::{Once, SpinLock};

/// No free frame above the kernel's reserve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl From<OutOfMemory> for Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}

/// The free frames.
static FREE: Once<SpinLock<Buddy<'static>>> = Once::new();
/// The frame table.
static COUNTS: Once<&'static [AtomicU32]> = Once::new();
static TOTAL: AtomicU64 = AtomicU64::new(0);
static LEAST_FREE: AtomicU64 = AtomicU64::new(u64::MAX);
/// Frames that user data may not take.
static RESERVE: AtomicU64 = AtomicU64::new(0);
/// Less than half of the reserve is free.
static IS_SHORT: AtomicBool = AtomicBool::new(false);
/// Frames that are free, for those who can do with what was true a moment ago.
static FREE_FRAMES: AtomicU64 = AtomicU64::new(0);

/// What an allocation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// User data and page tables: refused while free memory is below the reserve.
    User,
    /// The kernel's own objects: may use the reserve.
    Kernel,
}

/// Hands the frames over: `counts` for all frames, with 1 for those of the boot module and anything for the others; `buddy`
/// knows the free ones.
pub(crate) fn init(counts: &'static [AtomicU32], buddy: Buddy<'static>) {
    let total = buddy.free_frames() as u64;
    TOTAL.store(total, Ordering::Relaxed);
    LEAST_FREE.store(total, Ordering::Relaxed);
    FREE_FRAMES.store(total, Ordering::Relaxed);
    RESERVE.store((total / 64).clamp(128, 4096), Ordering::Relaxed);
    COUNTS.set(counts);
    FREE.set(SpinLock::new(buddy));
}

fn free_list() -> &'static SpinLock<Buddy<'static>> {
    FREE.get()
        .expect("invariant: memory is up before anything allocates")
}

fn count(number: u64) -> &'static AtomicU32 {
    let counts = COUNTS
        .get()
        .expect("invariant: memory is up before anything allocates");
    counts
        .get(number as usize)
        .expect("invariant: a frame handle names a frame of the table")
}

/// Takes a block of 2^order frames, contents arbitrary.
pub(crate) fn allocate_block(order: usize, purpose: Purpose) -> Result<PhysAddr, OutOfMemory> {
    let mut free = free_list().lock();
    let reserve = if purpose == Purpose::User {
        RESERVE.load(Ordering::Relaxed)
    } else {
        0
    };
    if (free.free_frames() as u64) < reserve + (1 << order) {
        return Err(OutOfMemory);
    }
    let first = free.allocate(order).ok_or(OutOfMemory)?;
    LEAST_FREE.fetch_min(free.free_frames() as u64, Ordering::Relaxed);
    note_shortage(&free);
    Ok(PhysAddr((first as u64) << 12))
}

/// Gives back a block of [`allocate_block`].
///
/// # Safety
/// Nothing refers to the block any more, in this CPU or in any TLB.
pub(crate) unsafe fn free_block(block: PhysAddr, order: usize) {
    let mut free = free_list().lock();
    free.free((block.0 >> 12) as usize, order);
    note_shortage(&free);
}

/// Keeps [`is_short`] and [`available`] true to what is free, under the lock.
fn note_shortage(free: &Buddy<'static>) {
    let frames = free.free_frames() as u64;
    FREE_FRAMES.store(frames, Ordering::Relaxed);
    let is_short = frames < RESERVE.load(Ordering::Relaxed) / 2;
    if IS_SHORT.load(Ordering::Relaxed) != is_short {
        IS_SHORT.store(is_short, Ordering::Relaxed);
    }
}

/// Returns how many pieces of a frame of the heap are in use: frames that no handle names have their count free for this.
pub(crate) fn pieces(block: PhysAddr) -> u32 {
    count(block.0 >> 12).load(Ordering::Relaxed)
}

/// Sets it; under the lock of the frame's list.
pub(crate) fn set_pieces(block: PhysAddr, pieces: u32) {
    count(block.0 >> 12).store(pieces, Ordering::Relaxed);
}

/// A handle on one 4096-byte frame. Clones share it (reference count in the frame table); the last drop frees it.
///
/// User space may have the frame mapped and change it at any time, so its bytes are only ever copied, never
/// borrowed.
pub struct Frame {
    number: u64,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#x})", self.number << 12)
    }
}

impl Frame {
    /// Allocates a zeroed frame for user data; fails while free memory is below the kernel's reserve.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn zeroed() -> Result<Self, OutOfMemory> {
        let frame = Self::uninit()?;
        frame.zero(0, PAGE_SIZE);
        Ok(frame)
    }

    /// Allocates a frame with arbitrary contents.
    fn uninit() -> Result<Self, OutOfMemory> {
        let block = allocate_block(0, Purpose::User)?;
        let number = block.0 >> 12;
        count(number).store(1, Ordering::Relaxed);
        Ok(Self { number })
    }

    /// Allocates a frame with the same contents as `self`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn duplicate(&self) -> Result<Self, OutOfMemory> {
        let copy = Self::uninit()?;
        // SAFETY: two different frames in the direct map; user space may race on the source, which makes the copy's bytes
        // those of some moment each, as for any concurrent read.
        unsafe {
            core::ptr::copy_nonoverlapping(direct(self.phys()), direct(copy.phys()), PAGE_SIZE);
        };
        Ok(copy)
    }

    /// Returns the physical address.
    #[must_use]
    pub fn phys(&self) -> PhysAddr {
        PhysAddr(self.number << 12)
    }

    /// Returns whether this handle is the only one (page-table entries hold a handle each).
    #[must_use]
    pub fn is_unique(&self) -> bool {
        count(self.number).load(Ordering::Acquire) == 1
    }

    /// Makes a handle for a frame of the boot module, or `None` past the end of RAM.
    ///
    /// # Safety
    /// The frame belongs to the boot module: its count started at 1, for its own owner.
    pub(crate) unsafe fn of_permanent(phys: PhysAddr) -> Option<Self> {
        let number = phys.0 >> 12;
        let counts = COUNTS.get()?;
        let count = counts.get(number as usize)?;
        count.fetch_add(1, Ordering::Relaxed);
        Some(Self { number })
    }

    /// Gives the handle to a page-table entry.
    pub(crate) fn into_phys(self) -> PhysAddr {
        ManuallyDrop::new(self).phys()
    }

    /// Takes a handle back from a page-table entry.
    ///
    /// # Safety
    /// `phys` came from [`Frame::into_phys`], once for each call.
    pub(crate) unsafe fn from_phys(phys: PhysAddr) -> Self {
        Self {
            number: phys.0 >> 12,
        }
    }

    /// Copies out of the frame.
    ///
    /// # Panics
    /// When `offset + dst.len()` exceeds 4096.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        assert!(
            offset <= PAGE_SIZE && dst.len() <= PAGE_SIZE - offset,
            "read past the end of a frame"
        );
        let from = direct(self.phys()).wrapping_add(offset);
        // SAFETY: the range lies in the frame (direct map), `dst` is ours; user space may race, as for any concurrent read.
        unsafe { core::ptr::copy_nonoverlapping(from, dst.as_mut_ptr(), dst.len()) };
    }

    /// Copies into the frame.
    ///
    /// # Panics
    /// When `offset + src.len()` exceeds 4096.
    pub fn write(&self, offset: usize, src: &[u8]) {
        assert!(
            offset <= PAGE_SIZE && src.len() <= PAGE_SIZE - offset,
            "write past the end of a frame"
        );
        let to = direct(self.phys()).wrapping_add(offset);
        // SAFETY: the range lies in the frame (direct map), which holds only bytes that no Rust reference points at.
        unsafe { core::ptr::copy_nonoverlapping(src.as_ptr(), to, src.len()) };
    }

    /// Zeroes a part of the frame.
    ///
    /// # Panics
    /// When `offset + len` exceeds 4096.
    pub fn zero(&self, offset: usize, len: usize) {
        assert!(
            offset <= PAGE_SIZE && len <= PAGE_SIZE - offset,
            "zeroing past the end of a frame"
        );
        let to = direct(self.phys()).wrapping_add(offset);
        // SAFETY: as for `write`.
        unsafe { core::ptr::write_bytes(to, 0, len) };
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        let before = count(self.number).fetch_add(1, Ordering::Relaxed);
        assert!(
            before < u32::MAX / 2,
            "reference count of a frame overflows"
        );
        Self {
            number: self.number,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if count(self.number).fetch_sub(1, Ordering::Release) == 1 {
            core::sync::atomic::fence(Ordering::Acquire);
            // SAFETY: this was the last handle; page-table entries hold handles, and whoever removes one has shot down the TLBs
            // before it drops the handle.
            unsafe { free_block(self.phys(), 0) };
        }
    }
}

/// Returns whether no frame could be had for user data now.
#[must_use]
pub fn is_used_up() -> bool {
    stats().free <= RESERVE.load(Ordering::Relaxed)
}

/// Returns whether the kernel's own objects have used up more than half of what is kept for them: time to make room before
/// one more is made. Costs one load.
#[must_use]
#[inline]
pub fn is_short() -> bool {
    IS_SHORT.load(Ordering::Relaxed)
}

/// Returns how many bytes the kernel could allocate on behalf of others now without touching what is kept for itself: for
/// memory that grows with what programs and the network do, and that can do with less. Costs two loads.
#[must_use]
#[inline]
pub fn available() -> usize {
    let free = FREE_FRAMES.load(Ordering::Relaxed);
    let frames = free.saturating_sub(RESERVE.load(Ordering::Relaxed));
    usize::try_from(frames).map_or(usize::MAX, |n| n.saturating_mul(PAGE_SIZE))
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
    let free = FREE.get().map_or(0, |f| f.lock().free_frames() as u64);
    Stats {
        total: TOTAL.load(Ordering::Relaxed),
        free,
        least_free: LEAST_FREE.load(Ordering::Relaxed),
    }
}
