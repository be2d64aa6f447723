//! The kernel's half of every address space: image, direct map, device windows, kernel stacks.
//!
//! All top-level entries that will ever be used are made at boot, so every user page table copies them once. Nothing here is
//! ever unmapped but the stacks of tasks that are gone ([`super::stacks`]).

use core::sync::atomic::{AtomicU64, Ordering};

use super::frame::{self, Purpose};
use super::{DIRECT_MAP, PhysAddr, direct};
use crate::arch::x86_64::cpuid;
use crate::sync::SpinLock;

/// Where the kernel image is linked: its physical address plus this.
pub(crate) const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
const DEVICE_BASE: u64 = 0xffff_a000_0000_0000;
/// Device windows share one top-level entry, since user page tables copied those that exist.
const DEVICE_END: u64 = DEVICE_BASE + (1 << 39);
pub(super) const STACK_BASE: u64 = 0xffff_b000_0000_0000;

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITE: u64 = 1 << 1;
const UNCACHED: u64 = 1 << 4 | 1 << 3;
const HUGE: u64 = 1 << 7;
pub(super) const GLOBAL: u64 = 1 << 8;
pub(super) const NO_EXECUTE: u64 = 1 << 63;
pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

static ROOT: AtomicU64 = AtomicU64::new(0);
static DEVICES: SpinLock<u64> = SpinLock::new(DEVICE_BASE);

/// Returns the root of the kernel's own table.
pub(crate) fn kernel_root() -> PhysAddr {
    PhysAddr(ROOT.load(Ordering::Relaxed))
}

/// A page-table page being built: 512 entries, reached through the direct map.
fn table(phys: PhysAddr) -> &'static [AtomicU64; 512] {
    // SAFETY: `phys` is a page-table frame of the kernel's half, which is never freed; entries are accessed atomically.
    unsafe { &*direct(phys).cast() }
}

/// Gives frames for page tables, `None` when there are no more.
type Allocate<'a> = &'a mut dyn FnMut() -> Option<PhysAddr>;

#[inline(never)]
fn new_table(allocate: Allocate<'_>) -> Option<PhysAddr> {
    let phys = allocate()?;
    for entry in table(phys) {
        entry.store(0, Ordering::Relaxed);
    }
    Some(phys)
}

/// Returns the entry of `va` at `level` (1: 4 KiB pages, 2: 2 MiB, 3: 1 GiB), making tables on the way; `None` when there is
/// no frame for one.
#[inline(never)]
pub(super) fn entry(va: u64, level: u32, allocate: Allocate<'_>) -> Option<&'static AtomicU64> {
    let mut at = kernel_root();
    let mut depth = 4;
    loop {
        let slot = &table(at)[(va >> (12 + 9 * (depth - 1)) & 511) as usize];
        if depth == level {
            return Some(slot);
        }
        if slot.load(Ordering::Relaxed) & PRESENT == 0 {
            slot.store(new_table(allocate)?.0 | PRESENT | WRITE, Ordering::Release);
        }
        at = PhysAddr(slot.load(Ordering::Relaxed) & ADDRESS);
        depth -= 1;
    }
}

/// Returns whether the kernel's table maps `va`.
fn is_mapped(va: u64) -> bool {
    let is_kernel_half = va >= DIRECT_MAP;
    if !is_kernel_half || kernel_root().0 == 0 {
        return false;
    }
    let mut at = kernel_root();
    for depth in (1..=4).rev() {
        let slot = table(at)[(va >> (12 + 9 * (depth - 1)) & 511) as usize].load(Ordering::Relaxed);
        if slot & PRESENT == 0 {
            return false;
        }
        if slot & HUGE != 0 {
            return true;
        }
        at = PhysAddr(slot & ADDRESS);
    }
    true
}

/// Reads two words of kernel memory for a backtrace; `None` when `va` is no aligned, mapped kernel address.
pub(crate) fn read_pair(va: u64) -> Option<[u64; 2]> {
    let last = va.checked_add(8)?;
    if !va.is_multiple_of(8) || !is_mapped(va) || !is_mapped(last) {
        return None;
    }
    // SAFETY: mapped and aligned; kernel memory stays mapped, but for stacks that nobody uses. Another CPU may write there, which only spoils the result.
    Some(unsafe { (va as *const [u64; 2]).read_volatile() })
}

/// Parts of the kernel image, as virtual addresses from the linker script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageLayout {
    pub(crate) start: u64,
    pub(crate) text_end: u64,
    pub(crate) rodata_end: u64,
    pub(crate) end: u64,
    /// The page below the boot stack, which stays unmapped.
    pub(crate) stack_guard: u64,
}

/// Builds the kernel's table. `allocate` gives frames that the boot page tables map in the direct map; `None` when there were
/// too few.
pub(crate) fn build(
    image: ImageLayout,
    ram_end: u64,
    has_1g_pages: bool,
    allocate: Allocate<'_>,
) -> Option<()> {
    let root = new_table(allocate)?;
    ROOT.store(root.0, Ordering::Relaxed);
    // At least 4 GiB, for tables and devices below it.
    let end = ram_end.max(4 << 30);
    let (level, step) = if has_1g_pages {
        (3, 1u64 << 30)
    } else {
        (2, 2 << 20)
    };
    let mut phys = 0;
    while phys < end {
        let rights = PRESENT | WRITE | HUGE | GLOBAL | NO_EXECUTE;
        entry(DIRECT_MAP + phys, level, allocate)?.store(phys | rights, Ordering::Relaxed);
        phys += step;
    }
    let pages = (image.start..image.end).step_by(4096);
    for va in pages.filter(|&va| va != image.stack_guard) {
        let rights = match va {
            v if v < image.text_end => 0,
            v if v < image.rodata_end => NO_EXECUTE,
            _ => WRITE | NO_EXECUTE,
        };
        let phys = va - KERNEL_BASE;
        entry(va, 1, allocate)?.store(phys | PRESENT | GLOBAL | rights, Ordering::Relaxed);
    }
    // Top-level entries for what comes later.
    for base in [DEVICE_BASE, STACK_BASE] {
        let _ = entry(base, 3, allocate)?;
    }
    Some(())
}

pub(super) fn runtime_frame() -> Option<PhysAddr> {
    frame::allocate_block(0, Purpose::Kernel).ok()
}

/// Returns how many bits physical addresses have. An entry with one more is malformed and faults. Firmware puts the windows of
/// PCI devices near the end of what there is.
fn physical_bits() -> u32 {
    const SIZES: u32 = 0x8000_0008;
    if cpuid(0x8000_0000, 0).eax < SIZES {
        return 36;
    }
    (cpuid(SIZES, 0).eax & 0xff).clamp(32, ADDRESS.ilog2() + 1)
}

/// Maps device memory uncached; returns its virtual address, or `None` when the addresses or the memory for page tables do not
/// suffice.
pub(crate) fn map_device(phys: PhysAddr, len: usize) -> Option<u64> {
    let first = phys.0 & !0xfff;
    let end = phys
        .0
        .checked_add(len as u64)?
        .checked_next_multiple_of(4096)?;
    if end > 1 << physical_bits() {
        return None;
    }
    let mut next = DEVICES.lock();
    let base = *next;
    let after = base.checked_add(end - first + 4096)?;
    if after > DEVICE_END {
        return None;
    }
    // Taken even if mapping fails: entries are never changed once they are made, so no TLB holds an old one.
    *next = after;
    for (i, page) in (first..end).step_by(4096).enumerate() {
        entry(base + 4096 * i as u64, 1, &mut runtime_frame)?.store(
            page | PRESENT | WRITE | UNCACHED | GLOBAL | NO_EXECUTE,
            Ordering::Release,
        );
    }
    Some(base + (phys.0 - first))
}
