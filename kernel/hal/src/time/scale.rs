//! From ticks of the TSC to nanoseconds, and how all CPUs see a change of that at once.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use tyn_abi::Nanos;

use crate::arch::x86_64::read_tsc;

/// Right shift that belongs to [`TscScale::mult`].
pub(super) const SHIFT: u32 = 32;

/// Conversion of the time-stamp counter to nanoseconds: `ns = base_ns + ((tsc - base_tsc) * mult) >> shift` in 128-bit
/// arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TscScale {
    /// TSC value at `base_ns`.
    pub base_tsc: u64,
    /// Monotonic nanoseconds at `base_tsc`.
    pub base_ns: u64,
    /// Multiplier: nanoseconds in 2^32 ticks.
    pub mult: u64,
    /// Right shift.
    pub shift: u32,
}

impl TscScale {
    /// Returns the time at a value of the TSC, of now or later than the base.
    #[must_use]
    pub fn nanos_at(&self, tsc: u64) -> u64 {
        let ticks = u128::from(tsc.saturating_sub(self.base_tsc));
        self.base_ns + ((ticks * u128::from(self.mult)) >> self.shift) as u64
    }

    /// Returns the least value of the TSC at which the time is `ns`; before the base it is the base.
    pub(super) fn tsc_at(&self, ns: u64) -> u64 {
        let ns = u128::from(ns.saturating_sub(self.base_ns));
        let ticks = (ns << self.shift).div_ceil(u128::from(self.mult).max(1));
        u64::try_from(ticks)
            .unwrap_or(u64::MAX)
            .saturating_add(self.base_tsc)
    }

    /// Returns the scale that goes on from this one at `tsc` at another rate. It is a nanosecond ahead: who read the TSC a
    /// moment after `tsc` and used the old scale must not have seen a later time than the new one shows.
    fn continued(&self, tsc: u64, mult: u64) -> Self {
        Self {
            base_tsc: tsc,
            base_ns: self.nanos_at(tsc) + 1,
            mult,
            shift: SHIFT,
        }
    }
}

/// The scale in use: a sequence lock, whose count is odd while it changes.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);
static BASE_TSC: AtomicU64 = AtomicU64::new(0);
static BASE_NS: AtomicU64 = AtomicU64::new(0);
static MULT: AtomicU64 = AtomicU64::new(0);

/// Sets time zero. Before [`set_rate`] time stands still there.
pub(super) fn start(tsc: u64) {
    BASE_TSC.store(tsc, Ordering::Relaxed);
}

/// Sets the rate, from time zero on; before there is another CPU.
pub(super) fn set_rate(mult: u64) {
    MULT.store(mult, Ordering::Relaxed);
}

fn load() -> TscScale {
    TscScale {
        base_tsc: BASE_TSC.load(Ordering::Relaxed),
        base_ns: BASE_NS.load(Ordering::Relaxed),
        mult: MULT.load(Ordering::Relaxed),
        shift: SHIFT,
    }
}

/// Calls `read` with the scale, until it did not change meanwhile.
fn consistent<T>(read: impl Fn(TscScale) -> T) -> T {
    loop {
        let sequence = SEQUENCE.load(Ordering::Acquire);
        let value = read(load());
        // Pairs with the one of `change`.
        fence(Ordering::Acquire);
        if sequence & 1 == 0 && SEQUENCE.load(Ordering::Relaxed) == sequence {
            return value;
        }
        core::hint::spin_loop();
    }
}

/// Returns the scale as it is now.
pub(super) fn get() -> TscScale {
    consistent(|scale| scale)
}

/// Whether TSCs may differ from CPU to CPU, and the latest time that any CPU has seen then.
static MAY_DIFFER: AtomicBool = AtomicBool::new(false);
static LATEST: AtomicU64 = AtomicU64::new(0);

/// Notes that the TSC of one CPU may be behind another's. Before there is another CPU.
pub(super) fn expect_differences() {
    MAY_DIFFER.store(true, Ordering::Relaxed);
}

/// Returns whether the TSCs of all CPUs show the same time.
pub(super) fn is_common() -> bool {
    !MAY_DIFFER.load(Ordering::Relaxed)
}

/// Returns the time.
#[inline(never)]
pub(super) fn now() -> Nanos {
    let ns = consistent(|scale| scale.nanos_at(read_tsc()));
    Nanos(if is_common() {
        ns
    } else {
        not_before(&LATEST, ns)
    })
}

/// Returns the time that a CPU reads as `ns`, or the `latest` that another one has seen.
fn not_before(latest: &AtomicU64, ns: u64) -> u64 {
    latest.fetch_max(ns, Ordering::Relaxed).max(ns)
}

/// Lets time go on at another rate from now on. `tell` is given the new scale while nobody can read either; called by one
/// CPU at a time.
pub(super) fn change(mult: u64, tell: impl FnOnce(&TscScale)) {
    let old = load();
    let sequence = SEQUENCE.load(Ordering::Relaxed);
    SEQUENCE.store(sequence | 1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    let new = old.continued(read_tsc(), mult);
    BASE_TSC.store(new.base_tsc, Ordering::Relaxed);
    BASE_NS.store(new.base_ns, Ordering::Relaxed);
    MULT.store(new.mult, Ordering::Relaxed);
    tell(&new);
    SEQUENCE.store((sequence | 1) + 1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_A_NS: u64 = 1 << 31;

    #[test]
    fn time_goes_on_at_another_rate_and_never_back() {
        let old = TscScale {
            base_tsc: 1000,
            base_ns: 70,
            mult: HALF_A_NS,
            shift: SHIFT,
        };
        assert_eq!(
            [0, 1000, 1002, 1003].map(|t| old.nanos_at(t)),
            [70, 70, 71, 71]
        );
        for mult in [HALF_A_NS - 1000, HALF_A_NS, HALF_A_NS + 1000] {
            let new = old.continued(3001, mult);
            // Also for whoever was some ticks late.
            for late in 0..1000 {
                assert!(new.nanos_at(3001 + late) >= old.nanos_at(3001 + late));
                assert!(new.nanos_at(3001 + late) <= old.nanos_at(3001 + late) + 1);
            }
        }
    }

    #[test]
    fn clocks_that_differ_show_no_time_before_another() {
        extern crate std;
        let latest = AtomicU64::new(0);
        // What was seen by any, before the next read begins.
        let seen = AtomicU64::new(0);
        let read = |tick: u64, behind: u64| {
            let before = seen.load(Ordering::SeqCst);
            let ns = not_before(&latest, tick - behind);
            assert!(ns >= before && ns >= tick - behind);
            seen.fetch_max(ns, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for behind in [0, 500, 20_000] {
                let read = &read;
                scope.spawn(move || (20_000..60_000).for_each(|tick| read(tick, behind)));
            }
        });
        assert_eq!(latest.into_inner(), 59_999);
    }

    #[test]
    fn deadlines_are_not_early() {
        let scale = TscScale {
            base_tsc: 1000,
            base_ns: 70,
            mult: 1_717_986_918,
            shift: SHIFT,
        };
        assert_eq!(scale.tsc_at(0), 1000);
        for ns in (70..10_000).chain([1 << 40, u64::MAX / 4]) {
            let tsc = scale.tsc_at(ns);
            assert!(scale.nanos_at(tsc) >= ns);
            assert!(tsc == 1000 || scale.nanos_at(tsc - 1) < ns);
        }
        assert_eq!(TscScale { mult: 0, ..scale }.tsc_at(u64::MAX), u64::MAX);
    }
}
