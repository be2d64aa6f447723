//! Pipes as files (`pipe(7)`).

use alloc::format;
use alloc::sync::Arc;
use core::any::Any;

use tyn_abi::{Errno, Events, Sink, Source, UserVa};
use tyn_hal::sync::SpinLock;
use tyn_io::pipe::{End, Pipe};

use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, OpenFile, flags};
use crate::user_io;
use crate::wait::WaitQueue;

/// `ioctl(2)`: how many bytes can be read.
pub const FIONREAD: u32 = 0x541b;

/// What both ends share.
struct Shared {
    pipe: SpinLock<Pipe>,
    readers: WaitQueue,
    writers: WaitQueue,
    inode: u64,
}

/// One end of a pipe, with one open file description.
pub struct PipeEnd {
    shared: Arc<Shared>,
    end: End,
}

impl core::fmt::Debug for PipeEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PipeEnd({}, {:?})", self.shared.inode, self.end)
    }
}

/// Makes a pipe and returns its reading and its writing end; `status` is `O_NONBLOCK` or 0.
#[must_use]
pub fn new(status: u32) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let shared = Arc::new(Shared {
        pipe: SpinLock::new(Pipe::new()),
        readers: WaitQueue::new(),
        writers: WaitQueue::new(),
        inode: anon::inode_number(),
    });
    let open = |end, access| {
        shared.pipe.lock().open(end);
        let name = format!("pipe:[{}]", shared.inode);
        let file = PipeEnd {
            shared: Arc::clone(&shared),
            end,
        };
        OpenFile::new(Arc::new(file), access | status, name)
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
        self.shared.writers.notify(Events::OUT | Events::WRNORM);
        Ok(capacity)
    }
}

impl PipeEnd {
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
            end,
        };
        Ok(OpenFile::new(Arc::new(file), flags, name.into()))
    }
}

impl File for PipeEnd {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let moved = self.shared.pipe.lock().read(dst)?;
        if moved.wakes_other_end {
            self.shared.writers.notify(Events::OUT | Events::WRNORM);
        }
        Ok(moved.count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        let moved = self.shared.pipe.lock().write(src)?;
        if moved.wakes_other_end {
            self.shared.readers.notify(Events::IN | Events::RDNORM);
        }
        Ok(moved.count)
    }

    fn poll(&self) -> Events {
        self.shared.pipe.lock().poll(self.end)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(match self.end {
            End::Read => &self.shared.readers,
            End::Write => &self.shared.writers,
        })
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Pipes, self.shared.inode))
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

    fn release(&self) {
        if self.shared.pipe.lock().close(self.end) {
            match self.end {
                End::Read => self.shared.writers.notify(Events::ERR | Events::OUT),
                End::Write => self.shared.readers.notify(Events::HUP | Events::IN),
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
