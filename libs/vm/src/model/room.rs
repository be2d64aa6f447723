//! Room that is found, against a search that tries every place there could be.

use super::{Page, request};
use crate::gaps::Gap;
use crate::place::guarded_start;
use crate::{Layout, Limits, MMAP_MIN_ADDR, PAGE, Placement, Prot, Randomness, Space, VmFlags};
use alloc::vec::Vec;
use proptest::prelude::*;
use tyn_abi::USER_END;

/// More than some guard gaps.
const PAGES: u64 = 1500;

impl<F: Clone + PartialEq> Space<F> {
    pub(crate) fn check_gaps(&self) {
        let starts = self.iter().map(guarded_start).chain([USER_END]);
        let ends = [0].into_iter().chain(self.iter().map(|vma| vma.end));
        let gaps: Vec<Gap> = ends
            .zip(starts)
            .filter(|(start, end)| start < end)
            .map(|(start, end)| Gap { start, end })
            .collect();
        self.gaps.check(&gaps);
    }

    fn naive_rooms(&self, len: u64, low: u64, high: u64) -> impl Iterator<Item = u64> {
        let below = self
            .iter()
            .map(guarded_start)
            .filter_map(move |end| end.checked_sub(len));
        self.iter()
            .map(|vma| vma.end)
            .chain(below)
            .chain([low, high.saturating_sub(len)])
            .filter(move |&start| start >= low && start + len <= high)
            .filter(move |&start| self.has_room(start, len))
    }
}

fn va(page: u64) -> u64 {
    MMAP_MIN_ADDR + page * PAGE
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u64, u64, VmFlags),
    Unmap(u64, u64),
    Search(u64, u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..PAGES;
    prop_oneof![
        8 => (page.clone(), 1u64..20).prop_map(|(at, len)| Step::Map(at, len, VmFlags::empty())),
        1 => (page.clone(), 1u64..20).prop_map(|(at, len)| Step::Map(at, len, VmFlags::GROWS_DOWN)),
        4 => (page.clone(), 1u64..60).prop_map(|(at, len)| Step::Unmap(at, len)),
        4 => (1u64..80, page.clone(), page).prop_map(|(len, a, b)| Step::Search(len, a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn room_is_where_the_naive_search_finds_it(steps in proptest::collection::vec(step(), 1..120)) {
        let mut space = Space::new(Layout::new(8 << 20, &Randomness::default()));
        for step in steps {
            match step {
                Step::Map(at, len, flags) => {
                    let page = Page { prot: Prot::READ, flags, file: None };
                    let request = request(va(at), len, Placement::Fixed, page);
                    drop(space.map(request, &Limits::NONE).unwrap());
                }
                Step::Unmap(at, len) => drop(space.unmap(va(at), len * PAGE).unwrap()),
                Step::Search(len, a, b) => {
                    let (len, low, high) = (len * PAGE, va(a.min(b)), va(a.max(b)));
                    let highest = space.naive_rooms(len, low, high).max();
                    prop_assert_eq!(space.find_top_down(len, low, high), highest);
                    let lowest = space.naive_rooms(len, low, high).min();
                    prop_assert_eq!(space.find_bottom_up(len, low, high), lowest);
                }
            }
            space.check_invariants();
        }
    }
}
