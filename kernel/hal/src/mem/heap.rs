//! The kernel heap: the global allocator.
//!
//! Small sizes come from free lists of powers of two (16 to 2048 bytes), cut from frames; larger ones are blocks of frames.
//! The frame table counts the pieces of a frame that are in use; a frame without any goes back when its list has as many
//! free pieces besides.

use alloc::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use super::frame::{self, Purpose};
use super::{PhysAddr, direct, phys_of_direct};
use crate::sync::SpinLock;

/// log2 of the smallest and the largest list's size.
const MIN_SHIFT: usize = 4;
const MAX_SHIFT: usize = 11;

/// The free pieces of one size: linked both ways, since all pieces of a frame leave together.
struct FreeList {
    first: Option<NonNull<FreePiece>>,
    count: usize,
    /// Frames that pieces of this size were cut from.
    frames: usize,
}

/// What the heap's pieces of one size are used for.
#[derive(Clone, Copy, Debug)]
pub struct SizeClass {
    /// Size of a piece in bytes.
    pub bytes: usize,
    /// Pieces in use.
    pub in_use: usize,
    /// Pieces in all.
    pub total: usize,
}

/// A free piece holds its neighbours' addresses.
struct FreePiece {
    next: Option<NonNull<FreePiece>>,
    previous: Option<NonNull<FreePiece>>,
}

// SAFETY: the pieces belong to the list.
unsafe impl Send for FreeList {}

impl FreeList {
    const fn new() -> Self {
        Self {
            first: None,
            count: 0,
            frames: 0,
        }
    }

    /// Adds a piece.
    ///
    /// # Safety
    /// The memory is the list's from now on; it is large and aligned enough for a [`FreePiece`].
    unsafe fn push(&mut self, piece: NonNull<FreePiece>) {
        let links = FreePiece {
            next: self.first,
            previous: None,
        };
        // SAFETY: the caller's promise.
        unsafe { piece.write(links) };
        if let Some(mut next) = self.first {
            // SAFETY: pieces on the list are initialised and the list's alone.
            unsafe { next.as_mut() }.previous = Some(piece);
        }
        self.first = Some(piece);
        self.count += 1;
    }

    /// Takes a piece off the list.
    ///
    /// # Safety
    /// It is on this list.
    unsafe fn remove(&mut self, piece: NonNull<FreePiece>) {
        // SAFETY: pieces on the list are initialised and the list's alone.
        let FreePiece { next, previous } = unsafe { piece.read() };
        match previous {
            // SAFETY: as above.
            Some(mut previous) => unsafe { previous.as_mut() }.next = next,
            None => self.first = next,
        }
        if let Some(mut next) = next {
            // SAFETY: as above.
            unsafe { next.as_mut() }.previous = previous;
        }
        self.count -= 1;
    }
}

/// The global allocator.
#[derive(Debug)]
pub(crate) struct Heap {
    lists: [SpinLock<FreeList>; MAX_SHIFT - MIN_SHIFT + 1],
}

/// Where a layout is served from.
enum Source {
    List(usize),
    Frames(usize),
}

fn source(layout: Layout) -> Source {
    let size = layout
        .size()
        .max(layout.align())
        .max(1 << MIN_SHIFT)
        .next_power_of_two();
    let shift = size.trailing_zeros() as usize;
    if shift <= MAX_SHIFT {
        Source::List(shift - MIN_SHIFT)
    } else {
        Source::Frames(shift.saturating_sub(12))
    }
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self {
            lists: [const { SpinLock::new(FreeList::new()) }; MAX_SHIFT - MIN_SHIFT + 1],
        }
    }

    fn take(&self, list: usize) -> *mut u8 {
        let mut free = self.lists[list].lock();
        if free.first.is_none() {
            let Ok(block) = frame::allocate_block(0, Purpose::Kernel) else {
                return ptr::null_mut();
            };
            frame::set_pieces(block, 0);
            free.frames += 1;
            for piece in pieces(block, list).rev() {
                // SAFETY: the piece lies in a fresh frame that is the list's alone; frames are aligned more strictly.
                unsafe { free.push(piece) };
            }
        }
        let Some(piece) = free.first else {
            return ptr::null_mut();
        };
        // SAFETY: it is the first of the list.
        unsafe { free.remove(piece) };
        let block = frame_of(piece);
        frame::set_pieces(block, frame::pieces(block) + 1);
        piece.as_ptr().cast()
    }

    /// Takes a piece back.
    ///
    /// # Safety
    /// It came from [`Heap::take`] of the same list, and nobody uses it any more.
    unsafe fn give_back(&self, list: usize, piece: NonNull<FreePiece>) {
        let mut free = self.lists[list].lock();
        // SAFETY: the caller's promise.
        unsafe { free.push(piece) };
        let block = frame_of(piece);
        let used = frame::pieces(block) - 1;
        frame::set_pieces(block, used);
        if used > 0 || free.count < 2 * pieces(block, list).len() {
            return;
        }
        for piece in pieces(block, list) {
            // SAFETY: none of the frame's pieces is in use, so all are on the list.
            unsafe { free.remove(piece) };
        }
        free.frames -= 1;
        drop(free);
        // SAFETY: nothing refers to the frame any more.
        unsafe { frame::free_block(block, 0) };
    }
}

/// Returns what the heap's pieces are used for, by size.
pub fn usage() -> impl Iterator<Item = SizeClass> {
    (0..HEAP.lists.len()).map(|list| {
        let bytes = 1 << (list + MIN_SHIFT);
        let (frames, free) = {
            let list = HEAP.lists[list].lock();
            (list.frames, list.count)
        };
        let total = frames * (4096 / bytes);
        SizeClass {
            bytes,
            in_use: total - free,
            total,
        }
    })
}

/// Returns the pieces that a frame is cut into.
fn pieces(
    block: PhysAddr,
    list: usize,
) -> impl DoubleEndedIterator<Item = NonNull<FreePiece>> + ExactSizeIterator {
    let shift = list + MIN_SHIFT;
    let first = direct(block);
    (0..4096 >> shift).map(move |i: usize| {
        NonNull::new(first.wrapping_add(i << shift).cast())
            .expect("invariant: the direct map does not begin at 0")
    })
}

/// Returns the frame that a piece lies in.
fn frame_of(piece: NonNull<FreePiece>) -> PhysAddr {
    PhysAddr(phys_of_direct(piece.as_ptr().cast()).0 & !0xfff)
}

// SAFETY: memory from a list or the frame allocator is unused, large and aligned enough, and stays valid until freed.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match source(layout) {
            Source::List(list) => self.take(list),
            Source::Frames(order) if order <= super::buddy::MAX_ORDER => {
                frame::allocate_block(order, Purpose::Kernel).map_or(ptr::null_mut(), direct)
            }
            Source::Frames(_) => ptr::null_mut(),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match source(layout) {
            Source::List(list) => {
                if let Some(piece) = NonNull::new(memory.cast()) {
                    // SAFETY: the caller gives the piece back.
                    unsafe { self.give_back(list, piece) };
                }
            }
            Source::Frames(order) => {
                // SAFETY: the caller gives the block back, which came from `allocate_block` with this order.
                unsafe { frame::free_block(phys_of_direct(memory), order) };
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        let same = match (source(layout), source(new_layout)) {
            (Source::List(a), Source::List(b)) | (Source::Frames(a), Source::Frames(b)) => a == b,
            _ => false,
        };
        if same {
            return memory;
        }
        // SAFETY: `new_layout` has a non-zero size, by the contract of `realloc`.
        let new = unsafe { self.alloc(new_layout) };
        if !new.is_null() {
            // SAFETY: both are at least that long and do not overlap.
            unsafe { ptr::copy_nonoverlapping(memory, new, layout.size().min(new_size)) };
            // SAFETY: the caller's contract.
            unsafe { self.dealloc(memory, layout) };
        }
        new
    }
}

#[cfg_attr(feature = "entry", global_allocator)]
static HEAP: Heap = Heap::new();
