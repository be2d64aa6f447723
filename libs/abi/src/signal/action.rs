//! `struct sigaction` and `stack_t` (`sigaction(2)`, `sigaltstack(2)`).

use super::SignalSet;
use crate::errno::Errno;

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
