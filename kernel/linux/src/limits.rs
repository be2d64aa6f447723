//! Resource limits (`getrlimit(2)`).

use tyn_abi::Errno;
use tyn_hal::sync::SpinLock;
use tyn_vm::Limits;

use crate::kernel::kernel;

/// One limit: soft and hard, [`Rlimit::INFINITY`] for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: u64,
    /// What the soft limit may be raised to.
    pub hard: u64,
}

impl Rlimit {
    /// `RLIM_INFINITY`.
    pub const INFINITY: u64 = u64::MAX;
    /// No limit.
    pub const NONE: Self = Self::both(Self::INFINITY);

    const fn both(value: u64) -> Self {
        Self {
            soft: value,
            hard: value,
        }
    }

    /// Reads `struct rlimit64`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 16]) -> Self {
        let (soft, hard) = bytes.split_at(8);
        let word = |b: &[u8]| b.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        Self {
            soft: word(soft),
            hard: word(hard),
        }
    }

    /// Writes `struct rlimit64`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (soft, hard) = bytes.split_at_mut(8);
        soft.copy_from_slice(&self.soft.to_le_bytes());
        hard.copy_from_slice(&self.hard.to_le_bytes());
        bytes
    }
}

/// A resource (`RLIMIT_*`), numbered as on Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource(usize);

impl Resource {
    /// `RLIMIT_CPU`.
    pub const CPU: Self = Self(0);
    /// `RLIMIT_DATA`.
    pub const DATA: Self = Self(2);
    /// `RLIMIT_STACK`.
    pub const STACK: Self = Self(3);
    /// `RLIMIT_NOFILE`.
    pub const NOFILE: Self = Self(7);
    /// `RLIMIT_AS`.
    pub const ADDRESS_SPACE: Self = Self(9);
    /// `RLIMIT_SIGPENDING`.
    pub const SIGPENDING: Self = Self(11);
    /// `RLIMIT_FSIZE`.
    pub const FSIZE: Self = Self(1);
    const COUNT: usize = 16;

    /// Checks the number.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn from_number(number: u32) -> Result<Self, Errno> {
        let index = number as usize;
        if index < Self::COUNT {
            Ok(Self(index))
        } else {
            Err(Errno::EINVAL)
        }
    }
}

/// The limits of a process.
#[derive(Debug)]
pub struct Rlimits(SpinLock<[Rlimit; Resource::COUNT]>);

/// Most descriptors that `RLIMIT_NOFILE` may allow (`fs.nr_open`).
pub const NR_OPEN: u64 = 1 << 20;

impl Rlimits {
    /// Returns the limits of the first process: those of Linux's init, but enough descriptors for a server.
    #[must_use]
    pub const fn initial() -> Self {
        const STACK: u64 = 8 << 20;
        // More than 100,000 sockets; programs that close all they might have inherited use close_range.
        const NOFILE: u64 = 1 << 17;
        let mut limits = [Rlimit::NONE; Resource::COUNT];
        limits[Resource::STACK.0].soft = STACK;
        limits[Resource::NOFILE.0] = Rlimit {
            soft: NOFILE,
            hard: NR_OPEN,
        };
        // RLIMIT_CORE, _MEMLOCK, _MSGQUEUE, _NICE, _RTPRIO.
        limits[4].soft = 0;
        limits[8] = Rlimit::both(8 << 20);
        limits[12] = Rlimit::both(819_200);
        limits[13] = Rlimit::both(0);
        limits[14] = Rlimit::both(0);
        Self(SpinLock::new(limits))
    }

    /// Copies the limits (`fork(2)`).
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(SpinLock::new(*self.0.lock()))
    }

    /// Returns a limit.
    #[must_use]
    pub fn get(&self, resource: Resource) -> Rlimit {
        self.0
            .lock()
            .get(resource.0)
            .copied()
            .unwrap_or(Rlimit::NONE)
    }

    /// Sets a limit; everybody is root and may raise hard limits.
    ///
    /// # Errors
    /// `EINVAL` when the soft limit is above the hard one, `EPERM` for more than [`NR_OPEN`] descriptors.
    pub fn set(&self, resource: Resource, limit: Rlimit) -> Result<(), Errno> {
        if limit.soft > limit.hard {
            return Err(Errno::EINVAL);
        }
        if resource == Resource::NOFILE && limit.hard > NR_OPEN {
            return Err(Errno::EPERM);
        }
        if let Some(slot) = self.0.lock().get_mut(resource.0) {
            *slot = limit;
        }
        Ok(())
    }

    /// Returns the limit on descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        usize::try_from(self.get(Resource::NOFILE).soft).unwrap_or(usize::MAX)
    }

    /// Returns the limit on the size of files, if there is one.
    #[must_use]
    pub fn file_size(&self) -> Option<u64> {
        let limit = self.get(Resource::FSIZE).soft;
        (limit != Rlimit::INFINITY).then_some(limit)
    }

    /// Returns what memory calls obey.
    #[must_use]
    pub fn memory(&self) -> Limits {
        Limits {
            address_space: self.get(Resource::ADDRESS_SPACE).soft,
            data: self.get(Resource::DATA).soft,
            stack: self.get(Resource::STACK).soft,
            ram: kernel().ram_bytes,
        }
    }
}
