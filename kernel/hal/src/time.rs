//! Clocks: the monotonic clock (TSC), the wall clock at boot, each CPU's one-shot timer.
//!
//! The TSC's rate comes from CPUID where a hypervisor or the CPU tells it, else it is measured against the ACPI
//! power-management timer or the PIT for a few milliseconds while what needs no clock comes up.

use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::Nanos;

use crate::acpi;
use crate::arch::x86_64::{apic, cpuid, in_u8, in_u32, max_leaf, out_u8, read_tsc};
use crate::cpu_local::CpuLocal;

/// Shortest measurement, in nanoseconds of the reference clock.
const CALIBRATION_NS: u64 = 4_000_000;
/// Longest measurement, in ticks of the TSC: the power-management timer wraps after 4.7 s.
const LONGEST: u64 = 1 << 32;
/// Frequency of the ACPI power-management timer in Hz.
const PM_TIMER_HZ: u64 = 3_579_545;
/// Frequency of the PIT in Hz.
const PIT_HZ: u64 = 1_193_182;
/// Right shift that belongs to [`MULT`].
const SHIFT: u32 = 32;

/// TSC at time zero.
static BASE_TSC: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds in 2^32 TSC ticks; 0 before calibration.
static MULT: AtomicU64 = AtomicU64::new(0);
static WALL_AT_BOOT: AtomicU64 = AtomicU64::new(0);

/// Sets time zero; called as the very first thing.
pub(crate) fn start() {
    BASE_TSC.store(read_tsc(), Ordering::Relaxed);
}

/// A clock of known rate.
#[derive(Clone, Copy, Debug)]
enum Reference {
    PmTimer(u16),
    Pit,
}

impl Reference {
    fn hz(self) -> u64 {
        match self {
            Self::PmTimer(_) => PM_TIMER_HZ,
            Self::Pit => PIT_HZ,
        }
    }

    /// Starts the clock where it needs that: PIT channel 2 counts down from 65536, speaker off.
    fn start(self) {
        if let Self::Pit = self {
            for (port, value) in [(0x61, 0x01), (0x43, 0xb0), (0x42, 0xff), (0x42, 0xff)] {
                // SAFETY: PIT channel 2 and its gate, which only hal uses.
                unsafe { out_u8(port, value) };
            }
        }
    }

    /// Returns whether the clock can no longer tell how much time has passed since [`Reference::start`]: the PIT's output is
    /// high once it has counted down (mode 0), after 55 ms. The other one goes on for 4.7 s.
    fn has_run_out(self) -> bool {
        /// Read-back command: latch the status of channel 2 (Intel 8254).
        const STATUS_2: u8 = 0xe8;
        const OUTPUT: u8 = 0x80;
        match self {
            Self::PmTimer(_) => false,
            Self::Pit => {
                // SAFETY: PIT channel 2, which only hal uses.
                unsafe { out_u8(0x43, STATUS_2) };
                // SAFETY: reads the latched status.
                let status = unsafe { in_u8(0x42) };
                status & OUTPUT != 0
            }
        }
    }

    /// Returns ticks that count upwards modulo the returned mask plus one.
    fn read(self) -> (u64, u64) {
        match self {
            // SAFETY: reading the timer has no effects.
            Self::PmTimer(port) => (u64::from(unsafe { in_u32(port) } & 0xff_ffff), 0xff_ffff),
            Self::Pit => {
                // SAFETY: latches PIT channel 2, which only hal uses.
                unsafe { out_u8(0x43, 0x80) };
                // SAFETY: reads the latched count.
                let low = unsafe { in_u8(0x42) };
                // SAFETY: reads the latched count.
                let high = unsafe { in_u8(0x42) };
                (0xffff - u64::from(u16::from_le_bytes([low, high])), 0xffff)
            }
        }
    }

    /// Reads the clock, the TSC and the APIC timer at nearly the same moment: the closest of a few tries, since the host may take
    /// the CPU away in the middle of one.
    fn sample(self) -> Sample {
        let try_once = || {
            let before = read_tsc();
            let apic = apic::timer_elapsed();
            let tsc = read_tsc();
            let (ticks, _) = self.read();
            let after = read_tsc();
            (after - before, Sample { ticks, tsc, apic })
        };
        let mut best = try_once();
        for _ in 0..7 {
            let next = try_once();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    ticks: u64,
    tsc: u64,
    apic: u32,
}

/// The measurement of the clock's rate, under way. Until it is finished, [`now`] stands at zero.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    reference: Reference,
    first: Sample,
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

impl Calibration {
    fn start(reference: Reference) -> Self {
        reference.start();
        apic::timer_start_counting();
        Self {
            reference,
            first: reference.sample(),
        }
    }

    /// Ends measuring, waiting until enough time has passed: the clocks and timers can be used from then on.
    pub fn finish(&self) {
        let mut calibration = *self;
        let reference = calibration.reference;
        let (_, mask) = reference.read();
        let last = loop {
            let sample = reference.sample();
            let first = calibration.first;
            if reference.has_run_out() || sample.tsc - first.tsc > LONGEST {
                // The host did not run us for long: what was counted says nothing.
                calibration = Calibration::start(reference);
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
        let mult = match khz_from_cpuid() {
            Some(khz) => (1_000_000u128 << SHIFT) / u128::from(khz),
            None => (ns << SHIFT) / tsc,
        };
        MULT.store(mult as u64, Ordering::Relaxed);
        // Relative to the TSC, so that both clocks agree.
        let apic_ticks = u128::from(last.apic.wrapping_sub(first.apic));
        let measured_ns = ((tsc * mult) >> SHIFT).max(1);
        apic::set_timer_rate(((apic_ticks << 32) / measured_ns) as u64);
        // The clock tells whole seconds: half of one more is at most half a second off.
        const HALF: u64 = Nanos::PER_SEC / 2;
        WALL_AT_BOOT.store(
            read_rtc()
                .saturating_mul(Nanos::PER_SEC)
                .saturating_add(HALF)
                .saturating_sub(now().0),
            Ordering::Relaxed,
        );
    }
}

/// Starts measuring; needs ACPI tables and the local APIC.
pub(crate) fn start_calibration() -> Calibration {
    let pm_timer = acpi::info().power.pm_timer;
    Calibration::start(pm_timer.map_or(Reference::Pit, Reference::PmTimer))
}

/// Returns the time since boot. Monotonic across CPUs.
#[must_use]
pub fn now() -> Nanos {
    nanos_at(read_tsc())
}

fn nanos_at(tsc: u64) -> Nanos {
    let ticks = tsc.saturating_sub(BASE_TSC.load(Ordering::Relaxed));
    Nanos(((u128::from(ticks) * u128::from(MULT.load(Ordering::Relaxed))) >> SHIFT) as u64)
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
    let mult = u128::from(MULT.load(Ordering::Relaxed)).max(1);
    apic::arm_timer(deadline.map(|d| {
        let ticks = (u128::from(d.0) << SHIFT).div_ceil(mult);
        let tsc = u64::try_from(ticks)
            .unwrap_or(u64::MAX)
            .saturating_add(BASE_TSC.load(Ordering::Relaxed));
        // One tick of a slow timer more, so that it does not fire just before the deadline.
        (tsc, d.0.saturating_sub(now().0) + 20)
    }));
}

/// Returns whether the current CPU's timer has fired (its interrupt was taken) since this was asked last: it is one-shot, so
/// it is to be armed again then, and need not be otherwise.
#[must_use]
pub fn take_timer_fired() -> bool {
    CpuLocal::current().timer_fired.take()
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
    TscScale {
        base_tsc: BASE_TSC.load(Ordering::Relaxed),
        base_ns: 0,
        mult: MULT.load(Ordering::Relaxed),
        shift: SHIFT,
    }
}

/// Reads a CMOS register.
#[inline(never)]
fn cmos(register: u8) -> u8 {
    // SAFETY: selects a clock register (NMI stays enabled); only hal uses these ports.
    unsafe { out_u8(0x70, register) };
    // SAFETY: reading it has no effects.
    unsafe { in_u8(0x71) }
}

/// Reads the real-time clock: seconds since 1970. Two equal readings in a row are taken, so no update fell in between.
fn read_rtc() -> u64 {
    let read = || [0, 2, 4, 7, 8, 9].map(cmos);
    let mut last = read();
    for _ in 0..16 {
        let next = read();
        if next == last {
            break;
        }
        last = next;
    }
    decode_rtc(last, cmos(0x0b))
}

/// Converts clock registers (seconds, minutes, hours, day, month, year) to seconds since 1970; `status_b` says whether they
/// are binary (bit 2) and 24-hour (bit 1).
fn decode_rtc(registers: [u8; 6], status_b: u8) -> u64 {
    const BINARY: u8 = 4;
    const HOURS_24: u8 = 2;
    const PM: u8 = 0x80;
    let value = |r: u8| {
        if status_b & BINARY != 0 {
            u64::from(r)
        } else {
            u64::from(r >> 4) * 10 + u64::from(r & 15)
        }
    };
    let [second, minute, hour, day, month, year] = registers;
    let mut hours = value(hour & !PM);
    if status_b & HOURS_24 == 0 {
        hours = hours % 12 + if hour & PM != 0 { 12 } else { 0 };
    }
    let days = days_from_civil(
        2000 + value(year),
        value(month).clamp(1, 12),
        value(day).max(1),
    );
    ((days * 24 + hours) * 60 + value(minute)) * 60 + value(second)
}

/// Returns the days from 1970-01-01 to a Gregorian date from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    // Years from March on, so that the leap day is the last one.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
        assert_eq!(days_from_civil(2026, 11, 24), 20_781);
    }

    #[test]
    fn rtc_is_read_in_bcd_and_binary() {
        let noon = (20_781 * 24 + 13) * 3600 + 59 * 60 + 58;
        assert_eq!(decode_rtc([0x58, 0x59, 0x13, 0x24, 0x11, 0x26], 2), noon);
        assert_eq!(decode_rtc([58, 59, 13, 24, 11, 26], 6), noon);
        assert_eq!(decode_rtc([0x58, 0x59, 0x81, 0x24, 0x11, 0x26], 0), noon);
    }
}
