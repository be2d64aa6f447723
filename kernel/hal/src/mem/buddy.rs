//! The buddy system as a pure data structure: which blocks of 2^order frames are free.
//!
//! For each order a bit tree says which blocks are free: level 0 has a bit for each block, each higher level a bit for each
//! word of the one below. Taking a block, freeing one and finding one cost a few word operations, whatever the memory's size,
//! and the whole costs about two bits a frame, so a frame that is never used is never touched either.

/// Largest order: blocks of 2^MAX_ORDER frames (1 GiB).
pub(crate) const MAX_ORDER: usize = 18;
/// Most levels of a bit tree: 64^6 bits suffice for any memory.
const LEVELS: usize = 6;

/// A set of bits that finds its lowest member quickly.
struct BitTree<'a> {
    levels: [&'a mut [u64]; LEVELS],
    depth: usize,
}

impl<'a> BitTree<'a> {
    /// Returns how many words of storage `bits` bits need.
    fn words(mut bits: usize) -> usize {
        let mut words = 0;
        loop {
            bits = bits.div_ceil(64);
            words += bits;
            if bits <= 1 {
                return words;
            }
        }
    }

    /// Makes an empty set of `bits` bits in zeroed `storage`, and returns the rest of the storage.
    fn new(mut bits: usize, mut storage: &'a mut [u64]) -> (Self, &'a mut [u64]) {
        let mut levels: [&'a mut [u64]; LEVELS] = Default::default();
        let mut depth = 0;
        for level in &mut levels {
            bits = bits.div_ceil(64);
            let (this, rest) = storage.split_at_mut(bits);
            *level = this;
            storage = rest;
            depth += 1;
            if bits <= 1 {
                break;
            }
        }
        (Self { levels, depth }, storage)
    }

    fn contains(&self, bit: usize) -> bool {
        self.levels[0]
            .get(bit / 64)
            .is_some_and(|w| w >> (bit % 64) & 1 == 1)
    }

    fn insert(&mut self, mut bit: usize) {
        for level in &mut self.levels[..self.depth] {
            level[bit / 64] |= 1 << (bit % 64);
            bit /= 64;
        }
    }

    fn remove(&mut self, mut bit: usize) {
        for level in &mut self.levels[..self.depth] {
            level[bit / 64] &= !(1 << (bit % 64));
            if level[bit / 64] != 0 {
                return;
            }
            bit /= 64;
        }
    }

    fn lowest(&self) -> Option<usize> {
        let mut at = 0;
        for level in self.levels[..self.depth].iter().rev() {
            let word = *level.get(at)?;
            if word == 0 {
                return None;
            }
            at = at * 64 + word.trailing_zeros() as usize;
        }
        Some(at)
    }
}

/// Free blocks of frames `0..frames`.
pub(crate) struct Buddy<'a> {
    orders: [BitTree<'a>; MAX_ORDER + 1],
    frames: usize,
    free: usize,
}

impl<'a> Buddy<'a> {
    /// Returns how many u64 words of storage `frames` frames need.
    pub(crate) fn storage_words(frames: usize) -> usize {
        (0..=MAX_ORDER)
            .map(|order| BitTree::words((frames >> order) + 1))
            .sum()
    }

    /// Makes an allocator for frames `0..frames`, none of them free, in zeroed storage of [`Buddy::storage_words`].
    pub(crate) fn new(frames: usize, storage: &'a mut [u64]) -> Self {
        let mut rest = storage;
        let orders = core::array::from_fn(|order| {
            let (tree, remaining) = BitTree::new((frames >> order) + 1, core::mem::take(&mut rest));
            rest = remaining;
            tree
        });
        Self {
            orders,
            frames,
            free: 0,
        }
    }

    /// Returns how many frames are free.
    pub(crate) fn free_frames(&self) -> usize {
        self.free
    }

    /// Adds the frames `start..end` that are known not to be free yet.
    pub(crate) fn add_range(&mut self, mut start: usize, end: usize) {
        let end = end.min(self.frames);
        while start < end {
            let aligned = start.trailing_zeros() as usize;
            let fitting = (end - start).ilog2() as usize;
            let order = aligned.min(fitting).min(MAX_ORDER);
            self.free(start, order);
            start += 1 << order;
        }
    }

    /// Takes a block of 2^order frames, the lowest of the smallest that fits; returns its first frame.
    pub(crate) fn allocate(&mut self, order: usize) -> Option<usize> {
        let (from, block) =
            (order..=MAX_ORDER).find_map(|o| Some((o, self.orders.get(o)?.lowest()?)))?;
        self.orders[from].remove(block);
        let first = block << from;
        for lower in order..from {
            // Keep the lower half, free the upper one.
            self.orders[lower].insert((first >> lower) + 1);
        }
        self.free -= 1 << order;
        Some(first)
    }

    /// Frees the block of 2^order frames that starts at `first`, merging it with its free buddies.
    pub(crate) fn free(&mut self, first: usize, mut order: usize) {
        self.free += 1 << order;
        let mut block = first >> order;
        while order < MAX_ORDER {
            let buddy = block ^ 1;
            if !self.orders[order].contains(buddy) {
                break;
            }
            self.orders[order].remove(buddy);
            block >>= 1;
            order += 1;
        }
        self.orders[order].insert(block);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::vec::Vec;
    use std::{println, vec};

    use super::*;

    #[test]
    fn all_frames_come_out_once_and_merge_again() {
        let frames = 1000;
        let mut storage = vec![0; Buddy::storage_words(frames)];
        let mut buddy = Buddy::new(frames, &mut storage);
        buddy.add_range(3, 997);
        assert_eq!(buddy.free_frames(), 994);
        let mut seen = BTreeSet::new();
        while let Some(frame) = buddy.allocate(0) {
            assert!((3..997).contains(&frame) && seen.insert(frame));
        }
        assert_eq!((seen.len(), buddy.free_frames()), (994, 0));
        for &frame in &seen {
            buddy.free(frame, 0);
        }
        assert_eq!(buddy.allocate(8), Some(256));
    }

    #[test]
    fn random_blocks_never_overlap() {
        let frames = 4096;
        let mut storage = vec![0; Buddy::storage_words(frames)];
        let mut buddy = Buddy::new(frames, &mut storage);
        buddy.add_range(0, frames);
        let mut live: Vec<(usize, usize)> = Vec::new();
        let mut owner = vec![false; frames];
        let mut x = 12345u64;
        for _ in 0..20_000 {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let r = (x >> 33) as usize;
            if r.is_multiple_of(2) || live.is_empty() {
                let order = r / 2 % 5;
                let Some(first) = buddy.allocate(order) else {
                    continue;
                };
                assert_eq!(first % (1 << order), 0);
                let block = &mut owner[first..first + (1 << order)];
                assert!(block.iter().all(|taken| !taken));
                block.fill(true);
                live.push((first, order));
            } else {
                let (first, order) = live.swap_remove(r / 2 % live.len());
                owner[first..first + (1 << order)].fill(false);
                buddy.free(first, order);
            }
            assert_eq!(buddy.free_frames(), owner.iter().filter(|o| !**o).count());
        }
        println!("{} live", live.len());
        for (first, order) in live {
            buddy.free(first, order);
        }
        assert_eq!(buddy.allocate(12), Some(0));
    }
}
