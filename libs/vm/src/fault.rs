//! What a page fault means.

use crate::{Limits, PAGE, Prot, STACK_GUARD_GAP, Space, VmFlags, Vma};
use core::ops::Range;
use tyn_abi::Access;

/// Why an access is an error: `si_code` of SIGSEGV.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegvCode {
    /// `SEGV_MAPERR`: nothing is mapped there.
    NotMapped,
    /// `SEGV_ACCERR`: the mapping does not allow it.
    NotAllowed,
}

/// Rights of a page as the hardware has them now; read is implied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PagePerms {
    /// Stores are allowed.
    pub write: bool,
    /// Instruction fetches are allowed.
    pub execute: bool,
}

/// How to resolve a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Fix<'a, F> {
    /// The page allows the access already (another CPU resolved it): retry.
    Retry,
    /// Map the frame of zeros that all share, without write permission.
    MapZero {
        /// Rights.
        execute: bool,
    },
    /// Map a new frame of zeros, writable.
    MapFresh {
        /// Rights.
        execute: bool,
    },
    /// Map the file's own frame.
    MapFile {
        /// The file.
        file: &'a F,
        /// Page of the file.
        page: u64,
        /// Rights; with `write` stores go to the file.
        perms: PagePerms,
    },
    /// Map a copy of the file's frame, writable.
    CopyFile {
        /// The file.
        file: &'a F,
        /// Page of the file.
        page: u64,
        /// Rights.
        execute: bool,
    },
    /// Make the present page writable if nobody else holds its frame, else replace it by a copy.
    Own {
        /// Rights.
        execute: bool,
    },
    /// Map the present page's frame again with these rights.
    Widen {
        /// Rights.
        perms: PagePerms,
    },
}

impl<F: Clone + PartialEq> Space<F> {
    /// Decides about a fault at `va`. `present` is what the page table has for the page now. May extend a mapping that grows
    /// down.
    ///
    /// # Errors
    /// [`SegvCode`].
    pub fn fault(
        &mut self,
        va: u64,
        access: Access,
        present: Option<PagePerms>,
        limits: &Limits,
    ) -> Result<Fix<'_, F>, SegvCode> {
        if self.find(va).is_none() {
            self.grow_stack(va, limits)?;
        }
        let start = self.find(va).ok_or(SegvCode::NotMapped)?.start;
        let vma = self.vmas.get_mut(&start).ok_or(SegvCode::NotMapped)?;
        if !is_allowed(vma.prot, access) {
            return Err(SegvCode::NotAllowed);
        }
        let is_write = access == Access::Write;
        if is_write && !vma.is_shared() {
            vma.owns_pages = true;
        }
        Ok(resolve(vma, va, access, present))
    }

    /// Returns the pages around `va` that a read fault should map as well when they are cheap to get: those of the aligned
    /// block of `window` bytes (a power of two of pages) that belong to the same mapping.
    #[must_use]
    pub fn fault_around(&self, va: u64, window: u64) -> Range<u64> {
        let page = va & !(PAGE - 1);
        let Some(vma) = self.find(va) else {
            return page..page;
        };
        let block = page & !(window.max(PAGE) - 1);
        block.max(vma.start)..block.saturating_add(window.max(PAGE)).min(vma.end)
    }

    /// Extends a mapping that grows down so that it holds `va` (`RLIMIT_STACK`, guard gap to what lies below).
    fn grow_stack(&mut self, va: u64, limits: &Limits) -> Result<(), SegvCode> {
        let above = self
            .at_or_after(va)
            .filter(|vma| vma.flags.contains(VmFlags::GROWS_DOWN));
        let above = above.ok_or(SegvCode::NotMapped)?;
        let (old_start, end, flags, prot) = (above.start, above.end, above.flags, above.prot);
        let start = va & !(PAGE - 1);
        let too_close = self.at_or_before(va).is_some_and(|below| {
            let matters = !below.prot.is_empty() && !below.flags.contains(VmFlags::GROWS_DOWN);
            start
                < below
                    .end
                    .saturating_add(if matters { STACK_GUARD_GAP } else { 0 })
        });
        if too_close
            || start < crate::MMAP_MIN_ADDR
            || end - start > limits.stack
            || self
                .check_growth(old_start - start, flags, prot, limits)
                .is_err()
        {
            return Err(SegvCode::NotMapped);
        }
        if let Some(vma) = self.take(old_start) {
            self.insert(Vma { start, ..vma });
        }
        Ok(())
    }
}

/// Returns whether a mapping with these rights allows the access; on x86-64 every right implies reading.
fn is_allowed(prot: Prot, access: Access) -> bool {
    match access {
        Access::Read => !prot.is_empty(),
        Access::Write => prot.contains(Prot::WRITE),
        Access::Execute => prot.contains(Prot::EXEC),
    }
}

/// Decides about an allowed access.
fn resolve<F: Clone + PartialEq>(
    vma: &Vma<F>,
    va: u64,
    access: Access,
    present: Option<PagePerms>,
) -> Fix<'_, F> {
    let execute = vma.prot.contains(Prot::EXEC);
    let shared_write = vma.is_shared() && vma.prot.contains(Prot::WRITE);
    if let Some(now) = present {
        return match access {
            Access::Read => Fix::Retry,
            Access::Write if now.write => Fix::Retry,
            Access::Write if vma.is_shared() => Fix::Widen {
                perms: PagePerms {
                    write: true,
                    execute,
                },
            },
            Access::Write => Fix::Own { execute },
            Access::Execute if now.execute => Fix::Retry,
            Access::Execute => Fix::Widen {
                perms: PagePerms {
                    write: now.write,
                    execute,
                },
            },
        };
    }
    let is_write = access == Access::Write;
    match (&vma.file, vma.file_page(va)) {
        (Some(part), Some(page)) if is_write && !vma.is_shared() => Fix::CopyFile {
            file: &part.file,
            page,
            execute,
        },
        (Some(part), Some(page)) => Fix::MapFile {
            file: &part.file,
            page,
            perms: PagePerms {
                write: shared_write,
                execute,
            },
        },
        _ if is_write => Fix::MapFresh { execute },
        _ => Fix::MapZero { execute },
    }
}
