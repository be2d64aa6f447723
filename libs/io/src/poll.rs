//! The bit logic of `poll(2)` and `select(2)`.

use tyn_abi::Events;

/// `struct pollfd`: descriptor, requested events, returned events; 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollFd {
    /// The descriptor; negative ones are skipped.
    pub fd: i32,
    /// What the caller asks for.
    pub events: u16,
    /// What is true.
    pub revents: u16,
}

impl PollFd {
    /// Size of the structure.
    pub const SIZE: usize = 8;
    /// Offset of `revents`, the only field that the kernel writes.
    pub const REVENTS_OFFSET: usize = 6;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self {
            fd: i32::from_le_bytes([a, b, c, d]),
            events: u16::from_le_bytes([e, f]),
            revents: u16::from_le_bytes([g, h]),
        }
    }

    /// Returns the events to wait for: those asked for and the two that are always reported.
    #[must_use]
    pub fn interest(&self) -> Events {
        Events::from_bits_truncate(u32::from(self.events)) | Events::ERR | Events::HUP
    }

    /// Sets `revents` from what the file is ready for (`None`: not open) and returns whether that is anything.
    pub fn answer(&mut self, ready: Option<Events>) -> bool {
        let events = match ready {
            _ if self.fd < 0 => Events::empty(),
            None => Events::NVAL,
            Some(ready) => ready & self.interest(),
        };
        self.revents = events.bits() as u16;
        self.revents != 0
    }
}

/// The three sets of `select(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    /// `readfds`.
    Read,
    /// `writefds`.
    Write,
    /// `exceptfds`.
    Except,
}

impl Set {
    /// All sets, in the order of the call's arguments.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Except];

    /// Returns the `poll(2)` events that put a descriptor into this set (`select(2)`, "Correspondence between select()
    /// and poll() notifications").
    #[must_use]
    pub const fn events(self) -> Events {
        match self {
            Self::Read => Events::RDNORM
                .union(Events::RDBAND)
                .union(Events::IN)
                .union(Events::HUP)
                .union(Events::ERR),
            Self::Write => Events::WRBAND
                .union(Events::WRNORM)
                .union(Events::OUT)
                .union(Events::ERR),
            Self::Except => Events::PRI,
        }
    }
}

/// Returns the bytes that `n` bits of an `fd_set` take: whole longs.
#[must_use]
pub const fn fd_set_bytes(n: usize) -> usize {
    n.div_ceil(64) * 8
}

/// Returns whether bit `fd` is set; bits past the end are not.
#[must_use]
pub fn contains(set: &[u8], fd: usize) -> bool {
    set.get(fd / 8)
        .is_some_and(|byte| byte >> (fd % 8) & 1 != 0)
}

/// Sets bit `fd`; bits past the end are ignored.
pub fn insert(set: &mut [u8], fd: usize) {
    if let Some(byte) = set.get_mut(fd / 8) {
        *byte |= 1 << (fd % 8);
    }
}

/// Returns the descriptors below `n` whose bits are set in any of `sets`, ascending.
pub fn members<'a>(sets: &'a [impl AsRef<[u8]>], n: usize) -> impl Iterator<Item = usize> + 'a {
    (0..n.div_ceil(8))
        .flat_map(move |index| {
            let byte = sets.iter().fold(0, |acc, set| {
                acc | set.as_ref().get(index).copied().unwrap_or(0)
            });
            (0..8)
                .filter(move |bit| byte >> bit & 1 != 0)
                .map(move |bit| index * 8 + bit)
        })
        .filter(move |&fd| fd < n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn pollfd_is_read_in_kernel_layout() {
        let p = PollFd::from_bytes([5, 0, 0, 0, 1, 0, 9, 0]);
        assert_eq!(
            p,
            PollFd {
                fd: 5,
                events: 1,
                revents: 9
            }
        );
    }

    #[test]
    fn answer_reports_what_was_asked_for_and_errors() {
        let mut p = PollFd {
            fd: 5,
            events: 1,
            revents: 9,
        };
        assert!(p.answer(Some(Events::IN | Events::OUT)));
        assert_eq!(p.revents, 1);
        assert!(p.answer(Some(Events::OUT | Events::HUP)));
        assert_eq!(p.revents, 0x10);
        assert!(!p.answer(Some(Events::OUT)));
        assert_eq!(p.revents, 0);
    }

    #[test]
    fn closed_descriptor_is_reported_and_negative_skipped() {
        let mut p = PollFd {
            fd: 5,
            events: 0,
            revents: 0,
        };
        assert!(p.answer(None));
        assert_eq!(p.revents, 0x20);
        p.fd = -1;
        assert!(!p.answer(None));
        assert_eq!(p.revents, 0);
    }

    #[test]
    fn select_sets_match_the_manual() {
        assert!(
            Set::Read
                .events()
                .contains(Events::HUP | Events::ERR | Events::RDBAND)
        );
        assert!(!Set::Write.events().contains(Events::HUP));
        assert_eq!(Set::Except.events(), Events::PRI);
    }

    #[test]
    fn fd_sets_are_arrays_of_longs() {
        assert_eq!([0, 1, 64, 65, 1024].map(fd_set_bytes), [0, 8, 8, 16, 128]);
    }

    #[test]
    fn members_lists_the_union_below_the_limit() {
        let mut a = vec![0u8; 16];
        let mut b = vec![0u8; 16];
        insert(&mut a, 3);
        insert(&mut a, 64);
        insert(&mut b, 64);
        insert(&mut b, 70);
        insert(&mut b, 71);
        insert(&mut b, 7000);
        assert!(contains(&a, 64) && !contains(&a, 70) && !contains(&a, 7000));
        assert_eq!(members(&[&a, &b], 71).collect::<Vec<_>>(), [3, 64, 70]);
        assert_eq!(members(&[&[] as &[u8]], 71).count(), 0);
    }
}
