//! The kernel's global state: one value, made once at boot.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use tyn_abi::{Pid, Tid};
use tyn_hal::boot::BootInfo;
use tyn_hal::sync::{Once, SpinLock};

use tyn_proc::Family;

use crate::exit;
use crate::process::Process;
use crate::thread::Thread;

/// State that belongs to no process. Each field has its own lock; none is held across a wait.
#[derive(Debug)]
pub struct Kernel {
    /// All processes that have not been waited for, zombies included.
    pub processes: SpinLock<BTreeMap<Pid, Arc<Process>>>,
    /// Who is whose child, process groups, sessions. Taken before `processes`.
    pub family: SpinLock<Family>,
    /// All threads that have not exited.
    pub threads: SpinLock<BTreeMap<Tid, Arc<Thread>>>,
    /// `sethostname(2)`.
    pub hostname: SpinLock<String>,
    /// The kernel command line (`/proc/cmdline`).
    pub cmdline: String,
    /// RAM given to the machine, in bytes.
    pub ram_bytes: u64,
    next_id: AtomicU32,
}

static KERNEL: Once<Kernel> = Once::new();

/// Returns the kernel's state.
///
/// # Panics
/// Before [`init`].
#[must_use]
pub fn kernel() -> &'static Kernel {
    KERNEL
        .get()
        .expect("invariant: init ran before the first thread")
}

/// Makes the kernel's state; called once by the boot CPU.
pub fn init(boot: &BootInfo) -> &'static Kernel {
    KERNEL.set(Kernel {
        processes: SpinLock::new(BTreeMap::new()),
        family: SpinLock::new(Family::new(exit::INIT)),
        threads: SpinLock::new(BTreeMap::new()),
        hostname: SpinLock::new(String::from("tyn")),
        cmdline: boot.cmdline.clone(),
        ram_bytes: boot.ram_bytes,
        next_id: AtomicU32::new(1),
    })
}

impl Kernel {
    /// Returns a fresh thread id; ids are handed out in order, and reused only after 2^22 (`pid_max`) when free.
    #[must_use]
    pub fn allocate_id(&self) -> u32 {
        const PID_MAX: u32 = 1 << 22;
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed) % PID_MAX;
            let in_use = self.threads.lock().contains_key(&Tid(id))
                || self.processes.lock().contains_key(&Pid(id));
            if id != 0 && !in_use {
                return id;
            }
        }
    }
}
