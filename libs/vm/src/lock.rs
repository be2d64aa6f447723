//! `mlock(2)`, `munlock(2)`, `mlockall(2)`, `munlockall(2)`. Nothing is ever paged out, so locking means: fault in now.

use crate::{PAGE, Space, VmFlags};
use alloc::vec::Vec;
use tyn_abi::Errno;

impl<F: Clone + PartialEq> Space<F> {
    /// Sets or clears the lock on the pages that hold `[start, start + len)`; returns the rounded range.
    ///
    /// # Errors
    /// `ENOMEM` when part of it is not mapped; `EINVAL` when it wraps around.
    pub fn set_locked(&mut self, start: u64, len: u64, locked: bool) -> Result<(u64, u64), Errno> {
        let first = start & !(PAGE - 1);
        let len = len.checked_add(start - first).ok_or(Errno::EINVAL)?;
        let (start, end) = Self::page_range(first, len, Errno::EINVAL)?;
        self.walk(start, end, |space, piece| {
            if piece.flags.contains(VmFlags::LOCKED) == locked
                || piece.flags.contains(VmFlags::SPECIAL)
            {
                return Ok(());
            }
            space.change_piece(piece, |vma| vma.flags.set(VmFlags::LOCKED, locked))
        })?;
        Ok((start, end))
    }

    /// Sets or clears the lock on all mappings (`current`) and on those to come (`future`).
    pub fn set_all_locked(&mut self, current: Option<bool>, future: bool) {
        self.default_flags.set(VmFlags::LOCKED, future);
        let Some(locked) = current else { return };
        let ranges: Vec<(u64, u64)> = self.iter().map(|vma| (vma.start, vma.len())).collect();
        for (start, len) in ranges {
            // A whole mapping is never split, so this cannot fail.
            let _ = self.set_locked(start, len, locked);
        }
    }
}
