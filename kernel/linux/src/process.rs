//! Processes: address space, files, identity. Who is whose child is in [`tyn_proc::Family`], under one lock of the
//! kernel; how a process ends is in [`crate::exit`].

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Errno, Events, Nanos, Pid, Tid};
use tyn_hal::sync::SpinLock;
use tyn_hal::time;
use tyn_proc::ParentCell;

use crate::descriptors::FdTable;
use crate::kernel::kernel;
use crate::limits::Rlimits;
use crate::mm::Mm;
use crate::sched::CpuTimes;
use crate::signal::ProcessSignals;
use crate::thread::Thread;
use crate::tty::{Terminal, Tty};
use crate::wait::WaitQueue;

pub use crate::exit::thread_exited;
pub use crate::fs::FsContext;

/// A process (thread group).
#[derive(Debug)]
pub struct Process {
    /// Process id.
    pub pid: Pid,
    /// Who the parent is.
    parent: ParentCell,
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
    /// Name of its first thread when that exited, which is the process's from then on.
    pub(crate) last_name: SpinLock<[u8; 16]>,
    /// CPU time used by its threads, those that ended included.
    pub times: CpuTimes,
    /// Notified when a child changes state (`wait4(2)`).
    pub child_events: WaitQueue,
    /// Notified when a thread has left (`execve(2)` waits to be alone), when a vfork child lets go of its parent, and when
    /// the process has ended (`pidfd_open(2)`).
    pub thread_events: WaitQueue,
    /// Resource limits.
    pub limits: Rlimits,
    /// The controlling terminal.
    pub(crate) terminal: Terminal,
    /// When it was made.
    pub started: Nanos,
    /// Attributes of `prctl(2)` and `personality(2)`.
    pub attributes: Attributes,
    /// How it is to end: 0 while it lives, else [`EXITING`] and the wait status. The first to set it decides.
    pub(crate) exit: AtomicU64,
    /// It is a zombie, or gone.
    ended: AtomicBool,
    /// One of its threads is ending the others for `execve(2)`.
    in_exec: AtomicBool,
    /// The parent of a vfork, which waits until this process has another address space or none.
    pub(crate) vfork_parent: SpinLock<Option<Weak<Process>>>,
}

/// Set in [`Process::exit`] when the rest of it counts.
pub(crate) const EXITING: u64 = 1 << 32;

/// `ADDR_NO_RANDOMIZE` of `personality(2)`: programs are loaded at fixed addresses.
pub const ADDR_NO_RANDOMIZE: u32 = 0x4_0000;

/// What a process is made of, besides its identity.
#[derive(Debug)]
pub struct Parts {
    /// Who the parent is.
    pub parent: ParentCell,
    /// Address space.
    pub mm: Arc<Mm>,
    /// Descriptors.
    pub files: Arc<FdTable>,
    /// Working directory and umask.
    pub fs: Arc<FsContext>,
    /// Signal actions.
    pub signals: ProcessSignals,
    /// Limits.
    pub limits: Rlimits,
    /// The controlling terminal.
    pub terminal: Option<Arc<Tty>>,
}

/// Attributes that only `prctl(2)`, `personality(2)` and `setgroups(2)` read and write.
#[derive(Debug)]
pub struct Attributes {
    /// `PR_SET_DUMPABLE`.
    pub dumpable: AtomicU32,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: AtomicBool,
    /// `PR_SET_TIMERSLACK`, nanoseconds.
    pub timer_slack: AtomicU64,
    /// `PR_SET_KEEPCAPS`.
    pub keep_caps: AtomicBool,
    /// `PR_SET_THP_DISABLE`.
    pub thp_disable: AtomicBool,
    /// `personality(2)`.
    pub personality: AtomicU32,
    /// Supplementary groups, in order. Root may do what it may without them.
    groups: SpinLock<Arc<Vec<u32>>>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            dumpable: AtomicU32::new(1),
            no_new_privs: AtomicBool::new(false),
            timer_slack: AtomicU64::new(50_000),
            keep_caps: AtomicBool::new(false),
            thp_disable: AtomicBool::new(false),
            personality: AtomicU32::new(0),
            groups: SpinLock::new(Arc::default()),
        }
    }
}

impl Attributes {
    /// Copies the attributes (`fork(2)`).
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let order = Ordering::Relaxed;
        Self {
            dumpable: AtomicU32::new(self.dumpable.load(order)),
            no_new_privs: AtomicBool::new(self.no_new_privs.load(order)),
            timer_slack: AtomicU64::new(self.timer_slack.load(order)),
            keep_caps: AtomicBool::new(self.keep_caps.load(order)),
            thp_disable: AtomicBool::new(self.thp_disable.load(order)),
            personality: AtomicU32::new(self.personality.load(order)),
            groups: SpinLock::new(self.groups()),
        }
    }

    /// Returns the supplementary groups, in order.
    #[must_use]
    pub fn groups(&self) -> Arc<Vec<u32>> {
        Arc::clone(&self.groups.lock())
    }

    /// Sets the supplementary groups, given in order (`setgroups(2)`).
    pub fn set_groups(&self, groups: Arc<Vec<u32>>) {
        let before = core::mem::replace(&mut *self.groups.lock(), groups);
        drop(before);
    }
}

impl Process {
    /// Makes a process without threads; it is not in the kernel's table yet.
    #[must_use]
    pub fn new(pid: Pid, parts: Parts, attributes: Attributes) -> Arc<Self> {
        Arc::new(Self {
            pid,
            parent: parts.parent,
            mm: SpinLock::new(parts.mm),
            files: SpinLock::new(parts.files),
            fs: SpinLock::new(parts.fs),
            signals: parts.signals,
            threads: SpinLock::new(Vec::new()),
            last_name: SpinLock::new([0; 16]),
            times: CpuTimes::default(),
            child_events: WaitQueue::new(),
            thread_events: WaitQueue::new(),
            limits: parts.limits,
            terminal: Terminal::new(parts.terminal),
            started: time::now(),
            attributes,
            exit: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            in_exec: AtomicBool::new(false),
            vfork_parent: SpinLock::new(None),
        })
    }

    /// Returns the address space.
    #[must_use]
    pub fn mm(&self) -> Arc<Mm> {
        Arc::clone(&self.mm.lock())
    }

    /// Returns the descriptor table.
    #[must_use]
    pub fn files(&self) -> Arc<FdTable> {
        Arc::clone(&self.files.lock())
    }

    /// Returns working directory and umask.
    #[must_use]
    pub fn fs(&self) -> Arc<FsContext> {
        Arc::clone(&self.fs.lock())
    }

    /// Returns the threads that have not exited.
    #[must_use]
    pub fn live_threads(&self) -> Vec<Arc<Thread>> {
        self.threads
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Adds a thread and makes it known by its id.
    ///
    /// # Errors
    /// `EAGAIN` when the process is ending or one of its threads is in `execve(2)`.
    pub fn add_thread(&self, thread: &Arc<Thread>) -> Result<(), Errno> {
        let mut threads = self.threads.lock();
        // Checked under the lock that `exit_group` takes after it has set the status: it sees the thread, or we see it.
        if self.is_exiting() || self.in_exec.load(Ordering::SeqCst) {
            return Err(Errno::EAGAIN);
        }
        threads.push(Arc::downgrade(thread));
        drop(threads);
        kernel()
            .threads
            .lock()
            .insert(thread.tid(), Arc::clone(thread));
        Ok(())
    }

    /// Returns whether the whole process is ending.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.exit.load(Ordering::SeqCst) != 0
    }

    /// Returns whether it is a zombie, or gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Makes known that it is a zombie.
    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread_events.notify(Events::IN);
    }

    /// Ends the process with this wait status (`wait(2)`: exit code << 8, or signal number | 0x80 for a core): kills
    /// all its threads. The first call decides the status; returns whether this was the first. The caller ends itself when it
    /// next leaves the kernel.
    pub fn exit_group(&self, wait_status: u32) -> bool {
        let value = EXITING | u64::from(wait_status);
        if self
            .exit
            .compare_exchange(0, value, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            return false;
        }
        for thread in self.live_threads() {
            thread.kill();
        }
        true
    }

    /// Begins an exec: no thread is added from here on.
    ///
    /// # Errors
    /// `EAGAIN` when the process is ending or another thread has begun.
    pub(crate) fn begin_exec(&self) -> Result<(), Errno> {
        let _threads = self.threads.lock();
        if self.is_exiting() || self.in_exec.swap(true, Ordering::SeqCst) {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// Ends what [`Process::begin_exec`] began.
    pub(crate) fn end_exec(&self) {
        self.in_exec.store(false, Ordering::SeqCst);
    }

    /// Returns where the family notes the parent.
    pub(crate) fn parent_cell(&self) -> &ParentCell {
        &self.parent
    }

    /// Returns the parent's id; 0 when there is none (`getppid(2)`).
    #[must_use]
    pub fn parent_id(&self) -> u32 {
        self.parent.get()
    }

    /// Lets go of the parent of a vfork: the child has its own address space now, or ends.
    pub(crate) fn release_vfork_parent(&self) {
        let parent = self.vfork_parent.lock().take();
        if let Some(parent) = parent.and_then(|p| p.upgrade()) {
            parent.thread_events.notify(Events::IN);
        }
    }
}

/// Returns the process with this id, zombies included.
///
/// # Errors
/// `ESRCH`.
pub fn find(pid: Pid) -> Result<Arc<Process>, Errno> {
    kernel()
        .processes
        .lock()
        .get(&pid)
        .cloned()
        .ok_or(Errno::ESRCH)
}

/// Returns the thread with this id.
///
/// # Errors
/// `ESRCH`.
pub fn find_thread(tid: Tid) -> Result<Arc<Thread>, Errno> {
    kernel()
        .threads
        .lock()
        .get(&tid)
        .cloned()
        .ok_or(Errno::ESRCH)
}
