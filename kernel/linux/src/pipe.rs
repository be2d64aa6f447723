//! Pipes as files (`pipe(7)`), with a name in [`crate::fifo`] or without.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use tyn_abi::fs::open::O_DIRECT;
use tyn_abi::{Errno, Events, PAGE_SIZE, Sink, Source, UserVa};
use tyn_hal::sync::SpinLock;
use tyn_io::pipe::{End, Pipe};

use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::fifo::Place;
use crate::file::{At, File, OpenFile, flags};
use crate::user_io;
use crate::wait::WaitQueue;

/// `ioctl(2)`: how many bytes can be read.
pub const FIONREAD: u32 = 0x541b;

/// What all descriptions of a pipe share.
pub(crate) struct Shared {
    pub(crate) pipe: SpinLock<Pipe>,
    readers: WaitQueue,
    writers: WaitQueue,
    /// Descriptions that read and write; only FIFOs have them.
    both: Option<WaitQueue>,
    inode: u64,
}

impl Shared {
    /// Makes a pipe that nobody has open.
    pub(crate) fn new(pipe: Pipe, both: Option<WaitQueue>) -> Arc<Self> {
        Arc::new(Self {
            pipe: SpinLock::new(pipe),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            both,
            inode: anon::inode_number(),
        })
    }

    /// Tells the observers of one end.
    pub(crate) fn notify(&self, end: End, events: Events) {
        match end {
            End::Read => self.readers.notify(events),
            End::Write => self.writers.notify(events),
        }
        if let Some(both) = &self.both {
            both.notify(events);
        }
    }
}

/// Which ends a description has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ends {
    /// One.
    One(End),
    /// Both (`O_RDWR`, FIFOs only).
    Both,
}

impl Ends {
    /// Returns them one by one.
    pub(crate) fn each(self) -> impl Iterator<Item = End> {
        let has = move |end| self == Self::Both || self == Self::One(end);
        [End::Read, End::Write].into_iter().filter(move |&e| has(e))
    }
}

/// One end of a pipe, or both, with one open file description.
pub struct PipeEnd {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ends: Ends,
    /// Where the pipe is in the file system, and how it was when it was opened: a FIFO.
    pub(crate) place: Option<Place>,
}

impl core::fmt::Debug for PipeEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PipeEnd({}, {:?})", self.shared.inode, self.ends)
    }
}

/// Makes a pipe and returns its reading and its writing end; `status` is of `O_NONBLOCK` and
/// `O_DIRECT` (each write is a packet).
#[must_use]
pub fn new(status: u32) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let pipe = if status & O_DIRECT == 0 {
        Pipe::new()
    } else {
        Pipe::of_packets()
    };
    let shared = Shared::new(pipe, None);
    let open = |end, access| {
        shared.pipe.lock().open(end);
        let name = format!("pipe:[{}]", shared.inode);
        let file = PipeEnd {
            shared: Arc::clone(&shared),
            ends: Ends::One(end),
            place: None,
        };
        // As on Linux only the writing end shows that.
        let shown = match end {
            End::Read => status & !O_DIRECT,
            End::Write => status,
        };
        OpenFile::new(Arc::new(file), access | shown, name)
    };
    (
        open(End::Read, flags::O_RDONLY),
        open(End::Write, flags::O_WRONLY),
    )
}

impl PipeEnd {
    /// Returns the capacity in bytes (`F_GETPIPE_SZ`).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.pipe.lock().capacity()
    }

    /// Sets the capacity (`F_SETPIPE_SZ`) and returns it.
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`, `EBUSY`.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize, Errno> {
        let capacity = self.shared.pipe.lock().set_capacity(bytes)?;
        self.shared.notify(End::Write, Events::OUT | Events::WRNORM);
        Ok(capacity)
    }
}

impl PipeEnd {
    /// Returns whether both are of one pipe.
    pub(crate) fn is_same_pipe(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns how many bytes fit now.
    ///
    /// # Errors
    /// `EPIPE` when nobody reads.
    pub(crate) fn room(&self) -> Result<usize, Errno> {
        self.shared.pipe.lock().room()
    }

    /// Copies up to `len` bytes without taking them; `None` when there is nothing yet, no bytes at the end of the file.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn peek(&self, len: usize) -> Result<Option<Vec<u8>>, Errno> {
        self.shared.pipe.lock().peek(len)
    }

    /// Puts bytes back that were read and could not be passed on.
    pub(crate) fn put_back(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.shared.pipe.lock().put_back(bytes);
            self.shared.notify(End::Read, Events::IN | Events::RDNORM);
        }
    }

    /// Counts the description as closed, and tells the other end when it was the last.
    pub(crate) fn close(&self) {
        for end in self.ends.each() {
            if self.shared.pipe.lock().close(end) {
                match end {
                    End::Read => self.shared.notify(End::Write, Events::ERR | Events::OUT),
                    End::Write => self.shared.notify(End::Read, Events::HUP | Events::IN),
                }
            }
        }
    }

    /// Opens the pipe anew, with the end that the access mode in `flags` asks for (`/proc/self/fd/N`).
    ///
    /// # Errors
    /// `ENXIO` for reading and writing: such an end there is not.
    pub fn reopen(&self, flags: u32, name: &str) -> Result<Arc<OpenFile>, Errno> {
        let end = match flags & flags::O_ACCMODE {
            flags::O_RDONLY => End::Read,
            flags::O_WRONLY => End::Write,
            _ => return Err(Errno::ENXIO),
        };
        self.shared.pipe.lock().open(end);
        let file = Self {
            shared: Arc::clone(&self.shared),
            ends: Ends::One(end),
            place: None,
        };
        Ok(OpenFile::new(Arc::new(file), flags, String::from(name)))
    }
}

impl File for PipeEnd {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let moved = self.shared.pipe.lock().read(dst)?;
        if moved.wakes_other_end {
            self.shared.notify(End::Write, Events::OUT | Events::WRNORM);
        }
        Ok(moved.count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        let moved = self.shared.pipe.lock().write(src)?;
        if moved.wakes_other_end {
            self.shared.notify(End::Read, Events::IN | Events::RDNORM);
        }
        Ok(moved.count)
    }

    fn poll(&self) -> Events {
        let pipe = self.shared.pipe.lock();
        let mut events = Events::empty();
        for end in self.ends.each() {
            events |= pipe.poll(end);
        }
        if self.place.as_ref().is_some_and(|p| p.awaits_writer(&pipe)) {
            events.remove(Events::HUP);
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        match self.ends {
            Ends::One(End::Read) => Some(&self.shared.readers),
            Ends::One(End::Write) => Some(&self.shared.writers),
            Ends::Both => self.shared.both.as_ref(),
        }
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        match &self.place {
            Some(place) => place.stat(),
            None => Ok(anon::stat(Home::Pipes, self.shared.inode)),
        }
    }

    fn ioctl(&self, _: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        match request {
            FIONREAD => {
                let unread = self.shared.pipe.lock().len() as u32;
                user_io::write_bytes(arg, &unread.to_le_bytes())?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn kernel_bytes(&self) -> usize {
        let pages = self.shared.pipe.try_lock().map_or(0, |pipe| pipe.pages());
        512 + pages * PAGE_SIZE
    }

    fn release(&self) {
        if let Some(place) = &self.place {
            return place.release(self);
        }
        self.close();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
