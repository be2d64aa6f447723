//! Clocks: the monotonic clock (TSC), the wall clock at boot, each CPU's one-shot timer.

use tyn_abi::Nanos;

/// Returns the time since boot. Monotonic across CPUs.
#[must_use]
pub fn now() -> Nanos {
    unimplemented!()
}

/// Returns the wall clock (since 1970-01-01 UTC) at the monotonic clock's zero.
#[must_use]
pub fn wall_at_boot() -> Nanos {
    unimplemented!()
}

/// Arms the current CPU's one-shot timer (TSC deadline or local APIC) for `deadline`, or disarms it; a deadline in the
/// past fires at once. The interrupt does nothing by itself: it ends `wait_for_interrupt` or ring 3.
pub fn set_timer(deadline: Option<Nanos>) {
    let _ = deadline;
    unimplemented!()
}

/// Conversion of the time-stamp counter to nanoseconds, for the vDSO: `ns = base_ns + ((tsc - base_tsc) * mult) >> shift`
/// in 128-bit arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct TscScale {
    /// TSC value at `base_ns`.
    pub base_tsc: u64,
    /// Monotonic nanoseconds at `base_tsc`.
    pub base_ns: u64,
    /// Multiplier.
    pub mult: u64,
    /// Right shift.
    pub shift: u32,
}

/// Returns the current scale.
#[must_use]
pub fn tsc_scale() -> TscScale {
    unimplemented!()
}
