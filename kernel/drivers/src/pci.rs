//! PCI configuration space by mechanism #1 (ports 0xCF8/0xCFC, PCI Local Bus 3.0 §3.2.2.3.2), which every x86 VMM with PCI
//! offers; functions, BARs and capabilities.

use alloc::vec::Vec;

use tyn_hal::mem::{IoPort, Mmio, PhysAddr};
use tyn_hal::sync::SpinLock;

/// Capability id of MSI-X (PCI 3.0 §6.8.2).
pub const CAP_MSIX: u8 = 0x11;
/// Capability id for vendor-specific data; virtio describes its register layout with these.
pub const CAP_VENDOR: u8 = 0x09;

/// Serialises the address/data port pair.
static CONFIG: SpinLock<()> = SpinLock::new(());

/// A PCI function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    bus: u8,
    device: u8,
    function: u8,
}

/// A capability: its id and where it starts in configuration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Capability id.
    pub id: u8,
    /// Offset in configuration space.
    pub offset: u8,
}

fn ports() -> Option<(IoPort, IoPort)> {
    Some((IoPort::new(0xcf8)?, IoPort::new(0xcfc)?))
}

impl Function {
    fn address(self, offset: u8) -> u32 {
        1 << 31
            | u32::from(self.bus) << 16
            | u32::from(self.device) << 11
            | u32::from(self.function) << 8
            | u32::from(offset & 0xfc)
    }

    /// Reads the aligned dword that holds `offset`; all ones where nothing answers.
    #[must_use]
    pub fn read_u32(self, offset: u8) -> u32 {
        let Some((address, data)) = ports() else {
            return u32::MAX;
        };
        let _guard = CONFIG.lock();
        address.write_u32(self.address(offset));
        data.read_u32()
    }

    /// Writes an aligned dword.
    pub fn write_u32(self, offset: u8, value: u32) {
        let Some((address, data)) = ports() else {
            return;
        };
        let _guard = CONFIG.lock();
        address.write_u32(self.address(offset));
        data.write_u32(value);
    }

    /// Reads a word.
    #[must_use]
    pub fn read_u16(self, offset: u8) -> u16 {
        (self.read_u32(offset) >> (8 * u32::from(offset & 2))) as u16
    }

    /// Reads a byte.
    #[must_use]
    pub fn read_u8(self, offset: u8) -> u8 {
        (self.read_u32(offset) >> (8 * u32::from(offset & 3))) as u8
    }

    /// Returns vendor and device id.
    #[must_use]
    pub fn id(self) -> (u16, u16) {
        (self.read_u16(0), self.read_u16(2))
    }

    /// Enables memory decoding and bus mastering, and disables INTx (command register, PCI 3.0 §6.2.2).
    pub fn enable(self) {
        const MEMORY: u32 = 1 << 1;
        const MASTER: u32 = 1 << 2;
        const INTX_DISABLE: u32 = 1 << 10;
        // The upper half is the status register, whose set bits are cleared by writing ones: write zeros there.
        let command = self.read_u32(4) & 0xffff;
        self.write_u32(4, command | MEMORY | MASTER | INTX_DISABLE);
    }

    /// Lists the capabilities. A looping or broken list ends it.
    #[must_use]
    pub fn capabilities(self) -> Vec<Capability> {
        const STATUS_CAPABILITIES: u16 = 1 << 4;
        let mut found = Vec::new();
        if self.read_u16(6) & STATUS_CAPABILITIES == 0 {
            return found;
        }
        let mut offset = self.read_u8(0x34) & 0xfc;
        while offset >= 0x40 && found.len() < 48 {
            let header = self.read_u16(offset);
            found.push(Capability {
                id: header as u8,
                offset,
            });
            offset = (header >> 8) as u8 & 0xfc;
        }
        found
    }

    /// Returns the address in a memory BAR (0 to 5), or `None` for I/O or unassigned ones.
    #[must_use]
    pub fn bar(self, index: u8) -> Option<PhysAddr> {
        if index > 5 {
            return None;
        }
        let low = self.read_u32(0x10 + 4 * index);
        let is_io = low & 1 != 0;
        let is_64_bit = low & 0b110 == 0b100;
        let high = if is_64_bit && index < 5 {
            self.read_u32(0x14 + 4 * index)
        } else {
            0
        };
        let address = u64::from(high) << 32 | u64::from(low & !0xf);
        (!is_io && address != 0).then_some(PhysAddr(address))
    }

    /// Maps `len` bytes at `offset` in a memory BAR.
    #[must_use]
    pub fn map_bar(self, index: u8, offset: u32, len: usize) -> Option<Mmio> {
        let base = self.bar(index)?;
        Mmio::map(PhysAddr(base.0.checked_add(u64::from(offset))?), len)
    }
}

/// Lists the functions on bus 0 and behind its bridges; empty where there is no PCI.
#[must_use]
pub fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    let host = Function {
        bus: 0,
        device: 0,
        function: 0,
    };
    if host.read_u32(0) == u32::MAX {
        return found;
    }
    let mut buses = alloc::vec![0u8];
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for device in 0..32 {
            scan_device(bus, device, &mut found, &mut buses);
        }
    }
    found
}

fn scan_device(bus: u8, device: u8, found: &mut Vec<Function>, buses: &mut Vec<u8>) {
    const HEADER_MULTIFUNCTION: u8 = 0x80;
    const HEADER_BRIDGE: u8 = 1;
    for function in 0..8 {
        let f = Function {
            bus,
            device,
            function,
        };
        if f.read_u16(0) == u16::MAX {
            if function == 0 {
                return;
            }
            continue;
        }
        let header = f.read_u8(0x0e);
        if header & 0x7f == HEADER_BRIDGE {
            let secondary = f.read_u8(0x19);
            if secondary != 0 && !buses.contains(&secondary) {
                buses.push(secondary);
            }
        }
        found.push(f);
        if function == 0 && header & HEADER_MULTIFUNCTION == 0 {
            return;
        }
    }
}

/// The MSI-X table of a function.
#[derive(Debug)]
pub struct MsixTable {
    table: Mmio,
    len: u16,
}

impl MsixTable {
    /// Maps the table and switches the function to MSI-X.
    #[must_use]
    pub fn enable(function: Function, capability: Capability) -> Option<Self> {
        const ENABLE: u32 = 1 << 31;
        const FUNCTION_MASK: u32 = 1 << 30;
        let control = function.read_u32(capability.offset);
        let len = ((control >> 16) & 0x7ff) as u16 + 1;
        let place = function.read_u32(capability.offset.checked_add(4)?);
        let table = function.map_bar((place & 7) as u8, place & !7, usize::from(len) * 16)?;
        function.write_u32(capability.offset, control & !FUNCTION_MASK | ENABLE);
        Some(Self { table, len })
    }

    /// Returns how many entries there are.
    #[must_use]
    pub fn entries(&self) -> u16 {
        self.len
    }

    /// Points an entry at a message and unmasks it; returns whether there is such an entry.
    #[must_use]
    pub fn set(&self, entry: u16, message: tyn_hal::irq::MsiMessage) -> bool {
        if entry >= self.len {
            return false;
        }
        let at = usize::from(entry) * 16;
        self.table.write_u32(at, message.address as u32);
        self.table.write_u32(at + 4, (message.address >> 32) as u32);
        self.table.write_u32(at + 8, message.data);
        self.table.write_u32(at + 12, 0);
        true
    }
}
