//! Operations on ranges of pages: walking, removing, changing rights, moving, sharing with a child.

use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{USER_END, UserVa};

use super::removal::{IS_TABLE, Item, Removed, clear};
use super::{
    ADDRESS, ENTRIES, Frame, HIDDEN, LEVELS, NO_EXECUTE, OutOfMemory, PRESENT, PageTable, Perms,
    PhysAddr, WRITE, bits, index, owns_frame, span, table,
};

impl PageTable {
    /// Calls `f(address, entry)` for every entry of `[start, end)` that owns a frame, in order, skipping empty tables.
    pub(super) fn for_each(&self, start: UserVa, end: UserVa, mut f: impl FnMut(u64, &AtomicU64)) {
        let mut visit = |va, entry: &AtomicU64| {
            f(va, entry);
            ControlFlow::<()>::Continue(())
        };
        let _ = walk(
            self.root,
            LEVELS,
            0,
            start.0,
            end.0.min(USER_END),
            &mut visit,
        );
    }

    /// Returns where in `[start, end)` a piece with at most `pages` present pages ends (at least one): work on a range that is
    /// done by such pieces takes long only where there are many pages, however long the range is.
    #[must_use]
    pub fn piece_end(&self, start: UserVa, end: UserVa, pages: u64) -> UserVa {
        let mut left = pages.max(1);
        let mut visit = |va, _: &AtomicU64| {
            if left == 0 {
                return ControlFlow::Break(va);
            }
            left -= 1;
            ControlFlow::Continue(())
        };
        let limit = end.0.min(USER_END);
        match walk(self.root, LEVELS, 0, start.0, limit, &mut visit) {
            ControlFlow::Break(next) => UserVa(next),
            ControlFlow::Continue(()) => end,
        }
    }

    /// Removes every mapping in `[start, end)` (page-aligned), shoots the TLBs down once, then frees the frames.
    /// Skips empty table ranges, so its cost follows what is mapped, not the length.
    pub fn unmap(&mut self, start: UserVa, end: UserVa) {
        let mut removed = Removed::new();
        let before = self.resident;
        self.peak = self.peak.max(before);
        let mut count = 0;
        clear(
            self.root,
            LEVELS,
            0,
            start.0,
            end.0.min(USER_END),
            &mut |item| match item {
                Item::Page(va, entry) => {
                    count += 1;
                    if entry & PRESENT != 0 {
                        removed.touch(va);
                    }
                    removed.push(entry & ADDRESS, &self.space);
                }
                Item::Table(va, phys) => {
                    removed.touch(va);
                    removed.push(phys.0 | IS_TABLE, &self.space);
                }
            },
        );
        self.resident = before - count;
        removed.finish(&self.space);
    }

    /// Changes entries that own a frame by `change`, with one shoot-down over those that lost something.
    fn change(&mut self, start: UserVa, end: UserVa, change: impl Fn(u64) -> u64) {
        let mut lost = Removed::new();
        self.for_each(start, end, |va, slot| {
            // The walker may set accessed and dirty bits meanwhile: update atomically.
            let old = slot
                .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |e| Some(change(e)))
                .unwrap_or(0);
            let new = change(old);
            let loses = old & !new & (PRESENT | WRITE) != 0 || new & !old & NO_EXECUTE != 0;
            if old & PRESENT != 0 && loses {
                lost.touch(va);
            }
        });
        lost.finish(&self.space);
    }

    /// Limits the rights of every present mapping in `[start, end)` to `perms` (rights it lacks are not added, so a
    /// copy-on-write page stays read-only); one shoot-down. Pages become inaccessible with [`PageTable::unmap`]
    /// or, keeping their frames, with [`PageTable::hide`].
    pub fn restrict(&mut self, start: UserVa, end: UserVa, perms: Perms) {
        let write = if perms.write { WRITE } else { 0 };
        let no_execute = if perms.execute { 0 } else { NO_EXECUTE };
        self.change(start, end, |e| (e & !WRITE | e & write) | no_execute);
    }

    /// Makes present pages in `[start, end)` inaccessible but keeps their frames (`PROT_NONE`); [`PageTable::get`]
    /// does not see them, [`PageTable::unhide`] makes them accessible again.
    pub fn hide(&mut self, start: UserVa, end: UserVa) {
        self.change(start, end, |e| e & ADDRESS | HIDDEN);
    }

    /// Makes pages hidden by [`PageTable::hide`] accessible again, read-only and with `execute` as given (a write
    /// fault then decides about copy-on-write).
    pub fn unhide(&mut self, start: UserVa, end: UserVa, execute: bool) {
        let visible = bits(Perms {
            write: false,
            execute,
        });
        self.change(start, end, |e| {
            if e & HIDDEN != 0 {
                e & ADDRESS | visible
            } else {
                e
            }
        });
    }

    /// Moves the mappings of `[from, from + len)` to `to` (`mremap(2)`), one shoot-down.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing was moved then.
    pub fn relocate(&mut self, from: UserVa, to: UserVa, len: u64) -> Result<(), OutOfMemory> {
        let end = UserVa(from.0 + len);
        // Make all target tables first, so that moving cannot fail half-way.
        let mut pages = Vec::new();
        let mut failed = false;
        self.for_each(from, end, |va, _| {
            failed |= pages.try_reserve(1).is_err();
            if !failed {
                pages.push(va);
            }
        });
        if failed {
            return Err(OutOfMemory);
        }
        for va in &pages {
            self.entry_or_new(va - from.0 + to.0)?;
        }
        let mut moved = Removed::new();
        for va in pages {
            let (Some(source), Some(target)) = (self.entry(va), self.entry(va - from.0 + to.0))
            else {
                continue;
            };
            let entry = source.swap(0, Ordering::AcqRel);
            let replaced = target.swap(entry, Ordering::AcqRel);
            if owns_frame(replaced) {
                self.resident -= 1;
                moved.touch(va - from.0 + to.0);
                moved.push(replaced & ADDRESS, &self.space);
            }
            moved.touch(va);
        }
        moved.finish(&self.space);
        Ok(())
    }

    /// Shares every present (or hidden) page of `[start, end)` with `child` at the same addresses, as `fork(2)`
    /// does: with `copy_on_write` write permission is taken from both sides (one shoot-down on this one).
    ///
    /// # Errors
    /// [`OutOfMemory`] when the child's tables cannot be allocated; the child then holds a prefix and is to be dropped.
    pub fn share_with(
        &mut self,
        child: &mut Self,
        start: UserVa,
        end: UserVa,
        copy_on_write: bool,
    ) -> Result<(), OutOfMemory> {
        let mut result = Ok(());
        let mut lost = Removed::new();
        // The child's last level for the pages before: those that follow are nearly always there, too. Nothing is taken out
        // of the child meanwhile.
        let mut leaf = None;
        self.for_each(start, end, |va, slot| {
            if result.is_err() {
                return;
            }
            let part = va / span(2);
            let entries = match leaf {
                Some((of, entries)) if of == part => entries,
                _ => match child.leaf_or_new(va) {
                    Ok(entries) => entries,
                    Err(e) => {
                        result = Err(e);
                        return;
                    }
                },
            };
            leaf = Some((part, entries));
            let target = &entries[index(va, 1)];
            let keep = if copy_on_write { !WRITE } else { u64::MAX };
            let old = slot.fetch_and(keep, Ordering::AcqRel);
            if old & PRESENT != 0 && old & WRITE & !keep != 0 {
                lost.touch(va);
            }
            // SAFETY: borrows the entry's handle for the clone; the entry keeps its own.
            let held = unsafe { Frame::from_phys(PhysAddr(old & ADDRESS)) };
            let shared = held.clone().into_phys();
            let _ = held.into_phys();
            target.store(shared.0 | old & keep & !ADDRESS, Ordering::Release);
            child.resident += 1;
        });
        lost.finish(&self.space);
        result
    }
}

/// Visits entries that own frames below `at`, a table of `level` whose first entry covers `base`, until `f` breaks off.
fn walk<B>(
    at: PhysAddr,
    level: u32,
    base: u64,
    start: u64,
    end: u64,
    f: &mut impl FnMut(u64, &AtomicU64) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let first = start.max(base);
    let mut va = first & !(span(level) - 1);
    while va < end && va < base.saturating_add(span(level) * ENTRIES) {
        let slot = &table(at)[index(va, level)];
        let entry = slot.load(Ordering::Relaxed);
        if level == 1 {
            if owns_frame(entry) {
                f(va, slot)?;
            }
        } else if entry & PRESENT != 0 {
            walk(PhysAddr(entry & ADDRESS), level - 1, va, start, end, f)?;
        }
        va += span(level);
    }
    ControlFlow::Continue(())
}
