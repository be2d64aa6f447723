//! How a process ended and what it used.

use core::ops::Add;
use tyn_abi::Nanos;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// It called `exit(2)` with this code (the low eight bits).
    Exited(u8),
    /// This signal killed it.
    Signaled(u8),
}

impl ExitStatus {
    /// Returns the status word of `wait4(2)`.
    #[must_use]
    pub const fn to_wait_word(self) -> u32 {
        match self {
            Self::Exited(code) => (code as u32) << 8,
            Self::Signaled(signal) => (signal & 0x7f) as u32,
        }
    }

    /// Reads a status word of `wait4(2)`; the core-dump bit is dropped, as nothing is dumped.
    #[must_use]
    pub const fn from_wait_word(word: u32) -> Self {
        match (word & 0x7f) as u8 {
            0 => Self::Exited((word >> 8) as u8),
            signal => Self::Signaled(signal),
        }
    }

    /// Returns `si_code` (`CLD_EXITED`, `CLD_KILLED`) and `si_status` of `waitid(2)` and SIGCHLD.
    #[must_use]
    pub const fn to_siginfo(self) -> (i32, i32) {
        const CLD_EXITED: i32 = 1;
        const CLD_KILLED: i32 = 2;
        match self {
            Self::Exited(code) => (CLD_EXITED, code as i32),
            Self::Signaled(signal) => (CLD_KILLED, signal as i32),
        }
    }

    /// Returns the exit code as a shell and `tyn run` show it: the code, or 128 and the signal's number.
    #[must_use]
    pub const fn to_shell_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128u8.saturating_add(signal),
        }
    }
}

/// What a parent can be told of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChildEvent {
    /// It ended.
    Ended(ExitStatus),
    /// This signal stopped it.
    Stopped(u8),
    /// SIGCONT made it go on.
    Continued,
}

impl ChildEvent {
    /// Returns the status word of `wait4(2)`.
    #[must_use]
    pub const fn to_wait_word(self) -> u32 {
        match self {
            Self::Ended(status) => status.to_wait_word(),
            Self::Stopped(signal) => (signal as u32) << 8 | 0x7f,
            Self::Continued => 0xffff,
        }
    }

    /// Returns `si_code` and `si_status` of `waitid(2)`.
    #[must_use]
    pub const fn to_siginfo(self) -> (i32, i32) {
        const CLD_STOPPED: i32 = 5;
        const CLD_CONTINUED: i32 = 6;
        const SIGCONT: i32 = 18;
        match self {
            Self::Ended(status) => status.to_siginfo(),
            Self::Stopped(signal) => (CLD_STOPPED, signal as i32),
            Self::Continued => (CLD_CONTINUED, SIGCONT),
        }
    }
}

/// CPU time used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// In ring 3.
    pub user: Nanos,
    /// In the kernel.
    pub system: Nanos,
}

impl Add for Times {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self {
            user: self.user + rhs.user,
            system: self.system + rhs.system,
        }
    }
}
