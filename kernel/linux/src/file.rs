//! Open files: the trait that every kind of file implements, open file descriptions and the descriptor table.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Errno, Events, Fd, Sink, Source, UserVa};
use tyn_hal::mem::Frame;
use tyn_hal::sync::SpinLock;

use crate::cx::{Cx, SysResult};
use crate::fs::{ShownName, watch};
use crate::sleep_lock::SleepLock;
use crate::socket::Socket;
use crate::wait::WaitQueue;
use crate::{epoll, lock};

/// Where a read or write takes place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Streams, and files that do not keep a position.
    Stream,
    /// At this byte offset (seekable files).
    Offset(u64),
    /// At the end of the file, atomically (`O_APPEND`).
    End,
}

/// Longest value that a write may have to be, in bytes; see [`File::value_len`].
pub const MAX_VALUE_LEN: usize = 8;

/// A file of any kind. Nothing here blocks: what cannot be done now is `EAGAIN`, and the caller waits on
/// [`File::wait_queue`]. The defaults give the error that Linux gives for a file that lacks the operation.
pub trait File: Any + Send + Sync {
    /// Reads into `dst` and returns the count; 0 is the end of the file.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing yet; others as `read(2)`.
    fn read(&self, at: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let _ = (at, dst);
        Err(Errno::EINVAL)
    }

    /// Writes from `src` and returns the count (short when only part fits now).
    ///
    /// # Errors
    /// `EAGAIN` when nothing fits now; others as `write(2)`. `EPIPE` makes the caller raise SIGPIPE.
    fn write(&self, at: At, src: &mut dyn Source) -> Result<usize, Errno> {
        let _ = (at, src);
        Err(Errno::EINVAL)
    }

    /// Returns which events are true now (`poll(2)`); files that never block are always readable and writable.
    fn poll(&self) -> Events {
        Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM
    }

    /// Returns the queue that is notified when [`File::poll`] may have changed; `None` for files that never block, which
    /// `epoll_ctl(2)` refuses with `EPERM`.
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// Returns whether the file has a position (`lseek(2)`, `pread(2)`), else `ESPIPE`.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Returns whether `lseek(2)` succeeds without effect although the file has no position (`anon_inode:[...]`).
    fn ignores_seek(&self) -> bool {
        false
    }

    /// Returns the length of the value that a write must be, no more and no less, at most [`MAX_VALUE_LEN`]; then each piece of a vector is a write of
    /// its own (`eventfd(2)`).
    fn value_len(&self) -> Option<usize> {
        None
    }

    /// Returns whether a read of no bytes is refused like others that are too short (`eventfd(2)`); else it does nothing.
    fn has_least_read(&self) -> bool {
        false
    }

    /// Returns the size in bytes (for `SEEK_END`).
    fn size(&self) -> u64 {
        0
    }

    /// Answers `fstat(2)`, filling `struct stat` (144 bytes on x86-64).
    ///
    /// # Errors
    /// As `fstat(2)`.
    fn stat(&self) -> Result<[u8; 144], Errno>;

    /// Answers `ioctl(2)`; requests that every file has (`FIONBIO`, `FIOCLEX`) are handled before.
    ///
    /// # Errors
    /// `ENOTTY` for a request that the file does not know.
    fn ioctl(&self, cx: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        let _ = (cx, request, arg);
        Err(Errno::ENOTTY)
    }

    /// Returns the frame that holds page `index` (bytes `index * 4096` on), for a mapping. With `write` the caller will
    /// store to it through a shared mapping. Takes at most the file's own page lock.
    ///
    /// # Errors
    /// `ENODEV` when the file cannot be mapped; `ENXIO` past its end (SIGBUS); `ENOMEM`, `ENOSPC`.
    fn frame(&self, index: u64, write: bool) -> Result<Frame, Errno> {
        let _ = (index, write);
        Err(Errno::ENODEV)
    }

    /// Calls `each(index, frame)` for those of `pages` that exist already, without allocating: a page fault maps the pages
    /// around the faulting one along with it. Takes at most the file's own page lock, also over the calls, which take no
    /// other.
    fn resident_frames(&self, pages: Range<u64>, each: &mut dyn FnMut(u64, Frame)) {
        let _ = (pages, each);
    }

    /// Returns the file as a socket; `None` makes socket calls fail with `ENOTSOCK`.
    fn as_socket(&self) -> Option<&dyn Socket> {
        None
    }

    /// Returns about how many bytes of the kernel's memory the file takes, without what quotas count: when memory runs out,
    /// this tells who has it. Takes at most a lock of an object (rank 3 of `docs/locks.md`), which nobody holds who asks.
    fn kernel_bytes(&self) -> usize {
        512
    }

    /// Called when an open file description of this file is closed for good (not for each duplicate).
    fn release(&self) {}

    /// The file as `Any`, to get at its concrete type (`socket`, `epoll`, ...): `fn as_any(&self) -> &dyn Any { self }`.
    fn as_any(&self) -> &dyn Any;
}

/// Status flags of an open file description that may change (`F_SETFL`): `O_APPEND`, `O_NONBLOCK`, ...
pub mod flags {
    /// Access mode mask and values (`open(2)`).
    pub const O_ACCMODE: u32 = 0o3;
    /// Read only.
    pub const O_RDONLY: u32 = 0;
    /// Write only.
    pub const O_WRONLY: u32 = 1;
    /// Read and write.
    pub const O_RDWR: u32 = 2;
    /// Append on each write.
    pub const O_APPEND: u32 = 0o2000;
    /// Do not block.
    pub const O_NONBLOCK: u32 = 0o4000;
    /// Close on exec (of descriptors, not of descriptions).
    pub const O_CLOEXEC: u32 = 0o2_000_000;
    /// Path only.
    pub const O_PATH: u32 = 0o10_000_000;
}

/// An open file description (`open(2)`): file, position, status flags; shared by duplicated descriptors and by fork.
pub struct OpenFile {
    /// The file.
    pub file: Arc<dyn File>,
    /// Status flags and access mode as `fcntl(F_GETFL)` returns them.
    flags: AtomicU32,
    /// The position, for seekable files.
    offset: AtomicU64,
    /// Held over a read, write or seek that uses the position, so that these are atomic to each other.
    pub position_lock: SleepLock,
    /// What `/proc/self/fd` shows: a path, or `pipe:[7]` and the like.
    pub name: ShownName,
    /// The epoll sets that watch this description.
    pub watchers: epoll::Watchers,
}

impl core::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "OpenFile({:?})", self.name)
    }
}

impl OpenFile {
    /// Makes a description at position 0. `O_CLOEXEC` belongs to the descriptor and is dropped from `flags`.
    #[must_use]
    pub fn new(file: Arc<dyn File>, flags: u32, name: impl Into<ShownName>) -> Arc<Self> {
        let flags = AtomicU32::new(flags & !flags::O_CLOEXEC);
        Arc::new(Self {
            file,
            flags,
            offset: AtomicU64::new(0),
            position_lock: SleepLock::new(),
            name: name.into(),
            watchers: epoll::Watchers::new(),
        })
    }

    /// Returns the position.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Sets the position.
    pub fn set_offset(&self, offset: u64) {
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// Returns the status flags and access mode.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Replaces the changeable flags in `mask` by those of `value`.
    pub fn set_flags(&self, mask: u32, value: u32) {
        let _ = self
            .flags
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |f| {
                Some(f & !mask | value & mask)
            });
    }

    /// Returns whether `O_NONBLOCK` is set.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.flags() & flags::O_NONBLOCK != 0
    }

    /// Returns whether the description only names a file (`O_PATH`): most calls fail with `EBADF`.
    #[must_use]
    pub fn is_path_only(&self) -> bool {
        self.flags() & flags::O_PATH != 0
    }

    /// Returns whether the access mode allows reading (and it is no `O_PATH` descriptor).
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let f = self.flags();
        f & flags::O_PATH == 0 && f & flags::O_ACCMODE != flags::O_WRONLY
    }

    /// Returns whether the access mode allows writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let f = self.flags();
        f & flags::O_PATH == 0 && matches!(f & flags::O_ACCMODE, flags::O_WRONLY | flags::O_RDWR)
    }

    /// Returns the file as a concrete type.
    #[must_use]
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        self.file.as_any().downcast_ref()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.watchers.forget();
        watch::closed(self);
        lock::description_closed(self);
        self.file.release();
    }
}

/// One descriptor.
#[derive(Clone, Debug)]
struct Slot {
    open: Arc<OpenFile>,
    close_on_exec: bool,
}

/// A file descriptor table; shared by threads (`CLONE_FILES`), copied by fork.
#[derive(Debug)]
pub struct FdTable {
    slots: SpinLock<Slots>,
}

#[derive(Clone, Debug)]
struct Slots {
    table: Vec<Option<Slot>>,
    /// No free slot lies below this.
    first_free: usize,
}

impl Slots {
    /// Makes room for the descriptor `index`.
    fn grow_to(&mut self, index: usize) -> Result<(), Errno> {
        if let Some(more) = (index + 1).checked_sub(self.table.len()) {
            self.table.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.table.resize(self.table.len() + more, None);
        }
        Ok(())
    }
}

/// Whether a new descriptor is closed by `execve(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnExec {
    /// It stays open.
    Keep,
    /// It is closed.
    Close,
}

impl OnExec {
    /// Reads the `O_CLOEXEC` bit.
    #[must_use]
    pub fn from_flags(flags: u32) -> Self {
        if flags & flags::O_CLOEXEC == 0 {
            Self::Keep
        } else {
            Self::Close
        }
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        lock::table_dropped(lock::owner_of_table(self));
    }
}

impl Default for FdTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FdTable {
    /// Makes an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: SpinLock::new(Slots {
                table: Vec::new(),
                first_free: 0,
            }),
        }
    }

    /// Returns the description behind `fd`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let slots = self.slots.lock();
        slots
            .table
            .get(index)
            .and_then(Option::as_ref)
            .map(|s| Arc::clone(&s.open))
            .ok_or(Errno::EBADF)
    }

    /// Returns the size of the table as Linux grows it: 64, then 128 times powers of two. No descriptor lies at or above.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self.slots.lock().table.len() {
            0..=64 => 64,
            len => len.next_multiple_of(128).next_power_of_two(),
        }
    }

    /// Installs `open` at the lowest free descriptor at or above `from`; `limit` is `RLIMIT_NOFILE`.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`.
    pub fn install(
        &self,
        open: Arc<OpenFile>,
        from: usize,
        limit: usize,
        on_exec: OnExec,
    ) -> Result<Fd, Errno> {
        let mut slots = self.slots.lock();
        let start = from.max(slots.first_free);
        let free = slots.table.iter().skip(start).position(Option::is_none);
        let index = free.map_or(slots.table.len().max(start), |i| start + i);
        if index >= limit {
            return Err(Errno::EMFILE);
        }
        slots.grow_to(index)?;
        if let Some(slot) = slots.table.get_mut(index) {
            *slot = Some(Slot {
                open,
                close_on_exec: on_exec == OnExec::Close,
            });
        }
        if from <= slots.first_free {
            slots.first_free = index + 1;
        }
        i32::try_from(index).map(Fd).map_err(|_| Errno::EMFILE)
    }

    /// Checks that a descriptor below `limit` is free now.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn check_room(&self, limit: usize) -> Result<(), Errno> {
        let slots = self.slots.lock();
        let from = slots.table.iter().skip(slots.first_free);
        let used = from.take_while(|slot| slot.is_some()).count();
        if slots.first_free + used >= limit {
            return Err(Errno::EMFILE);
        }
        Ok(())
    }

    /// Installs `open` at exactly `fd` (`dup2(2)`) and returns what was there, for the caller to drop.
    ///
    /// # Errors
    /// `EBADF` when `fd` is negative or at or above `limit`, `ENOMEM`.
    pub fn replace(
        &self,
        fd: Fd,
        open: Arc<OpenFile>,
        limit: usize,
        on_exec: OnExec,
    ) -> Result<Option<Arc<OpenFile>>, Errno> {
        let index = usize::try_from(fd.0)
            .ok()
            .filter(|&i| i < limit)
            .ok_or(Errno::EBADF)?;
        let mut slots = self.slots.lock();
        slots.grow_to(index)?;
        let slot = slots.table.get_mut(index).ok_or(Errno::EBADF)?;
        let old = slot.replace(Slot {
            open,
            close_on_exec: on_exec == OnExec::Close,
        });
        Ok(old.map(|s| s.open))
    }

    /// Removes `fd` and returns its description, for the caller to drop outside the lock.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn remove(&self, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.lock();
        let slot = slots
            .table
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        slots.first_free = slots.first_free.min(index);
        Ok(slot.open)
    }

    /// Returns the close-on-exec flag.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn on_exec(&self, fd: Fd) -> Result<OnExec, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let slots = self.slots.lock();
        let slot = slots
            .table
            .get(index)
            .and_then(Option::as_ref)
            .ok_or(Errno::EBADF)?;
        Ok(if slot.close_on_exec {
            OnExec::Close
        } else {
            OnExec::Keep
        })
    }

    /// Sets the close-on-exec flag.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_on_exec(&self, fd: Fd, on_exec: OnExec) -> Result<(), Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.lock();
        let slot = slots
            .table
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or(Errno::EBADF)?;
        slot.close_on_exec = on_exec == OnExec::Close;
        Ok(())
    }

    /// Removes every descriptor for which `doomed(fd, close_on_exec)` holds, and calls `closed` with its description, outside
    /// the lock (`execve`, `close_range`). Needs no memory.
    pub fn remove_where(
        &self,
        doomed: impl Fn(usize, bool) -> bool,
        mut closed: impl FnMut(Arc<OpenFile>),
    ) {
        let mut from = 0;
        loop {
            let mut batch = [const { None::<Arc<OpenFile>> }; 32];
            from = self.remove_some(from, &doomed, &mut batch);
            if batch[0].is_none() {
                return;
            }
            batch.into_iter().flatten().for_each(&mut closed);
        }
    }

    /// Removes those at or above `from`, as many as `batch` takes; returns where to go on.
    fn remove_some(
        &self,
        from: usize,
        doomed: &impl Fn(usize, bool) -> bool,
        batch: &mut [Option<Arc<OpenFile>>],
    ) -> usize {
        let mut slots = self.slots.lock();
        let mut places = batch.iter_mut();
        let mut first = slots.first_free;
        let mut next = slots.table.len();
        for (index, slot) in slots.table.iter_mut().enumerate().skip(from) {
            let is_doomed = |s: &Slot| doomed(index, s.close_on_exec);
            if !slot.as_ref().is_some_and(is_doomed) {
                continue;
            }
            let Some(place) = places.next() else {
                next = index;
                break;
            };
            *place = slot.take().map(|s| s.open);
            first = first.min(index);
        }
        slots.first_free = first;
        next
    }

    /// Sets the close-on-exec flag of every descriptor in use that is in `range` (`close_range(2)`).
    pub fn close_on_exec_in(&self, range: core::ops::RangeInclusive<usize>) {
        let mut slots = self.slots.lock();
        let used = slots.table.iter_mut().enumerate();
        for (_, slot) in used.filter(|(index, _)| range.contains(index)) {
            if let Some(slot) = slot {
                slot.close_on_exec = true;
            }
        }
    }

    /// Lists the descriptors in use (`/proc/self/fd`).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn list(&self) -> Result<Vec<u32>, Errno> {
        let slots = self.slots.lock();
        let used = slots.table.iter().zip(0..).filter(|(s, _)| s.is_some());
        let mut list = Vec::new();
        let room = list.try_reserve_exact(used.clone().count());
        room.map_err(|_| Errno::ENOMEM)?;
        list.extend(used.map(|(_, fd)| fd));
        Ok(list)
    }

    /// Returns about how many bytes the table and what it names take.
    #[must_use]
    pub fn kernel_bytes(&self) -> usize {
        let slots = self.slots.lock();
        let used = slots.table.iter().flatten();
        let named: usize = used
            .map(|slot| size_of::<OpenFile>() + slot.open.file.kernel_bytes())
            .sum();
        named + slots.table.capacity() * size_of::<Option<Slot>>()
    }

    /// Copies the table (`fork(2)`).
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn duplicate(&self) -> Result<Self, Errno> {
        let slots = self.slots.lock();
        let mut table = Vec::new();
        let room = table.try_reserve_exact(slots.table.len());
        room.map_err(|_| Errno::ENOMEM)?;
        table.extend_from_slice(&slots.table);
        Ok(Self {
            slots: SpinLock::new(Slots {
                table,
                first_free: slots.first_free,
            }),
        })
    }
}
