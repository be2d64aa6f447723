//! Newtypes for the integers that cross the system-call boundary.

use core::fmt;

/// Size of a base page in bytes.
pub const PAGE_SIZE: usize = 4096;

/// First address past user space: one page below the canonical hole, as on Linux (`TASK_SIZE_MAX`).
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// A user virtual address as a program passed it: an allegation, never dereferenced without a checked copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UserVa(pub u64);

impl UserVa {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// Returns whether this is the null pointer.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Returns the address `len` bytes further, or `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, len: u64) -> Option<Self> {
        match self.0.checked_add(len) {
            Some(va) => Some(Self(va)),
            None => None,
        }
    }

    /// Returns the address `len` bytes further, wrapping (a copy there will fault).
    #[must_use]
    pub const fn wrapping_add(self, len: u64) -> Self {
        Self(self.0.wrapping_add(len))
    }

    /// Returns the address rounded down to a page boundary.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE as u64 - 1))
    }
}

impl fmt::Debug for UserVa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A thread id (`gettid(2)`), unique over the whole system; the first thread's equals the process id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tid(pub u32);

/// A process id (`getpid(2)`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pid(pub u32);

/// A file descriptor as a program passed it; negative values are legal and name no file (`EBADF`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Fd(pub i32);

/// The kind of a memory access that faulted or is asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Data read.
    Read,
    /// Data write.
    Write,
    /// Instruction fetch.
    Execute,
}
