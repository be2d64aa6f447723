//! `siginfo_t` (`sigaction(2)`).

use super::Signal;
use crate::types::UserVa;

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

/// Where `si_sys_private` is.
const MARK_AT: usize = 32;

impl SigInfo {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 128;

    fn with_code(signal: Signal, code: i32) -> Self {
        let mut info = Self([0; 128]);
        info.put(0, &i32::from(signal.number()).to_le_bytes());
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

    /// A POSIX timer expired (`SI_TIMER`): `si_timerid`, `si_value`. The mark tells the kernel's own from those that a
    /// process made up; user code does not see it.
    #[must_use]
    pub fn from_timer(signal: Signal, timer: u32, value: u64, mark: u32) -> Self {
        let mut info = Self::with_code(signal, code::SI_TIMER);
        info.put(16, &timer.to_le_bytes());
        info.put(24, &value.to_le_bytes());
        info.put(MARK_AT, &mark.to_le_bytes());
        info
    }

    /// Returns timer id and mark if the kernel made this for a POSIX timer.
    #[must_use]
    pub fn timer_and_mark(&self) -> Option<(u32, u32)> {
        let mark = self.word(MARK_AT).cast_unsigned();
        (self.code() == code::SI_TIMER && mark != 0).then(|| (self.word(16).cast_unsigned(), mark))
    }

    /// Completes a timer's signal for its receiver: sets `si_overrun`, clears the mark.
    #[must_use]
    pub fn with_overrun(mut self, overrun: i32) -> Self {
        self.put(20, &overrun.to_le_bytes());
        self.without_mark()
    }

    /// Clears the mark of a timer's signal, which a process may not set.
    #[must_use]
    pub fn without_mark(mut self) -> Self {
        if self.code() == code::SI_TIMER {
            self.put(MARK_AT, &[0; 4]);
        }
        self
    }

    /// As a process passed it (`rt_sigqueueinfo(2)`), with the number replaced; `None` when `signal` is not one.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 128], signal: Signal) -> Self {
        bytes[..4].copy_from_slice(&i32::from(signal.number()).to_le_bytes());
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
