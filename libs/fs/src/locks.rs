//! Advisory record locks of one file (`fcntl(2)`, "Advisory record locking" and "Open file description locks";
//! `flock(2)` uses the same table with whole-file ranges and owners of its own).
//!
//! # Invariants
//! Ranges are not empty; ranges of one owner do not overlap, and neighbours of one owner differ in kind; a write lock
//! overlaps no other owner's lock.

use alloc::vec::Vec;

/// Kind of a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// Any number of owners.
    Read,
    /// One owner.
    Write,
}

/// Who owns a lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Owner {
    /// A process's descriptor table (POSIX locks).
    Table(u64),
    /// An open file description.
    Description(u64),
}

/// A lock on bytes `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lock {
    /// The owner.
    pub owner: Owner,
    /// The process that set it, as `F_GETLK` shows it (`-1` for descriptions).
    pub pid: i32,
    /// Its kind.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// Byte behind the last; `u64::MAX` reaches to the end however the file grows.
    pub end: u64,
}

/// The locks of one file.
#[derive(Debug, Default)]
pub struct LockSet {
    locks: Vec<Lock>,
}

/// Most locks of one file.
const MAX_LOCKS: usize = 65_536;

impl LockSet {
    /// Makes an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { locks: Vec::new() }
    }

    /// Returns whether there are no locks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Returns a lock that keeps `wanted` from being set.
    #[must_use]
    pub fn conflict(&self, wanted: &Lock) -> Option<&Lock> {
        let mut others = self.locks.iter().filter(|l| l.owner != wanted.owner);
        others.find(|l| {
            let overlaps = l.start < wanted.end && wanted.start < l.end;
            overlaps && (l.kind == LockKind::Write || wanted.kind == LockKind::Write)
        })
    }

    /// Sets a lock, replacing what its owner had in the range. Returns whether that was possible: `Err(Conflict)` when
    /// another owner's lock is in the way.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn set(&mut self, wanted: Lock) -> Result<(), LockError> {
        if self.conflict(&wanted).is_some() {
            return Err(LockError::Conflict);
        }
        if self.locks.len() >= MAX_LOCKS {
            return Err(LockError::TooMany);
        }
        self.clear(wanted.owner, wanted.start, wanted.end);
        self.locks.push(wanted);
        self.merge(wanted.owner);
        Ok(())
    }

    /// Removes what `owner` has in `start..end`; returns whether there was anything.
    pub fn clear(&mut self, owner: Owner, start: u64, end: u64) -> bool {
        let mut kept = Vec::new();
        let mut is_changed = false;
        for lock in self.locks.drain(..) {
            if lock.owner != owner || lock.end <= start || end <= lock.start {
                kept.push(lock);
                continue;
            }
            is_changed = true;
            if lock.start < start {
                kept.push(Lock { end: start, ..lock });
            }
            if end < lock.end {
                kept.push(Lock { start: end, ..lock });
            }
        }
        self.locks = kept;
        is_changed
    }

    /// Joins neighbouring ranges of one owner and kind.
    fn merge(&mut self, owner: Owner) {
        let (mut own, others): (Vec<Lock>, Vec<Lock>) =
            self.locks.drain(..).partition(|l| l.owner == owner);
        own.sort_unstable_by_key(|l| l.start);
        self.locks = others;
        let mut last: Option<Lock> = None;
        for lock in own {
            last = Some(match last {
                Some(previous) if previous.end == lock.start && previous.kind == lock.kind => {
                    Lock {
                        end: lock.end,
                        ..previous
                    }
                }
                Some(previous) => {
                    self.locks.push(previous);
                    lock
                }
                None => lock,
            });
        }
        self.locks.extend(last);
    }
}

/// Why a lock could not be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockError {
    /// Another owner's lock is in the way (`EAGAIN`, or wait).
    Conflict,
    /// `ENOLCK`.
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: u64, kind: LockKind, start: u64, end: u64) -> Lock {
        Lock {
            owner: Owner::Table(owner),
            pid: 1,
            kind,
            start,
            end,
        }
    }

    use LockKind::{Read, Write};

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut set = LockSet::new();
        set.set(lock(1, Read, 0, 10)).unwrap();
        set.set(lock(2, Read, 5, 15)).unwrap();
        assert_eq!(set.set(lock(2, Write, 9, 10)), Err(LockError::Conflict));
        set.set(lock(2, Write, 10, 15)).unwrap();
        let blocking = set.conflict(&lock(3, Read, 0, u64::MAX)).unwrap();
        assert_eq!((blocking.start, blocking.end), (10, 15));
        assert!(set.conflict(&lock(3, Read, 0, 10)).is_none());
    }

    #[test]
    fn own_locks_are_replaced_split_and_joined() {
        let mut set = LockSet::new();
        set.set(lock(1, Write, 0, 100)).unwrap();
        set.set(lock(1, Read, 40, 60)).unwrap();
        assert_eq!(set.locks.len(), 3);
        assert!(set.conflict(&lock(2, Read, 45, 50)).is_none());
        set.set(lock(1, Write, 40, 60)).unwrap();
        assert_eq!(set.locks, [lock(1, Write, 0, 100)]);
        assert!(set.clear(Owner::Table(1), 10, 20));
        assert_eq!(set.locks.len(), 2);
        assert!(set.conflict(&lock(2, Write, 10, 20)).is_none());
        assert!(set.clear(Owner::Table(1), 0, u64::MAX));
        assert!(set.is_empty());
        assert!(!set.clear(Owner::Table(1), 0, u64::MAX));
    }

    #[test]
    fn owners_of_different_kinds_conflict() {
        let mut set = LockSet::new();
        set.set(lock(1, Write, 0, 10)).unwrap();
        let by_description = Lock {
            owner: Owner::Description(1),
            ..lock(1, Read, 0, 1)
        };
        assert_eq!(set.set(by_description), Err(LockError::Conflict));
    }
}
