//! Signals (`signal(7)`): numbers, sets, `siginfo_t`, `struct sigaction`, `stack_t` and the frame on the user stack.

use crate::errno::Errno;
use crate::types::UserVa;

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

/// Values of `si_code` (`sigaction(2)`).
pub mod code {
    /// Sent by `kill(2)`.
    pub const SI_USER: i32 = 0;
    /// Sent by the kernel.
    pub const SI_KERNEL: i32 = 0x80;
    /// Sent by `sigqueue(3)`.
    pub const SI_QUEUE: i32 = -1;
    /// POSIX timer expired.
    pub const SI_TIMER: i32 = -2;
    /// Sent by `tkill(2)` or `tgkill(2)`.
    pub const SI_TKILL: i32 = -6;
    /// SIGILL: illegal operand.
    pub const ILL_ILLOPN: i32 = 2;
    /// SIGFPE: integer divide by zero.
    pub const FPE_INTDIV: i32 = 1;
    /// SIGFPE: integer overflow.
    pub const FPE_INTOVF: i32 = 2;
    /// SIGFPE: floating-point divide by zero.
    pub const FPE_FLTDIV: i32 = 3;
    /// SIGFPE: floating-point overflow.
    pub const FPE_FLTOVF: i32 = 4;
    /// SIGFPE: floating-point underflow.
    pub const FPE_FLTUND: i32 = 5;
    /// SIGFPE: floating-point inexact result.
    pub const FPE_FLTRES: i32 = 6;
    /// SIGFPE: invalid floating-point operation.
    pub const FPE_FLTINV: i32 = 7;
    /// SIGSEGV: address not mapped.
    pub const SEGV_MAPERR: i32 = 1;
    /// SIGSEGV: access forbidden by the mapping.
    pub const SEGV_ACCERR: i32 = 2;
    /// SIGBUS: bad alignment.
    pub const BUS_ADRALN: i32 = 1;
    /// SIGBUS: no such physical address (past the end of a mapped file).
    pub const BUS_ADRERR: i32 = 2;
    /// SIGTRAP: breakpoint.
    pub const TRAP_BRKPT: i32 = 1;
    /// SIGTRAP: trace trap.
    pub const TRAP_TRACE: i32 = 2;
    /// SIGCHLD: the child exited.
    pub const CLD_EXITED: i32 = 1;
    /// SIGCHLD: the child was killed.
    pub const CLD_KILLED: i32 = 2;
    /// SIGCHLD: the child was killed and would have dumped core.
    pub const CLD_DUMPED: i32 = 3;
    /// SIGCHLD: the child stopped.
    pub const CLD_STOPPED: i32 = 5;
    /// SIGCHLD: the child continued.
    pub const CLD_CONTINUED: i32 = 6;
}

/// `siginfo_t` in the kernel's layout (128 bytes): number at 0, errno at 4, code at 8, the rest from 16.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigInfo([u8; 128]);

impl core::fmt::Debug for SigInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigInfo({:?}, code {})", self.signal(), self.code())
    }
}

impl SigInfo {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 128;

    fn with_code(signal: Signal, code: i32) -> Self {
        let mut info = Self([0; 128]);
        info.put(0, &i32::from(signal.0).to_le_bytes());
        info.put(8, &code.to_le_bytes());
        info
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (dst, src) in self.0.iter_mut().skip(at).zip(bytes) {
            *dst = *src;
        }
    }

    fn word(&self, at: usize) -> i32 {
        let mut le = [0; 4];
        for (dst, src) in le.iter_mut().zip(self.0.iter().skip(at)) {
            *dst = *src;
        }
        i32::from_le_bytes(le)
    }

    /// Sent by a process (`SI_USER`, `SI_TKILL`): `si_pid`, `si_uid`.
    #[must_use]
    pub fn from_process(signal: Signal, code: i32, pid: u32, uid: u32) -> Self {
        let mut info = Self::with_code(signal, code);
        info.put(16, &pid.to_le_bytes());
        info.put(20, &uid.to_le_bytes());
        info
    }

    /// Sent by the kernel (`SI_KERNEL`).
    #[must_use]
    pub fn from_kernel(signal: Signal) -> Self {
        Self::with_code(signal, code::SI_KERNEL)
    }

    /// Caused by an instruction: `si_addr`.
    #[must_use]
    pub fn from_fault(signal: Signal, code: i32, addr: UserVa) -> Self {
        let mut info = Self::with_code(signal, code);
        info.put(16, &addr.0.to_le_bytes());
        info
    }

    /// SIGCHLD: `si_pid`, `si_uid`, `si_status` (exit code or signal), `si_utime` and `si_stime` in clock ticks.
    #[must_use]
    pub fn from_child(code: i32, pid: u32, uid: u32, status: i32, utime: u64, stime: u64) -> Self {
        let mut info = Self::from_process(Signal::SIGCHLD, code, pid, uid);
        info.put(24, &status.to_le_bytes());
        info.put(32, &utime.to_le_bytes());
        info.put(40, &stime.to_le_bytes());
        info
    }

    /// As a process passed it (`rt_sigqueueinfo(2)`), with the number replaced; `None` when `signal` is not one.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 128], signal: Signal) -> Self {
        bytes[..4].copy_from_slice(&i32::from(signal.0).to_le_bytes());
        Self(bytes)
    }

    /// Returns the kernel layout.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 128] {
        self.0
    }

    /// Returns the signal.
    #[must_use]
    pub fn signal(&self) -> Signal {
        // Every constructor stores a valid number.
        Signal::from_number(self.word(0).cast_unsigned()).unwrap_or(Signal::SIGKILL)
    }

    /// Returns `si_code`.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.word(8)
    }

    /// Returns `si_addr` of a fault.
    #[must_use]
    pub fn addr(&self) -> UserVa {
        let low = u64::from(self.word(16).cast_unsigned());
        let high = u64::from(self.word(20).cast_unsigned());
        UserVa(high << 32 | low)
    }
}

/// `SIG_DFL`.
pub const SIG_DFL: u64 = 0;
/// `SIG_IGN`.
pub const SIG_IGN: u64 = 1;

bitflags::bitflags! {
    /// `sa_flags` (`sigaction(2)`). Unknown bits are kept, as Linux does on x86-64.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SaFlags: u64 {
        /// No SIGCHLD when a child stops.
        const NOCLDSTOP = 0x1;
        /// Children do not become zombies.
        const NOCLDWAIT = 0x2;
        /// The handler takes three arguments.
        const SIGINFO = 0x4;
        /// `sa_restorer` is set.
        const RESTORER = 0x0400_0000;
        /// Run on the alternate stack.
        const ONSTACK = 0x0800_0000;
        /// Restart interrupted calls.
        const RESTART = 0x1000_0000;
        /// The signal is not blocked while its handler runs.
        const NODEFER = 0x4000_0000;
        /// Back to the default when the handler is entered.
        const RESETHAND = 0x8000_0000;
        const _ = !0;
    }
}

/// `struct sigaction` as the kernel has it on x86-64: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SigAction {
    /// Handler address, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: u64,
    /// Flags.
    pub flags: SaFlags,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SignalSet,
}

impl SigAction {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 32;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; 32]) -> Self {
        let (words, _) = b.as_chunks::<8>();
        let word = |i: usize| words.get(i).map_or(0, |w| u64::from_le_bytes(*w));
        Self {
            handler: word(0),
            flags: SaFlags::from_bits_retain(word(1)),
            restorer: word(2),
            mask: SignalSet(word(3)),
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut b = [0; 32];
        let words = [self.handler, self.flags.bits(), self.restorer, self.mask.0];
        for (dst, word) in b.chunks_exact_mut(8).zip(words) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        b
    }
}

/// `SS_ONSTACK`: running on the alternate stack.
pub const SS_ONSTACK: u32 = 1;
/// `SS_DISABLE`: there is no alternate stack.
pub const SS_DISABLE: u32 = 2;
/// `SS_AUTODISARM`: forget the alternate stack while a handler runs on it.
pub const SS_AUTODISARM: u32 = 1 << 31;
/// Least size of an alternate stack.
pub const MINSIGSTKSZ: u64 = 2048;

/// `stack_t` (`sigaltstack(2)`): 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// `SS_*`.
    pub flags: u32,
    /// Size in bytes.
    pub size: u64,
}

impl AltStack {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 24;
    /// None.
    pub const DISABLED: Self = Self {
        base: 0,
        flags: SS_DISABLE,
        size: 0,
    };

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; 24]) -> Self {
        let (words, _) = b.as_chunks::<8>();
        let word = |i: usize| words.get(i).map_or(0, |w| u64::from_le_bytes(*w));
        Self {
            base: word(0),
            flags: word(1) as u32,
            size: word(2),
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let mut b = [0; 24];
        let words = [self.base, u64::from(self.flags), self.size];
        for (dst, word) in b.chunks_exact_mut(8).zip(words) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        b
    }

    /// Returns whether code with stack pointer `sp` runs on this stack; one that disarms itself is never in use.
    #[must_use]
    pub const fn is_in_use(&self, sp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0 && self.contains(sp)
    }

    /// Checks a stack that is to be set: a disabled one has neither address nor size.
    ///
    /// # Errors
    /// `EINVAL` for unknown flags, `ENOMEM` below [`MINSIGSTKSZ`].
    pub const fn checked(self) -> Result<Self, Errno> {
        match self.flags & !SS_AUTODISARM {
            SS_DISABLE => Ok(Self {
                base: 0,
                size: 0,
                ..self
            }),
            0 | SS_ONSTACK if self.size < MINSIGSTKSZ => Err(Errno::ENOMEM),
            0 | SS_ONSTACK => Ok(self),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Returns the stack as `sigaltstack(2)` shows it to code with stack pointer `sp`.
    #[must_use]
    pub const fn shown(self, sp: u64) -> Self {
        let mode = if self.size == 0 {
            SS_DISABLE
        } else if self.is_in_use(sp) {
            SS_ONSTACK
        } else {
            0
        };
        Self {
            flags: mode | self.flags & SS_AUTODISARM,
            ..self
        }
    }

    /// Returns whether `sp` lies on the stack.
    #[must_use]
    pub const fn contains(&self, sp: u64) -> bool {
        sp > self.base && sp.wrapping_sub(self.base) <= self.size
    }
}

mod frame;
pub use frame::{
    FPSTATE_MAGIC_BYTES, FRAME_BYTES, FrameRegs, SignalFrame, find_extended, init_extended, place,
    seal_extended,
};

#[cfg(test)]
mod tests;
