//! Device registers: memory-mapped and port I/O.

use super::PhysAddr;

/// A window of device registers, mapped uncached. Ranges that are RAM are refused.
#[derive(Debug)]
pub struct Mmio {
    _base: u64,
    _len: usize,
}

impl Mmio {
    /// Maps `len` bytes of device memory at `phys`; `None` when the range overlaps RAM or there is no space left.
    #[must_use]
    pub fn map(phys: PhysAddr, len: usize) -> Option<Self> {
        let _ = (phys, len);
        unimplemented!()
    }

    /// Reads a register. Panics (kernel bug) when outside the window or misaligned, as all accessors here.
    #[must_use]
    pub fn read_u8(&self, offset: usize) -> u8 {
        let _ = offset;
        unimplemented!()
    }

    /// Reads a register.
    #[must_use]
    pub fn read_u16(&self, offset: usize) -> u16 {
        let _ = offset;
        unimplemented!()
    }

    /// Reads a register.
    #[must_use]
    pub fn read_u32(&self, offset: usize) -> u32 {
        let _ = offset;
        unimplemented!()
    }

    /// Writes a register.
    pub fn write_u8(&self, offset: usize, value: u8) {
        let _ = (offset, value);
        unimplemented!()
    }

    /// Writes a register.
    pub fn write_u16(&self, offset: usize, value: u16) {
        let _ = (offset, value);
        unimplemented!()
    }

    /// Writes a register.
    pub fn write_u32(&self, offset: usize, value: u32) {
        let _ = (offset, value);
        unimplemented!()
    }
}

/// An I/O port that belongs to a device driver. Ports of hal itself (PIC, PIT, IO-APIC has none) are refused.
#[derive(Clone, Copy, Debug)]
pub struct IoPort(u16);

impl IoPort {
    /// Names a port; `None` for those that hal itself owns.
    #[must_use]
    pub fn new(port: u16) -> Option<Self> {
        let _ = port;
        unimplemented!()
    }

    /// `in al, dx`.
    #[must_use]
    pub fn read_u8(self) -> u8 {
        unimplemented!()
    }

    /// `in ax, dx`.
    #[must_use]
    pub fn read_u16(self) -> u16 {
        unimplemented!()
    }

    /// `in eax, dx`.
    #[must_use]
    pub fn read_u32(self) -> u32 {
        unimplemented!()
    }

    /// `out dx, al`.
    pub fn write_u8(self, value: u8) {
        let _ = value;
        unimplemented!()
    }

    /// `out dx, ax`.
    pub fn write_u16(self, value: u16) {
        let _ = value;
        unimplemented!()
    }

    /// `out dx, eax`.
    pub fn write_u32(self, value: u32) {
        let _ = value;
        unimplemented!()
    }
}
