//! Finds the devices of this machine: PCI functions, and virtio-mmio devices that the ACPI namespace or the command line name.

use alloc::boxed::Box;
use alloc::vec::Vec;

use tyn_hal::mem::PhysAddr;

use crate::pci;
use crate::virtio::mmio::{MmioTransport, Place};
use crate::virtio::pci::{PciTransport, device_type};
use crate::virtio::{DeviceError, Found};

/// Lists all virtio devices. `dsdt` is the ACPI table of that name where there is one. Devices that cannot be driven are
/// returned as errors with their type, for one report line each.
#[must_use]
pub fn virtio_devices(
    cmdline: &str,
    dsdt: Option<&[u8]>,
) -> Vec<Result<Found, (u32, DeviceError)>> {
    let mut found = Vec::new();
    for function in pci::functions() {
        let Some(device_type) = device_type(function) else {
            continue;
        };
        found.push(match PciTransport::new(function) {
            Ok(t) => Ok(Found {
                device_type,
                transport: Box::new(t),
            }),
            Err(e) => Err((device_type, e)),
        });
    }
    let places = mmio_options(cmdline).chain(dsdt.map(mmio_in_dsdt).unwrap_or_default());
    for place in places {
        if let Some((device_type, t)) = MmioTransport::probe(place) {
            found.push(Ok(Found {
                device_type,
                transport: Box::new(t),
            }));
        }
    }
    found
}

/// Reads `virtio_mmio.device=SIZE@BASE:IRQ` options (Linux `Documentation/admin-guide/kernel-parameters.txt`), as QEMU's
/// microvm without ACPI and Firecracker add them.
pub fn mmio_options(cmdline: &str) -> impl Iterator<Item = Place> + '_ {
    cmdline.split_ascii_whitespace().filter_map(|option| {
        let (size, rest) = option
            .strip_prefix("virtio_mmio.device=")?
            .split_once('@')?;
        let (base, irq) = rest.split_once(':')?;
        let irq = irq.split(':').next()?;
        let len = usize::try_from(parse_size(size)?).ok()?;
        Some(Place {
            base: PhysAddr(parse_size(base)?),
            len,
            gsi: irq.parse().ok()?,
        })
    })
}

/// Parses decimal or `0x` numbers with an optional `K`, `M` or `G` suffix (Linux `memparse`).
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    value.checked_mul(1 << shift)
}

/// Finds virtio-mmio devices in a DSDT without interpreting AML: a device of `_HID` "LNRO0005" has a `_CRS` of one
/// `Memory32Fixed` (ACPI 6.5 §6.4.3.4) and one `Extended Interrupt` descriptor (§6.4.3.6), which is how every VMM writes it.
fn mmio_in_dsdt(dsdt: &[u8]) -> Vec<Place> {
    const HID: &[u8] = b"LNRO0005\0";
    const MEMORY_32_FIXED: &[u8] = &[0x86, 9, 0];
    const EXTENDED_INTERRUPT: &[u8] = &[0x89, 6, 0];
    let starts: Vec<usize> = dsdt
        .windows(HID.len())
        .enumerate()
        .filter(|(_, w)| *w == HID)
        .map(|(i, _)| i)
        .collect();
    let place = |start: usize, end: usize| {
        let device = dsdt.get(start..end)?;
        let find = |tag: &[u8]| device.windows(tag.len()).position(|w| w == tag);
        let u32_at = |at: usize| {
            device
                .get(at..at + 4)?
                .try_into()
                .ok()
                .map(u32::from_le_bytes)
        };
        let memory = find(MEMORY_32_FIXED)?;
        let interrupt = find(EXTENDED_INTERRUPT)?;
        let len = usize::try_from(u32_at(memory + 8)?).ok()?;
        Some(Place {
            base: PhysAddr(u64::from(u32_at(memory + 4)?)),
            len,
            gsi: u32_at(interrupt + 5)?,
        })
    };
    let ends = starts.iter().skip(1).copied().chain([dsdt.len()]);
    starts
        .iter()
        .zip(ends)
        .filter_map(|(&start, end)| place(start, end))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mmio_option_with_suffix_and_hex_is_read() {
        let places: Vec<Place> =
            mmio_options("quiet virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@1M:5:3")
                .collect();
        assert_eq!(
            places[0],
            Place {
                base: PhysAddr(0xfeb0_0e00),
                len: 512,
                gsi: 12
            }
        );
        assert_eq!(
            places[1],
            Place {
                base: PhysAddr(0x10_0000),
                len: 4096,
                gsi: 5
            }
        );
    }

    #[test]
    fn malformed_mmio_options_are_skipped() {
        let line = "virtio_mmio.device= virtio_mmio.device=512@ virtio_mmio.device=x@1:1 virtio_mmio.device=99999999999G@1:1";
        assert_eq!(mmio_options(line).count(), 0);
    }

    #[test]
    fn dsdt_device_is_found_with_its_resources() {
        let mut dsdt = b"junk_HID\x0dLNRO0005\0_CRS\x11\x1a\x0a\x17".to_vec();
        dsdt.extend([0x86, 9, 0, 1, 0, 0x0e, 0xb0, 0xfe, 0, 2, 0, 0]);
        dsdt.extend([0x89, 6, 0, 1, 1, 23, 0, 0, 0, 0x79, 0]);
        assert_eq!(
            mmio_in_dsdt(&dsdt),
            [Place {
                base: PhysAddr(0xfeb0_0e00),
                len: 512,
                gsi: 23
            }]
        );
        assert!(mmio_in_dsdt(&dsdt[..20]).is_empty());
    }
}
