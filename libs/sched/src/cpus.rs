//! CPUs by index, and sets of them.

/// Most CPUs that a [`CpuSet`] can name.
pub const MAX_CPUS: u32 = 64;

/// Index of a CPU, dense from 0, below [`MAX_CPUS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CpuIndex(pub u32);

/// A set of CPUs (`cpu_set_t`, `CPU_SET(3)`): bit N is CPU N.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CpuSet(pub u64);

impl CpuSet {
    /// No CPU.
    pub const EMPTY: Self = Self(0);
    /// Every CPU there can be.
    pub const ALL: Self = Self(u64::MAX);

    /// Returns the set of the first `count` CPUs.
    #[must_use]
    pub const fn first(count: u32) -> Self {
        if count >= MAX_CPUS {
            Self::ALL
        } else {
            Self((1 << count) - 1)
        }
    }

    /// Returns whether `cpu` is in the set.
    #[must_use]
    pub const fn contains(self, cpu: CpuIndex) -> bool {
        cpu.0 < MAX_CPUS && self.0 >> cpu.0 & 1 == 1
    }

    /// Returns whether no CPU is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the CPUs in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Iterates over the set, lowest index first.
    pub fn iter(self) -> impl Iterator<Item = CpuIndex> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let lowest = (rest != 0).then_some(rest.trailing_zeros());
            rest &= rest.wrapping_sub(1);
            lowest.map(CpuIndex)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn first_names_the_lowest_indices() {
        assert_eq!(CpuSet::first(0), CpuSet::EMPTY);
        assert_eq!(CpuSet::first(3), CpuSet(0b111));
        assert_eq!(CpuSet::first(64), CpuSet::ALL);
    }

    #[test]
    fn sets_iterate_in_order_and_reject_indices_out_of_range() {
        let set = CpuSet(1 << 63 | 0b1010);
        let all: Vec<u32> = set.iter().map(|c| c.0).collect();
        assert_eq!(all, [1, 3, 63]);
        assert!(!CpuSet::ALL.contains(CpuIndex(64)));
        assert_eq!(set.intersection(CpuSet(0b11)), CpuSet(0b10));
    }
}
