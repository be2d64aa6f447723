//! GUID partition tables ("UEFI Specification 2.10", chapter 5), with fixed identifiers.

use crate::SECTOR;

/// Partition type: where GRUB's core image is for BIOS machines.
pub const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
/// Partition type: EFI system partition.
pub const EFI_SYSTEM: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];
/// Entries of a table, and bytes of each.
const ENTRIES: usize = 128;
const ENTRY: usize = 128;

/// A partition.
#[derive(Clone, Copy, Debug)]
pub struct Partition<'a> {
    /// Its type.
    pub kind: [u8; 16],
    /// The last byte of its identifier; the disk's ends with 0.
    pub id: u8,
    /// Its first sector.
    pub first: u64,
    /// Its last sector.
    pub last: u64,
    /// Its name, at most 36 ASCII characters.
    pub name: &'a str,
}

/// An identifier of ours (version 4 in form).
fn identifier(last: u8) -> [u8; 16] {
    let mut id = *b"tyn-os\x00\x40\x80\x00\x00\x00\x00\x00\x00\x00";
    id[15] = last;
    id
}

/// Writes the protective partition table into sector 0 of a disk.
pub fn protect(sector: &mut [u8; SECTOR as usize], sectors: u64) {
    let count = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    sector[446..510].fill(0);
    // Not active, from cylinder 0 head 0 sector 2, type EE to the end.
    sector[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    sector[454..458].copy_from_slice(&1u32.to_le_bytes());
    sector[458..462].copy_from_slice(&count.to_le_bytes());
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
}

/// Returns both tables of a disk of so many sectors: where each piece begins, in sectors, and its bytes.
#[must_use]
pub fn tables(partitions: &[Partition<'_>], sectors: u64) -> Vec<(u64, Vec<u8>)> {
    let mut entries = vec![0; ENTRIES * ENTRY];
    for (partition, entry) in partitions.iter().zip(entries.chunks_exact_mut(ENTRY)) {
        entry[..16].copy_from_slice(&partition.kind);
        entry[16..32].copy_from_slice(&identifier(partition.id));
        entry[32..40].copy_from_slice(&partition.first.to_le_bytes());
        entry[40..48].copy_from_slice(&partition.last.to_le_bytes());
        for (unit, slot) in partition
            .name
            .encode_utf16()
            .zip(entry[56..].chunks_exact_mut(2))
        {
            slot.copy_from_slice(&unit.to_le_bytes());
        }
    }
    let (last, entry_sectors) = (sectors - 1, (ENTRIES * ENTRY) as u64 / SECTOR);
    let header = |own: u64, other: u64, entries_at: u64| {
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        for sector in [own, other, 2 + entry_sectors, last - entry_sectors - 1] {
            header.extend(sector.to_le_bytes());
        }
        header.extend(identifier(0));
        header.extend(entries_at.to_le_bytes());
        for word in [ENTRIES as u32, ENTRY as u32, crc32fast::hash(&entries)] {
            header.extend(word.to_le_bytes());
        }
        let sum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header.resize(SECTOR as usize, 0);
        header
    };
    let backup = last - entry_sectors;
    vec![
        (1, header(1, last, 2)),
        (2, entries.clone()),
        (backup, entries.clone()),
        (last, header(last, 1, backup)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_at_both_ends_with_their_sums() {
        let partition = Partition {
            kind: EFI_SYSTEM,
            id: 7,
            first: 2048,
            last: 4095,
            name: "tyn",
        };
        let tables = tables(&[partition], 8192);
        let places: Vec<_> = tables
            .iter()
            .map(|(at, bytes)| (*at, bytes.len()))
            .collect();
        assert_eq!(places, [(1, 512), (2, 16384), (8159, 16384), (8191, 512)]);
        for (at, bytes) in [&tables[0], &tables[3]] {
            let mut header = bytes[..92].to_vec();
            assert_eq!(&header[24..32], &at.to_le_bytes());
            let sum = u32::from_le_bytes(header[16..20].try_into().unwrap());
            header[16..20].fill(0);
            assert_eq!(crc32fast::hash(&header), sum);
        }
        assert_eq!(&tables[1].1[56..62], b"t\0y\0n\0");
        let mut sector = [0x11; 512];
        protect(&mut sector, 8192);
        assert_eq!(
            (sector[445], sector[450], &sector[510..]),
            (0x11, 0xee, &[0x55, 0xaa][..])
        );
    }
}
