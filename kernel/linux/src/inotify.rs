//! Instances of `inotify(7)` as files. What is watched, and by whom, is in [`tyn_fs::inotify`]; what happens to files is told
//! by [`crate::fs::watch`].

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

use tyn_abi::inotify::Inotify;
use tyn_abi::{Errno, Events, Sink, UserVa};
use tyn_fs::fd_info;
use tyn_fs::inotify::Id;
use tyn_fs::tree::Ino;

use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, OpenFile, flags};
use crate::fs::fs;
use crate::fs::watch::{wake, with_watches};
use crate::pipe::FIONREAD;
use crate::user_io;
use crate::wait::WaitQueue;

/// An instance.
#[derive(Debug)]
pub struct InotifyFile {
    id: Id,
    queue: Arc<WaitQueue>,
    inode: u64,
}

/// Makes an instance; `status` is `O_NONBLOCK` or 0.
///
/// # Errors
/// `EMFILE` when there are too many.
pub fn open(status: u32) -> Result<Arc<OpenFile>, Errno> {
    let queue = Arc::new(WaitQueue::new());
    let id = with_watches(|w| w.open(Arc::clone(&queue)))?;
    let file = InotifyFile {
        id,
        queue,
        inode: anon::inode_number(),
    };
    let name = String::from("anon_inode:inotify");
    Ok(OpenFile::new(
        Arc::new(file),
        flags::O_RDONLY | status,
        name,
    ))
}

impl InotifyFile {
    /// Watches an inode, which the caller holds, or changes what is watched of it; returns the watch descriptor.
    ///
    /// # Errors
    /// As [`tyn_fs::inotify::Watches::watch`].
    pub fn watch(&self, ino: Ino, mask: Inotify) -> Result<i32, Errno> {
        with_watches(|w| w.watch(self.id, ino, mask))
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// `EINVAL` when there is no such watch.
    pub fn unwatch(&self, wd: i32) -> Result<(), Errno> {
        with_watches(|w| w.unwatch(self.id, wd, wake))
    }
}

impl File for InotifyFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        with_watches(|w| w.read(self.id, dst))
    }

    fn poll(&self) -> Events {
        if with_watches(|w| w.is_readable(self.id)) {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
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

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Anonymous, self.inode))
    }

    fn ioctl(&self, _: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let unread = with_watches(|w| w.unread(self.id));
        let unread = i32::try_from(unread).unwrap_or(i32::MAX);
        user_io::write_bytes(arg, &unread.to_le_bytes())?;
        Ok(0)
    }

    fn kernel_bytes(&self) -> usize {
        512 + with_watches(|w| w.bytes(self.id))
    }

    fn release(&self) {
        drop(with_watches(|w| w.close(self.id)));
    }

    fn show_info(&self, out: &mut String) {
        for (wd, ino, mask) in with_watches(|w| w.list(self.id)) {
            let dev = fs().with_tree(|t| t.dev(ino)).unwrap_or(0);
            let line = fd_info::watch(wd, (ino.0, dev), mask.bits());
            if out.try_reserve(line.len()).is_err() {
                break;
            }
            out.push_str(&line);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
