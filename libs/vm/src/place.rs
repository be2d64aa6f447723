//! Finding room for a mapping.

use crate::{MMAP_MIN_ADDR, STACK_GUARD_GAP, Space, VmFlags, Vma};
use tyn_abi::USER_END;

impl<F: Clone + PartialEq> Space<F> {
    /// Returns whether `[start, start + len)` is free and not in the guard gap of a mapping that grows down.
    pub(crate) fn has_room(&self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len).filter(|&end| end <= USER_END) else {
            return false;
        };
        let below_is_free = self
            .at_or_before(start)
            .is_none_or(|prev| prev.end <= start);
        let above_is_free = self
            .at_or_after(start)
            .is_none_or(|next| end <= guarded_start(next));
        start >= MMAP_MIN_ADDR && below_is_free && above_is_free
    }

    /// Finds room for `len` bytes: at the hint if that is free, else below the mmap region's top, else above the fallback.
    #[must_use]
    pub fn find_room(&self, hint: u64, len: u64) -> Option<u64> {
        if hint != 0 && self.has_room(hint, len) {
            return Some(hint);
        }
        self.find_top_down(len, MMAP_MIN_ADDR, self.layout.mmap_top)
            .or_else(|| self.find_bottom_up(len, self.layout.mmap_fallback, USER_END))
    }

    /// Finds the highest room for `len` bytes within `[low, high)`.
    pub(crate) fn find_top_down(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        self.gaps.highest(len, low, high)
    }

    /// Finds the lowest room for `len` bytes within `[low, high)`.
    pub(crate) fn find_bottom_up(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        self.gaps.lowest(len, low, high)
    }

    /// Records which ranges around `vma`, which is about to be put in, are free.
    pub(crate) fn narrow_gaps(&mut self, vma: &Vma<F>) {
        let (below, above) = self.free_around(vma);
        self.gaps.set(below, guarded_start(vma));
        self.gaps.set(vma.end, above);
    }

    /// Records that the range of `vma`, which has just been taken out, is free.
    pub(crate) fn widen_gaps(&mut self, vma: &Vma<F>) {
        let (below, above) = self.free_around(vma);
        self.gaps.set(vma.end, 0);
        self.gaps.set(below, above);
    }

    /// Returns where the mapping below `vma` ends, and where what belongs to the one above it starts.
    fn free_around(&self, vma: &Vma<F>) -> (u64, u64) {
        let below = self.vmas.range(..vma.start).next_back();
        let above = self.at_or_after(vma.end);
        (
            below.map_or(0, |(_, below)| below.end),
            above.map_or(USER_END, guarded_start),
        )
    }
}

/// Returns the lowest address that belongs to `vma`, with its guard gap if it grows down.
pub(crate) fn guarded_start<F>(vma: &Vma<F>) -> u64 {
    if vma.flags.contains(VmFlags::GROWS_DOWN) {
        vma.start.saturating_sub(STACK_GUARD_GAP)
    } else {
        vma.start
    }
}
