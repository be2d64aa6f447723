//! What the boot protocol (PVH, `arch/x86_64/boot.S`) left for us, and the kernel's entry.

use crate::mem::Frame;
use alloc::string::String;

/// The kernel's main functions, given by the image crate through [`crate::entry!`].
#[derive(Debug)]
pub struct Entry {
    /// Runs once on the boot CPU, after memory, traps, clock and all CPU discovery are up; other CPUs are
    /// being started in parallel. Must not return.
    pub bsp: fn(BootInfo) -> !,
    /// Runs once on each further CPU when it is up and [`release_aps`] was called. Must not return.
    pub ap: fn() -> !,
}

/// Defines the kernel's entry: `tyn_hal::entry!(Entry { bsp: main, ap: ap_main });`. hal calls it from boot code.
#[macro_export]
macro_rules! entry {
    ($e:expr) => {
        #[unsafe(no_mangle)]
        static TYN_ENTRY: $crate::boot::Entry = $e;
    };
}

/// Facts of this boot.
#[derive(Debug)]
pub struct BootInfo {
    /// Kernel command line.
    pub cmdline: String,
    /// The root archive, as the boot loader placed it; `None` when no module was given.
    pub archive: Option<Archive>,
    /// Total usable RAM in bytes, after the firmware's holes.
    pub ram_bytes: u64,
    /// Number of CPUs found (started or starting).
    pub cpus: usize,
}

/// The boot module: read-only bytes, page-aligned in physical memory, never freed.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    bytes: &'static [u8],
}

impl Archive {
    /// Returns the bytes of the archive, in place in the direct map.
    #[must_use]
    pub fn bytes(&self) -> &'static [u8] {
        self.bytes
    }

    /// Returns a handle on the `index`th page (4096 bytes) of the archive, for mapping into user space, or `None`
    /// past its end. The last page's tail beyond the archive reads as zero.
    #[must_use]
    pub fn frame(&self, _index: usize) -> Option<Frame> {
        unimplemented!()
    }
}

/// Lets the other CPUs enter [`Entry::ap`]; called by the boot CPU when the kernel above is initialised.
pub fn release_aps() {
    unimplemented!()
}
