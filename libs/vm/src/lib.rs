//! Address spaces as data: which addresses of a process mean what, and what each memory call does to that.
//!
//! [`Space`] is an ordered set of disjoint [`Vma`]s. It places, splits and merges mappings (`mmap`, `munmap`, `mprotect`,
//! `mremap`, `brk`, `madvise`, `mlock`), decides what a page fault means, and does the accounting. It knows nothing of
//! frames or page tables: the kernel's `mm` carries its decisions out. The type of a mapped file is a parameter.
//!
//! Errors are those of the man pages, so every operation returns [`tyn_abi::Errno`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod advise;
mod brk;
mod fault;
mod fork;
mod gaps;
mod layout;
mod lock;
mod map;
mod maps;
mod place;
mod protect;
mod remap;
mod space;
mod vma;

#[cfg(test)]
mod model;

pub use advise::{Advice, Advised};
pub use fault::{Fix, PagePerms, SegvCode};
pub use layout::{Layout, Randomness};
pub use map::{MapRequest, Mapped, Placement, Unmapped};
pub use maps::{FileName, maps_line};
pub use protect::{Protected, RightsChange};
pub use remap::{RemapPlan, RemapRequest};
pub use space::{Limits, Space, Usage};
pub use vma::{FilePart, Prot, VmFlags, Vma};

/// Most mappings of an address space (`vm.max_map_count`).
pub const MAX_MAP_COUNT: usize = 65_530;

/// Lowest address that a mapping may have (`vm.mmap_min_addr`).
pub const MMAP_MIN_ADDR: u64 = 65_536;

/// Distance that is kept free below a mapping that grows down (`stack_guard_gap`).
pub const STACK_GUARD_GAP: u64 = 256 * PAGE;

pub(crate) const PAGE: u64 = tyn_abi::PAGE_SIZE as u64;

/// Rounds a length up to pages; `None` on overflow.
pub(crate) fn page_up(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(PAGE)
}

/// Returns whether an address lies on a page boundary.
pub(crate) fn is_aligned(va: u64) -> bool {
    va.is_multiple_of(PAGE)
}
