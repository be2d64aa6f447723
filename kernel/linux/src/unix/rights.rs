//! Open files on their way through a socket (`SCM_RIGHTS`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use tyn_abi::Errno;
use tyn_hal::sync::SpinLock;

use crate::cx::Cx;
use crate::file::OpenFile;

/// Files in messages that nobody has received. A socket can be in a message to itself that nobody can receive any more;
/// such a loop is never freed, so this is bounded by the sender's `RLIMIT_NOFILE`.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// An open file in a message.
#[derive(Debug)]
pub(super) struct InFlight(Arc<OpenFile>);

impl Clone for InFlight {
    fn clone(&self) -> Self {
        COUNT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Makes rights of files that are to be sent.
    ///
    /// # Errors
    /// `ETOOMANYREFS` when too many are on their way.
    pub(super) fn launch(cx: &Cx<'_>, files: &[Arc<OpenFile>]) -> Result<Vec<Self>, Errno> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        if COUNT.load(Ordering::Relaxed) > cx.process.limits.descriptors() {
            return Err(Errno::ETOOMANYREFS);
        }
        COUNT.fetch_add(files.len(), Ordering::Relaxed);
        Ok(files.iter().map(|open| Self(Arc::clone(open))).collect())
    }

    /// Makes files of rights that were received.
    pub(super) fn land(rights: Vec<Self>) -> Vec<Arc<OpenFile>> {
        rights
            .into_iter()
            .map(|right| Arc::clone(&right.0))
            .collect()
    }
}

/// Files to be dropped.
struct Grave {
    files: Vec<Arc<OpenFile>>,
    /// Somebody is dropping them and looks here again before stopping.
    is_digging: bool,
}

static GRAVE: SpinLock<Grave> = SpinLock::new(Grave {
    files: Vec::new(),
    is_digging: false,
});

/// Drops rights that nobody received.
pub(super) fn bury(rights: Vec<InFlight>) {
    bury_open(InFlight::land(rights));
}

/// Drops open files one after the other: closing a socket may bring up files in its own messages, whose sockets have
/// messages in turn, and so on; a user decides how deep that goes. The caller holds no lock.
pub(super) fn bury_open(files: Vec<Arc<OpenFile>>) {
    if files.is_empty() {
        return;
    }
    let mut grave = GRAVE.lock();
    grave.files.extend(files);
    if grave.is_digging {
        return;
    }
    grave.is_digging = true;
    while let Some(file) = grave.files.pop() {
        drop(grave);
        drop(file);
        grave = GRAVE.lock();
    }
    grave.is_digging = false;
}
