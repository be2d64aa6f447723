//! What an ELF file needs from others: its interpreter and its shared libraries.

use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{LittleEndian, StringTable};

type Header = elf::FileHeader64<LittleEndian>;

/// The needs of one ELF file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// The dynamic loader (`PT_INTERP`); libraries usually name none.
    pub interpreter: Option<String>,
    /// Shared libraries (`DT_NEEDED`), in order.
    pub libraries: Vec<String>,
    /// Folders where they are looked for first (`DT_RUNPATH`, else `DT_RPATH`); may begin with `$ORIGIN`.
    pub search: Vec<String>,
    /// The newest version of glibc that its symbols are of (`GLIBC_2.38`), those that it needs and those that it has.
    pub glibc: Glibc,
}

/// Versions of glibc, major and minor number; (0, 0) for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Glibc {
    /// That a file needs.
    pub needed: (u32, u32),
    /// That a file, a C library, has.
    pub defined: (u32, u32),
}

/// Why a file is of no use to an x86-64 guest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ElfError {
    /// It doesn't begin with an ELF header.
    #[error("is not an ELF file")]
    NotElf,
    /// It is for another processor.
    #[error("is built for {0}, but Tyn runs x86-64 programs; build the release on or for x86-64")]
    Machine(String),
    /// Its headers contradict themselves.
    #[error("is a damaged ELF file ({0}); build or install it again")]
    Damaged(String),
}

/// Returns whether a file that begins with these bytes is an ELF file.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// Reads what an ELF file needs.
///
/// # Errors
/// [`ElfError`] when it isn't a sound x86-64 ELF file.
pub fn needs(bytes: &[u8]) -> Result<Needs, ElfError> {
    if !is_elf(bytes) {
        return Err(ElfError::NotElf);
    }
    check_machine(bytes)?;
    let damaged = |error: object::Error| ElfError::Damaged(error.to_string());
    let endian = LittleEndian;
    let header = Header::parse(bytes).map_err(damaged)?;
    let mut needs = Needs::default();
    let segments = header.program_headers(endian, bytes).map_err(damaged)?;
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, bytes).map_err(damaged)? {
            needs.interpreter = Some(text(path));
        }
    }
    let mut dynamic: &[elf::Dyn64<LittleEndian>] = &[];
    for segment in segments {
        dynamic = segment
            .dynamic(endian, bytes)
            .map_err(damaged)?
            .unwrap_or(dynamic);
    }
    let value = |tag: elf::DynamicTag| {
        dynamic
            .iter()
            .find(|d| d.tag(endian) == tag)
            .map(|d| d.d_val(endian))
    };
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
        return Ok(needs);
    };
    let strings = segments
        .iter()
        .find_map(|s| s.data_range(endian, bytes, address, size).ok().flatten())
        .ok_or_else(|| ElfError::Damaged("its string table lies outside".into()))?;
    let strings = StringTable::new(strings, 0, size);
    let string = |entry: &elf::Dyn64<LittleEndian>| {
        entry
            .string(endian, strings)
            .map(text)
            .map_err(|e| ElfError::Damaged(e.to_string()))
    };
    let mut rpath = Vec::new();
    for entry in dynamic {
        match entry.tag(endian) {
            elf::DT_NEEDED => needs.libraries.push(string(entry)?),
            elf::DT_RUNPATH => needs.search = folders(&string(entry)?),
            elf::DT_RPATH => rpath = folders(&string(entry)?),
            elf::DT_NULL => break,
            _ => {}
        }
    }
    if needs.search.is_empty() {
        needs.search = rpath;
    }
    // Without section headers nothing can be said; then nothing is.
    needs.glibc = glibc(header, bytes).unwrap_or_default();
    Ok(needs)
}

/// Reads the versions of symbols.
fn glibc(header: &Header, bytes: &[u8]) -> object::Result<Glibc> {
    let endian = LittleEndian;
    let sections = header.sections(endian, bytes)?;
    let mut found = Glibc::default();
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((_, mut versions)) = needs.next()? {
            while let Some(version) = versions.next()? {
                let name = version.name(endian, strings)?;
                found.needed = found.needed.max(glibc_version(name));
            }
        }
    }
    if let Some((mut defined, link)) = sections.gnu_verdef(endian, bytes)? {
        let strings = sections.strings(endian, bytes, link)?;
        while let Some((_, mut names)) = defined.next()? {
            if let Some(version) = names.next()? {
                let name = version.name(endian, strings)?;
                found.defined = found.defined.max(glibc_version(name));
            }
        }
    }
    Ok(found)
}

fn glibc_version(name: &[u8]) -> (u32, u32) {
    let name = String::from_utf8_lossy(name);
    let mut numbers = name.strip_prefix("GLIBC_").unwrap_or_default().split('.');
    let mut number = || numbers.next().and_then(|number| number.parse().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor),
        _ => (0, 0),
    }
}

fn check_machine(bytes: &[u8]) -> Result<(), ElfError> {
    // e_ident[EI_CLASS], e_ident[EI_DATA], e_machine: the same place in all ELF files.
    let field = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let machine = u16::from_le_bytes([field(18), field(19)]);
    let kind = (
        elf::FileClass(field(4)),
        elf::DataEncoding(field(5)),
        elf::Machine(machine),
    );
    match kind {
        (elf::ELFCLASS64, elf::ELFDATA2LSB, elf::EM_X86_64) => Ok(()),
        (_, _, elf::EM_AARCH64) => Err(ElfError::Machine("64-bit ARM".into())),
        (_, _, elf::EM_386) => Err(ElfError::Machine("32-bit x86".into())),
        (_, _, elf::EM_ARM) => Err(ElfError::Machine("32-bit ARM".into())),
        (_, _, elf::EM_RISCV) => Err(ElfError::Machine("RISC-V".into())),
        (elf::ELFCLASS32, _, elf::EM_X86_64) => Err(ElfError::Machine("x32".into())),
        (_, _, other) => Err(ElfError::Machine(format!("ELF machine {}", other.0))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folders(path: &str) -> Vec<String> {
    path.split(':')
        .filter(|p| !p.is_empty())
        .map(str::to_owned)
        .collect()
}
