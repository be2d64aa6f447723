//! Sending datagrams (`sendto(2)`).

use core::net::{IpAddr, SocketAddr};

use alloc::vec::Vec;
use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{IpProtocol, UdpPacket, UdpRepr};
use tyn_abi::{Errno, Events, Source};

use super::socket::{Begun, Header};
use super::{UDP_HEADER, UdpSend, to_self_if_unspecified};
use crate::checksum;
use crate::fragment::{link_mtu, longest};
use crate::mib;
use crate::stack::Stack;
use crate::types::{Path, SocketId};
use crate::wire::{header_len, write_header};

/// More than a length of IPv4 can say, which Linux refuses before it looks at anything else.
const LONGEST_V4: usize = 0xffff;

impl Stack {
    /// Sends a datagram of all that `src` has, to `to` or the peer.
    ///
    /// # Errors
    /// `EAGAIN` when there is no room now; `EDESTADDRREQ`, `EMSGSIZE`, `ENETUNREACH`, `EACCES`, `EINVAL`, `EPIPE`,
    /// `ENOBUFS` without memory, `EFAULT`, and a pending error.
    pub fn udp_send(
        &mut self,
        id: SocketId,
        to: Option<SocketAddr>,
        src: &mut dyn Source,
    ) -> Result<usize, Errno> {
        let how = UdpSend {
            to,
            ..UdpSend::default()
        };
        self.udp_send_with(id, &how, src)
    }

    /// As [`Stack::udp_send`], for one datagram with a header of its own.
    ///
    /// # Errors
    /// As [`Stack::udp_send`], and `EINVAL` for a source that is not ours.
    pub fn udp_send_with(
        &mut self,
        id: SocketId,
        how: &UdpSend,
        src: &mut dyn Source,
    ) -> Result<usize, Errno> {
        let socket = self.udp(id)?;
        if how.has_more || socket.options.is_corked || socket.begun.is_some() {
            return self.udp_continue(id, how, src);
        }
        let to = self.destination(id, how)?;
        let len = src.remaining();
        if to.is_ipv4() && len > LONGEST_V4 {
            return Err(Errno::EMSGSIZE);
        }
        // Who is connected to port 0 may send there.
        if how.to.is_some_and(|to| to.port() == 0) {
            return Err(Errno::EINVAL);
        }
        let may_broadcast = self.udp(id)?.options.broadcasts;
        let way = self.route_of(id, how, to.ip());
        let (path, source) = self.out.counted(way, to.ip())?;
        if self.out.routes.is_broadcast(to.ip()) && !may_broadcast {
            return Err(Errno::EACCES);
        }
        let total = header_len(to.ip()) + UDP_HEADER + len;
        let mtu = self.mtu_towards(id, to.ip(), path)?;
        let discovery = self.udp(id)?.options.discovery(to.is_ipv6());
        let most = longest(to.ip());
        let never_splits = how.never_splits && to.is_ipv6();
        if never_splits && total > mtu && how.tells_mtu {
            self.udp(id)?.path_mtu = Some((to.ip(), mtu));
        }
        if total > most || total > mtu && (never_splits || !discovery.splits()) {
            self.udp_too_long(id, to, mtu);
            return Err(Errno::EMSGSIZE);
        }
        self.claim_room(id, path)?;
        if !self.out.reserve(total) {
            mib::of(&mut self.out.mib.udp, to.ip()).send_errors += 1;
            return Err(Errno::ENOBUFS);
        }
        let header = self.udp(id)?.header(how, to, (path, source))?;
        // The loopback path takes anything whole.
        let split_at = (path == Path::Nic && total > mtu).then_some(mtu);
        self.out.lets_split = discovery.lets_routers_split();
        self.build_udp(path, &header, src, split_at.is_some())?;
        mib::of(&mut self.out.mib.udp, to.ip()).out_datagrams += 1;
        let is_for_many = to.ip().is_multicast() || self.out.routes.is_broadcast(to.ip());
        let heard = (path == Path::Nic && is_for_many).then(|| Vec::from(self.out.built()));
        // A group's packets that may make no hop are for this host alone.
        let stays = path == Path::Nic && to.ip().is_multicast() && header.ttl == 0;
        match split_at {
            _ if stays => {}
            Some(mtu) => self.out.launch_split(mtu),
            None => self.out.launch(path),
        }
        if let Some(packet) = heard {
            self.hear_ourselves(id, to.ip(), &packet);
        }
        Ok(len)
    }

    /// Makes sure that a datagram can leave now; when it cannot, the socket hears of it as soon as one can.
    fn claim_room(&mut self, id: SocketId, path: Path) -> Result<(), Errno> {
        if self.out.has_room(path) {
            return Ok(());
        }
        let socket = self.udp(id)?;
        if !core::mem::replace(&mut socket.is_blocked, true) {
            self.blocked.push(path, id);
        }
        self.report(id, Events::empty());
        Err(Errno::EAGAIN)
    }

    /// Lets what is sent from now on belong to one datagram (`UDP_CORK`), or sends it. What becomes of it nobody hears, as on
    /// Linux.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn udp_cork(&mut self, id: SocketId, is_corked: bool) -> Result<(), Errno> {
        let socket = self.udp(id)?;
        socket.options.is_corked = is_corked;
        if !is_corked && socket.begun.is_some() {
            let _ = self.udp_continue(id, &UdpSend::default(), &mut &[][..]);
        }
        Ok(())
    }

    /// Begins a datagram of which more follows, or adds to it, and sends it with its last bytes. What was said first of how it
    /// is sent holds; when it cannot be sent it is dropped, as on Linux.
    fn udp_continue(
        &mut self,
        id: SocketId,
        how: &UdpSend,
        src: &mut dyn Source,
    ) -> Result<usize, Errno> {
        let socket = self.udp(id)?;
        let has_more = how.has_more || socket.options.is_corked;
        let first = socket.begun.as_ref().map_or(*how, |begun| begun.how);
        let to = self.destination(id, &first)?;
        let (path, _) = self.route_of(id, &first, to.ip())?;
        if !has_more {
            self.claim_room(id, path)?;
        }
        let begun = self.udp(id)?.begun.take();
        let mut data = begun.map_or_else(Vec::new, |begun| begun.data);
        let (before, len) = (data.len(), src.remaining());
        if before + len > LONGEST_V4 {
            return Err(Errno::EMSGSIZE);
        }
        data.try_reserve(len).map_err(|_| Errno::ENOBUFS)?;
        data.resize(before + len, 0);
        src.read_exact(data.get_mut(before..).unwrap_or_default())?;
        if has_more {
            self.udp(id)?.begun = Some(Begun { how: first, data });
        } else {
            let last = UdpSend {
                has_more: false,
                ..first
            };
            self.udp_send_with(id, &last, &mut &data[..])?;
        }
        Ok(len)
    }

    /// Returns where a datagram is to go, if the socket is in a state to send.
    fn destination(&mut self, id: SocketId, how: &UdpSend) -> Result<SocketAddr, Errno> {
        // Before anything else can fail, as in Linux (`inet_send_prepare`).
        self.udp_autobind(id)?;
        let socket = self.udp(id)?;
        if let Some(error) = socket.error.take() {
            self.report(id, Events::empty());
            return Err(error);
        }
        let to = how.to.or(socket.remote).ok_or(Errno::EDESTADDRREQ)?;
        if socket.is_write_shut {
            return Err(Errno::EPIPE);
        }
        let is_ours = |ip: IpAddr| ip.is_unspecified() || self.out.routes.is_own(ip);
        if how.source.is_some_and(|ip| !is_ours(ip)) {
            return Err(Errno::EINVAL);
        }
        Ok(to_self_if_unspecified(to))
    }

    /// Returns the size of the packets that a socket sends to a host whole.
    fn mtu_towards(&mut self, id: SocketId, host: IpAddr, path: Path) -> Result<usize, Errno> {
        let known = self.path_mtu(host, path);
        let link = link_mtu(self.out.mtu(path), path, host);
        let options = &self.udp(id)?.options;
        let mtu = if options.discovery(host.is_ipv6()).heeds_path() {
            known
        } else {
            link
        };
        Ok(match options.longest_v6 {
            1.. if host.is_ipv6() => mtu.min(options.longest_v6),
            _ => mtu,
        })
    }

    /// Builds a datagram's packet. Only a whole one's checksum can be left to the card.
    fn build_udp(
        &mut self,
        path: Path,
        header: &Header,
        src: &mut dyn Source,
        is_split: bool,
    ) -> Result<(), Errno> {
        let Header {
            source,
            to,
            tos,
            ttl,
        } = *header;
        let udp = UdpRepr {
            src_port: source.port(),
            dst_port: to.port(),
        };
        let mut checksums = self.out.checksums(path);
        if is_split {
            checksums.udp = Checksum::Tx;
        }
        let len = src.remaining();
        let total = header_len(to.ip()) + UDP_HEADER + len;
        self.out.build(total, tos, |packet| {
            let protocol = IpProtocol::Udp;
            let payload = write_header(packet, source.ip(), to.ip(), protocol, ttl, &checksums);
            let mut result = Ok(());
            udp.emit(
                &mut UdpPacket::new_unchecked(&mut *payload),
                &source.ip().into(),
                &to.ip().into(),
                len,
                |payload| result = src.read_exact(payload),
                &ChecksumCapabilities::ignored(),
            );
            if checksums.udp.tx() {
                // Zero would say that there is none (RFC 768).
                let sum = match !checksum::of(source.ip(), to.ip(), protocol, payload) {
                    0 => 0xffff,
                    sum => sum,
                };
                UdpPacket::new_unchecked(payload).set_checksum(sum);
            }
            result
        })
    }
}
