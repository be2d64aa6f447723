//! Taking entries and tables out of page tables, and reusing what they held once no TLB refers to it.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use tyn_abi::PAGE_SIZE;

use super::{ADDRESS, ENTRIES, Frame, PRESENT, PhysAddr, Space, index, owns_frame, span, table};

/// Most frames and tables that are gathered for one shoot-down.
const BATCH: usize = 4096;
/// How many are gathered where the heap has no room for more.
const SPARE: usize = 32;

/// What was taken out of a table: it may be reused once no TLB refers to it.
pub(super) struct Removed {
    /// Physical addresses of frames and, with [`IS_TABLE`], of page tables.
    items: Vec<u64>,
    /// Where items go when the heap has no room: freeing memory must work when there is none.
    spare: [u64; SPARE],
    spares: usize,
    low: u64,
    high: u64,
}

/// Marks a page table in [`Removed`]; addresses are page-aligned.
pub(super) const IS_TABLE: u64 = 1;

impl Removed {
    pub(super) const fn new() -> Self {
        Self {
            items: Vec::new(),
            spare: [0; SPARE],
            spares: 0,
            low: 0,
            high: 0,
        }
    }

    /// Notes the page at `va`, whose stale translation is to be forgotten. Its entry was changed already.
    pub(super) fn touch(&mut self, va: u64) {
        if self.high == 0 {
            self.low = va;
        }
        self.low = self.low.min(va);
        self.high = self.high.max(va + PAGE_SIZE as u64);
    }

    /// Adds an item whose entry was cleared and touched; frees those before it when there is no room for more.
    pub(super) fn push(&mut self, item: u64, space: &Space) {
        if self.items.len() >= BATCH || self.spares == SPARE {
            self.finish(space);
        }
        if self.items.try_reserve(1).is_ok() {
            self.items.push(item);
        } else {
            self.spare[self.spares] = item;
            self.spares += 1;
        }
    }

    /// Shoots down what was touched and frees what was removed.
    pub(super) fn finish(&mut self, space: &Space) {
        if self.high != 0 {
            space.shoot_down(self.low, self.high);
            self.high = 0;
        }
        let spares = self.spare.iter().take(core::mem::take(&mut self.spares));
        for item in self.items.drain(..).chain(spares.copied()) {
            let phys = PhysAddr(item & !IS_TABLE);
            if item & IS_TABLE != 0 {
                // SAFETY: the entry that led to this table, and its own, were cleared.
                unsafe { space.retire(phys) };
            } else {
                // SAFETY: the entry that held this handle was cleared, and its translation shot down.
                drop(unsafe { Frame::from_phys(phys) });
            }
        }
        space.free_retired();
    }
}

/// What [`clear`] removes.
pub(super) enum Item {
    /// A page entry that owned a frame: address and entry.
    Page(u64, u64),
    /// A table that is empty now: the address it began at and its frame.
    Table(u64, PhysAddr),
}

/// Clears entries of `[start, end)` below `at`, and the tables that lie wholly in that range.
pub(super) fn clear(
    at: PhysAddr,
    level: u32,
    base: u64,
    start: u64,
    end: u64,
    f: &mut impl FnMut(Item),
) {
    let mut va = start.max(base) & !(span(level) - 1);
    while va < end && va < base.saturating_add(span(level) * ENTRIES) {
        let slot = &table(at)[index(va, level)];
        let entry = slot.load(Ordering::Relaxed);
        if level == 1 {
            if owns_frame(entry) {
                f(Item::Page(va, slot.swap(0, Ordering::AcqRel)));
            }
        } else if entry & PRESENT != 0 {
            let child = PhysAddr(entry & ADDRESS);
            clear(child, level - 1, va, start, end, f);
            if start <= va && va + span(level) <= end {
                slot.store(0, Ordering::Release);
                f(Item::Table(va, child));
            }
        }
        va += span(level);
    }
}
