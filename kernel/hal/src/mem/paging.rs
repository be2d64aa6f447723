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
//! Translations that only gain rights need none of this: a stale entry faults and the fault handler finds the new one.

use super::{Frame, OutOfMemory};
use alloc::vec::Vec;
use tyn_abi::UserVa;

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

/// A user address space: page tables plus the kernel's half. Mutation needs `&mut` (the owner's lock); CPUs that
/// run in it keep the root alive through [`PageTable::activate`].
#[derive(Debug)]
pub struct PageTable {
    _root: Frame,
}

impl PageTable {
    /// Makes an empty address space.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        unimplemented!()
    }

    /// Loads this table on the current CPU (CR3) if it is not loaded already; user copies and ring 3 use it from
    /// now on.
    pub fn activate(&self) {
        unimplemented!()
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
        let _ = (va, frame, perms);
        unimplemented!()
    }

    /// Returns what is mapped at the page that holds `va`.
    #[must_use]
    pub fn get(&self, _va: UserVa) -> Option<Mapping> {
        unimplemented!()
    }

    /// Makes the present page that holds `va` writable if the page-table entry is the only holder of its frame, and
    /// returns whether it did. This is how a copy-on-write fault avoids the copy when nobody else is left
    /// ([`PageTable::get`] cannot tell: the handle it returns is a second one).
    pub fn allow_write_if_unique(&mut self, va: UserVa) -> bool {
        let _ = va;
        unimplemented!()
    }

    /// Removes every mapping in `[start, end)` (page-aligned), shoots the TLBs down once, then frees the frames.
    /// Skips empty table ranges, so its cost follows what is mapped, not the length.
    pub fn unmap(&mut self, start: UserVa, end: UserVa) {
        let _ = (start, end);
        unimplemented!()
    }

    /// Limits the rights of every present mapping in `[start, end)` to `perms` (rights it lacks are not added, so a
    /// copy-on-write page stays read-only); one shoot-down. Pages become inaccessible with [`PageTable::unmap`]
    /// or, keeping their frames, with [`PageTable::hide`].
    pub fn restrict(&mut self, start: UserVa, end: UserVa, perms: Perms) {
        let _ = (start, end, perms);
        unimplemented!()
    }

    /// Makes present pages in `[start, end)` inaccessible but keeps their frames (`PROT_NONE`); [`PageTable::get`]
    /// does not see them, [`PageTable::unhide`] makes them accessible again.
    pub fn hide(&mut self, start: UserVa, end: UserVa) {
        let _ = (start, end);
        unimplemented!()
    }

    /// Makes pages hidden by [`PageTable::hide`] accessible again, read-only and with `execute` as given (a write
    /// fault then decides about copy-on-write).
    pub fn unhide(&mut self, start: UserVa, end: UserVa, execute: bool) {
        let _ = (start, end, execute);
        unimplemented!()
    }

    /// Moves the mappings of `[from, from + len)` to `to` (`mremap(2)`), one shoot-down.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing was moved then.
    pub fn relocate(&mut self, from: UserVa, to: UserVa, len: u64) -> Result<(), OutOfMemory> {
        let _ = (from, to, len);
        unimplemented!()
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
        let _ = (child, start, end, copy_on_write);
        unimplemented!()
    }

    /// Lists which pages of `[start, end)` are present (`mincore(2)`).
    #[must_use]
    pub fn present(&self, start: UserVa, end: UserVa) -> Vec<bool> {
        let _ = (start, end);
        unimplemented!()
    }

    /// Returns how many user frames are mapped (for `VmRSS`).
    #[must_use]
    pub fn resident(&self) -> u64 {
        unimplemented!()
    }
}

impl Drop for PageTable {
    /// Frees the tables and drops the frames. CPUs that still have the table loaded without using it (idle, or in the
    /// kernel on behalf of nobody) are made to load the kernel's own first. The caller holds no spinlock.
    fn drop(&mut self) {
        unimplemented!()
    }
}
