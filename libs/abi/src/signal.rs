//! Signals (`signal(7)`): numbers, sets, `siginfo_t`, `struct sigaction`, `stack_t` and the frame on the user stack.

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// What a signal does to a process that has not said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultAction {
    /// Ends the process.
    Terminate,
    /// Ends the process; Linux would write a core file.
    Core,
    /// Nothing.
    Ignore,
    /// Stops the process.
    Stop,
    /// Continues a stopped process.
    Continue,
}

macro_rules! signals {
    ($($name:ident = $nr:literal, $action:ident, $text:literal;)*) => {
        impl Signal {
            $(#[doc = $text]
            pub const $name: Self = Self($nr);)*

            /// Returns the name, e.g. `SIGTERM`; all real-time signals are `SIGRT`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($nr => stringify!($name),)*
                    _ => "SIGRT",
                }
            }

            /// Returns the default action (`signal(7)`, "Standard signals"); real-time signals terminate.
            #[must_use]
            pub const fn default_action(self) -> DefaultAction {
                match self.0 {
                    $($nr => DefaultAction::$action,)*
                    _ => DefaultAction::Terminate,
                }
            }
        }
    };
}

signals! {
    SIGHUP = 1, Terminate, "Hangup of the terminal.";
    SIGINT = 2, Terminate, "Interrupt from the keyboard.";
    SIGQUIT = 3, Core, "Quit from the keyboard.";
    SIGILL = 4, Core, "Illegal instruction.";
    SIGTRAP = 5, Core, "Breakpoint.";
    SIGABRT = 6, Core, "Abort.";
    SIGBUS = 7, Core, "Bad memory access.";
    SIGFPE = 8, Core, "Erroneous arithmetic operation.";
    SIGKILL = 9, Terminate, "Kill; cannot be caught, blocked or ignored.";
    SIGUSR1 = 10, Terminate, "User-defined.";
    SIGSEGV = 11, Core, "Invalid memory reference.";
    SIGUSR2 = 12, Terminate, "User-defined.";
    SIGPIPE = 13, Terminate, "Write to a pipe without readers.";
    SIGALRM = 14, Terminate, "Timer of `alarm(2)`.";
    SIGTERM = 15, Terminate, "Termination.";
    SIGSTKFLT = 16, Terminate, "Coprocessor stack fault (unused).";
    SIGCHLD = 17, Ignore, "Child stopped or ended.";
    SIGCONT = 18, Continue, "Continue if stopped.";
    SIGSTOP = 19, Stop, "Stop; cannot be caught, blocked or ignored.";
    SIGTSTP = 20, Stop, "Stop from the terminal.";
    SIGTTIN = 21, Stop, "Terminal input for a background process.";
    SIGTTOU = 22, Stop, "Terminal output of a background process.";
    SIGURG = 23, Ignore, "Urgent condition on a socket.";
    SIGXCPU = 24, Core, "CPU time limit exceeded.";
    SIGXFSZ = 25, Core, "File size limit exceeded.";
    SIGVTALRM = 26, Terminate, "Virtual alarm clock.";
    SIGPROF = 27, Terminate, "Profiling timer.";
    SIGWINCH = 28, Ignore, "Window resize.";
    SIGIO = 29, Terminate, "I/O now possible.";
    SIGPWR = 30, Terminate, "Power failure.";
    SIGSYS = 31, Core, "Bad system call.";
}

impl Signal {
    /// First real-time signal of the kernel (`SIGRTMIN` of glibc is higher).
    pub const SIGRTMIN: Self = Self(32);
    /// Largest number.
    pub const MAX: u8 = 64;

    /// Converts from a number; `None` unless it is 1 to 64.
    #[must_use]
    pub const fn from_number(nr: u32) -> Option<Self> {
        if nr >= 1 && nr <= Self::MAX as u32 {
            Some(Self(nr as u8))
        } else {
            None
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns whether several instances queue up, in order.
    #[must_use]
    pub const fn is_realtime(self) -> bool {
        self.0 >= Self::SIGRTMIN.0
    }

    /// Iterates over all signals, lowest number first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::MAX).map(Self)
    }
}

impl core::fmt::Debug for Signal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

/// A set of signals as the kernel has it (`sigset_t`, 8 bytes): bit N - 1 is signal N.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// The signals that cannot be blocked, caught or ignored.
    pub const UNBLOCKABLE: Self = Self::EMPTY.with(Signal::SIGKILL).with(Signal::SIGSTOP);
    /// The signals whose default action stops the process.
    pub const STOP: Self = Self::EMPTY
        .with(Signal::SIGSTOP)
        .with(Signal::SIGTSTP)
        .with(Signal::SIGTTIN)
        .with(Signal::SIGTTOU);
    /// The signals that an instruction causes; they are delivered before all others.
    pub const SYNCHRONOUS: Self = Self::EMPTY
        .with(Signal::SIGSEGV)
        .with(Signal::SIGBUS)
        .with(Signal::SIGILL)
        .with(Signal::SIGTRAP)
        .with(Signal::SIGFPE)
        .with(Signal::SIGSYS);

    /// Returns the set with `signal` added.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.0 - 1))
    }

    /// Returns the set of that signal alone.
    #[must_use]
    pub const fn only(signal: Signal) -> Self {
        Self::EMPTY.with(signal)
    }

    /// Returns whether `signal` is in the set.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 >> (signal.0 - 1) & 1 == 1
    }

    /// Returns the signals in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the signals in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the signals of this set that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether no signal is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the lowest signal of the set.
    #[must_use]
    pub const fn lowest(self) -> Option<Signal> {
        if self.0 == 0 {
            None
        } else {
            Some(Signal(self.0.trailing_zeros() as u8 + 1))
        }
    }
}

mod action;
mod frame;
mod info;
mod record;

pub use action::{
    AltStack, MINSIGSTKSZ, SIG_DFL, SIG_IGN, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SaFlags,
    SigAction,
};
pub use frame::{
    FPSTATE_MAGIC_BYTES, FRAME_BYTES, FrameRegs, SignalFrame, find_extended, init_extended, place,
    seal_extended,
};
pub use info::{SigInfo, code};

#[cfg(test)]
mod tests;
