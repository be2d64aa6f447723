//! Compiled modules (`.beam` files): which other modules they call, and a smaller form of them.
//!
//! The format: "FOR1", a length, "BEAM", then chunks of four letters, a length and data padded to four bytes
//! (`lib/stdlib/src/beam_lib.erl`, `erts/emulator/beam/beam_file.c`); the whole may be compressed by gzip.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::GzDecoder;

/// Chunks that are needed to run: what `beam_lib:strip/1` keeps, in its order.
const RUNS: [&[u8; 4]; 11] = [
    b"Line", b"Type", b"Atom", b"AtU8", b"Code", b"StrT", b"ImpT", b"ExpT", b"FunT", b"LitT",
    b"Meta",
];
/// Longest module that is unpacked, in bytes.
const MAX_UNPACKED: u64 = 256 << 20;

/// A module that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beam<'a> {
    bytes: Cow<'a, [u8]>,
    chunks: Vec<Chunk>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Chunk {
    name: [u8; 4],
    /// Where its header begins.
    at: usize,
    /// Length of its data.
    length: usize,
}

impl<'a> Beam<'a> {
    /// Reads a module, compressed or not; `None` when it is none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            let mut unpacked = GzDecoder::new(bytes).take(MAX_UNPACKED);
            unpacked.read_to_end(&mut plain).ok()?;
            Cow::Owned(plain)
        } else {
            Cow::Borrowed(bytes)
        };
        if bytes.get(..4)? != b"FOR1" || bytes.get(8..12)? != b"BEAM" {
            return None;
        }
        let mut chunks = Vec::new();
        let mut at = 12;
        while at < bytes.len() {
            let name: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
            let length = number(&bytes, at.checked_add(4)?)?;
            bytes.get(at.checked_add(8)?..at.checked_add(8)?.checked_add(length)?)?;
            chunks.push(Chunk { name, at, length });
            at = at
                .checked_add(8)?
                .checked_add(length.checked_next_multiple_of(4)?)?;
        }
        Some(Self { bytes, chunks })
    }

    fn chunk(&self, name: &[u8; 4]) -> Option<&[u8]> {
        let chunk = self.chunks.iter().find(|chunk| chunk.name == *name)?;
        self.bytes.get(chunk.at + 8..chunk.at + 8 + chunk.length)
    }

    /// Returns the names of the modules whose functions it calls by name.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        let atoms = self.atoms().unwrap_or_default();
        let table = self.chunk(b"ImpT").unwrap_or_default();
        let mut names: Vec<String> = table
            .get(4..)
            .unwrap_or_default()
            .chunks_exact(12)
            .filter_map(|entry| atoms.get(number(entry, 0)?.checked_sub(1)?))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns its atoms, of which the first is its own name.
    fn atoms(&self) -> Option<Vec<String>> {
        let table = self.chunk(b"AtU8").or_else(|| self.chunk(b"Atom"))?;
        let count = i32::from_be_bytes(table.get(..4)?.try_into().ok()?);
        let mut rest = table.get(4..)?;
        let mut atoms = Vec::new();
        for _ in 0..count.unsigned_abs() {
            // Since OTP 28 the count is negative, and lengths are written as operands of the loader.
            let (length, used): (usize, usize) = match rest {
                [first, ..] if count >= 0 => (usize::from(*first), 1),
                [first, second, ..] if first & 0x08 != 0 => {
                    (usize::from(first & 0xe0) << 3 | usize::from(*second), 2)
                }
                [first, ..] => (usize::from(first >> 4), 1),
                [] => return Some(atoms),
            };
            let Some(atom) = rest.get(used..used.checked_add(length)?) else {
                return Some(atoms);
            };
            atoms.push(String::from_utf8_lossy(atom).into_owned());
            rest = rest.get(used + length..)?;
        }
        Some(atoms)
    }

    /// Returns the module without what isn't needed to run it (debug information, documentation), not compressed.
    #[must_use]
    pub fn stripped(&self) -> Vec<u8> {
        let mut out = b"FOR1\0\0\0\0BEAM".to_vec();
        for name in RUNS {
            let Some(data) = self.chunk(name) else {
                continue;
            };
            out.extend(name);
            out.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
            out.extend(data);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(out.len() - 8).unwrap_or_default();
        out[4..8].copy_from_slice(&length.to_be_bytes());
        out
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_be_bytes(word.try_into().ok()?)).ok()
}

#[cfg(test)]
mod strip_tests;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut out = name.to_vec();
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn module(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        let mut out = b"FOR1".to_vec();
        out.extend((body.len() as u32 + 4).to_be_bytes());
        out.extend(b"BEAM");
        out.extend(body);
        out
    }

    #[test]
    fn imports_are_read_of_both_atom_tables() {
        let imports = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];
        for atoms in [
            &b"\0\0\0\x02\x01a\x05lists"[..],
            b"\xff\xff\xff\xfe\x10a\x50lists",
        ] {
            let bytes = module(&[chunk(b"AtU8", atoms), chunk(b"ImpT", &imports)]);
            let beam = Beam::parse(&bytes).unwrap();
            assert_eq!(beam.imports(), ["lists"]);
        }
        // A length of more than 15 bytes.
        let long = "m".repeat(300);
        let mut atoms = b"\xff\xff\xff\xff".to_vec();
        atoms.extend([0x28, 300_u16.to_be_bytes()[1]]);
        atoms.extend(long.as_bytes());
        let imports = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        let bytes = module(&[chunk(b"AtU8", &atoms), chunk(b"ImpT", &imports)]);
        assert_eq!(Beam::parse(&bytes).unwrap().imports(), [long]);
    }

    #[test]
    fn what_is_not_needed_goes() {
        let bytes = module(&[
            chunk(b"Dbgi", b"debug"),
            chunk(b"Code", b"12345"),
            chunk(b"AtU8", b"\0\0\0\0"),
            chunk(b"Docs", b"docs"),
        ]);
        let stripped = Beam::parse(&bytes).unwrap().stripped();
        assert_eq!(
            stripped,
            module(&[chunk(b"AtU8", b"\0\0\0\0"), chunk(b"Code", b"12345")])
        );
        assert_eq!(Beam::parse(&stripped).unwrap().stripped(), stripped);
        assert_eq!(Beam::parse(b"FOR1\0\0\0\x10BEAMCode\0\0\0\x20"), None);
        assert_eq!(Beam::parse(b"#!/bin/sh"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = b"FOR1\0\0\0\0BEAM".to_vec();
            bytes.extend(&body);
            for bytes in [&bytes, &body, &module(&[chunk(b"AtU8", &body), chunk(b"ImpT", &body)])] {
                if let Some(beam) = Beam::parse(bytes) {
                    let _ = beam.imports();
                    let _ = beam.stripped();
                }
            }
        }
    }
}
