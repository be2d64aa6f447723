//! What KVM tells of the clock (Linux `Documentation/virt/kvm/x86/msr.rst`): the rate of the TSC, more exactly than it can be
//! measured, and the wall clock to the nanosecond. It is asked once, at boot; nothing of it is used from then on.

use crate::arch::x86_64::{cpuid, read_tsc, write_msr};
use crate::mem::DmaRegion;

/// `MSR_KVM_WALL_CLOCK_NEW` and `MSR_KVM_SYSTEM_TIME_NEW`.
const WALL_CLOCK: u32 = 0x4b56_4d00;
const SYSTEM_TIME: u32 = 0x4b56_4d01;
/// Sizes of `struct pvclock_wall_clock` and `struct pvclock_vcpu_time_info`.
const WALL_BYTES: usize = 12;
const TIME_BYTES: usize = 32;

/// What was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    /// Nanoseconds in 2^32 ticks of the TSC.
    pub(super) mult: u64,
    /// Wall clock since 1970 in nanoseconds, when the TSC was `tsc`.
    pub(super) wall: u64,
    pub(super) tsc: u64,
    /// Whether the TSCs of all CPUs show the same time.
    pub(super) is_common: bool,
}

/// Feature bits (Linux `Documentation/virt/kvm/x86/cpuid.rst`): the registers exist; bit 0 of the flags is told truly.
const CLOCKSOURCE2: u32 = 1 << 3;
const TELLS_STABLE: u32 = 1 << 24;

/// Returns KVM's features: its leaves come at 0x40000000, or behind Hyper-V's if QEMU offers these too.
fn features() -> u32 {
    const HYPERVISOR: u32 = 1 << 31;
    if cpuid(1, 0).ecx & HYPERVISOR == 0 {
        return 0;
    }
    let is_kvm = |base: &u32| {
        let leaf = cpuid(*base, 0);
        let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
        name.as_flattened() == b"KVMKVMKVM\0\0\0"
    };
    let base = [0x4000_0000, 0x4000_0100].into_iter().find(is_kvm);
    base.map_or(0, |base| cpuid(base + 1, 0).eax)
}

/// Asks; `None` where there is no such clock.
pub(super) fn ask() -> Option<Told> {
    let features = features();
    if features & CLOCKSOURCE2 == 0 {
        return None;
    }
    let page = DmaRegion::new(TIME_BYTES + WALL_BYTES).ok()?;
    let (time_at, wall_at) = (page.phys().0, page.phys().0 + TIME_BYTES as u64);
    // SAFETY: offered; KVM writes the 32 bytes of the page that its address names, when it runs this CPU.
    unsafe { write_msr(SYSTEM_TIME, time_at | 1) };
    // SAFETY: offered; KVM writes the 12 bytes behind them, once.
    unsafe { write_msr(WALL_CLOCK, wall_at) };
    let mut time = [0; TIME_BYTES];
    let mut wall = [0; WALL_BYTES];
    loop {
        page.read(0, &mut time);
        DmaRegion::full_fence();
        let version = page.load_u16(0);
        // Another one if KVM wrote meanwhile, odd while it writes; zero if it never did.
        if version & 1 == 0 && time[..2] == version.to_le_bytes() {
            break;
        }
        core::hint::spin_loop();
    }
    page.read(TIME_BYTES, &mut wall);
    // SAFETY: offered; from here on KVM writes the page no more.
    unsafe { write_msr(SYSTEM_TIME, 0) };
    decode(&time, &wall, read_tsc(), features & TELLS_STABLE != 0)
}

/// Converts what KVM wrote to the wall clock at `tsc`. Its flags count if it `tells_stable`.
fn decode(
    time: &[u8; TIME_BYTES],
    wall: &[u8; WALL_BYTES],
    tsc: u64,
    tells_stable: bool,
) -> Option<Told> {
    const STABLE: u8 = 1;
    let word = |bytes: &[u8], at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(word))
    };
    let long = |at| Some(u64::from(word(time, at)?) | u64::from(word(time, at + 4)?) << 32);
    let (since, system_ns) = (long(8)?, long(16)?);
    let mult = u64::from(word(time, 24)?);
    let shift = i32::from(time[28].cast_signed());
    // Nanoseconds are `(ticks << shift) * mult >> 32`.
    let mult = match u32::try_from(shift) {
        Ok(left) => mult.checked_shl(left)?,
        Err(_) => mult.checked_shr(shift.unsigned_abs())?,
    };
    let (sec, nsec) = (word(wall, 4)?, word(wall, 8)?);
    if mult == 0 || sec == 0 {
        return None;
    }
    let passed = (u128::from(tsc.saturating_sub(since)) * u128::from(mult)) >> 32;
    // The wall clock is that of the clock's zero.
    let at_zero = u64::from(sec) * 1_000_000_000 + u64::from(nsec);
    Some(Told {
        mult,
        wall: at_zero.checked_add(system_ns)?.checked_add(passed as u64)?,
        tsc,
        is_common: tells_stable && time[29] & STABLE != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(since: u64, system_ns: u64, mult: u32, shift: i8) -> [u8; TIME_BYTES] {
        let mut bytes = [0; TIME_BYTES];
        bytes[..4].copy_from_slice(&2u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&since.to_le_bytes());
        bytes[16..24].copy_from_slice(&system_ns.to_le_bytes());
        bytes[24..28].copy_from_slice(&mult.to_le_bytes());
        bytes[28] = shift.cast_unsigned();
        bytes
    }

    fn wall(sec: u32, nsec: u32) -> [u8; WALL_BYTES] {
        let mut bytes = [0; WALL_BYTES];
        bytes[4..8].copy_from_slice(&sec.to_le_bytes());
        bytes[8..].copy_from_slice(&nsec.to_le_bytes());
        bytes
    }

    #[test]
    fn rate_and_wall_clock_are_computed_as_kvm_means_them() {
        // 2 GHz: half a nanosecond a tick, which KVM writes as 2^31 unshifted; and 500 MHz, two of them, as 2^31 << 2.
        for (mult, shift, expected) in [
            (1 << 31, 0, 1 << 31),
            (1 << 31, 2, 1 << 33),
            (1 << 31, -1, 1 << 30),
        ] {
            let told = decode(&info(1000, 70, mult, shift), &wall(5, 9), 3000, true).unwrap();
            assert_eq!(told.mult, expected);
            assert_eq!(told.wall, 5_000_000_009 + 70 + ((2000 * expected) >> 32));
            assert_eq!(told.tsc, 3000);
        }
    }

    #[test]
    fn what_was_never_written_is_nothing() {
        let nothing = |time: &_, wall: &_| decode(time, wall, 1, true).is_none();
        assert!(nothing(&[0; TIME_BYTES], &[0; WALL_BYTES]));
        assert!(nothing(&info(0, 0, 1 << 31, 0), &wall(0, 0)));
        assert!(nothing(&info(0, 0, 1 << 31, 100), &wall(1, 0)));
    }

    #[test]
    fn tsc_is_common_if_the_flag_says_so_and_counts() {
        for (flags, tells_stable, is_common) in [
            (0, true, false),
            (1, true, true),
            (1, false, false),
            (2, true, false),
            (3, true, true),
        ] {
            let mut time = info(0, 0, 1 << 31, 0);
            time[29] = flags;
            let told = decode(&time, &wall(1, 0), 1, tells_stable).unwrap();
            assert_eq!(told.is_common, is_common);
        }
    }
}
