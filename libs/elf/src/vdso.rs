//! The vDSO (`vdso(7)`): a shared object of one page that the kernel maps into every process and that the C library
//! takes functions from, found by `AT_SYSINFO_EHDR`.
//!
//! It is what Linux's is as far as a dynamic linker looks: one loadable segment, a dynamic section, a symbol table with
//! its hash table (`DT_HASH`), and the version `LINUX_2.6` that glibc and musl ask for. No section headers.

#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "lays out the kernel's own tables; nothing foreign is read"
    )
)]

use alloc::vec::Vec;

/// A function to export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function<'a> {
    /// Symbol name.
    pub name: &'a str,
    /// Offset in the code.
    pub offset: usize,
}

/// Name of the shared object.
const SONAME: &str = "linux-vdso.so.1";
/// Version of all symbols.
const VERSION: &str = "LINUX_2.6";

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const SYMBOL_BYTES: usize = 24;
const DYNAMIC_BYTES: usize = 16;
/// `Elf64_Verdef` with its one `Elf64_Verdaux`.
const VERDEF_BYTES: usize = 28;

/// The bytes of the image as they grow; all addresses are offsets in it.
#[derive(Debug, Default)]
struct Image(Vec<u8>);

impl Image {
    fn u8(&mut self, v: u8) {
        self.0.push(v);
    }

    fn u16(&mut self, v: u16) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    fn u32(&mut self, v: usize) {
        self.0.extend_from_slice(&(v as u32).to_le_bytes());
    }

    fn u64(&mut self, v: usize) {
        self.0.extend_from_slice(&(v as u64).to_le_bytes());
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
}

/// Where things lie in the image.
#[derive(Clone, Copy, Debug)]
struct Plan {
    dynamic: usize,
    hash: usize,
    symbols: usize,
    versions: usize,
    definitions: usize,
    strings: usize,
    strings_len: usize,
    text: usize,
    len: usize,
}

/// Number of dynamic entries, with the last, empty one.
const DYNAMIC_COUNT: usize = 10;

/// Builds the image: headers and tables, then `code` at `text_offset`. `None` when the tables do not fit before it.
#[must_use]
pub fn build(code: &[u8], text_offset: usize, functions: &[Function<'_>]) -> Option<Vec<u8>> {
    // The first string is empty, as a string table's must be.
    let mut strings = alloc::vec![0u8];
    let mut intern = |s: &str| {
        let at = strings.len();
        strings.extend_from_slice(s.as_bytes());
        strings.push(0);
        at
    };
    let soname = intern(SONAME);
    let version = intern(VERSION);
    let names: Vec<usize> = functions.iter().map(|f| intern(f.name)).collect();

    let count = functions.len() + 1;
    let dynamic = HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;
    let symbols = dynamic + DYNAMIC_COUNT * DYNAMIC_BYTES;
    let hash = symbols + count * SYMBOL_BYTES;
    let definitions = hash + 4 * (2 + 1 + count);
    let versions = definitions + 2 * VERDEF_BYTES;
    let strings_at = versions + 2 * count;
    let plan = Plan {
        dynamic,
        hash,
        symbols,
        versions,
        definitions,
        strings: strings_at,
        strings_len: strings.len(),
        text: text_offset,
        len: text_offset.checked_add(code.len())?,
    };
    if strings_at + strings.len() > text_offset {
        return None;
    }

    let mut image = Image::default();
    put_headers(&mut image, &plan);
    put_dynamic(&mut image, &plan, soname);
    put_symbols(&mut image, &plan, functions, &names);
    put_hash(&mut image, functions);
    put_definitions(&mut image, soname, version);
    // Versions: local for the empty symbol, LINUX_2.6 for all others.
    for i in 0..count {
        image.u16(if i == 0 { 0 } else { 2 });
    }
    image.0.extend_from_slice(&strings);
    image.align(text_offset);
    image.0.extend_from_slice(code);
    Some(image.0)
}

fn put_headers(image: &mut Image, plan: &Plan) {
    const ET_DYN: u16 = 3;
    const EM_X86_64: u16 = 62;
    image.0.extend_from_slice(b"\x7fELF");
    for v in [2, 1, 1, 0] {
        image.u8(v); // 64-bit, little-endian, version 1, System V
    }
    image.u64(0);
    image.u16(ET_DYN);
    image.u16(EM_X86_64);
    image.u32(1); // e_version
    image.u64(0); // e_entry
    image.u64(HEADER_BYTES); // e_phoff
    image.u64(0); // e_shoff
    image.u32(0); // e_flags
    image.u16(HEADER_BYTES as u16);
    image.u16(PROGRAM_HEADER_BYTES as u16);
    for v in [2, 64, 0, 0] {
        image.u16(v); // e_phnum, e_shentsize, e_shnum, e_shstrndx
    }
    const PT_LOAD: usize = 1;
    const PT_DYNAMIC: usize = 2;
    const READ: usize = 4;
    const READ_EXECUTE: usize = 5;
    let dynamic_len = DYNAMIC_COUNT * DYNAMIC_BYTES;
    for (kind, flags, at, len, align) in [
        (PT_LOAD, READ_EXECUTE, 0, plan.len, 4096),
        (PT_DYNAMIC, READ, plan.dynamic, dynamic_len, 8),
    ] {
        image.u32(kind);
        image.u32(flags);
        for v in [at, at, at, len, len, align] {
            image.u64(v); // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        }
    }
}

fn put_dynamic(image: &mut Image, plan: &Plan, soname: usize) {
    const DT_NULL: usize = 0;
    const DT_HASH: usize = 4;
    const DT_STRTAB: usize = 5;
    const DT_SYMTAB: usize = 6;
    const DT_STRSZ: usize = 10;
    const DT_SYMENT: usize = 11;
    const DT_SONAME: usize = 14;
    const DT_VERSYM: usize = 0x6fff_fff0;
    const DT_VERDEF: usize = 0x6fff_fffc;
    const DT_VERDEFNUM: usize = 0x6fff_fffd;
    let entries: [(usize, usize); DYNAMIC_COUNT] = [
        (DT_SONAME, soname),
        (DT_HASH, plan.hash),
        (DT_STRTAB, plan.strings),
        (DT_SYMTAB, plan.symbols),
        (DT_STRSZ, plan.strings_len),
        (DT_SYMENT, SYMBOL_BYTES),
        (DT_VERDEF, plan.definitions),
        (DT_VERDEFNUM, 2),
        (DT_VERSYM, plan.versions),
        (DT_NULL, 0),
    ];
    for (tag, value) in entries {
        image.u64(tag);
        image.u64(value);
    }
}

fn put_symbols(image: &mut Image, plan: &Plan, functions: &[Function<'_>], names: &[usize]) {
    const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
    /// Any section index but 0 means that the symbol is defined.
    const DEFINED: u16 = 1;
    image.0.resize(image.0.len() + SYMBOL_BYTES, 0);
    for (i, (function, &name)) in functions.iter().zip(names).enumerate() {
        let end = functions
            .get(i + 1)
            .map_or(plan.len - plan.text, |f| f.offset);
        image.u32(name);
        image.u8(GLOBAL_FUNCTION);
        image.u8(0);
        image.u16(DEFINED);
        image.u64(plan.text + function.offset);
        image.u64(end.saturating_sub(function.offset));
    }
}

/// Writes the hash table: one bucket, whose chain runs through all symbols.
fn put_hash(image: &mut Image, functions: &[Function<'_>]) {
    let count = functions.len() + 1;
    image.u32(1);
    image.u32(count);
    image.u32(usize::from(!functions.is_empty()));
    for i in 0..count {
        let is_linked = i > 0 && i + 1 < count;
        image.u32(if is_linked { i + 1 } else { 0 });
    }
}

fn put_definitions(image: &mut Image, soname: usize, version: usize) {
    const BASE: u16 = 1;
    let definitions = [(BASE, 1, SONAME, soname), (0, 2, VERSION, version)];
    for (i, (flags, index, text, name)) in definitions.into_iter().enumerate() {
        image.u16(1); // vd_version
        image.u16(flags);
        image.u16(index);
        image.u16(1); // vd_cnt
        image.u32(elf_hash(text));
        image.u32(20); // vd_aux: right behind
        image.u32(if i == 0 { VERDEF_BYTES } else { 0 });
        image.u32(name);
        image.u32(0); // vda_next
    }
}

/// The hash function of the System V ABI.
fn elf_hash(name: &str) -> usize {
    name.bytes().fold(0u32, |h, byte| {
        let h = (h << 4).wrapping_add(u32::from(byte));
        let high = h & 0xf000_0000;
        (h ^ high >> 24) & !high
    }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{u16_at, u32_at, u64_at};
    use alloc::string::String;

    const CODE: [u8; 40] = [0xc3; 40];

    fn image() -> Vec<u8> {
        let functions = [
            Function {
                name: "__vdso_clock_gettime",
                offset: 0,
            },
            Function {
                name: "__vdso_time",
                offset: 16,
            },
        ];
        build(&CODE, 0x800, &functions).unwrap()
    }

    fn string(image: &[u8], at: usize) -> String {
        let end = image[at..].iter().position(|&b| b == 0).unwrap();
        String::from_utf8(image[at..at + end].to_vec()).unwrap()
    }

    fn dynamic(image: &[u8], tag: u64) -> Option<usize> {
        let at = u64_at(image, 64 + 56 + 8).unwrap() as usize;
        (0..DYNAMIC_COUNT)
            .map(|i| at + i * 16)
            .find(|&e| u64_at(image, e) == Some(tag))
            .map(|e| u64_at(image, e + 8).unwrap() as usize)
    }

    /// Looks a symbol up as a dynamic linker does: hash table, name, version.
    fn lookup(image: &[u8], name: &str, version: &str) -> Option<u64> {
        let hash = dynamic(image, 4)?;
        let strings = dynamic(image, 5)?;
        let symbols = dynamic(image, 6)?;
        let versions = dynamic(image, 0x6fff_fff0)?;
        let buckets = u32_at(image, hash)? as usize;
        let bucket = elf_hash(name) % buckets;
        let mut index = u32_at(image, hash + 8 + 4 * bucket)? as usize;
        while index != 0 {
            let symbol = symbols + 24 * index;
            let its_name = string(image, strings + u32_at(image, symbol)? as usize);
            let its_version = u16_at(image, versions + 2 * index)?;
            if its_name == name && version_name(image, its_version)? == version {
                return u64_at(image, symbol + 8);
            }
            index = u32_at(image, hash + 8 + 4 * buckets + 4 * index)? as usize;
        }
        None
    }

    fn version_name(image: &[u8], index: u16) -> Option<String> {
        let strings = dynamic(image, 5)?;
        let mut at = dynamic(image, 0x6fff_fffc)?;
        for _ in 0..dynamic(image, 0x6fff_fffd)? {
            if u16_at(image, at + 4)? == index {
                let name = u32_at(image, at + 20)? as usize;
                let name = string(image, strings + name);
                assert_eq!(u32_at(image, at + 8)? as usize, elf_hash(&name));
                return Some(name);
            }
            at += u32_at(image, at + 16)? as usize;
        }
        None
    }

    #[test]
    fn image_is_a_shared_object_that_our_own_parser_accepts() {
        let image = image();
        let header = crate::Header::parse(&image).unwrap();
        let parsed = crate::Image::parse(&header, &image[64..64 + header.table_len()]).unwrap();
        assert_eq!(parsed.segments.len(), 1);
        assert!(parsed.segments[0].execute && !parsed.segments[0].write);
        assert_eq!(image.len(), 0x800 + CODE.len());
        assert_eq!(&image[0x800..], CODE);
    }

    #[test]
    fn symbols_are_found_by_hash_name_and_version() {
        let image = image();
        assert_eq!(
            lookup(&image, "__vdso_clock_gettime", "LINUX_2.6"),
            Some(0x800)
        );
        assert_eq!(lookup(&image, "__vdso_time", "LINUX_2.6"), Some(0x810));
        assert_eq!(lookup(&image, "__vdso_time", "LINUX_5"), None);
        assert_eq!(lookup(&image, "__vdso_getcpu", "LINUX_2.6"), None);
    }

    #[test]
    fn hash_is_the_one_that_glibc_knows_the_version_by() {
        // `dl_vdso_vsym` of glibc: LINUX_2.6, 61765110.
        assert_eq!(elf_hash("LINUX_2.6"), 61_765_110);
    }

    #[test]
    fn tables_that_do_not_fit_before_the_code_are_refused() {
        let function = Function {
            name: "f",
            offset: 0,
        };
        assert!(build(&CODE, 0x100, &[function]).is_none());
        assert!(build(&CODE, 0x800, &[function; 100]).is_none());
    }
}
