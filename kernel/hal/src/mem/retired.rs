//! Page tables that wait to be freed.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{PhysAddr, direct, frame};

/// A list of page tables that no entry leads to any more, linked through themselves: it needs no memory. Newest first, each with
/// the generation of its address space in which it was removed.
///
/// A CPU may still read them as page tables, so all words in them are entries that are not present (bit 0 is clear): the link in
/// the first is the address of a frame, the generation in the second is shifted.
#[derive(Debug)]
pub(super) struct Retired {
    /// 0 for none.
    newest: u64,
}

const LINK: usize = 0;
const GENERATION: usize = 1;

fn words(table: u64) -> &'static [AtomicU64; 2] {
    // SAFETY: a retired table is a frame that the list owns, reached through the direct map.
    unsafe { &*direct(PhysAddr(table)).cast() }
}

impl Retired {
    pub(super) const fn new() -> Self {
        Self { newest: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.newest == 0
    }

    /// Adds a table whose entries are all clear.
    pub(super) fn push(&mut self, table: PhysAddr, generation: u64) {
        let words = words(table.0);
        words[LINK].store(self.newest, Ordering::Relaxed);
        words[GENERATION].store(generation << 1, Ordering::Relaxed);
        self.newest = table.0;
    }

    /// Frees the tables that were removed in `generation` or earlier.
    pub(super) fn free_up_to(&mut self, generation: u64) {
        let mut kept_last = 0;
        let mut at = self.newest;
        // Generations fall along the list: the tables to be freed are its end.
        while at != 0 && words(at)[GENERATION].load(Ordering::Relaxed) >> 1 > generation {
            kept_last = at;
            at = words(at)[LINK].load(Ordering::Relaxed);
        }
        if kept_last == 0 {
            self.newest = 0;
        } else {
            words(kept_last)[LINK].store(0, Ordering::Relaxed);
        }
        while at != 0 {
            let next = words(at)[LINK].load(Ordering::Relaxed);
            // SAFETY: the list owns the frame, and by the caller's word no CPU walks it any more.
            unsafe { frame::free_block(PhysAddr(at), 0) };
            at = next;
        }
    }
}
