//! Internet sockets (`ip(7)`, `ipv6(7)`, `tcp(7)`, `udp(7)`).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_abi::socket::{
    AF_INET, AF_INET6, MsgFlags, SHUT_RD, SHUT_RDWR, SHUT_WR, SOCK_DGRAM, SOCK_STREAM,
};
use tyn_abi::{Errno, Events, Nanos, Sink, Source, UserVa};
use tyn_hal::time;
use tyn_net::{SocketId, Take, TcpOptions};

use super::address::{Family, encode, is_unspecified};
use super::switches::IpSwitches;
use super::{close, inspect, memory, operate, register};
use super::{error_queue, interface_ioctl, mtu_options};
use super::{ip_options, options};
use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, OpenFile, flags};
use crate::pipe::FIONREAD;
use crate::socket::{Accepted, Blocking, Direction, Incoming, Outgoing, Socket};
use crate::socket_options::{Options, Value};
use crate::user_io;
use crate::wait::{Interrupted, WaitQueue};

/// Protocol numbers (`/etc/protocols`).
pub(super) const IPPROTO_IP: i32 = 0;
pub(super) const IPPROTO_TCP: i32 = 6;
pub(super) const IPPROTO_IPV6: i32 = 41;
pub(super) const IPPROTO_UDP: i32 = 17;
/// `ioctl(2)`: bytes that were written but not acknowledged.
const TIOCOUTQ: u32 = 0x5411;
/// Whether the next byte comes after urgent data (`tcp(7)`).
const SIOCATMARK: u32 = 0x8905;
/// What `SO_SNDBUF` and `SO_RCVBUF` of TCP say before they are set (`tcp_wmem` and `tcp_rmem` of Linux).
pub(super) const SEND_BUFFER: u32 = 16 << 10;
pub(super) const RECEIVE_BUFFER: u32 = 128 << 10;
/// What a connection's queues may hold at first, and what they grow to.
const FIRST_QUEUE: usize = 64 << 10;
pub(super) const MOST_QUEUE: usize = 4 << 20;

/// What a socket speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// A socket of IPv4 or IPv6.
pub(crate) struct InetSocket {
    pub(super) id: SocketId,
    pub(super) family: Family,
    pub(super) protocol: Protocol,
    queue: Arc<WaitQueue>,
    pub(super) options: Options,
    pub(super) switches: IpSwitches,
    pub(super) is_listening: AtomicBool,
    inode: u64,
}

impl InetSocket {
    /// Returns its inode number.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }
}

impl core::fmt::Debug for InetSocket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "InetSocket({:?} {})", self.protocol, self.inode)
    }
}

/// Opens a socket with these status flags.
///
/// # Errors
/// `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`; `EPERM` never: everybody is root.
pub(crate) fn open(
    family: u16,
    kind: u32,
    protocol: u32,
    status: u32,
) -> Result<Arc<OpenFile>, Errno> {
    let family = match family {
        AF_INET => Family::V4,
        AF_INET6 => Family::V6,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let protocol_number = i32::try_from(protocol).map_err(|_| Errno::EINVAL)?;
    let protocol = match (kind, protocol_number) {
        (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => Protocol::Tcp,
        (SOCK_DGRAM, IPPROTO_IP | IPPROTO_UDP) => Protocol::Udp,
        (SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    let tcp_options = TcpOptions {
        receive_most: MOST_QUEUE as u32,
        send_most: MOST_QUEUE as u32,
        ..TcpOptions::new(FIRST_QUEUE)
    };
    let id = operate(|stack| match (protocol, family) {
        (Protocol::Tcp, Family::V4) => stack.tcp_socket(tcp_options),
        (Protocol::Tcp, Family::V6) => stack.tcp_socket_v6(tcp_options),
        (Protocol::Udp, Family::V4) => stack.udp_socket(),
        (Protocol::Udp, Family::V6) => stack.udp_socket_v6(),
    })?;
    let options = match protocol {
        Protocol::Tcp => Options::new(SEND_BUFFER, RECEIVE_BUFFER),
        Protocol::Udp => Options::default(),
    };
    let socket = Arc::new(InetSocket::new(
        id,
        family,
        protocol,
        options,
        IpSwitches::default(),
    ));
    let name = socket.name();
    Ok(OpenFile::new(socket, flags::O_RDWR | status, name))
}

impl InetSocket {
    fn new(
        id: SocketId,
        family: Family,
        protocol: Protocol,
        options: Options,
        switches: IpSwitches,
    ) -> Self {
        let queue = Arc::new(WaitQueue::new());
        register(id, &queue);
        let is_listening = AtomicBool::new(false);
        Self {
            id,
            family,
            protocol,
            queue,
            options,
            switches,
            is_listening,
            inode: anon::inode_number(),
        }
    }

    fn name(&self) -> String {
        format!("socket:[{}]", self.inode)
    }

    fn receive_stream(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno> {
        const WHOLE: MsgFlags = MsgFlags::PEEK.union(MsgFlags::WAITALL);
        let take = match () {
            () if flags.contains(WHOLE) && !flags.contains(MsgFlags::DONTWAIT) => Take::PeekAll,
            () if flags.contains(MsgFlags::PEEK) => Take::Peek,
            () if flags.contains(MsgFlags::TRUNC) => Take::Discard(dst.remaining()),
            () if flags.contains(MsgFlags::DONTWAIT) => Take::Bytes,
            () => Take::Enough,
        };
        let count = operate(|stack| stack.tcp_receive(self.id, take, dst))?;
        let stamps = &self.switches.stamps;
        let came_at = match count {
            1.. if stamps.are_wanted() => inspect(|stack| stack.tcp_data_received_at(self.id)),
            _ => None,
        };
        Ok(Incoming {
            count,
            control: Vec::from_iter(came_at.and_then(|at| stamps.control(at))),
            ..Incoming::default()
        })
    }

    fn receive_datagram(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno> {
        if let Some(path) = mtu_options::take_path(self) {
            return Ok(path);
        }
        let peeks = flags.contains(MsgFlags::PEEK);
        let received = match operate(|stack| stack.udp_receive(self.id, peeks, dst)) {
            // As on Linux, which learns that there is nothing before it asks whether there will be.
            Err(Errno::EAGAIN)
                if !flags.contains(MsgFlags::DONTWAIT)
                    && inspect(|stack| stack.udp_is_read_shut(self.id)) =>
            {
                return Ok(Incoming::default());
            }
            received => received?,
        };
        let is_cut = received.copied < received.len;
        let port = match self.switches.wants_destination() {
            true => inspect(|stack| stack.udp_local(self.id))?.port(),
            false => 0,
        };
        let control = self.switches.control(self.family, &received, port);
        Ok(Incoming {
            count: if flags.contains(MsgFlags::TRUNC) {
                received.len
            } else {
                received.copied
            },
            address: Some(encode(self.family, received.source)),
            control,
            flags: if is_cut {
                MsgFlags::TRUNC
            } else {
                MsgFlags::empty()
            },
            ..Incoming::default()
        })
    }

    /// Waits until an attempt to connect ended; `meanwhile` says that it goes on.
    fn wait_connected(&self, cx: &Cx<'_>, meanwhile: Errno) -> Result<(), Errno> {
        let timeout = self.options.timeout(Direction::Send);
        let deadline = timeout.map(|t| time::now() + t);
        let ended = || operate(|stack| stack.tcp_connect_result(self.id));
        match cx.block_on(&[&self.queue], Events::OUT, deadline, ended) {
            Ok(result) => result,
            Err(Interrupted::TimedOut) => Err(meanwhile),
            Err(Interrupted::Signal) if timeout.is_some() => Err(Errno::EINTR),
            Err(Interrupted::Signal) => Err(Errno::ERESTARTSYS),
        }
    }
}

impl File for InetSocket {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        // `read(2)` of nothing does not even take a datagram (`sock_read_iter` of Linux).
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.receive(dst, MsgFlags::empty())
            .map(|incoming| incoming.count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        operate(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_send(self.id, src, false),
            Protocol::Udp => stack.udp_send_with(self.id, &self.switches.send(), src),
        })
    }

    fn poll(&self) -> Events {
        inspect(|stack| stack.readiness(self.id))
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn kernel_bytes(&self) -> usize {
        size_of::<Self>() + memory(self.id)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Sockets, self.inode))
    }

    fn ioctl(&self, cx: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        if let Some(result) = interface_ioctl::ioctl(self.family == Family::V4, request, arg) {
            return result;
        }
        let (unread, unsent) = match self.protocol {
            Protocol::Tcp => inspect(|stack| stack.tcp_queues(self.id))?,
            Protocol::Udp => (inspect(|stack| stack.udp_next_len(self.id)), 0),
        };
        let value = match request {
            FIONREAD => unread,
            TIOCOUTQ => unsent,
            // There is no urgent data, and no mark where it was.
            SIOCATMARK if self.protocol == Protocol::Tcp => 0,
            _ => {
                cx.trace_unsupported("ioctl on a socket", u64::from(request));
                return Err(Errno::ENOTTY);
            }
        };
        user_io::write_bytes(arg, &(value as u32).to_le_bytes())?;
        Ok(0)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn release(&self) {
        close(self.id);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Socket for InetSocket {
    fn kind(&self) -> u32 {
        match self.protocol {
            Protocol::Tcp => SOCK_STREAM,
            Protocol::Udp => SOCK_DGRAM,
        }
    }

    fn bind(&self, _: &mut Cx<'_>, address: &[u8]) -> Result<(), Errno> {
        let at = self.decode_own(address)?;
        operate(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_bind(self.id, at),
            Protocol::Udp => stack.udp_bind(self.id, at),
        })
    }

    fn connect(&self, cx: &mut Cx<'_>, address: &[u8], blocking: Blocking) -> Result<(), Errno> {
        if is_unspecified(address) {
            return operate(|stack| match self.protocol {
                Protocol::Tcp => stack.tcp_disconnect(self.id),
                Protocol::Udp => stack.udp_connect(self.id, None),
            });
        }
        let to = self.decode_peer(address, true)?;
        if self.protocol == Protocol::Udp {
            return operate(|stack| stack.udp_connect(self.id, Some(to)));
        }
        let meanwhile = match operate(|stack| stack.tcp_connect(self.id, to, time::now())) {
            Ok(()) => Errno::EINPROGRESS,
            // A second call waits for the first attempt, and learns of its success once.
            Err(Errno::EALREADY) if blocking == Blocking::Yes => Errno::EALREADY,
            Err(Errno::EISCONN) => {
                return operate(|stack| stack.tcp_connect_result(self.id))
                    .unwrap_or(Err(Errno::EALREADY));
            }
            Err(errno) => return Err(errno),
        };
        match blocking {
            Blocking::Yes => self.wait_connected(cx, meanwhile),
            Blocking::No => Err(meanwhile),
        }
    }

    fn listen(&self, _: &mut Cx<'_>, backlog: usize) -> Result<(), Errno> {
        if self.protocol == Protocol::Udp {
            return Err(Errno::EOPNOTSUPP);
        }
        operate(|stack| stack.tcp_listen(self.id, backlog))?;
        self.is_listening.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        if self.protocol == Protocol::Udp {
            return Err(Errno::EOPNOTSUPP);
        }
        let (id, peer) = operate(|stack| stack.tcp_accept(self.id))?;
        let options = self.options.inherited();
        let switches = self.switches.duplicate();
        let socket = Self::new(id, self.family, Protocol::Tcp, options, switches);
        let name = socket.name();
        Ok(Accepted {
            file: Arc::new(socket),
            name,
            peer: encode(self.family, peer),
        })
    }

    fn local_address(&self) -> Result<Vec<u8>, Errno> {
        inspect(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_local(self.id),
            Protocol::Udp => stack.udp_local(self.id),
        })
        .map(|at| encode(self.family, at))
    }

    fn peer_address(&self) -> Result<Vec<u8>, Errno> {
        inspect(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_remote(self.id),
            Protocol::Udp => stack.udp_remote(self.id),
        })
        .map(|at| encode(self.family, at))
    }

    fn send(
        &self,
        cx: &Cx<'_>,
        src: &mut dyn Source,
        message: &mut Outgoing,
    ) -> Result<usize, Errno> {
        const REFUSED: MsgFlags = MsgFlags::OOB
            .union(MsgFlags::FASTOPEN)
            .union(MsgFlags::ZEROCOPY);
        if message.flags.intersects(REFUSED) {
            cx.trace_unsupported("send flags", u64::from(message.flags.bits()));
            return Err(Errno::EOPNOTSUPP);
        }
        if !message.rights.is_empty() {
            return Err(Errno::EINVAL);
        }
        ip_options::check_common(cx, &message.control)?;
        match self.protocol {
            // The address of a connected stream is ignored, as on Linux.
            Protocol::Tcp => {
                let more = message.flags.contains(MsgFlags::MORE);
                operate(|stack| stack.tcp_send(self.id, src, more))
            }
            Protocol::Udp => {
                let to = message.address.as_deref();
                let to = to.map(|a| self.decode_peer(a, false)).transpose()?;
                let mut how = ip_options::read_control(self, cx, &message.control)?;
                how.to = to;
                how.has_more = message.flags.contains(MsgFlags::MORE);
                how.avoids_routers = message.flags.contains(MsgFlags::DONTROUTE);
                operate(|stack| stack.udp_send_with(self.id, &how, src))
            }
        }
    }

    fn receive(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno> {
        if flags.contains(MsgFlags::OOB) && self.protocol == Protocol::Tcp {
            return Err(Errno::EINVAL);
        }
        if flags.contains(MsgFlags::ERRQUEUE) {
            return error_queue::take(self, dst);
        }
        match self.protocol {
            Protocol::Tcp => self.receive_stream(dst, flags),
            Protocol::Udp => self.receive_datagram(dst, flags),
        }
    }

    fn shutdown(&self, how: i32) -> Result<(), Errno> {
        let (read, write) = match how {
            SHUT_RD => (true, false),
            SHUT_WR => (false, true),
            SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        operate(|stack| match self.protocol {
            Protocol::Tcp => stack.tcp_shutdown(self.id, read, write),
            Protocol::Udp => stack.udp_shutdown(self.id, read, write),
        })
    }

    fn get_option(
        &self,
        cx: &Cx<'_>,
        option: (i32, i32),
        at: UserVa,
        room: usize,
    ) -> Result<Value, Errno> {
        options::get(self, cx, option, at, room)
    }

    fn set_option(&self, cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        options::set(self, cx, level, name, value)
    }

    fn linger(&self) -> Option<Nanos> {
        operate(|stack| stack.tcp_linger(self.id))
    }

    fn is_closing(&self) -> bool {
        inspect(|stack| stack.tcp_is_closing(self.id))
    }

    fn timeout(&self, direction: Direction) -> Option<Nanos> {
        self.options.timeout(direction)
    }
}

/// Takes the pending error of a socket (`SO_ERROR`).
pub(super) fn take_error(id: SocketId) -> u32 {
    operate(|stack| stack.take_error(id)).map_or(0, |errno| u32::from(errno.number()))
}
