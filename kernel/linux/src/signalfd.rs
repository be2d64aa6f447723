//! Signals as files (`signalfd(2)`).
//!
//! A read takes what is pending for the reading thread and its process, whoever opened the file. Senders tell all signal
//! files that are interested in the signal; those whose readers it does not concern look in vain.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::ops::Bound;
use core::sync::atomic::{AtomicUsize, Ordering};

use tyn_abi::signal::{Signal, SignalSet};
use tyn_abi::{Errno, Events, Sink};
use tyn_fs::fd_info;
use tyn_hal::sync::SpinLock;

use crate::anon::{self, Home};
use crate::file::{At, File, OpenFile, flags};
use crate::sched;
use crate::wait::WaitQueue;

/// Size of `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// All signal files, by their inode numbers.
static ALL: SpinLock<BTreeMap<u64, Weak<SignalFile>>> = SpinLock::new(BTreeMap::new());
/// How many there are, so that senders need no lock where there are none.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A file that signals are read from.
#[derive(Debug)]
pub struct SignalFile {
    wanted: SpinLock<SignalSet>,
    queue: WaitQueue,
    inode: u64,
}

/// Opens a new file for the signals in `wanted`; `status` is `O_NONBLOCK` or 0.
#[must_use]
pub fn open(wanted: SignalSet, status: u32) -> Arc<OpenFile> {
    let file = Arc::new(SignalFile {
        wanted: SpinLock::new(wanted),
        queue: WaitQueue::new(),
        inode: anon::inode_number(),
    });
    ALL.lock().insert(file.inode, Arc::downgrade(&file));
    COUNT.fetch_add(1, Ordering::SeqCst);
    let name = String::from("anon_inode:[signalfd]");
    OpenFile::new(file, flags::O_RDWR | status, name)
}

/// Tells the files that want `signal` that it was queued somewhere.
pub(crate) fn notify(signal: Signal) {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let mut last = 0;
    // One after the other, without the lock of the table: a file may be closed meanwhile.
    while let Some((inode, file)) = after(last) {
        last = inode;
        let Some(file) = file.upgrade() else { continue };
        let is_wanted = file.wanted.lock().contains(signal);
        if is_wanted {
            file.queue.notify(Events::IN);
        }
    }
}

/// Returns the file whose number is the next above `inode`.
fn after(inode: u64) -> Option<(u64, Weak<SignalFile>)> {
    let files = ALL.lock();
    let mut later = files.range((Bound::Excluded(inode), Bound::Unbounded));
    later
        .next()
        .map(|(&inode, file)| (inode, Weak::clone(file)))
}

impl SignalFile {
    /// Chooses other signals.
    pub fn set_wanted(&self, wanted: SignalSet) {
        *self.wanted.lock() = wanted;
        self.queue.notify(Events::IN);
    }
}

impl File for SignalFile {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let thread = sched::current().ok_or(Errno::EAGAIN)?;
        let wanted = *self.wanted.lock();
        let mut count = 0;
        while dst.remaining() >= RECORD {
            let Some(info) = thread.signals.take_for(&thread, wanted) else {
                break;
            };
            match dst.write_all(&info.to_signalfd()) {
                Ok(()) => count += RECORD,
                // As on Linux, the signal is lost.
                Err(errno) if count == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(count)
    }

    fn poll(&self) -> Events {
        let wanted = *self.wanted.lock();
        let pending = sched::current().map_or(SignalSet::EMPTY, |thread| {
            let process = thread.process().signals.pending();
            thread.signals.pending().union(process)
        });
        if pending.intersection(wanted).is_empty() {
            Events::empty()
        } else {
            Events::IN
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

    fn release(&self) {
        let known = ALL.lock().remove(&self.inode);
        drop(known);
        COUNT.fetch_sub(1, Ordering::SeqCst);
    }

    fn show_info(&self, out: &mut String) {
        let wanted = *self.wanted.lock();
        out.push_str(&fd_info::signals(wanted.0));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
