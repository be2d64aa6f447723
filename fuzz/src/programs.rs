//! Programs: the kernel's reader of ELF files and of `#!` lines, the tool's of ELF and of `.beam` files.

use tyn_abi::{PAGE_SIZE, USER_END};
use tyn_elf::{Header, Image, script};
use tyn_release::beam::Beam;
use tyn_release::elf;

const PAGE: u64 = PAGE_SIZE as u64;

/// Reads a program; what is mapped must be whole pages of the user's.
pub(crate) fn elf(data: &[u8]) -> bool {
    // An error is as good.
    let _ = script::parse(data);
    let beam = Beam::parse(data);
    if let Some(beam) = &beam {
        let _ = beam.imports();
        assert!(
            Beam::parse(&beam.stripped()).is_some(),
            "it was stripped of too much"
        );
    }
    let is_useful = elf::needs(data).is_ok();
    planned(data) && is_useful || beam.is_some()
}

fn planned(data: &[u8]) -> bool {
    let Ok(header) = Header::parse(data) else {
        return false;
    };
    let start = usize::try_from(header.phoff).unwrap_or(usize::MAX);
    let Ok(image) = Image::parse(&header, data.get(start..).unwrap_or_default()) else {
        return false;
    };
    let (low, high) = image.span();
    assert!(low < high && high <= USER_END && image.break_start() == high);
    assert!(image.align.is_power_of_two() && image.align >= PAGE);
    for segment in &image.segments {
        let (start, file_end, end) = (segment.start, segment.file_end, segment.end);
        assert!(low <= start && start <= file_end && file_end <= end && end <= high);
        assert!(
            [start, file_end, end, segment.offset]
                .iter()
                .all(|at| at % PAGE == 0)
        );
        assert!(segment.memory_end <= end && segment.zero_from <= segment.memory_end);
        assert!(segment.offset.checked_add(file_end - start).is_some());
    }
    if let Some((offset, length)) = image.interpreter {
        assert!((2..=4096).contains(&length));
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = data.get(start..).and_then(|rest| rest.get(..length));
        let path = bytes.and_then(|bytes| Image::interpreter_path(bytes).ok());
        assert!(path.is_none_or(|path| !path.is_empty() && !path.contains(&0)));
    }
    true
}

/// Writes a program of a few segments, with what it needs.
pub(crate) fn program() -> Vec<u8> {
    let word = |n: u64| n.to_le_bytes();
    let (text, strings, dynamic, length) = (0x1c8, 0x200, 0x280, 0x400);
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    bytes.extend([word(text), word(0x40), word(0)].concat());
    bytes.extend([0, 0, 0, 0, 0x40, 0, 0x38, 0, 6, 0, 0x40, 0, 0, 0, 0, 0]);
    // Kind and flags, then offset, addresses, lengths and alignment.
    for (kind, flags, at, stored, memory, align) in [
        (6, 4, 0x40, 0x150, 0x150, 8),
        (3, 4, strings, 11, 11, 1),
        (1, 5, 0, length, length, 0x1000),
        (1, 6, dynamic, length - dynamic, 0x3000, 0x1000),
        (2, 6, dynamic, 0x60, 0x60, 8),
        (0x6474_e551_u32, 6, 0, 0, 0, 16),
    ] {
        bytes.extend([kind.to_le_bytes(), u32::to_le_bytes(flags)].concat());
        bytes.extend(
            [
                word(at),
                word(at),
                word(at),
                word(stored),
                word(memory),
                word(align),
            ]
            .concat(),
        );
    }
    let places = usize::try_from(strings).unwrap_or(0);
    bytes.resize(places, 0x90);
    bytes.extend(b"/lib/ld.so\0libc.so.6\0$ORIGIN/lib\0");
    bytes.resize(usize::try_from(dynamic).unwrap_or(0), 0);
    for (tag, value) in [(5, strings), (10, 0x40), (1, 11), (29, 21), (0, 0)] {
        bytes.extend([word(tag), word(value)].concat());
    }
    bytes.resize(usize::try_from(length).unwrap_or(0), 0);
    bytes
}

/// Writes a compiled module of a few chunks.
fn module() -> Vec<u8> {
    let mut chunks = b"BEAM".to_vec();
    let imports = [0_u32, 0, 0, 1, 1, 2, 3].map(u32::to_be_bytes).concat();
    for (name, data) in [
        (b"AtU8", &b"\0\0\0\x02\x01a\x05lists"[..]),
        (
            b"Code",
            &b"\0\0\0\x10\0\0\0\0\0\0\0\xaf\0\0\0\0\0\0\0\0\x03"[..],
        ),
        (b"ImpT", &imports[8..]),
        (b"Dbgi", &b"debug"[..]),
    ] {
        chunks.extend(name);
        chunks.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
        chunks.extend(data);
        chunks.resize(chunks.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(chunks.len()).unwrap_or(0).to_be_bytes();
    [&b"FOR1"[..], &length, &chunks].concat()
}

pub(crate) fn elf_seeds() -> Vec<Vec<u8>> {
    vec![program(), module()]
}
