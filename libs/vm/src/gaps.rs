//! The free ranges between mappings, found by length.
//!
//! They are kept in order of address, in blocks of bounded size that know their longest range: a search looks at one number
//! for each block and at the ranges of a few blocks, so its cost grows with the square root of how many there are at most.
//! (A tree that knows the longest range of each branch would be better still; for [`crate::MAX_MAP_COUNT`] mappings it isn't
//! worth its code.)

use alloc::vec;
use alloc::vec::Vec;
use tyn_abi::USER_END;

/// Most ranges of a block; few in tests, so that they see blocks split and vanish.
const BLOCK: usize = if cfg!(test) { 4 } else { 128 };

/// A free range `[start, end)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Gap {
    fn len(self) -> u64 {
        self.end - self.start
    }
}

/// Neighbouring free ranges.
///
/// # Invariants
/// Not empty; in order of address.
#[derive(Clone, Debug)]
struct Block {
    gaps: Vec<Gap>,
    longest: u64,
}

impl Block {
    fn new(gaps: Vec<Gap>) -> Self {
        let mut block = Self { gaps, longest: 0 };
        block.measure();
        block
    }

    fn measure(&mut self) {
        self.longest = self.gaps.iter().map(|gap| gap.len()).max().unwrap_or(0);
    }

    fn first(&self) -> u64 {
        self.gaps.first().map_or(0, |gap| gap.start)
    }
}

/// All free ranges of an address space.
#[derive(Clone, Debug)]
pub(crate) struct Gaps {
    blocks: Vec<Block>,
}

impl Gaps {
    /// Everything is free.
    pub(crate) fn new() -> Self {
        let all = Gap {
            start: 0,
            end: USER_END,
        };
        Self {
            blocks: vec![Block::new(vec![all])],
        }
    }

    /// Says that the free range which starts at `start` ends at `end`; there is none there if that isn't above it.
    pub(crate) fn set(&mut self, start: u64, end: u64) {
        let gap = (start < end).then_some(Gap { start, end });
        let at = self.block_of(start);
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.extend(gap.map(|gap| Block::new(vec![gap])));
            return;
        };
        match (
            block.gaps.binary_search_by_key(&start, |gap| gap.start),
            gap,
        ) {
            (Ok(i), Some(gap)) => {
                let old = core::mem::replace(&mut block.gaps[i], gap);
                if old.len() == block.longest {
                    block.measure();
                }
                block.longest = block.longest.max(gap.len());
            }
            (Ok(i), None) => {
                let old = block.gaps.remove(i);
                if block.gaps.is_empty() {
                    self.blocks.remove(at);
                } else if old.len() == block.longest {
                    block.measure();
                }
            }
            (Err(i), Some(gap)) => {
                block.gaps.insert(i, gap);
                block.longest = block.longest.max(gap.len());
                if block.gaps.len() > BLOCK {
                    let upper = block.gaps.split_off(BLOCK / 2);
                    block.measure();
                    self.blocks.insert(at + 1, Block::new(upper));
                }
            }
            (Err(_), None) => {}
        }
    }

    /// Finds the highest room for `len` bytes within `[low, high)`.
    pub(crate) fn highest(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let above = self.blocks.partition_point(|block| block.first() < high);
        for block in self.blocks[..above].iter().rev() {
            if block.longest >= len {
                let mut gaps = block.gaps.iter().rev();
                let room = gaps.find_map(|gap| {
                    let start = gap.end.min(high).checked_sub(len)?;
                    (start >= gap.start.max(low)).then_some(start)
                });
                if room.is_some() {
                    return room;
                }
            }
            if block.first() <= low {
                break;
            }
        }
        None
    }

    /// Finds the lowest room for `len` bytes within `[low, high)`.
    pub(crate) fn lowest(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let blocks = self.blocks.iter().skip(self.block_of(low));
        for block in blocks.take_while(|block| block.first() < high) {
            if block.longest < len {
                continue;
            }
            let room = block.gaps.iter().find_map(|gap| {
                let start = gap.start.max(low);
                let end = start.checked_add(len)?;
                (end <= gap.end.min(high)).then_some(start)
            });
            if room.is_some() {
                return room;
            }
        }
        None
    }

    /// Returns which block a range that starts at `start` belongs to.
    fn block_of(&self, start: u64) -> usize {
        self.blocks
            .partition_point(|block| block.first() <= start)
            .saturating_sub(1)
    }

    #[cfg(test)]
    pub(crate) fn check(&self, wanted: &[Gap]) {
        let found: Vec<Gap> = self.blocks.iter().flat_map(|b| b.gaps.clone()).collect();
        assert_eq!(found, wanted);
        for block in &self.blocks {
            assert!(!block.gaps.is_empty() && block.gaps.len() <= BLOCK);
            let longest = block.gaps.iter().map(|gap| gap.len()).max();
            assert_eq!(Some(block.longest), longest);
        }
    }
}
