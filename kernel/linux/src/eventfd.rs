//! Event counters as files (`eventfd(2)`).

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

use tyn_abi::{Errno, Events, Sink, Source};
use tyn_fs::fd_info;
use tyn_hal::sync::SpinLock;
use tyn_io::eventfd::{self, EventFd, Take};

use crate::anon::{self, Home};
use crate::file::{At, File, OpenFile, flags};
use crate::wait::WaitQueue;

/// An event counter.
#[derive(Debug)]
pub struct EventFile {
    counter: SpinLock<EventFd>,
    queue: WaitQueue,
    inode: u64,
}

/// Opens a new counter; `status` is `O_NONBLOCK` or 0.
#[must_use]
pub fn open(count: u32, take: Take, status: u32) -> Arc<OpenFile> {
    let file = EventFile {
        counter: SpinLock::new(EventFd::new(count, take)),
        queue: WaitQueue::new(),
        inode: anon::inode_number(),
    };
    let name = String::from("anon_inode:[eventfd]");
    OpenFile::new(Arc::new(file), flags::O_RDWR | status, name)
}

impl File for EventFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let count = self.counter.lock().read(dst)?;
        self.queue.notify(Events::OUT);
        Ok(count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        let count = self.counter.lock().write(src)?;
        self.queue.notify(Events::IN);
        Ok(count)
    }

    fn poll(&self) -> Events {
        self.counter.lock().poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn has_least_read(&self) -> bool {
        true
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn value_len(&self) -> Option<usize> {
        Some(eventfd::VALUE_LEN)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Anonymous, self.inode))
    }

    fn show_info(&self, out: &mut String) {
        let counter = self.counter.lock();
        let (count, is_semaphore) = (counter.count(), counter.is_semaphore());
        drop(counter);
        out.push_str(&fd_info::event_counter(count, self.inode, is_semaphore));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
