//! Which local ports are taken, by which addresses, and which are free (`bind(2)`, RFC 6056).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use tyn_abi::Errno;

use crate::types::{Path, SocketId};

/// Ports given out when none is asked for (`net.ipv4.ip_local_port_range`).
pub const EPHEMERAL: core::ops::RangeInclusive<u16> = 32768..=60999;

/// Returns the number of ephemeral ports.
pub(crate) const fn ephemeral_count() -> u32 {
    (*EPHEMERAL.end() - *EPHEMERAL.start()) as u32 + 1
}

/// Returns the `n`th ephemeral port, counted round.
pub(crate) const fn ephemeral(n: u32) -> u16 {
    *EPHEMERAL.start() + (n % ephemeral_count()) as u16
}

/// How a socket holds a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Holder {
    socket: SocketId,
    address: Bound,
    sharing: Sharing,
    listens: bool,
}

/// With whom a socket shares its port (`socket(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sharing {
    /// `SO_REUSEADDR`: with others that say so, unless they listen.
    pub(crate) address: bool,
    /// `SO_REUSEPORT`: with others that say so.
    pub(crate) port: bool,
}

impl Sharing {
    fn allows(self, other: Self, listens: bool) -> bool {
        self.address && other.address && !listens || self.port && other.port
    }
}

/// How a connection without a bound socket uses its port: what its socket said, also when that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Use {
    pub(crate) device: Option<Path>,
    pub(crate) sharing: Sharing,
}

/// Connections without a bound socket that use a port alike: accepted ones, those closed but not ended, TIME-WAIT.
#[derive(Debug)]
struct Connections {
    at: IpAddr,
    by: Use,
    count: u32,
}

impl Connections {
    fn bound(&self) -> Bound {
        Bound {
            ip: self.at,
            is_v6_only: false,
            device: self.by.device,
        }
    }
}

#[derive(Debug, Default)]
struct Port {
    holders: Vec<Holder>,
    connections: Vec<Connections>,
}

/// The ports of one protocol.
#[derive(Debug, Default)]
pub(crate) struct Ports(BTreeMap<u16, Port>);

/// An address that a socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bound {
    pub(crate) ip: IpAddr,
    /// `::` does not stand for the addresses of IPv4 as well (`IPV6_V6ONLY`).
    pub(crate) is_v6_only: bool,
    /// The only interface that it has to do with (`SO_BINDTODEVICE`).
    pub(crate) device: Option<Path>,
}

impl Bound {
    /// Returns how well the address fits one that a packet is for: the very address, any of its family, any at all.
    pub(crate) fn fit(self, address: IpAddr) -> Option<u8> {
        match self.ip {
            ip if ip == address => Some(2),
            ip if !ip.is_unspecified() => None,
            ip if ip.is_ipv4() == address.is_ipv4() => Some(1),
            IpAddr::V6(_) if !self.is_v6_only => Some(0),
            _ => None,
        }
    }

    fn overlaps(self, other: Self) -> bool {
        let are_apart =
            self.device.is_some() && other.device.is_some() && self.device != other.device;
        !are_apart && (self.fit(other.ip).is_some() || other.fit(self.ip).is_some())
    }

    /// Returns whether it takes what comes by an interface.
    pub(crate) fn takes(self, device: Path) -> bool {
        self.device.is_none_or(|own| own == device)
    }
}

impl Ports {
    /// Takes `at` for `socket`.
    ///
    /// # Errors
    /// `EADDRINUSE`.
    pub(crate) fn bind(
        &mut self,
        socket: SocketId,
        at: Bound,
        port: u16,
        sharing: Sharing,
    ) -> Result<(), Errno> {
        let port = self.0.entry(port).or_default();
        // Both sides must want to share, TIME-WAIT records too (`inet_csk_bind_conflict` of Linux).
        let is_held = port.holders.iter().any(|h| {
            let may_share = sharing.allows(h.sharing, h.listens);
            h.address.overlaps(at) && !may_share
        });
        let is_used = port.connections.iter().any(|c| {
            let may_share = sharing.allows(c.by.sharing, false);
            c.bound().overlaps(at) && !may_share
        });
        if is_held || is_used {
            return Err(Errno::EADDRINUSE);
        }
        port.holders.push(Holder {
            socket,
            address: at,
            sharing,
            listens: false,
        });
        Ok(())
    }

    /// Marks a bound socket as listening.
    ///
    /// # Errors
    /// `EADDRINUSE` when another one listens there already.
    pub(crate) fn listen(&mut self, socket: SocketId, at: Bound, port: u16) -> Result<(), Errno> {
        let Some(port) = self.0.get_mut(&port) else {
            return Err(Errno::EINVAL);
        };
        let own = port.holders.iter().find(|h| h.socket == socket);
        let shares = own.is_some_and(|h| h.sharing.port);
        let other = |h: &Holder| {
            let is_shared = shares && h.sharing.port;
            h.socket != socket && h.listens && h.address.overlaps(at) && !is_shared
        };
        if port.holders.iter().any(other) {
            return Err(Errno::EADDRINUSE);
        }
        for holder in port.holders.iter_mut().filter(|h| h.socket == socket) {
            holder.listens = true;
        }
        Ok(())
    }

    /// Marks a socket as no longer listening.
    pub(crate) fn stop_listening(&mut self, socket: SocketId, port: u16) {
        if let Some(port) = self.0.get_mut(&port) {
            for holder in port.holders.iter_mut().filter(|h| h.socket == socket) {
                holder.listens = false;
            }
        }
    }

    /// Changes how a bound socket shares its port, and its interface (options set after `bind`).
    pub(crate) fn change(
        &mut self,
        socket: SocketId,
        port: u16,
        sharing: Sharing,
        device: Option<Path>,
    ) {
        if let Some(port) = self.0.get_mut(&port) {
            for holder in port.holders.iter_mut().filter(|h| h.socket == socket) {
                holder.sharing = sharing;
                holder.address.device = device;
            }
        }
    }

    /// Returns whether nobody uses a port.
    pub(crate) fn is_free(&self, port: u16) -> bool {
        !self.0.contains_key(&port)
    }

    /// Returns whether no socket is bound to a port (connections may use it).
    pub(crate) fn is_unbound(&self, port: u16) -> bool {
        self.0.get(&port).is_none_or(|p| p.holders.is_empty())
    }

    /// Finds a port that nobody uses, looking from the `offset`th on.
    pub(crate) fn find_free(&self, offset: u32) -> Option<u16> {
        (0..ephemeral_count())
            .map(|n| ephemeral(offset.wrapping_add(n)))
            .find(|&port| self.is_free(port))
    }

    /// Gives back what [`Ports::bind`] took.
    pub(crate) fn unbind(&mut self, socket: SocketId, port: u16) {
        if let Some(p) = self.0.get_mut(&port) {
            p.holders.retain(|h| h.socket != socket);
        }
        self.forget_unused(port);
    }

    /// Counts a connection that uses a port.
    pub(crate) fn hold(&mut self, at: SocketAddr, by: Use) {
        let all = &mut self.0.entry(at.port()).or_default().connections;
        let same = all.iter_mut().find(|c| c.at == at.ip() && c.by == by);
        if let Some(same) = same {
            same.count = same.count.saturating_add(1);
        } else if all.try_reserve_exact(1).is_ok() {
            all.push(Connections {
                at: at.ip(),
                by,
                count: 1,
            });
        }
    }

    /// Ends what [`Ports::hold`] began.
    pub(crate) fn release(&mut self, at: SocketAddr, by: Use) {
        if let Some(port) = self.0.get_mut(&at.port()) {
            port.connections.retain_mut(|c| {
                c.count -= u32::from(c.at == at.ip() && c.by == by);
                c.count > 0
            });
        }
        self.forget_unused(at.port());
    }

    fn forget_unused(&mut self, port: u16) {
        let is_unused = |p: &Port| p.holders.is_empty() && p.connections.is_empty();
        if self.0.get(&port).is_some_and(is_unused) {
            self.0.remove(&port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Sharing = Sharing {
        address: false,
        port: false,
    };
    const ADDRESS: Sharing = Sharing {
        address: true,
        port: false,
    };
    const PORT: Sharing = Sharing {
        address: false,
        port: true,
    };

    fn id(index: u32) -> SocketId {
        SocketId {
            index,
            generation: 0,
        }
    }

    fn bound(ip: &str) -> Bound {
        Bound {
            ip: ip.parse().unwrap(),
            is_v6_only: false,
            device: None,
        }
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new(local().ip, port)
    }

    fn any() -> Bound {
        bound("0.0.0.0")
    }

    fn local() -> Bound {
        bound("127.0.0.1")
    }

    #[test]
    fn overlapping_addresses_conflict() {
        let mut p = Ports::default();
        assert_eq!(p.bind(id(1), local(), 80, ALONE), Ok(()));
        assert_eq!(p.bind(id(2), local(), 80, ALONE), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(2), any(), 80, ADDRESS), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(2), any(), 81, ALONE), Ok(()));
        let other = bound("10.0.0.1");
        assert_eq!(p.bind(id(3), other, 80, ALONE), Ok(()));
        p.unbind(id(1), 80);
        p.unbind(id(3), 80);
        assert!(p.is_free(80));
    }

    #[test]
    fn sharing_needs_both_and_no_listener() {
        let mut p = Ports::default();
        assert_eq!(p.bind(id(1), any(), 80, ADDRESS), Ok(()));
        assert_eq!(p.bind(id(2), any(), 80, ADDRESS), Ok(()));
        assert_eq!(p.listen(id(1), any(), 80), Ok(()));
        assert_eq!(p.listen(id(2), any(), 80), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(3), any(), 80, ADDRESS), Err(Errno::EADDRINUSE));
        p.stop_listening(id(1), 80);
        assert_eq!(p.bind(id(3), any(), 80, ADDRESS), Ok(()));
        p.change(id(3), 80, ALONE, None);
        assert_eq!(p.bind(id(4), any(), 80, ADDRESS), Err(Errno::EADDRINUSE));
    }

    #[test]
    fn connections_keep_a_port_from_those_who_do_not_share() {
        let mut p = Ports::default();
        let shared = Use {
            sharing: ADDRESS,
            device: None,
        };
        p.hold(at(80), shared);
        p.hold(at(80), shared);
        p.release(at(80), shared);
        assert_eq!(p.bind(id(1), any(), 80, ALONE), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(1), any(), 80, PORT), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(1), bound("127.0.0.2"), 80, ALONE), Ok(()));
        p.unbind(id(1), 80);
        assert_eq!(p.bind(id(1), bound("::1"), 80, ALONE), Ok(()));
        p.unbind(id(1), 80);
        assert_eq!(
            p.bind(id(1), bound("::"), 80, ALONE),
            Err(Errno::EADDRINUSE)
        );
        assert_eq!(p.bind(id(1), any(), 80, ADDRESS), Ok(()));
        p.unbind(id(1), 80);
        assert!(!p.is_free(80) && p.is_unbound(80));
        // The connection must want it, too.
        p.hold(at(80), Use::default());
        assert_eq!(p.bind(id(1), any(), 80, ADDRESS), Err(Errno::EADDRINUSE));
        p.release(at(80), shared);
        p.release(at(80), Use::default());
        assert!(p.is_free(80));
    }

    #[test]
    fn free_ports_are_found_until_there_are_none() {
        let mut p = Ports::default();
        assert_eq!(p.find_free(0), Some(32768));
        assert_eq!(p.find_free(u32::MAX), Some(ephemeral(u32::MAX)));
        for port in EPHEMERAL {
            p.hold(at(port), Use::default());
        }
        assert_eq!(p.find_free(7), None);
        p.release(at(40000), Use::default());
        assert_eq!(p.find_free(7), Some(40000));
    }

    #[test]
    fn any_address_of_ipv6_stands_for_ipv4_unless_told() {
        let only = Bound {
            is_v6_only: true,
            ..bound("::")
        };
        for (a, b, overlap) in [
            (bound("::"), any(), true),
            (bound("::"), local(), true),
            (bound("::"), bound("::1"), true),
            (only, any(), false),
            (only, local(), false),
            (only, bound("::1"), true),
            (only, bound("::"), true),
            (any(), bound("::1"), false),
            (bound("::1"), bound("::2"), false),
        ] {
            assert_eq!(
                (a.overlaps(b), b.overlaps(a)),
                (overlap, overlap),
                "{a:?} {b:?}"
            );
        }
        let v4 = "10.0.0.1".parse().unwrap();
        let fits = [bound("10.0.0.1"), any(), bound("::"), only].map(|b| b.fit(v4));
        assert_eq!(fits, [Some(2), Some(1), Some(0), None]);
        let v6 = "fe80::1".parse().unwrap();
        let fits = [bound("fe80::1"), bound("::"), only, any()].map(|b| b.fit(v6));
        assert_eq!(fits, [Some(2), Some(1), Some(1), None]);
    }

    #[test]
    fn those_who_share_the_port_may_all_listen() {
        let mut p = Ports::default();
        for n in 1..4 {
            assert_eq!(p.bind(id(n), any(), 80, PORT), Ok(()));
            assert_eq!(p.listen(id(n), any(), 80), Ok(()));
        }
        assert_eq!(p.bind(id(4), any(), 80, ADDRESS), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(4), any(), 80, ALONE), Err(Errno::EADDRINUSE));
        p.change(id(1), 80, ALONE, None);
        assert_eq!(p.bind(id(4), any(), 80, PORT), Err(Errno::EADDRINUSE));
        assert_eq!(p.listen(id(2), any(), 80), Err(Errno::EADDRINUSE));
    }

    #[test]
    fn those_on_different_interfaces_do_not_meet() {
        let on = |device| Bound { device, ..any() };
        let (card, lo) = (Some(Path::Nic), Some(Path::Loopback));
        let mut p = Ports::default();
        assert_eq!(p.bind(id(1), on(card), 80, ALONE), Ok(()));
        assert_eq!(p.bind(id(2), on(lo), 80, ALONE), Ok(()));
        assert_eq!(p.bind(id(3), on(lo), 80, ALONE), Err(Errno::EADDRINUSE));
        assert_eq!(p.bind(id(3), any(), 80, ALONE), Err(Errno::EADDRINUSE));
        assert_eq!(p.listen(id(1), on(card), 80), Ok(()));
        assert_eq!(p.listen(id(2), on(lo), 80), Ok(()));
        assert!(on(lo).takes(Path::Loopback) && !on(lo).takes(Path::Nic));
    }
}
