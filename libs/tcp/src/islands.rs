//! Islands: ranges of bytes that came too early, and what acknowledgements tell of them (RFC 2018, 2883).

use alloc::vec::Vec;

use crate::options::{Block, MOST_BLOCKS, Options};
use crate::report::Reports;
use crate::seq::Seq;

/// Islands that are kept; a segment that would make one more is dropped, and comes again. A window of megabytes on a path that
/// loses or reorders has hundreds.
pub(crate) const MOST_ISLANDS: usize = 1024;

/// The islands of a connection.
#[derive(Debug, Default)]
pub(crate) struct Islands {
    /// In order of sequence numbers, apart from each other.
    list: Vec<Block>,
    /// What the sender is to be told of them, and of what came twice.
    pub(crate) reports: Reports,
}

impl Islands {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the end of the last one.
    pub(crate) fn end(&self) -> Option<Seq> {
        self.list.last().map(|last| last.end)
    }

    /// Returns whether all of these bytes are there.
    pub(crate) fn has(&self, block: Block) -> bool {
        let island = self.at(block.start);
        island.is_some_and(|island| !island.end.is_before(block.end))
    }

    /// Returns the island that has a byte.
    fn at(&self, at: Seq) -> Option<Block> {
        let behind = self.list.partition_point(|i| !i.start.is_after(at));
        let island = self.list.get(behind.checked_sub(1)?)?;
        island.end.is_after(at).then_some(*island)
    }

    /// Notes an island, joined with those that it touches; returns whether there is room for it.
    pub(crate) fn note(&mut self, block: Block) -> bool {
        let from = self.list.partition_point(|i| i.end.is_before(block.start));
        let to = self.list.partition_point(|i| !i.start.is_after(block.end));
        let mut joined = block;
        for island in self.list.get(from..to).unwrap_or_default() {
            joined.start = joined.start.min(island.start);
            joined.end = joined.end.max(island.end);
        }
        if from == to {
            if self.list.len() >= MOST_ISLANDS || self.list.try_reserve(1).is_err() {
                return false;
            }
            self.list.insert(from, joined);
        } else {
            self.list.drain(from + 1..to);
            if let Some(first) = self.list.get_mut(from) {
                *first = joined;
            }
        }
        self.reports.note_island(joined);
        true
    }

    /// Takes out what all bytes before `next` reach, and returns how far that goes.
    pub(crate) fn reach(&mut self, mut next: Seq) -> Seq {
        let islands = self.list.iter();
        let reached = islands.take_while(|i| !i.start.is_after(next)).count();
        for island in self.list.drain(..reached) {
            next = next.max(island.end);
        }
        self.reports.forget_before(next);
        next
    }

    /// Adds what the sender should know to the options of an acknowledgement: what came twice, the islands that grew
    /// last, and others. What there is no room for is left for the next one.
    pub(crate) fn report(&mut self, options: &mut Options, most: usize) {
        let mut left = most;
        let repeated = (left > 0).then(|| self.reports.take_repeated()).flatten();
        if let Some(block) = repeated {
            options.push_block(block);
            left -= 1;
        }
        if self.list.is_empty() || left == 0 {
            return;
        }
        // RFC 2883 §4 (4): only by the island around it does the sender see that a block ahead of what is in order is none.
        if let Some(island) = repeated.and_then(|block| self.at(block.start)) {
            options.push_block(island);
            left -= 1;
        }
        let (mut grown, mut count) = ([Seq(0); MOST_BLOCKS], 0);
        for (to, at) in grown.iter_mut().zip(self.reports.take_islands(left)) {
            *to = at;
            count += 1;
        }
        let grown = grown.iter().take(count).filter_map(|&at| self.at(at));
        for island in grown.chain(self.list.iter().copied()) {
            if left == 0 {
                return;
            }
            if !options.blocks().contains(&island) {
                options.push_block(island);
                left -= 1;
            }
        }
    }

    /// Returns the bytes of memory of the lists.
    pub(crate) fn memory(&self) -> usize {
        self.list.capacity() * size_of::<Block>() + self.reports.memory()
    }
}
