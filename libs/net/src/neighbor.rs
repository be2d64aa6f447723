//! The hardware addresses of hosts on our network, found by ARP (RFC 826) and neighbour solicitations (RFC 4861), and packets that wait for them.
//!
//! An address that was confirmed is used for a minute; after that the next packet asks again while still being sent to
//! the old one. A host that leaves three requests unanswered is unreachable: what waited for it is handed back, so that
//! its senders hear `EHOSTUNREACH` as on Linux.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use tyn_abi::Nanos;

/// How long a confirmed address is used without asking again.
const CONFIRMED_FOR: Nanos = Nanos(60 * Nanos::PER_SEC);
/// Time between requests.
const ASK_EVERY: Nanos = Nanos(Nanos::PER_SEC);
/// Unanswered requests after which a host is unreachable.
const REQUESTS: u8 = 3;
/// Packets that may wait for one host; the oldest give way.
const WAITING_PACKETS: usize = 128;
/// Hosts that are remembered.
const ENTRIES: usize = 1024;

/// More than this many are remembered only when we want to talk to them: anybody can invent hosts that ask for us.
const ENTRIES_OF_STRANGERS: usize = ENTRIES / 2;

/// The hosts that all others are reached by: of IPv4 and of IPv6.
pub(crate) type Routers = [Option<IpAddr>; 2];

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

#[derive(Debug)]
struct Entry {
    mac: Option<Mac>,
    /// When it was made or last confirmed.
    since: Nanos,
    confirmed_until: Nanos,
    /// Requests sent and not answered, and when the next step is due.
    asking: Option<(u8, Nanos)>,
    waiting: Vec<Vec<u8>>,
}

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Resolution {
    /// Send it here; otherwise it was kept.
    pub(crate) mac: Option<Mac>,
    /// Send a request.
    pub(crate) asks: bool,
}

/// What a timer led to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Retry {
    /// Send a request for this host.
    Ask(IpAddr),
    /// The host is unreachable; these packets waited for it.
    Unreachable(Vec<Vec<u8>>),
}

/// The neighbours we know or ask for.
#[derive(Debug, Default)]
pub(crate) struct Neighbors {
    entries: BTreeMap<IpAddr, Entry>,
    due: BTreeSet<(Nanos, IpAddr)>,
}

impl Neighbors {
    /// Looks up where to send `packet`, and keeps a copy if that is not known yet. When the table is full, another host
    /// than a router gives way.
    pub(crate) fn resolve(
        &mut self,
        host: IpAddr,
        packet: &[u8],
        routers: Routers,
        now: Nanos,
    ) -> Resolution {
        if !self.knows(host) {
            self.make_room(routers, now);
        }
        let entry = self.entries.entry(host).or_insert(Entry {
            mac: None,
            since: now,
            confirmed_until: Nanos::ZERO,
            asking: None,
            waiting: Vec::new(),
        });
        let is_fresh = entry.mac.is_some() && now < entry.confirmed_until;
        let asks = !is_fresh && entry.asking.is_none();
        if asks {
            entry.asking = Some((1, now + ASK_EVERY));
            self.due.insert((now + ASK_EVERY, host));
        }
        if entry.mac.is_none() {
            if entry.waiting.len() >= WAITING_PACKETS {
                entry.waiting.remove(0);
            }
            entry.waiting.push(packet.to_vec());
        }
        Resolution {
            mac: entry.mac,
            asks,
        }
    }

    /// Takes note of a host's address and returns the packets that waited for it. Hosts that we have nothing for are
    /// learnt as well while there is plenty of room: they are about to talk to us.
    pub(crate) fn learn(&mut self, host: IpAddr, mac: Mac, now: Nanos) -> Vec<Vec<u8>> {
        if !self.knows(host) && self.entries.len() >= ENTRIES_OF_STRANGERS {
            return Vec::new();
        }
        let confirmed_until = now + CONFIRMED_FOR;
        let new = Entry {
            mac: Some(mac),
            since: now,
            confirmed_until,
            asking: None,
            waiting: Vec::new(),
        };
        let Some(old) = self.entries.insert(host, new) else {
            return Vec::new();
        };
        if let Some((_, at)) = old.asking {
            self.due.remove(&(at, host));
        }
        old.waiting
    }

    /// Returns when [`Neighbors::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Carries out the first step that is due.
    pub(crate) fn expire(&mut self, now: Nanos) -> Option<Retry> {
        let &(at, host) = self.due.first().filter(|&&(at, _)| at <= now)?;
        self.due.remove(&(at, host));
        let entry = self.entries.get_mut(&host)?;
        match entry.asking {
            Some((sent, _)) if sent < REQUESTS => {
                entry.asking = Some((sent + 1, now + ASK_EVERY));
                self.due.insert((now + ASK_EVERY, host));
                Some(Retry::Ask(host))
            }
            _ => {
                let entry = self.entries.remove(&host)?;
                Some(Retry::Unreachable(entry.waiting))
            }
        }
    }

    /// Forgets the hosts of IPv4 (the card's address changed).
    pub(crate) fn clear_v4(&mut self) {
        self.entries.retain(|host, _| host.is_ipv6());
        self.due.retain(|(_, host)| host.is_ipv6());
    }

    /// Lists the hosts of IPv4.
    pub(crate) fn v4(&self) -> impl Iterator<Item = (Ipv4Addr, Option<Mac>)> {
        self.entries.iter().filter_map(|(host, entry)| match host {
            IpAddr::V4(host) => Some((*host, entry.mac)),
            IpAddr::V6(_) => None,
        })
    }

    /// Returns whether a host's address is known.
    pub(crate) fn has_address(&self, host: IpAddr) -> bool {
        self.entries.get(&host).is_some_and(|e| e.mac.is_some())
    }

    /// Returns whether a host's address is known or asked for.
    pub(crate) fn knows(&self, host: IpAddr) -> bool {
        self.entries.contains_key(&host)
    }

    /// Makes sure that one more host can be remembered: those that are stale and wanted by nobody give way, or else the
    /// oldest, first of those that never answered. Packets that wait for it are lost.
    fn make_room(&mut self, routers: Routers, now: Nanos) {
        if self.entries.len() < ENTRIES {
            return;
        }
        let is_router = |host: &IpAddr| routers.contains(&Some(*host));
        self.entries
            .retain(|host, e| e.asking.is_some() || now < e.confirmed_until || is_router(host));
        if self.entries.len() < ENTRIES {
            return;
        }
        let others = self.entries.iter().filter(|(host, _)| !is_router(host));
        let oldest = others.min_by_key(|(_, e)| (e.mac.is_some(), e.since));
        let Some((&host, _)) = oldest else {
            return;
        };
        if let Some(Entry {
            asking: Some((_, at)),
            ..
        }) = self.entries.remove(&host)
        {
            self.due.remove(&(at, host));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const MAC: Mac = [2, 0, 0, 0, 0, 1];
    const NO_ROUTERS: Routers = [None; 2];
    const SECOND: u64 = Nanos::PER_SEC;

    fn ask(mac: Option<Mac>) -> Resolution {
        Resolution { mac, asks: true }
    }

    fn wait(mac: Option<Mac>) -> Resolution {
        Resolution { mac, asks: false }
    }

    #[test]
    fn packets_wait_for_the_answer_in_order() {
        let mut n = Neighbors::default();
        assert_eq!(n.resolve(HOST, &[1], NO_ROUTERS, Nanos(0)), ask(None));
        assert_eq!(n.resolve(HOST, &[2], NO_ROUTERS, Nanos(1)), wait(None));
        assert_eq!(n.learn(HOST, MAC, Nanos(2)), vec![vec![1], vec![2]]);
        assert_eq!(n.deadline(), None);
        assert_eq!(n.resolve(HOST, &[3], NO_ROUTERS, Nanos(3)), wait(Some(MAC)));
        assert_eq!(n.learn(HOST, MAC, Nanos(4)), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn silent_host_is_unreachable_after_three_requests() {
        let mut n = Neighbors::default();
        n.resolve(HOST, &[1], NO_ROUTERS, Nanos(0));
        assert_eq!(n.expire(Nanos(SECOND - 1)), None);
        assert_eq!(n.expire(Nanos(SECOND)), Some(Retry::Ask(HOST)));
        assert_eq!(n.expire(Nanos(SECOND)), None);
        assert_eq!(n.expire(Nanos(2 * SECOND)), Some(Retry::Ask(HOST)));
        let lost = Retry::Unreachable(vec![vec![1]]);
        assert_eq!(n.expire(Nanos(3 * SECOND)), Some(lost));
        assert_eq!(n.deadline(), None);
        assert_eq!(
            n.resolve(HOST, &[2], NO_ROUTERS, Nanos(3 * SECOND)),
            ask(None)
        );
    }

    #[test]
    fn stale_address_is_used_while_it_is_confirmed() {
        let mut n = Neighbors::default();
        n.learn(HOST, MAC, Nanos(0));
        let stale = CONFIRMED_FOR;
        assert_eq!(n.resolve(HOST, &[1], NO_ROUTERS, stale), ask(Some(MAC)));
        assert_eq!(n.resolve(HOST, &[1], NO_ROUTERS, stale), wait(Some(MAC)));
        assert!(n.learn(HOST, [9; 6], stale).is_empty());
        assert_eq!(n.resolve(HOST, &[1], NO_ROUTERS, stale), wait(Some([9; 6])));
    }

    #[test]
    fn waiting_packets_are_bounded() {
        let mut n = Neighbors::default();
        for i in 0..200 {
            n.resolve(HOST, &[i], NO_ROUTERS, Nanos(0));
        }
        let packets = n.learn(HOST, MAC, Nanos(0));
        assert_eq!(packets.len(), WAITING_PACKETS);
        assert_eq!(packets.last(), Some(&vec![199]));
    }

    fn host(i: u32) -> IpAddr {
        IpAddr::from(Ipv4Addr::from(0x0a00_0000 + i))
    }

    #[test]
    fn strangers_take_half_of_the_table_at_most() {
        let mut n = Neighbors::default();
        for i in 0..5000 {
            n.learn(host(i), MAC, Nanos(0));
        }
        assert_eq!(n.entries.len(), ENTRIES / 2);
        n.resolve(host(4999), &[0], NO_ROUTERS, Nanos(1));
        assert_eq!(n.learn(host(4999), MAC, Nanos(2)), vec![vec![0]]);
        assert_eq!(n.entries.len(), ENTRIES / 2 + 1);
    }

    #[test]
    fn stale_hosts_give_way_then_silent_ones_then_the_oldest_but_no_router() {
        let mut n = Neighbors::default();
        let routers = [None, Some(host(0))];
        let meet = |n: &mut Neighbors, i: u32, at: Nanos| {
            n.resolve(host(i), &[7], routers, at);
            n.learn(host(i), MAC, at);
        };
        for i in 0..1024 {
            meet(&mut n, i, Nanos(u64::from(i)));
        }
        let now = Nanos(5000);
        for i in 2000..2003 {
            // The oldest gives way, then the silent one before.
            assert_eq!(n.resolve(host(i), &[1], routers, now), ask(None));
            assert_eq!((n.entries.len(), n.due.len()), (ENTRIES, 1));
        }
        assert!(n.knows(host(0)) && !n.knows(host(1)) && n.knows(host(2)));
        assert_eq!(n.learn(host(2002), MAC, now), vec![vec![1]]);
        meet(&mut n, 2003, now);
        assert!(n.knows(host(0)) && !n.knows(host(2)) && n.knows(host(3)));
        n.resolve(host(2004), &[1], routers, now + CONFIRMED_FOR);
        assert_eq!(n.entries.len(), 2, "the router and the new one");
        assert!(n.knows(host(0)));
    }
}
