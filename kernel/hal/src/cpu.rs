//! CPUs: identity, per-CPU data, idling, inter-processor wake-ups.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::x86_64::{self, cpuid, fpu, max_leaf};
use crate::cpu_local::CpuLocal;
use crate::mem;

/// Most CPUs that the kernel drives; further ones are left alone (a line on the console says so).
pub const MAX_CPUS: usize = 64;

/// Index of a CPU, dense from 0 (the boot CPU).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CpuId(pub u32);

static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Which of the CPUs that were found are driven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chosen {
    /// Their local APIC ids, the boot CPU's first.
    pub(crate) ids: Vec<u32>,
    /// How many are left alone since no interrupt can name them.
    pub(crate) unreachable: usize,
    /// How many are left alone beyond [`MAX_CPUS`].
    pub(crate) beyond: usize,
}

/// Chooses from the local APIC ids `found`, of which an interrupt can name those up to `largest`. An id is taken once, also
/// when tables tell of it as a short and as a long one, and one with all bits set is nobody's.
pub(crate) fn choose(found: &[u32], boot_id: u32, largest: u32) -> Chosen {
    const NO_ID: u32 = u32::MAX;
    let mut ids = alloc::vec![boot_id];
    let (mut unreachable, mut beyond) = (Vec::new(), Vec::new());
    for &id in found {
        let list = if id == NO_ID {
            continue;
        } else if id > largest {
            &mut unreachable
        } else if ids.contains(&id) || ids.len() < MAX_CPUS {
            &mut ids
        } else {
            &mut beyond
        };
        if !list.contains(&id) && id != boot_id {
            list.push(id);
        }
    }
    Chosen {
        ids,
        unreachable: unreachable.len(),
        beyond: beyond.len(),
    }
}

/// Notes how many CPUs there will be.
pub(crate) fn set_count(count: usize) {
    COUNT.store(count, Ordering::Release);
}

/// Sets CR0, CR4 and what depends on them, on the current CPU.
pub(crate) fn init_control_registers() {
    const MACHINE_CHECK: u64 = 1 << 6;
    const UMIP: u64 = 1 << 11;
    const FSGSBASE: u64 = 1 << 16;
    const OSXSAVE: u64 = 1 << 18;
    const SMEP: u64 = 1 << 20;
    const SMAP: u64 = 1 << 21;
    const GLOBAL_PAGES: u64 = 1 << 7;
    let extended = if max_leaf() >= 7 {
        cpuid(7, 0)
    } else {
        cpuid(0, 0)
    };
    let (ebx, ecx) = if max_leaf() >= 7 {
        (extended.ebx, extended.ecx)
    } else {
        (0, 0)
    };
    let offered = [
        (ebx & 1 << 0 != 0, FSGSBASE),
        (ebx & 1 << 7 != 0, SMEP),
        (ebx & 1 << 20 != 0, SMAP),
        (ecx & 1 << 2 != 0, UMIP),
        (cpuid(1, 0).ecx & 1 << 26 != 0, OSXSAVE),
        // Without it a machine check (of bad memory of the host, say) resets the machine without a word.
        (cpuid(1, 0).edx & 1 << 7 != 0, MACHINE_CHECK),
        (true, GLOBAL_PAGES),
    ];
    let wanted = offered
        .iter()
        .filter(|(has, _)| *has)
        .fold(0, |bits, (_, bit)| bits | bit);
    let mut cr4: u64;
    // SAFETY: ring 0; reading CR4 has no effects.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack)) };
    cr4 |= wanted;
    // SAFETY: every bit is supported, and the kernel is written for all of them.
    unsafe { asm!("mov cr4, {}", in(reg) cr4, options(nostack)) };
    x86_64::HAS_FSGSBASE.store(wanted & FSGSBASE != 0, Ordering::Relaxed);
    mem::set_smap(wanted & SMAP != 0);
}

/// Returns the CPU this code runs on. Stable until the current task switches away.
#[must_use]
#[inline]
pub fn current() -> CpuId {
    CpuId(CpuLocal::current_id())
}

/// Returns how many CPUs there are (all get started; fixed before `Entry::bsp` runs).
#[must_use]
#[inline]
pub fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// Makes `cpu` leave `hlt` or ring 3 soon (an IPI whose handler does nothing else; its thread gets
/// [`crate::trap::Trap::Interrupt`]). No effect on the current CPU.
pub fn kick(cpu: CpuId) {
    if cpu == current() {
        return;
    }
    if let Some(block) = CpuLocal::of(cpu.0 as usize) {
        block.kick();
    }
}

unsafe extern "C" {
    fn tyn_idle_wait();
    fn tyn_take_interrupts();
}

/// Enables interrupts, halts until one arrives, runs its handler, disables interrupts again (`sti; hlt; cli`).
/// An interrupt that was pending before is taken at once, so "check queue, then wait" has no lost wake-up.
///
/// # Panics
/// When the CPU holds a spinlock.
pub fn wait_for_interrupt() {
    assert_holds_nothing();
    mem::serve_eviction();
    // SAFETY: ring 0 is interrupted only here and below: nothing is held.
    unsafe { tyn_idle_wait() };
    mem::serve_eviction();
}

/// Runs the handlers of the interrupts that are pending.
///
/// # Panics
/// When the CPU holds a spinlock.
pub fn take_interrupts() {
    assert_holds_nothing();
    // SAFETY: as in `wait_for_interrupt`.
    unsafe { tyn_take_interrupts() };
}

fn assert_holds_nothing() {
    assert_eq!(
        CpuLocal::current().spin_depth.get(),
        0,
        "interrupts while holding a spinlock"
    );
}

/// Tells the CPU that it is in a spin loop (`pause`).
pub fn relax() {
    core::hint::spin_loop();
}

/// One `T` for each CPU.
#[derive(Debug)]
pub struct PerCpu<T>(Box<[T]>);

impl<T> PerCpu<T> {
    /// Makes one value for each of [`count`] CPUs.
    pub fn new(init: impl FnMut(CpuId) -> T) -> Self {
        Self((0..count() as u32).map(CpuId).map(init).collect())
    }

    /// Returns the current CPU's value.
    pub fn get(&self) -> &T {
        self.of(current())
    }

    /// Returns another CPU's value.
    pub fn of(&self, cpu: CpuId) -> &T {
        &self.0[cpu.0 as usize]
    }
}

/// CPU features that user space is told of (auxv).
#[derive(Clone, Copy, Debug)]
pub struct UserFeatures {
    /// `AT_HWCAP`: CPUID.1:EDX.
    pub hwcap: u64,
    /// `AT_HWCAP2`: bit 1 when FSGSBASE instructions are enabled.
    pub hwcap2: u64,
    /// Size of the XSAVE area in bytes for the enabled components (XCR0); 512 when there is no XSAVE.
    pub xsave_bytes: usize,
}

/// Returns whether RDTSCP gives ring 3 the index of its CPU (see [`crate::vdso`]).
#[must_use]
pub(crate) fn has_rdtscp() -> bool {
    const EXTENDED: u32 = 0x8000_0001;
    const RDTSCP: u32 = 1 << 27;
    cpuid(0x8000_0000, 0).eax >= EXTENDED && cpuid(EXTENDED, 0).edx & RDTSCP != 0
}

/// Makes RDTSCP give the index of this CPU.
pub(crate) fn init_identity(id: CpuId) {
    if has_rdtscp() {
        // SAFETY: the register exists with RDTSCP, and nothing else uses it.
        unsafe { x86_64::write_msr(x86_64::msr::TSC_AUX, u64::from(id.0)) };
    }
}

/// Returns the features enabled for user space.
#[must_use]
pub fn user_features() -> UserFeatures {
    const HWCAP2_FSGSBASE: u64 = 2;
    let has_fsgsbase = x86_64::HAS_FSGSBASE.load(Ordering::Relaxed);
    UserFeatures {
        hwcap: u64::from(cpuid(1, 0).edx),
        hwcap2: if has_fsgsbase { HWCAP2_FSGSBASE } else { 0 },
        xsave_bytes: fpu::area_bytes(),
    }
}

/// Returns XCR0, the components of extended state that user code may use (0 without XSAVE).
#[must_use]
pub fn extended_components() -> u64 {
    fpu::components()
}

/// Returns a CPU's identity as `/proc/cpuinfo` shows it. All CPUs of a guest are of one model.
#[must_use]
pub fn identity(cpu: CpuId) -> Identity {
    let text = |registers: &[u32]| {
        let bytes: Vec<u8> = registers.iter().flat_map(|r| r.to_le_bytes()).collect();
        let text = alloc::string::String::from_utf8_lossy(&bytes);
        alloc::string::String::from(text.trim_matches(['\0', ' ']))
    };
    let leaf0 = cpuid(0, 0);
    let mut brand = Vec::new();
    if cpuid(0x8000_0000, 0).eax >= 0x8000_0004 {
        for leaf in 0x8000_0002..=0x8000_0004 {
            let r = cpuid(leaf, 0);
            brand.extend([r.eax, r.ebx, r.ecx, r.edx]);
        }
    }
    let signature = cpuid(1, 0).eax;
    let (base_family, base_model) = (signature >> 8 & 15, signature >> 4 & 15);
    let family = if base_family == 15 {
        base_family + (signature >> 20 & 255)
    } else {
        base_family
    };
    let has_extended_model = base_family == 15 || base_family == 6;
    let model = if has_extended_model {
        base_model | signature >> 12 & 0xf0
    } else {
        base_model
    };
    Identity {
        vendor: text(&[leaf0.ebx, leaf0.edx, leaf0.ecx]),
        brand: text(&brand),
        family_model_stepping: (family, model, signature & 15),
        apic_id: CpuLocal::of(cpu.0 as usize)
            .and_then(CpuLocal::apic_id)
            .unwrap_or(0),
    }
}

/// Vendor, model and topology of a CPU.
#[derive(Clone, Debug)]
pub struct Identity {
    /// CPUID vendor string, e.g. `AuthenticAMD`.
    pub vendor: alloc::string::String,
    /// CPUID brand string.
    pub brand: alloc::string::String,
    /// Family, model, stepping.
    pub family_model_stepping: (u32, u32, u32),
    /// Local APIC id.
    pub apic_id: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_that_no_interrupt_can_name_are_left_alone() {
        let chosen = choose(&[0, 254, 255, 256, 300, 256, u32::MAX], 0, 254);
        let expected = Chosen {
            ids: [0, 254].into(),
            unreachable: 3,
            beyond: 0,
        };
        assert_eq!(chosen, expected);
        let chosen = choose(&[0, 254, 255, 256, u32::MAX], 256, u32::MAX - 1);
        assert_eq!(chosen.ids, [256, 0, 254, 255]);
        assert_eq!((chosen.unreachable, chosen.beyond), (0, 0));
    }

    #[test]
    fn boot_cpu_is_driven_and_no_cpu_twice() {
        assert_eq!(choose(&[], 7, 254).ids, [7]);
        // One of the firmware's own making.
        assert_eq!(choose(&[300, 1], 300, 254).ids, [300, 1]);
        assert_eq!(choose(&[1, 0, 1, 0], 0, 254).ids, [0, 1]);
        let many: Vec<u32> = (0..100).chain(0..100).collect();
        let chosen = choose(&many, 99, 254);
        assert_eq!(chosen.ids.len(), MAX_CPUS);
        assert_eq!(chosen.ids[0], 99);
        assert_eq!((chosen.unreachable, chosen.beyond), (0, 100 - MAX_CPUS));
    }
}
