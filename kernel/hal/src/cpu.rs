//! CPUs: identity, per-CPU data, idling, inter-processor wake-ups.

use alloc::boxed::Box;

/// Most CPUs that the kernel drives; further ones stay parked (one `error` report line at boot says so).
pub const MAX_CPUS: usize = 64;

/// Index of a CPU, dense from 0 (the boot CPU).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CpuId(pub u32);

/// Returns the CPU this code runs on. Stable until the current task switches away.
#[must_use]
pub fn current() -> CpuId {
    unimplemented!()
}

/// Returns how many CPUs there are (all get started; fixed before `Entry::bsp` runs).
#[must_use]
pub fn count() -> usize {
    unimplemented!()
}

/// Makes `cpu` leave `hlt` or ring 3 soon (an IPI whose handler does nothing else; its thread gets
/// [`crate::trap::Trap::Interrupt`]). No effect on the current CPU.
pub fn kick(_cpu: CpuId) {
    unimplemented!()
}

/// Enables interrupts, halts until one arrives, runs its handler, disables interrupts again (`sti; hlt; cli`).
/// An interrupt that was pending before is taken at once, so "check queue, then wait" has no lost wake-up.
pub fn wait_for_interrupt() {
    unimplemented!()
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
        let _ = &init;
        unimplemented!()
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

/// Returns the features enabled for user space.
#[must_use]
pub fn user_features() -> UserFeatures {
    unimplemented!()
}

/// Returns the `index`th CPU's identity as `/proc/cpuinfo` shows it.
#[must_use]
pub fn identity(_cpu: CpuId) -> Identity {
    unimplemented!()
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
