//! Which CPU uses which address space, and shoot-downs. The protocol is described in [`super::paging`].

use alloc::sync::Arc;
use core::arch::asm;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use super::PhysAddr;
use super::kernel_map::kernel_root;
use super::retired::Retired;
use crate::arch::x86_64::{invalidate_page, read_cr3, write_cr3};
use crate::cpu_local::CpuLocal;
use crate::sync::SpinLock;

/// Whether CR4.SMAP is set.
static HAS_SMAP: AtomicBool = AtomicBool::new(false);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Bit of a published word: the CPU is in a copy window (else in ring 3).
const WINDOW: u64 = 1;
/// Pages up to which single invalidations beat a full flush.
const FEW_PAGES: u64 = 32;

/// What CPUs share of an address space: its root and its generation.
#[derive(Debug)]
pub(crate) struct Space {
    id: u64,
    root: PhysAddr,
    generation: AtomicU64,
    /// Nobody runs in it any more; CPUs that still have it loaded let go of it.
    is_dead: AtomicBool,
    /// Page tables that were taken out, but which a CPU's paging-structure caches may still lead to.
    retired: SpinLock<Retired>,
}

impl Space {
    pub(crate) fn new(root: PhysAddr) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            id,
            root,
            generation: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
            retired: SpinLock::new(Retired::new()),
        })
    }

    fn is_loaded_here(&self) -> bool {
        ptr::eq(CpuLocal::current().loaded.load(Ordering::Relaxed), self)
    }

    /// Loads the space on this CPU.
    pub(crate) fn load(self: &Arc<Self>) {
        if self.is_loaded_here() {
            return;
        }
        let cpu = CpuLocal::current();
        let space = Arc::into_raw(Arc::clone(self)).cast_mut();
        // Said before the first walk: `forgotten` counts on it.
        cpu.loading.store(space, Ordering::SeqCst);
        // The generation is read before the root is loaded: what changes later is found at the next entry to ring 3.
        let generation = self.generation.load(Ordering::SeqCst);
        // SAFETY: the root's kernel half is the kernel's; the reference kept in `loaded` keeps the table alive.
        unsafe { write_cr3(self.root.0) };
        cpu.flushed_generation.store(generation, Ordering::SeqCst);
        replace_loaded(cpu, space);
        cpu.loading.store(ptr::null_mut(), Ordering::SeqCst);
    }

    /// Makes sure that no CPU can use a translation of `[start, end)` that is no longer in the table, here or elsewhere. CPUs that
    /// are in the kernel keep theirs until they flush, without using them.
    pub(crate) fn shoot_down(&self, start: u64, end: u64) {
        let target = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        if self.is_loaded_here() {
            if (end - start) / 4096 <= FEW_PAGES {
                (start..end).step_by(4096).for_each(invalidate_page);
            } else {
                // SAFETY: the same root again.
                unsafe { write_cr3(read_cr3()) };
            }
            let cpu = CpuLocal::current();
            // Only if nothing else happened since the last flush is everything up to `target` flushed.
            let _ = cpu.flushed_generation.compare_exchange(
                target - 1,
                target,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
        }
        for cpu in CpuLocal::others() {
            if cpu.published.load(Ordering::SeqCst) == self.id << 1 {
                cpu.kick();
            }
        }
        for cpu in CpuLocal::others() {
            while cpu.published.load(Ordering::SeqCst) >> 1 == self.id
                && cpu.flushed_generation.load(Ordering::SeqCst) < target
            {
                core::hint::spin_loop();
            }
        }
    }

    /// Returns the generation up to which every CPU has forgotten what was removed.
    fn forgotten(&self) -> u64 {
        let is_self = |space: &AtomicPtr<Self>| ptr::eq(space.load(Ordering::SeqCst), self);
        let of = |cpu: &CpuLocal| {
            // In this order, the reverse of `load`: a CPU that begins to load it after the first look finds what was removed
            // gone; one that has loaded it by then is seen by the second, and one that loads another space meanwhile starts
            // without anything of this one.
            if is_self(&cpu.loading) {
                0
            } else if is_self(&cpu.loaded) {
                cpu.flushed_generation.load(Ordering::SeqCst)
            } else {
                u64::MAX
            }
        };
        CpuLocal::all().map(of).min().unwrap_or(u64::MAX)
    }

    /// Frees a page table, which no entry leads to and whose entries are all clear, once no CPU can walk it any more: in the
    /// kernel, too, a CPU may walk the loaded tables ahead, and sets bits in what it takes for entries.
    ///
    /// # Safety
    /// The table's frame is the caller's.
    pub(crate) unsafe fn retire(&self, table: PhysAddr) {
        let generation = self.generation.load(Ordering::SeqCst);
        self.retired.lock().push(table, generation);
    }

    /// Frees the retired tables that no CPU can walk any more, and has the CPUs that may walk the others forget them soon.
    pub(crate) fn free_retired(&self) {
        let mut retired = self.retired.lock();
        if retired.is_empty() {
            return;
        }
        retired.free_up_to(self.forgotten());
        if retired.is_empty() {
            return;
        }
        for cpu in CpuLocal::others() {
            if ptr::eq(cpu.loaded.load(Ordering::SeqCst), self) {
                cpu.kick();
            }
        }
    }

    /// Makes every CPU let go of the space. Nobody runs in it any more.
    pub(crate) fn evict(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
        serve_eviction();
        for cpu in CpuLocal::others() {
            let loaded = || ptr::eq(cpu.loaded.load(Ordering::SeqCst), self);
            if loaded() {
                cpu.kick();
                while loaded() {
                    core::hint::spin_loop();
                    serve_eviction();
                }
            }
        }
    }
}

/// Lets go of the loaded space if it is dead, and forgets what was removed from it otherwise. Called by idle CPUs, and while
/// waiting for others to let go.
pub(crate) fn serve_eviction() {
    let cpu = CpuLocal::current();
    // SAFETY: a non-null pointer in `loaded` holds a reference.
    let Some(space) = (unsafe { cpu.loaded.load(Ordering::Relaxed).as_ref() }) else {
        return;
    };
    if space.is_dead.load(Ordering::SeqCst) {
        load_kernel_space();
    } else {
        forget_removed(cpu, space);
    }
}

/// Flushes if the loaded space's translations changed since the last flush.
fn forget_removed(cpu: &CpuLocal, space: &Space) {
    let generation = space.generation.load(Ordering::SeqCst);
    if cpu.flushed_generation.load(Ordering::Relaxed) != generation {
        // SAFETY: the same root again.
        unsafe { write_cr3(read_cr3()) };
        cpu.flushed_generation.store(generation, Ordering::SeqCst);
    }
}

/// Loads the kernel's own table, which has no user half.
pub(crate) fn load_kernel_space() {
    // SAFETY: the kernel's own root.
    unsafe { write_cr3(kernel_root().0) };
    replace_loaded(CpuLocal::current(), ptr::null_mut());
}

fn replace_loaded(cpu: &CpuLocal, new: *mut Space) {
    let old = cpu.loaded.swap(new, Ordering::SeqCst);
    if !old.is_null() {
        // SAFETY: a non-null pointer in `loaded` came from `Arc::into_raw`.
        drop(unsafe { Arc::from_raw(old) });
    }
}

/// Publishes the loaded space and flushes if its translations changed.
fn publish(cpu: &CpuLocal, window: u64) {
    // SAFETY: a non-null pointer in `loaded` holds a reference.
    let Some(space) = (unsafe { cpu.loaded.load(Ordering::Relaxed).as_ref() }) else {
        return;
    };
    cpu.published
        .store(space.id << 1 | window, Ordering::SeqCst);
    forget_removed(cpu, space);
}

/// Publishes that this CPU is about to be in ring 3.
pub(crate) fn publish_ring3() {
    publish(CpuLocal::current(), 0);
}

/// Publishes that this CPU (`cpu`) is about to access user memory.
pub(crate) fn publish_window(cpu: &CpuLocal) {
    publish(cpu, WINDOW);
}

/// Ends what this CPU published.
pub(crate) fn withdraw(cpu: &CpuLocal) {
    cpu.published.store(0, Ordering::Release);
}

/// Notes whether CR4.SMAP is set (on all CPUs alike).
pub(crate) fn set_smap(has_smap: bool) {
    HAS_SMAP.store(has_smap, Ordering::Relaxed);
}

/// Lets ring 0 access user pages (STAC).
pub(crate) fn allow_user_access() {
    if HAS_SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP; accesses happen only in the assembly of `user`.
        unsafe { asm!("stac", options(nostack)) };
    }
}

/// Forbids ring 0 to access user pages (CLAC).
pub(crate) fn forbid_user_access() {
    if HAS_SMAP.load(Ordering::Relaxed) {
        // SAFETY: the CPU has SMAP.
        unsafe { asm!("clac", options(nostack)) };
    }
}
