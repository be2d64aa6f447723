//! Memory: frames, page tables, the kernel heap (the global allocator), device memory.

pub(crate) mod buddy;
mod dma;
pub(crate) mod frame;
mod heap;
pub(crate) mod kernel_map;
mod paging;
mod region;
mod retired;
mod stacks;
mod string;
mod tlb;

pub use dma::DmaRegion;
pub use frame::{Frame, OutOfMemory, Stats, available, is_short, is_used_up, stats};
pub use heap::{SizeClass, usage as heap_usage};
pub use paging::{Mapping, PageTable, Perms};
pub use region::{IoPort, Mmio};
pub(crate) use stacks::KernelStack;
pub(crate) use tlb::{
    Space, allow_user_access, forbid_user_access, publish_ring3, publish_window, serve_eviction,
    set_smap, withdraw,
};

/// Start of the direct map of physical memory in kernel space.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PhysAddr(pub u64);

/// Returns where the direct map shows a physical address.
pub(crate) fn direct(phys: PhysAddr) -> *mut u8 {
    (DIRECT_MAP + phys.0) as *mut u8
}

/// Returns the physical address behind a pointer into the direct map.
pub(crate) fn phys_of_direct(pointer: *const u8) -> PhysAddr {
    PhysAddr(pointer as u64 - DIRECT_MAP)
}
