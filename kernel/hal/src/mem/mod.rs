//! Memory: frames, page tables, the kernel heap (the global allocator), device memory.

mod dma;
mod frame;
mod paging;
mod region;

pub use dma::DmaRegion;
pub use frame::{Frame, OutOfMemory, Stats, stats};
pub use paging::{Mapping, PageTable, Perms};
pub use region::{IoPort, Mmio};

/// Start of the direct map of physical memory in kernel space.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PhysAddr(pub u64);
