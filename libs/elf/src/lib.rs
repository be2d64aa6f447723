//! ELF64 executables for x86-64: checks, what to map where, and the stack that a program starts with.
//!
//! [`Header`] and [`Image`] turn untrusted bytes into a checked load plan (`elf(5)`), [`stack`] lays out arguments,
//! environment and auxiliary vector as the System V ABI and Linux want them, [`script`] reads `#!` lines. Nothing here
//! reads files or maps memory; the kernel's `exec.rs` does both.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

extern crate alloc;

mod fields;
mod header;
mod image;
pub mod script;
pub mod stack;

pub use header::{Header, Kind};
pub use image::{Image, Segment};

use core::fmt;
use tyn_abi::Errno;

/// Why a file is not a program that can be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// Too short, or not the ELF magic.
    NotElf,
    /// 32-bit, or big-endian.
    WrongClass,
    /// For another processor.
    WrongMachine,
    /// Neither `ET_EXEC` nor `ET_DYN` (an object file, a core dump).
    NotExecutable,
    /// The program header table has a wrong entry size, no entries, or too many.
    BadProgramHeaders,
    /// No `PT_LOAD` segment.
    NothingToLoad,
    /// A segment whose numbers contradict each other or leave user space.
    BadSegment,
    /// `PT_INTERP` has an impossible length or its path does not end with a NUL.
    BadInterpreter,
}

impl From<ElfError> for Errno {
    fn from(_: ElfError) -> Self {
        Self::ENOEXEC
    }
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotElf => "not an ELF file",
            Self::WrongClass => "not a 64-bit little-endian ELF file",
            Self::WrongMachine => "not built for x86-64",
            Self::NotExecutable => "neither an executable nor a shared object",
            Self::BadProgramHeaders => "malformed program headers",
            Self::NothingToLoad => "no loadable segment",
            Self::BadSegment => "a loadable segment with impossible addresses",
            Self::BadInterpreter => "malformed interpreter path",
        })
    }
}
