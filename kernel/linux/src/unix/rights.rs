//! Open files on their way through a socket (`SCM_RIGHTS`).

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use tyn_abi::Errno;
use tyn_hal::sync::SpinLock;

use super::{UnixSocket, garbage};
use crate::cx::Cx;
use crate::file::OpenFile;

/// Files in messages that nobody has received; bounded by the sender's `RLIMIT_NOFILE`.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A local socket in messages.
pub(super) struct Flight {
    pub(super) open: Weak<OpenFile>,
    pub(super) messages: usize,
}

/// The local sockets that are in messages, by the address of their descriptions. Taken before the locks of any socket: rights
/// are not dropped under these.
pub(super) static FLIGHTS: SpinLock<BTreeMap<usize, Flight>> = SpinLock::new(BTreeMap::new());

/// Returns the key of a description in [`FLIGHTS`].
fn key(open: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(open).addr()
}

/// An open file in a message.
#[derive(Debug)]
pub(super) struct InFlight {
    open: Arc<OpenFile>,
    /// Whether this is the one that is counted, not a copy of it that was taken by `MSG_PEEK`.
    is_counted: bool,
}

impl Clone for InFlight {
    fn clone(&self) -> Self {
        Self {
            open: Arc::clone(&self.open),
            is_counted: false,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        COUNT.fetch_sub(1, Ordering::Relaxed);
        if is_local_socket(&self.open) {
            let mut flights = FLIGHTS.lock();
            if let Entry::Occupied(mut entry) = flights.entry(key(&self.open)) {
                entry.get_mut().messages -= 1;
                if entry.get().messages == 0 {
                    entry.remove();
                }
            }
        }
    }
}

fn is_local_socket(open: &OpenFile) -> bool {
    open.downcast::<UnixSocket>().is_some()
}

impl InFlight {
    fn new(open: &Arc<OpenFile>) -> Self {
        COUNT.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(open);
        if is_local_socket(&open) {
            let mut flights = FLIGHTS.lock();
            let flight = flights.entry(key(&open)).or_insert_with(|| Flight {
                open: Arc::downgrade(&open),
                messages: 0,
            });
            flight.messages += 1;
        }
        Self {
            open,
            is_counted: true,
        }
    }

    /// Returns the key of the file in [`FLIGHTS`], which has it if it is a local socket.
    pub(super) fn key(&self) -> usize {
        key(&self.open)
    }

    /// Makes rights of files that are to be sent.
    ///
    /// # Errors
    /// `ETOOMANYREFS` when too many are on their way.
    pub(super) fn launch(cx: &Cx<'_>, files: &[Arc<OpenFile>]) -> Result<Vec<Self>, Errno> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let are_too_many = || COUNT.load(Ordering::Relaxed) > cx.process.limits.descriptors();
        if are_too_many() {
            garbage::collect();
            if are_too_many() {
                return Err(Errno::ETOOMANYREFS);
            }
        }
        Ok(files.iter().map(Self::new).collect())
    }

    /// Makes files of rights that were received.
    pub(super) fn land(rights: Vec<Self>) -> Vec<Arc<OpenFile>> {
        rights
            .into_iter()
            .map(|right| Arc::clone(&right.open))
            .collect()
    }
}

/// Files to be dropped.
struct Grave {
    files: Vec<Arc<OpenFile>>,
    /// Somebody is dropping them and looks here again before stopping.
    is_digging: bool,
    /// A local socket was closed meanwhile: others may have become unreachable.
    is_collection_due: bool,
}

static GRAVE: SpinLock<Grave> = SpinLock::new(Grave {
    files: Vec::new(),
    is_digging: false,
    is_collection_due: false,
});

/// Frees the sockets that became unreachable as a local socket was closed: at once or, where that was one of many files that
/// are dropped, after all of them. The caller holds no lock.
pub(super) fn socket_closed() {
    let mut grave = GRAVE.lock();
    if grave.is_digging {
        grave.is_collection_due = true;
        return;
    }
    drop(grave);
    garbage::collect();
}

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
    loop {
        if let Some(file) = grave.files.pop() {
            drop(grave);
            drop(file);
        } else if core::mem::take(&mut grave.is_collection_due) {
            drop(grave);
            // What it finds comes here, too.
            garbage::collect();
        } else {
            break;
        }
        grave = GRAVE.lock();
    }
    grave.is_digging = false;
}
