//! Numbers of the memory calls: `mmap(2)`, `mremap(2)`, `mlock(2)`, `msync(2)` and their family.
#![expect(missing_docs, reason = "the names are those of the man pages")]

/// Rights (`PROT_*`).
pub mod prot {
    pub const PROT_READ: u32 = 1;
    pub const PROT_WRITE: u32 = 2;
    pub const PROT_EXEC: u32 = 4;
    pub const PROT_SEM: u32 = 8;
    pub const PROT_GROWSDOWN: u32 = 0x0100_0000;
    pub const PROT_GROWSUP: u32 = 0x0200_0000;
}

/// Flags of `mmap(2)`.
pub mod map {
    pub const MAP_SHARED: u32 = 0x01;
    pub const MAP_PRIVATE: u32 = 0x02;
    pub const MAP_SHARED_VALIDATE: u32 = 0x03;
    pub const MAP_TYPE: u32 = 0x0f;
    pub const MAP_FIXED: u32 = 0x10;
    pub const MAP_ANONYMOUS: u32 = 0x20;
    pub const MAP_32BIT: u32 = 0x40;
    pub const MAP_GROWSDOWN: u32 = 0x0100;
    pub const MAP_DENYWRITE: u32 = 0x0800;
    pub const MAP_EXECUTABLE: u32 = 0x1000;
    pub const MAP_LOCKED: u32 = 0x2000;
    pub const MAP_NORESERVE: u32 = 0x4000;
    pub const MAP_POPULATE: u32 = 0x8000;
    pub const MAP_NONBLOCK: u32 = 0x1_0000;
    pub const MAP_STACK: u32 = 0x2_0000;
    pub const MAP_HUGETLB: u32 = 0x4_0000;
    pub const MAP_SYNC: u32 = 0x8_0000;
    pub const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
}

/// Flags of `mremap(2)`.
pub mod mremap {
    pub const MREMAP_MAYMOVE: u32 = 1;
    pub const MREMAP_FIXED: u32 = 2;
    pub const MREMAP_DONTUNMAP: u32 = 4;
}

/// Flags of `mlock2(2)` and `mlockall(2)`.
pub mod mlock {
    pub const MLOCK_ONFAULT: u32 = 1;
    pub const MCL_CURRENT: u32 = 1;
    pub const MCL_FUTURE: u32 = 2;
    pub const MCL_ONFAULT: u32 = 4;
}

/// Flags of `msync(2)`.
pub mod msync {
    pub const MS_ASYNC: u32 = 1;
    pub const MS_INVALIDATE: u32 = 2;
    pub const MS_SYNC: u32 = 4;
}
