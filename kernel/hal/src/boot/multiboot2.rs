//! What a Multiboot2 loader (GRUB) tells: "Multiboot2 Specification version 2.0", section 3.6, boot information format.
//!
//! The information is a list of tags: type and size (4 bytes each), then data; each begins on 8 bytes.

use super::MemoryMap;

/// What a loader leaves in EAX.
pub(crate) const MAGIC: u32 = 0x36d7_6289;
/// Most bytes of information that are read; loaders give a few kilobytes.
pub(crate) const MAX_BYTES: u32 = 1 << 20;

const END: u32 = 0;
const CMDLINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY: u32 = 6;
const RSDP_V1: u32 = 14;
const RSDP_V2: u32 = 15;
/// Usable memory.
const RAM_KIND: u32 = 1;

/// What is kept of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Information<'a> {
    pub(crate) ram: MemoryMap,
    /// Address and length of the first module.
    pub(crate) module: Option<(u64, u64)>,
    /// Where in the information the RSDP's copy is; ACPI 2.0's wins.
    pub(crate) rsdp: Option<usize>,
    pub(crate) cmdline: &'a [u8],
}

/// Reads the information, all of its bytes; `None` when it is cut off.
pub(crate) fn parse(bytes: &[u8]) -> Option<Information<'_>> {
    let mut found = Information {
        ram: MemoryMap::new(),
        module: None,
        rsdp: None,
        cmdline: &[],
    };
    let mut has_rsdp_v2 = false;
    let mut at = 8;
    loop {
        let (kind, size) = (u32_at(bytes, at)?, u32_at(bytes, at + 4)? as usize);
        let data = bytes.get(at + 8..at.checked_add(size)?)?;
        match kind {
            END => return Some(found),
            CMDLINE => found.cmdline = data.split(|&b| b == 0).next()?,
            MODULE if found.module.is_none() => {
                let (start, end) = (u64::from(u32_at(data, 0)?), u64::from(u32_at(data, 4)?));
                found.module = Some((start, end.checked_sub(start)?));
            }
            MEMORY => add_memory(&mut found.ram, data)?,
            RSDP_V1 if !has_rsdp_v2 => found.rsdp = Some(at + 8),
            RSDP_V2 => (found.rsdp, has_rsdp_v2) = (Some(at + 8), true),
            _ => {}
        }
        at = at.checked_add(size)?.next_multiple_of(8);
    }
}

fn add_memory(ram: &mut MemoryMap, data: &[u8]) -> Option<()> {
    let entry_size = u32_at(data, 0)? as usize;
    if entry_size < 20 {
        return None;
    }
    for entry in data.get(8..)?.chunks_exact(entry_size) {
        let (start, len) = (u64_at(entry, 0)?, u64_at(entry, 8)?);
        if u32_at(entry, 16)? == RAM_KIND {
            ram.add(start, start.saturating_add(len));
        }
    }
    Some(())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn tag(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
        out.extend(kind.to_le_bytes());
        out.extend((data.len() as u32 + 8).to_le_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(8), 0);
    }

    fn information() -> Vec<u8> {
        let mut out = std::vec![0; 8];
        tag(&mut out, 1, b"trace ip=off\0");
        tag(&mut out, 2, b"GRUB\0");
        let mut memory: Vec<u8> = [24u32, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
        for (start, len, kind) in [
            (0u64, 0x9f000u64, 1u64),
            (0x9f000, 0x1000, 2),
            (0x10_0000, 0x700_0000, 1),
        ] {
            memory.extend([start, len, kind].iter().flat_map(|w| w.to_le_bytes()));
        }
        tag(&mut out, 6, &memory);
        for (start, end) in [(0x20_0000u32, 0x20_1234u32), (0, 1)] {
            let range: Vec<u8> = [start, end].iter().flat_map(|w| w.to_le_bytes()).collect();
            tag(&mut out, 3, &range);
        }
        tag(&mut out, 15, b"RSD PTR new");
        tag(&mut out, 14, b"RSD PTR old");
        tag(&mut out, 0, b"");
        out
    }

    #[test]
    fn tags_are_understood() {
        let bytes = information();
        let found = parse(&bytes).unwrap();
        assert_eq!(found.cmdline, b"trace ip=off");
        assert_eq!(found.module, Some((0x20_0000, 0x1234)));
        assert!(found.ram.iter().eq([(0, 0x9f000), (0x10_0000, 0x710_0000)]));
        assert!(bytes[found.rsdp.unwrap()..].starts_with(b"RSD PTR new"));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let bytes = information();
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_none(), "{length}");
        }
        // Any size of any tag: an end or none, and no panic.
        for at in (8..bytes.len()).step_by(4) {
            for value in [0, 1, 7, 8, 9, u32::MAX] {
                let mut bad = bytes.clone();
                bad[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
                let _ = parse(&bad);
            }
        }
    }
}
