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
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{PAGE_SIZE, USER_END, UserVa};

use super::frame::{self, Purpose};
use super::kernel_map::kernel_root;
use super::{Frame, OutOfMemory, PhysAddr, Space, direct};

use self::removal::{Item, clear};

mod ranges;
mod removal;

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

    /// Returns the last level's table for `va`, making tables on the way.
    fn leaf_or_new(&mut self, va: u64) -> Result<&'static Table, OutOfMemory> {
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
        Ok(table(at))
    }

    /// Returns the page entry of `va`, making tables on the way.
    fn entry_or_new(&mut self, va: u64) -> Result<&'static AtomicU64, OutOfMemory> {
        Ok(&self.leaf_or_new(va)?[index(va, 1)])
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

    /// Returns the part of the table that maps the 2 MiB around `va`, making tables on the way.
    ///
    /// # Errors
    /// [`OutOfMemory`] as [`PageTable::map`].
    ///
    /// # Panics
    /// When `va` is not below `USER_END`.
    pub fn leaf(&mut self, va: UserVa) -> Result<Leaf<'_>, OutOfMemory> {
        assert!(va.0 < USER_END, "mapping at {va:?}");
        Ok(Leaf {
            start: va.0 - va.0 % span(2),
            entries: self.leaf_or_new(va.0)?,
            resident: &mut self.resident,
        })
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

    /// Makes every CPU that is in ring 3 in this address space enter the kernel once; one that is in the kernel serialises
    /// before it goes back. When this returns, what they did in ring 3 before is visible to the caller, and what they do
    /// there from now on comes after what the caller did: a shoot-down of one page, which invalidates it on this CPU and so
    /// serialises here, too.
    pub fn barrier(&mut self) {
        self.space.shoot_down(0, PAGE_SIZE as u64);
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

/// The last level of a [`PageTable`] for 2 MiB: to map several pages there without going through all levels for each.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// The first address.
    start: u64,
    entries: &'static Table,
    /// The table's count; with it the table is borrowed, so that it stays as it is.
    resident: &'a mut u64,
}

impl Leaf<'_> {
    /// Maps `frame` at the page `va` unless something is there, hidden or not.
    ///
    /// # Panics
    /// When `va` is not page-aligned or not of this part.
    pub fn map_if_absent(&mut self, va: UserVa, frame: Frame, perms: Perms) {
        let at = va.0.wrapping_sub(self.start);
        assert!(
            at < span(2) && at.is_multiple_of(PAGE_SIZE as u64),
            "mapping at {va:?}"
        );
        let slot = &self.entries[index(at, 1)];
        if !owns_frame(slot.load(Ordering::Relaxed)) {
            // Nobody but the walker, which leaves empty entries alone, writes at the same time.
            slot.store(frame.into_phys().0 | bits(perms), Ordering::Release);
            *self.resident += 1;
        }
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
