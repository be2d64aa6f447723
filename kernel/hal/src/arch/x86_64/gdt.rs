//! Descriptor tables of one CPU: segments laid out as on Linux (user programs see the selectors in signal frames), and the
//! task state segment with the stacks for debug exception, NMI, double fault and machine check.

use alloc::boxed::Box;
use core::arch::asm;
use core::mem::size_of;

use super::{msr, write_msr};
use crate::cpu_local::CpuLocal;

/// Selector of kernel code.
pub(crate) const KERNEL_CODE: u16 = 0x10;
/// Selector of kernel data.
pub(crate) const KERNEL_DATA: u16 = 0x18;
/// Selector that SYSRET counts from. There is no descriptor: code that could enter compatibility mode could take SYSCALL to
/// CSTAR, which leads nowhere.
const USER_CODE_32: u16 = 0x20;
/// Selector of user data, with RPL 3.
pub(crate) const USER_DATA: u16 = 0x28 | 3;
/// Selector of user code, with RPL 3.
pub(crate) const USER_CODE: u16 = 0x30 | 3;
/// Selector of the TSS.
const TSS: u16 = 0x40;
/// Bytes of each interrupt stack.
const IST_BYTES: usize = 8192;

/// The global descriptor table.
#[repr(C, align(8))]
pub(crate) struct Gdt([u64; 10]);

/// The 64-bit task state segment (Intel SDM vol. 3 §8.7).
#[repr(C, packed(4))]
pub(crate) struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map_base: u16,
}

impl Tss {
    /// Offset of RSP0.
    pub(crate) const RSP0_OFFSET: usize = 4;

    /// Makes a TSS without stacks and without I/O permissions.
    pub(crate) const fn new() -> Self {
        Self {
            reserved0: 0,
            rsp: [0; 3],
            reserved1: 0,
            ist: [0; 7],
            reserved2: 0,
            reserved3: 0,
            io_map_base: size_of::<Self>() as u16,
        }
    }

    /// Gives the TSS its interrupt stacks (IST 1 to 4), which live for ever.
    pub(crate) fn allocate_stacks(&mut self) {
        let mut ist = self.ist;
        for slot in ist.iter_mut().take(4) {
            let stack = Box::leak(Box::<[u8]>::new_uninit_slice(IST_BYTES));
            *slot = (stack.as_ptr() as u64 + IST_BYTES as u64) & !15;
        }
        self.ist = ist;
    }
}

impl Gdt {
    /// Makes a table whose TSS descriptor is still empty.
    pub(crate) const fn new() -> Self {
        let code = 0x00af_9b00_0000_ffff;
        let data = 0x00cf_9300_0000_ffff;
        let dpl3 = 3 << 45;
        Self([0, 0, code, data, 0, data | dpl3, code | dpl3, 0, 0, 0])
    }

    /// Points the TSS descriptor at `tss`.
    pub(crate) fn set_tss(&mut self, tss: *const Tss) {
        let base = tss as u64;
        let limit = size_of::<Tss>() as u64 - 1;
        let index = usize::from(TSS) / 8;
        self.0[index] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        self.0[index + 1] = base >> 32;
    }
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads the current CPU's tables and makes GS point at its block.
///
/// # Safety
/// `block` is this CPU's and lives for ever; its GDT holds its TSS.
pub(crate) unsafe fn load(block: &'static CpuLocal) {
    let pointer = Pointer {
        limit: size_of::<Gdt>() as u16 - 1,
        base: (&raw const block.gdt) as u64,
    };
    // SAFETY: the table is valid and lives for ever.
    unsafe { asm!("lgdt [{}]", in(reg) &raw const pointer, options(nostack, preserves_flags)) };
    // SAFETY: the selectors exist in that table; a far return reloads CS.
    unsafe {
        asm!(
            "push {code}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            "mov ss, {data:x}",
            "mov ds, {zero:x}",
            "mov es, {zero:x}",
            "mov fs, {zero:x}",
            "mov gs, {zero:x}",
            code = in(reg) u64::from(KERNEL_CODE),
            data = in(reg) KERNEL_DATA,
            zero = in(reg) 0u16,
            tmp = out(reg) _,
        );
    }
    // There is no local table. After a reset the register holds one at address 0, of user memory: to load a selector of it must
    // fault, not read descriptors that user code made there (Intel SDM vol. 3, table 10-1).
    // SAFETY: the null selector is always valid, and no segment register holds a selector of a local table.
    unsafe { asm!("lldt {:x}", in(reg) 0u16, options(nostack, preserves_flags)) };
    // SAFETY: the descriptor was made by `set_tss`.
    unsafe { asm!("ltr {:x}", in(reg) TSS, options(nostack, preserves_flags)) };
    // SAFETY: GS base in ring 0 is the block, by definition; the user's starts as zero.
    unsafe { write_msr(msr::GS_BASE, core::ptr::from_ref(block) as u64) };
    // SAFETY: as above.
    unsafe { write_msr(msr::KERNEL_GS_BASE, 0) };
}

/// The value of the STAR register: SYSCALL and SYSRET selectors.
pub(crate) const STAR: u64 = (KERNEL_CODE as u64) << 32 | (USER_CODE_32 as u64 | 3) << 48;
