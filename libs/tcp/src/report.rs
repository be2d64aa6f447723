//! What acknowledgements tell of islands and of what came twice, and in which order (RFC 2018 §4, RFC 2883 §4).
//!
//! Several segments may come before the next acknowledgement goes out. What one has no room for is told by those that follow
//! it at once: the sender else takes for lost what has arrived.

use alloc::vec::Vec;

use crate::options::Block;
use crate::seq::Seq;

/// Islands of which is kept when they grew, and ranges that came twice, until they are told. An older one is forgotten.
const MOST: usize = 32;

/// What there is to tell.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// The first byte of each island that grew not long ago, the latest last.
    grown: Vec<Seq>,
    /// How many of them, at the end, were not told since they grew.
    untold: usize,
    /// What came twice, in order of arrival.
    repeated: Vec<Block>,
}

impl Reports {
    /// Notes that an island grew, or was made.
    pub(crate) fn note_island(&mut self, island: Block) {
        self.forget(|at| !at.is_before(island.start) && at.is_before(island.end));
        make_room(&mut self.grown);
        if self.grown.try_reserve(1).is_ok() {
            self.grown.push(island.start);
            self.untold += 1;
        }
        self.untold = self.untold.min(self.grown.len());
    }

    /// Notes that bytes came twice. Those that follow each other are told as one (as `tcp_dsack_extend` of Linux).
    pub(crate) fn note_repeated(&mut self, block: Block) {
        if let Some(last) = self.repeated.last_mut()
            && !block.start.is_after(last.end)
            && !last.start.is_after(block.end)
        {
            last.start = last.start.min(block.start);
            last.end = last.end.max(block.end);
            return;
        }
        make_room(&mut self.repeated);
        if self.repeated.try_reserve(1).is_ok() {
            self.repeated.push(block);
        }
    }

    /// Forgets islands that lie before the next byte in order: they are acknowledged.
    pub(crate) fn forget_before(&mut self, next: Seq) {
        self.forget(|at| at.is_before(next));
    }

    fn forget(&mut self, is_gone: impl Fn(Seq) -> bool) {
        let told = self.grown.len() - self.untold;
        let mut n = 0;
        let untold = &mut self.untold;
        self.grown.retain(|&at| {
            n += 1;
            let goes = is_gone(at);
            *untold -= usize::from(goes && n > told);
            !goes
        });
    }

    /// Returns what came twice and is to be told next, which counts as told.
    pub(crate) fn take_repeated(&mut self) -> Option<Block> {
        (!self.repeated.is_empty()).then(|| self.repeated.remove(0))
    }

    /// Returns a byte of each island to be told next, in order. As many as there is room for count as told: those that were
    /// not yet, the oldest first if there are too many of them. Of what is told together the latest comes first.
    pub(crate) fn take_islands(&mut self, room: usize) -> impl Iterator<Item = Seq> {
        let told = self.grown.len() - self.untold;
        let new = self.untold.min(room);
        self.untold -= new;
        let now = self.grown.get(..told + new).unwrap_or_default();
        now.iter().rev().take(room).copied()
    }

    /// Returns whether something was not told yet.
    pub(crate) fn has_untold(&self) -> bool {
        self.untold > 0 || !self.repeated.is_empty()
    }

    /// Returns whether something that came twice was not told yet.
    pub(crate) fn has_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// Returns the bytes of memory of the lists.
    pub(crate) fn memory(&self) -> usize {
        self.grown.capacity() * size_of::<Seq>() + self.repeated.capacity() * size_of::<Block>()
    }
}

/// Forgets the oldest if there are too many.
fn make_room<T>(list: &mut Vec<T>) {
    if list.len() >= MOST {
        list.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn block(start: u32, end: u32) -> Block {
        Block {
            start: Seq(start),
            end: Seq(end),
        }
    }

    fn islands(reports: &mut Reports, room: usize) -> Vec<u32> {
        reports.take_islands(room).map(|at| at.0).collect()
    }

    #[test]
    fn what_was_not_told_is_told_in_order_of_arrival() {
        let mut reports = Reports::default();
        for start in [10, 30, 20, 40] {
            reports.note_island(block(start, start + 5));
        }
        assert_eq!(islands(&mut reports, 3), [20, 30, 10]);
        assert!(reports.has_untold());
        // It grows, and is to be told again.
        reports.note_island(block(28, 35));
        assert_eq!(islands(&mut reports, 1), [40]);
        assert_eq!(islands(&mut reports, 3), [28, 40, 20]);
        assert!(!reports.has_untold());
        assert_eq!(islands(&mut reports, 9), [28, 40, 20, 10]);
        // Two become one.
        reports.note_island(block(10, 25));
        assert_eq!(islands(&mut reports, 9), [10, 28, 40]);
        reports.note_island(block(50, 60));
        reports.forget_before(Seq(45));
        assert!(reports.has_untold());
        assert_eq!(islands(&mut reports, 9), [50]);
        reports.note_island(block(70, 75));
        reports.forget_before(Seq(80));
        assert!(!reports.has_untold());
    }

    #[test]
    fn oldest_is_forgotten_when_nothing_is_told_for_long() {
        let mut reports = Reports::default();
        let most = MOST as u32;
        for n in 1..=most + 3 {
            reports.note_island(block(n * 10, n * 10 + 5));
            reports.note_repeated(block(n * 10, n * 10 + 5));
        }
        let mut all = islands(&mut reports, usize::MAX);
        all.sort_unstable();
        assert_eq!((all.len(), all.first()), (MOST, Some(&40)));
        assert_eq!(reports.take_repeated(), Some(block(40, 45)));
        let rest = core::iter::from_fn(|| reports.take_repeated()).count();
        assert_eq!((rest, reports.has_untold()), (MOST - 1, false));
    }
}
