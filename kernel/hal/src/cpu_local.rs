//! The per-CPU block that GS points at in ring 0. The first fields are used by assembly (`arch/x86_64/entry.S`); their
//! offsets are exported from here, never written twice.

use alloc::boxed::Box;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::arch::x86_64::gdt::{Gdt, Tss};
use crate::arch::x86_64::{apic, msr, write_msr};
use crate::cpu::MAX_CPUS;
use crate::mem::Space;
use crate::task::Task;

/// What a CPU keeps for itself. Fields that other CPUs touch are atomics; [`Cell`]s belong to this CPU alone (IF=0 makes
/// each access exclusive).
#[repr(C, align(64))]
pub(crate) struct CpuLocal {
    /// Address of this block.
    this: *const CpuLocal,
    /// Where the registers of ring 3 are to be saved.
    pub(crate) user_context: Cell<u64>,
    /// The user's RSP during the first instructions of a system call.
    scratch: Cell<u64>,
    /// Error code of the last exception from ring 3.
    pub(crate) error_code: Cell<u64>,
    /// CR2 of the last page fault from ring 3.
    pub(crate) fault_address: Cell<u64>,
    /// Index of the CPU.
    pub(crate) id: u32,
    /// Task state segment; `rsp0`, the stack pointer to go on with when ring 3 is left, is written at each entry to ring 3.
    pub(crate) tss: Tss,
    /// Descriptor table.
    pub(crate) gdt: Gdt,
    /// Local APIC id; set by the CPU itself when it arrives.
    apic_id: AtomicU32,
    /// Address-space id in use with user translations, `<< 1`, plus 1 in a copy window and 0 in ring 3; 0 for none. See the
    /// protocol in `mem/paging.rs`.
    pub(crate) published: AtomicU64,
    /// Generation of the loaded address space that this CPU flushed at last.
    pub(crate) flushed_generation: AtomicU64,
    /// The address space that is about to be loaded, else null. Only compared.
    pub(crate) loading: AtomicPtr<Space>,
    /// The loaded address space; null when the kernel's own table is loaded. Holds a reference.
    pub(crate) loaded: AtomicPtr<Space>,
    /// Spinlocks held.
    pub(crate) spin_depth: Cell<u32>,
    /// The running task.
    pub(crate) current_task: Cell<*const Task>,
    /// The task that was switched away from and is still marked as running here.
    pub(crate) leaving_task: Cell<*const Task>,
    /// The task whose extended state was loaded last; only compared, it may be gone.
    pub(crate) extended_of: Cell<*const Task>,
    /// Whether an exception at the user-copy instructions is to be resolved (a window is open).
    pub(crate) in_window: Cell<bool>,
    /// Kicks that arrived (for tests and statistics).
    pub(crate) kicks: AtomicU32,
    /// Whether the timer's interrupt arrived since [`crate::time::take_timer_fired`] was asked last.
    pub(crate) timer_fired: Cell<bool>,
}

// SAFETY: cells are used by the owning CPU only, with interrupts off (IF=0); other CPUs use the atomics.
unsafe impl Sync for CpuLocal {}

pub(crate) const USER_CONTEXT: usize = offset_of!(CpuLocal, user_context);
pub(crate) const SCRATCH: usize = offset_of!(CpuLocal, scratch);
pub(crate) const ERROR_CODE: usize = offset_of!(CpuLocal, error_code);
pub(crate) const FAULT_ADDRESS: usize = offset_of!(CpuLocal, fault_address);
pub(crate) const TSS_RSP0: usize = offset_of!(CpuLocal, tss) + Tss::RSP0_OFFSET;
// It is used at each way into ring 3 and out: not across two cache lines.
const _: () = assert!(TSS_RSP0.is_multiple_of(8));

/// APIC id of a CPU that has not arrived.
const NOT_ARRIVED: u32 = u32::MAX;

/// The block of the boot CPU until [`CpuLocal::create`] has made its own.
static EARLY: CpuLocal = CpuLocal {
    this: &raw const EARLY,
    ..CpuLocal::new(0)
};

static BLOCKS: [AtomicPtr<CpuLocal>; MAX_CPUS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];
/// CPUs that have a block.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl CpuLocal {
    /// Makes the block of CPU `id`, before that CPU runs; it lives for ever.
    pub(crate) fn create(id: u32) -> &'static Self {
        let block = Box::leak(Box::new(Self::new(id)));
        block.this = ptr::from_ref(block);
        block.tss.allocate_stacks();
        block.gdt.set_tss(&raw const block.tss);
        BLOCKS[id as usize].store(ptr::from_mut(block), Ordering::Release);
        COUNT.fetch_max(id as usize + 1, Ordering::Release);
        block
    }

    const fn new(id: u32) -> Self {
        Self {
            this: ptr::null(),
            user_context: Cell::new(0),
            scratch: Cell::new(0),
            error_code: Cell::new(0),
            fault_address: Cell::new(0),
            tss: Tss::new(),
            gdt: Gdt::new(),
            id,
            apic_id: AtomicU32::new(NOT_ARRIVED),
            published: AtomicU64::new(0),
            flushed_generation: AtomicU64::new(0),
            loading: AtomicPtr::new(ptr::null_mut()),
            loaded: AtomicPtr::new(ptr::null_mut()),
            spin_depth: Cell::new(0),
            current_task: Cell::new(ptr::null()),
            leaving_task: Cell::new(ptr::null()),
            extended_of: Cell::new(ptr::null()),
            in_window: Cell::new(false),
            kicks: AtomicU32::new(0),
            timer_fired: Cell::new(false),
        }
    }

    /// Makes GS point at a block that the boot CPU has until there is memory for its own: locks need one. Called once, first
    /// of all; no lock is held when the other replaces it.
    pub(crate) fn use_early() {
        // SAFETY: ring 0, and the block lives for ever.
        unsafe { write_msr(msr::GS_BASE, &raw const EARLY as u64) };
    }

    /// Returns the local APIC id; `None` before the CPU has arrived.
    pub(crate) fn apic_id(&self) -> Option<u32> {
        // Ordered after what the caller published: see `set_apic_id`.
        let id = self.apic_id.load(Ordering::SeqCst);
        (id != NOT_ARRIVED).then_some(id)
    }

    /// Sets the local APIC id: the CPU has arrived. What others publish before they find no id to kick, the CPU finds when it
    /// looks after this.
    pub(crate) fn set_apic_id(&self, id: u32) {
        self.apic_id.store(id, Ordering::SeqCst);
    }

    /// Interrupts the CPU, if it has arrived.
    pub(crate) fn kick(&self) {
        if let Some(id) = self.apic_id() {
            apic::kick(id);
        }
    }

    /// Returns the index of the current CPU.
    #[inline]
    pub(crate) fn current_id() -> u32 {
        let id;
        // SAFETY: ring 0: GS points at this CPU's block.
        unsafe {
            core::arch::asm!("mov {:e}, gs:[{ID}]", out(reg) id, ID = const offset_of!(Self, id),
                options(nostack, readonly, preserves_flags));
        }
        id
    }

    /// Counts a spinlock that the current CPU has taken.
    #[inline]
    pub(crate) fn count_lock() {
        // SAFETY: ring 0: GS points at this CPU's block; with interrupts off nobody else uses the counter.
        unsafe {
            core::arch::asm!("inc dword ptr gs:[{DEPTH}]", DEPTH = const offset_of!(Self, spin_depth),
                options(nostack));
        }
    }

    /// Counts a spinlock that the current CPU has released.
    #[inline]
    pub(crate) fn count_unlock() {
        // SAFETY: as for `count_lock`.
        unsafe {
            core::arch::asm!("dec dword ptr gs:[{DEPTH}]", DEPTH = const offset_of!(Self, spin_depth),
                options(nostack));
        }
    }

    /// Returns the current CPU's block.
    #[inline]
    pub(crate) fn current() -> &'static Self {
        let this: *const Self;
        // SAFETY: ring 0: GS holds the address of this CPU's block, whose first field is its own address.
        unsafe {
            core::arch::asm!("mov {}, gs:[0]", out(reg) this, options(nostack, readonly, preserves_flags));
        };
        // SAFETY: the block was leaked, so it lives for ever; shared access is all that is given out.
        unsafe { &*this }
    }

    /// Returns the block of CPU `id`, if it exists.
    pub(crate) fn of(id: usize) -> Option<&'static Self> {
        let block = BLOCKS.get(id)?.load(Ordering::Acquire);
        // SAFETY: a non-null pointer came from `create`, which leaked the block.
        unsafe { block.as_ref() }
    }

    /// Iterates over the blocks of all CPUs but this one.
    pub(crate) fn others() -> impl Iterator<Item = &'static Self> {
        let me = Self::current().id;
        Self::all().filter(move |c| c.id != me)
    }

    /// Returns the blocks of all CPUs that have one.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        (0..COUNT.load(Ordering::Acquire)).filter_map(Self::of)
    }
}
