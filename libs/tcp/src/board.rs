//! The segments that were sent and are not acknowledged, oldest first, and what is known of each.

use alloc::collections::VecDeque;

use tyn_abi::Nanos;

use crate::options::Block;
use crate::seq::Seq;

/// A segment that was sent. Consecutive ones leave no gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) start: Seq,
    pub(crate) end: Seq,
    /// When it was sent last.
    pub(crate) at: Nanos,
    /// The peer says that it has it.
    pub(crate) is_sacked: bool,
    /// It is taken for lost and was not sent again since.
    pub(crate) is_lost: bool,
    /// It was sent more than once.
    pub(crate) is_repeated: bool,
}

impl Sent {
    pub(crate) fn len(&self) -> usize {
        self.end.beyond(self.start)
    }

    /// Returns whether it is under way for another time.
    fn is_again(&self) -> bool {
        self.is_repeated && !self.is_lost && !self.is_sacked
    }
}

/// What a segment that arrived at last tells of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivered {
    pub(crate) end: Seq,
    pub(crate) at: Nanos,
    pub(crate) is_repeated: bool,
}

/// Segments that the list may hold: what an acknowledgement costs in the worst case, and memory, must be bounded even if
/// segments are tiny.
pub(crate) const MOST_SEGMENTS: usize = 4096;

/// The segments.
#[derive(Debug, Default)]
pub(crate) struct Board {
    sent: VecDeque<Sent>,
    /// Bytes that are marked so.
    pub(crate) sacked: usize,
    pub(crate) lost: usize,
    /// Segments that are marked so.
    sacked_segments: usize,
    lost_segments: usize,
    /// Segments under way that were sent more than once.
    repeated_segments: usize,
    /// Segments that are marked as lost are not before this place.
    first_lost: usize,
    /// The end of what the peer has, as far as it told.
    pub(crate) highest: Seq,
    /// Memory is used up, say tests.
    #[cfg(test)]
    pub(crate) without_memory: bool,
}

impl Board {
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Makes the board of a connection that has sent nothing.
    pub(crate) fn starting_at(seq: Seq) -> Self {
        Self {
            highest: seq,
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter()
    }

    pub(crate) fn last(&self) -> Option<&Sent> {
        self.sent.back()
    }

    pub(crate) fn segments(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn sacked_segments(&self) -> usize {
        self.sacked_segments
    }

    pub(crate) fn lost_segments(&self) -> usize {
        self.lost_segments
    }

    pub(crate) fn repeated_segments(&self) -> usize {
        self.repeated_segments
    }

    /// Returns how many segments are under way: neither received, as far as we know, nor lost.
    pub(crate) fn flight_segments(&self) -> usize {
        self.sent.len() - self.sacked_segments - self.lost_segments
    }

    /// Returns the bytes of memory of the list.
    pub(crate) fn memory(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>()
    }

    /// Makes room for one more; without memory, and when there are too many, nothing is sent.
    pub(crate) fn reserve(&mut self) -> bool {
        if self.sent.len() >= MOST_SEGMENTS {
            return false;
        }
        #[cfg(test)]
        if self.without_memory {
            return false;
        }
        self.sent.try_reserve(1).is_ok()
    }

    /// Makes room for up to `most` more; returns for how many there is, at least one (see [`Board::reserve`]).
    pub(crate) fn reserve_several(&mut self, most: usize) -> usize {
        let most = most.min(MOST_SEGMENTS.saturating_sub(self.sent.len()));
        if self.sent.try_reserve(most).is_ok() {
            most.max(1)
        } else {
            1
        }
    }

    /// Notes a segment that is sent for the first time.
    pub(crate) fn push(&mut self, start: Seq, end: Seq, now: Nanos) {
        self.sent.push_back(Sent {
            start,
            end,
            at: now,
            is_sacked: false,
            is_lost: false,
            is_repeated: false,
        });
    }

    /// Removes what `ack` covers, and tells of each segment.
    pub(crate) fn acknowledge(&mut self, ack: Seq, mut tell: impl FnMut(Delivered)) {
        while let Some(&first) = self.sent.front() {
            if first.end.is_after(ack) {
                self.cut_first(ack);
                break;
            }
            let gone = first;
            self.sent.pop_front();
            self.repeated_segments -= usize::from(gone.is_again());
            self.first_lost = self.first_lost.saturating_sub(1);
            if gone.is_sacked {
                self.sacked -= gone.len();
                self.sacked_segments -= 1;
            } else {
                tell(Delivered {
                    end: gone.end,
                    at: gone.at,
                    is_repeated: gone.is_repeated,
                });
            }
            if gone.is_lost {
                self.lost -= gone.len();
                self.lost_segments -= 1;
            }
        }
        self.highest = self.highest.max(ack);
        if self.sent.is_empty() {
            self.first_lost = 0;
        }
    }

    /// Removes the part of the first segment that `ack` covers.
    fn cut_first(&mut self, ack: Seq) {
        let Some(first) = self.sent.front_mut() else {
            return;
        };
        let part = ack.beyond(first.start);
        first.start = first.start.max(ack);
        if first.is_sacked {
            self.sacked -= part;
        }
        if first.is_lost {
            self.lost -= part;
        }
    }

    /// Marks the segments that lie in a block as received, and tells of those that are new. Returns whether one lies
    /// before what was reported already, though it was sent only once: the path reorders.
    pub(crate) fn sack(&mut self, block: Block, mut tell: impl FnMut(Delivered)) -> bool {
        let mut is_reordered = false;
        let from = self
            .sent
            .partition_point(|s| s.start.is_before(block.start));
        let highest = self.highest;
        for sent in self.sent.iter_mut().skip(from) {
            if sent.end.is_after(block.end) {
                break;
            }
            if sent.is_sacked {
                continue;
            }
            self.repeated_segments -= usize::from(sent.is_again());
            sent.is_sacked = true;
            self.sacked += sent.len();
            self.sacked_segments += 1;
            if core::mem::take(&mut sent.is_lost) {
                self.lost -= sent.len();
                self.lost_segments -= 1;
            }
            is_reordered |= sent.end.is_before(highest) && !sent.is_repeated;
            tell(Delivered {
                end: sent.end,
                at: sent.at,
                is_repeated: sent.is_repeated,
            });
            self.highest = self.highest.max(sent.end);
        }
        is_reordered
    }

    /// Takes segments for lost for which `is_lost` says so; returns whether there is a new one. `is_lost` returns `None`
    /// to stop.
    pub(crate) fn mark(&mut self, mut is_lost: impl FnMut(&Sent) -> Option<bool>) -> bool {
        let mut is_any = false;
        for (at, sent) in self.sent.iter_mut().enumerate() {
            if sent.is_sacked || sent.is_lost {
                continue;
            }
            match is_lost(sent) {
                None => break,
                Some(false) => {}
                Some(true) => {
                    self.repeated_segments -= usize::from(sent.is_again());
                    sent.is_lost = true;
                    self.lost += sent.len();
                    self.lost_segments += 1;
                    self.first_lost = self.first_lost.min(at);
                    is_any = true;
                }
            }
        }
        is_any
    }

    /// Returns the first segment that is taken for lost.
    pub(crate) fn next_lost(&mut self) -> Option<Sent> {
        if self.lost == 0 {
            self.first_lost = self.sent.len();
            return None;
        }
        while let Some(sent) = self.sent.get(self.first_lost) {
            if sent.is_lost {
                return Some(*sent);
            }
            self.first_lost += 1;
        }
        None
    }

    /// Cuts a segment in two before `at`, if there is memory.
    pub(crate) fn split(&mut self, at: Seq) {
        let index = self.sent.partition_point(|s| !s.end.is_after(at));
        if self.sent.try_reserve(1).is_err() {
            return;
        }
        let Some(sent) = self.sent.get_mut(index).filter(|s| at.is_after(s.start)) else {
            return;
        };
        let rest = Sent { start: at, ..*sent };
        sent.end = at;
        self.sacked_segments += usize::from(rest.is_sacked);
        self.lost_segments += usize::from(rest.is_lost);
        self.repeated_segments += usize::from(rest.is_again());
        self.sent.insert(index + 1, rest);
    }

    /// Notes that a segment is sent again, and only its first `len` bytes.
    pub(crate) fn repeat(&mut self, start: Seq, len: usize, now: Nanos) {
        let at = self.sent.partition_point(|s| s.start.is_before(start));
        let Some(&whole) = self.sent.get(at) else {
            return;
        };
        if len < whole.len() {
            // Without memory it stays whole, and its rest waits for a time-out.
            self.split(start + len);
        }
        let Some(sent) = self.sent.get_mut(at) else {
            return;
        };
        self.repeated_segments -= usize::from(sent.is_again());
        if core::mem::take(&mut sent.is_lost) {
            self.lost -= sent.len();
            self.lost_segments -= 1;
        }
        sent.at = now;
        sent.is_repeated = true;
        self.repeated_segments += usize::from(sent.is_again());
    }

    /// Forgets what was taken for lost.
    pub(crate) fn forget_losses(&mut self) {
        if self.lost == 0 {
            return;
        }
        for sent in &mut self.sent {
            let was_lost = core::mem::take(&mut sent.is_lost);
            self.repeated_segments += usize::from(was_lost && sent.is_again());
        }
        (self.lost, self.lost_segments) = (0, 0);
        self.first_lost = self.sent.len();
    }

    /// Forgets what the peer has told of what it has: it may have changed its mind (RFC 2018 §8).
    pub(crate) fn forget_sacks(&mut self) {
        for sent in &mut self.sent {
            sent.is_sacked = false;
        }
        self.repeated_segments = self.sent.iter().filter(|s| s.is_again()).count();
        (self.sacked, self.sacked_segments) = (0, 0);
    }

    /// Gives memory back.
    pub(crate) fn release(&mut self) {
        if self.sent.is_empty() {
            self.sent = VecDeque::new();
        }
    }

    /// Panics unless the sums are right and the segments leave no gap.
    #[cfg(test)]
    pub(crate) fn check(&self, una: Seq, nxt: Seq) {
        let sum =
            |f: fn(&Sent) -> bool| -> usize { self.iter().filter(|s| f(s)).map(Sent::len).sum() };
        assert_eq!(self.sacked, sum(|s| s.is_sacked));
        assert_eq!(self.lost, sum(|s| s.is_lost));
        assert_eq!(
            self.sacked_segments,
            self.iter().filter(|s| s.is_sacked).count()
        );
        assert_eq!(
            self.lost_segments,
            self.iter().filter(|s| s.is_lost).count()
        );
        assert_eq!(
            self.repeated_segments,
            self.iter().filter(|s| s.is_again()).count()
        );
        assert!(self.sent.len() <= MOST_SEGMENTS + 1);
        let mut at = una;
        for sent in self.iter() {
            assert_eq!(sent.start, at);
            assert!(sent.len() > 0 && !(sent.is_lost && sent.is_sacked));
            at = sent.end;
        }
        assert_eq!(at, nxt);
        assert!(self.sent.iter().take(self.first_lost).all(|s| !s.is_lost));
    }
}
