//! The hardware addresses of hosts on our network, found by ARP (RFC 826) and neighbour solicitations (RFC 4861), and packets that wait for them.
//!
//! An address that was confirmed is used for a minute; after that the next packet asks again while still being sent to
//! the old one. A host that leaves three requests unanswered is unreachable: what waited for it is handed back, so that
//! its senders hear `EHOSTUNREACH` as on Linux.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

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

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

#[derive(Debug)]
struct Entry {
    mac: Option<Mac>,
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
    /// Looks up where to send `packet`, and keeps a copy if that is not known yet.
    pub(crate) fn resolve(&mut self, host: IpAddr, packet: &[u8], now: Nanos) -> Resolution {
        if !self.entries.contains_key(&host) && !self.make_room(now) {
            return Resolution {
                mac: None,
                asks: false,
            };
        }
        let entry = self.entries.entry(host).or_insert(Entry {
            mac: None,
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
    /// learnt as well: they are about to talk to us.
    pub(crate) fn learn(&mut self, host: IpAddr, mac: Mac, now: Nanos) -> Vec<Vec<u8>> {
        if !self.entries.contains_key(&host) && !self.make_room(now) {
            return Vec::new();
        }
        let confirmed_until = now + CONFIRMED_FOR;
        let new = Entry {
            mac: Some(mac),
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

    /// Returns whether a host's address is known or asked for.
    pub(crate) fn knows(&self, host: IpAddr) -> bool {
        self.entries.contains_key(&host)
    }

    /// Makes sure that one more host can be remembered; only those that are stale and wanted by nobody give way.
    fn make_room(&mut self, now: Nanos) -> bool {
        if self.entries.len() >= ENTRIES {
            self.entries
                .retain(|_, e| e.asking.is_some() || now < e.confirmed_until);
        }
        self.entries.len() < ENTRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const HOST: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1));
    const MAC: Mac = [2, 0, 0, 0, 0, 1];
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
        assert_eq!(n.resolve(HOST, &[1], Nanos(0)), ask(None));
        assert_eq!(n.resolve(HOST, &[2], Nanos(1)), wait(None));
        assert_eq!(n.learn(HOST, MAC, Nanos(2)), vec![vec![1], vec![2]]);
        assert_eq!(n.deadline(), None);
        assert_eq!(n.resolve(HOST, &[3], Nanos(3)), wait(Some(MAC)));
        assert_eq!(n.learn(HOST, MAC, Nanos(4)), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn silent_host_is_unreachable_after_three_requests() {
        let mut n = Neighbors::default();
        n.resolve(HOST, &[1], Nanos(0));
        assert_eq!(n.expire(Nanos(SECOND - 1)), None);
        assert_eq!(n.expire(Nanos(SECOND)), Some(Retry::Ask(HOST)));
        assert_eq!(n.expire(Nanos(SECOND)), None);
        assert_eq!(n.expire(Nanos(2 * SECOND)), Some(Retry::Ask(HOST)));
        let lost = Retry::Unreachable(vec![vec![1]]);
        assert_eq!(n.expire(Nanos(3 * SECOND)), Some(lost));
        assert_eq!(n.deadline(), None);
        assert_eq!(n.resolve(HOST, &[2], Nanos(3 * SECOND)), ask(None));
    }

    #[test]
    fn stale_address_is_used_while_it_is_confirmed() {
        let mut n = Neighbors::default();
        n.learn(HOST, MAC, Nanos(0));
        let stale = CONFIRMED_FOR;
        assert_eq!(n.resolve(HOST, &[1], stale), ask(Some(MAC)));
        assert_eq!(n.resolve(HOST, &[1], stale), wait(Some(MAC)));
        assert!(n.learn(HOST, [9; 6], stale).is_empty());
        assert_eq!(n.resolve(HOST, &[1], stale), wait(Some([9; 6])));
    }

    #[test]
    fn waiting_packets_are_bounded() {
        let mut n = Neighbors::default();
        for i in 0..200 {
            n.resolve(HOST, &[i], Nanos(0));
        }
        let packets = n.learn(HOST, MAC, Nanos(0));
        assert_eq!(packets.len(), WAITING_PACKETS);
        assert_eq!(packets.last(), Some(&vec![199]));
    }

    #[test]
    fn table_is_bounded_and_stale_entries_give_way() {
        let mut n = Neighbors::default();
        let host = |i: u32| IpAddr::from(core::net::Ipv4Addr::from(0x0a00_0000 + i));
        for i in 0..5000 {
            n.learn(host(i), MAC, Nanos(0));
        }
        assert_eq!(n.entries.len(), ENTRIES);
        assert_eq!(n.resolve(host(4999), &[0], Nanos(1)), wait(None));
        let later = CONFIRMED_FOR + Nanos(1);
        assert_eq!(n.resolve(host(4999), &[0], later), ask(None));
        assert_eq!(n.entries.len(), 1);
    }
}
