//! The per-CPU block, addressed by GS in ring 0.
//!
//! [`CpuLocal`] belongs to its CPU alone: it is reached through [`current`] and is neither `Sync` nor `Send`, so its
//! `Cell`s need no atomics. [`CpuShared`] inside it is what other CPUs read: the publication that the TLB protocol
//! (`mem/paging.rs`) is built on.
//!
//! ```text
//! this CPU                                         a CPU that removes a translation
//! publish: published = (table, seq, how)  [SeqCst]   generation += 1              [SeqCst]
//! generation != flushed? flush                       word = published             [SeqCst]
//! ring 3 / copy window                               word names the table: IPI if ring 3,
//! retract: published = 0                  [Release]     wait until published != word
//! ```
//! Either the publisher sees the new generation, or the remover sees the publication. The sequence number makes two
//! visits of ring 3 differ, so a remover waits for one visit to end and not for a moment between visits.

use crate::cpu::{CpuId, MAX_CPUS};
use core::arch::asm;
use core::cell::Cell;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// How a CPU uses the user half of its address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// Ring 3: left soon after an IPI.
    Ring3,
    /// A user-copy window: left by itself, waits for nothing.
    Window,
}

/// A publication: which table a CPU uses, which visit this is, and how. Zero is "none".
///
/// Bits: 0 ring 3, 1..16 sequence, 16..64 table id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Published(u64);

impl Published {
    const RING3: u64 = 1;
    const SEQUENCE_SHIFT: u32 = 1;
    const SEQUENCE_MASK: u64 = 0x7fff;
    const TABLE_SHIFT: u32 = 16;

    fn new(table: u64, sequence: u64, how: Use) -> Self {
        let ring3 = if how == Use::Ring3 { Self::RING3 } else { 0 };
        let sequence = (sequence & Self::SEQUENCE_MASK) << Self::SEQUENCE_SHIFT;
        Self((table << Self::TABLE_SHIFT) | sequence | ring3)
    }

    /// Returns whether this names the table with id `table`.
    pub(crate) fn names(self, table: u64) -> bool {
        self.0 >> Self::TABLE_SHIFT == table
    }

    /// Returns whether the CPU is in ring 3 (and so must be sent an IPI to leave).
    pub(crate) fn in_ring3(self) -> bool {
        self.0 & Self::RING3 != 0
    }
}

/// The part of a CPU's block that other CPUs read.
#[repr(C, align(64))]
pub(crate) struct CpuShared {
    /// A [`Published`] word. Written by its own CPU only; the trap entry assembly clears it.
    published: AtomicU64,
    /// Id of the page table in CR3, 0 for the kernel's own. Written by its own CPU only.
    pub(crate) loaded: AtomicU64,
}

impl CpuShared {
    const fn new() -> Self {
        Self {
            published: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
        }
    }

    /// Returns the publication.
    pub(crate) fn published(&self) -> Published {
        Published(self.published.load(Ordering::SeqCst))
    }
}

impl fmt::Debug for CpuShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuShared")
            .field("published", &self.published())
            .field("loaded", &self.loaded.load(Ordering::Relaxed))
            .finish()
    }
}

/// Bytes of the stack that ring-3 traps arrive on: one frame (7 words) and room to spare; see `trap.S`.
const ENTRY_STACK_BYTES: usize = 256;

/// A CPU's own block. Its first fields are known to the assembly by `offset_of!`.
#[repr(C, align(64))]
pub(crate) struct CpuLocal {
    /// Address of this block (`gs:0`).
    this: Cell<*const Self>,
    /// Stack pointer to return to when ring 3 is left: inside `UserContext::run`.
    pub(crate) kernel_rsp: Cell<u64>,
    /// The `UserContext` that ring 3 was entered with; its registers are saved there.
    pub(crate) user_context: Cell<u64>,
    /// Where `syscall` entry keeps the user's RSP for a moment.
    pub(crate) scratch: Cell<u64>,
    /// CR2 of the last fault inside a user-copy routine.
    pub(crate) copy_fault_addr: Cell<u64>,
    /// Error code of the last fault inside a user-copy routine.
    pub(crate) copy_fault_code: Cell<u64>,
    /// The running task (`task::Inner`), null before the boot stack is adopted.
    pub(crate) task: Cell<*const ()>,
    /// The task that was switched away from, until the next one has let go of it.
    pub(crate) switched_from: Cell<*const ()>,
    /// How many spinlocks this CPU holds.
    pub(crate) spin_depth: Cell<u32>,
    /// Dense index of this CPU.
    id: Cell<u32>,
    /// Local APIC id.
    pub(crate) apic_id: Cell<u32>,
    /// Sequence number of the next publication.
    sequence: Cell<u64>,
    /// Generation of the loaded table; `None` when the kernel's own is loaded. The loader (`mem/paging.rs`) keeps it
    /// alive for as long as the table is loaded.
    generation: Cell<Option<&'static AtomicU64>>,
    /// The value of `generation` that this CPU's TLB was last flushed for.
    pub(crate) flushed_generation: Cell<u64>,
    /// The handle that keeps the loaded table alive (of `mem/paging.rs`), null for the kernel's own.
    pub(crate) loaded_handle: Cell<*const ()>,
    /// Stack of ring-3 traps (`TSS.rsp0`): used for a frame only, until its contents are in the `UserContext`.
    entry_stack: EntryStack,
    /// What other CPUs read.
    pub(crate) shared: CpuShared,
}

#[repr(C, align(16))]
struct EntryStack(Cell<[u8; ENTRY_STACK_BYTES]>);

impl CpuLocal {
    pub(crate) const fn new() -> Self {
        Self {
            this: Cell::new(ptr::null()),
            kernel_rsp: Cell::new(0),
            user_context: Cell::new(0),
            scratch: Cell::new(0),
            copy_fault_addr: Cell::new(0),
            copy_fault_code: Cell::new(0),
            task: Cell::new(ptr::null()),
            switched_from: Cell::new(ptr::null()),
            spin_depth: Cell::new(0),
            id: Cell::new(0),
            apic_id: Cell::new(0),
            sequence: Cell::new(0),
            generation: Cell::new(None),
            flushed_generation: Cell::new(0),
            loaded_handle: Cell::new(ptr::null()),
            entry_stack: EntryStack(Cell::new([0; ENTRY_STACK_BYTES])),
            shared: CpuShared::new(),
        }
    }

    /// Returns this CPU's index.
    pub(crate) fn id(&self) -> CpuId {
        CpuId(self.id.get())
    }

    /// Returns the top of the stack for ring-3 traps.
    pub(crate) fn entry_stack_top(&self) -> u64 {
        (&raw const self.entry_stack) as u64 + ENTRY_STACK_BYTES as u64
    }

    /// Publishes that this CPU is about to use the loaded table's user half, and returns whether its TLB must be flushed
    /// first; the caller then flushes and calls [`CpuLocal::flushed`] with the generation in the result.
    ///
    /// # Panics
    /// When the kernel's own table is loaded: there is no user half.
    #[must_use]
    pub(crate) fn publish(&self, how: Use) -> Option<u64> {
        let generation = self
            .generation
            .get()
            .expect("invariant: a user address space is active");
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1));
        let table = self.shared.loaded.load(Ordering::Relaxed);
        let word = Published::new(table, sequence, how);
        self.shared.published.store(word.0, Ordering::SeqCst);
        let now = generation.load(Ordering::SeqCst);
        (now != self.flushed_generation.get()).then_some(now)
    }

    /// Ends a publication. (Entry from ring 3 does the same in assembly.)
    pub(crate) fn retract(&self) {
        self.shared.published.store(0, Ordering::Release);
    }

    /// Records that the TLB has been flushed after `generation` was read.
    pub(crate) fn flushed(&self, generation: u64) {
        self.flushed_generation.set(generation);
    }

    /// Records which table was loaded into CR3 (which flushed the TLB) after its generation was read as `flushed`.
    /// `table` is 0 and `generation` `None` for the kernel's own. Never called while published.
    pub(crate) fn set_loaded(
        &self,
        table: u64,
        generation: Option<&'static AtomicU64>,
        flushed: u64,
    ) {
        self.generation.set(generation);
        self.flushed_generation.set(flushed);
        self.shared.loaded.store(table, Ordering::SeqCst);
    }
}

impl fmt::Debug for CpuLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuLocal")
            .field("id", &self.id.get())
            .field("apic_id", &self.apic_id.get())
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// The block that an address in [`CPUS`] leads to; only its `shared` part is read by others.
static CPUS: [AtomicPtr<CpuLocal>; MAX_CPUS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// How many CPUs there are; fixed before the kernel above hal starts.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// The boot CPU's block.
struct BootCpu(CpuLocal);
// SAFETY: only the boot CPU reaches the block as a `CpuLocal`, through GS; others see `shared` only, which is `Sync`.
unsafe impl Sync for BootCpu {}
static BOOT_CPU: BootCpu = BootCpu(CpuLocal::new());

const MSR_GS_BASE: u32 = 0xc000_0101;
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// Installs the boot CPU's block. The first thing that Rust does at boot: locks need it.
pub(crate) fn init_boot_cpu() {
    install(CpuId(0), &BOOT_CPU.0);
}

/// Makes `block` the current CPU's, with index `id`. Called once on each CPU, on its boot stack.
pub(crate) fn install(id: CpuId, block: &'static CpuLocal) {
    block.this.set(block);
    block.id.set(id.0);
    let addr = ptr::from_ref(block) as u64;
    write_msr(MSR_GS_BASE, addr);
    write_msr(MSR_KERNEL_GS_BASE, 0);
    CPUS[id.0 as usize].store(ptr::from_ref(block).cast_mut(), Ordering::Release);
}

fn write_msr(msr: u32, value: u64) {
    // SAFETY: (ring 0) the two GS base registers exist on every x86-64; the values are a block's address and 0.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Returns the current CPU's block.
pub(crate) fn current() -> &'static CpuLocal {
    let this: *const CpuLocal;
    // SAFETY: (ring 0) GS leads to this CPU's block from `install` on, which is the first thing Rust does on a CPU. Not
    // `pure`: the answer changes when the task is switched to another CPU.
    unsafe { asm!("mov {}, gs:[0]", out(reg) this, options(nostack, readonly, preserves_flags)) };
    // SAFETY: the block lives for ever and is used by this CPU only. A reference kept across a task switch would be
    // another CPU's; no code in hal does so.
    unsafe { &*this }
}

/// Returns what other CPUs may see of `cpu`, or `None` when it has not been started.
pub(crate) fn shared_of(cpu: CpuId) -> Option<&'static CpuShared> {
    let block = CPUS.get(cpu.0 as usize)?.load(Ordering::Acquire);
    if block.is_null() {
        return None;
    }
    // SAFETY: `install` stored the address of a block that lives for ever.
    let shared = unsafe { &raw const (*block).shared };
    // SAFETY: as above, and `CpuShared` is `Sync`.
    Some(unsafe { &*shared })
}

/// Returns every CPU that has been started, with its shared part.
pub(crate) fn started() -> impl Iterator<Item = (CpuId, &'static CpuShared)> {
    (0..count() as u32).filter_map(|id| Some((CpuId(id), shared_of(CpuId(id))?)))
}

/// Returns how many CPUs there are.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Fixes how many CPUs there are; called once by boot, before any other is started.
pub(crate) fn set_count(count: usize) {
    COUNT.store(count.clamp(1, MAX_CPUS), Ordering::Relaxed);
}
