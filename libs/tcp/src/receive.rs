//! The receiving side: bytes in order, and islands of bytes that came too early.

use alloc::vec::Vec;

use crate::islands::Islands;
use crate::options::{Block, Options};
use crate::ring::Ring;
use crate::seq::Seq;

/// What became of a segment's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// It extends what is in order by this many bytes; the flag tells whether there were or are islands.
    InOrder(usize, bool),
    /// It is an island, or part of one.
    Early,
    /// It was there already.
    Repeated,
    /// There is no room for it.
    Dropped,
}

/// The queue and its islands.
#[derive(Debug, Default)]
pub(crate) struct Receive {
    pub(crate) ring: Ring,
    /// The number of the next byte in order.
    pub(crate) next: Seq,
    /// The end of the greatest window that was ever promised.
    pub(crate) edge: Seq,
    /// The end of the window that was told last: without memory it comes before the greatest.
    pub(crate) told: Seq,
    /// One, if something came too early or twice; most connections never need any.
    islands: Vec<Islands>,
}

impl Receive {
    pub(crate) fn has_islands(&self) -> bool {
        self.islands.first().is_some_and(|i| !i.is_empty())
    }

    /// Returns the end of everything that has come.
    pub(crate) fn highest(&self) -> Seq {
        let islands = self.islands.first();
        islands.and_then(Islands::end).unwrap_or(self.next)
    }

    /// Takes data in whose first byte is `seq`; allocates up to `most` bytes.
    pub(crate) fn take(&mut self, seq: Seq, data: &[u8], most: usize) -> Taken {
        let end = seq + data.len();
        if !end.is_after(self.next) {
            self.note_repeated(Block { start: seq, end });
            return Taken::Repeated;
        }
        let known = self.next.beyond(seq);
        if known > 0 {
            let (start, end) = (seq, self.next);
            self.note_repeated(Block { start, end });
        }
        let data = data.get(known..).unwrap_or_default();
        let seq = seq + known;
        let ahead = seq.beyond(self.next);
        let offset = self.ring.len() + ahead;
        let room = self.ring.reserve(offset + data.len(), most);
        let data = data
            .get(..data.len().min(room.saturating_sub(offset)))
            .unwrap_or_default();
        if data.is_empty() {
            return Taken::Dropped;
        }
        if ahead == 0 {
            return self.extend(offset, data);
        }
        let block = Block {
            start: seq,
            end: seq + data.len(),
        };
        let Some(islands) = self.islands_mut() else {
            return Taken::Dropped;
        };
        if islands.has(block) {
            islands.reports.note_repeated(block);
            return Taken::Repeated;
        }
        if !islands.note(block) {
            return Taken::Dropped;
        }
        self.ring.write_ahead(offset, data);
        Taken::Early
    }

    /// Appends bytes, and the islands that they reach.
    fn extend(&mut self, offset: usize, data: &[u8]) -> Taken {
        self.ring.write_ahead(offset, data);
        let mut next = self.next + data.len();
        let had_islands = self.has_islands();
        if had_islands && let Some(islands) = self.islands.first_mut() {
            next = islands.reach(next);
        }
        let by = next.beyond(self.next);
        self.ring.extend(by);
        self.next = next;
        Taken::InOrder(by, had_islands)
    }

    /// Returns the islands, for which there may be no memory.
    fn islands_mut(&mut self) -> Option<&mut Islands> {
        if self.islands.is_empty() {
            self.islands.try_reserve_exact(1).ok()?;
            self.islands.push(Islands::default());
        }
        self.islands.first_mut()
    }

    fn note_repeated(&mut self, block: Block) {
        if let Some(islands) = self.islands_mut() {
            islands.reports.note_repeated(block);
        }
    }

    /// Adds what the sender should know to the options of an acknowledgement ([`Islands::report`]).
    pub(crate) fn report(&mut self, options: &mut Options, most: usize) {
        if let Some(islands) = self.islands.first_mut() {
            islands.report(options, most);
        }
    }

    /// Returns whether there is something that the sender was not told yet.
    pub(crate) fn has_untold(&self) -> bool {
        let islands = self.islands.first();
        islands.is_some_and(|islands| islands.reports.has_untold())
    }

    pub(crate) fn has_report(&self) -> bool {
        let islands = self.islands.first();
        islands.is_some_and(|islands| islands.reports.has_repeated() || !islands.is_empty())
    }

    /// Returns the bytes of memory of the queue and of the list of islands.
    pub(crate) fn memory(&self) -> usize {
        let islands = self.islands.first().map_or(0, Islands::memory);
        self.ring.capacity() + islands + self.islands.capacity() * size_of::<Islands>()
    }

    /// Gives all memory back that holds nothing.
    pub(crate) fn release(&mut self) {
        if !self.has_islands() {
            self.ring.release();
            if !self.has_untold() {
                self.islands = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::islands::MOST_ISLANDS;
    use alloc::vec;
    use proptest::prelude::*;

    fn receive() -> Receive {
        Receive {
            next: Seq(u32::MAX - 100),
            ..Receive::default()
        }
    }

    #[test]
    fn rfc_2018_4_the_latest_island_is_reported_first() {
        let mut r = receive();
        let start = r.next;
        for at in [300, 100, 500] {
            assert_eq!(r.take(start + at, &[1; 50], 9999), Taken::Early);
        }
        let mut options = Options::default();
        r.report(&mut options, 3);
        let firsts: Vec<i32> = options
            .blocks()
            .iter()
            .map(|b| b.start.since(start))
            .collect();
        assert_eq!(firsts, [500, 100, 300]);
        assert_eq!(r.take(start, &[1; 100], 9999), Taken::InOrder(150, true));
        assert_eq!(
            r.take(start + 150, &[1; 500], 9999),
            Taken::InOrder(500, true)
        );
        assert!(!r.has_islands());
    }

    #[test]
    fn as_many_islands_are_kept_as_a_great_window_has() {
        let mut r = receive();
        let start = r.next;
        for n in 1..=MOST_ISLANDS {
            assert_eq!(r.take(start + n * 20, &[1; 10], 1 << 20), Taken::Early);
            assert_eq!(
                r.take(start + n * 20 + 2, &[1; 8], 1 << 20),
                Taken::Repeated
            );
        }
        let one_more = start + (MOST_ISLANDS + 1) * 20;
        assert_eq!(r.take(one_more, &[1; 10], 1 << 20), Taken::Dropped);
        // What joins two needs no place.
        assert_eq!(r.take(start + 30, &[1; 10], 1 << 20), Taken::Early);
        assert_eq!(r.take(one_more, &[1; 10], 1 << 20), Taken::Early);
        assert_eq!(r.take(start, &[1; 20], 1 << 20), Taken::InOrder(50, true));
    }

    #[test]
    fn rfc_2883_4_what_comes_twice_is_reported_once() {
        let mut r = receive();
        let start = r.next;
        r.take(start, &[1; 100], 9999);
        assert_eq!(r.take(start, &[1; 60], 9999), Taken::Repeated);
        let mut options = Options::default();
        r.report(&mut options, 3);
        let block = Block {
            start,
            end: start + 60,
        };
        assert_eq!(options.blocks(), [block]);
        assert!(!r.has_report());
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_bytes(order in Just((0..40usize).collect::<Vec<_>>()).prop_shuffle(), extra in prop::collection::vec((0usize..3900, 1usize..300), 0..20)) {
            let data: Vec<u8> = (0..4000).map(|i| (i / 7) as u8).collect();
            let mut r = receive();
            let start = r.next;
            for (n, piece) in order.into_iter().enumerate() {
                if let Some(&(at, len)) = extra.get(n) {
                    r.take(start + at, &data[at..(at + len).min(4000)], 8192);
                }
                r.take(start + piece * 100, &data[piece * 100..][..100], 8192);
            }
            prop_assert_eq!(r.next, start + 4000);
            prop_assert!(!r.has_islands());
            let mut out = vec![0; 4000];
            r.ring.copy_to(&mut &mut out[..]).unwrap();
            prop_assert_eq!(out, data);
        }
    }
}
