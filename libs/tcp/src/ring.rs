//! A queue of bytes that grows as it is used, up to what its owner allows, and gives everything back when it is empty.

use alloc::vec::Vec;

use tyn_abi::{Errno, Sink, Source};

/// The least that is allocated, if the owner allows so much.
pub const LEAST: usize = 1024;

/// The queue. What lies behind its end can be written before it belongs to it ([`Ring::write_ahead`]).
#[derive(Debug, Default)]
pub struct Ring {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Ring {
    /// Returns how many bytes are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many bytes are allocated.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for `wanted` bytes in all, with at most `most` allocated. Returns how many there is room for.
    pub fn reserve(&mut self, wanted: usize, most: usize) -> usize {
        if wanted > self.bytes.len() && most > self.bytes.len() {
            let better = wanted.max(LEAST).checked_next_power_of_two();
            self.grow(better.unwrap_or(wanted).min(most), allocate);
        }
        self.bytes.len()
    }

    /// Moves everything into a greater piece of memory, the greatest there is.
    fn grow(&mut self, capacity: usize, mut allocate: impl FnMut(usize) -> Option<Vec<u8>>) {
        let mut capacity = capacity;
        let mut bytes = loop {
            if let Some(bytes) = allocate(capacity) {
                break bytes;
            }
            capacity /= 2;
            if capacity < LEAST || capacity <= self.bytes.len() {
                return;
            }
        };
        // What lies behind the end may be written already: all of it goes along.
        let (behind, front) = self.bytes.split_at(self.start.min(self.bytes.len()));
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(behind);
        bytes.resize(capacity, 0);
        self.bytes = bytes;
        self.start = 0;
    }

    /// Gives the memory back, if nothing is queued.
    pub fn release(&mut self) {
        if self.len == 0 {
            *self = Self::default();
        }
    }

    fn place(&self, offset: usize) -> usize {
        let at = self.start + offset;
        if at >= self.bytes.len() {
            at - self.bytes.len()
        } else {
            at
        }
    }

    /// Returns the two pieces of memory for `len` bytes from `offset` on; what lies beyond the capacity is left out.
    fn pieces(&self, offset: usize, len: usize) -> (core::ops::Range<usize>, usize) {
        let len = len.min(self.bytes.len().saturating_sub(offset));
        if len == 0 {
            return (0..0, 0);
        }
        let at = self.place(offset);
        let first = len.min(self.bytes.len() - at);
        (at..at + first, len - first)
    }

    /// Returns `len` bytes from `offset` on, in two pieces.
    #[must_use]
    pub fn get(&self, offset: usize, len: usize) -> (&[u8], &[u8]) {
        let len = len.min(self.len.saturating_sub(offset));
        let (first, rest) = self.pieces(offset, len);
        (
            self.bytes.get(first).unwrap_or_default(),
            self.bytes.get(..rest).unwrap_or_default(),
        )
    }

    /// Writes bytes at `offset` from the start, within the capacity, without making the queue longer.
    pub fn write_ahead(&mut self, offset: usize, data: &[u8]) {
        let (first, rest) = self.pieces(offset, data.len());
        let (a, b) = data.split_at(first.len().min(data.len()));
        if let Some(piece) = self.bytes.get_mut(first) {
            piece.copy_from_slice(a);
        }
        if let (Some(piece), Some(b)) = (self.bytes.get_mut(..rest), b.get(..rest)) {
            piece.copy_from_slice(b);
        }
    }

    /// Makes the queue longer by what was written behind its end.
    pub fn extend(&mut self, by: usize) {
        self.len = (self.len + by).min(self.bytes.len());
    }

    /// Appends up to `len` bytes of `src` and returns how many.
    ///
    /// # Errors
    /// That of `src`, if nothing was appended.
    pub fn append(&mut self, src: &mut dyn Source, len: usize) -> Result<usize, Errno> {
        let len = len.min(src.remaining()).min(self.bytes.len() - self.len);
        let (first, rest) = self.pieces(self.len, len);
        let first_len = first.len();
        src.read_exact(self.bytes.get_mut(first).unwrap_or_default())?;
        self.len += first_len;
        if rest > 0 {
            match src.read_exact(self.bytes.get_mut(..rest).unwrap_or_default()) {
                Ok(()) => self.len += rest,
                Err(_) => return Ok(first_len),
            }
        }
        Ok(len)
    }

    /// Drops the first `len` bytes.
    pub fn consume(&mut self, len: usize) {
        let len = len.min(self.len);
        self.start = self.place(len);
        self.len -= len;
    }

    /// Copies from the start as much as fits and returns how much that is.
    ///
    /// # Errors
    /// That of `dst`, if nothing was copied.
    pub fn copy_to(&self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let (a, b) = self.get(0, dst.remaining());
        dst.write_all(a)?;
        match dst.write_all(b) {
            Ok(()) => Ok(a.len() + b.len()),
            Err(_) => Ok(a.len()),
        }
    }

    /// Takes all bytes out.
    pub fn take_all(&mut self) -> Vec<u8> {
        let mut ring = core::mem::take(self);
        ring.bytes.rotate_left(ring.start);
        ring.bytes.truncate(ring.len);
        ring.bytes
    }
}

/// Returns an empty piece of memory for so many bytes, if there is one.
fn allocate(capacity: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn ring_takes_the_greatest_piece_that_there_is() {
        let mut ring = Ring::default();
        ring.grow(1 << 20, |n| (n <= 5000).then(|| Vec::with_capacity(n)));
        assert_eq!(ring.capacity(), 4096);
        ring.extend(4000);
        let mut asked = vec![];
        ring.grow(16_384, |n| {
            asked.push(n);
            None
        });
        assert_eq!((ring.capacity(), ring.len()), (4096, 4000));
        assert_eq!(asked, [16_384, 8192]);
    }

    proptest! {
        #[test]
        fn ring_is_a_queue(steps in prop::collection::vec((0usize..3000, 0usize..3000, 0usize..500), 1..60), most in 1000usize..6000) {
            let mut ring = Ring::default();
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (push, pop, gap) in steps {
                let room = ring.reserve(ring.len() + push, most);
                prop_assert!(ring.capacity() <= most);
                let data: Vec<u8> = (0..push.min(room - ring.len())).map(|_| { next = next.wrapping_add(1); next }).collect();
                if gap % 2 == 0 {
                    // The end comes first, as when a segment was overtaken.
                    let split = gap.min(data.len());
                    ring.write_ahead(ring.len() + split, &data[split..]);
                    ring.write_ahead(ring.len(), &data[..split]);
                    ring.extend(data.len());
                } else {
                    let n = ring.append(&mut &data[..], data.len()).unwrap();
                    prop_assert_eq!(n, data.len());
                }
                model.extend(data);
                let (a, b) = ring.get(gap, 400);
                let expected: Vec<u8> = model.iter().skip(gap).take(400).copied().collect();
                prop_assert_eq!([a, b].concat(), expected);
                let mut out = vec![0; pop];
                let n = ring.copy_to(&mut &mut out[..]).unwrap();
                ring.consume(n);
                prop_assert_eq!(&out[..n], &model.drain(..n).collect::<Vec<u8>>()[..]);
            }
            prop_assert_eq!(ring.take_all(), Vec::from(model));
            prop_assert_eq!(ring.capacity(), 0);
        }
    }
}
