//! One mapping.

use crate::PAGE;

bitflags::bitflags! {
    /// Rights of a mapping (`PROT_*` of `mmap(2)`, same bits); empty is `PROT_NONE`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Prot: u32 {
        /// May be read. On x86-64 any right implies this one.
        const READ = 1;
        /// May be written.
        const WRITE = 2;
        /// May be executed.
        const EXEC = 4;
    }
}

bitflags::bitflags! {
    /// Properties of a mapping.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct VmFlags: u32 {
        /// Stores go to the file (`MAP_SHARED`).
        const SHARED = 1 << 0;
        /// Extends itself downwards when touched below its start (`MAP_GROWSDOWN`, the stack).
        const GROWS_DOWN = 1 << 1;
        /// Not counted by the overcommit rule (`MAP_NORESERVE`).
        const NO_RESERVE = 1 << 2;
        /// Locked in memory (`mlock(2)`).
        const LOCKED = 1 << 3;
        /// Not inherited by fork (`MADV_DONTFORK`).
        const NO_FORK = 1 << 4;
        /// Inherited as zeros (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 1 << 5;
        /// Left out of core dumps (`MADV_DONTDUMP`).
        const NO_DUMP = 1 << 6;
        /// Huge pages wanted (`MADV_HUGEPAGE`).
        const HUGE = 1 << 7;
        /// Huge pages not wanted (`MADV_NOHUGEPAGE`).
        const NO_HUGE = 1 << 8;
        /// Belongs to the kernel (vDSO): may not be resized or locked.
        const SPECIAL = 1 << 9;
    }
}

/// A file mapped from some page on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilePart<F> {
    /// The file.
    pub file: F,
    /// Index of the file's page at the start of the mapping.
    pub page: u64,
}

/// A mapping: `[start, end)` with one set of properties.
///
/// # Invariants
/// `start < end`, both page-aligned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vma<F> {
    /// First address.
    pub start: u64,
    /// First address past it.
    pub end: u64,
    /// Rights.
    pub prot: Prot,
    /// Rights that `mprotect(2)` may give.
    pub max_prot: Prot,
    /// Properties.
    pub flags: VmFlags,
    /// The file behind it; `None` for anonymous memory.
    pub file: Option<FilePart<F>>,
    /// What `/proc/self/maps` shows for a mapping that has no file, e.g. `[vdso]`.
    pub name: Option<&'static str>,
    /// Pages of its own may exist in it (a private mapping that was written to). Fork need not look at others.
    pub owns_pages: bool,
}

impl<F: Clone + PartialEq> Vma<F> {
    /// Returns its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Always false.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns whether `va` lies in it.
    #[must_use]
    pub fn contains(&self, va: u64) -> bool {
        (self.start..self.end).contains(&va)
    }

    /// Returns whether stores go to the file.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.flags.contains(VmFlags::SHARED)
    }

    /// Returns the file's page at `va`.
    #[must_use]
    pub fn file_page(&self, va: u64) -> Option<u64> {
        let part = self.file.as_ref()?;
        Some(part.page + (va - self.start) / PAGE)
    }

    /// Returns the part of it within `[start, end)`, which must overlap it.
    #[must_use]
    pub(crate) fn clip(&self, start: u64, end: u64) -> Self {
        let start = start.max(self.start);
        let file = self.file.as_ref().map(|part| FilePart {
            file: part.file.clone(),
            page: part.page + (start - self.start) / PAGE,
        });
        Self {
            start,
            end: end.min(self.end),
            file,
            ..self.clone()
        }
    }

    /// Returns whether `next`, which starts where this one ends, can be one mapping with it.
    #[must_use]
    pub(crate) fn merges_with(&self, next: &Self) -> bool {
        let files_continue = match (&self.file, &next.file) {
            (None, None) => true,
            (Some(a), Some(b)) => a.file == b.file && a.page + self.len() / PAGE == b.page,
            _ => false,
        };
        self.end == next.start
            && self.prot == next.prot
            && self.max_prot == next.max_prot
            && self.flags == next.flags
            && self.name == next.name
            && !self.flags.contains(VmFlags::SPECIAL)
            && files_continue
    }

    /// Returns whether its pages count against the overcommit rule: private, writable, not `MAP_NORESERVE`.
    #[must_use]
    pub(crate) fn is_accountable(flags: VmFlags, prot: Prot) -> bool {
        prot.contains(Prot::WRITE) && !flags.intersects(VmFlags::SHARED | VmFlags::NO_RESERVE)
    }
}
