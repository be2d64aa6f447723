//! What the self-test image (`kernel/selftest`, which may not use `unsafe`) cannot do itself: programs for ring 3, and
//! probes of the CPU. Only with the feature `selftest`.

use core::arch::{asm, global_asm};

global_asm!(include_str!("selftest/programs.S"));

/// Where the programs expect memory to be mapped for them, where they need a fixed place.
pub const DATA: u64 = 0x50_0000;

unsafe extern "C" {
    static tyn_selftest_programs: u8;
    static tyn_selftest_programs_end: u8;
}

macro_rules! programs {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {
        /// A program for ring 3 (`selftest/programs.S` says what each does).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Program {
            $($(#[$doc])* $name,)*
        }

        unsafe extern "C" {
            $(static $symbol: u8;)*
        }

        impl Program {
            /// Returns where the program starts in [`code`].
            #[must_use]
            pub fn offset(self) -> u64 {
                let start = match self {
                    $(Self::$name => &raw const $symbol,)*
                };
                start as u64 - &raw const tyn_selftest_programs as u64
            }
        }
    };
}

programs! {
    /// System calls for ever.
    Syscall = tyn_selftest_syscall;
    /// Stores registers and flags at [`DATA`].
    Store = tyn_selftest_store;
    /// An endless loop.
    Spin = tyn_selftest_spin;
    /// Reads `[rdi]`.
    Read = tyn_selftest_read;
    /// Writes RSI to `[rdi]`.
    Write = tyn_selftest_write;
    /// Jumps to RDI.
    Jump = tyn_selftest_jump;
    /// Writes RSI to `[rdi]` for ever, counts at `[rdx]`.
    Hammer = tyn_selftest_hammer;
    /// Divides by zero.
    Divide = tyn_selftest_divide;
    /// `ud2`.
    Undefined = tyn_selftest_undefined;
    /// `int3`.
    Breakpoint = tyn_selftest_breakpoint;
    /// `hlt`.
    Halt = tyn_selftest_halt;
    /// `in al, 0x80`.
    Port = tyn_selftest_port;
    /// `cli`.
    Cli = tyn_selftest_cli;
    /// `int 0x80`.
    Int80 = tyn_selftest_int80;
    /// `sidt`.
    Sidt = tyn_selftest_sidt;
    /// Jumps to a 32-bit code segment, then `syscall`.
    Far32 = tyn_selftest_far32;
    /// Loads the first segment of the local descriptor table.
    LocalSegment = tyn_selftest_local_segment;
    /// Sets the flags in RSI, then reports (RDI 0), is undefined (1) or spins (2).
    Flags = tyn_selftest_flags;
    /// Keeps RDI and RSI in the segment bases.
    Bases = tyn_selftest_bases;
    /// Keeps patterns in all vector registers.
    Vectors = tyn_selftest_vectors;
}

/// Returns the machine code of all programs, to be copied to a code page.
#[must_use]
pub fn code() -> &'static [u8] {
    let start = &raw const tyn_selftest_programs;
    let len = &raw const tyn_selftest_programs_end as usize - start as usize;
    // SAFETY: the two symbols enclose read-only bytes of the image.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Returns RFLAGS as the kernel runs with it.
#[must_use]
pub fn rflags() -> u64 {
    let flags: u64;
    // SAFETY: copies the flags by way of the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags
}
