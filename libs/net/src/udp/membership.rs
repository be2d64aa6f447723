//! Multicast of UDP sockets: joining and leaving groups, and who hears what.

use core::net::{IpAddr, Ipv4Addr};

use tyn_abi::Errno;

use super::socket::UdpSend;
use crate::stack::Stack;
use crate::types::{Path, SocketId};
use crate::wire::Ip;

/// Groups of IPv4 that a socket may join (`net.ipv4.igmp_max_memberships`).
const MOST_V4: usize = 20;
/// Groups of IPv6, for which Linux lets a socket use `net.core.optmem_max` bytes.
const MOST_V6: usize = 1000;

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

    /// Makes a socket hear a group on an interface (`IP_ADD_MEMBERSHIP`, `IPV6_JOIN_GROUP`).
    ///
    /// # Errors
    /// `EINVAL` when it is no group, `EADDRINUSE` when the socket is in it there, `ENOBUFS` when it is in too many of IPv4,
    /// `ENOMEM` in too many of IPv6.
    pub fn udp_join(&mut self, id: SocketId, group: IpAddr, path: Path) -> Result<(), Errno> {
        let now = self.out.now;
        let groups = &mut self.udp(id)?.groups;
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        if groups.contains(&(path, group)) {
            return Err(Errno::EADDRINUSE);
        }
        let same = groups.iter().filter(|g| g.1.is_ipv4() == group.is_ipv4());
        match (same.count(), group) {
            (MOST_V4.., IpAddr::V4(_)) => return Err(Errno::ENOBUFS),
            (MOST_V6.., IpAddr::V6(_)) => return Err(Errno::ENOMEM),
            _ => {}
        }
        groups.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        groups.push((path, group));
        self.out.groups.join(path, group, now);
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
        let is_it = |g: &(Path, IpAddr)| g.1 == group && path.is_none_or(|path| g.0 == path);
        let index = groups.iter().position(is_it);
        let (path, group) = groups.swap_remove(index.ok_or(Errno::EADDRNOTAVAIL)?);
        self.leave_group(path, group);
        Ok(())
    }

    /// Takes note that a socket is no longer in a group.
    pub(super) fn leave_group(&mut self, path: Path, group: IpAddr) {
        if self.out.groups.leave(path, group) {
            self.out.report_left(group);
        }
    }

    /// Returns whether an interface takes in what is sent to a group.
    pub(super) fn is_member(&self, path: Path, group: IpAddr) -> bool {
        let of_address = |ip| path == Path::Nic && self.out.routes.v6.is_in_group(ip);
        self.out.groups.contains(path, group) || matches!(group, IpAddr::V6(ip) if of_address(ip))
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
        let multicast = *socket.options.multicast(to);
        if !to.is_multicast() {
            return self.out.routes.route_by(device, to);
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
        let is_heard = match to {
            group if group.is_multicast() => loops && self.is_member(Path::Nic, group),
            _ => true,
        };
        if !is_heard {
            return;
        }
        if let Some(ip) = Ip::parse(packet) {
            self.on_udp(Path::Nic, &ip, packet);
        }
    }
}
