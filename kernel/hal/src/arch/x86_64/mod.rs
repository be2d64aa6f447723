//! x86-64: single instructions as functions, descriptor tables, entries, local APIC, FPU.

pub(crate) mod apic;
pub(crate) mod fpu;
pub(crate) mod gdt;
pub(crate) mod idt;
#[cfg(feature = "entry")]
pub(crate) mod smp;

use core::arch::asm;

#[cfg(feature = "entry")]
core::arch::global_asm!(include_str!("boot.S"), options(att_syntax));

/// Model-specific registers (Intel SDM vol. 4).
pub(crate) mod msr {
    pub(crate) const APIC_BASE: u32 = 0x1b;
    pub(crate) const TSC_DEADLINE: u32 = 0x6e0;
    pub(crate) const STAR: u32 = 0xc000_0081;
    pub(crate) const LSTAR: u32 = 0xc000_0082;
    pub(crate) const SFMASK: u32 = 0xc000_0084;
    pub(crate) const FS_BASE: u32 = 0xc000_0100;
    pub(crate) const GS_BASE: u32 = 0xc000_0101;
    pub(crate) const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub(crate) const TSC_AUX: u32 = 0xc000_0103;
}

/// Reads a model-specific register that exists.
pub(crate) fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: ring 0; callers name registers that this CPU has. Reading has no memory effects.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack));
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists and the value leaves every blanket fact of this crate true.
pub(crate) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's contract.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

/// Executes CPUID.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> core::arch::x86_64::CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// Returns the highest basic CPUID leaf.
pub(crate) fn max_leaf() -> u32 {
    cpuid(0, 0).eax
}

/// Reads the time-stamp counter, ordered after earlier loads.
pub(crate) fn read_tsc() -> u64 {
    // SAFETY: LFENCE and RDTSC exist on every x86-64 CPU; CR4.TSD does not apply to ring 0.
    unsafe { core::arch::x86_64::_mm_lfence() };
    // SAFETY: as above.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads an I/O port.
///
/// # Safety
/// Reading the port has no effect on memory or on state that hal relies on.
pub(crate) unsafe fn in_u8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: the caller's contract.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack)) };
    value
}

/// Writes an I/O port.
///
/// # Safety
/// Writing the value has no effect on memory or on state that hal relies on.
pub(crate) unsafe fn out_u8(port: u16, value: u8) {
    // SAFETY: the caller's contract.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) };
}

/// Writes bytes to an I/O port, one after the other. In a virtual machine all of them cost what one costs alone.
///
/// # Safety
/// As for [`out_u8`].
pub(crate) unsafe fn out_bytes(port: u16, bytes: &[u8]) {
    // SAFETY: reads the slice, upwards (the direction flag is clear); the rest is the caller's contract.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
            options(nostack, readonly, preserves_flags));
    }
}

/// Reads an I/O port.
///
/// # Safety
/// Reading the port has no effect on memory or on state that hal relies on.
pub(crate) unsafe fn in_u16(port: u16) -> u16 {
    let value: u16;
    // SAFETY: the caller's contract.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nostack)) };
    value
}

/// Writes an I/O port.
///
/// # Safety
/// Writing the value has no effect on memory or on state that hal relies on.
pub(crate) unsafe fn out_u16(port: u16, value: u16) {
    // SAFETY: the caller's contract.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack)) };
}

/// Reads an I/O port.
///
/// # Safety
/// Reading the port has no effect on memory or on state that hal relies on.
pub(crate) unsafe fn in_u32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: the caller's contract.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack)) };
    value
}

/// Writes an I/O port.
///
/// # Safety
/// Writing the value has no effect on memory or on state that hal relies on.
pub(crate) unsafe fn out_u32(port: u16, value: u32) {
    // SAFETY: the caller's contract.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Reads CR2.
pub(crate) fn read_cr2() -> u64 {
    let value: u64;
    // SAFETY: ring 0; reading CR2 has no effects.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads CR3.
pub(crate) fn read_cr3() -> u64 {
    let value: u64;
    // SAFETY: ring 0; reading CR3 has no effects.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Loads CR3, which flushes all translations that are not global.
///
/// # Safety
/// `value` is a page-table root whose kernel half is the kernel's.
pub(crate) unsafe fn write_cr3(value: u64) {
    // SAFETY: the caller's contract.
    unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Flushes the translation of one page.
pub(crate) fn invalidate_page(va: u64) {
    // SAFETY: ring 0; forgetting a cached translation is always allowed.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

/// Halts for ever with interrupts off.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: ring 0; stopping this CPU harms nobody.
        unsafe { asm!("cli; hlt", options(nomem, nostack)) };
    }
}

use core::sync::atomic::{AtomicBool, Ordering};

/// Whether CR4.FSGSBASE is set (on all CPUs alike).
pub(crate) static HAS_FSGSBASE: AtomicBool = AtomicBool::new(false);

/// Returns the user's FS base.
pub(crate) fn fs_base() -> u64 {
    if HAS_FSGSBASE.load(Ordering::Relaxed) {
        let value: u64;
        // SAFETY: CR4.FSGSBASE is set.
        unsafe { asm!("rdfsbase {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    } else {
        read_msr(msr::FS_BASE)
    }
}

/// Sets the user's FS base, a canonical address.
pub(crate) fn set_fs_base(value: u64) {
    if HAS_FSGSBASE.load(Ordering::Relaxed) {
        // SAFETY: CR4.FSGSBASE is set; the kernel does not use FS.
        unsafe { asm!("wrfsbase {}", in(reg) value, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: the kernel does not use FS.
        unsafe { write_msr(msr::FS_BASE, value) };
    }
}

/// Returns the user's GS base, which waits in KERNEL_GS_BASE while the kernel runs.
pub(crate) fn kernel_gs_base() -> u64 {
    read_msr(msr::KERNEL_GS_BASE)
}

/// Sets the user's GS base, a canonical address.
pub(crate) fn set_kernel_gs_base(value: u64) {
    // SAFETY: the register holds the user's value in ring 0.
    unsafe { write_msr(msr::KERNEL_GS_BASE, value) };
}
