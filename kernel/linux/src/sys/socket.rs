//! `socket(2)` and the calls on sockets, for all families: decoding, waiting, descriptors. What a socket does is in
//! [`Socket`](crate::socket::Socket).

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::socket::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, MsgFlags, SHUT_RD, SHUT_RDWR, SHUT_WR, SO_MAX_OPTION,
    SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_TYPE_MASK, SOMAXCONN,
};
use tyn_abi::{Errno, Events, Fd, UserVa};
use tyn_hal::time;

use super::message::write_control;
use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::file::{OpenFile, flags};
use crate::socket::{Blocking, Direction, Socket};
use crate::socket_options::Value;
use crate::wait::Interrupted;
use crate::{net, unix, user_io};

/// Size of `struct sockaddr_storage`.
pub(super) const MAX_ADDRESS: usize = 128;

/// Families below this have a number; at or above it `EAFNOSUPPORT` as well.
const SOCK_MAX: u32 = 11;

/// Returns the socket behind an open file.
pub(super) fn socket_of(open: &OpenFile) -> Result<&dyn Socket, Errno> {
    open.file.as_socket().ok_or(Errno::ENOTSOCK)
}

/// Returns the open socket behind a descriptor.
pub(super) fn open_socket(cx: &Cx<'_>, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
    let open = cx.open_file(fd)?;
    socket_of(&open)?;
    Ok(open)
}

/// Reads an address argument.
pub(super) fn read_address(at: UserVa, len: i32) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MAX_ADDRESS)
        .ok_or(Errno::EINVAL)?;
    let mut bytes = alloc::vec![0; len];
    tyn_hal::user::copy_from(&mut bytes, at)?;
    Ok(bytes)
}

/// Writes an address to where the caller wants it, as far as it fits, and its length to `len_at`.
pub(super) fn write_address(at: UserVa, len_at: UserVa, address: &[u8]) -> Result<(), Errno> {
    let room = user_io::read_u32(len_at)?.cast_signed();
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    user_io::write_bytes(at, address.get(..room).unwrap_or(address))?;
    user_io::write_bytes(len_at, &(address.len() as u32).to_le_bytes())
}

/// Returns whether a call on this socket may wait.
pub(super) fn blocking(open: &OpenFile, flags: MsgFlags) -> Blocking {
    if open.is_nonblocking() || flags.contains(MsgFlags::DONTWAIT) {
        Blocking::No
    } else {
        Blocking::Yes
    }
}

/// Repeats `attempt` until it gives something else than `EAGAIN`, as long as the caller may wait.
pub(super) fn wait_for<T>(
    cx: &Cx<'_>,
    open: &OpenFile,
    blocking: Blocking,
    direction: Direction,
    mut attempt: impl FnMut(&dyn Socket) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let socket = socket_of(open)?;
    let first = attempt(socket);
    let (Err(Errno::EAGAIN), Blocking::Yes) = (&first, blocking) else {
        return first;
    };
    let queue = socket.wait_queue().ok_or(Errno::EAGAIN)?;
    let timeout = socket.timeout(direction);
    let interest = match direction {
        Direction::Receive => Events::IN | Events::RDHUP,
        Direction::Send => Events::OUT,
    };
    let deadline = timeout.map(|t| time::now() + t);
    let result = cx.block_on(&[queue], interest, deadline, || {
        Some(attempt(socket)).filter(|r| !matches!(r, Err(Errno::EAGAIN)))
    });
    match result {
        Ok(result) => result,
        Err(Interrupted::TimedOut) => Err(Errno::EAGAIN),
        Err(Interrupted::Signal) if timeout.is_some() => Err(Errno::EINTR),
        Err(Interrupted::Signal) => Err(Errno::ERESTARTSYS),
    }
}

/// Splits the flags off a type argument.
fn split_type(kind: u32) -> Result<(u32, u32, OnExec), Errno> {
    let bits = kind & !SOCK_TYPE_MASK;
    if bits & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let status = flags::O_RDWR | bits & SOCK_NONBLOCK;
    Ok((kind & SOCK_TYPE_MASK, status, OnExec::from_flags(bits)))
}

/// `socket(2)`: families `AF_UNIX`, `AF_INET` and `AF_INET6` (TCP and UDP), `AF_NETLINK` (`NETLINK_ROUTE`). Flags `SOCK_CLOEXEC`, `SOCK_NONBLOCK`.
pub(crate) fn sys_socket(cx: &mut Cx<'_>, family: u32, kind: u32, protocol: u32) -> SysResult {
    let (kind, status, on_exec) = split_type(kind)?;
    if kind >= SOCK_MAX {
        return Err(Errno::EINVAL);
    }
    let open = match u16::try_from(family) {
        Ok(AF_UNIX) => unix::open(kind, protocol, status)?,
        Ok(family @ (AF_INET | AF_INET6)) => net::open(family, kind, protocol, status)?,
        Ok(AF_NETLINK) => net::netlink::open(cx, kind, protocol, status)?,
        _ => {
            cx.trace_unsupported("socket family", u64::from(family));
            return Err(Errno::EAFNOSUPPORT);
        }
    };
    let fd = cx.install(open, on_exec)?;
    Ok(fd.0 as u64)
}

/// `socketpair(2)`: family `AF_UNIX`.
pub(crate) fn sys_socketpair(
    cx: &mut Cx<'_>,
    family: u32,
    kind: u32,
    protocol: u32,
    fds: UserVa,
) -> SysResult {
    let (kind, status, on_exec) = split_type(kind)?;
    if family != u32::from(AF_UNIX) {
        cx.trace_unsupported("socketpair family", u64::from(family));
        return Err(match family {
            2 | 10 | 16 => Errno::EOPNOTSUPP,
            _ => Errno::EAFNOSUPPORT,
        });
    }
    let (first, second) = unix::open_pair(kind, protocol, status)?;
    cx.install_pair(first, second, on_exec, |pair| {
        user_io::write_bytes(fds, &pair)
    })
}

/// `bind(2)`.
pub(crate) fn sys_bind(cx: &mut Cx<'_>, fd: Fd, address: UserVa, len: i32) -> SysResult {
    let open = open_socket(cx, fd)?;
    let address = read_address(address, len)?;
    socket_of(&open)?.bind(cx, &address)?;
    Ok(0)
}

/// `connect(2)`.
pub(crate) fn sys_connect(cx: &mut Cx<'_>, fd: Fd, address: UserVa, len: i32) -> SysResult {
    let open = open_socket(cx, fd)?;
    let address = read_address(address, len)?;
    let blocking = blocking(&open, MsgFlags::empty());
    socket_of(&open)?.connect(cx, &address, blocking)?;
    Ok(0)
}

/// `listen(2)`.
pub(crate) fn sys_listen(cx: &mut Cx<'_>, fd: Fd, backlog: u32) -> SysResult {
    let open = open_socket(cx, fd)?;
    // Negative numbers count as large, as on Linux.
    socket_of(&open)?.listen(cx, (backlog as usize).min(SOMAXCONN))?;
    Ok(0)
}

/// `accept(2)`.
pub(crate) fn sys_accept(cx: &mut Cx<'_>, fd: Fd, address: UserVa, len: UserVa) -> SysResult {
    sys_accept4(cx, fd, address, len, 0)
}

/// `accept(2)`: flags `SOCK_CLOEXEC`, `SOCK_NONBLOCK`.
pub(crate) fn sys_accept4(
    cx: &mut Cx<'_>,
    fd: Fd,
    address: UserVa,
    len: UserVa,
    flags: u32,
) -> SysResult {
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let open = open_socket(cx, fd)?;
    let blocking = blocking(&open, MsgFlags::empty());
    let accepted = wait_for(cx, &open, blocking, Direction::Receive, |s| s.accept())?;
    let status = flags::O_RDWR | flags & SOCK_NONBLOCK;
    let new = OpenFile::new(accepted.file, status, accepted.name);
    if !address.is_null() {
        write_address(address, len, &accepted.peer)?;
    }
    let fd = cx.install(new, OnExec::from_flags(flags))?;
    Ok(fd.0 as u64)
}

/// `getsockname(2)`.
pub(crate) fn sys_getsockname(cx: &mut Cx<'_>, fd: Fd, address: UserVa, len: UserVa) -> SysResult {
    let open = open_socket(cx, fd)?;
    write_address(address, len, &socket_of(&open)?.local_address()?)?;
    Ok(0)
}

/// `getpeername(2)`.
pub(crate) fn sys_getpeername(cx: &mut Cx<'_>, fd: Fd, address: UserVa, len: UserVa) -> SysResult {
    let open = open_socket(cx, fd)?;
    write_address(address, len, &socket_of(&open)?.peer_address()?)?;
    Ok(0)
}

/// `shutdown(2)`.
pub(crate) fn sys_shutdown(cx: &mut Cx<'_>, fd: Fd, how: i32) -> SysResult {
    let open = open_socket(cx, fd)?;
    if !matches!(how, SHUT_RD | SHUT_WR | SHUT_RDWR) {
        return Err(Errno::EINVAL);
    }
    socket_of(&open)?.shutdown(how)?;
    Ok(0)
}

/// `getsockopt(2)`.
pub(crate) fn sys_getsockopt(
    cx: &mut Cx<'_>,
    fd: Fd,
    level: i32,
    name: i32,
    value: UserVa,
    len: UserVa,
) -> SysResult {
    let open = cx.open_file(fd)?;
    let socket = socket_of(&open)?;
    let room = user_io::read_u32(len)?.cast_signed();
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let option = socket.get_option(cx, (level, name), value, room);
    let option = option.inspect_err(|e| trace_option(cx, "getsockopt", *e, level, name))?;
    let option = match &option {
        Value::Control(control) => {
            write_control(value, control)?;
            control
        }
        option => {
            let option = option.get(..room).unwrap_or(option);
            user_io::write_bytes(value, option)?;
            option
        }
    };
    user_io::write_bytes(len, &(option.len() as u32).to_le_bytes())?;
    Ok(0)
}

/// `setsockopt(2)`.
pub(crate) fn sys_setsockopt(
    cx: &mut Cx<'_>,
    fd: Fd,
    level: i32,
    name: i32,
    value: UserVa,
    len: i32,
) -> SysResult {
    let open = cx.open_file(fd)?;
    let socket = socket_of(&open)?;
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    let len = len.min(SO_MAX_OPTION);
    // Most are a number.
    let (mut short, mut long) = ([0; 16], Vec::new());
    let option = match short.get_mut(..len) {
        Some(short) => short,
        None => {
            long.resize(len, 0);
            &mut long[..]
        }
    };
    tyn_hal::user::copy_from(option, value)?;
    let result = socket.set_option(cx, level, name, option);
    result.inspect_err(|e| trace_option(cx, "setsockopt", *e, level, name))?;
    Ok(0)
}

/// Records an option that the family does not know: level in the upper half, name in the lower.
fn trace_option(cx: &Cx<'_>, what: &'static str, error: Errno, level: i32, name: i32) {
    if matches!(error, Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) {
        let value = u64::from(level.cast_unsigned()) << 32 | u64::from(name.cast_unsigned());
        cx.trace_unsupported(what, value);
    }
}
