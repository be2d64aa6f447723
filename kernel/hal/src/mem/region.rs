//! Device registers: memory-mapped and port I/O.

use super::{PhysAddr, kernel_map};
use crate::arch::x86_64::{in_u8, in_u16, in_u32, out_bytes, out_u8, out_u16, out_u32};
use crate::boot;

/// A window of device registers, mapped uncached. Ranges that are RAM are refused.
#[derive(Debug)]
pub struct Mmio {
    base: u64,
    len: usize,
}

macro_rules! mmio_access {
    ($read:ident, $write:ident, $ty:ty) => {
        /// Reads a register.
        ///
        /// # Panics
        /// When it is outside the window or misaligned.
        #[must_use]
        pub fn $read(&self, offset: usize) -> $ty {
            let at = self.at::<$ty>(offset);
            // SAFETY: inside the window, aligned; reading device registers has no effect on Rust's memory.
            unsafe { at.read_volatile() }
        }

        /// Writes a register.
        ///
        /// # Panics
        /// When it is outside the window or misaligned.
        pub fn $write(&self, offset: usize, value: $ty) {
            let at = self.at::<$ty>(offset);
            // SAFETY: inside the window, aligned; the window is no RAM, and what a device does to memory is limited to the
            // addresses that drivers give it, which come from `DmaRegion`.
            unsafe { at.write_volatile(value) };
        }
    };
}

impl Mmio {
    /// Maps `len` bytes of device memory at `phys`; `None` when the range overlaps RAM or there is no space left.
    #[must_use]
    pub fn map(phys: PhysAddr, len: usize) -> Option<Self> {
        if len == 0 || boot::overlaps_ram(phys, len) {
            return None;
        }
        kernel_map::map_device(phys, len).map(|base| Self { base, len })
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        let end = offset.checked_add(size_of::<T>());
        assert!(
            end.is_some_and(|e| e <= self.len),
            "register {offset:#x} outside a window of {:#x}",
            self.len
        );
        let at = (self.base + offset as u64) as *mut T;
        assert!(at.is_aligned(), "misaligned register {offset:#x}");
        at
    }

    mmio_access!(read_u8, write_u8, u8);
    mmio_access!(read_u16, write_u16, u16);
    mmio_access!(read_u32, write_u32, u32);
}

/// An I/O port that belongs to a device driver. Ports of hal itself (PIC, PIT, RTC, reset) are refused.
#[derive(Clone, Copy, Debug)]
pub struct IoPort(u16);

impl IoPort {
    /// Names a port; `None` for those that hal itself owns.
    #[must_use]
    pub fn new(port: u16) -> Option<Self> {
        let is_hals = matches!(port, 0x20..=0x21 | 0x40..=0x43 | 0x61 | 0x64 | 0x70..=0x71 | 0xa0..=0xa1 | 0xcf9 | 0xe9 | 0x501);
        (!is_hals).then_some(Self(port))
    }

    /// `in al, dx`.
    #[must_use]
    pub fn read_u8(self) -> u8 {
        // SAFETY: a device's port: no effect on memory but through DMA addresses that drivers give from `DmaRegion`.
        unsafe { in_u8(self.0) }
    }

    /// `in ax, dx`.
    #[must_use]
    pub fn read_u16(self) -> u16 {
        // SAFETY: as for `read_u8`.
        unsafe { in_u16(self.0) }
    }

    /// `in eax, dx`.
    #[must_use]
    pub fn read_u32(self) -> u32 {
        // SAFETY: as for `read_u8`.
        unsafe { in_u32(self.0) }
    }

    /// `out dx, al`.
    pub fn write_u8(self, value: u8) {
        // SAFETY: as for `read_u8`.
        unsafe { out_u8(self.0, value) };
    }

    /// `rep outsb`: writes one byte after the other.
    pub fn write_bytes(self, bytes: &[u8]) {
        // SAFETY: as for `read_u8`.
        unsafe { out_bytes(self.0, bytes) };
    }

    /// `out dx, ax`.
    pub fn write_u16(self, value: u16) {
        // SAFETY: as for `read_u8`.
        unsafe { out_u16(self.0, value) };
    }

    /// `out dx, eax`.
    pub fn write_u32(self, value: u32) {
        // SAFETY: as for `read_u8`.
        unsafe { out_u32(self.0, value) };
    }
}
