//! `mremap(2)`.
//!
//! In two steps, since moving translations can fail: [`Space::plan_remap`] checks and decides, the kernel carries out what
//! touches page tables, then [`Space::commit_move`] records a move.

use crate::{FilePart, Limits, PAGE, Space, VmFlags, Vma, is_aligned, page_up};
use tyn_abi::{Errno, USER_END};

/// Arguments of `mremap(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemapRequest {
    /// Start of the old range.
    pub old: u64,
    /// Its length in bytes; 0 asks for a second mapping of shared pages.
    pub old_len: u64,
    /// New length in bytes.
    pub new_len: u64,
    /// `MREMAP_MAYMOVE`.
    pub may_move: bool,
    /// `MREMAP_FIXED`: the new address.
    pub fixed: Option<u64>,
    /// `MREMAP_DONTUNMAP`: the old mapping stays; the new address is this one if it is free (0: anywhere).
    pub keep_old: Option<u64>,
}

/// What `mremap(2)` comes to. Lengths are in bytes, rounded to pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum RemapPlan {
    /// The mapping is resized where it is, and [`Space::plan_remap`] has recorded that: `[start, end)` is to be unmapped with
    /// [`Space::unmap`] unless empty.
    InPlace {
        /// Start of what a shrinking cuts off.
        start: u64,
        /// End of it.
        end: u64,
    },
    /// The mapping moves. In order: unmap `[to, to + new_len)` if `clear_target`; unmap `[from + new_len, from + old_len)` if
    /// that is not empty; move the translations of the rest; [`Space::commit_move`]; then unmap `from` unless `keep_old`
    /// (it has no translations any more).
    Move {
        /// Old address.
        from: u64,
        /// Old length.
        old_len: u64,
        /// New address.
        to: u64,
        /// New length.
        new_len: u64,
        /// Something may be mapped at the target (`MREMAP_FIXED`).
        clear_target: bool,
        /// The old mapping stays (`MREMAP_DONTUNMAP`, or old length 0), without pages.
        keep_old: bool,
    },
}

impl<F: Clone + PartialEq> Space<F> {
    /// Checks and decides a `mremap(2)`; growth in place is carried out at once.
    ///
    /// # Errors
    /// `EINVAL` for misaligned addresses, new length 0, overlapping ranges or contradicting flags; `EFAULT` when the old range is
    /// not one mapping; `ENOMEM` when there is no room or a limit is exceeded.
    pub fn plan_remap(
        &mut self,
        request: &RemapRequest,
        limits: &Limits,
    ) -> Result<RemapPlan, Errno> {
        let from = request.old;
        let old_len = page_up(request.old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(request.new_len)
            .filter(|&l| l != 0)
            .ok_or(Errno::EINVAL)?;
        let resizes = old_len != new_len;
        if !is_aligned(from)
            || request.fixed.is_some() && !request.may_move
            || request.keep_old.is_some() && (!request.may_move || resizes)
        {
            return Err(Errno::EINVAL);
        }
        if let Some(to) = request.fixed.or(request.keep_old) {
            Self::check_target(from, old_len, to, new_len)?;
        }
        if request.fixed.is_some_and(|to| to < crate::MMAP_MIN_ADDR) {
            return Err(Errno::EPERM);
        }
        let vma = self.find(from).ok_or(Errno::EFAULT)?.clone();
        if request.fixed.is_none() && request.keep_old.is_none() && old_len >= new_len {
            let end = from.checked_add(old_len).filter(|&end| end <= USER_END);
            let end = end.ok_or(Errno::EINVAL)?;
            return Ok(RemapPlan::InPlace {
                start: from + new_len,
                end,
            });
        }
        Self::check_source(&vma, from, old_len)?;
        // A move that shrinks cuts the tail off first, which may reach over more mappings; the rest must be one.
        let kept = old_len.min(new_len);
        if kept > vma.end - from {
            return Err(Errno::EFAULT);
        }
        if let Some(part) = &vma.file {
            let first = part.page + (from - vma.start) / PAGE;
            first
                .checked_add(new_len / PAGE)
                .filter(|&last| last <= u64::MAX / PAGE)
                .ok_or(Errno::EINVAL)?;
        }
        let growth = if request.keep_old.is_some() {
            new_len
        } else {
            new_len.saturating_sub(old_len)
        };
        self.check_growth(growth, vma.flags, vma.prot, limits)?;

        if request.fixed.is_none()
            && request.keep_old.is_none()
            && old_len != 0
            && self.grow_in_place(&vma, from, old_len, new_len)?
        {
            return Ok(RemapPlan::InPlace {
                start: from + new_len,
                end: from + new_len,
            });
        }
        if !request.may_move {
            return Err(Errno::ENOMEM);
        }
        self.check_split(4)?;
        let to = match request.fixed {
            Some(to) => to,
            None => self
                .find_room(request.keep_old.unwrap_or(0), new_len)
                .ok_or(Errno::ENOMEM)?,
        };
        Ok(RemapPlan::Move {
            from,
            old_len,
            to,
            new_len,
            clear_target: request.fixed.is_some(),
            keep_old: request.keep_old.is_some() || old_len == 0,
        })
    }

    /// Records a [`RemapPlan::Move`]: maps the new range like the old one. The old mapping is still there.
    ///
    /// # Errors
    /// `EFAULT` when the plan is not one for this space as it is.
    pub fn commit_move(&mut self, from: u64, to: u64, new_len: u64) -> Result<(), Errno> {
        let source = self.find(from).ok_or(Errno::EFAULT)?;
        let file = source.file.as_ref().map(|part| FilePart {
            file: part.file.clone(),
            page: part.page + (from - source.start) / PAGE,
        });
        let vma = Vma {
            start: to,
            end: to + new_len,
            file,
            ..source.clone()
        };
        self.insert(vma);
        Ok(())
    }

    fn check_target(from: u64, old_len: u64, to: u64, new_len: u64) -> Result<(), Errno> {
        let in_user_space = new_len <= USER_END && to <= USER_END - new_len;
        if !is_aligned(to) || !in_user_space {
            return Err(Errno::EINVAL);
        }
        // A duplicate (old length 0) must not replace the page that it is made from.
        let old_end = from.checked_add(old_len.max(PAGE)).ok_or(Errno::EINVAL)?;
        if old_end > to && to + new_len > from {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    fn check_source(vma: &Vma<F>, from: u64, old_len: u64) -> Result<(), Errno> {
        if vma.flags.contains(VmFlags::SPECIAL) {
            return Err(Errno::EFAULT);
        }
        if old_len == 0 && !vma.is_shared() {
            return Err(Errno::EINVAL);
        }
        if from.checked_add(old_len).is_none() {
            Err(Errno::EFAULT)
        } else {
            Ok(())
        }
    }

    /// Extends the mapping where it is, if it ends where the range does and there is room behind it.
    fn grow_in_place(
        &mut self,
        vma: &Vma<F>,
        from: u64,
        old_len: u64,
        new_len: u64,
    ) -> Result<bool, Errno> {
        let old_end = from + old_len;
        if vma.end != old_end || !self.has_room(old_end, new_len - old_len) {
            return Ok(false);
        }
        let tail = Vma {
            start: old_end,
            end: from + new_len,
            file: vma.file.as_ref().map(|part| FilePart {
                file: part.file.clone(),
                page: part.page + vma.len() / PAGE,
            }),
            ..vma.clone()
        };
        self.insert(tail);
        Ok(true)
    }
}
