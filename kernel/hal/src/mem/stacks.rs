//! Kernel stacks.
//!
//! A stack that is given back is kept for the next task; above [`KEPT`] of them its frames are freed and its addresses kept
//! without. No other CPU is told then: one that still has the translation does not use it, since nothing but a switch to
//! the stack's task leads to these addresses. When they get new frames, each CPU invalidates them before it goes to them
//! for the first time ([`KernelStack::forget_stale`]).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::frame::{self, Purpose};
use super::kernel_map::{
    ADDRESS, GLOBAL, NO_EXECUTE, PRESENT, STACK_BASE, WRITE, entry, runtime_frame,
};
use super::{OutOfMemory, PhysAddr};
use crate::arch::x86_64::invalidate_page;
use crate::cpu::MAX_CPUS;
use crate::cpu_local::CpuLocal;
use crate::sync::SpinLock;

/// Size of a kernel stack.
const STACK_BYTES: u64 = 32 * 1024;
/// Pages of a kernel stack.
const PAGES: usize = (STACK_BYTES / 4096) as usize;
/// Most stacks that are kept with their frames while nobody uses them.
const KEPT: usize = 64;

const _: () = assert!(MAX_CPUS <= 64, "one bit for each CPU");

static STACKS: SpinLock<Pool> = SpinLock::new(Pool {
    mapped: Vec::new(),
    unmapped: Vec::new(),
    next: STACK_BASE,
});

/// Stacks that are not in use, and where the next one goes.
struct Pool {
    /// Base, and the CPUs that have to invalidate it.
    mapped: Vec<(u64, u64)>,
    unmapped: Vec<u64>,
    next: u64,
}

/// A kernel stack of 32 KiB, below it an unmapped guard page.
#[derive(Debug)]
pub(crate) struct KernelStack {
    base: u64,
    /// CPUs (bits) that may have translations of frames which were here before.
    stale: AtomicU64,
}

impl KernelStack {
    /// Takes a stack from the pool or maps one.
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let (base, stale) = STACKS.lock().take()?;
        let stack = Self {
            base,
            stale: AtomicU64::new(stale),
        };
        // The caller puts the first frame on it.
        stack.forget_stale(CpuLocal::current().id);
        Ok(stack)
    }

    /// Returns the address past its end, 16-byte aligned.
    pub(crate) fn top(&self) -> u64 {
        self.base + STACK_BYTES
    }

    /// Makes sure that this CPU, whose id is `cpu`, finds the stack's frames at its addresses. To be called before it uses them.
    pub(crate) fn forget_stale(&self, cpu: u32) {
        let bit = 1 << cpu;
        // Set only while the stack belonged to nobody; whoever handed the task over made it visible.
        if self.stale.load(Ordering::Relaxed) & bit != 0 {
            pages(self.base).for_each(invalidate_page);
            self.stale.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut pool = STACKS.lock();
        if pool.mapped.len() < KEPT {
            let stale = *self.stale.get_mut();
            pool.mapped.push((self.base, stale));
        } else {
            unmap(self.base);
            pool.unmapped.push(self.base);
        }
    }
}

impl Pool {
    /// Returns a mapped stack and the CPUs that have to invalidate it.
    fn take(&mut self) -> Result<(u64, u64), OutOfMemory> {
        if let Some(stack) = self.mapped.pop() {
            return Ok(stack);
        }
        if let Some(&base) = self.unmapped.last() {
            map(base)?;
            self.unmapped.pop();
            return Ok((base, u64::MAX));
        }
        let base = self.next + 4096;
        // Room in the pool for giving it back, so that dropping never allocates.
        let total = ((self.next - STACK_BASE) / (STACK_BYTES + 4096)) as usize + 1;
        self.mapped.try_reserve(KEPT).map_err(|_| OutOfMemory)?;
        self.unmapped.try_reserve(total).map_err(|_| OutOfMemory)?;
        map(base)?;
        self.next = base + STACK_BYTES;
        Ok((base, 0))
    }
}

fn pages(base: u64) -> impl Iterator<Item = u64> {
    (base..base + STACK_BYTES).step_by(4096)
}

/// Gives the stack at `base`, which has none, frames.
fn map(base: u64) -> Result<(), OutOfMemory> {
    // The page tables first, so that nothing fails once frames are mapped.
    for va in [base, base + STACK_BYTES - 4096] {
        let _ = entry(va, 1, &mut runtime_frame).ok_or(OutOfMemory)?;
    }
    let mut frames = [PhysAddr(0); PAGES];
    for i in 0..frames.len() {
        match frame::allocate_block(0, Purpose::User) {
            Ok(block) => frames[i] = block,
            Err(e) => {
                for block in &frames[..i] {
                    // SAFETY: allocated above, never mapped.
                    unsafe { frame::free_block(*block, 0) };
                }
                return Err(e);
            }
        }
    }
    for (va, block) in pages(base).zip(frames) {
        let slot = entry(va, 1, &mut || None).expect("invariant: its page table exists");
        slot.store(
            block.0 | PRESENT | WRITE | GLOBAL | NO_EXECUTE,
            Ordering::Release,
        );
    }
    Ok(())
}

/// Frees the frames of the stack at `base`, which nobody uses.
fn unmap(base: u64) {
    for va in pages(base) {
        let slot = entry(va, 1, &mut || None).expect("invariant: its page table exists");
        let old = slot.swap(0, Ordering::AcqRel);
        // SAFETY: mapped by `map`, at this address only, which no CPU uses before it has been mapped and invalidated again.
        unsafe { frame::free_block(PhysAddr(old & ADDRESS), 0) };
    }
}
