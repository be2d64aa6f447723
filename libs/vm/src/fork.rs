//! `fork(2)`.

use crate::{Space, VmFlags, Vma};

impl<F: Clone + PartialEq> Space<F> {
    /// Returns the child's address space: all mappings but those marked `MADV_DONTFORK`, none of them locked.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut child = Self::new(self.layout);
        child.brk = self.brk;
        for vma in self
            .iter()
            .filter(|vma| !vma.flags.contains(VmFlags::NO_FORK))
        {
            let flags = vma.flags & !VmFlags::LOCKED;
            let wiped = flags.contains(VmFlags::WIPE_ON_FORK);
            child.insert(Vma {
                flags,
                owns_pages: vma.owns_pages && !wiped,
                ..vma.clone()
            });
        }
        child
    }
}

impl<F: Clone + PartialEq> Vma<F> {
    /// Returns whether the child of a fork must be given this mapping's present pages (copy on write). Others it gets by
    /// faulting: pages of files, and zeros.
    #[must_use]
    pub fn has_pages_to_fork(&self) -> bool {
        self.owns_pages && !self.is_shared() && !self.flags.contains(VmFlags::WIPE_ON_FORK)
    }
}
