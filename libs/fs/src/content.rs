//! The bytes of a regular file: pages on demand over an optional read-only base in the archive.
//!
//! A file of the image costs nothing until it is written: reads and mappings use the archive in place, and a write
//! copies only the pages it touches. A page is one of
//! - own: in the page map, charged to the [`Quota`];
//! - base: below `base_len`, in the archive;
//! - a hole, of the file or of the base: reads as zeros.
//!
//! # Invariants
//! - Every page in the map lies (at least in part) below `size`, and bytes of it at or beyond `size` are zero unless a
//!   shared mapping stored them.
//! - `base_len <= size`, and at most the base's length: what was once cut off never comes back.
//! - `charged` pages of the map are counted in the quota; dropping the content gives them back.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{Errno, PAGE_SIZE};

use crate::holes::Holes;

const PAGE: u64 = PAGE_SIZE as u64;

/// Largest file size (`MAX_LFS_FILESIZE`).
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// A page of memory as the kernel hands it out. Clones are handles on the same memory. User code may have it mapped, so
/// it is only ever copied in and out.
pub trait Page: Clone {
    /// Allocates a zeroed page.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn zeroed() -> Result<Self, Errno>;
    /// Copies out from `offset` on; `offset + dst.len()` is at most 4096.
    fn read(&self, offset: usize, dst: &mut [u8]);
    /// Copies in from `offset` on; `offset + src.len()` is at most 4096.
    fn write(&self, offset: usize, src: &[u8]);
    /// Zeroes `len` bytes from `offset` on; `offset + len` is at most 4096.
    fn zero(&self, offset: usize, len: usize);
}

/// How much a file system may hold.
#[derive(Debug)]
pub struct Quota {
    /// Most pages of file data.
    pub page_limit: u64,
    /// Most files, directories and links.
    pub inode_limit: u64,
    pages: AtomicU64,
    inodes: AtomicU64,
}

impl Quota {
    /// Makes a quota with nothing used.
    #[must_use]
    pub fn new(page_limit: u64, inode_limit: u64) -> Arc<Self> {
        Arc::new(Self {
            page_limit,
            inode_limit,
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
        })
    }

    fn charge(counter: &AtomicU64, limit: u64) -> Result<(), Errno> {
        let raised = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            (used < limit).then_some(used + 1)
        });
        raised.map(|_| ()).map_err(|_| Errno::ENOSPC)
    }

    /// Counts one more inode.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub fn charge_inode(&self) -> Result<(), Errno> {
        Self::charge(&self.inodes, self.inode_limit)
    }

    /// Counts one inode less.
    pub fn release_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }

    fn charge_page(&self) -> Result<(), Errno> {
        Self::charge(&self.pages, self.page_limit)
    }

    fn release_pages(&self, count: u64) {
        self.pages.fetch_sub(count, Ordering::Relaxed);
    }

    /// Returns how many pages are in use.
    #[must_use]
    pub fn pages_used(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Returns how many inodes are in use.
    #[must_use]
    pub fn inodes_used(&self) -> u64 {
        self.inodes.load(Ordering::Relaxed)
    }
}

/// File data within the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base {
    /// Offset of the data from the start of the archive, in bytes.
    pub offset: usize,
    /// The data, without what is not stored.
    pub data: &'static [u8],
    /// Pages that are zeros and not stored.
    pub holes: Holes<'static>,
}

/// What a page holds, for reading.
#[derive(Clone, Debug)]
pub enum Chunk<P> {
    /// Zeros.
    Hole,
    /// Bytes of the archive; shorter than a page at its end, where zeros follow.
    Base(&'static [u8]),
    /// A page.
    Page(P),
}

/// A page to be mapped into an address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mappable<P> {
    /// The page of the archive with this index; must not be written.
    Archive(usize),
    /// A page of the file's own.
    Page(P),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Charge {
    /// Counted in the quota.
    Counted,
    /// A copy of a base page's tail or hole that only mappings need; not the user's doing.
    Free,
}

#[derive(Debug)]
struct Slot<P> {
    page: P,
    charge: Charge,
}

/// The bytes of a regular file.
#[derive(Debug)]
pub struct Content<P> {
    base: Option<Base>,
    base_len: u64,
    size: u64,
    pages: BTreeMap<u64, Slot<P>>,
    charged: u64,
    quota: Arc<Quota>,
}

impl<P: Page> Content<P> {
    /// Makes an empty file.
    #[must_use]
    pub fn new(quota: Arc<Quota>) -> Self {
        Self {
            base: None,
            base_len: 0,
            size: 0,
            pages: BTreeMap::new(),
            charged: 0,
            quota,
        }
    }

    /// Makes a file whose bytes are in the archive.
    #[must_use]
    pub fn from_base(quota: Arc<Quota>, base: Base) -> Self {
        let len = base.data.len() as u64 + base.holes.pages() * PAGE;
        Self {
            base: Some(base),
            base_len: len,
            size: len,
            pages: BTreeMap::new(),
            charged: 0,
            quota,
        }
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of 512-byte blocks that are not holes (`st_blocks`).
    #[must_use]
    pub fn blocks(&self) -> u64 {
        let base_pages = self.base_len.div_ceil(PAGE);
        let holes = self.base.map(|base| base.holes).unwrap_or_default();
        let in_holes = |(first, count): (u32, u32)| {
            let run = u64::from(first)..u64::from(first) + u64::from(count);
            let (start, end) = (run.start.min(base_pages), run.end.min(base_pages));
            (end - start) - self.pages.range(start..end).count() as u64
        };
        let holes: u64 = holes.into_iter().map(in_holes).sum();
        // Counted from the side that is nearly always empty: own pages are few where there is a base.
        let within = self.pages.range(..base_pages).count();
        let beyond = (self.pages.len() - within) as u64;
        (base_pages.saturating_sub(holes) + beyond) * (PAGE / 512)
    }

    /// Returns the bytes of base page `index` that are still visible.
    fn base_page(&self, index: u64) -> Option<&'static [u8]> {
        let start = index.checked_mul(PAGE).filter(|&s| s < self.base_len)?;
        let base = self.base?;
        let from = base.holes.stored(index)?.checked_mul(PAGE)?;
        let len = PAGE.min(self.base_len - start);
        base.data.get(from as usize..)?.get(..len as usize)
    }

    /// Returns what page `index` holds. The caller limits what it uses to [`Content::size`].
    #[must_use]
    pub fn chunk(&self, index: u64) -> Chunk<P> {
        if let Some(slot) = self.pages.get(&index) {
            return Chunk::Page(slot.page.clone());
        }
        self.base_page(index).map_or(Chunk::Hole, Chunk::Base)
    }

    /// Returns the file's own page `index`, made from the base or from zeros if there is none yet.
    fn own_page(&mut self, index: u64) -> Result<&P, Errno> {
        match self.pages.get(&index).map(|s| s.charge) {
            Some(Charge::Counted) => {}
            Some(Charge::Free) => {
                self.quota.charge_page()?;
                self.charged += 1;
                if let Some(slot) = self.pages.get_mut(&index) {
                    slot.charge = Charge::Counted;
                }
            }
            None => {
                self.quota.charge_page()?;
                let page = match self.copy_of_base(index) {
                    Ok(page) => page,
                    Err(e) => {
                        self.quota.release_pages(1);
                        return Err(e);
                    }
                };
                self.charged += 1;
                let charge = Charge::Counted;
                self.pages.insert(index, Slot { page, charge });
            }
        }
        self.pages.get(&index).map(|s| &s.page).ok_or(Errno::EIO)
    }

    fn copy_of_base(&self, index: u64) -> Result<P, Errno> {
        let page = P::zeroed()?;
        if let Some(bytes) = self.base_page(index) {
            page.write(0, bytes);
        }
        Ok(page)
    }

    /// Writes `src` at `offset`, growing the file if it ends before.
    ///
    /// # Errors
    /// `(bytes written, errno)`: `EFBIG` past [`MAX_SIZE`], `ENOSPC`, `ENOMEM`.
    pub fn write(&mut self, offset: u64, src: &[u8]) -> Result<(), (usize, Errno)> {
        let end = offset
            .checked_add(src.len() as u64)
            .filter(|&e| e <= MAX_SIZE)
            .ok_or((0, Errno::EFBIG))?;
        let mut at = offset;
        let mut rest = src;
        while !rest.is_empty() {
            let in_page = (at % PAGE) as usize;
            let len = rest.len().min(PAGE_SIZE - in_page);
            let (head, tail) = rest.split_at(len);
            let done = (at - offset) as usize;
            let page = self.own_page(at / PAGE).map_err(|e| (done, e))?;
            page.write(in_page, head);
            at += len as u64;
            self.size = self.size.max(at);
            rest = tail;
        }
        debug_assert!(end == at, "all bytes were written");
        Ok(())
    }

    /// Sets the size (`truncate(2)`): cuts off, or adds a hole.
    ///
    /// # Errors
    /// `EFBIG` past [`MAX_SIZE`]; `ENOSPC`, `ENOMEM` when the last page must be copied to be cut.
    pub fn set_size(&mut self, size: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        if size < self.size {
            let kept_pages = size.div_ceil(PAGE);
            self.drop_pages(kept_pages, u64::MAX);
            if let Some(slot) = self.pages.get(&(size / PAGE)) {
                let from = (size % PAGE) as usize;
                slot.page.zero(from, PAGE_SIZE - from);
            }
            self.base_len = self.base_len.min(size);
        }
        self.size = size;
        Ok(())
    }

    /// Drops the own pages `first..end`.
    fn drop_pages(&mut self, first: u64, end: u64) {
        let doomed: Vec<u64> = self.pages.range(first..end).map(|(&i, _)| i).collect();
        for index in doomed {
            if self
                .pages
                .remove(&index)
                .is_some_and(|s| s.charge == Charge::Counted)
            {
                self.charged -= 1;
                self.quota.release_pages(1);
            }
        }
    }

    /// Returns page `index` for a mapping; with `write` one that may be stored to.
    ///
    /// # Errors
    /// `ENXIO` past the end; `ENOSPC`, `ENOMEM`.
    pub fn map(&mut self, index: u64, write: bool) -> Result<Mappable<P>, Errno> {
        let start = index
            .checked_mul(PAGE)
            .filter(|&s| s < self.size)
            .ok_or(Errno::ENXIO)?;
        if write {
            return self.own_page(index).map(|p| Mappable::Page(p.clone()));
        }
        if let Some(slot) = self.pages.get(&index) {
            return Ok(Mappable::Page(slot.page.clone()));
        }
        // A page of zeros that the archive leaves out is not the user's doing.
        let is_base = self.base.is_some() && start < self.base_len;
        if !is_base {
            // A hole gets its page now, so that later writes show through the mapping.
            return self.own_page(index).map(|p| Mappable::Page(p.clone()));
        }
        if let Some(page) = self.whole_base_page(index, start) {
            return Ok(Mappable::Archive(page));
        }
        // The archive continues behind this file's last bytes, or leaves the page out; a mapping must see zeros there.
        let page = self.copy_of_base(index)?;
        let charge = Charge::Free;
        self.pages.insert(
            index,
            Slot {
                page: page.clone(),
                charge,
            },
        );
        Ok(Mappable::Page(page))
    }

    /// Returns those of the pages, with their indices, that can be mapped without allocating.
    pub fn resident(&self, pages: Range<u64>) -> impl Iterator<Item = (u64, Mappable<P>)> {
        let end = pages.end.min(self.size.div_ceil(PAGE));
        let start = pages.start.min(end);
        let mut own = self.pages.range(start..end).peekable();
        (start..end).filter_map(move |index| {
            let page = match own.next_if(|(at, _)| **at == index) {
                Some((_, slot)) => Mappable::Page(slot.page.clone()),
                None => Mappable::Archive(self.whole_base_page(index, index * PAGE)?),
            };
            Some((index, page))
        })
    }

    /// Returns the archive page that is page `index` of the file, if it can be mapped as it is.
    fn whole_base_page(&self, index: u64, start: u64) -> Option<usize> {
        let base = self.base?;
        let in_archive = base.offset as u64 + base.holes.stored(start / PAGE)? * PAGE;
        let is_whole = self.base_page(index)?.len() == PAGE_SIZE;
        (is_whole && in_archive.is_multiple_of(PAGE)).then_some((in_archive / PAGE) as usize)
    }

    /// Allocates pages for `[offset, offset + len)` (`fallocate(2)` without flags or with `FALLOC_FL_KEEP_SIZE`).
    ///
    /// # Errors
    /// `EFBIG`, `ENOSPC` (pages allocated so far are given back), `ENOMEM`.
    pub fn allocate(&mut self, offset: u64, len: u64, keep_size: bool) -> Result<(), Errno> {
        let end = offset
            .checked_add(len)
            .filter(|&e| e <= MAX_SIZE)
            .ok_or(Errno::EFBIG)?;
        let wanted = end.div_ceil(PAGE) - offset / PAGE;
        if wanted > self.quota.page_limit {
            return Err(Errno::ENOSPC);
        }
        let limit = if keep_size { end.min(self.size) } else { end };
        let mut fresh = Vec::new();
        for index in offset / PAGE..limit.div_ceil(PAGE) {
            if self.pages.contains_key(&index) || self.base_page(index).is_some() {
                continue;
            }
            if let Err(e) = self.own_page(index) {
                for index in fresh {
                    self.drop_pages(index, index + 1);
                }
                return Err(e);
            }
            fresh.push(index);
        }
        if !keep_size {
            self.size = self.size.max(end);
        }
        Ok(())
    }

    /// Makes `[offset, offset + len)` read as zeros, freeing whole pages; the size stays (`FALLOC_FL_PUNCH_HOLE`).
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM` when a page of the archive must be copied to be changed.
    pub fn punch(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(len).min(self.size);
        let mut at = offset;
        while at < end {
            let index = at / PAGE;
            if self.next_present(index) != Some(index) {
                // A hole already: on to the next page that is none.
                let next = self.next_present(index).unwrap_or(u64::MAX / PAGE);
                at = next.saturating_mul(PAGE);
                continue;
            }
            let page_end = (index + 1).saturating_mul(PAGE);
            let stop = page_end.min(end);
            let is_whole = at.is_multiple_of(PAGE) && (stop == page_end || stop == self.size);
            if is_whole && self.base_page(index).is_none() {
                self.drop_pages(index, index + 1);
            } else {
                let from = (at % PAGE) as usize;
                self.own_page(index)?.zero(from, (stop - at) as usize);
            }
            at = stop;
        }
        Ok(())
    }

    /// Returns the first page at or after `index` that is not a hole.
    fn next_present(&self, index: u64) -> Option<u64> {
        let own = self.pages.range(index..).next().map(|(&i, _)| i);
        let stored = self.base.map(|base| base.holes.next_stored(index));
        let stored = stored.filter(|&index| self.base_page(index).is_some());
        own.into_iter().chain(stored).min()
    }

    /// Returns the first byte of data at or after `offset` (`SEEK_DATA`).
    ///
    /// # Errors
    /// `ENXIO` when there is none.
    pub fn seek_data(&self, offset: u64) -> Result<u64, Errno> {
        let index = self.next_present(offset / PAGE).ok_or(Errno::ENXIO)?;
        Some(offset.max(index.saturating_mul(PAGE)))
            .filter(|&at| at < self.size)
            .ok_or(Errno::ENXIO)
    }

    /// Returns the first byte of a hole at or after `offset` (`SEEK_HOLE`); the end of the file counts as one.
    ///
    /// # Errors
    /// `ENXIO` when `offset` is at or past the end.
    pub fn seek_hole(&self, offset: u64) -> Result<u64, Errno> {
        if offset >= self.size {
            return Err(Errno::ENXIO);
        }
        let mut index = offset / PAGE;
        while self.pages.contains_key(&index) || self.base_page(index).is_some() {
            index += 1;
        }
        Ok(offset.max(index.saturating_mul(PAGE)).min(self.size))
    }
}

impl<P> Drop for Content<P> {
    fn drop(&mut self) {
        self.quota.release_pages(self.charged);
    }
}

#[cfg(test)]
pub(crate) mod tests;
