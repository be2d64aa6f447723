//! Numbers and structures of the process calls: `clone(2)`, `wait4(2)`, `prctl(2)`, `arch_prctl(2)`, `getrusage(2)`.
#![expect(missing_docs, reason = "the names are those of the man pages")]

use crate::Nanos;

/// Flags of `clone(2)` and `clone3(2)`.
pub mod clone {
    /// The exit signal in the flags of `clone(2)`.
    pub const CSIGNAL: u64 = 0xff;
    pub const CLONE_VM: u64 = 0x100;
    pub const CLONE_FS: u64 = 0x200;
    pub const CLONE_FILES: u64 = 0x400;
    pub const CLONE_SIGHAND: u64 = 0x800;
    pub const CLONE_PIDFD: u64 = 0x1000;
    pub const CLONE_PTRACE: u64 = 0x2000;
    pub const CLONE_VFORK: u64 = 0x4000;
    pub const CLONE_PARENT: u64 = 0x8000;
    pub const CLONE_THREAD: u64 = 0x1_0000;
    pub const CLONE_NEWNS: u64 = 0x2_0000;
    pub const CLONE_SYSVSEM: u64 = 0x4_0000;
    pub const CLONE_SETTLS: u64 = 0x8_0000;
    pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
    pub const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
    pub const CLONE_DETACHED: u64 = 0x40_0000;
    pub const CLONE_UNTRACED: u64 = 0x80_0000;
    pub const CLONE_CHILD_SETTID: u64 = 0x100_0000;
    pub const CLONE_NEWCGROUP: u64 = 0x200_0000;
    pub const CLONE_NEWUTS: u64 = 0x400_0000;
    pub const CLONE_NEWIPC: u64 = 0x800_0000;
    pub const CLONE_NEWUSER: u64 = 0x1000_0000;
    pub const CLONE_NEWPID: u64 = 0x2000_0000;
    pub const CLONE_NEWNET: u64 = 0x4000_0000;
    pub const CLONE_IO: u64 = 0x8000_0000;
    pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    pub const CLONE_NEWTIME: u64 = 0x80;
}

/// Options of `wait4(2)` and `waitid(2)`.
pub mod wait {
    pub const WNOHANG: u32 = 1;
    pub const WUNTRACED: u32 = 2;
    pub const WSTOPPED: u32 = 2;
    pub const WEXITED: u32 = 4;
    pub const WCONTINUED: u32 = 8;
    pub const WNOWAIT: u32 = 0x0100_0000;
    pub const WNOTHREAD: u32 = 0x2000_0000;
    pub const WALL: u32 = 0x4000_0000;
    pub const WCLONE: u32 = 0x8000_0000;
    pub const P_ALL: u32 = 0;
    pub const P_PID: u32 = 1;
    pub const P_PGID: u32 = 2;
    pub const P_PIDFD: u32 = 3;
}

/// Operations of `prctl(2)`.
pub mod prctl {
    pub const PR_SET_PDEATHSIG: u32 = 1;
    pub const PR_GET_PDEATHSIG: u32 = 2;
    pub const PR_GET_DUMPABLE: u32 = 3;
    pub const PR_SET_DUMPABLE: u32 = 4;
    pub const PR_GET_KEEPCAPS: u32 = 7;
    pub const PR_SET_KEEPCAPS: u32 = 8;
    pub const PR_SET_NAME: u32 = 15;
    pub const PR_GET_NAME: u32 = 16;
    pub const PR_GET_SECCOMP: u32 = 21;
    pub const PR_CAPBSET_READ: u32 = 23;
    pub const PR_GET_TSC: u32 = 25;
    pub const PR_SET_TIMERSLACK: u32 = 29;
    pub const PR_GET_TIMERSLACK: u32 = 30;
    pub const PR_SET_CHILD_SUBREAPER: u32 = 36;
    pub const PR_GET_CHILD_SUBREAPER: u32 = 37;
    pub const PR_SET_NO_NEW_PRIVS: u32 = 38;
    pub const PR_GET_NO_NEW_PRIVS: u32 = 39;
    pub const PR_GET_TID_ADDRESS: u32 = 40;
    pub const PR_SET_THP_DISABLE: u32 = 41;
    pub const PR_GET_THP_DISABLE: u32 = 42;
}

/// Operations of `arch_prctl(2)`.
pub mod arch_prctl {
    pub const ARCH_SET_GS: u32 = 0x1001;
    pub const ARCH_SET_FS: u32 = 0x1002;
    pub const ARCH_GET_FS: u32 = 0x1003;
    pub const ARCH_GET_GS: u32 = 0x1004;
}

/// `struct clone_args` of `clone3(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

impl CloneArgs {
    /// Size of the first published version (`CLONE_ARGS_SIZE_VER0`).
    pub const MIN_SIZE: usize = 64;
    /// Size of this version.
    pub const SIZE: usize = 88;

    /// Reads the structure; fields that an older version lacks are to be zero.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut words = bytes
            .chunks_exact(8)
            .map(|b| b.first_chunk().map_or(0, |b| u64::from_le_bytes(*b)));
        let mut next = || words.next().unwrap_or(0);
        Self {
            flags: next(),
            pidfd: next(),
            child_tid: next(),
            parent_tid: next(),
            exit_signal: next(),
            stack: next(),
            stack_size: next(),
            tls: next(),
            set_tid: next(),
            set_tid_size: next(),
            cgroup: next(),
        }
    }
}

/// `struct rusage` of `getrusage(2)`, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rusage {
    /// Time in ring 3.
    pub user: Nanos,
    /// Time in the kernel.
    pub system: Nanos,
    /// Most memory that was resident, in KiB.
    pub max_resident_kib: u64,
    /// Page faults that needed no input.
    pub minor_faults: u64,
    /// Voluntary context switches.
    pub voluntary_switches: u64,
    /// Involuntary context switches.
    pub involuntary_switches: u64,
}

impl Rusage {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 144;

    /// Writes the structure; what is not known is zero.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let micros = |t: Nanos| {
            let (sec, nsec) = t.split();
            [sec, u64::from(nsec / 1000)]
        };
        let [user_sec, user_usec] = micros(self.user);
        let [system_sec, system_usec] = micros(self.system);
        let fields = [
            (0, user_sec),
            (1, user_usec),
            (2, system_sec),
            (3, system_usec),
            (4, self.max_resident_kib),
            (8, self.minor_faults),
            (16, self.voluntary_switches),
            (17, self.involuntary_switches),
        ];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (index, value) in fields {
            if let Some(word) = words.get_mut(index) {
                *word = value.to_le_bytes();
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clone_args_have_the_layout_of_linux() {
        let mut bytes = [0; CloneArgs::SIZE];
        for (i, word) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *word = (i as u64 + 1).to_le_bytes();
        }
        let a = CloneArgs::from_bytes(&bytes);
        assert_eq!((a.flags, a.pidfd, a.child_tid, a.parent_tid), (1, 2, 3, 4));
        assert_eq!((a.exit_signal, a.stack, a.stack_size, a.tls), (5, 6, 7, 8));
        assert_eq!((a.set_tid, a.set_tid_size, a.cgroup), (9, 10, 11));
    }

    #[test]
    fn rusage_has_the_layout_of_linux() {
        let usage = Rusage {
            user: Nanos(3_000_005_000),
            system: Nanos(7_000),
            max_resident_kib: 9,
            minor_faults: 10,
            voluntary_switches: 11,
            involuntary_switches: 12,
        };
        let bytes = usage.to_bytes();
        let word = |i: usize| u64::from_le_bytes(*bytes[i * 8..].first_chunk().unwrap());
        assert_eq!([word(0), word(1), word(2), word(3)], [3, 5, 0, 7]);
        assert_eq!([word(4), word(8), word(16), word(17)], [9, 10, 11, 12]);
    }
}
