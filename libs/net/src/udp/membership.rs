//! Multicast of UDP sockets: joining and leaving groups, their sources, and who hears what.

use core::net::{IpAddr, Ipv4Addr};

use tyn_abi::Errno;

use super::socket::UdpSend;
use crate::mib;
use crate::multicast::filter::{
    FilterMode, Membership, Outcome, SourceChange, SourceFilter, has_room, memory_of,
};
use crate::stack::Stack;
use crate::types::{Path, SocketId};
use crate::wire::Ip;

/// Groups of IPv4 that a socket may join (`net.ipv4.igmp_max_memberships`).
const MOST_V4: usize = 20;

impl Stack {
    /// Returns the interface that has one of our addresses.
    #[must_use]
    pub fn interface_of(&self, address: IpAddr) -> Option<Path> {
        match address {
            _ if address.is_loopback() => Some(Path::Loopback),
            _ if self.out.routes.is_own(address) => Some(Path::Nic),
            _ => None,
        }
    }

    /// Returns the interface through which a group is reached when nobody says.
    #[must_use]
    pub fn interface_towards(&self, group: IpAddr) -> Option<Path> {
        self.out.routes.route(group).ok().map(|(path, _)| path)
    }

    /// Makes a socket a member of a group on an interface, on the way there when none is named (`IP_ADD_MEMBERSHIP`,
    /// `IPV6_JOIN_GROUP`). With [`FilterMode::Include`] it hears nobody until sources are added.
    ///
    /// # Errors
    /// `EINVAL` when it is no group, `EADDRINUSE` when the socket is in it there (anywhere if no interface is named),
    /// `ENODEV` without a way there, `ENOBUFS` when it is in too many of IPv4, `ENOMEM` in too many of IPv6.
    pub fn udp_join(
        &mut self,
        id: SocketId,
        group: IpAddr,
        path: Option<Path>,
        mode: FilterMode,
    ) -> Result<(), Errno> {
        let now = self.out.now;
        let towards = path.or_else(|| self.interface_towards(group));
        let groups = &mut self.udp(id)?.groups;
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        if index_of(groups, group, path).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        let path = towards.ok_or(Errno::ENODEV)?;
        let too_many = match group {
            IpAddr::V4(_) => Errno::ENOBUFS,
            IpAddr::V6(_) => Errno::ENOMEM,
        };
        let is_full =
            group.is_ipv4() && groups.iter().filter(|m| m.group.is_ipv4()).count() >= MOST_V4;
        if is_full || !has_room(groups, group) {
            return Err(too_many);
        }
        groups.try_reserve(1).map_err(|_| too_many)?;
        let membership = Membership::new(path, group, mode);
        let groups_of_all = &mut self.out.groups;
        groups_of_all.join(path, group, &membership.filter, now);
        self.udp(id)?.groups.push(membership);
        Ok(())
    }

    /// Ends a membership (`IP_DROP_MEMBERSHIP`, `IPV6_LEAVE_GROUP`), on whichever interface when none is named.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when there is none.
    pub fn udp_leave(
        &mut self,
        id: SocketId,
        group: IpAddr,
        path: Option<Path>,
    ) -> Result<(), Errno> {
        let groups = &mut self.udp(id)?.groups;
        let index = index_of(groups, group, path).ok_or(Errno::EADDRNOTAVAIL)?;
        let membership = groups.remove(index);
        self.end_membership(&membership);
        Ok(())
    }

    /// Adds a source to a membership or takes one away; without one that is listened to the membership ends.
    ///
    /// # Errors
    /// `EINVAL` without a membership, and when its sources are of the other mode; `EADDRNOTAVAIL` for a source that is there
    /// already, or that is not there; `ENOBUFS` when there are too many.
    pub fn udp_change_source(
        &mut self,
        id: SocketId,
        group: IpAddr,
        path: Option<Path>,
        change: &SourceChange,
    ) -> Result<(), Errno> {
        let now = self.out.now;
        let groups = &mut self.udp(id)?.groups;
        let index = index_of(groups, group, path).ok_or(Errno::EINVAL)?;
        let used = memory_of(groups);
        let membership = groups.get_mut(index).ok_or(Errno::EINVAL)?;
        let old = membership.filter.clone();
        let outcome = membership.change(change, used);
        let (at, new) = ((membership.path, group), membership.filter.clone());
        self.out.groups.refilter(at, &old, &new, now);
        match outcome? {
            Outcome::Stays => Ok(()),
            Outcome::Ends => self.udp_leave(id, group, path),
        }
    }

    /// Replaces the filter of a membership (`IP_MSFILTER`, `MCAST_MSFILTER`).
    ///
    /// # Errors
    /// `EINVAL` without a membership, `ENOBUFS` for too many sources.
    pub fn udp_set_filter(
        &mut self,
        id: SocketId,
        (path, group): (Path, IpAddr),
        filter: SourceFilter,
    ) -> Result<(), Errno> {
        let now = self.out.now;
        let groups = &mut self.udp(id)?.groups;
        let index = index_of(groups, group, Some(path)).ok_or(Errno::EINVAL)?;
        let used = memory_of(groups);
        let membership = groups.get_mut(index).ok_or(Errno::EINVAL)?;
        let old = membership.filter.clone();
        membership.replace(filter, used)?;
        let new = membership.filter.clone();
        self.out.groups.refilter((path, group), &old, &new, now);
        Ok(())
    }

    /// Returns the filter of a membership.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` without one.
    pub fn udp_filter(
        &mut self,
        id: SocketId,
        (path, group): (Path, IpAddr),
    ) -> Result<SourceFilter, Errno> {
        let groups = &self.udp(id)?.groups;
        let index = index_of(groups, group, Some(path));
        let membership = index.and_then(|index| groups.get(index));
        membership
            .map(|m| m.filter.clone())
            .ok_or(Errno::EADDRNOTAVAIL)
    }

    /// Takes note that a socket is no longer in a group.
    pub(super) fn end_membership(&mut self, membership: &Membership) {
        let Membership { path, group, .. } = *membership;
        let now = self.out.now;
        self.out.groups.leave(path, group, &membership.filter, now);
    }

    /// Returns whether an interface takes in what a source sends to a group.
    pub(crate) fn is_heard(&self, path: Path, group: IpAddr, source: IpAddr) -> bool {
        let of_address = |ip| path == Path::Nic && self.out.routes.v6.is_in_group(ip);
        self.out.groups.allows(path, group, source)
            || matches!(group, IpAddr::V6(ip) if of_address(ip))
    }

    /// Returns the way of a datagram, and our address on it: a socket can choose the interface for groups.
    pub(super) fn route_of(
        &mut self,
        id: SocketId,
        how: &UdpSend,
        to: IpAddr,
    ) -> Result<(Path, IpAddr), Errno> {
        let socket = self.udp(id)?;
        let own = how.source.unwrap_or(socket.local.ip());
        let device = socket.options.device;
        let mut wish = socket.options.wish();
        wish.avoids_routers |= how.avoids_routers;
        let multicast = *socket.options.multicast(to);
        if !to.is_multicast() {
            return self.out.routes.route_for(wish, to);
        }
        let is_ours = !own.is_unspecified() && own.is_ipv4() && to.is_ipv4();
        let path = device
            .or(multicast.path)
            .or_else(|| is_ours.then(|| self.interface_of(own)).flatten());
        let source = multicast.address.map(IpAddr::V4);
        match (path, to) {
            (Some(Path::Loopback), IpAddr::V4(_)) => {
                let source = source.unwrap_or(Ipv4Addr::LOCALHOST.into());
                Ok((Path::Loopback, source))
            }
            // Linux has no route to groups of IPv6 through its loopback interface.
            (Some(Path::Loopback), IpAddr::V6(_)) => Err(Errno::ENETUNREACH),
            _ => self.out.routes.route(to),
        }
    }

    /// Lets members on this host hear the datagram that was just sent to `to`, as everybody on the link does.
    pub(super) fn hear_ourselves(&mut self, id: SocketId, to: IpAddr, packet: &[u8]) {
        let loops = self.udp(id).is_ok_and(|s| s.options.multicast(to).loops);
        if to.is_multicast() && !loops {
            return;
        }
        if let Some(ip) = Ip::parse(packet) {
            self.out.mib.received(packet);
            self.out.mib.received_by_many(to, packet);
            let is_heard = !to.is_multicast() || self.is_heard(Path::Nic, to, ip.source);
            mib::of(&mut self.out.mib.ip, to).delivers += u64::from(is_heard);
            self.on_udp(Path::Nic, &ip, packet);
        }
    }
}

/// Returns the latest membership of a group, on whichever interface when none is named.
fn index_of(groups: &[Membership], group: IpAddr, path: Option<Path>) -> Option<usize> {
    let is_it = |m: &Membership| m.group == group && path.is_none_or(|path| m.path == path);
    groups.iter().rposition(is_it)
}
