//! The state of a lock whose waiters park.
//!
//! Who finds the lock taken leaves word of that in the state, so that giving it back costs nothing while nobody waits. All who
//! wait are unparked then: whoever does not get the lock leaves word anew before parking again.
//!
//! ```text
//!        take                 wait: not theirs
//!  Free ------> Taken ------------------------------> Awaited
//!   ^             |                                      |
//!   +-------------+-- release --------- release: unpark --+
//! ```

/// Whether a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum SleepLockState {
    /// By nobody.
    Free = 0,
    /// By somebody; nobody waits.
    Taken = 1,
    /// By somebody; others may wait.
    Awaited = 2,
}

impl SleepLockState {
    /// Converts from the number that [`SleepLockState`] as `u8` gives.
    #[must_use]
    pub const fn from_u8(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Free,
            1 => Self::Taken,
            2 => Self::Awaited,
            _ => return None,
        })
    }

    /// Somebody wants the lock; returns whether it is theirs now. If not, they register as a waiter, then try
    /// [`SleepLockState::wait`] before each park.
    #[must_use]
    pub const fn take(self) -> (Self, bool) {
        match self {
            Self::Free => (Self::Taken, true),
            Self::Taken | Self::Awaited => (self, false),
        }
    }

    /// Somebody who is registered as a waiter wants the lock; returns whether it is theirs now.
    #[must_use]
    pub const fn wait(self) -> (Self, bool) {
        match self {
            Self::Free => (Self::Taken, true),
            Self::Taken | Self::Awaited => (Self::Awaited, false),
        }
    }

    /// The holder gives the lock back; returns whether those who are registered are to be unparked.
    #[must_use]
    pub const fn release(self) -> (Self, bool) {
        (Self::Free, matches!(self, Self::Awaited))
    }
}

#[cfg(test)]
mod tests;
