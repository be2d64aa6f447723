//! What the boot protocol (PVH or Multiboot2, `arch/x86_64/boot.S`) left for us, bringing hal up, and the kernel's entry.

use alloc::string::String;

use crate::mem::{Frame, PhysAddr, direct};
use crate::sync::Once;
use crate::time::Calibration;

mod memory_map;
#[cfg(any(test, feature = "entry"))]
mod multiboot2;
#[cfg(feature = "entry")]
mod start;

pub(crate) use memory_map::MemoryMap;

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

#[cfg(feature = "entry")]
unsafe extern "Rust" {
    static TYN_ENTRY: Entry;
}

/// Returns the kernel's main functions.
#[cfg(feature = "entry")]
pub(crate) fn entry() -> &'static Entry {
    // SAFETY: the image crate defines the symbol with this type, through `entry!`; it is never written.
    unsafe { &TYN_ENTRY }
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
    /// The clock's calibration, for [`Calibration::finish`] before the first use of a clock or timer.
    pub calibration: Calibration,
}

/// The boot module: read-only bytes, page-aligned in physical memory, never freed.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    phys: PhysAddr,
    len: usize,
}

impl Archive {
    /// Returns the bytes of the archive, in place in the direct map.
    #[must_use]
    pub fn bytes(&self) -> &'static [u8] {
        // SAFETY: the module's frames are reserved for ever and mapped by the direct map; nobody writes them (user mappings of
        // archive frames are read-only or copy-on-write).
        unsafe { core::slice::from_raw_parts(direct(self.phys), self.len) }
    }

    /// Returns a handle on the `index`th page (4096 bytes) of the archive, for mapping into user space, or `None`
    /// past its end. The last page's tail beyond the archive reads as zero.
    #[must_use]
    pub fn frame(&self, index: usize) -> Option<Frame> {
        let offset = index.checked_mul(4096).filter(|&o| o < self.len)?;
        let phys = PhysAddr(self.phys.0 + offset as u64);
        // SAFETY: the page lies in the boot module.
        unsafe { Frame::of_permanent(phys) }
    }
}

/// RAM as the boot protocol described it.
static RAM: Once<MemoryMap> = Once::new();

/// Returns whether any byte of the range is RAM.
pub(crate) fn overlaps_ram(phys: PhysAddr, len: usize) -> bool {
    RAM.get()
        .is_none_or(|map| map.overlaps(phys.0, phys.0.saturating_add(len as u64)))
}

/// Lets the other CPUs enter [`Entry::ap`], each when it has arrived; called by the boot CPU when what they need of the kernel
/// above is initialised. Waits for none of them.
pub fn release_aps() {
    #[cfg(feature = "entry")]
    crate::arch::x86_64::smp::release();
}

/// Ends a boot that cannot go on: one line, which names what is wrong and how to mend it, on the report channel and the serial
/// console; then the machine is switched off.
pub fn refuse(line: core::fmt::Arguments<'_>) -> ! {
    crate::power::report(format_args!("error {line}"));
    console_line(format_args!("tyn: {line}"));
    crate::power::off()
}

/// Writes a line to COM1 without any driver state: for refusals and panics.
pub(crate) fn console_line(line: core::fmt::Arguments<'_>) {
    use core::fmt::Write;
    struct Com1;
    impl Write for Com1 {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for byte in text.bytes() {
                // SAFETY: reading the line status has no effects on memory.
                let is_busy = || unsafe { crate::arch::x86_64::in_u8(0x3fd) } & 0x20 == 0;
                // Bounded: a missing or stuck UART loses the line, not the machine.
                let _ = (0..100_000).find(|_| !is_busy());
                // SAFETY: sends a byte.
                unsafe { crate::arch::x86_64::out_u8(0x3f8, byte) };
            }
            Ok(())
        }
    }
    let _ = Com1.write_fmt(line);
    let _ = Com1.write_str("\r\n");
}
