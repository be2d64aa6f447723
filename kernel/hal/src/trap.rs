//! Entering ring 3 and coming back.
//!
//! A thread's kernel side is a loop over [`UserContext::run`]: it enters ring 3 and returns when user code made a system
//! call, faulted or was interrupted.

use core::arch::asm;
use core::ptr;

use tyn_abi::{Access, UserVa};

use crate::arch::x86_64::idt::{FIRST_INTERRUPT, PAGE_FAULT, TRAP_SYSCALL};
use crate::cpu_local::CpuLocal;
use crate::{irq, mem};

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

/// User register state as far as kernel code changes it: the general registers. Vector and floating-point state stays in the CPU
/// and belongs to the [`crate::task::Task`].
#[derive(Clone, Debug)]
#[repr(C)]
pub struct UserContext {
    /// General-purpose registers; freely changeable (flags are sanitised and a non-canonical RIP faults, as it would on
    /// Linux).
    pub regs: Regs,
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

/// RFLAGS that user code may have: CF PF AF ZF SF TF DF OF AC ID.
const USER_FLAGS: u64 = 0x24_0dd5;
/// IF and the bit that is always one.
const FIXED_FLAGS: u64 = 0x202;

unsafe extern "C" {
    /// Not to be called as a function: see [`run_user`].
    fn tyn_run_user();
}

/// Goes to ring 3 and returns the vector by which it was left.
///
/// # Safety
/// Interrupts are off; the context's RIP is canonical, its flags have only bits that user code may have; with `by_sysret` RCX and
/// R11 hold what RIP and RFLAGS do.
unsafe fn run_user(context: &mut UserContext, by_sysret: bool) -> u64 {
    let vector;
    // SAFETY: as this function's; the context is exclusively ours and outlives the stay in ring 3. What is called keeps RBX,
    // RBP and RSP, and every other register is declared lost: the compiler saves what it needs, which is less than all.
    unsafe {
        asm!("call {run}", run = sym tyn_run_user,
            inout("rdi") ptr::from_mut(context) => _, inout("esi") u32::from(by_sysret) => _,
            lateout("rax") vector, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"));
    }
    vector
}

impl UserContext {
    /// Makes a context that starts at `rip` with stack pointer `rsp`, all else zero (but RFLAGS.IF set).
    #[must_use]
    pub fn new(rip: UserVa, rsp: UserVa) -> Self {
        let regs = Regs {
            rip: rip.0,
            rsp: rsp.0,
            rflags: FIXED_FLAGS,
            ..Regs::default()
        };
        Self { regs }
    }

    /// Goes to ring 3 with these registers in the active address space and returns at the next trap. Interrupt handlers
    /// run before it returns [`Trap::Interrupt`]. The current task must have user state.
    pub fn run(&mut self) -> Trap {
        // SYSRET loads RIP and RFLAGS from RCX and R11: right only if these say the same, as after a system call that returns
        // in the plain way, but not after one that restored a signal's registers. TF must go by IRET: SYSRET would trap one
        // instruction late.
        const TF: u64 = 0x100;
        // The lower half of the addresses is canonical.
        const HALF: u32 = 47;
        let regs = &self.regs;
        // All in one: each of several conditions would be a branch of its own.
        let in_the_way = (regs.rcx ^ regs.rip)
            | (regs.r11 ^ regs.rflags)
            | (regs.rip >> HALF)
            | (regs.rflags & !(USER_FLAGS & !TF) ^ FIXED_FLAGS);
        let by_sysret = in_the_way == 0;
        if !by_sysret && let Err(trap) = self.make_fit_for_iret() {
            return trap;
        }
        mem::publish_ring3();
        // SAFETY: interrupts are off; RIP is canonical and flags are sanitised.
        let vector = unsafe { run_user(self, by_sysret) };
        mem::withdraw(CpuLocal::current());
        if vector == TRAP_SYSCALL {
            return Trap::Syscall;
        }
        other_trap(vector)
    }
}

/// Says why ring 3 was left, other than by a system call; runs the handler of an interrupt.
#[inline]
fn other_trap(vector: u64) -> Trap {
    let cpu = CpuLocal::current();
    match vector {
        PAGE_FAULT => page_fault(cpu.fault_address.get(), cpu.error_code.get()),
        v if v >= FIRST_INTERRUPT => {
            irq::dispatch(v as u8);
            Trap::Interrupt
        }
        v => Trap::Exception {
            vector: v as u8,
            error_code: cpu.error_code.get(),
        },
    }
}

impl UserContext {
    /// Takes flags away that user code may not have.
    ///
    /// # Errors
    /// The trap that RIP is: IRET would fault in ring 0; Linux turns that into the same signal.
    fn make_fit_for_iret(&mut self) -> Result<(), Trap> {
        const GENERAL_PROTECTION: u8 = 13;
        let regs = &mut self.regs;
        regs.rflags = regs.rflags & USER_FLAGS | FIXED_FLAGS;
        if (regs.rip.cast_signed() << 16 >> 16).cast_unsigned() == regs.rip {
            return Ok(());
        }
        Err(Trap::Exception {
            vector: GENERAL_PROTECTION,
            error_code: 0,
        })
    }
}

/// Decodes a page fault's error code (Intel SDM vol. 3 §4.7).
pub(crate) fn page_fault(addr: u64, error_code: u64) -> Trap {
    let access = match error_code {
        e if e & 0x10 != 0 => Access::Execute,
        e if e & 2 != 0 => Access::Write,
        _ => Access::Read,
    };
    Trap::PageFault {
        addr: UserVa(addr),
        access,
        present: error_code & 1 != 0,
    }
}
