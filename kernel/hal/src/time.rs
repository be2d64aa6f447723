//! Clocks: the monotonic clock (TSC), the wall clock at boot, each CPU's one-shot timer.
//!
//! The TSC's rate is measured against the ACPI power-management timer or the PIT for a few milliseconds while what needs no
//! clock comes up; KVM or CPUID may tell it more exactly. From then on the clock follows that reference, which the host keeps
//! right ([`follow_reference`]).

mod follow;
mod kvmclock;
mod reference;
mod rtc;
mod scale;

use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::Nanos;

use crate::acpi;
use crate::arch::x86_64::{apic, cpuid, max_leaf, read_tsc};
use crate::boot;
use crate::cpu_local::CpuLocal;
use crate::sync::SpinLock;
use crate::vdso;

use follow::Follower;
use kvmclock::Told;
use reference::{Reference, Sample};
use scale::SHIFT;
pub use scale::TscScale;

/// Shortest measurement, in nanoseconds of the reference clock.
const CALIBRATION_NS: u64 = 4_000_000;
/// Longest measurement, in ticks of the TSC: the power-management timer wraps after 4.7 s.
const LONGEST: u64 = 1 << 32;
/// When [`follow_reference`] is to be called for the first time.
pub const FOLLOW_AFTER: Nanos = Nanos(Nanos::PER_SEC);

static WALL_AT_BOOT: AtomicU64 = AtomicU64::new(0);
/// What the clock follows.
static FOLLOWING: SpinLock<Option<(Reference, Follower)>> = SpinLock::new(None);

/// Sets time zero; called as the very first thing.
pub(crate) fn start() {
    scale::start(read_tsc());
}

/// The measurement of the clock's rate, under way. Until it is finished, [`now`] stands at zero.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    reference: Reference,
    first: Sample,
    told: Option<Told>,
}

/// Returns the TSC's frequency in kHz if CPUID tells it (hypervisor leaf 0x40000010, or leaf 0x15).
fn khz_from_cpuid() -> Option<u64> {
    const HYPERVISOR: u32 = 1 << 31;
    if cpuid(1, 0).ecx & HYPERVISOR != 0 && cpuid(0x4000_0000, 0).eax >= 0x4000_0010 {
        return Some(u64::from(cpuid(0x4000_0010, 0).eax)).filter(|&khz| khz != 0);
    }
    if max_leaf() < 0x15 {
        return None;
    }
    let leaf = cpuid(0x15, 0);
    let (denominator, numerator, crystal) = (
        u64::from(leaf.eax),
        u64::from(leaf.ebx),
        u64::from(leaf.ecx),
    );
    (denominator != 0 && numerator != 0 && crystal != 0)
        .then(|| crystal * numerator / denominator / 1000)
}

/// Returns nanoseconds in 2^32 ticks of the TSC if KVM or CPUID tells them.
fn told_rate(told: Option<Told>) -> Option<u64> {
    let from_khz = |khz| ((1_000_000u128 << SHIFT) / u128::from(khz)) as u64;
    told.map(|told| told.mult)
        .or_else(|| khz_from_cpuid().map(from_khz))
}

/// Returns the rate to begin with: the one that was told, unless it cannot be that of this TSC.
fn choose_rate(told: Option<u64>, measured: u64) -> u64 {
    told.filter(|told| told.abs_diff(measured) < measured / 50)
        .unwrap_or(measured)
}

impl Calibration {
    fn start(reference: Reference, told: Option<Told>) -> Self {
        reference.start();
        apic::timer_start_counting();
        Self {
            reference,
            first: reference.sample(),
            told,
        }
    }

    /// Ends measuring, waiting until enough time has passed: the clocks and timers can be used from then on.
    pub fn finish(&self) {
        let mut calibration = *self;
        let reference = calibration.reference;
        let mask = reference.period() - 1;
        let last = loop {
            let sample = reference.sample();
            let first = calibration.first;
            if reference.has_run_out() || sample.tsc - first.tsc > LONGEST {
                // The host did not run us for long: what was counted says nothing.
                calibration = Calibration::start(reference, self.told);
                continue;
            }
            let ticks = sample.ticks.wrapping_sub(first.ticks) & mask;
            if ticks * 1_000_000_000 / reference.hz() >= CALIBRATION_NS {
                break sample;
            }
        };
        let first = calibration.first;
        let ticks = last.ticks.wrapping_sub(first.ticks) & mask;
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(reference.hz());
        let tsc = u128::from(last.tsc - first.tsc).max(1);
        let measured = ((ns << SHIFT) / tsc) as u64;
        scale::set_rate(choose_rate(told_rate(self.told), measured));
        let shown = scale::get().nanos_at(last.tsc);
        let follower = Follower::new(reference.hz(), reference.period(), last, shown);
        *FOLLOWING.lock() = Some((reference, follower));
        if self.told.is_some_and(|told| !told.is_common) {
            scale::expect_differences();
        }
        // Relative to the TSC, so that both clocks agree.
        let apic_ticks = u128::from(last.apic.wrapping_sub(first.apic));
        apic::set_timer_rate(((apic_ticks << 32) / tsc) as u64);
        let wall = self.told.map_or_else(wall_from_rtc, |told| {
            told.wall.saturating_sub(scale::get().nanos_at(told.tsc))
        });
        WALL_AT_BOOT.store(wall, Ordering::Relaxed);
    }
}

/// Returns the wall clock at the monotonic clock's zero by the real-time clock.
fn wall_from_rtc() -> u64 {
    // It tells whole seconds: half of one more is at most half a second off.
    const HALF: u64 = Nanos::PER_SEC / 2;
    let Some(seconds) = rtc::read() else {
        boot::console_line(format_args!(
            "tyn: this machine has no real-time clock: the wall clock begins in 1970"
        ));
        return 0;
    };
    seconds
        .saturating_mul(Nanos::PER_SEC)
        .saturating_add(HALF)
        .saturating_sub(now().0)
}

/// Starts measuring; needs memory, ACPI tables and the local APIC.
pub(crate) fn start_calibration() -> Calibration {
    let told = kvmclock::ask();
    let pm_timer = acpi::info().power.pm_timer.map(Reference::PmTimer);
    let tsc = || {
        let hz = |mult| ((u128::from(Nanos::PER_SEC) << SHIFT) / u128::from(mult)) as u64;
        told_rate(told).map(hz).map(Reference::Tsc)
    };
    let reference = pm_timer.or_else(Reference::pit).or_else(tsc);
    let Some(reference) = reference else {
        boot::refuse(format_args!(
            "no clock of known rate: neither ACPI power-management timer nor PIT, and nobody tells the rate of the TSC: \
             give the machine a PIT (-machine microvm,pit=on)"
        ))
    };
    Calibration::start(reference, told)
}

/// Returns the time since boot. Monotonic across CPUs.
#[must_use]
pub fn now() -> Nanos {
    scale::now()
}

/// Returns the wall clock (since 1970-01-01 UTC) at the monotonic clock's zero.
#[must_use]
pub fn wall_at_boot() -> Nanos {
    Nanos(WALL_AT_BOOT.load(Ordering::Relaxed))
}

/// Arms the current CPU's one-shot timer (TSC deadline or local APIC) for `deadline`, or disarms it; a deadline in the
/// past fires at once. The interrupt does nothing by itself: it ends `wait_for_interrupt` or ring 3. It may come early
/// (by rounding, or for far deadlines).
pub fn set_timer(deadline: Option<Nanos>) {
    /// Farthest deadline: the timer does not hear of a change of the clock's rate.
    const FARTHEST: u64 = 4 * Nanos::PER_SEC;
    apic::arm_timer(deadline.map(|d| scale::get().tsc_at(d.0.min(now().0 + FARTHEST))));
}

/// Returns whether the current CPU's timer has fired (its interrupt was taken) since this was asked last: it is one-shot, so
/// it is to be armed again then, and need not be otherwise.
#[must_use]
pub fn take_timer_fired() -> bool {
    CpuLocal::current().timer_fired.take()
}

/// Returns whether the TSCs of all CPUs show the same time. If not, only [`now`] tells the time: it never goes back, but stands
/// still on a CPU whose TSC is behind. Known when the calibration is finished.
#[must_use]
pub fn is_tsc_common() -> bool {
    scale::is_common()
}

/// Returns the current scale.
#[must_use]
pub fn tsc_scale() -> TscScale {
    scale::get()
}

/// Compares the clock with its reference and corrects its rate, for the vDSO as well ([`crate::vdso::data_page`]). Returns
/// after how long to do it again; the first time is [`FOLLOW_AFTER`] from the start.
pub fn follow_reference() -> Nanos {
    let mut following = FOLLOWING.lock();
    let Some((reference, follower)) = following.as_mut() else {
        return FOLLOW_AFTER;
    };
    let sample = reference.sample();
    let scale = scale::get();
    let look = follower.look(sample, scale.nanos_at(sample.tsc), scale.mult);
    if let Some(mult) = look.mult {
        scale::change(mult, vdso::tell);
    }
    Nanos(look.wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_that_was_told_is_taken_if_it_can_be_true() {
        assert_eq!(choose_rate(None, 1000), 1000);
        assert_eq!(choose_rate(Some(1010), 1000), 1010);
        assert_eq!(choose_rate(Some(990), 1000), 990);
        assert_eq!(choose_rate(Some(1030), 1000), 1000);
        assert_eq!(choose_rate(Some(0), 1000), 1000);
    }
}
