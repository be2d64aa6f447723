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
        let mut gap_end = high;
        // The next mapping above may keep a guard gap that reaches into the range.
        if let Some(above) = self.at_or_after(high) {
            gap_end = gap_end.min(guarded_start(above));
        }
        for vma in self.vmas.range(..high).rev().map(|(_, vma)| vma) {
            if gap_end < low.saturating_add(len) {
                return None;
            }
            if gap_end >= vma.end && gap_end - vma.end >= len && gap_end - len >= low {
                return Some(gap_end - len);
            }
            gap_end = gap_end.min(guarded_start(vma));
        }
        gap_end.checked_sub(len).filter(|&start| start >= low)
    }

    /// Finds the lowest room for `len` bytes within `[low, high)`.
    pub(crate) fn find_bottom_up(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let mut start = self.find(low).map_or(low, |vma| vma.end);
        for vma in self.vmas.range(low..).map(|(_, vma)| vma) {
            let end = start.checked_add(len).filter(|&end| end <= high)?;
            if end <= guarded_start(vma) {
                return Some(start);
            }
            start = start.max(vma.end);
        }
        start
            .checked_add(len)
            .filter(|&end| end <= high)
            .map(|_| start)
    }
}

/// Returns the lowest address that belongs to `vma`, with its guard gap if it grows down.
fn guarded_start<F>(vma: &Vma<F>) -> u64 {
    if vma.flags.contains(VmFlags::GROWS_DOWN) {
        vma.start.saturating_sub(STACK_GUARD_GAP)
    } else {
        vma.start
    }
}
