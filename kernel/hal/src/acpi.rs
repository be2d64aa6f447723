//! ACPI tables, read without an AML interpreter: CPUs and IO-APICs (MADT), power management (FADT), and from the DSDT the
//! few bytes that say how to switch off and where the generic event device is.

use alloc::vec::Vec;

use crate::irq::Trigger;
use crate::mem::{PhysAddr, direct};
use crate::sync::Once;

/// An IO-APIC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoApic {
    pub(crate) address: PhysAddr,
    pub(crate) first_gsi: u32,
}

/// A register named by a generic address structure (ACPI 6.5 §5.2.3.2): in memory or a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Register {
    /// System memory.
    Memory(PhysAddr),
    /// I/O port.
    Port(u16),
}

/// The fixed power-management hardware, or its hardware-reduced replacement.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Power {
    /// PM1a event block (status; enable follows).
    pub(crate) pm1_event: Option<u16>,
    /// Length of the event block in bytes.
    pub(crate) pm1_event_len: u8,
    /// PM1a control.
    pub(crate) pm1_control: Option<u16>,
    /// Power-management timer.
    pub(crate) pm_timer: Option<u16>,
    /// System control interrupt.
    pub(crate) sci: u8,
    /// Sleep control register of hardware-reduced machines.
    pub(crate) sleep_control: Option<Register>,
    /// Reset register and the value to write.
    pub(crate) reset: Option<(Register, u8)>,
    /// SLP_TYP of S5.
    pub(crate) s5: Option<u8>,
}

/// What the tables say.
#[derive(Clone, Default, Debug)]
pub(crate) struct Info {
    /// Local APIC ids of usable CPUs; the boot CPU's is among them.
    pub(crate) cpus: Vec<u32>,
    pub(crate) io_apics: Vec<IoApic>,
    /// ISA interrupts that are wired differently.
    overrides: Vec<(u8, u32, Trigger)>,
    pub(crate) power: Power,
    /// The DSDT's bytes.
    pub(crate) dsdt: Option<&'static [u8]>,
}

static INFO: Once<Info> = Once::new();

/// Returns what was found.
pub(crate) fn info() -> &'static Info {
    INFO.get()
        .expect("invariant: tables are read before devices are set up")
}

impl Info {
    /// Finds the generic event device: its register and its interrupt.
    pub(crate) fn event_device(&self) -> Option<(PhysAddr, u32)> {
        self.dsdt.and_then(find_event_device)
    }

    /// Returns the wiring of an ISA interrupt that the MADT overrides.
    pub(crate) fn isa_override(&self, irq: u8) -> Option<(u32, Trigger)> {
        self.overrides
            .iter()
            .find(|o| o.0 == irq)
            .map(|&(_, gsi, trigger)| (gsi, trigger))
    }
}

/// Little-endian fields of a table.
trait Fields {
    fn u8_at(&self, at: usize) -> Option<u8>;
    fn u16_at(&self, at: usize) -> Option<u16>;
    fn u32_at(&self, at: usize) -> Option<u32>;
    fn u64_at(&self, at: usize) -> Option<u64>;
}

impl Fields for [u8] {
    fn u8_at(&self, at: usize) -> Option<u8> {
        self.get(at).copied()
    }
    fn u16_at(&self, at: usize) -> Option<u16> {
        self.get(at..at + 2)?
            .try_into()
            .ok()
            .map(u16::from_le_bytes)
    }
    fn u32_at(&self, at: usize) -> Option<u32> {
        self.get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    }
    fn u64_at(&self, at: usize) -> Option<u64> {
        self.get(at..at + 8)?
            .try_into()
            .ok()
            .map(u64::from_le_bytes)
    }
}

/// Reads the tables behind `rsdp` (0: there are none).
pub(crate) fn init(rsdp: u64, boot_apic_id: u32) {
    let mut info = Info::default();
    // SAFETY: the boot protocol gives the address of the RSDP; tables are in memory that the direct map shows and nobody writes.
    let memory = |phys: u64, len: usize| unsafe { table_bytes(phys, len) };
    if rsdp != 0 {
        read_tables(rsdp, &memory, &mut info);
    }
    if !info.cpus.contains(&boot_apic_id) {
        info.cpus.insert(0, boot_apic_id);
    }
    if info.io_apics.is_empty() {
        info.io_apics.push(IoApic {
            address: PhysAddr(0xfec0_0000),
            first_gsi: 0,
        });
    }
    INFO.set(info);
}

/// # Safety
/// The range is read-only memory within the first 4 GiB or RAM, which the direct map shows.
unsafe fn table_bytes(phys: u64, len: usize) -> &'static [u8] {
    // SAFETY: the caller's contract.
    unsafe { core::slice::from_raw_parts(direct(PhysAddr(phys)), len) }
}

/// Follows RSDP and (X|R)SDT; `memory(address, len)` gives bytes of physical memory.
fn read_tables(rsdp: u64, memory: &dyn Fn(u64, usize) -> &'static [u8], info: &mut Info) {
    let root = memory(rsdp, 36);
    if root.get(..8) != Some(b"RSD PTR ") {
        return;
    }
    let extended = root
        .u8_at(15)
        .is_some_and(|r| r >= 2)
        .then(|| root.u64_at(24))
        .flatten()
        .filter(|&x| x != 0);
    let (address, entry_bytes) = match extended {
        Some(xsdt) => (xsdt, 8),
        None => (u64::from(root.u32_at(16).unwrap_or(0)), 4),
    };
    let Some(table) = sized_table(address, memory) else {
        return;
    };
    for entry in table
        .get(36..)
        .unwrap_or_default()
        .chunks_exact(entry_bytes)
    {
        let address = entry.iter().rev().fold(0, |a, &b| a << 8 | u64::from(b));
        let Some(table) = sized_table(address, memory) else {
            continue;
        };
        match table.get(..4) {
            Some(b"APIC") => read_madt(table, info),
            Some(b"FACP") => {
                read_fadt(table, &mut info.power);
                let wide = table.u64_at(140).filter(|&x| x != 0);
                let dsdt = wide.or(table.u32_at(40).map(u64::from)).unwrap_or(0);
                info.dsdt = sized_table(dsdt, memory);
                if let Some(dsdt) = info.dsdt {
                    info.power.s5 = find_s5(dsdt);
                }
            }
            _ => {}
        }
    }
}

/// Returns a table with the length that its header gives.
fn sized_table(
    address: u64,
    memory: &dyn Fn(u64, usize) -> &'static [u8],
) -> Option<&'static [u8]> {
    const LARGEST: u32 = 1 << 20;
    if address == 0 || address >= 4 << 30 {
        return None;
    }
    let len = memory(address, 36)
        .u32_at(4)
        .filter(|l| (36..LARGEST).contains(l))?;
    Some(memory(address, len as usize))
}

/// Multiple APIC description table (ACPI 6.5 §5.2.12).
fn read_madt(table: &[u8], info: &mut Info) {
    const ENABLED: u32 = 1;
    let mut at = 44;
    while let (Some(kind), Some(len)) = (table.u8_at(at), table.u8_at(at + 1)) {
        let entry = table.get(at..at + usize::from(len)).unwrap_or_default();
        if len < 2 || entry.is_empty() {
            return;
        }
        match kind {
            0 if entry.u32_at(4).is_some_and(|f| f & ENABLED != 0) => {
                info.cpus.extend(entry.u8_at(3).map(u32::from));
            }
            9 if entry.u32_at(8).is_some_and(|f| f & ENABLED != 0) => {
                info.cpus.extend(entry.u32_at(4));
            }
            1 => {
                if let (Some(address), Some(first_gsi)) = (entry.u32_at(4), entry.u32_at(8)) {
                    info.io_apics.push(IoApic {
                        address: PhysAddr(u64::from(address)),
                        first_gsi,
                    });
                }
            }
            2 => {
                if let (Some(irq), Some(gsi), Some(flags)) =
                    (entry.u8_at(3), entry.u32_at(4), entry.u16_at(8))
                {
                    let trigger = match (flags >> 2 & 3, flags & 3) {
                        (3, 3) => Trigger::LevelLow,
                        (3, _) => Trigger::LevelHigh,
                        _ => Trigger::EdgeHigh,
                    };
                    info.overrides.push((irq, gsi, trigger));
                }
            }
            _ => {}
        }
        at += usize::from(len);
    }
}

/// Generic address structure at `at`.
fn generic_address(table: &[u8], at: usize) -> Option<Register> {
    let address = table.u64_at(at + 4).filter(|&a| a != 0)?;
    match table.u8_at(at)? {
        0 => Some(Register::Memory(PhysAddr(address))),
        1 => u16::try_from(address).ok().map(Register::Port),
        _ => None,
    }
}

/// Fixed ACPI description table (ACPI 6.5 §5.2.9).
fn read_fadt(table: &[u8], power: &mut Power) {
    const RESET_SUPPORTED: u32 = 1 << 10;
    const HARDWARE_REDUCED: u32 = 1 << 20;
    let flags = table.u32_at(112).unwrap_or(0);
    let port = |at| {
        table
            .u32_at(at)
            .filter(|&p| p != 0)
            .and_then(|p| u16::try_from(p).ok())
    };
    if flags & RESET_SUPPORTED != 0 {
        power.reset = generic_address(table, 116).zip(table.u8_at(128));
    }
    if flags & HARDWARE_REDUCED != 0 {
        power.sleep_control = generic_address(table, 244);
        return;
    }
    power.sci = table.u16_at(46).unwrap_or(9) as u8;
    power.pm1_event = port(56);
    power.pm1_event_len = table.u8_at(88).unwrap_or(4);
    power.pm1_control = port(64);
    power.pm_timer = port(76);
}

/// Finds SLP_TYP in `Name (_S5_, Package () { typ, ... })`: the package's first element is a byte constant or Zero/One.
fn find_s5(dsdt: &[u8]) -> Option<u8> {
    let at = dsdt.windows(5).position(|w| w == b"_S5_\x12")? + 5;
    let package_length_bytes = usize::from(dsdt.u8_at(at)? >> 6) + 1;
    let first = at + package_length_bytes + 1;
    match dsdt.u8_at(first)? {
        0x0a => dsdt.u8_at(first + 1),
        constant @ (0 | 1) => Some(constant),
        _ => None,
    }
}

/// Finds the generic event device (_HID "ACPI0013"): the address in its operation region and the interrupt in its _CRS.
fn find_event_device(dsdt: &[u8]) -> Option<(PhysAddr, u32)> {
    const EXTENDED_INTERRUPT: &[u8] = &[0x89, 6, 0];
    let hid = dsdt.windows(8).position(|w| w == b"ACPI0013")?;
    let device = dsdt.get(hid..)?;
    let interrupt = device.windows(3).position(|w| w == EXTENDED_INTERRUPT)?;
    let gsi = device.u32_at(interrupt + 5)?;
    // OperationRegion (EREG, SystemMemory, address, length): 5B 80 name(4) 00, then a dword constant.
    let region = device.windows(2).position(|w| w == [0x5b, 0x80])?;
    let (space, prefix) = (device.u8_at(region + 6)?, device.u8_at(region + 7)?);
    let address = device.u32_at(region + 8)?;
    (space == 0 && prefix == 0x0c).then_some((PhysAddr(u64::from(address)), gsi))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn s5_is_found_in_its_usual_encodings() {
        assert_eq!(find_s5(b"xx_S5_\x12\x06\x04\x0a\x05\x0a\x05"), Some(5));
        assert_eq!(find_s5(b"xx_S5_\x12\x06\x04\x00\x00\x00\x00"), Some(0));
        assert_eq!(find_s5(b"_S5_\x12"), None);
        assert_eq!(find_s5(b""), None);
    }

    #[test]
    fn madt_gives_enabled_cpus_io_apics_and_overrides() {
        let mut table = std::vec![0; 44];
        table.extend([0, 8, 0, 7, 1, 0, 0, 0]);
        table.extend([0, 8, 1, 8, 0, 0, 0, 0]);
        table.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0]);
        table.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
        table.extend([0, 0]);
        let mut info = Info::default();
        read_madt(&table, &mut info);
        assert_eq!(info.cpus, [7]);
        assert_eq!(
            (info.io_apics[0].address.0, info.io_apics[0].first_gsi),
            (0xfec0_0000, 24)
        );
        assert_eq!(info.isa_override(9), Some((9, Trigger::LevelHigh)));
        for cut in 0..table.len() {
            read_madt(&table[..cut], &mut Info::default());
        }
    }
}
