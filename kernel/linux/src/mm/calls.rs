//! What the memory calls do to an address space: the decision of [`tyn_vm`], then the page table. Removed mappings are
//! dropped after the lock, since dropping a file may take any lock.

use alloc::vec::Vec;

use tyn_abi::{Errno, UserVa};
use tyn_hal::mem::Perms;
use tyn_vm::{
    Advice, Layout, Limits, MapRequest, Prot, RemapPlan, RemapRequest, RightsChange, VmFlags, Vma,
};

use super::{Image, Inner, MappedFile, Mm, PAGE};

impl Mm {
    /// Maps memory (`mmap(2)`); returns the address.
    ///
    /// # Errors
    /// As [`tyn_vm::Space::map`].
    pub fn map(&self, request: MapRequest<MappedFile>, limits: &Limits) -> Result<u64, Errno> {
        let mut inner = self.inner.lock();
        let mapped = inner.space.map(request, limits)?;
        if !mapped.removed.is_empty() {
            inner.table.unmap(UserVa(mapped.start), UserVa(mapped.end));
        }
        let locked = inner.space.find(mapped.start).is_some_and(is_locked);
        drop(inner);
        drop(mapped.removed);
        if locked {
            // As on Linux the mapping stays when it cannot be filled: later faults report it.
            let _ = self.populate(UserVa(mapped.start), UserVa(mapped.end));
        }
        Ok(mapped.start)
    }

    /// Returns where `mmap(2)` would put `len` bytes.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room.
    pub fn find_room(&self, len: u64) -> Result<u64, Errno> {
        let inner = self.inner.lock();
        inner.space.find_room(0, len).ok_or(Errno::ENOMEM)
    }

    /// Unmaps a range (`munmap(2)`), a long one in pieces, so that nobody waits long for the lock; `pause` is called between
    /// them.
    ///
    /// # Errors
    /// As [`tyn_vm::Space::unmap`].
    pub fn unmap(&self, start: u64, len: u64, mut pause: impl FnMut()) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let (mut at, end) = inner.space.check_unmap(start, len)?;
        loop {
            let stop = inner
                .table
                .piece_end(UserVa(at), UserVa(end), PIECE_PAGES)
                .0;
            let removed = inner.unmap(at, stop - at)?;
            drop(inner);
            drop(removed);
            if stop == end {
                return Ok(());
            }
            at = stop;
            pause();
            inner = self.inner.lock();
        }
    }

    /// Unmaps everything, in pieces as [`Mm::unmap`] does: nobody uses the address space any more.
    pub fn unmap_all(&self, mut pause: impl FnMut()) {
        let ranges: Vec<(u64, u64)> = {
            let inner = self.inner.lock();
            inner.space.iter().map(|vma| (vma.start, vma.end)).collect()
        };
        for (start, end) in ranges {
            // What cannot be unmapped is freed with the address space.
            let _ = self.unmap(start, end - start, &mut pause);
        }
    }

    /// Changes rights (`mprotect(2)`).
    ///
    /// # Errors
    /// As [`tyn_vm::Space::protect`].
    pub fn protect(&self, start: u64, len: u64, prot: Prot, limits: &Limits) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let protected = inner.space.protect(start, len, prot, limits);
        for change in &protected.changes {
            inner.apply_rights(change);
        }
        protected.result
    }

    /// Moves the program break (`brk(2)`); returns where it is then.
    pub fn set_break(&self, end: u64, limits: &Limits) -> u64 {
        let mut inner = self.inner.lock();
        let removed = match inner.space.set_break(end, limits) {
            Ok(Some(unmapped)) => {
                inner
                    .table
                    .unmap(UserVa(unmapped.start), UserVa(unmapped.end));
                unmapped.removed
            }
            Ok(None) | Err(_) => Vec::new(),
        };
        let (_, end) = inner.space.program_break();
        drop(inner);
        drop(removed);
        end
    }

    /// Resizes or moves a mapping (`mremap(2)`); returns its address.
    ///
    /// # Errors
    /// As [`tyn_vm::Space::plan_remap`].
    pub fn remap(&self, request: &RemapRequest, limits: &Limits) -> Result<u64, Errno> {
        let mut removed = Vec::new();
        let mut inner = self.inner.lock();
        let result = inner.remap(request, limits, &mut removed);
        drop(inner);
        drop(removed);
        result
    }

    /// Takes advice (`madvise(2)`), for a long range in pieces; between them `pause` is called, which says whether to go on.
    ///
    /// # Errors
    /// As [`tyn_vm::Space::advise`]; for `MADV_POPULATE_*` also `EFAULT`, `ENOMEM`; `EINTR` when it is not to go on.
    pub fn advise(
        &self,
        start: u64,
        len: u64,
        advice: Advice,
        mut pause: impl FnMut() -> bool,
    ) -> Result<(), Errno> {
        let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
        let mut at = start;
        let mut result = Ok(());
        loop {
            let (stop, advised) = if advice == Advice::Populate {
                let stop = end.min((at / PIECE + 1).saturating_mul(PIECE));
                (stop, self.advise_populate(at, stop))
            } else {
                self.advise_piece(at, end, advice)
            };
            match advised {
                // A hole: the rest takes the advice all the same.
                Err(Errno::ENOMEM) if advice != Advice::Populate => result = Err(Errno::ENOMEM),
                other => other?,
            }
            if stop == end {
                return result;
            }
            at = stop;
            if !pause() {
                return Err(Errno::EINTR);
            }
        }
    }

    fn advise_populate(&self, start: u64, end: u64) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let advised = inner.space.advise(start, end - start, Advice::Populate);
        drop(inner);
        advised.result?;
        Ok(self.populate(UserVa(start), UserVa(end))?)
    }

    /// Takes advice for the first piece of `[start, end)`; returns where it ends.
    fn advise_piece(&self, start: u64, end: u64, advice: Advice) -> (u64, Result<(), Errno>) {
        let mut inner = self.inner.lock();
        let stop = inner
            .table
            .piece_end(UserVa(start), UserVa(end), PIECE_PAGES)
            .0;
        let advised = inner.space.advise(start, stop - start, advice);
        for (start, end) in advised.discard {
            inner.table.unmap(UserVa(start), UserVa(end));
        }
        (stop, advised.result)
    }

    /// Lists which pages of a range are present (`mincore(2)`).
    ///
    /// # Errors
    /// `ENOMEM` when part of it is not mapped.
    pub fn residency(&self, start: UserVa, end: UserVa) -> Result<Vec<bool>, Errno> {
        let inner = self.inner.lock();
        if !inner.space.is_covered(start.0, end.0) {
            return Err(Errno::ENOMEM);
        }
        Ok(inner.table.present(start, end))
    }

    /// Returns whether a range is mapped without a hole, and whether any of it is locked (`msync(2)`).
    #[must_use]
    pub fn coverage(&self, start: u64, end: u64) -> (bool, bool) {
        let inner = self.inner.lock();
        let locked = inner.space.overlapping(start, end).any(is_locked);
        (inner.space.is_covered(start, end), locked)
    }

    /// Locks or unlocks a range (`mlock(2)`, `munlock(2)`); locking brings its pages in unless `on_fault`.
    ///
    /// # Errors
    /// As [`tyn_vm::Space::set_locked`]; `ENOMEM` when the pages cannot be had.
    pub fn set_locked(
        &self,
        start: u64,
        len: u64,
        locked: bool,
        on_fault: bool,
    ) -> Result<(), Errno> {
        let (start, end) = self.inner.lock().space.set_locked(start, len, locked)?;
        if locked && !on_fault {
            self.populate(UserVa(start), UserVa(end))
                .map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// Locks or unlocks all present and future mappings (`mlockall(2)`).
    pub fn set_all_locked(&self, current: Option<bool>, future: bool, on_fault: bool) {
        let ranges: Vec<(u64, u64)> = {
            let mut inner = self.inner.lock();
            inner.space.set_all_locked(current, future);
            inner.space.iter().map(|vma| (vma.start, vma.end)).collect()
        };
        if current == Some(true) && !on_fault {
            for (start, end) in ranges {
                // Inaccessible mappings stay empty; that is no error.
                let _ = self.populate(UserVa(start), UserVa(end));
            }
        }
    }

    /// Sets where the program break starts, and what is known of the program (`execve(2)`).
    pub fn set_program(&self, break_start: u64, image: Image) {
        self.inner.lock().space.set_break_start(break_start);
        self.image.set(image);
    }

    /// Returns the layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        *self.inner.lock().space.layout()
    }
}

/// Most bytes that are unmapped or discarded at a time while the lock is held.
const PIECE: u64 = 16 << 20;

/// Pages in a piece.
const PIECE_PAGES: u64 = PIECE / PAGE;

fn is_locked(vma: &Vma<MappedFile>) -> bool {
    vma.flags.contains(VmFlags::LOCKED)
}

impl Inner {
    fn unmap(&mut self, start: u64, len: u64) -> Result<Vec<Vma<MappedFile>>, Errno> {
        let unmapped = self.space.unmap(start, len)?;
        if !unmapped.removed.is_empty() {
            self.table
                .unmap(UserVa(unmapped.start), UserVa(unmapped.end));
        }
        Ok(unmapped.removed)
    }

    /// Makes present pages follow a change of rights. Rights that are gained come with the next fault.
    fn apply_rights(&mut self, change: &RightsChange) {
        let (start, end) = (UserVa(change.start), UserVa(change.end));
        let new = Perms {
            write: change.new.contains(Prot::WRITE),
            execute: change.new.contains(Prot::EXEC),
        };
        if change.new.is_empty() {
            self.table.hide(start, end);
        } else if change.old.is_empty() {
            self.table.unhide(start, end, new.execute);
        } else if !change.new.contains(change.old & (Prot::WRITE | Prot::EXEC)) {
            self.table.restrict(start, end, new);
        }
    }

    fn remap(
        &mut self,
        request: &RemapRequest,
        limits: &Limits,
        removed: &mut Vec<Vma<MappedFile>>,
    ) -> Result<u64, Errno> {
        match self.space.plan_remap(request, limits)? {
            RemapPlan::InPlace { start, end } => {
                if start < end {
                    removed.extend(self.unmap(start, end - start)?);
                }
                Ok(request.old)
            }
            RemapPlan::Move {
                from,
                old_len,
                to,
                new_len,
                clear_target,
                keep_old,
            } => {
                if clear_target {
                    removed.extend(self.unmap(to, new_len)?);
                }
                if old_len > new_len {
                    removed.extend(self.unmap(from + new_len, old_len - new_len)?);
                }
                let kept = old_len.min(new_len);
                self.table.relocate(UserVa(from), UserVa(to), kept)?;
                self.space.commit_move(from, to, new_len)?;
                if !keep_old {
                    removed.extend(self.unmap(from, kept)?);
                }
                Ok(to)
            }
        }
    }
}
