//! When which of the groups is told.

use super::*;
use proptest::prelude::*;

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
const OTHER: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7));
const ALL: SourceFilter = SourceFilter::empty(FilterMode::Exclude);

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn filter(mode: FilterMode, hosts: &[u8]) -> SourceFilter {
    SourceFilter {
        mode,
        sources: hosts.iter().copied().map(host).collect(),
    }
}

fn ask(group: IpAddr, hosts: &[u8], within: Nanos) -> Query {
    Query {
        group,
        sources: hosts.iter().copied().map(host).collect(),
        within,
        is_old: false,
    }
}

fn told(kind: Kind, hosts: &[u8]) -> Option<Message> {
    let sources = hosts.iter().copied().map(host).collect();
    Some(Message::Records(GROUP, Vec::from([(kind, sources)])))
}

/// Tells all that is due for a long time.
fn settle(groups: &mut Groups) -> Nanos {
    let end = Nanos(1000 * Nanos::PER_SEC);
    while let Some(at) = groups.deadline() {
        assert!(at < end && groups.due(at).is_some());
    }
    end
}

#[test]
fn first_and_last_of_a_group_are_told_twice() {
    let mut groups = Groups::default();
    assert!(!groups.contains(Path::Nic, GROUP) && groups.contains(Path::Nic, ALL_HOSTS.into()));
    groups.join(Path::Nic, GROUP, &ALL, Nanos(5));
    groups.join(Path::Nic, GROUP, &ALL, Nanos(6));
    assert!(groups.contains(Path::Nic, GROUP) && !groups.contains(Path::Loopback, GROUP));
    assert_eq!(groups.deadline(), Some(Nanos(5)));
    assert_eq!(groups.due(Nanos(4)), None);
    assert_eq!(groups.due(Nanos(5)), told(Kind::ToExclude, &[]));
    assert_eq!(groups.deadline(), Some(Nanos(5) + REPORT_AGAIN));
    assert_eq!(
        groups.due(Nanos(5) + REPORT_AGAIN),
        told(Kind::ToExclude, &[])
    );
    assert_eq!(groups.deadline(), None);
    groups.leave(Path::Nic, GROUP, &ALL, Nanos(7));
    assert_eq!(groups.deadline(), None);
    groups.leave(Path::Nic, GROUP, &ALL, Nanos(8));
    assert!(!groups.contains(Path::Nic, GROUP) && !groups.allows(Path::Nic, GROUP, host(1)));
    assert_eq!(groups.due(Nanos(8)), told(Kind::ToInclude, &[]));
    assert_eq!(
        groups.due(Nanos(8) + REPORT_AGAIN),
        told(Kind::ToInclude, &[])
    );
    assert_eq!((groups.deadline(), groups.members.len()), (None, 0));
}

#[test]
fn nobody_is_told_of_our_own_interface_or_the_group_of_all() {
    let mut groups = Groups::default();
    for (path, group) in [(Path::Loopback, GROUP), (Path::Nic, ALL_NODES.into())] {
        groups.join(path, group, &ALL, Nanos(5));
        assert_eq!(groups.deadline(), None);
        groups.leave(path, group, &ALL, Nanos(5));
        assert_eq!((groups.deadline(), groups.members.len()), (None, 0));
    }
}

#[test]
fn changes_of_sources_are_told() {
    use FilterMode::{Exclude, Include};
    let mut groups = Groups::default();
    let one = filter(Include, &[1, 2]);
    groups.join(Path::Nic, GROUP, &one, Nanos(0));
    assert_eq!(groups.due(Nanos(0)), told(Kind::Allow, &[1, 2]));
    let two = filter(Include, &[2, 3]);
    groups.refilter((Path::Nic, GROUP), &one, &two, Nanos(1));
    // What was new is told the second time, beside what is newer.
    let records = [
        (Kind::Allow, [2, 3].map(host).to_vec()),
        (Kind::Block, Vec::from([host(1)])),
    ];
    assert_eq!(
        groups.due(Nanos(1)),
        Some(Message::Records(GROUP, records.into()))
    );
    let again = [
        (Kind::Allow, Vec::from([host(3)])),
        (Kind::Block, Vec::from([host(1)])),
    ];
    let at = groups.deadline().unwrap();
    assert_eq!(groups.due(at), Some(Message::Records(GROUP, again.into())));
    assert_eq!(groups.deadline(), None);
    // Another socket hears all but two of them, of which the first socket hears one.
    let three = filter(Exclude, &[3, 4]);
    groups.join(Path::Nic, GROUP, &three, at);
    assert_eq!(groups.due(at), told(Kind::ToExclude, &[4]));
    assert!(groups.allows(Path::Nic, GROUP, host(3)) && !groups.allows(Path::Nic, GROUP, host(4)));
    groups.leave(Path::Nic, GROUP, &three, at);
    assert_eq!(groups.due(at), told(Kind::ToInclude, &[2, 3]));
    settle(&mut groups);
    groups.leave(Path::Nic, GROUP, &two, at);
    assert_eq!(groups.due(at), told(Kind::Block, &[2, 3]));
}

#[test]
fn questions_are_answered_in_time_once() {
    let mut groups = Groups::default();
    groups.join(Path::Nic, GROUP, &ALL, Nanos(0));
    groups.join(Path::Nic, OTHER, &ALL, Nanos(0));
    let now = settle(&mut groups);
    let within = Nanos(100);
    for dice in 0..50 {
        groups.on_query(&ask(Ipv4Addr::UNSPECIFIED.into(), &[], within), now, dice);
        groups.on_query(&ask(OTHER, &[], within), now, dice);
        let is_in_time = |at| at >= now && at < now + within;
        assert!(groups.deadline().is_some_and(is_in_time));
        for _ in [GROUP, OTHER] {
            let Some(Message::Records(_, records)) = groups.due(now + within) else {
                panic!("no answer");
            };
            assert_eq!(records, [(Kind::IsExclude, Vec::new())]);
        }
        assert_eq!(groups.due(now + within), None);
    }
    groups.on_query(&ask("239.9.9.9".parse().unwrap(), &[], within), now, 1);
    assert_eq!(groups.deadline(), None);
}

#[test]
fn questions_about_sources_are_answered_with_those_that_are_heard() {
    use FilterMode::{Exclude, Include};
    let now = Nanos(9);
    for (own, asked, answer) in [
        (
            filter(Include, &[1, 2]),
            &[2, 3][..],
            Some((Kind::IsInclude, &[2][..])),
        ),
        (
            filter(Exclude, &[1, 2]),
            &[2, 3],
            Some((Kind::IsInclude, &[3])),
        ),
        (filter(Include, &[1, 2]), &[3], None),
        (
            filter(Include, &[1, 2]),
            &[],
            Some((Kind::IsInclude, &[1, 2])),
        ),
        (
            filter(Exclude, &[1, 2]),
            &[],
            Some((Kind::IsExclude, &[1, 2])),
        ),
    ] {
        let mut groups = Groups::default();
        groups.join(Path::Nic, GROUP, &own, Nanos(0));
        settle(&mut groups);
        // Two questions, one answer; who asks for some after all gets all.
        groups.on_query(&ask(GROUP, asked, Nanos(1)), now, 1);
        groups.on_query(&ask(GROUP, asked, Nanos(1)), now, 2);
        let answer = match answer {
            Some((kind, hosts)) => told(kind, hosts),
            None => Some(Message::Records(GROUP, Vec::new())),
        };
        assert_eq!((groups.due(now), groups.due(now)), (answer, None));
    }
    let mut groups = Groups::default();
    groups.join(Path::Nic, GROUP, &ALL, Nanos(0));
    settle(&mut groups);
    for asked in [&[1][..], &[], &[2]] {
        groups.on_query(&ask(GROUP, asked, Nanos(1)), now, 1);
    }
    assert_eq!(groups.due(now), told(Kind::IsExclude, &[]));
    let many: Vec<u8> = (0..=MOST_ASKED as u8).collect();
    groups.on_query(&ask(GROUP, &many, Nanos(1)), now, 1);
    assert_eq!(groups.due(now), told(Kind::IsExclude, &[]));
}

#[test]
fn old_routers_are_told_in_their_version() {
    let mut groups = Groups::default();
    groups.join(
        Path::Nic,
        GROUP,
        &filter(FilterMode::Include, &[1]),
        Nanos(0),
    );
    let now = settle(&mut groups);
    let old = Query {
        is_old: true,
        ..ask(Ipv4Addr::UNSPECIFIED.into(), &[], Nanos(1))
    };
    groups.on_query(&old, now, 1);
    assert_eq!(
        (groups.due(now), groups.due(now)),
        (Some(Message::Old(GROUP)), None)
    );
    // That says nothing of those of IPv6, and the other way round.
    groups.join(Path::Nic, OTHER, &ALL, now);
    assert!(matches!(groups.due(now), Some(Message::Records(OTHER, _))));
    let old = Query {
        is_old: true,
        ..ask(Ipv6Addr::UNSPECIFIED.into(), &[], Nanos(1))
    };
    groups.on_query(&old, now, 1);
    assert_eq!(groups.due(now), Some(Message::Old(OTHER)));
    groups.leave(Path::Nic, OTHER, &ALL, now);
    assert_eq!(groups.due(now), Some(Message::OldLeave(OTHER)));
    groups.leave(Path::Nic, GROUP, &filter(FilterMode::Include, &[1]), now);
    assert_eq!(groups.due(now), Some(Message::OldLeave(GROUP)));
    assert_eq!((groups.deadline(), groups.members.len()), (None, 0));
    let now = now + OLDER_FOR;
    groups.join(Path::Nic, GROUP, &ALL, now);
    assert_eq!(groups.due(now), told(Kind::ToExclude, &[]));
}

/// A router that hears some of the reports (RFC 3376 §6.4), without its timers.
#[derive(Default)]
struct Router {
    excludes: bool,
    sources: BTreeSet<IpAddr>,
}

impl Router {
    fn hear(&mut self, records: &[Record]) {
        for (kind, sources) in records {
            let sources: BTreeSet<IpAddr> = sources.iter().copied().collect();
            match kind {
                Kind::ToInclude | Kind::IsInclude | Kind::ToExclude | Kind::IsExclude => {
                    self.excludes = matches!(kind, Kind::ToExclude | Kind::IsExclude);
                    self.sources = sources;
                }
                Kind::Allow if self.excludes => self.sources = &self.sources - &sources,
                Kind::Allow => self.sources.extend(sources),
                Kind::Block if self.excludes => self.sources.extend(sources),
                Kind::Block => self.sources = &self.sources - &sources,
            }
        }
    }
}

fn any_filter() -> impl Strategy<Value = SourceFilter> {
    let mode = prop_oneof![Just(FilterMode::Exclude), Just(FilterMode::Include)];
    let sources = proptest::collection::btree_set(0u8..5, 0..4);
    (mode, sources).prop_map(|(mode, hosts)| filter(mode, &Vec::from_iter(hosts)))
}

proptest! {
    /// Whatever sockets do, a router knows what the interface takes in, also when of each pair of reports the first is
    /// lost: those that are the last ones of their series.
    #[test]
    fn router_knows_in_the_end(
        steps in proptest::collection::vec((0usize..3, proptest::option::of(any_filter())), 0..12),
        hears_all: bool,
    ) {
        let mut groups = Groups::default();
        let mut sockets: [Option<SourceFilter>; 3] = [None, None, None];
        let mut router = Router::default();
        let mut now = Nanos(0);
        for (index, filter) in steps {
            let socket = &mut sockets[index];
            let old = core::mem::replace(socket, filter);
            match (&old, &*socket) {
                (None, None) => {}
                (None, Some(new)) => groups.join(Path::Nic, GROUP, new, now),
                (Some(old), None) => groups.leave(Path::Nic, GROUP, old, now),
                (Some(old), Some(new)) => groups.refilter((Path::Nic, GROUP), old, new, now),
            }
            let mut count = 0;
            while let Some(at) = groups.deadline() {
                now = now.max(at);
                let Some(Message::Records(_, records)) = groups.due(now) else {
                    panic!("no records");
                };
                if hears_all || count > 0 {
                    router.hear(&records);
                }
                count += 1;
            }
            prop_assert!(count == 0 || count == usize::from(REPORTS));
            for source in (0..6).map(host) {
                let is_heard = router.sources.contains(&source) != router.excludes;
                prop_assert_eq!(is_heard, groups.allows(Path::Nic, GROUP, source));
            }
        }
        let is_left = sockets.iter().all(Option::is_none);
        prop_assert_eq!(groups.members.is_empty(), is_left);
    }
}
