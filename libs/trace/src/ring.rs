//! A ring that keeps the last records.

use crate::Record;

/// The last `N` records.
#[derive(Clone, Debug)]
pub struct Ring<const N: usize> {
    records: [Option<Record>; N],
    /// Records ever written.
    written: u64,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Ring<N> {
    /// Makes an empty ring.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: [None; N],
            written: 0,
        }
    }

    /// Adds a record; the oldest one makes room.
    pub fn push(&mut self, record: Record) {
        if N == 0 {
            return;
        }
        let at = (self.written % N as u64) as usize;
        if let Some(slot) = self.records.get_mut(at) {
            *slot = Some(record);
        }
        self.written += 1;
    }

    /// Iterates over what is kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        let start = if N == 0 {
            0
        } else {
            (self.written % N as u64) as usize
        };
        let (new, old) = self.records.split_at(start);
        old.iter().chain(new).flatten()
    }

    /// Returns how many records were overwritten.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.written.saturating_sub(N as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;

    fn record(ns: u64) -> Record {
        Record {
            ns,
            cpu: 0,
            tid: 1,
            event: Event::Milestone { name: "x" },
        }
    }

    #[test]
    fn ring_keeps_the_last_records_in_order() {
        let mut ring = Ring::<3>::new();
        assert_eq!(ring.iter().count(), 0);
        for ns in 0..5 {
            ring.push(record(ns));
        }
        let kept: [u64; 3] = core::array::from_fn(|i| ring.iter().nth(i).map_or(0, |r| r.ns));
        assert_eq!(kept, [2, 3, 4]);
        assert_eq!(ring.lost(), 2);
    }

    #[test]
    fn empty_ring_of_size_zero_accepts_records() {
        let mut ring = Ring::<0>::new();
        ring.push(record(1));
        assert_eq!(ring.iter().count(), 0);
    }
}
