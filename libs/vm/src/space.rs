//! The set of mappings and its bookkeeping.

use crate::gaps::Gaps;
use crate::{Layout, MAX_MAP_COUNT, Prot, VmFlags, Vma};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use tyn_abi::Errno;

/// Limits of the calling process that memory calls obey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `RLIMIT_AS` in bytes.
    pub address_space: u64,
    /// `RLIMIT_DATA` in bytes.
    pub data: u64,
    /// `RLIMIT_STACK` in bytes.
    pub stack: u64,
    /// RAM in bytes: a single request for more private writable memory is refused.
    pub ram: u64,
}

impl Limits {
    /// Nothing is limited.
    pub const NONE: Self = Self {
        address_space: u64::MAX,
        data: u64::MAX,
        stack: u64::MAX,
        ram: u64::MAX,
    };
}

/// Sizes in bytes, as `/proc/self/status` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// `VmSize`: everything mapped.
    pub total: u64,
    /// `VmData`: private, writable, not stack.
    pub data: u64,
    /// `VmStk`: grows down.
    pub stack: u64,
    /// `VmExe` and `VmLib` together: file-backed, executable, not writable.
    pub text: u64,
    /// `VmLck`.
    pub locked: u64,
}

impl Usage {
    fn of<F: Clone + PartialEq>(vma: &Vma<F>) -> Self {
        let len = vma.len();
        let when = |condition: bool| if condition { len } else { 0 };
        let (writable, exec) = (
            vma.prot.contains(Prot::WRITE),
            vma.prot.contains(Prot::EXEC),
        );
        let stack = vma.flags.contains(VmFlags::GROWS_DOWN);
        Self {
            total: len,
            data: when(writable && !vma.is_shared() && !stack),
            stack: when(stack),
            text: when(exec && !writable && !stack && vma.file.is_some()),
            locked: when(vma.flags.contains(VmFlags::LOCKED)),
        }
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            total: f(self.total, other.total),
            data: f(self.data, other.data),
            stack: f(self.stack, other.stack),
            text: f(self.text, other.text),
            locked: f(self.locked, other.locked),
        }
    }
}

/// The mappings of an address space.
///
/// # Invariants
/// Mappings are disjoint, lie in user space, and neighbours that could be one are one. `usage` is the sum over them; `gaps` has
/// what is between them, without the guard gaps.
#[derive(Clone, Debug)]
pub struct Space<F> {
    pub(crate) vmas: BTreeMap<u64, Vma<F>>,
    pub(crate) gaps: Gaps,
    pub(crate) layout: Layout,
    /// Start and end of the program break, bytes.
    pub(crate) brk: (u64, u64),
    /// Flags that every new mapping gets (`mlockall(MCL_FUTURE)`).
    pub(crate) default_flags: VmFlags,
    usage: Usage,
}

impl<F: Clone + PartialEq> Space<F> {
    /// Makes an empty address space. The program break is empty and unmovable until [`Space::set_break_start`].
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            vmas: BTreeMap::new(),
            gaps: Gaps::new(),
            layout,
            brk: (0, 0),
            default_flags: VmFlags::empty(),
            usage: Usage {
                total: 0,
                data: 0,
                stack: 0,
                text: 0,
                locked: 0,
            },
        }
    }

    /// Returns the layout.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the sizes.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns how many mappings there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.vmas.len()
    }

    /// Returns the mappings in order of address.
    pub fn iter(&self) -> impl Iterator<Item = &Vma<F>> {
        self.vmas.values()
    }

    /// Returns the mapping that holds `va`.
    #[must_use]
    pub fn find(&self, va: u64) -> Option<&Vma<F>> {
        self.at_or_before(va).filter(|vma| vma.contains(va))
    }

    /// Returns the mappings that overlap `[start, end)`, in order.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Vma<F>> {
        let first = self.find(start).map_or(start, |vma| vma.start);
        self.vmas.range(first..end.max(first)).map(|(_, vma)| vma)
    }

    /// Returns whether `[start, end)` is mapped without a hole.
    #[must_use]
    pub fn is_covered(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for vma in self.overlapping(start, end) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    pub(crate) fn at_or_before(&self, va: u64) -> Option<&Vma<F>> {
        self.vmas.range(..=va).next_back().map(|(_, vma)| vma)
    }

    pub(crate) fn at_or_after(&self, va: u64) -> Option<&Vma<F>> {
        self.vmas.range(va..).next().map(|(_, vma)| vma)
    }

    /// Checks that a mapping may be added; as on Linux the last one may exceed the number by one.
    pub(crate) fn check_count(&self) -> Result<(), Errno> {
        if self.count() > MAX_MAP_COUNT {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// Checks that mappings may be split `times` times.
    pub(crate) fn check_split(&self, times: usize) -> Result<(), Errno> {
        if self.count() + times > MAX_MAP_COUNT {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// Checks that `len` further bytes with these properties are within the limits.
    pub(crate) fn check_growth(
        &self,
        len: u64,
        flags: VmFlags,
        prot: Prot,
        limits: &Limits,
    ) -> Result<(), Errno> {
        let is_data =
            prot.contains(Prot::WRITE) && !flags.intersects(VmFlags::SHARED | VmFlags::GROWS_DOWN);
        let over = |used: u64, limit: u64| used.saturating_add(len) > limit;
        if over(self.usage.total, limits.address_space)
            || is_data && over(self.usage.data, limits.data)
            || Vma::<F>::is_accountable(flags, prot) && len > limits.ram
        {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Adds a mapping to where nothing is, merging it with its neighbours.
    pub(crate) fn insert(&mut self, mut vma: Vma<F>) {
        if let Some(prev) = self
            .at_or_before(vma.start)
            .filter(|prev| prev.merges_with(&vma))
        {
            let prev = prev.start;
            if let Some(prev) = self.take(prev) {
                vma = Vma {
                    end: vma.end,
                    owns_pages: prev.owns_pages | vma.owns_pages,
                    ..prev
                };
            }
        }
        if self
            .vmas
            .get(&vma.end)
            .is_some_and(|next| vma.merges_with(next))
            && let Some(next) = self.take(vma.end)
        {
            vma.end = next.end;
            vma.owns_pages |= next.owns_pages;
        }
        self.insert_alone(vma);
    }

    /// Adds a mapping to where nothing is, without merging.
    pub(crate) fn insert_alone(&mut self, vma: Vma<F>) {
        self.usage = self.usage.zip(Usage::of(&vma), |a, b| a.saturating_add(b));
        self.narrow_gaps(&vma);
        self.vmas.insert(vma.start, vma);
    }

    /// Takes out the mapping that starts at `start`.
    pub(crate) fn take(&mut self, start: u64) -> Option<Vma<F>> {
        let vma = self.vmas.remove(&start)?;
        self.usage = self.usage.zip(Usage::of(&vma), |a, b| a.saturating_sub(b));
        self.widen_gaps(&vma);
        Some(vma)
    }

    /// Takes out everything in `[start, end)`, splitting mappings that reach over its edges.
    pub(crate) fn take_range(&mut self, start: u64, end: u64) -> Vec<Vma<F>> {
        let starts: Vec<u64> = self.overlapping(start, end).map(|vma| vma.start).collect();
        let mut taken = Vec::with_capacity(starts.len());
        for at in starts {
            let Some(vma) = self.take(at) else { continue };
            if vma.start < start {
                self.insert_alone(vma.clip(vma.start, start));
            }
            if vma.end > end {
                self.insert_alone(vma.clip(end, vma.end));
            }
            taken.push(vma.clip(start, end));
        }
        taken
    }

    /// Changes the part of one mapping within `[start, end)`, which must overlap it; the result is merged with its
    /// neighbours.
    ///
    /// # Errors
    /// `ENOMEM` when there would be too many mappings.
    pub(crate) fn change(
        &mut self,
        at: u64,
        start: u64,
        end: u64,
        apply: impl FnOnce(&mut Vma<F>),
    ) -> Result<(), Errno> {
        let Some(vma) = self.vmas.get(&at) else {
            return Ok(());
        };
        let splits = usize::from(vma.start < start) + usize::from(vma.end > end);
        if splits > 0 {
            self.check_split(splits)?;
        }
        let Some(vma) = self.take(at) else {
            return Ok(());
        };
        if vma.start < start {
            self.insert_alone(vma.clip(vma.start, start));
        }
        if vma.end > end {
            self.insert_alone(vma.clip(end, vma.end));
        }
        let mut middle = vma.clip(start, end);
        apply(&mut middle);
        self.insert(middle);
        Ok(())
    }

    /// Walks `[start, end)` as `mprotect(2)`, `mlock(2)` and others do: `apply` decides on each mapped piece in order; what
    /// was done before an error stays. A hole ends the walk with `ENOMEM`.
    ///
    /// # Errors
    /// `ENOMEM`, or what `apply` returns.
    pub(crate) fn walk(
        &mut self,
        start: u64,
        end: u64,
        mut apply: impl FnMut(&mut Self, &Vma<F>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut at = start;
        while at < end {
            let piece = self.find(at).ok_or(Errno::ENOMEM)?.clip(at, end);
            apply(self, &piece)?;
            at = piece.end;
        }
        Ok(())
    }

    /// Applies a change to `[piece.start, piece.end)`, part of one mapping.
    pub(crate) fn change_piece(
        &mut self,
        piece: &Vma<F>,
        apply: impl FnOnce(&mut Vma<F>),
    ) -> Result<(), Errno> {
        let Some(at) = self.find(piece.start).map(|vma| vma.start) else {
            return Ok(());
        };
        self.change(at, piece.start, piece.end, apply)
    }

    /// Returns how much of `[start, end)` is mapped, in bytes.
    pub(crate) fn mapped_bytes(&self, start: u64, end: u64) -> u64 {
        self.overlapping(start, end)
            .map(|vma| vma.end.min(end) - vma.start.max(start))
            .sum()
    }

    /// Returns the address range as whole pages, checked as `mprotect(2)`, `madvise(2)` and `mlock(2)` do.
    ///
    /// # Errors
    /// `EINVAL` when `start` is not page-aligned; `overflow` when the end is beyond the address range.
    pub(crate) fn page_range(start: u64, len: u64, overflow: Errno) -> Result<(u64, u64), Errno> {
        if !crate::is_aligned(start) {
            return Err(Errno::EINVAL);
        }
        let len = crate::page_up(len).ok_or(overflow)?;
        let end = start.checked_add(len).ok_or(overflow)?;
        Ok((start, end))
    }

    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let mut usage = Usage::default();
        let mut last: Option<&Vma<F>> = None;
        for (start, vma) in &self.vmas {
            assert_eq!(*start, vma.start);
            assert!(vma.start < vma.end);
            assert!(crate::is_aligned(vma.start) && crate::is_aligned(vma.end));
            assert!(vma.end <= tyn_abi::USER_END);
            if let Some(last) = last {
                assert!(last.end <= vma.start, "overlap");
            }
            usage = usage.zip(Usage::of(vma), |a, b| a + b);
            last = Some(vma);
        }
        assert_eq!(usage, self.usage);
        self.check_gaps();
    }
}
