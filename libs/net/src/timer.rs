//! Deadlines in order.

use alloc::collections::BTreeSet;

use tyn_abi::Nanos;

use crate::types::{SocketId, Tuple};

/// What a deadline belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum TimerKey {
    /// A connection.
    Socket(SocketId),
    /// A connection that is being made with a listener.
    HalfOpen(Tuple),
}

/// Deadlines; setting, cancelling and taking the first are O(log n). Each owner remembers what it has set.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Nanos, TimerKey)>);

impl Timers {
    /// Replaces the owner's deadline `current` by `new`.
    pub(crate) fn set(&mut self, key: TimerKey, current: &mut Option<Nanos>, new: Option<Nanos>) {
        if *current == new {
            return;
        }
        if let Some(old) = *current {
            self.0.remove(&(old, key));
        }
        if let Some(new) = new {
            self.0.insert((new, key));
        }
        *current = new;
    }

    /// Returns the first deadline.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.0.first().map(|&(at, _)| at)
    }

    /// Takes the first deadline if it has come; its owner's note of it is then out of date.
    pub(crate) fn expire(&mut self, now: Nanos) -> Option<TimerKey> {
        let first = *self.0.first().filter(|&&(at, _)| at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_can_be_moved() {
        let key = |index| {
            TimerKey::Socket(SocketId {
                index,
                generation: 0,
            })
        };
        let mut timers = Timers::default();
        let (mut a, mut b) = (None, None);
        timers.set(key(1), &mut a, Some(Nanos(50)));
        timers.set(key(2), &mut b, Some(Nanos(20)));
        assert_eq!(timers.deadline(), Some(Nanos(20)));
        timers.set(key(2), &mut b, Some(Nanos(70)));
        assert_eq!(timers.expire(Nanos(49)), None);
        assert_eq!(timers.expire(Nanos(50)), Some(key(1)));
        timers.set(key(2), &mut b, None);
        assert_eq!((timers.deadline(), b), (None, None));
    }
}
