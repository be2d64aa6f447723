//! Processes as files (`pidfd_open(2)`): readable once the process has ended.

use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

use tyn_abi::{Errno, Events, Pid};
use tyn_fs::fd_info;

use crate::anon::{self, Home};
use crate::file::{File, OpenFile, flags};
use crate::kernel::kernel;
use crate::process::Process;
use crate::wait::WaitQueue;

/// A process that is referred to by a descriptor; an id that is given to another process later does not change that.
#[derive(Debug)]
pub struct PidFile {
    process: Arc<Process>,
    inode: u64,
}

/// Opens a file for a process; `status` is `O_NONBLOCK` (for `waitid(2)`) or 0.
#[must_use]
pub fn open(process: &Arc<Process>, status: u32) -> Arc<OpenFile> {
    let file = PidFile {
        process: Arc::clone(process),
        inode: anon::inode_number(),
    };
    let name = String::from("anon_inode:[pidfd]");
    OpenFile::new(Arc::new(file), flags::O_RDWR | status, name)
}

impl PidFile {
    /// Returns the process's id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Returns the process, zombies included.
    ///
    /// # Errors
    /// `ESRCH` when it has been waited for.
    pub fn process(&self) -> Result<&Arc<Process>, Errno> {
        let known = kernel().processes.lock().get(&self.process.pid).cloned();
        if known.is_some_and(|known| Arc::ptr_eq(&known, &self.process)) {
            Ok(&self.process)
        } else {
            Err(Errno::ESRCH)
        }
    }
}

impl File for PidFile {
    fn poll(&self) -> Events {
        if self.process.has_ended() {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.process.thread_events)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Anonymous, self.inode))
    }

    fn show_info(&self, out: &mut String) {
        let is_known = self.process().is_ok();
        let pid = if is_known {
            i64::from(self.process.pid.0)
        } else {
            -1
        };
        out.push_str(&fd_info::process(pid));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
