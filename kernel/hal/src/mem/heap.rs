//! The kernel heap: the global allocator.
//!
//! Small sizes come from free lists of powers of two (16 to 2048 bytes), cut from frames; larger ones are blocks of frames.
//! Frames that were cut stay with their list.

use alloc::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use super::frame::{self, Purpose};
use super::{PhysAddr, direct, phys_of_direct};
use crate::sync::SpinLock;

/// log2 of the smallest and the largest list's size.
const MIN_SHIFT: usize = 4;
const MAX_SHIFT: usize = 11;

/// A free piece holds the address of the next.
struct FreeList(Option<NonNull<FreePiece>>);

struct FreePiece {
    next: Option<NonNull<FreePiece>>,
}

// SAFETY: the pieces belong to the list.
unsafe impl Send for FreeList {}

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
            lists: [const { SpinLock::new(FreeList(None)) }; MAX_SHIFT - MIN_SHIFT + 1],
        }
    }

    fn take(&self, list: usize) -> *mut u8 {
        let mut free = self.lists[list].lock();
        if free.0.is_none() {
            let Ok(block) = frame::allocate_block(0, Purpose::Kernel) else {
                return ptr::null_mut();
            };
            let piece_bytes = 1 << (list + MIN_SHIFT);
            for offset in (0..4096).step_by(piece_bytes).rev() {
                let piece = direct(PhysAddr(block.0 + offset as u64)).cast::<FreePiece>();
                // SAFETY: the piece lies in a fresh frame that is the list's alone; frames are aligned more strictly.
                unsafe { piece.write(FreePiece { next: free.0 }) };
                free.0 = NonNull::new(piece);
            }
        }
        let Some(piece) = free.0 else {
            return ptr::null_mut();
        };
        // SAFETY: pieces on the list are initialised and the list's alone.
        free.0 = unsafe { piece.as_ref() }.next;
        piece.as_ptr().cast()
    }
}

// SAFETY: memory from a list or the frame allocator is unused, large and aligned enough, and stays valid until freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match source(layout) {
            Source::List(list) => self.take(list),
            Source::Frames(order) if order <= super::buddy::MAX_ORDER => {
                frame::allocate_block(order, Purpose::Kernel).map_or(ptr::null_mut(), direct)
            }
            Source::Frames(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match source(layout) {
            Source::List(list) => {
                let mut free = self.lists[list].lock();
                let piece = memory.cast::<FreePiece>();
                // SAFETY: the caller gives the piece back; it is large and aligned enough for the link.
                unsafe { piece.write(FreePiece { next: free.0 }) };
                free.0 = NonNull::new(piece);
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

#[cfg(feature = "entry")]
#[global_allocator]
static HEAP: Heap = Heap::new();
