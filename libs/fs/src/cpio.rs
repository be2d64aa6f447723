//! Reader of cpio "newc" archives (`cpio(5)`, Linux's `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Names and data are borrowed from the archive. Several archives may follow one another, with NUL padding between
//! them; hard-link groups do not reach from one into the next ([`Entry::archive`] tells them apart). Names may be
//! padded with NUL bytes, which is how data gets to a page boundary (see `tyn_bootfmt`); there a file may have a list of
//! its pages that are zeros and not stored ([`Holes`]).

use alloc::borrow::Cow;
use core::fmt;

pub use crate::holes::Holes;
use tyn_abi::PAGE_SIZE;

/// One file of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Path as stored, without the padding; usually relative (`bin/sh`).
    pub name: &'a [u8],
    /// File type and permissions (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names that this file has in its archive.
    pub nlink: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
    /// Inode number and device: equal for the names of one file (when `nlink` is above 1).
    pub identity: (u32, u32, u32),
    /// Device numbers (major, minor) of a device node.
    pub rdev: (u32, u32),
    /// Which of the concatenated archives it is in, from 0.
    pub archive: u32,
    /// Where the data begins, in bytes from the start of the first archive.
    pub data_offset: usize,
    /// The data: contents of a file without its [`Entry::holes`], target of a symbolic link.
    pub data: &'a [u8],
    /// What of a file is not stored.
    pub holes: Holes<'a>,
}

impl<'a> Entry<'a> {
    /// Returns the file's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.data.len() as u64 + self.holes.pages() * PAGE_SIZE as u64
    }

    /// Returns whether the file has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all bytes of the file. For tools: the kernel maps them where they lie.
    #[must_use]
    pub fn contents(&self) -> Cow<'a, [u8]> {
        if self.holes.pages() == 0 {
            return Cow::Borrowed(self.data);
        }
        let mut bytes = alloc::vec::Vec::new();
        let mut rest = self.data;
        for (first, count) in self.holes {
            let before = (first as usize * PAGE_SIZE).saturating_sub(bytes.len());
            let (head, tail) = rest.split_at_checked(before).unwrap_or((rest, b""));
            bytes.extend_from_slice(head);
            bytes.resize(bytes.len() + count as usize * PAGE_SIZE, 0);
            rest = tail;
        }
        bytes.extend_from_slice(rest);
        Cow::Owned(bytes)
    }
}

/// Why an archive is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defect {
    /// The header does not begin with `070701` (or `070702`).
    BadMagic,
    /// A header field is not a hexadecimal number.
    BadNumber,
    /// The header, name or data reaches past the end of the archive.
    Truncated,
    /// The name is empty, too long or lacks its terminating NUL.
    BadName,
}

/// A malformed archive: what is wrong, and in which entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpioError {
    /// What is wrong.
    pub defect: Defect,
    /// Where the entry begins, in bytes from the start of the first archive.
    pub offset: usize,
}

impl fmt::Display for CpioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.defect {
            Defect::BadMagic => "no cpio newc header",
            Defect::BadNumber => "a header field is not a hexadecimal number",
            Defect::Truncated => "the archive ends within an entry",
            Defect::BadName => "a name is empty, too long or not terminated",
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

const HEADER_LEN: usize = 110;
const MAGIC_LEN: usize = 6;
/// Longest name with its padding: `PATH_MAX` and a page of padding.
const NAME_MAX: usize = 8192;
const TRAILER: &[u8] = b"TRAILER!!!";

/// The entries of one or more concatenated archives, in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    archive: u32,
    has_failed: bool,
}

impl<'a> Entries<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            archive: 0,
            has_failed: false,
        }
    }

    /// Skips the NUL bytes between archives; `None` at the end of the last one.
    fn skip_padding(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        self.at += rest.iter().position(|&b| b != 0)?;
        Some(())
    }

    /// Reads the entry at the current position; `None` for a trailer.
    fn read(&mut self) -> Result<Option<Entry<'a>>, Defect> {
        let header = self
            .bytes
            .get(self.at..)
            .and_then(|b| b.get(..HEADER_LEN))
            .ok_or_else(|| self.short_header())?;
        let (magic, numbers) = header.split_at(MAGIC_LEN);
        if magic != b"070701" && magic != b"070702" {
            return Err(Defect::BadMagic);
        }
        let mut fields = [0u32; 13];
        for (field, digits) in fields.iter_mut().zip(numbers.chunks_exact(8)) {
            *field = hex(digits).ok_or(Defect::BadNumber)?;
        }
        let [
            ino,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            size,
            major,
            minor,
            rmajor,
            rminor,
            name_len,
            _,
        ] = fields;
        let name_len = name_len as usize;
        if name_len == 0 || name_len > NAME_MAX {
            return Err(Defect::BadName);
        }
        let name_at = self.at + HEADER_LEN;
        let name_end = name_at + name_len;
        let padded = self.bytes.get(name_at..name_end).ok_or(Defect::Truncated)?;
        let len = padded.iter().position(|&b| b == 0);
        let name = len.and_then(|l| padded.get(..l)).ok_or(Defect::BadName)?;
        let note = padded.get(name.len() + 1..).unwrap_or_default();
        let data_offset = align4(name_end);
        let data_end = data_offset
            .checked_add(size as usize)
            .ok_or(Defect::Truncated)?;
        let data = self
            .bytes
            .get(data_offset..data_end)
            .ok_or(Defect::Truncated)?;
        self.at = align4(data_end);
        if name == TRAILER {
            return Ok(None);
        }
        Ok(Some(Entry {
            name,
            mode,
            uid,
            gid,
            nlink,
            mtime,
            identity: (ino, major, minor),
            rdev: (rmajor, rminor),
            archive: self.archive,
            data_offset,
            data,
            holes: Holes::in_padding(note),
        }))
    }

    /// Tells a cut header from bytes that never were one.
    fn short_header(&self) -> Defect {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.len().min(5);
        if rest.get(..len) == b"07070".get(..len) {
            Defect::Truncated
        } else {
            Defect::BadMagic
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, CpioError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        loop {
            self.skip_padding()?;
            let offset = self.at;
            match self.read() {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => self.archive += 1,
                Err(defect) => {
                    self.has_failed = true;
                    return Some(Err(CpioError { defect, offset }));
                }
            }
        }
    }
}

fn align4(n: usize) -> usize {
    n.saturating_add(3) & !3
}

/// The value of each byte as a hexadecimal digit; [`NO_DIGIT`] where it is none.
const DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let upper = b"0123456789ABCDEF"[value];
        table[upper as usize] = value as u8;
        table[upper.to_ascii_lowercase() as usize] = value as u8;
        value += 1;
    }
    table
};
const NO_DIGIT: u8 = 0x80;

/// Parses eight digits. A boot reads thousands of them, so it looks for a bad one only at the end.
fn hex(digits: &[u8]) -> Option<u32> {
    let mut number = 0u32;
    let mut seen = 0u8;
    for &digit in digits {
        let value = DIGITS.get(usize::from(digit)).copied().unwrap_or(NO_DIGIT);
        seen |= value;
        number = number << 4 | u32::from(value);
    }
    (seen & NO_DIGIT == 0).then_some(number)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    /// What a test entry says; the rest of the header is fixed.
    pub(crate) struct Spec<'a> {
        pub(crate) name: &'a str,
        pub(crate) mode: u32,
        pub(crate) ino: u32,
        pub(crate) nlink: u32,
        pub(crate) data: &'a [u8],
    }

    /// Appends an entry whose data is page-aligned, as `tyn build` writes it.
    pub(crate) fn push(out: &mut Vec<u8>, spec: &Spec<'_>) {
        let unpadded = out.len() + HEADER_LEN + spec.name.len() + 1;
        let padding = if spec.data.is_empty() {
            0
        } else {
            unpadded.next_multiple_of(4096) - unpadded
        };
        let name_len = spec.name.len() + 1 + padding;
        let fields = [
            spec.ino,
            spec.mode,
            1,
            2,
            spec.nlink,
            1_700_000_000,
            spec.data.len() as u32,
            8,
            1,
            5,
            6,
            name_len as u32,
            0,
        ];
        out.extend_from_slice(b"070701");
        for field in fields {
            out.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        out.extend_from_slice(spec.name.as_bytes());
        out.resize(out.len() + 1 + padding, 0);
        out.resize(align4(out.len()), 0);
        out.extend_from_slice(spec.data);
        out.resize(align4(out.len()), 0);
    }

    /// Ends an archive and pads it to a page.
    pub(crate) fn finish(out: &mut Vec<u8>) {
        let trailer = Spec {
            name: "TRAILER!!!",
            mode: 0,
            ino: 0,
            nlink: 1,
            data: b"",
        };
        push(out, &trailer);
        out.resize(out.len().next_multiple_of(4096), 0);
    }

    pub(crate) fn file<'a>(name: &'a str, data: &'a [u8]) -> Spec<'a> {
        Spec {
            name,
            mode: 0o100_644,
            ino: 1,
            nlink: 1,
            data,
        }
    }

    fn two_archives() -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, &file("etc/hosts", b"127.0.0.1 localhost\n"));
        push(&mut out, &file("empty", b""));
        finish(&mut out);
        push(&mut out, &file("run", b"x"));
        finish(&mut out);
        out
    }

    #[test]
    fn two_archives_are_read_with_aligned_data_and_numbered() {
        let bytes = two_archives();
        let entries: Vec<_> = Entries::new(&bytes).map(Result::unwrap).collect();
        let names: Vec<_> = entries.iter().map(|e| e.name).collect();
        assert_eq!(names, [&b"etc/hosts"[..], b"empty", b"run"]);
        assert_eq!(entries[0].data, b"127.0.0.1 localhost\n");
        assert_eq!(entries[0].data_offset % 4096, 0);
        assert_eq!(entries[2].data_offset % 4096, 0);
        assert_eq!((entries[0].archive, entries[2].archive), (0, 1));
        assert_eq!((entries[0].uid, entries[0].gid), (1, 2));
        assert_eq!(entries[0].rdev, (5, 6));
        assert_eq!(entries[0].mtime, 1_700_000_000);
    }

    #[test]
    fn an_empty_archive_has_no_entries() {
        assert_eq!(Entries::new(b"").count(), 0);
        assert_eq!(Entries::new(&[0; 4096]).count(), 0);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_prefix_and_never_a_panic() {
        let bytes = two_archives();
        for len in (0..bytes.len()).filter(|len| len % 4096 < 300) {
            let all = Entries::new(&bytes[..len]).count();
            assert!(all <= 4);
        }
        let cut = Entries::new(&bytes[..50]).next();
        let expected = CpioError {
            defect: Defect::Truncated,
            offset: 0,
        };
        assert_eq!(cut, Some(Err(expected)));
    }

    #[test]
    fn garbage_after_an_entry_is_reported_at_its_offset_once() {
        let mut bytes = Vec::new();
        push(&mut bytes, &file("a", b"data"));
        let offset = bytes.len();
        bytes.extend_from_slice(&[0xff; 200]);
        let mut entries = Entries::new(&bytes);
        assert!(entries.next().is_some_and(|e| e.is_ok()));
        let error = entries.next().unwrap().unwrap_err();
        assert_eq!((error.defect, error.offset), (Defect::BadMagic, offset));
        assert!(entries.next().is_none());
        assert!(format!("{error}").contains(&format!("{offset}")));
    }

    #[test]
    fn bad_fields_are_told_apart() {
        let mut bytes = Vec::new();
        push(&mut bytes, &file("a", b"data"));
        let mut bad = bytes.clone();
        bad[20] = b'x';
        assert_eq!(first_defect(&bad), Defect::BadNumber);
        let mut bad = bytes.clone();
        bad[94..102].copy_from_slice(b"00000000");
        assert_eq!(first_defect(&bad), Defect::BadName);
        let mut bad = bytes.clone();
        bad[54..62].copy_from_slice(b"FFFFFFFF");
        assert_eq!(first_defect(&bad), Defect::Truncated);
        let mut bad = bytes;
        bad[110..].fill(b'n');
        assert_eq!(first_defect(&bad), Defect::BadName);
    }

    fn first_defect(bytes: &[u8]) -> Defect {
        Entries::new(bytes).next().unwrap().unwrap_err().defect
    }

    #[test]
    fn flipping_any_byte_never_panics() {
        let bytes = two_archives();
        for at in (0..bytes.len()).filter(|at| at % 4096 < 300) {
            for bit in [0, 3, 7] {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let _ = Entries::new(&bad).count();
            }
        }
    }
}
