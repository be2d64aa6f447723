//! `mmap(2)` and `munmap(2)`.

use crate::{
    FilePart, Limits, MMAP_MIN_ADDR, PAGE, Prot, Space, VmFlags, Vma, is_aligned, page_up,
};
use alloc::vec::Vec;
use tyn_abi::{Errno, USER_END};

/// Where a mapping goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// At the hint if that is free, else wherever there is room.
    Anywhere,
    /// Below 2 GiB (`MAP_32BIT`).
    Low,
    /// Exactly there, replacing what is there (`MAP_FIXED`).
    Fixed,
    /// Exactly there, or `EEXIST` (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace,
}

/// A mapping that is asked for; file and rights were checked against each other by the caller.
#[derive(Clone, Debug)]
pub struct MapRequest<F> {
    /// Address or hint.
    pub addr: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where it goes.
    pub placement: Placement,
    /// Rights.
    pub prot: Prot,
    /// Rights that `mprotect(2)` may give later.
    pub max_prot: Prot,
    /// Properties.
    pub flags: VmFlags,
    /// File and first page; `None` for anonymous memory.
    pub file: Option<FilePart<F>>,
    /// Name of a special mapping.
    pub name: Option<&'static str>,
}

/// A mapping was made.
#[derive(Debug)]
#[must_use]
pub struct Mapped<F> {
    /// Its start.
    pub start: u64,
    /// Its end.
    pub end: u64,
    /// What it replaced; translations of `[start, end)` are to be removed if there is any. Drop it without locks held.
    pub removed: Vec<Vma<F>>,
}

/// Mappings were removed.
#[derive(Debug)]
#[must_use]
pub struct Unmapped<F> {
    /// First address whose translations are to be removed.
    pub start: u64,
    /// First address past them.
    pub end: u64,
    /// The mappings' pieces that were removed. Drop them without locks held.
    pub removed: Vec<Vma<F>>,
}

impl<F: Clone + PartialEq> Space<F> {
    /// Makes a mapping (`mmap(2)`).
    ///
    /// # Errors
    /// `EINVAL` for length 0 or a misaligned fixed address; `ENOMEM` when there is no room, or a limit or the number of
    /// mappings is exceeded; `EEXIST` as [`Placement`] says; `EOVERFLOW` when the file's pages would be numbered beyond
    /// 2^52; `EPERM` below [`MMAP_MIN_ADDR`].
    pub fn map(&mut self, request: MapRequest<F>, limits: &Limits) -> Result<Mapped<F>, Errno> {
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(request.len).ok_or(Errno::ENOMEM)?;
        if let Some(part) = &request.file {
            let last = part.page.checked_add(len / PAGE).ok_or(Errno::EOVERFLOW)?;
            if last > u64::MAX / PAGE {
                return Err(Errno::EOVERFLOW);
            }
        }
        self.check_count()?;
        let start = self.place(&request, len)?;
        let end = start + len;
        let flags = request.flags | self.default_flags;
        let replaced = self.mapped_bytes(start, end);
        self.check_growth(len - replaced.min(len), flags, request.prot, limits)?;
        if self.is_hole_in_one(start, end) {
            self.check_split(1)?;
        }
        let removed = self.take_range(start, end);
        self.insert(Vma {
            start,
            end,
            prot: request.prot,
            max_prot: request.max_prot,
            flags,
            file: request.file,
            name: request.name,
            owns_pages: false,
        });
        Ok(Mapped {
            start,
            end,
            removed,
        })
    }

    /// Removes all mappings in a range (`munmap(2)`); it is no error if there are none.
    ///
    /// # Errors
    /// `EINVAL` when `start` is misaligned, `len` is 0 or the range leaves user space; `ENOMEM` when a mapping would have to
    /// be split and there are too many.
    pub fn unmap(&mut self, start: u64, len: u64) -> Result<Unmapped<F>, Errno> {
        let (start, end) = self.check_unmap(start, len)?;
        Ok(Unmapped {
            start,
            end,
            removed: self.take_range(start, end),
        })
    }

    /// Checks the arguments of [`Space::unmap`]; returns the range in whole pages.
    ///
    /// # Errors
    /// As [`Space::unmap`].
    pub fn check_unmap(&self, start: u64, len: u64) -> Result<(u64, u64), Errno> {
        let len = page_up(len).filter(|&len| len != 0).ok_or(Errno::EINVAL)?;
        if !is_aligned(start) || start > USER_END || len > USER_END - start {
            return Err(Errno::EINVAL);
        }
        let end = start + len;
        if self.is_hole_in_one(start, end) {
            self.check_split(1)?;
        }
        Ok((start, end))
    }

    /// Returns whether removing `[start, end)` leaves two parts of one mapping.
    fn is_hole_in_one(&self, start: u64, end: u64) -> bool {
        self.find(start)
            .is_some_and(|vma| vma.start < start && vma.end > end)
    }

    fn place(&self, request: &MapRequest<F>, len: u64) -> Result<u64, Errno> {
        const LOW: (u64, u64) = (0x4000_0000, 0x8000_0000);
        if len > USER_END {
            return Err(Errno::ENOMEM);
        }
        match request.placement {
            Placement::Anywhere => {
                let hint = round_hint(request.addr);
                self.find_room(hint, len).ok_or(Errno::ENOMEM)
            }
            Placement::Low => {
                let hint = round_hint(request.addr);
                let fits = hint != 0 && hint.checked_add(len).is_some_and(|end| end <= LOW.1);
                if fits && self.has_room(hint, len) {
                    return Ok(hint);
                }
                self.find_bottom_up(len, LOW.0, LOW.1).ok_or(Errno::ENOMEM)
            }
            Placement::Fixed | Placement::FixedNoReplace => {
                let start = request.addr;
                if start > USER_END - len {
                    return Err(Errno::ENOMEM);
                }
                if !is_aligned(start) {
                    return Err(Errno::EINVAL);
                }
                if start < MMAP_MIN_ADDR {
                    return Err(Errno::EPERM);
                }
                let taken = self.overlapping(start, start + len).next().is_some();
                if taken && request.placement == Placement::FixedNoReplace {
                    return Err(Errno::EEXIST);
                }
                Ok(start)
            }
        }
    }
}

/// Rounds a hint down to a page and up to the lowest address that may be mapped; 0 stays 0.
fn round_hint(hint: u64) -> u64 {
    let hint = hint & !(PAGE - 1);
    if hint == 0 {
        0
    } else {
        hint.max(MMAP_MIN_ADDR)
    }
}
