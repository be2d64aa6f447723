//! A kernel of a few bytes, for tests of machines with QEMU itself. Tests of the tool share this file.

/// An ELF file with a PVH note, whose code reports `text` at port 0xE9 and then writes to `isa-debug-exit`, or halts.
pub(crate) fn kernel(text: &str, is_halting: bool) -> Vec<u8> {
    kernel_that_writes("", text, is_halting)
}

/// The same, which writes `console` on its first serial port before.
pub(crate) fn kernel_that_writes(console: &str, text: &str, is_halting: bool) -> Vec<u8> {
    // For each: mov esi, TEXT; mov ecx, LENGTH; mov dx, PORT; rep outsb.
    // Then: (mov dx, 0x501; out dx, al); cli; 1: hlt; jmp 1b
    let end: &[u8] = match is_halting {
        true => &[0xfa, 0xf4, 0xeb, 0xfd],
        false => &[0x66, 0xba, 0x01, 0x05, 0xee, 0xfa, 0xf4, 0xeb, 0xfd],
    };
    let base: u32 = 0x20_0000;
    let start = base + 0x1000;
    let mut at = start + u32::try_from(2 * 16 + end.len()).unwrap();
    let mut code = Vec::new();
    for (port, text) in [(0x3f8u16, console), (0xe9, text)] {
        let length = u32::try_from(text.len()).unwrap();
        code.push(0xbe);
        code.extend(at.to_le_bytes());
        code.push(0xb9);
        code.extend(length.to_le_bytes());
        code.extend([0x66, 0xba]);
        code.extend(port.to_le_bytes());
        code.extend([0xf3, 0x6e]);
        at += length;
    }
    code.extend(end);
    code.extend(console.as_bytes());
    code.extend(text.as_bytes());
    // Note: name "Xen", type XEN_ELFNOTE_PHYS32_ENTRY (18), the entry's address.
    let mut note = Vec::new();
    for word in [4u32, 4, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(start.to_le_bytes());

    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend(u64::from(start).to_le_bytes());
    elf.extend(64u64.to_le_bytes());
    elf.extend([0; 12]);
    for half in [64u16, 56, 2, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let mut segment = |kind: u32, offset: u64, address: u64, length: usize, align: u64| {
        elf.extend(kind.to_le_bytes());
        elf.extend(7u32.to_le_bytes());
        let length = length as u64;
        for word in [offset, address, address, length, length, align] {
            elf.extend(word.to_le_bytes());
        }
    };
    segment(1, 0x1000, u64::from(start), code.len(), 0x1000);
    segment(4, 0x800, 0, note.len(), 4);
    elf.resize(0x800, 0);
    elf.extend(note);
    elf.resize(0x1000, 0);
    elf.extend(code);
    elf
}
