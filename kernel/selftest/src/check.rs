//! How a case says what went wrong.

use alloc::string::String;
use core::fmt::Debug;

/// What a case returns: nothing, or why it failed.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Fails the case with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(alloc::format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// Fails the case unless the two are equal; `what` names them.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers compare results of calls"
)]
pub(crate) fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Outcome {
    ensure!(
        found == expected,
        "{what}: found {found:x?}, expected {expected:x?}"
    );
    Ok(())
}

/// Names what could not be had.
pub(crate) fn need<T, E: Debug>(what: &str, result: Result<T, E>) -> Outcome<T> {
    result.map_err(|e| alloc::format!("{what}: {e:?}"))
}

/// A small generator of arbitrary numbers (xorshift), so that runs are alike.
#[derive(Debug)]
pub(crate) struct Arbitrary(u64);

impl Arbitrary {
    /// Starts a sequence.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
