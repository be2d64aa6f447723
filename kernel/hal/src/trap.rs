//! Entering ring 3 and coming back.
//!
//! A thread's kernel side is a loop over [`UserContext::run`]: it enters ring 3 and returns when user code made a system
//! call, faulted or was interrupted.

use tyn_abi::{Access, UserVa};

/// General-purpose registers of user code.
#[expect(missing_docs, reason = "the names are the registers'")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// User register state as far as kernel code can clobber it: general registers, xmm0-15, MXCSR. The rest of the vector
/// state stays in the CPU and belongs to the [`crate::task::Task`].
#[derive(Clone, Debug)]
#[repr(C, align(16))]
pub struct UserContext {
    /// General-purpose registers; freely changeable (flags are sanitised and a non-canonical RIP faults in ring 3, as
    /// it would on Linux).
    pub regs: Regs,
    xmm: [[u64; 2]; 16],
    mxcsr: u32,
}

/// Why ring 3 was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// `syscall`: number in RAX, arguments in RDI, RSI, RDX, R10, R8, R9. RIP is past the instruction; RCX and R11 are
    /// clobbered as the ABI says.
    Syscall,
    /// An interrupt arrived; its handler has run already.
    Interrupt,
    /// A page fault (#PF).
    PageFault {
        /// CR2.
        addr: UserVa,
        /// What was attempted.
        access: Access,
        /// Whether a translation was present (protection violation).
        present: bool,
    },
    /// Any other exception, by its vector (Intel SDM vol. 3, table 6-1), e.g. 0 divide error, 3 breakpoint, 6 invalid
    /// opcode, 13 general protection, 16/19 floating point, 17 alignment.
    Exception {
        /// Vector number.
        vector: u8,
        /// Error code, 0 where the vector has none.
        error_code: u64,
    },
}

impl UserContext {
    /// Makes a context that starts at `rip` with stack pointer `rsp`, all else zero and default (RFLAGS.IF set, MXCSR 0x1f80).
    #[must_use]
    pub fn new(rip: UserVa, rsp: UserVa) -> Self {
        let _ = (rip, rsp);
        unimplemented!()
    }

    /// Goes to ring 3 with these registers in the active address space and returns at the next trap. Interrupt handlers
    /// run before it returns [`Trap::Interrupt`]. The current task must have user state.
    pub fn run(&mut self) -> Trap {
        unimplemented!()
    }
}
