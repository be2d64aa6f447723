//! Whom a socket listens to in a group (RFC 3376 §3.1, RFC 3810 §4.1), changed as Linux does (`ip_mc_source` and
//! `ip_mc_msfilter` of its `igmp.c`, `ip6_mc_source` of its `mcast.c`).

use alloc::vec::Vec;
use core::net::IpAddr;

use tyn_abi::Errno;

use crate::types::Path;

/// Sources of a group of IPv4 and of IPv6 (`net.ipv4.igmp_max_msf`, `net.ipv6.mld_max_msf`).
const MOST_V4: usize = 10;
const MOST_V6: usize = 64;
/// Memory of one socket for groups and sources, in bytes (`net.core.optmem_max`).
const MOST_MEMORY: usize = 131_072;
/// What Linux takes of it for a group of IPv4 and of IPv6, and for a list without sources.
const GROUP_V4: usize = 48;
const GROUP_V6: usize = 56;
const LIST: usize = 24;
/// A list that is full grows by so many (`IP_SFBLOCK`).
const BLOCK: usize = 10;

/// What a list of sources means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterMode {
    /// `MCAST_EXCLUDE`: whoever is not listed is heard.
    Exclude,
    /// `MCAST_INCLUDE`: who is listed is heard.
    Include,
}

/// Whom a socket listens to in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFilter {
    /// What the list means.
    pub mode: FilterMode,
    /// The sources, in the order in which they came.
    pub sources: Vec<IpAddr>,
}

impl SourceFilter {
    /// Makes the filter of who listens to no source, or with [`FilterMode::Exclude`] to every one.
    #[must_use]
    pub const fn empty(mode: FilterMode) -> Self {
        Self {
            mode,
            sources: Vec::new(),
        }
    }

    /// Returns whether a source is heard.
    pub(crate) fn allows(&self, source: IpAddr) -> bool {
        let is_listed = self.sources.contains(&source);
        is_listed == (self.mode == FilterMode::Include)
    }
}

/// Returns how many sources a filter of a group of IPv6, or of IPv4, may have.
#[must_use]
pub const fn most_sources(is_v6: bool) -> usize {
    if is_v6 { MOST_V6 } else { MOST_V4 }
}

/// A change of one source (`IP_ADD_SOURCE_MEMBERSHIP`, `IP_BLOCK_SOURCE` and their kin).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceChange {
    /// The source.
    pub source: IpAddr,
    /// In which kind of filter.
    pub mode: FilterMode,
    /// It is added to the list, not taken from it.
    pub adds: bool,
}

/// What comes of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The membership goes on.
    Stays,
    /// Nobody is listened to any more, which ends the membership.
    Ends,
}

/// A socket's membership of a group on an interface.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) path: Path,
    pub(crate) group: IpAddr,
    pub(crate) filter: SourceFilter,
    /// Sources that Linux has made room for. Without it there never was a list, and the mode may still change.
    room: Option<usize>,
}

impl Membership {
    pub(crate) fn new(path: Path, group: IpAddr, mode: FilterMode) -> Self {
        Self {
            path,
            group,
            filter: SourceFilter::empty(mode),
            room: None,
        }
    }

    /// Returns the memory that Linux counts for it, in bytes.
    fn memory(&self) -> usize {
        let (group, list) = match self.group {
            IpAddr::V4(_) => (GROUP_V4, 4),
            IpAddr::V6(_) => (GROUP_V6, 16),
        };
        group + self.room.map_or(0, |room| LIST + list * room)
    }

    /// Returns the memory that a list of `room` sources needs.
    fn list_memory(&self, room: usize) -> usize {
        let room = Self {
            room: Some(room),
            ..Self::new(self.path, self.group, self.filter.mode)
        };
        room.memory() - Self::new(self.path, self.group, self.filter.mode).memory()
    }

    /// Changes one source. `used` is what [`memory_of`] says of the socket.
    ///
    /// # Errors
    /// `EINVAL` when there are sources of the other mode, `EADDRNOTAVAIL` for one that is there already or is not there,
    /// `ENOBUFS` when there are too many.
    pub(crate) fn change(&mut self, change: &SourceChange, used: usize) -> Result<Outcome, Errno> {
        if self.room.is_some() && self.filter.mode != change.mode {
            return Err(Errno::EINVAL);
        }
        // As on Linux also when what follows fails.
        self.filter.mode = change.mode;
        let sources = &mut self.filter.sources;
        let at = sources.iter().position(|s| *s == change.source);
        if !change.adds {
            let at = at.ok_or(Errno::EADDRNOTAVAIL)?;
            if sources.len() == 1 && change.mode == FilterMode::Include {
                return Ok(Outcome::Ends);
            }
            sources.remove(at);
            return Ok(Outcome::Stays);
        }
        if sources.len() >= most_sources(self.group.is_ipv6()) {
            return Err(Errno::ENOBUFS);
        }
        let room = self.room.unwrap_or(0);
        if self.room.is_none() || sources.len() == room {
            let more = room + BLOCK;
            let is_too_much = used + self.list_memory(more) >= MOST_MEMORY;
            let sources = &mut self.filter.sources;
            if is_too_much || sources.try_reserve_exact(BLOCK).is_err() {
                return Err(Errno::ENOBUFS);
            }
            self.room = Some(more);
        }
        if at.is_some() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.filter.sources.push(change.source);
        Ok(Outcome::Stays)
    }

    /// Replaces the filter. `used` is what [`memory_of`] says of the socket.
    ///
    /// # Errors
    /// `ENOBUFS` when there are too many sources.
    pub(crate) fn replace(&mut self, filter: SourceFilter, used: usize) -> Result<(), Errno> {
        let count = filter.sources.len();
        let room = (count > 0).then_some(count);
        let list = room.map_or(0, |room| self.list_memory(room));
        if count > most_sources(self.group.is_ipv6()) || (list > 0 && used + list >= MOST_MEMORY) {
            return Err(Errno::ENOBUFS);
        }
        self.room = room;
        self.filter = filter;
        Ok(())
    }
}

/// Returns the memory of a socket's memberships, as Linux counts it, in bytes.
pub(crate) fn memory_of(memberships: &[Membership]) -> usize {
    memberships.iter().map(Membership::memory).sum()
}

/// Returns whether a socket may have one more membership of a group.
pub(crate) fn has_room(memberships: &[Membership], group: IpAddr) -> bool {
    let one = Membership::new(Path::Nic, group, FilterMode::Exclude).memory();
    memory_of(memberships) + one < MOST_MEMORY
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
    const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7));

    fn host(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    fn add(mode: FilterMode, number: u8) -> SourceChange {
        SourceChange {
            source: host(number),
            mode,
            adds: true,
        }
    }

    fn remove(mode: FilterMode, number: u8) -> SourceChange {
        SourceChange {
            adds: false,
            ..add(mode, number)
        }
    }

    #[test]
    fn sources_are_blocked_and_let_through_again() {
        use FilterMode::{Exclude, Include};
        let mut m = Membership::new(Path::Nic, GROUP, Exclude);
        assert!(m.filter.allows(host(1)));
        assert_eq!(m.change(&remove(Exclude, 1), 0), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(m.change(&add(Exclude, 1), 0), Ok(Outcome::Stays));
        assert_eq!(m.change(&add(Exclude, 1), 0), Err(Errno::EADDRNOTAVAIL));
        assert!(!m.filter.allows(host(1)) && m.filter.allows(host(2)));
        assert_eq!(m.change(&add(Include, 2), 0), Err(Errno::EINVAL));
        assert_eq!(m.change(&remove(Exclude, 1), 0), Ok(Outcome::Stays));
        assert!(m.filter.allows(host(1)));
        // There was a list once.
        assert_eq!(m.change(&add(Include, 2), 0), Err(Errno::EINVAL));
    }

    #[test]
    fn last_source_ends_the_membership() {
        use FilterMode::Include;
        let mut m = Membership::new(Path::Nic, GROUP, Include);
        assert!(!m.filter.allows(host(1)));
        assert_eq!(m.change(&add(Include, 1), 0), Ok(Outcome::Stays));
        assert_eq!(m.change(&add(Include, 2), 0), Ok(Outcome::Stays));
        assert!(m.filter.allows(host(1)) && m.filter.allows(host(2)) && !m.filter.allows(host(3)));
        assert_eq!(m.change(&remove(Include, 1), 0), Ok(Outcome::Stays));
        assert_eq!(m.change(&remove(Include, 1), 0), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(m.change(&remove(Include, 2), 0), Ok(Outcome::Ends));
    }

    #[test]
    fn mode_changes_without_sources_even_when_the_change_fails() {
        use FilterMode::{Exclude, Include};
        let mut m = Membership::new(Path::Nic, GROUP, Exclude);
        assert_eq!(m.change(&remove(Include, 1), 0), Err(Errno::EADDRNOTAVAIL));
        assert_eq!(m.filter, SourceFilter::empty(Include));
    }

    #[test]
    fn sources_and_memory_are_limited() {
        use FilterMode::{Exclude, Include};
        let mut m = Membership::new(Path::Nic, GROUP, Exclude);
        for number in 0..10 {
            assert_eq!(m.change(&add(Exclude, number), 0), Ok(Outcome::Stays));
        }
        assert_eq!(m.change(&add(Exclude, 10), 0), Err(Errno::ENOBUFS));
        let of = |count: u8| SourceFilter {
            mode: Include,
            sources: (0..count).map(host).collect(),
        };
        assert_eq!(m.replace(of(11), 0), Err(Errno::ENOBUFS));
        assert_eq!(m.replace(of(10), MOST_MEMORY - 64), Err(Errno::ENOBUFS));
        assert_eq!(m.replace(of(10), MOST_MEMORY - 65), Ok(()));
        assert_eq!((m.memory(), m.filter.sources.len()), (48 + 24 + 40, 10));
        assert_eq!(m.replace(SourceFilter::empty(Exclude), 0), Ok(()));
        assert_eq!(m.change(&add(Include, 1), 0), Ok(Outcome::Stays));
        let mut full = Membership::new(Path::Nic, GROUP6, Exclude);
        let change = add(Exclude, 1);
        assert_eq!(full.change(&change, MOST_MEMORY - 184), Err(Errno::ENOBUFS));
        assert_eq!(full.change(&change, MOST_MEMORY - 185), Ok(Outcome::Stays));
    }
}
