//! Open files: the trait that every kind of file implements, and open file descriptions.

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Errno, Events, Sink, Source, UserVa};
use tyn_hal::mem::Frame;

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

    /// Reads for a caller that may wait, if the file has rules of its own for how long (terminals: `VTIME` of `termios(3)`);
    /// `None` for all others, whose callers wait for the first byte.
    fn read_patiently(&self, cx: &Cx<'_>, dst: &mut dyn Sink) -> Option<Result<usize, Errno>> {
        let _ = (cx, dst);
        None
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

    /// Returns whether the file answers a write of no bytes (a terminal that was hung up); else it does nothing.
    fn has_empty_writes(&self) -> bool {
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

    /// Adds what the file itself shows in `/proc/PID/fdinfo` (`proc_pid_fdinfo(5)`). The caller holds no lock.
    fn show_info(&self, out: &mut String) {
        let _ = out;
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
