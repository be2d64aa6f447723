//! Sequence numbers: 32 bits that wrap (RFC 9293 §3.4).

use core::ops::{Add, Sub};

/// A sequence number. Two are compared by the shorter way round; there is no total order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// Returns how far `self` lies behind `other`: negative when it lies before it.
    #[must_use]
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// Returns the distance from `other` up to `self`, 0 when `self` lies before it.
    #[must_use]
    pub const fn beyond(self, other: Self) -> usize {
        let distance = self.since(other);
        if distance < 0 { 0 } else { distance as usize }
    }

    /// Returns whether `self` lies before `other`.
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// Returns whether `self` lies behind `other`.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        self.since(other) > 0
    }

    /// Returns the later of two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if other.is_after(self) { other } else { self }
    }

    /// Returns the earlier of two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }
}

impl Add<usize> for Seq {
    type Output = Self;
    fn add(self, n: usize) -> Self {
        Self(self.0.wrapping_add(n as u32))
    }
}

impl Sub<usize> for Seq {
    type Output = Self;
    fn sub(self, n: usize) -> Self {
        Self(self.0.wrapping_sub(n as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap() {
        let (a, b) = (Seq(u32::MAX - 1), Seq(3));
        assert!(a.is_before(b) && b.is_after(a) && !a.is_after(a));
        assert_eq!((b.since(a), b.beyond(a), a.beyond(b)), (5, 5, 0));
        assert_eq!((a.max(b), b.max(a), a.min(b), b.min(a)), (b, b, a, a));
        assert_eq!((a + 5, b - 5), (b, a));
    }
}
