//! What is due when.

use alloc::collections::BTreeMap;

use tyn_abi::Nanos;

/// A timer that was set: its deadline, and a number that tells equal deadlines apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TimerKey {
    deadline: Nanos,
    seq: u64,
}

impl TimerKey {
    /// Returns the deadline.
    #[must_use]
    pub const fn deadline(self) -> Nanos {
        self.deadline
    }
}

/// Timers by deadline; equal deadlines expire in the order in which they were set. Every operation is O(log n).
#[derive(Clone, Debug)]
pub struct TimerQueue<T> {
    timers: BTreeMap<TimerKey, T>,
    next_seq: u64,
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> TimerQueue<T> {
    /// Makes an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timers: BTreeMap::new(),
            next_seq: 0,
        }
    }

    /// Sets a timer.
    pub fn set(&mut self, deadline: Nanos, what: T) -> TimerKey {
        let key = TimerKey {
            deadline,
            seq: self.next_seq,
        };
        self.next_seq += 1;
        self.timers.insert(key, what);
        key
    }

    /// Cancels a timer and returns what it was for; `None` when it expired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.timers.remove(&key)
    }

    /// Returns the next deadline.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.timers.first_key_value().map(|(k, _)| k.deadline)
    }

    /// Takes one timer whose deadline has come.
    pub fn pop_due(&mut self, now: Nanos) -> Option<(TimerKey, T)> {
        let first = self.timers.first_entry()?;
        (first.key().deadline <= now).then(|| first.remove_entry())
    }

    /// Returns how many timers are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Returns whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn due(q: &mut TimerQueue<&'static str>, now: u64) -> Vec<&'static str> {
        core::iter::from_fn(|| q.pop_due(Nanos(now)).map(|(_, t)| t)).collect()
    }

    #[test]
    fn timers_expire_in_order_of_deadline_then_of_setting() {
        let mut q = TimerQueue::new();
        q.set(Nanos(30), "c");
        q.set(Nanos(10), "a");
        q.set(Nanos(30), "d");
        q.set(Nanos(20), "b");
        assert_eq!(q.next_deadline(), Some(Nanos(10)));
        assert_eq!(due(&mut q, 9), [] as [&str; 0]);
        assert_eq!(due(&mut q, 20), ["a", "b"]);
        assert_eq!(due(&mut q, 99), ["c", "d"]);
        assert!(q.is_empty());
        assert_eq!(q.next_deadline(), None);
    }

    #[test]
    fn cancelled_timer_neither_expires_nor_cancels_twice() {
        let mut q = TimerQueue::new();
        let a = q.set(Nanos(10), "a");
        let b = q.set(Nanos(10), "b");
        assert_eq!(q.cancel(a), Some("a"));
        assert_eq!(q.cancel(a), None);
        assert_eq!(due(&mut q, 10), ["b"]);
        assert_eq!(q.cancel(b), None);
        assert_eq!(q.len(), 0);
    }
}
