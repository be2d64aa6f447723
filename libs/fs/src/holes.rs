//! Pages of a file that are zeros and not stored in an archive: an extension of cpio that only images have.
//!
//! Linkers leave megabytes of zeros in programs whose segments they align to large pages. The list is in the padding of the
//! entry's name: [`MARK`], the number of runs, then for each run the index of its first page in the file and the number of
//! pages; numbers have 4 bytes, the least significant first. What is stored is the file without these pages.

/// Most pages of a file: archives hold files below 4 GiB.
const MAX_PAGES: u64 = 1 << 20;
/// What a list begins with.
pub const MARK: &[u8] = b"tyn-holes\0";

/// Runs of pages that are zeros, ascending: the index of the first, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holes<'a>(&'a [u8]);

impl<'a> Holes<'a> {
    /// Finds the list in what follows an entry's name; a bad one counts as none.
    #[must_use]
    pub fn in_padding(padding: &'a [u8]) -> Self {
        let list = padding.strip_prefix(MARK).and_then(|rest| {
            let (count, rest) = rest.split_first_chunk()?;
            let len = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
            rest.get(..len)
        });
        let found = Self(list.unwrap_or_default());
        let mut end = 0;
        let is_sound = found.into_iter().all(|(first, count)| {
            let is_behind = u64::from(first) >= end;
            end = u64::from(first) + u64::from(count);
            is_behind && end <= MAX_PAGES
        });
        if is_sound { found } else { Self::default() }
    }

    /// Returns how many pages are not stored.
    #[must_use]
    pub fn pages(self) -> u64 {
        self.into_iter().map(|(_, count)| u64::from(count)).sum()
    }

    /// Returns where page `index` of the file is in what is stored; `None` where it is not.
    #[must_use]
    pub fn stored(self, index: u64) -> Option<u64> {
        let mut skipped = 0u64;
        for (first, count) in self {
            let (first, count) = (u64::from(first), u64::from(count));
            if index < first {
                break;
            }
            if index < first + count {
                return None;
            }
            skipped += count;
        }
        index.checked_sub(skipped)
    }

    /// Returns the first page at or after `index` that is stored, if the file is that long.
    #[must_use]
    pub fn next_stored(self, index: u64) -> u64 {
        self.into_iter().fold(index, |index, (first, count)| {
            let (first, end) = (u64::from(first), u64::from(first) + u64::from(count));
            if (first..end).contains(&index) {
                end
            } else {
                index
            }
        })
    }
}

/// Iterates over the runs.
impl<'a> IntoIterator for Holes<'a> {
    type Item = (u32, u32);
    type IntoIter = Runs<'a>;

    fn into_iter(self) -> Runs<'a> {
        Runs(self.0)
    }
}

/// Iterator of [`Holes`].
#[derive(Clone, Debug)]
pub struct Runs<'a>(&'a [u8]);

impl Iterator for Runs<'_> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let (first, rest) = self.0.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        self.0 = rest;
        Some((u32::from_le_bytes(*first), u32::from_le_bytes(*count)))
    }
}

/// Returns what follows an entry's name so that [`Holes::in_padding`] finds these runs.
#[must_use]
pub fn list(runs: &[(u32, u32)]) -> alloc::vec::Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend((runs.len() as u32).to_le_bytes());
    for (first, count) in runs {
        bytes.extend(first.to_le_bytes());
        bytes.extend(count.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_around_holes() {
        let mut bytes = list(&[(2, 3), (7, 1)]);
        bytes.resize(100, 0);
        let holes = Holes::in_padding(&bytes);
        assert_eq!(holes.pages(), 4);
        let stored: alloc::vec::Vec<_> = (0..10).map(|index| holes.stored(index)).collect();
        let (no, some) = (None, Some);
        let want = [
            some(0),
            some(1),
            no,
            no,
            no,
            some(2),
            some(3),
            no,
            some(4),
            some(5),
        ];
        assert_eq!(stored, want);
        assert_eq!(
            [0, 2, 4, 5, 7].map(|index| holes.next_stored(index)),
            [0, 5, 5, 5, 8]
        );
    }

    #[test]
    fn what_is_no_list_has_no_holes() {
        let bytes = list(&[(2, 3)]);
        for len in 0..bytes.len() {
            assert_eq!(Holes::in_padding(&bytes[..len]), Holes::default());
        }
        for runs in [
            &[(5, 5), (9, 1)][..],
            &[(0, 1 << 20), (1 << 20, 1)],
            &[(u32::MAX, u32::MAX)],
        ] {
            assert_eq!(Holes::in_padding(&list(runs)), Holes::default(), "{runs:?}");
        }
    }
}
