//! User address spaces: four-level page tables and TLB consistency.
//!
//! # TLB protocol
//! Each [`PageTable`] has a generation. A CPU publishes, in its per-CPU block, the page table it may be using with
//! user translations (while in ring 3, and while in a user-copy window), and clears that on every entry to ring 0.
//! Before it goes to ring 3 or opens a copy window it publishes first (sequentially consistent), then compares the
//! generation with the one it last flushed at, and flushes if they differ. Whoever removes or restricts a
//! translation bumps the generation, flushes its own TLB, sends an IPI to the CPUs that publish this table from
//! ring 3, and waits until every publishing CPU has left (entered ring 0 or closed its window); only then may the
//! frames be reused. Such a CPU never waits for anything, so the waiting ends whatever locks the caller holds.
//! Page tables that were taken out are reused later ([`Space::retire`]), when no CPU that has the page table loaded, in
//! ring 0 too, may have them in its paging-structure caches: each has flushed since, or loaded another page table.
//! Translations that only gain rights need none of this: a stale entry faults and the fault handler finds the new one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{PAGE_SIZE, USER_END, UserVa};

use super::frame::{self, Purpose};
use super::kernel_map::kernel_root;
use super::{Frame, OutOfMemory, PhysAddr, Space, direct};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// Software bit of a non-present entry that still owns its frame.
const HIDDEN: u64 = 1 << 9;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Levels of the table; level 1 holds pages.
const LEVELS: u32 = 4;
const ENTRIES: u64 = 512;
/// Most frames and tables that are gathered for one shoot-down.
const BATCH: usize = 4096;
/// How many are gathered where the heap has no room for more.
const SPARE: usize = 32;

/// Rights of a user mapping; user and read are implied. Write and execute may be combined (the JIT without dual
/// mapping asks for it).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Perms {
    /// Stores are allowed.
    pub write: bool,
    /// Instruction fetches are allowed.
    pub execute: bool,
}

/// What is mapped at a page.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The frame.
    pub frame: Frame,
    /// Its rights.
    pub perms: Perms,
}

/// A page of a page table. Entries are read by the CPU's walker at any time, hence atomics.
type Table = [AtomicU64; ENTRIES as usize];

fn table(phys: PhysAddr) -> &'static Table {
    // SAFETY: `phys` is a page-table frame of a live `PageTable`, reached through the direct map; it is freed only by its
    // owner's `&mut` methods, after which no reference is used.
    unsafe { &*direct(phys).cast() }
}

fn new_table() -> Result<PhysAddr, OutOfMemory> {
    let phys = frame::allocate_block(0, Purpose::User)?;
    for entry in table(phys) {
        entry.store(0, Ordering::Relaxed);
    }
    Ok(phys)
}

/// Bytes that one entry of `level` covers.
const fn span(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

fn index(va: u64, level: u32) -> usize {
    (va / span(level) % ENTRIES) as usize
}

fn owns_frame(entry: u64) -> bool {
    entry & (PRESENT | HIDDEN) != 0
}

fn bits(perms: Perms) -> u64 {
    let write = if perms.write { WRITE } else { 0 };
    let execute = if perms.execute { 0 } else { NO_EXECUTE };
    PRESENT | USER | write | execute
}

/// What was taken out of a table: it may be reused once no TLB refers to it.
struct Removed {
    /// Physical addresses of frames and, with [`IS_TABLE`], of page tables.
    items: Vec<u64>,
    /// Where items go when the heap has no room: freeing memory must work when there is none.
    spare: [u64; SPARE],
    spares: usize,
    low: u64,
    high: u64,
}

/// Marks a page table in [`Removed`]; addresses are page-aligned.
const IS_TABLE: u64 = 1;

impl Removed {
    const fn new() -> Self {
        Self {
            items: Vec::new(),
            spare: [0; SPARE],
            spares: 0,
            low: 0,
            high: 0,
        }
    }

    /// Notes the page at `va`, whose stale translation is to be forgotten. Its entry was changed already.
    fn touch(&mut self, va: u64) {
        if self.high == 0 {
            self.low = va;
        }
        self.low = self.low.min(va);
        self.high = self.high.max(va + PAGE_SIZE as u64);
    }

    /// Adds an item whose entry was cleared and touched; frees those before it when there is no room for more.
    fn push(&mut self, item: u64, space: &Space) {
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
    fn finish(&mut self, space: &Space) {
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

/// A user address space: page tables plus the kernel's half. Mutation needs `&mut` (the owner's lock); CPUs that
/// run in it keep the root alive through [`PageTable::activate`].
#[derive(Debug)]
pub struct PageTable {
    root: PhysAddr,
    space: Arc<Space>,
    resident: u64,
    /// The most that was, when pages were last removed.
    peak: u64,
}

impl PageTable {
    /// Makes an empty address space.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        let root = new_table()?;
        let kernel = table(kernel_root());
        for (to, from) in table(root).iter().zip(kernel).skip(ENTRIES as usize / 2) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(Self {
            root,
            space: Space::new(root),
            resident: 0,
            peak: 0,
        })
    }

    /// Loads this table on the current CPU (CR3) if it is not loaded already; user copies and ring 3 use it from
    /// now on.
    pub fn activate(&self) {
        self.space.load();
    }

    /// Returns the page entry of `va`, if its table exists.
    fn entry(&self, va: u64) -> Option<&'static AtomicU64> {
        let mut at = self.root;
        for level in (2..=LEVELS).rev() {
            let entry = table(at)[index(va, level)].load(Ordering::Relaxed);
            if entry & PRESENT == 0 {
                return None;
            }
            at = PhysAddr(entry & ADDRESS);
        }
        Some(&table(at)[index(va, 1)])
    }

    /// Returns the page entry of `va`, making tables on the way.
    fn entry_or_new(&mut self, va: u64) -> Result<&'static AtomicU64, OutOfMemory> {
        let mut at = self.root;
        for level in (2..=LEVELS).rev() {
            let slot = &table(at)[index(va, level)];
            let mut entry = slot.load(Ordering::Relaxed);
            if entry & PRESENT == 0 {
                entry = new_table()?.0 | PRESENT | WRITE | USER;
                slot.store(entry, Ordering::Release);
            }
            at = PhysAddr(entry & ADDRESS);
        }
        Ok(&table(at)[index(va, 1)])
    }

    /// Maps `frame` at the page `va`, replacing what was there (with a shoot-down if something was present and the
    /// new entry is not merely an increase of rights on the same frame).
    ///
    /// # Errors
    /// [`OutOfMemory`] when no frame for a page table is left; nothing changed then.
    ///
    /// # Panics
    /// When `va` is not page-aligned or not below `USER_END`.
    pub fn map(&mut self, va: UserVa, frame: Frame, perms: Perms) -> Result<(), OutOfMemory> {
        assert!(
            va.0 < USER_END && va.0.is_multiple_of(PAGE_SIZE as u64),
            "mapping at {va:?}"
        );
        let slot = self.entry_or_new(va.0)?;
        let new = frame.phys().0 | bits(perms);
        let _ = frame.into_phys();
        let old = slot.swap(new, Ordering::AcqRel);
        if !owns_frame(old) {
            self.resident += 1;
            return Ok(());
        }
        // Accessed and dirty bits do not count as a change.
        let same_frame = old & ADDRESS == new & ADDRESS;
        let loses_rights = old & WRITE & !new != 0 || new & NO_EXECUTE & !old != 0;
        if old & PRESENT != 0 && (!same_frame || loses_rights) {
            self.space.shoot_down(va.0, va.0 + PAGE_SIZE as u64);
        }
        // SAFETY: the old entry's handle, which no entry or TLB refers to any more.
        drop(unsafe { Frame::from_phys(PhysAddr(old & ADDRESS)) });
        Ok(())
    }

    /// Maps `frame` at the page `va` unless something is there, hidden or not.
    ///
    /// # Errors
    /// [`OutOfMemory`] as [`PageTable::map`].
    ///
    /// # Panics
    /// As [`PageTable::map`].
    pub fn map_if_absent(
        &mut self,
        va: UserVa,
        frame: Frame,
        perms: Perms,
    ) -> Result<(), OutOfMemory> {
        assert!(
            va.0 < USER_END && va.0.is_multiple_of(PAGE_SIZE as u64),
            "mapping at {va:?}"
        );
        let slot = self.entry_or_new(va.0)?;
        if !owns_frame(slot.load(Ordering::Relaxed)) {
            // Nobody but the walker, which leaves empty entries alone, writes at the same time.
            slot.store(frame.into_phys().0 | bits(perms), Ordering::Release);
            self.resident += 1;
        }
        Ok(())
    }

    /// Returns what is mapped at the page that holds `va`.
    #[must_use]
    pub fn get(&self, va: UserVa) -> Option<Mapping> {
        if va.0 >= USER_END {
            return None;
        }
        let entry = self.entry(va.0)?.load(Ordering::Relaxed);
        if entry & PRESENT == 0 {
            return None;
        }
        // SAFETY: borrows the entry's handle for the clone; the entry keeps its own.
        let held = unsafe { Frame::from_phys(PhysAddr(entry & ADDRESS)) };
        let frame = held.clone();
        let _ = held.into_phys();
        let perms = Perms {
            write: entry & WRITE != 0,
            execute: entry & NO_EXECUTE == 0,
        };
        Some(Mapping { frame, perms })
    }

    /// Makes the present page that holds `va` writable if the page-table entry is the only holder of its frame, and
    /// returns whether it did. This is how a copy-on-write fault avoids the copy when nobody else is left
    /// ([`PageTable::get`] cannot tell: the handle it returns is a second one).
    pub fn allow_write_if_unique(&mut self, va: UserVa) -> bool {
        let Some(slot) = (if va.0 < USER_END {
            self.entry(va.0)
        } else {
            None
        }) else {
            return false;
        };
        let entry = slot.load(Ordering::Relaxed);
        if entry & PRESENT == 0 {
            return false;
        }
        // SAFETY: borrows the entry's handle for the check.
        let held = unsafe { Frame::from_phys(PhysAddr(entry & ADDRESS)) };
        let is_unique = held.is_unique();
        let _ = held.into_phys();
        if is_unique {
            slot.fetch_or(WRITE, Ordering::AcqRel);
        }
        is_unique
    }

    /// Calls `f(address, entry)` for every entry of `[start, end)` that owns a frame, in order, skipping empty tables.
    fn for_each(&self, start: UserVa, end: UserVa, mut f: impl FnMut(u64, &AtomicU64)) {
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

    /// Makes every CPU that is in ring 3 in this address space enter the kernel once; one that is in the kernel serialises
    /// before it goes back. When this returns, what they did in ring 3 before is visible to the caller, and what they do
    /// there from now on comes after what the caller did: a shoot-down of nothing.
    pub fn barrier(&mut self) {
        self.space.shoot_down(0, 0);
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
        self.for_each(start, end, |va, slot| {
            if result.is_err() {
                return;
            }
            let target = match child.entry_or_new(va) {
                Ok(target) => target,
                Err(e) => {
                    result = Err(e);
                    return;
                }
            };
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

    /// Lists which pages of `[start, end)` are present (`mincore(2)`).
    #[must_use]
    pub fn present(&self, start: UserVa, end: UserVa) -> Vec<bool> {
        let mut pages =
            alloc::vec![false; (end.0.saturating_sub(start.0) / PAGE_SIZE as u64) as usize];
        self.for_each(start, end, |va, _| {
            if let Some(page) = pages.get_mut(((va - start.0) / PAGE_SIZE as u64) as usize) {
                *page = true;
            }
        });
        pages
    }

    /// Returns how many frames were mapped at most.
    #[must_use]
    pub fn peak_resident(&self) -> u64 {
        self.peak.max(self.resident)
    }

    /// Returns how many user frames are mapped (for `VmRSS`).
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.resident
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

/// What [`clear`] removes.
enum Item {
    /// A page entry that owned a frame: address and entry.
    Page(u64, u64),
    /// A table that is empty now: the address it began at and its frame.
    Table(u64, PhysAddr),
}

/// Clears entries of `[start, end)` below `at`, and the tables that lie wholly in that range.
fn clear(at: PhysAddr, level: u32, base: u64, start: u64, end: u64, f: &mut impl FnMut(Item)) {
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

impl Drop for PageTable {
    /// Frees the tables and drops the frames. CPUs that still have the table loaded without using it (idle, or in the
    /// kernel on behalf of nobody) are made to load the kernel's own first. The caller holds no spinlock.
    fn drop(&mut self) {
        self.space.evict();
        self.unmap(UserVa(0), UserVa(USER_END));
        // The last level-4 entry's table ends past USER_END, so it was not freed as a whole.
        clear(self.root, LEVELS, 0, 0, 1 << 47, &mut |item| {
            if let Item::Table(_, phys) = item {
                // SAFETY: no CPU has the table loaded any more.
                unsafe { frame::free_block(phys, 0) };
            }
        });
        // SAFETY: as above.
        unsafe { frame::free_block(self.root, 0) };
    }
}
