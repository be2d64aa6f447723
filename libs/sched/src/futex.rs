//! Who waits on which user word (`futex(2)`).
//!
//! The kernel keeps an array of [`Bucket`]s, each under a lock; a key belongs to one bucket. A waiter compares the word and
//! enters itself under that lock, a waker takes waiters out under it: a wake between the comparison and the sleep is not
//! lost, and a wake without waiters leaves nothing behind. What a wake does to a waiter (`woken`) happens under the lock,
//! so that "in a bucket" and "not woken yet" are the same.

use alloc::collections::VecDeque;

use tyn_abi::Errno;

/// What a futex word is identified by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Key {
    /// A word of one address space: private futexes, and shared ones in private memory.
    Private {
        /// Identifies the address space.
        space: u64,
        /// Address of the word.
        addr: u64,
    },
    /// A word of a shared object.
    Shared {
        /// Identifies the object.
        object: u64,
        /// Byte offset in it.
        offset: u64,
    },
}

impl Key {
    /// Spreads keys over `2^bits` buckets.
    #[must_use]
    pub const fn bucket(self, bits: u32) -> usize {
        let (a, b, kind) = match self {
            Self::Private { space, addr } => (space, addr, 0),
            Self::Shared { object, offset } => (object, offset, 1),
        };
        // Words are four bytes apart at least; the multiplier is 2^64 divided by the golden ratio.
        let mixed = (a.rotate_left(23) ^ (b >> 2) ^ kind).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - bits)) as usize
    }
}

/// Room for this many waiters stays with a bucket in which nobody waits; more is given back.
const KEPT: usize = 16;

/// Every waiter matches: `FUTEX_BITSET_MATCH_ANY`.
pub const MATCH_ANY: u32 = u32::MAX;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Entry<W> {
    key: Key,
    bitset: u32,
    waiter: W,
}

/// The waiters on the words of one bucket, first come first.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Bucket<W> {
    entries: VecDeque<Entry<W>>,
}

impl<W> Default for Bucket<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Bucket<W> {
    /// Makes an empty bucket.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
        }
    }

    /// Enters a waiter. The caller has compared the word under the bucket's lock.
    pub fn wait(&mut self, key: Key, bitset: u32, waiter: W) {
        self.entries.push_back(Entry {
            key,
            bitset,
            waiter,
        });
    }

    /// Takes out at most `limit` waiters on `key` whose bitset meets `mask`, in order, and hands each to `woken`; returns
    /// how many.
    pub fn wake(&mut self, key: Key, limit: u32, mask: u32, mut woken: impl FnMut(W)) -> u32 {
        let mut count = 0;
        let mut i = 0;
        while count < limit {
            let Some(entry) = self.entries.get(i) else {
                break;
            };
            if entry.key != key || entry.bitset & mask == 0 {
                i += 1;
                continue;
            }
            if let Some(entry) = self.entries.remove(i) {
                woken(entry.waiter);
                count += 1;
            }
        }
        self.give_back();
        count
    }

    /// Frees the room of a crowd that has left; without allocating, hence not before all have.
    fn give_back(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > KEPT {
            self.entries = VecDeque::new();
        }
    }

    /// Takes out one waiter that gave up (time-out, signal); `None` when it is not here any more: it was woken.
    pub fn cancel(&mut self, is_meant: impl Fn(&W) -> bool) -> Option<W> {
        let i = self.entries.iter().position(|e| is_meant(&e.waiter))?;
        let entry = self.entries.remove(i);
        self.give_back();
        entry.map(|e| e.waiter)
    }

    /// Takes out at most `limit` waiters on `from`, in order, to be entered elsewhere by [`Bucket::accept`]; calls `moved`
    /// on each.
    pub fn requeue(&mut self, from: Key, to: Key, limit: u32, moved: impl Fn(&W)) -> Moved<W> {
        let mut entries = VecDeque::new();
        let mut i = 0;
        while entries.len() < limit as usize {
            let Some(entry) = self.entries.get(i) else {
                break;
            };
            if entry.key != from {
                i += 1;
                continue;
            }
            if let Some(entry) = self.entries.remove(i) {
                moved(&entry.waiter);
                entries.push_back(Entry { key: to, ..entry });
            }
        }
        self.give_back();
        Moved(entries)
    }

    /// Enters waiters that were taken out for requeueing, behind those that wait already; returns how many.
    pub fn accept(&mut self, moved: Moved<W>) -> u32 {
        let count = moved.0.len() as u32;
        self.entries.extend(moved.0);
        count
    }

    /// Returns whether anybody waits on `key`.
    #[must_use]
    pub fn has(&self, key: Key) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Returns whether nobody waits in this bucket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Waiters on their way to another key.
#[must_use = "waiters that are not accepted sleep for ever"]
#[derive(Debug)]
pub struct Moved<W>(VecDeque<Entry<W>>);

/// The operation of `FUTEX_WAKE_OP` on its second word, decoded from `val3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WakeOp {
    op: u32,
    cmp: u32,
    op_arg: u32,
    cmp_arg: u32,
}

impl WakeOp {
    /// Decodes `val3` (`futex(2)`, `FUTEX_WAKE_OP`).
    ///
    /// # Errors
    /// `ENOSYS` for an operation or comparison that does not exist.
    pub fn decode(val3: u32) -> Result<Self, Errno> {
        let op = val3 >> 28 & 7;
        let cmp = val3 >> 24 & 15;
        // Both arguments are signed 12-bit numbers.
        let sign_extend = |v: u32| ((v << 20).cast_signed() >> 20).cast_unsigned();
        let mut op_arg = val3 >> 12 & 0xfff;
        let cmp_arg = val3 & 0xfff;
        op_arg = if val3 >> 31 == 1 {
            1 << (op_arg & 31)
        } else {
            sign_extend(op_arg)
        };
        if op > 4 || cmp > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(Self {
            op,
            cmp,
            op_arg,
            cmp_arg: sign_extend(cmp_arg),
        })
    }

    /// Returns the new value of the word.
    #[must_use]
    pub const fn apply(self, old: u32) -> u32 {
        match self.op {
            0 => self.op_arg,
            1 => old.wrapping_add(self.op_arg),
            2 => old | self.op_arg,
            3 => old & !self.op_arg,
            _ => old ^ self.op_arg,
        }
    }

    /// Returns whether the waiters on the second word are woken, given its old value.
    #[must_use]
    pub const fn matches(self, old: u32) -> bool {
        let (old, arg) = (old.cast_signed(), self.cmp_arg.cast_signed());
        match self.cmp {
            0 => old == arg,
            1 => old != arg,
            2 => old < arg,
            3 => old <= arg,
            4 => old > arg,
            _ => old >= arg,
        }
    }
}

/// Bits of a robust or priority-inheriting lock word (`get_robust_list(2)`, `futex(2)`).
pub mod robust {
    /// Somebody waits.
    pub const WAITERS: u32 = 0x8000_0000;
    /// The owner ended with the lock held.
    pub const OWNER_DIED: u32 = 0x4000_0000;
    /// The owner's thread id.
    pub const TID_MASK: u32 = 0x3fff_ffff;
    /// Most locks that are looked at when a thread ends.
    pub const LIST_LIMIT: usize = 2048;

    /// Decides what becomes of a lock word of thread `tid`, which ended: the new value, and whether to wake a waiter.
    /// `None` when the lock is not its.
    #[must_use]
    pub const fn abandon(word: u32, tid: u32) -> Option<(u32, bool)> {
        if word & TID_MASK != tid {
            return None;
        }
        Some((word & WAITERS | OWNER_DIED, word & WAITERS != 0))
    }
}

#[cfg(test)]
mod tests;
