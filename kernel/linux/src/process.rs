//! Processes: address space, files, identity, family.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use tyn_abi::Pid;
use tyn_hal::sync::SpinLock;

use crate::file::FdTable;
use crate::mm::Mm;
use crate::signal::ProcessSignals;
use crate::thread::Thread;
use crate::wait::WaitQueue;

/// A process (thread group).
#[derive(Debug)]
pub struct Process {
    /// Process id.
    pub pid: Pid,
    /// Address space; replaced by `execve(2)`, shared under `CLONE_VM`.
    pub mm: SpinLock<Arc<Mm>>,
    /// Descriptors; shared under `CLONE_FILES`.
    pub files: SpinLock<Arc<FdTable>>,
    /// Working directory and umask; the fs slice defines what is in it.
    pub fs: SpinLock<Arc<FsContext>>,
    /// Signal actions and process-wide pending signals.
    pub signals: ProcessSignals,
    /// Threads that have not exited.
    pub threads: SpinLock<Vec<Weak<Thread>>>,
    /// Notified when a child changes state (`wait4(2)`).
    pub child_events: WaitQueue,
}

impl Process {
    /// Returns the address space.
    #[must_use]
    pub fn mm(&self) -> Arc<Mm> {
        Arc::clone(&self.mm.lock())
    }
}

/// Working directory, root and umask (`CLONE_FS`).
#[derive(Debug)]
pub struct FsContext;
