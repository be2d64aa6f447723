//! What a regular file holds, with its locks.

use alloc::sync::Arc;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_abi::fs::{Stat, fcntl};
use tyn_abi::time::Timespec;
use tyn_abi::{Errno, PAGE_SIZE, Sink, Source};
use tyn_fs::content::{Base, Chunk, Content, MAX_SIZE, Mappable, Page, Quota};
use tyn_hal::mem::Frame;
use tyn_hal::sync::SpinLock;

use super::{RegularFile, fs, now};
use crate::file::{At, OpenFile};
use crate::mm::{self, PrivateCopies};
use crate::sched;
use crate::sleep_lock::{SleepGuard, SleepLock};
use crate::thread::Thread;

/// A frame as a page of a file.
#[derive(Clone, Debug)]
pub(super) struct FilePage(Frame);

impl Page for FilePage {
    fn zeroed() -> Result<Self, Errno> {
        Ok(Self(Frame::zeroed()?))
    }
    fn read(&self, offset: usize, dst: &mut [u8]) {
        self.0.read(offset, dst);
    }
    fn write(&self, offset: usize, src: &[u8]) {
        self.0.write(offset, src);
    }
    fn zero(&self, offset: usize, len: usize) {
        self.0.zero(offset, len);
    }
}

/// Under the page lock.
#[derive(Debug)]
struct Inner {
    content: Content<FilePage>,
    /// When the bytes last changed, if after the times in the tree.
    modified: Option<Timespec>,
    /// `F_SEAL_*`.
    seals: u32,
    /// Open descriptions that write, if positive; that run the file, which keeps writers out, if negative.
    writers: i64,
}

/// The bytes of a regular file, shared by its names and open descriptions.
#[derive(Debug)]
pub struct Body {
    /// See [`Body::begin_change`].
    change_lock: SleepLock,
    inner: SpinLock<Inner>,
    /// A page was given out for a mapping at some time.
    was_mapped: AtomicBool,
}

impl Body {
    fn new(content: Content<FilePage>, seals: u32) -> Arc<Self> {
        let inner = Inner {
            content,
            modified: None,
            seals,
            writers: 0,
        };
        Arc::new(Self {
            change_lock: SleepLock::new(),
            inner: SpinLock::new(inner),
            was_mapped: AtomicBool::new(false),
        })
    }

    /// Makes an empty file; `seals` is `F_SEAL_SEAL` where sealing is not allowed.
    #[must_use]
    pub fn empty(quota: Arc<Quota>, seals: u32) -> Arc<Self> {
        Self::new(Content::new(quota), seals)
    }

    /// Makes a file whose bytes are in the archive.
    #[must_use]
    pub fn from_base(quota: Arc<Quota>, base: Base) -> Arc<Self> {
        Self::new(Content::from_base(quota, base), fcntl::F_SEAL_SEAL)
    }

    /// Counts a description that writes.
    ///
    /// # Errors
    /// `ETXTBSY` while the file is run.
    pub(super) fn begin_writing(&self) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        if inner.writers < 0 {
            return Err(Errno::ETXTBSY);
        }
        inner.writers += 1;
        Ok(())
    }

    /// Undoes [`Body::begin_writing`].
    pub(super) fn end_writing(&self) {
        self.inner.lock().writers -= 1;
    }

    /// Sets the size, for somebody who need not have the file open for writing.
    ///
    /// # Errors
    /// `ETXTBSY` while the file is run, and as [`Body::set_size`].
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.begin_writing()?;
        let result = self.set_size(size);
        self.end_writing();
        result
    }

    /// Keeps writers out while the file is run.
    ///
    /// # Errors
    /// `ETXTBSY` while somebody has it open for writing.
    pub(super) fn begin_running(&self) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        if inner.writers > 0 {
            return Err(Errno::ETXTBSY);
        }
        inner.writers -= 1;
        Ok(())
    }

    /// Undoes [`Body::begin_running`].
    pub(super) fn end_running(&self) {
        self.inner.lock().writers += 1;
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.lock().content.size()
    }

    /// Fills in what the tree does not know.
    pub fn complete_stat(&self, stat: &mut Stat) {
        let inner = self.inner.lock();
        stat.size = inner.content.size();
        stat.blocks = inner.content.blocks();
        if let Some(time) = inner.modified {
            stat.mtime = time;
            stat.ctime = stat.ctime.max(time);
        }
    }

    /// Forgets when the bytes changed: the times in the tree count from now on (`utimensat(2)`).
    pub fn take_modified(&self) -> Option<Timespec> {
        self.inner.lock().modified.take()
    }

    /// Makes a write, an append or a change of size by `current` one step to others that are made between this and the drop of
    /// what it returns.
    pub fn begin_change(&self, current: &Arc<Thread>) -> SleepGuard<'_> {
        self.change_lock.lock(current)
    }

    /// Copies from `offset` on into `dst`, with pauses if it is done for the `current` thread; returns the count, less than there
    /// is when that was killed.
    ///
    /// # Errors
    /// What `dst` gives for its first byte.
    pub fn read(
        &self,
        offset: u64,
        dst: &mut dyn Sink,
        current: Option<&Arc<Thread>>,
    ) -> Result<usize, Errno> {
        let mut pauses = Pauses::new(current);
        let mut done = 0usize;
        while dst.remaining() > 0 {
            let at = offset.saturating_add(done as u64);
            let in_page = (at % PAGE_SIZE as u64) as usize;
            let (chunk, left) = {
                let inner = self.inner.lock();
                let left = inner.content.size().saturating_sub(at);
                if left == 0 {
                    break;
                }
                (inner.content.chunk(at / PAGE_SIZE as u64), left)
            };
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let len = left.min(PAGE_SIZE - in_page).min(dst.remaining());
            match copy_chunk(&chunk, in_page, len, dst) {
                Ok(()) => done += len,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
            if pauses.after(len) == Then::End {
                break;
            }
        }
        Ok(done)
    }

    /// Copies from `src` to `at`, with pauses if it is done for the `current` thread, which has [begun](Body::begin_change);
    /// returns the count, less than there is when that was killed.
    ///
    /// # Errors
    /// When not a byte was written: `EFBIG`, `ENOSPC`, `EPERM` against a seal, what `src` gives.
    pub fn write(
        &self,
        at: At,
        src: &mut dyn Source,
        current: Option<&Arc<Thread>>,
    ) -> Result<usize, Errno> {
        let start = match at {
            At::Offset(offset) => offset,
            At::End | At::Stream => self.size(),
        };
        if src.remaining() == 0 {
            return Ok(0);
        }
        if start >= MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let mut done = 0usize;
        let result = self.write_pages(start, src, Pauses::new(current), &mut done);
        if done > 0 {
            self.inner.lock().modified = Some(now());
            return Ok(done);
        }
        result.map(|()| 0)
    }

    fn write_pages(
        &self,
        start: u64,
        src: &mut dyn Source,
        mut pauses: Pauses<'_>,
        done: &mut usize,
    ) -> Result<(), Errno> {
        let mut buffer = [0; PAGE_SIZE];
        while src.remaining() > 0 {
            let at = start.checked_add(*done as u64).ok_or(Errno::EFBIG)?;
            let in_page = (at % PAGE_SIZE as u64) as usize;
            let len = src.remaining().min(PAGE_SIZE - in_page);
            let part = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
            // The copy may fault on a mapping of this very file, so it is made before the page lock is taken.
            src.read_exact(part)?;
            let index = at / PAGE_SIZE as u64;
            let mut inner = self.inner.lock();
            inner.check_write(at, len)?;
            // The first write to a page of the archive puts a page of our own in its place.
            let replaces = matches!(inner.content.chunk(index), Chunk::Base(_));
            let result = inner.content.write(at, part);
            drop(inner);
            if replaces {
                self.forget_mapped(index..index + 1, PrivateCopies::Keep);
            }
            match result {
                Ok(()) => *done += len,
                Err((partial, errno)) => {
                    *done += partial;
                    return Err(errno);
                }
            }
            if pauses.after(len) == Then::End {
                break;
            }
        }
        Ok(())
    }

    /// Makes mappings fault anew on pages that the file has dropped or replaced.
    fn forget_mapped(&self, pages: Range<u64>, copies: PrivateCopies) {
        if self.was_mapped.load(Ordering::SeqCst) {
            mm::forget_pages(&|open: &OpenFile| self.is_of(open), &pages, copies);
        }
    }

    /// Sets the size.
    ///
    /// # Errors
    /// As [`Content::set_size`]; `EPERM` against a seal.
    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        let old = inner.content.size();
        inner.check_seal(fcntl::F_SEAL_SHRINK, size < old)?;
        inner.check_seal(fcntl::F_SEAL_GROW, size > old)?;
        inner.content.set_size(size)?;
        inner.modified = Some(now());
        drop(inner);
        if size < old {
            let first_gone = size.div_ceil(PAGE_SIZE as u64);
            self.forget_mapped(first_gone..u64::MAX, PrivateCopies::Forget);
        }
        Ok(())
    }

    /// Answers `fallocate(2)` for the modes that tmpfs has.
    ///
    /// # Errors
    /// As [`Content::allocate`] and [`Content::punch`]; `EPERM` against a seal; `EOPNOTSUPP` for other modes.
    pub fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        const KEEP: u32 = fcntl::FALLOC_FL_KEEP_SIZE;
        const PUNCH: u32 = fcntl::FALLOC_FL_PUNCH_HOLE | KEEP;
        let mut inner = self.inner.lock();
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        match mode {
            0 | KEEP => {
                let grows = mode == 0 && end > inner.content.size();
                inner.check_seal(fcntl::F_SEAL_GROW, grows)?;
                inner.content.allocate(offset, len, mode == KEEP)?;
            }
            PUNCH => {
                inner.check_seal(fcntl::F_SEAL_WRITE, true)?;
                inner.content.punch(offset, len)?;
            }
            _ => return Err(Errno::EOPNOTSUPP),
        }
        inner.modified = Some(now());
        drop(inner);
        if mode == PUNCH {
            let pages = offset / PAGE_SIZE as u64..end.div_ceil(PAGE_SIZE as u64);
            self.forget_mapped(pages, PrivateCopies::Keep);
        }
        Ok(())
    }

    /// Returns the first data at or after `offset`.
    ///
    /// # Errors
    /// `ENXIO`.
    pub fn seek_data(&self, offset: u64) -> Result<u64, Errno> {
        self.inner.lock().content.seek_data(offset)
    }

    /// Returns the first hole at or after `offset`.
    ///
    /// # Errors
    /// `ENXIO`.
    pub fn seek_hole(&self, offset: u64) -> Result<u64, Errno> {
        self.inner.lock().content.seek_hole(offset)
    }

    /// Returns the seals (`F_GET_SEALS`).
    #[must_use]
    pub fn seals(&self) -> u32 {
        self.inner.lock().seals
    }

    /// Adds seals (`F_ADD_SEALS`).
    ///
    /// # Errors
    /// `EPERM` when sealed against that; `EBUSY` against `F_SEAL_WRITE` while a shared mapping may be written.
    pub fn add_seals(&self, seals: u32) -> Result<(), Errno> {
        let before = {
            let mut inner = self.inner.lock();
            inner.check_seal(fcntl::F_SEAL_SEAL, true)?;
            let before = inner.seals;
            inner.seals |= seals;
            before
        };
        // The seal is set first, and `mmap(2)` looks again when it has mapped: one of both finds the other.
        let new = seals & !before;
        if new & fcntl::F_SEAL_WRITE != 0 && mm::is_mapped_for_writing(&|open| self.is_of(open)) {
            self.inner.lock().seals &= !new;
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    fn is_of(&self, open: &OpenFile) -> bool {
        open.downcast::<RegularFile>()
            .is_some_and(|file| ptr::eq(Arc::as_ptr(file.body()), self))
    }

    pub(super) fn frame(&self, index: u64, write: bool) -> Result<Frame, Errno> {
        self.was_mapped.store(true, Ordering::SeqCst);
        let page = self.inner.lock().content.map(index, write)?;
        to_frame(page).ok_or(Errno::ENXIO)
    }

    pub(super) fn resident_frames(&self, pages: Range<u64>, each: &mut dyn FnMut(u64, Frame)) {
        self.was_mapped.store(true, Ordering::SeqCst);
        let inner = self.inner.lock();
        for (index, page) in inner.content.resident(pages) {
            if let Some(frame) = to_frame(page) {
                each(index, frame);
            }
        }
    }
}

/// The pauses of a long copy for a thread, in which others run.
struct Pauses<'a> {
    current: Option<&'a Arc<Thread>>,
    /// Bytes since the last one.
    copied: usize,
}

/// How a copy goes on.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

impl<'a> Pauses<'a> {
    fn new(current: Option<&'a Arc<Thread>>) -> Self {
        Self { current, copied: 0 }
    }

    /// Pauses if it is time to, when `len` more bytes were copied.
    fn after(&mut self, len: usize) -> Then {
        const INTERVAL: usize = 256 << 10;
        self.copied += len;
        match self.current {
            Some(current) if self.copied >= INTERVAL => {
                self.copied = 0;
                sched::pause_point(current);
                match current.is_killed() {
                    true => Then::End,
                    false => Then::GoOn,
                }
            }
            _ => Then::GoOn,
        }
    }
}

impl Inner {
    fn check_seal(&self, seal: u32, applies: bool) -> Result<(), Errno> {
        if applies && self.seals & seal != 0 {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    fn check_write(&self, at: u64, len: usize) -> Result<(), Errno> {
        let grows = at.saturating_add(len as u64) > self.content.size();
        self.check_seal(fcntl::F_SEAL_WRITE | fcntl::F_SEAL_FUTURE_WRITE, true)?;
        self.check_seal(fcntl::F_SEAL_GROW, grows)
    }
}

fn to_frame(page: Mappable<FilePage>) -> Option<Frame> {
    match page {
        Mappable::Page(page) => Some(page.0),
        Mappable::Archive(index) => fs().archive?.frame(index),
    }
}

/// Copies `len` bytes from `in_page` of a page on.
fn copy_chunk(
    chunk: &Chunk<FilePage>,
    in_page: usize,
    len: usize,
    dst: &mut dyn Sink,
) -> Result<(), Errno> {
    match chunk {
        Chunk::Hole => dst.write_zeros(len),
        Chunk::Base(bytes) => {
            let rest = bytes.get(in_page..).unwrap_or_default();
            let part = rest.get(..len.min(rest.len())).unwrap_or_default();
            dst.write_all(part)?;
            dst.write_zeros(len - part.len())
        }
        Chunk::Page(page) => {
            let mut buffer = [0; PAGE_SIZE];
            let part = buffer.get_mut(..len).ok_or(Errno::EINVAL)?;
            page.read(in_page, part);
            dst.write_all(part)
        }
    }
}
