//! Interrupt descriptor table, entry assembly, and what happens on a trap in ring 0.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{apic, fpu, gdt, msr, read_cr2, write_msr};
use crate::cpu_local::{self, CpuLocal};
use crate::sync::SpinLock;
use crate::{irq, panic, user};

/// What `tyn_run_user` returns for a system call.
pub(crate) const TRAP_SYSCALL: u64 = 0x100;
/// Page fault.
pub(crate) const PAGE_FAULT: u64 = 14;
/// First vector for interrupts.
pub(crate) const FIRST_INTERRUPT: u64 = 32;

core::arch::global_asm!(
    include_str!("entry.S"),
    USER_CONTEXT = const cpu_local::USER_CONTEXT,
    SCRATCH = const cpu_local::SCRATCH,
    ERROR_CODE = const cpu_local::ERROR_CODE,
    FAULT_ADDRESS = const cpu_local::FAULT_ADDRESS,
    TSS_RSP0 = const cpu_local::TSS_RSP0,
    USER_DATA = const gdt::USER_DATA,
    KERNEL_DATA = const gdt::KERNEL_DATA,
    USER_CODE = const gdt::USER_CODE,
    XMM = const fpu::XMM_OFFSET,
    MXCSR = const fpu::MXCSR_OFFSET,
    TRAP_SYSCALL = const TRAP_SYSCALL,
);

unsafe extern "C" {
    fn tyn_syscall_entry();
    static tyn_trap_stubs: [[u8; 16]; 256];
}

/// Registers pushed by a trap in ring 0.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct KernelFrame {
    pub(crate) rax: u64,
    pub(crate) rbx: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) rbp: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r11: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

#[repr(C, align(16))]
struct Idt([[u64; 2]; 256]);

static IDT: SpinLock<Idt> = SpinLock::new(Idt([[0; 2]; 256]));
static IDT_BASE: AtomicU64 = AtomicU64::new(0);

/// Fills the table; called once by the boot CPU.
pub(crate) fn init() {
    let mut idt = IDT.lock();
    let stubs = &raw const tyn_trap_stubs as u64;
    for (vector, gate) in idt.0.iter_mut().enumerate() {
        let handler = stubs + 16 * vector as u64;
        let ist = match vector {
            2 => 1u64,
            8 => 2,
            18 => 3,
            1 => 4,
            _ => 0,
        };
        // Breakpoint and overflow may be raised by INT instructions in ring 3.
        let dpl = if matches!(vector, 3 | 4) { 3u64 } else { 0 };
        let attributes = 0x8e00 | dpl << 13 | ist;
        gate[0] = handler & 0xffff
            | u64::from(gdt::KERNEL_CODE) << 16
            | attributes << 32
            | (handler >> 16 & 0xffff) << 48;
        gate[1] = handler >> 32;
    }
    IDT_BASE.store((&raw const idt.0) as u64, Ordering::Release);
}

/// Loads the table and the SYSCALL registers on the current CPU.
pub(crate) fn load() {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer {
        limit: 256 * 16 - 1,
        base: IDT_BASE.load(Ordering::Acquire),
    };
    // SAFETY: the table was filled by `init` and lives for ever.
    unsafe {
        core::arch::asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack, preserves_flags));
    };
    // IF, TF, DF, AC, NT and IOPL are cleared by SYSCALL.
    const FLAGS_MASK: u64 = 0x200 | 0x100 | 0x400 | 0x4_0000 | 0x4000 | 0x3000 | 0x1_0000;
    let entry = tyn_syscall_entry as *const () as u64;
    for (register, value) in [
        (msr::STAR, gdt::STAR),
        (msr::LSTAR, entry),
        (msr::SFMASK, FLAGS_MASK),
    ] {
        // SAFETY: entry point, selectors and mask are those that the entry assembly is written for.
        unsafe { write_msr(register, value) };
    }
}

/// A trap in ring 0.
#[unsafe(no_mangle)]
extern "C" fn tyn_kernel_trap(frame: &mut KernelFrame) {
    if frame.vector >= FIRST_INTERRUPT {
        irq::dispatch(frame.vector as u8);
        return;
    }
    let cpu = CpuLocal::current();
    if frame.vector == PAGE_FAULT && cpu.in_window.get() {
        let addr = read_cr2();
        if user::on_window_fault(frame, addr) {
            return;
        }
    }
    fatal(frame);
}

/// NMI, double fault, machine check.
#[unsafe(no_mangle)]
extern "C" fn tyn_fatal_trap(frame: &mut KernelFrame) {
    // GS may be the user's at this point: restore ours from the APIC id before anything uses it.
    apic::restore_gs();
    fatal(frame);
}

fn fatal(frame: &KernelFrame) -> ! {
    let name = match frame.vector {
        0 => "divide error",
        2 => "non-maskable interrupt",
        6 => "invalid opcode",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        18 => "machine check",
        _ => "exception",
    };
    panic::start_backtrace_at(frame.rip, frame.rbp);
    panic!(
        "{name} in ring 0: vector {} error {:#x} rip {:#x} rsp {:#x} cr2 {:#x} rflags {:#x} rax {:#x} rdi {:#x} rsi {:#x} rbp {:#x}",
        frame.vector,
        frame.error_code,
        frame.rip,
        frame.rsp,
        read_cr2(),
        frame.rflags,
        frame.rax,
        frame.rdi,
        frame.rsi,
        frame.rbp,
    );
}

const _: () = assert!(offset_of!(KernelFrame, vector) == 15 * 8);
