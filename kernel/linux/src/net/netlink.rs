//! Netlink sockets (`netlink(7)`), family `NETLINK_ROUTE` only: what `getifaddrs(3)` asks. Requests are answered at once;
//! the answers wait in the socket's queue. There are no multicast groups.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use tyn_abi::socket::{AF_NETLINK, MsgFlags, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET};
use tyn_abi::{Errno, Events, Nanos, Sink, Source, UserVa};
use tyn_hal::sync::SpinLock;
use tyn_net::netlink;

use super::{inspect, interface_ioctl};
use crate::anon::{self, Home};
use crate::cx::{Cx, SysResult};
use crate::file::{At, File, OpenFile, flags};
use crate::socket::{Accepted, Blocking, Direction, Incoming, Outgoing, Socket};
use crate::socket_options::{Options, Value};
use crate::wait::WaitQueue;

const NETLINK_ROUTE: u32 = 0;
/// Longest datagram of requests that is taken.
const MAX_REQUEST: usize = 4096;
/// Answers that may wait; further requests are refused until some are read.
const MAX_ANSWERS: usize = 64;

/// A netlink socket.
struct NetlinkSocket {
    kind: u32,
    /// Our address: unique among netlink sockets, 0 before it is bound.
    port: AtomicU32,
    answers: SpinLock<VecDeque<Vec<u8>>>,
    queue: WaitQueue,
    options: Options,
    inode: u64,
}

/// Opens a netlink socket with these status flags.
///
/// # Errors
/// `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`.
pub(crate) fn open(
    cx: &Cx<'_>,
    kind: u32,
    protocol: u32,
    status: u32,
) -> Result<Arc<OpenFile>, Errno> {
    if !matches!(kind, SOCK_RAW | SOCK_DGRAM) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    if protocol != NETLINK_ROUTE {
        cx.trace_unsupported("netlink protocol", u64::from(protocol));
        return Err(Errno::EPROTONOSUPPORT);
    }
    let inode = anon::inode_number();
    let socket = NetlinkSocket {
        kind,
        port: AtomicU32::new(0),
        answers: SpinLock::new(VecDeque::new()),
        queue: WaitQueue::new(),
        options: Options::default(),
        inode,
    };
    let name = format!("socket:[{inode}]");
    Ok(OpenFile::new(
        Arc::new(socket),
        flags::O_RDWR | status,
        name,
    ))
}

/// Encodes a `struct sockaddr_nl`.
fn encode(port: u32) -> Vec<u8> {
    let mut bytes = AF_NETLINK.to_le_bytes().to_vec();
    bytes.extend([0; 2]);
    bytes.extend(port.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// Decodes a `struct sockaddr_nl` into port and groups.
fn decode(address: &[u8]) -> Result<(u32, u32), Errno> {
    let [f0, f1, _, _, p0, p1, p2, p3, g0, g1, g2, g3] =
        *address.first_chunk().ok_or(Errno::EINVAL)?;
    if u16::from_le_bytes([f0, f1]) != AF_NETLINK {
        return Err(Errno::EINVAL);
    }
    let port = u32::from_le_bytes([p0, p1, p2, p3]);
    Ok((port, u32::from_le_bytes([g0, g1, g2, g3])))
}

impl NetlinkSocket {
    /// Returns our address, choosing one if there is none yet: the inode number is unique.
    fn port(&self) -> u32 {
        let own = self.inode as u32;
        match self
            .port
            .compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => own,
            Err(bound) => bound,
        }
    }

    fn request(&self, src: &mut dyn Source) -> Result<usize, Errno> {
        let len = src.remaining();
        if len > MAX_REQUEST {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = vec![0; len];
        src.read_exact(&mut bytes)?;
        let interfaces = inspect(tyn_net::Stack::interfaces);
        let replies = netlink::answer(&bytes, self.port(), &interfaces);
        {
            let mut answers = self.answers.lock();
            if answers.len() + replies.len() > MAX_ANSWERS {
                return Err(Errno::ENOBUFS);
            }
            answers.extend(replies);
        }
        self.queue.notify(Events::IN | Events::RDNORM);
        Ok(len)
    }
}

impl File for NetlinkSocket {
    fn read(&self, _: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        Ok(self.receive(dst, MsgFlags::empty())?.count)
    }

    fn write(&self, _: At, src: &mut dyn Source) -> Result<usize, Errno> {
        self.request(src)
    }

    fn poll(&self) -> Events {
        let writable = Events::OUT | Events::WRNORM;
        if self.answers.lock().is_empty() {
            writable
        } else {
            writable | Events::IN | Events::RDNORM
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(anon::stat(Home::Sockets, self.inode))
    }

    fn ioctl(&self, _: &mut Cx<'_>, request: u32, arg: UserVa) -> SysResult {
        interface_ioctl::ioctl(false, request, arg).unwrap_or(Err(Errno::ENOTTY))
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Socket for NetlinkSocket {
    fn kind(&self) -> u32 {
        self.kind
    }

    fn bind(&self, cx: &mut Cx<'_>, address: &[u8]) -> Result<(), Errno> {
        let (port, groups) = decode(address)?;
        if groups != 0 {
            cx.trace_unsupported("netlink groups", u64::from(groups));
            return Err(Errno::EOPNOTSUPP);
        }
        match (self.port.load(Ordering::Relaxed), port) {
            (_, 0) => drop(self.port()),
            (0, port) => self.port.store(port, Ordering::Relaxed),
            (bound, port) if bound == port => {}
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn connect(&self, _: &mut Cx<'_>, address: &[u8], _: Blocking) -> Result<(), Errno> {
        match decode(address)? {
            (0, 0) => Ok(()),
            _ => Err(Errno::ECONNREFUSED),
        }
    }

    fn listen(&self, _: &mut Cx<'_>, _: usize) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn local_address(&self) -> Result<Vec<u8>, Errno> {
        Ok(encode(self.port.load(Ordering::Relaxed)))
    }

    fn peer_address(&self) -> Result<Vec<u8>, Errno> {
        Ok(encode(0))
    }

    fn send(
        &self,
        _: &Cx<'_>,
        src: &mut dyn Source,
        message: &mut Outgoing,
    ) -> Result<usize, Errno> {
        // Only the kernel answers.
        match message.address.as_deref().map(decode).transpose()? {
            None | Some((0, 0)) => self.request(src),
            Some(_) => Err(Errno::ECONNREFUSED),
        }
    }

    fn receive(&self, dst: &mut dyn Sink, flags: MsgFlags) -> Result<Incoming, Errno> {
        let mut answers = self.answers.lock();
        let answer = answers.front().ok_or(Errno::EAGAIN)?;
        let copied = answer.len().min(dst.remaining());
        dst.write_all(answer.get(..copied).unwrap_or_default())?;
        let (len, is_cut) = (answer.len(), copied < answer.len());
        if !flags.contains(MsgFlags::PEEK) {
            answers.pop_front();
        }
        Ok(Incoming {
            count: if flags.contains(MsgFlags::TRUNC) {
                len
            } else {
                copied
            },
            address: Some(encode(0)),
            flags: if is_cut {
                MsgFlags::TRUNC
            } else {
                MsgFlags::empty()
            },
            ..Incoming::default()
        })
    }

    fn shutdown(&self, _: i32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn get_option(
        &self,
        _: &Cx<'_>,
        (level, name): (i32, i32),
        _: UserVa,
        _: usize,
    ) -> Result<Value, Errno> {
        match level {
            SOL_SOCKET => self.options.get(name).ok_or(Errno::ENOPROTOOPT),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let known = match level {
            SOL_SOCKET => self.options.set(name, value),
            _ => None,
        };
        known.unwrap_or_else(|| {
            cx.trace_unsupported("netlink option", name.cast_unsigned().into());
            Err(Errno::ENOPROTOOPT)
        })
    }

    fn timeout(&self, direction: Direction) -> Option<Nanos> {
        self.options.timeout(direction)
    }
}
