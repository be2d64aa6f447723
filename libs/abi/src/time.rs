//! Points in time and durations.

use core::ops::{Add, Sub};

/// Nanoseconds: a point on the monotonic clock (since boot) or a duration, as the context says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// The far future: about 584 years after boot.
    pub const MAX: Self = Self(u64::MAX);
    /// Nanoseconds in a second.
    pub const PER_SEC: u64 = 1_000_000_000;

    /// Returns the number of milliseconds as nanoseconds, saturating.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Returns whole seconds and the remaining nanoseconds.
    #[must_use]
    pub const fn split(self) -> (u64, u32) {
        (self.0 / Self::PER_SEC, (self.0 % Self::PER_SEC) as u32)
    }
}

impl Add for Nanos {
    type Output = Self;
    /// Adds, saturating.
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Nanos {
    type Output = Self;
    /// Subtracts, saturating at zero.
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

/// `struct timespec` (`timespec(3type)`): 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999 when valid.
    pub nsec: i64,
}

impl Timespec {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 16;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; 16]) -> Self {
        let (s, n) = b.split_at(8);
        let le = |b: &[u8]| {
            b.iter()
                .rev()
                .fold(0u64, |a, &x| a << 8 | u64::from(x))
                .cast_signed()
        };
        Self {
            sec: le(s),
            nsec: le(n),
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut b = [0; 16];
        b[..8].copy_from_slice(&self.sec.to_le_bytes());
        b[8..].copy_from_slice(&self.nsec.to_le_bytes());
        b
    }

    /// Returns the duration, or `None` when a field is out of range (`EINVAL` to the caller).
    #[must_use]
    pub fn to_nanos(self) -> Option<Nanos> {
        let sec = u64::try_from(self.sec).ok()?;
        let nsec = u64::try_from(self.nsec)
            .ok()
            .filter(|&n| n < Nanos::PER_SEC)?;
        Some(Nanos(
            sec.saturating_mul(Nanos::PER_SEC).saturating_add(nsec),
        ))
    }

    /// Splits a count of nanoseconds.
    #[must_use]
    pub fn from_nanos(n: Nanos) -> Self {
        let (s, ns) = n.split();
        Self {
            sec: s.cast_signed(),
            nsec: i64::from(ns),
        }
    }
}
