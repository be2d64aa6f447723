//! Multicast groups: which the interfaces are members of for sockets, and when the network learns of it (IGMPv3, RFC 3376;
//! MLDv2, RFC 3810; to routers that ask so IGMPv2, RFC 2236, and MLDv1, RFC 2710).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tyn_abi::Nanos;

use crate::census::GroupRow;
use crate::types::Path;

pub(crate) mod filter;
mod merged;
mod message;
#[cfg(test)]
mod tests;

use filter::{FilterMode, SourceFilter};
use merged::Merged;
use message::{Kind, Query, Record};

const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Every change is told twice, in case the first report was lost (RFC 3376 §8.1, RFC 3810 §9.1).
const REPORTS: u8 = 2;
/// Time between the two (RFC 3376 §8.11, RFC 3810 §9.11: up to 1 s).
const REPORT_AGAIN: Nanos = Nanos(Nanos::PER_SEC);
/// How long a router that speaks IGMPv2 or MLDv1 is spoken to likewise (RFC 3376 §8.12, RFC 3810 §9.12, with the usual 125 s
/// between its questions).
const OLDER_FOR: Nanos = Nanos(260 * Nanos::PER_SEC);
/// Sources that questions may ask for until all are told.
const MOST_ASKED: usize = 64;

/// What a router asked of a group, and when it is answered.
#[derive(Debug)]
struct Answer {
    at: Nanos,
    /// The sources that it asked about, unless all.
    sources: Option<BTreeSet<IpAddr>>,
}

#[derive(Debug, Default)]
struct Member {
    /// Sockets that joined; at 0 it is kept until that was told.
    sockets: u32,
    merged: Merged,
    /// When the next change is told; how many times more that the mode changed, and each of the sources.
    change_at: Option<Nanos>,
    mode_left: u8,
    sources_left: BTreeMap<IpAddr, u8>,
    answer: Option<Answer>,
}

impl Member {
    /// Notes what the network is to be told after a change (RFC 3376 §5.1).
    fn note(&mut self, old: &SourceFilter, now: Nanos) {
        let new = self.merged.filter();
        if old.mode == new.mode {
            let changed = |one: &SourceFilter, other: &SourceFilter| -> Vec<IpAddr> {
                let is_new = |source: &&IpAddr| other.sources.binary_search(source).is_err();
                one.sources.iter().filter(is_new).copied().collect()
            };
            let changed = [changed(old, &new), changed(&new, old)].concat();
            if changed.is_empty() {
                return;
            }
            let left = changed.into_iter().map(|source| (source, REPORTS));
            self.sources_left.extend(left);
        } else {
            self.sources_left.clear();
            self.mode_left = REPORTS;
        }
        self.change_at = Some(now);
    }

    /// Takes the records that tell the last changes, once more (RFC 3376 §5.1).
    fn changes(&mut self, now: Nanos) -> Vec<Record> {
        let filter = self.merged.filter();
        let told = core::mem::take(&mut self.sources_left);
        let (allowed, blocked): (Vec<_>, Vec<_>) =
            told.keys().partition(|source| self.merged.allows(**source));
        self.sources_left = told
            .into_iter()
            .map(|(source, left)| (source, left - 1))
            .collect();
        self.sources_left.retain(|_, left| *left > 0);
        let mode_left = core::mem::take(&mut self.mode_left);
        self.mode_left = mode_left.saturating_sub(1);
        let is_over = self.mode_left == 0 && self.sources_left.is_empty();
        self.change_at = (!is_over).then_some(now + REPORT_AGAIN);
        if mode_left > 0 {
            let kind = match filter.mode {
                FilterMode::Exclude => Kind::ToExclude,
                FilterMode::Include => Kind::ToInclude,
            };
            return Vec::from([(kind, filter.sources)]);
        }
        let records = [(Kind::Allow, allowed), (Kind::Block, blocked)];
        records.into_iter().filter(|r| !r.1.is_empty()).collect()
    }

    /// Takes the answer to a question (RFC 3376 §5.2).
    fn answer(&mut self) -> Vec<Record> {
        let Some(Answer { sources, .. }) = self.answer.take() else {
            return Vec::new();
        };
        let (kind, sources) = match (sources, self.merged.filter()) {
            (Some(asked), _) => {
                let is_heard = |source: &IpAddr| self.merged.allows(*source);
                (
                    Kind::IsInclude,
                    asked.into_iter().filter(is_heard).collect(),
                )
            }
            (None, filter) if filter.mode == FilterMode::Exclude => {
                return Vec::from([(Kind::IsExclude, filter.sources)]);
            }
            (None, filter) => (Kind::IsInclude, filter.sources),
        };
        let is_something = !Vec::is_empty(&sources);
        is_something
            .then_some((kind, sources))
            .into_iter()
            .collect()
    }

    /// Takes note of a question that is to be answered at `at` at the latest.
    fn ask(&mut self, asked: &[IpAddr], at: Nanos) {
        let asked = BTreeSet::from_iter(asked.iter().copied());
        let old = self.answer.take();
        let is_first = old.is_none();
        let Answer { at, sources } = old.map_or(Answer { at, sources: None }, |old| Answer {
            at: old.at.min(at),
            ..old
        });
        let sources = match sources {
            _ if asked.is_empty() => None,
            None if is_first => Some(asked),
            sources => sources.map(|old| &old | &asked),
        };
        self.answer = Some(Answer {
            at,
            sources: sources.filter(|s| s.len() <= MOST_ASKED),
        });
    }

    fn due(&self) -> Option<Nanos> {
        let answer = self.answer.as_ref().map(|a| a.at);
        self.change_at.into_iter().chain(answer).min()
    }
}

/// What the network is told of a group.
#[derive(PartialEq, Eq, Debug)]
enum Message {
    /// Records of IGMPv3 or MLDv2, which may be none.
    Records(IpAddr, Vec<Record>),
    /// A report of IGMPv2 or MLDv1.
    Old(IpAddr),
    /// A message of theirs that nobody is left.
    OldLeave(IpAddr),
}

/// The groups of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    members: BTreeMap<(Path, IpAddr), Member>,
    /// Until when a router speaks IGMPv2, and one MLDv1.
    old_until: [Nanos; 2],
}

/// Returns whether a group is one that every host is in, of which nobody is told (RFC 3376 §6, RFC 3810 §6).
fn is_of_all(group: IpAddr) -> bool {
    group == ALL_HOSTS || group == ALL_NODES
}

impl Groups {
    /// Counts a socket that joined.
    pub(crate) fn join(&mut self, path: Path, group: IpAddr, filter: &SourceFilter, now: Nanos) {
        self.change(path, group, now, |member| {
            member.sockets += 1;
            member.merged.add(filter);
        });
    }

    /// Ends what [`Groups::join`] began.
    pub(crate) fn leave(&mut self, path: Path, group: IpAddr, filter: &SourceFilter, now: Nanos) {
        self.change(path, group, now, |member| {
            member.sockets -= 1;
            member.merged.remove(filter);
        });
    }

    /// Replaces the filter of a socket.
    pub(crate) fn refilter(
        &mut self,
        (path, group): (Path, IpAddr),
        old: &SourceFilter,
        new: &SourceFilter,
        now: Nanos,
    ) {
        self.change(path, group, now, |member| {
            member.merged.add(new);
            member.merged.remove(old);
        });
    }

    fn change(&mut self, path: Path, group: IpAddr, now: Nanos, how: impl FnOnce(&mut Member)) {
        let member = self.members.entry((path, group)).or_default();
        let tells = path == Path::Nic && !is_of_all(group);
        let old = tells.then(|| member.merged.filter());
        how(member);
        if let Some(old) = old {
            member.note(&old, now);
        }
        self.forget(path, group);
    }

    /// Forgets a group in which nobody is, when that was told.
    fn forget(&mut self, path: Path, group: IpAddr) {
        let is_over = |m: &Member| m.sockets == 0 && m.change_at.is_none();
        if self.members.get(&(path, group)).is_some_and(is_over) {
            self.members.remove(&(path, group));
        }
    }

    /// Returns whether an interface takes in what is sent to a group, whoever sends it.
    pub(crate) fn contains(&self, path: Path, group: IpAddr) -> bool {
        let is_member = |m: &Member| m.sockets > 0;
        is_of_all(group) || self.members.get(&(path, group)).is_some_and(is_member)
    }

    /// Returns whether an interface takes in what a source sends to a group.
    pub(crate) fn allows(&self, path: Path, group: IpAddr, source: IpAddr) -> bool {
        match self.members.get(&(path, group)) {
            Some(member) if member.sockets > 0 => member.merged.allows(source),
            _ => is_of_all(group),
        }
    }

    /// Takes note of a question; each group's answer comes at a time of its own, which `dice` chooses.
    fn on_query(&mut self, query: &Query, now: Nanos, dice: u64) {
        if query.is_old {
            self.old_until[usize::from(query.group.is_ipv6())] = now + OLDER_FOR;
        }
        let about = query.group;
        let mut dice = dice;
        for ((path, group), member) in &mut self.members {
            let is_meant =
                about == *group || (about.is_unspecified() && about.is_ipv4() == group.is_ipv4());
            if *path != Path::Nic || is_of_all(*group) || member.sockets == 0 || !is_meant {
                continue;
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = now + Nanos((dice >> 32) % query.within.0.max(1));
            member.ask(&query.sources, at);
        }
    }

    /// Tells the network of all groups of IPv4 anew, after we have got an address.
    pub(crate) fn tell_again(&mut self, now: Nanos) {
        let all = Query {
            group: Ipv4Addr::UNSPECIFIED.into(),
            sources: Vec::new(),
            within: Nanos::ZERO,
            is_old: false,
        };
        self.on_query(&all, now, 0);
    }

    /// Lists the groups of an interface that sockets are in.
    pub(crate) fn rows(&self, path: Path) -> impl Iterator<Item = GroupRow> {
        let members = self.members.iter();
        let here = members.filter(move |(at, member)| at.0 == path && member.sockets > 0);
        here.map(|(&(_, group), member)| GroupRow {
            group,
            sockets: member.sockets,
            answer_at: member.answer.as_ref().map(|answer| answer.at),
        })
    }

    /// Returns whether the older version is spoken of a group.
    fn is_old(&self, group: IpAddr, now: Nanos) -> bool {
        self.old_until[usize::from(group.is_ipv6())] > now
    }

    /// Returns the version of IGMP that is spoken.
    pub(crate) fn version(&self, now: Nanos) -> u8 {
        if self.is_old(ALL_HOSTS.into(), now) {
            2
        } else {
            3
        }
    }

    /// Returns when somebody is to be told next.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.members.values().filter_map(Member::due).min()
    }

    /// Takes what the network is to be told of a group now.
    fn due(&mut self, now: Nanos) -> Option<Message> {
        let is_due = |m: &Member| m.due().is_some_and(|at| at <= now);
        let old = [ALL_HOSTS.into(), ALL_NODES.into()].map(|of: IpAddr| self.is_old(of, now));
        let (&(path, group), member) = self.members.iter_mut().find(|(_, m)| is_due(m))?;
        let is_change = member.change_at.is_some_and(|at| at <= now);
        let message = match group {
            group if old[usize::from(group.is_ipv6())] => {
                let is_left = member.merged.filter() == SourceFilter::empty(FilterMode::Include);
                member.changes(now);
                member.answer = None;
                if is_left {
                    member.change_at = None;
                    Message::OldLeave(group)
                } else {
                    Message::Old(group)
                }
            }
            _ if is_change => Message::Records(group, member.changes(now)),
            _ => Message::Records(group, member.answer()),
        };
        self.forget(path, group);
        Some(message)
    }
}
