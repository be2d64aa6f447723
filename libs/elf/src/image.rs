//! The load plan: what to map where (`Elf64_Phdr` of `elf(5)`, Linux's `fs/binfmt_elf.c`).

use crate::fields::{u32_at, u64_at};
use crate::{ElfError, Header, Kind};
use alloc::vec::Vec;
use tyn_abi::{PAGE_SIZE, USER_END};

const PAGE: u64 = PAGE_SIZE as u64;
const PATH_MAX: u64 = 4096;

/// One `PT_LOAD` segment, rounded to pages. Addresses are before relocation.
///
/// `[start, file_end)` maps the file from `offset`; `[file_end, end)` is anonymous; the bytes from `zero_from` to
/// `file_end` are to be zeroed when the segment is writable (the first part of `.bss` shares a page with `.data`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// First address; page-aligned.
    pub start: u64,
    /// End of the file-backed pages; page-aligned, `start` when there are none.
    pub file_end: u64,
    /// End of the segment; page-aligned.
    pub end: u64,
    /// File offset of `start`; page-aligned.
    pub offset: u64,
    /// First byte that is not from the file.
    pub zero_from: u64,
    /// First byte past the segment, not rounded.
    pub memory_end: u64,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

/// A checked program: its load plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Placement.
    pub kind: Kind,
    /// Entry point, before relocation.
    pub entry: u64,
    /// Loadable segments in file order (a later one replaces an earlier one where they overlap), at least one.
    pub segments: Vec<Segment>,
    /// File offset and length of the interpreter's path, including its NUL.
    pub interpreter: Option<(u64, usize)>,
    /// Whether the stack is to be executable: `PT_GNU_STACK` says so (its absence does not, as on x86-64 Linux).
    pub executable_stack: bool,
    /// Address of the program header table in memory, before relocation; `None` when no segment holds it.
    pub phdr: Option<u64>,
    /// Number of program headers.
    pub phnum: u16,
    /// Largest `p_align` of the loadable segments, at least a page: the load address's alignment.
    pub align: u64,
}

impl Image {
    /// Reads the program header table (`table` holds [`Header::table_len`] bytes from file offset [`Header::phoff`]).
    ///
    /// # Errors
    /// The [`ElfError`] that names what is wrong.
    pub fn parse(header: &Header, table: &[u8]) -> Result<Self, ElfError> {
        const PT_LOAD: u32 = 1;
        const PT_INTERP: u32 = 3;
        const PT_PHDR: u32 = 6;
        const PT_GNU_STACK: u32 = 0x6474_e551;
        const PF_X: u32 = 1;

        let table = table
            .get(..header.table_len())
            .ok_or(ElfError::BadProgramHeaders)?;
        let mut image = Self {
            kind: header.kind,
            entry: header.entry,
            segments: Vec::new(),
            interpreter: None,
            executable_stack: false,
            phdr: None,
            phnum: header.phnum,
            align: PAGE,
        };
        let mut declared = None;
        for entry in table.chunks_exact(Header::PHENT) {
            let ph = ProgramHeader::parse(entry).ok_or(ElfError::BadProgramHeaders)?;
            match ph.kind {
                PT_LOAD => image.add_segment(header, &ph)?,
                PT_INTERP if image.interpreter.is_none() => {
                    if ph.file_len < 2 || ph.file_len > PATH_MAX {
                        return Err(ElfError::BadInterpreter);
                    }
                    image.interpreter = Some((ph.offset, ph.file_len as usize));
                }
                PT_PHDR => declared = Some(ph.va),
                PT_GNU_STACK => image.executable_stack = ph.flags & PF_X != 0,
                _ => {}
            }
        }
        if image.segments.is_empty() {
            return Err(ElfError::NothingToLoad);
        }
        image.phdr = declared.or(image.phdr);
        Ok(image)
    }

    /// Extracts the interpreter's path from the bytes that [`Image::interpreter`] names.
    ///
    /// # Errors
    /// [`ElfError::BadInterpreter`] when it does not end with a NUL.
    pub fn interpreter_path(bytes: &[u8]) -> Result<&[u8], ElfError> {
        match bytes.split_last() {
            Some((0, _)) => {}
            _ => return Err(ElfError::BadInterpreter),
        }
        let path = bytes.split(|&b| b == 0).next().unwrap_or_default();
        if path.is_empty() {
            Err(ElfError::BadInterpreter)
        } else {
            Ok(path)
        }
    }

    /// Returns the lowest and highest page address of all segments, before relocation.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        let low = self.segments.iter().map(|s| s.start).min().unwrap_or(0);
        let high = self.segments.iter().map(|s| s.end).max().unwrap_or(0);
        (low, high)
    }

    /// Returns where the program break starts: the end of the highest segment, before relocation, page-aligned.
    #[must_use]
    pub fn break_start(&self) -> u64 {
        self.span().1
    }

    /// Adds a `PT_LOAD` header to the plan.
    ///
    /// # Errors
    /// [`ElfError::BadSegment`].
    fn add_segment(&mut self, header: &Header, ph: &ProgramHeader) -> Result<(), ElfError> {
        let Some(segment) = ph.segment()? else {
            return Ok(());
        };
        let in_file = header.phoff.checked_sub(ph.offset);
        if let Some(delta) = in_file.filter(|&d| d < ph.file_len)
            && self.phdr.is_none()
        {
            self.phdr = ph.va.checked_add(delta);
        }
        if ph.align.is_power_of_two() && ph.align < USER_END {
            self.align = self.align.max(ph.align);
        }
        self.segments.push(segment);
        Ok(())
    }
}

struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    va: u64,
    file_len: u64,
    memory_len: u64,
    align: u64,
}

impl ProgramHeader {
    fn parse(b: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u32_at(b, 0)?,
            flags: u32_at(b, 4)?,
            offset: u64_at(b, 8)?,
            va: u64_at(b, 16)?,
            file_len: u64_at(b, 32)?,
            memory_len: u64_at(b, 40)?,
            align: u64_at(b, 48)?,
        })
    }

    /// Rounds a `PT_LOAD` header to pages; `None` when it is empty. Linux notices some of these contradictions only
    /// after the old program is gone and kills the process; here all of them are errors of `execve`.
    ///
    /// # Errors
    /// [`ElfError::BadSegment`].
    fn segment(&self) -> Result<Option<Segment>, ElfError> {
        if self.memory_len == 0 {
            return if self.file_len == 0 {
                Ok(None)
            } else {
                Err(ElfError::BadSegment)
            };
        }
        let memory_end = self
            .va
            .checked_add(self.memory_len)
            .filter(|&end| end <= USER_END);
        let memory_end = memory_end.ok_or(ElfError::BadSegment)?;
        let in_page = self.va % PAGE;
        // `offset` may be anything when no byte comes from the file.
        let congruent = self.file_len == 0 || self.offset % PAGE == in_page;
        let file_fits = self.offset.checked_add(self.file_len).is_some();
        if self.file_len > self.memory_len || !congruent || !file_fits {
            return Err(ElfError::BadSegment);
        }
        let start = self.va.saturating_sub(in_page);
        let zero_from = self.va.saturating_add(self.file_len);
        let file_end = if self.file_len == 0 {
            start
        } else {
            page_up(zero_from)
        };
        Ok(Some(Segment {
            start,
            file_end,
            end: page_up(memory_end),
            offset: self.offset.saturating_sub(self.offset % PAGE),
            zero_from,
            memory_end,
            read: self.flags & 4 != 0,
            write: self.flags & 2 != 0,
            execute: self.flags & 1 != 0,
        }))
    }
}

/// Rounds up to a page; the callers' addresses are at most `USER_END`, itself page-aligned.
fn page_up(va: u64) -> u64 {
    va.checked_next_multiple_of(PAGE).unwrap_or(USER_END)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// Writes small ELF files.
    pub(crate) struct ElfBuilder {
        kind: u16,
        entry: u64,
        headers: Vec<[u64; 7]>,
    }

    impl ElfBuilder {
        pub(crate) fn new(kind: u16) -> Self {
            Self {
                kind,
                entry: 0,
                headers: Vec::new(),
            }
        }

        pub(crate) fn entry(mut self, entry: u64) -> Self {
            self.entry = entry;
            self
        }

        pub(crate) fn header(mut self, kind: u64, fields: [u64; 6]) -> Self {
            let [flags, offset, va, file, memory, align] = fields;
            self.headers
                .push([kind, flags, offset, va, file, memory, align]);
            self
        }

        pub(crate) fn load(self, offset: u64, va: u64, file: u64, memory: u64, flags: u64) -> Self {
            self.header(1, [flags, offset, va, file, memory, 0x1000])
        }

        pub(crate) fn build(&self) -> Vec<u8> {
            let mut out = vec![0; 64];
            out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
            out[16..18].copy_from_slice(&self.kind.to_le_bytes());
            out[18..20].copy_from_slice(&62u16.to_le_bytes());
            out[20..24].copy_from_slice(&1u32.to_le_bytes());
            out[24..32].copy_from_slice(&self.entry.to_le_bytes());
            out[32..40].copy_from_slice(&64u64.to_le_bytes());
            out[54..56].copy_from_slice(&56u16.to_le_bytes());
            out[56..58].copy_from_slice(&(self.headers.len() as u16).to_le_bytes());
            for &[kind, flags, offset, va, file, memory, align] in &self.headers {
                out.extend((kind as u32).to_le_bytes());
                out.extend((flags as u32).to_le_bytes());
                for field in [offset, va, va, file, memory, align] {
                    out.extend(field.to_le_bytes());
                }
            }
            out
        }

        fn image(&self) -> Result<Image, ElfError> {
            let file = self.build();
            Image::parse(&Header::parse(&file)?, &file[64..])
        }
    }

    #[test]
    fn bss_is_split_at_the_page_after_the_file_bytes() {
        let image = ElfBuilder::new(3)
            .load(0, 0, 0x2345, 0x2345, 5)
            .load(0x2e10, 0x4e10, 0x300, 0x2400, 6)
            .image()
            .unwrap();
        let [text, data] = image.segments[..] else {
            panic!("two segments")
        };
        assert_eq!((text.start, text.file_end, text.end), (0, 0x3000, 0x3000));
        assert!(text.read && text.execute && !text.write);
        assert_eq!(
            (data.start, data.file_end, data.end),
            (0x4000, 0x6000, 0x8000)
        );
        assert_eq!(
            (data.offset, data.zero_from, data.memory_end),
            (0x2000, 0x5110, 0x7210)
        );
        assert!(data.read && data.write && !data.execute);
        assert_eq!(image.span(), (0, 0x8000));
        assert_eq!(image.break_start(), 0x8000);
        assert_eq!(image.phdr, Some(64));
    }

    #[test]
    fn pure_bss_maps_nothing_of_the_file() {
        let image = ElfBuilder::new(3)
            .load(0, 0, 0x10, 0x10, 5)
            .load(0x777, 0x5010, 0, 0x20, 6)
            .image()
            .unwrap();
        let bss = image.segments[1];
        assert_eq!((bss.start, bss.file_end, bss.end), (0x5000, 0x5000, 0x6000));
    }

    #[test]
    fn other_headers_are_understood() {
        let image = ElfBuilder::new(3)
            .header(6, [4, 64, 0x40, 224, 224, 8])
            .header(3, [4, 0x200, 0x200, 28, 28, 1])
            .load(0, 0, 0x1000, 0x1000, 4)
            .header(1, [5, 0x20_0000, 0x20_0000, 0x1000, 0x1000, 0x20_0000])
            .header(0x6474_e551, [7, 0, 0, 0, 0, 16])
            .image()
            .unwrap();
        assert_eq!(image.interpreter, Some((0x200, 28)));
        assert_eq!(image.phdr, Some(0x40));
        assert_eq!(image.align, 0x20_0000);
        assert!(image.executable_stack);
        assert_eq!(image.phnum, 5);
    }

    #[test]
    fn phdr_outside_every_segment_is_unknown() {
        let image = ElfBuilder::new(2)
            .load(0x1000, 0x40_1000, 0x10, 0x10, 5)
            .image()
            .unwrap();
        assert_eq!(image.phdr, None);
    }

    #[test]
    fn contradictions_are_refused() {
        let one = |offset, va, file, memory| {
            ElfBuilder::new(2)
                .load(offset, va, file, memory, 5)
                .image()
                .map(|_| ())
        };
        assert_eq!(one(0, 0, 0x20, 0x10), Err(ElfError::BadSegment));
        assert_eq!(one(0x10, 0x20, 0x10, 0x10), Err(ElfError::BadSegment));
        assert_eq!(one(0, USER_END, 0, 1), Err(ElfError::BadSegment));
        assert_eq!(
            one(0, u64::MAX - 0xfff, 0x1000, 0x1000),
            Err(ElfError::BadSegment)
        );
        assert_eq!(
            one(u64::MAX - 0xfff, 0, 0x1000, 0x1000),
            Err(ElfError::BadSegment)
        );
        assert_eq!(one(0, 0, 1, 0), Err(ElfError::BadSegment));
        assert_eq!(one(0, 0, 0, 0), Err(ElfError::NothingToLoad));
        assert_eq!(one(0, USER_END - 0x1000, 0x1000, 0x1000), Ok(()));
        let no_load = ElfBuilder::new(3).header(4, [4, 0, 0, 1, 1, 1]).image();
        assert_eq!(no_load, Err(ElfError::NothingToLoad));
        for len in [0, 1, 4097] {
            let image = ElfBuilder::new(3).header(3, [4, 0, 0, len, len, 1]).image();
            assert_eq!(image, Err(ElfError::BadInterpreter));
        }
        let header = Header {
            kind: Kind::Fixed,
            entry: 0,
            phoff: 64,
            phnum: 2,
        };
        assert_eq!(
            Image::parse(&header, &[0; 56]),
            Err(ElfError::BadProgramHeaders)
        );
    }

    #[test]
    fn interpreter_path_ends_at_its_nul() {
        assert_eq!(
            Image::interpreter_path(b"/lib/ld.so\0"),
            Ok(&b"/lib/ld.so"[..])
        );
        assert_eq!(Image::interpreter_path(b"/lib\0ld.so\0"), Ok(&b"/lib"[..]));
        for bad in [&b"/lib/ld.so"[..], b"", b"\0"] {
            assert_eq!(Image::interpreter_path(bad), Err(ElfError::BadInterpreter));
        }
    }

    #[test]
    fn this_test_program_itself_has_a_sound_plan() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        let header = Header::parse(&file).unwrap();
        let table = &file[header.phoff as usize..][..header.table_len()];
        let image = Image::parse(&header, table).unwrap();
        let (at, len) = image.interpreter.unwrap();
        let path = Image::interpreter_path(&file[at as usize..][..len]).unwrap();
        assert!(path.starts_with(b"/lib"));
        let (low, high) = image.span();
        assert!((low..high).contains(&image.entry));
        assert_eq!(image.phdr, Some(header.phoff));
        assert!(!image.executable_stack);
        assert!(image.segments.iter().any(|s| s.execute && !s.write));
    }

    extern crate std;

    proptest! {
        #[test]
        fn any_header_bytes_give_a_plan_or_an_error(mut file in proptest::collection::vec(any::<u8>(), 64..400)) {
            file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
            file[16..24].copy_from_slice(&[3, 0, 62, 0, 1, 0, 0, 0]);
            let count = ((file.len() - 64) / 56).max(1) as u8;
            file[54..58].copy_from_slice(&[56, 0, count, 0]);
            let header = Header::parse(&file).unwrap();
            let _ = Image::parse(&header, &file[64..]);
        }

        #[test]
        fn segments_are_page_aligned_and_ordered(
            fields in proptest::collection::vec((any::<u16>(), 0u64..1 << 48, any::<u16>(), any::<u16>()), 1..4)
        ) {
            let mut elf = ElfBuilder::new(3);
            for (offset, va, file, memory) in fields {
                let offset = u64::from(offset) * 0x1000 + va % 0x1000;
                elf = elf.load(offset, va, file.into(), memory.into(), 7);
            }
            if let Ok(image) = elf.image() {
                for s in &image.segments {
                    prop_assert!(s.start % 0x1000 == 0 && s.file_end % 0x1000 == 0 && s.end % 0x1000 == 0);
                    prop_assert!(s.offset % 0x1000 == 0);
                    prop_assert!(s.start <= s.file_end && s.file_end <= s.end && s.end <= USER_END);
                    prop_assert!(s.memory_end <= s.end && s.memory_end > s.start);
                }
            }
        }
    }
}
