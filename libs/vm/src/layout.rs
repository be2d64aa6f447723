//! Where the regions of an address space lie (Linux's `arch_pick_mmap_layout` and `fs/binfmt_elf.c` for x86-64).

use crate::{PAGE, STACK_GUARD_GAP};
use tyn_abi::USER_END;

/// Random bits for the layout of one program (ASLR).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Randomness {
    /// For the stack.
    pub stack: u64,
    /// For the mmap region.
    pub mmap: u64,
    /// For a position-independent executable.
    pub image: u64,
    /// For the program break.
    pub brk: u64,
}

/// Fixed points of an address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// End of the stack; page-aligned.
    pub stack_top: u64,
    /// Mappings are placed below this, downwards.
    pub mmap_top: u64,
    /// When there is no room below `mmap_top`, mappings are placed from here upwards.
    pub mmap_fallback: u64,
    /// Where a position-independent executable is loaded (before its alignment).
    pub image_base: u64,
    /// What is added to the end of the program for the start of the break.
    pub brk_offset: u64,
}

impl Layout {
    /// Lays out an address space whose stack may grow to `stack_limit` bytes.
    ///
    /// The stack moves by up to 16 GiB, mmap region and executable by up to 1 TiB (28 bits of pages), the break by up to
    /// 32 MiB, as on Linux.
    #[must_use]
    pub fn new(stack_limit: u64, random: &Randomness) -> Self {
        const STACK_PAGES: u64 = 0x3f_ffff;
        const MMAP_PAGES: u64 = (1 << 28) - 1;
        const BRK_PAGES: u64 = (32 << 20) / PAGE - 1;
        const MIN_GAP: u64 = 128 << 20;
        let task_size = USER_END;
        let stack_room = (STACK_PAGES + 1) * PAGE + STACK_GUARD_GAP;
        let gap = stack_limit
            .saturating_add(stack_room)
            .clamp(MIN_GAP, task_size / 6 * 5);
        let gap = gap & !(PAGE - 1);
        let mmap_random = (random.mmap & MMAP_PAGES) * PAGE;
        Self {
            stack_top: task_size - (random.stack & STACK_PAGES) * PAGE,
            mmap_top: task_size
                .saturating_sub(gap)
                .saturating_sub(mmap_random)
                .max(MIN_GAP),
            mmap_fallback: page_down(task_size / 3) + mmap_random,
            image_base: page_down(task_size / 3 * 2) + (random.image & MMAP_PAGES) * PAGE,
            brk_offset: (random.brk & BRK_PAGES) * PAGE,
        }
    }
}

fn page_down(va: u64) -> u64 {
    va & !(PAGE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_randomness_regions_are_at_their_limits() {
        let l = Layout::new(8 << 20, &Randomness::default());
        assert_eq!(l.stack_top, USER_END);
        assert_eq!(l.image_base, 0x5555_5555_4000);
        assert_eq!(l.brk_offset, 0);
    }

    proptest! {
        #[test]
        fn regions_are_aligned_and_stay_apart(
            limit in prop_oneof![Just(8u64 << 20), Just(u64::MAX), any::<u64>()],
            bits in any::<[u64; 4]>(),
        ) {
            let random = Randomness { stack: bits[0], mmap: bits[1], image: bits[2], brk: bits[3] };
            let l = Layout::new(limit, &random);
            for va in [l.stack_top, l.mmap_top, l.mmap_fallback, l.image_base, l.brk_offset] {
                prop_assert!(va % PAGE == 0 && va <= USER_END);
            }
            let grown = limit.min(1 << 40);
            prop_assert!(l.mmap_top + STACK_GUARD_GAP <= l.stack_top - grown);
            if limit <= 1 << 40 {
                prop_assert!(l.image_base + (1 << 40) < l.mmap_top);
            }
        }
    }
}
