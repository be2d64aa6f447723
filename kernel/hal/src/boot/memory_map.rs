//! RAM as a short list of ranges.

/// Most ranges that are kept; a map of more pieces loses the rest (RAM that is then not used).
const MAX_RANGES: usize = 64;

/// Disjoint ranges of bytes, `start..end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryMap {
    ranges: [(u64, u64); MAX_RANGES],
    len: usize,
}

impl MemoryMap {
    pub(crate) const fn new() -> Self {
        Self {
            ranges: [(0, 0); MAX_RANGES],
            len: 0,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().take(self.len).copied()
    }

    /// Adds a range of bytes, cut to whole pages; an empty one is dropped.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        let (start, end) = (start.next_multiple_of(4096), end & !0xfff);
        if let Some(slot) = self.ranges.get_mut(self.len).filter(|_| start < end) {
            *slot = (start, end);
            self.len += 1;
        }
    }

    /// Removes every page that `start..end` touches.
    pub(crate) fn remove(&mut self, start: u64, end: u64) {
        let (start, end) = (start & !0xfff, end.next_multiple_of(4096));
        let before = *self;
        self.len = 0;
        for (a, b) in before.iter() {
            self.add(a, b.min(start));
            self.add(a.max(end), b);
        }
    }

    pub(crate) fn overlaps(&self, start: u64, end: u64) -> bool {
        self.iter().any(|(a, b)| start < b && a < end)
    }

    /// Returns the total size in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.iter().map(|(a, b)| b - a).sum()
    }

    /// Returns where the last range ends.
    pub(crate) fn end(&self) -> u64 {
        self.iter().map(|(_, b)| b).max().unwrap_or(0)
    }

    /// Takes `len` bytes (rounded to pages) from the start of a range below `limit`.
    pub(crate) fn take(&mut self, len: u64, limit: u64) -> Option<u64> {
        let len = len.next_multiple_of(4096);
        let fits = |&(a, b): &(u64, u64)| b - a >= len && a + len <= limit;
        let range = self.ranges.iter_mut().take(self.len).find(|r| fits(r))?;
        let start = range.0;
        range.0 += len;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u64, u64)]) -> MemoryMap {
        let mut map = MemoryMap::new();
        ranges.iter().for_each(|&(a, b)| map.add(a, b));
        map
    }

    #[test]
    fn ranges_are_cut_to_pages_and_holes_punched() {
        let mut m = map(&[(0, 0x9_fc00), (0x10_0000, 0x200_0000)]);
        m.remove(0, 0x10_0000);
        m.remove(0x20_0001, 0x2f_ffff);
        assert!(
            m.iter()
                .eq([(0x10_0000, 0x20_0000), (0x30_0000, 0x200_0000)])
        );
        assert!(m.overlaps(0x1f_ffff, 0x20_0000) && !m.overlaps(0x20_0000, 0x30_0000));
        assert_eq!((m.total(), m.end()), (0x1e0_0000, 0x200_0000));
    }

    #[test]
    fn taking_respects_the_limit() {
        let mut m = map(&[(0x1000, 0x3000), (0x10000, 0x20000)]);
        assert_eq!(m.take(0x3000, u64::MAX), Some(0x10000));
        assert_eq!(m.take(1, u64::MAX), Some(0x1000));
        assert_eq!(m.take(0x2000, 0x12000), None);
    }
}
