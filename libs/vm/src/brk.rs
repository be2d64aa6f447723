//! The program break (`brk(2)`).

use crate::{Limits, PAGE, Prot, STACK_GUARD_GAP, Space, Unmapped, VmFlags, Vma, page_up};
use tyn_abi::{Errno, USER_END};

impl<F: Clone + PartialEq> Space<F> {
    /// Sets where the program break starts (`execve`); nothing is mapped yet.
    pub fn set_break_start(&mut self, start: u64) {
        self.brk = (start, start);
    }

    /// Returns start and end of the program break.
    #[must_use]
    pub const fn program_break(&self) -> (u64, u64) {
        self.brk
    }

    /// Moves the end of the program break to `end`; returns what a shrinking unmapped.
    ///
    /// # Errors
    /// `ENOMEM` or `EINVAL` when it cannot be moved there; `brk` then stays, and the system call returns its old end.
    pub fn set_break(&mut self, end: u64, limits: &Limits) -> Result<Option<Unmapped<F>>, Errno> {
        let (start, old_end) = self.brk;
        if end < start || start == 0 {
            return Err(Errno::EINVAL);
        }
        if end - start > limits.data {
            return Err(Errno::ENOMEM);
        }
        let (Some(old_top), Some(new_top)) = (page_up(old_end), page_up(end)) else {
            return Err(Errno::ENOMEM);
        };
        if new_top <= old_top {
            let len = old_top - new_top;
            let unmapped = if len == 0 {
                None
            } else {
                Some(self.unmap(new_top, len)?)
            };
            self.brk.1 = end;
            return Ok(unmapped);
        }
        self.grow_break(old_top, new_top, limits)?;
        self.brk.1 = end;
        Ok(None)
    }

    fn grow_break(&mut self, old_top: u64, new_top: u64, limits: &Limits) -> Result<(), Errno> {
        let len = new_top - old_top;
        let prot = Prot::READ | Prot::WRITE;
        // One guard page is kept to whatever follows, a whole gap to a stack.
        let next_start = self.at_or_after(old_top).map_or(USER_END, |next| {
            if next.flags.contains(VmFlags::GROWS_DOWN) {
                next.start.saturating_sub(STACK_GUARD_GAP)
            } else {
                next.start
            }
        });
        let overlaps = self.find(old_top).is_some();
        if overlaps || new_top.checked_add(PAGE).is_none_or(|top| top > next_start) {
            return Err(Errno::ENOMEM);
        }
        self.check_growth(len, self.default_flags, prot, limits)?;
        self.check_count()?;
        self.insert(Vma {
            start: old_top,
            end: new_top,
            prot,
            max_prot: Prot::all(),
            flags: self.default_flags,
            file: None,
            name: None,
            owns_pages: false,
        });
        Ok(())
    }
}
