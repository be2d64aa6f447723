//! The state of a thread that parks and is unparked.
//!
//! A thread is put on a run queue by whoever makes the transition that says so, and by nobody else; hence it is never
//! on two. It is put there only when its context is saved: while it is on its way out of a CPU ([`ParkState::Parking`])
//! an unpark only marks it ([`ParkState::Woken`]), and the next context on that CPU, which completes the park, sees it.
//!
//! ```text
//!            unpark                     begin_park: stay (uses the token)
//!  Running ----------> Notified  ------------------------------------------> Running
//!     | begin_park: leave
//!     v          unpark
//!  Parking ------------------> Woken
//!     | finish_park              | finish_park: enqueue
//!     v          unpark: enqueue v
//!  Parked ------------------> Running
//! ```
//! `Running` stands for "on a CPU or on a run queue": preemption needs no transition here.

/// Where a thread is between running and parked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ParkState {
    /// On a CPU or a run queue, without a token.
    Running = 0,
    /// The same, and an unpark came: the next park returns at once.
    Notified = 1,
    /// Decided to park; its context may still be in use on its CPU.
    Parking = 2,
    /// Unparked while [`ParkState::Parking`].
    Woken = 3,
    /// Parked, context saved.
    Parked = 4,
}

/// What a thread that wants to park does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeginPark {
    /// Goes on running: there was a token.
    Stay,
    /// Switches away.
    Leave,
}

/// Who gets the thread after a transition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handover {
    /// Nobody: it stays where it is.
    None,
    /// The caller puts it on a run queue.
    Enqueue,
}

impl ParkState {
    /// Converts from the number that [`ParkState`] as `u8` gives.
    #[must_use]
    pub const fn from_u8(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Running,
            1 => Self::Notified,
            2 => Self::Parking,
            3 => Self::Woken,
            4 => Self::Parked,
            _ => return None,
        })
    }

    /// The thread itself wants to park.
    ///
    /// # Panics
    /// When the thread is not running.
    #[must_use]
    pub const fn begin_park(self) -> (Self, BeginPark) {
        match self {
            Self::Running => (Self::Parking, BeginPark::Leave),
            Self::Notified => (Self::Running, BeginPark::Stay),
            Self::Parking | Self::Woken | Self::Parked => {
                panic!("invariant: only a running thread parks")
            }
        }
    }

    /// The context that runs next on the thread's CPU completes the park.
    ///
    /// # Panics
    /// When the thread was not parking.
    #[must_use]
    pub const fn finish_park(self) -> (Self, Handover) {
        match self {
            Self::Parking => (Self::Parked, Handover::None),
            Self::Woken => (Self::Running, Handover::Enqueue),
            Self::Running | Self::Notified | Self::Parked => {
                panic!("invariant: only a parking thread completes its park")
            }
        }
    }

    /// Anybody wants the thread to run.
    #[must_use]
    pub const fn unpark(self) -> (Self, Handover) {
        match self {
            Self::Running | Self::Notified => (Self::Notified, Handover::None),
            Self::Parking | Self::Woken => (Self::Woken, Handover::None),
            Self::Parked => (Self::Running, Handover::Enqueue),
        }
    }
}

#[cfg(test)]
mod tests;
