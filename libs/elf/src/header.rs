//! The ELF file header (`Elf64_Ehdr` of `elf(5)`).

use crate::ElfError;
use crate::fields::{u16_at, u32_at, u64_at};

/// How a program wants to be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `ET_EXEC`: at the addresses in the file.
    Fixed,
    /// `ET_DYN`: anywhere (position-independent executable, or the dynamic linker).
    Relocatable,
}

/// A checked file header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Placement.
    pub kind: Kind,
    /// Entry point, before relocation.
    pub entry: u64,
    /// File offset of the program header table.
    pub phoff: u64,
    /// Number of program headers, 1 to [`Header::MAX_PHNUM`].
    pub phnum: u16,
}

impl Header {
    /// Size of the file header in bytes.
    pub const SIZE: usize = 64;
    /// Size of one program header in bytes.
    pub const PHENT: usize = 56;
    /// Most program headers that Linux accepts: 64 KiB of table.
    pub const MAX_PHNUM: u16 = (65536 / Self::PHENT) as u16;

    /// Checks the first bytes of a file.
    ///
    /// # Errors
    /// The [`ElfError`] that names what is wrong.
    pub fn parse(head: &[u8]) -> Result<Self, ElfError> {
        const CLASS_64_LITTLE: [u8; 2] = [2, 1];
        const ET_EXEC: u16 = 2;
        const ET_DYN: u16 = 3;
        const EM_X86_64: u16 = 62;

        let head = head.get(..Self::SIZE).ok_or(ElfError::NotElf)?;
        if !head.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        if head.get(4..6) != Some(&CLASS_64_LITTLE) {
            return Err(ElfError::WrongClass);
        }
        let half = |at| u16_at(head, at).ok_or(ElfError::NotElf);
        let word = |at| u64_at(head, at).ok_or(ElfError::NotElf);
        let kind = match half(16)? {
            ET_EXEC => Kind::Fixed,
            ET_DYN => Kind::Relocatable,
            _ => return Err(ElfError::NotExecutable),
        };
        if half(18)? != EM_X86_64 || u32_at(head, 20) != Some(1) {
            return Err(ElfError::WrongMachine);
        }
        let phnum = half(56)?;
        if usize::from(half(54)?) != Self::PHENT || phnum == 0 || phnum > Self::MAX_PHNUM {
            return Err(ElfError::BadProgramHeaders);
        }
        Ok(Self {
            kind,
            entry: word(24)?,
            phoff: word(32)?,
            phnum,
        })
    }

    /// Returns the size of the program header table in bytes.
    #[must_use]
    pub fn table_len(&self) -> usize {
        usize::from(self.phnum).saturating_mul(Self::PHENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::ElfBuilder;

    #[test]
    fn valid_header_parses() {
        let file = ElfBuilder::new(3)
            .entry(0x1234)
            .load(0, 0, 0x10, 0x10, 5)
            .build();
        let h = Header::parse(&file).unwrap();
        assert_eq!(
            h,
            Header {
                kind: Kind::Relocatable,
                entry: 0x1234,
                phoff: 64,
                phnum: 1
            }
        );
        assert_eq!(h.table_len(), 56);
        let file = ElfBuilder::new(2).load(0, 0x40_0000, 0x10, 0x10, 5).build();
        assert_eq!(Header::parse(&file).unwrap().kind, Kind::Fixed);
    }

    #[test]
    fn each_wrong_field_has_its_error() {
        let good = ElfBuilder::new(3).load(0, 0, 0x10, 0x10, 5).build();
        let with = |at: usize, value: u8| {
            let mut file = good.clone();
            file[at] = value;
            Header::parse(&file)
        };
        assert_eq!(with(0, 0), Err(ElfError::NotElf));
        assert_eq!(with(4, 1), Err(ElfError::WrongClass));
        assert_eq!(with(5, 2), Err(ElfError::WrongClass));
        assert_eq!(with(16, 1), Err(ElfError::NotExecutable));
        assert_eq!(with(16, 4), Err(ElfError::NotExecutable));
        assert_eq!(with(18, 183), Err(ElfError::WrongMachine));
        assert_eq!(with(20, 0), Err(ElfError::WrongMachine));
        assert_eq!(with(54, 32), Err(ElfError::BadProgramHeaders));
        assert_eq!(with(56, 0), Err(ElfError::BadProgramHeaders));
        assert_eq!(with(57, 0xff), Err(ElfError::BadProgramHeaders));
        assert_eq!(Header::parse(&good[..63]), Err(ElfError::NotElf));
        assert_eq!(Header::parse(b""), Err(ElfError::NotElf));
    }
}
