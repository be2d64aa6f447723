//! Makes ELF files smaller: drops what only debuggers and linkers read.
//!
//! What a loader maps is described by the program headers; sections (`.debug_*`, `.symtab`) lie behind that as a rule, and go
//! with the table that names them, as `sstrip` does it. Symbols for `dlsym`, exceptions' tables and notes are within segments and
//! stay.

use std::fs;
use std::io;
use std::path::PathBuf;

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

use crate::limit;
use crate::tree::{Node, Source, Tree};

type Header = elf::FileHeader64<LittleEndian>;

/// Where the header has the place of the table of sections, and the size of its entries, their number, and which has the names.
const SECTIONS_AT: usize = 0x28;
const SECTIONS_ARE: usize = 0x3a;
const HEADER_LEN: usize = 0x40;

/// Returns the length of what is left of a program or library when that is dropped; `None` when it is no such file, holds no
/// symbols or debug information, or more than an ELF file behind it.
#[must_use]
pub(crate) fn stripped_len(bytes: &[u8]) -> Option<usize> {
    let endian = LittleEndian;
    let header = Header::parse(bytes).ok()?;
    if ![elf::ET_DYN, elf::ET_EXEC].contains(&header.e_type(endian)) {
        return None;
    }
    let sections = header.sections(endian, bytes).ok()?;
    let table = u64::from(header.e_shentsize(endian)) * u64::from(header.e_shnum(endian));
    let mut end = header.e_shoff(endian).checked_add(table)?;
    let mut is_worth_it = false;
    for section in sections.iter() {
        let name = sections.section_name(endian, section).ok()?;
        is_worth_it |= name.starts_with(b".debug_") || name == b".symtab";
        if let Some((at, len)) = section.file_range(endian) {
            end = end.max(at.checked_add(len)?);
        }
    }
    // What is behind that is for the program itself (an archive, say).
    if !is_worth_it || (bytes.len() as u64) > end.next_multiple_of(16) {
        return None;
    }
    let mut kept = HEADER_LEN as u64;
    for segment in header.program_headers(endian, bytes).ok()? {
        let (at, len) = segment.file_range(endian);
        kept = kept.max(at.checked_add(len)?);
    }
    usize::try_from(kept)
        .ok()
        .filter(|kept| *kept < bytes.len())
}

/// Drops it; `None` as above.
#[must_use]
pub(crate) fn stripped(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    bytes.truncate(stripped_len(&bytes)?);
    bytes.get_mut(SECTIONS_AT..SECTIONS_AT + 8)?.fill(0);
    bytes.get_mut(SECTIONS_ARE..HEADER_LEN)?.fill(0);
    Some(bytes)
}

/// What the files of a tree hold of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Symbols {
    /// Its bytes.
    pub(crate) bytes: u64,
    /// Who holds it, by path in the image, with as many bytes.
    pub(crate) files: Vec<(PathBuf, u64)>,
}

/// Finds all ELF files of this machine in a tree that hold it.
///
/// # Errors
/// The file that can't be read, and why.
pub(crate) fn find(tree: &Tree) -> Result<Symbols, (PathBuf, io::Error)> {
    let mut found = Symbols::default();
    for (path, node) in tree.iter() {
        let Node::File(_, Source::Path(file, size)) = node else {
            continue;
        };
        let bytes = read_elf(file).map_err(|error| (file.clone(), error))?;
        if let Some(left) = bytes.and_then(|bytes| stripped_len(&bytes)) {
            let dropped = size.saturating_sub(left as u64);
            found.bytes += dropped;
            found.files.push((path.to_path_buf(), dropped));
        }
    }
    Ok(found)
}

/// Drops it from these files of a tree.
///
/// # Errors
/// The file that can't be read, and why.
pub(crate) fn drop_from(tree: &mut Tree, symbols: &Symbols) -> Result<(), (PathBuf, io::Error)> {
    for (path, _) in &symbols.files {
        let Some(Node::File(mode, Source::Path(file, _))) = tree.get(path).cloned() else {
            continue;
        };
        let bytes = limit::read(&file).map_err(|error| (file.clone(), error))?;
        if let Some(small) = stripped(bytes) {
            let node = Node::File(mode, Source::Changed(small, file));
            // It is there already, as a file.
            let _ = tree.replace(path, node);
        }
    }
    Ok(())
}

/// Reads a file that begins as ELF files do.
fn read_elf(file: &PathBuf) -> io::Result<Option<Vec<u8>>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(4).read_to_end(&mut bytes)?;
    if !crate::elf::is_elf(&bytes) {
        return Ok(None);
    }
    limit::read(file).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn what_is_left_of_a_program_runs() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let small = stripped(own.clone()).unwrap();
        assert!(small.len() < own.len());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("small");
        fs::write(&file, &small).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let listed = Command::new(&file).arg("--list").output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(
            listed.contains("what_is_left_of_a_program_runs: test"),
            "{listed}"
        );
        assert_eq!(
            crate::elf::needs(&small).unwrap().libraries,
            crate::elf::needs(&own).unwrap().libraries
        );
        // Once is enough; and an archive behind it stays.
        assert_eq!(stripped(small), None);
        assert_eq!(stripped([own, vec![1; 100]].concat()), None);
    }

    #[test]
    fn others_are_left_alone() {
        // Distributions strip theirs.
        for file in ["/bin/true", "/etc/passwd"] {
            assert_eq!(stripped(fs::read(file).unwrap()), None);
        }
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in (0..2000).chain([own.len() / 2]) {
            let _ = stripped(own[..len].to_vec());
        }
    }
}
