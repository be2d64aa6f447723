//! `send(2)`, `recv(2)` and their variants, for all families.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::socket::{
    CMSG_HEADER, ControlMessage, ControlWriter, MsgFlags, MsgHdr, SCM_CREDENTIALS, SCM_MAX_FD,
    SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, parse_control, unpadded,
};
use tyn_abi::{Errno, Fd, Nanos, Pid, Sink, Source, UserVa};
use tyn_hal::time;
use tyn_io::unix::Credentials;

use super::poll;
use super::socket::{
    MAX_ADDRESS, blocking, open_socket, read_address, socket_of, wait_for, write_address,
};
use crate::cx::{Cx, SysResult};
use crate::descriptors::OnExec;
use crate::file::OpenFile;
use crate::process;
use crate::socket::{Blocking, Control, Direction, Incoming, Outgoing};
use crate::user_io::{self, IOV_MAX, UserBuffers};

/// Most bytes of control data in one message (`/proc/sys/net/core/optmem_max`).
const MAX_CONTROL: u64 = 131_072;
/// Size of `struct mmsghdr`: a `struct msghdr`, a count and padding.
const MMSGHDR: u64 = 64;
const SIGPIPE: u8 = 13;

/// Sends all of `src`, waiting when that is allowed; a count that is short means that waiting was not, or ended early.
fn send(
    cx: &Cx<'_>,
    open: &OpenFile,
    src: &mut dyn Source,
    mut message: Outgoing,
) -> Result<usize, Errno> {
    let is_stream = socket_of(open)?.kind() == SOCK_STREAM;
    let blocking = blocking(open, message.flags);
    let mut count = 0;
    loop {
        let sent = wait_for(cx, open, blocking, Direction::Send, |socket| {
            socket.send(cx, src, &mut message)
        });
        match sent {
            Ok(sent) => count += sent,
            Err(_) if count > 0 => return Ok(count),
            Err(e) => {
                let is_quiet = message.flags.contains(MsgFlags::NOSIGNAL);
                if e == Errno::EPIPE && is_stream && !is_quiet {
                    cx.raise(SIGPIPE);
                }
                return Err(e);
            }
        }
        if !is_stream || src.remaining() == 0 || blocking == Blocking::No {
            return Ok(count);
        }
    }
}

/// Receives one message, or of a stream what there is (with `MSG_WAITALL` all that was asked for).
fn receive(
    cx: &Cx<'_>,
    open: &OpenFile,
    dst: &mut dyn Sink,
    flags: MsgFlags,
) -> Result<Incoming, Errno> {
    // Nobody waits for errors.
    let no_wait = if flags.contains(MsgFlags::ERRQUEUE) {
        MsgFlags::DONTWAIT
    } else {
        MsgFlags::empty()
    };
    let blocking = blocking(open, flags | no_wait);
    let flags = match blocking {
        Blocking::Yes => flags,
        Blocking::No => flags | MsgFlags::DONTWAIT,
    };
    let mut next = |blocking, flags| {
        wait_for(cx, open, blocking, Direction::Receive, |socket| {
            socket.receive(dst, flags)
        })
        .map(|incoming| (incoming, dst.remaining() == 0))
    };
    let first = match next(blocking, flags) {
        // Who does not get enough in time, or see all, gets what there is.
        Err(error @ (Errno::EAGAIN | Errno::EINTR | Errno::ERESTARTSYS))
            if blocking == Blocking::Yes =>
        {
            next(Blocking::No, flags | MsgFlags::DONTWAIT).map_err(|_| error)
        }
        first => first,
    };
    let (mut all, mut is_full) = first?;
    let waits_for_all = flags.contains(MsgFlags::WAITALL)
        && !flags.contains(MsgFlags::PEEK)
        && socket_of(open)?.kind() == SOCK_STREAM;
    let mut last = all.count;
    while waits_for_all && !is_full && last > 0 && all.rights.is_empty() {
        let Ok((more, now_full)) = next(blocking, flags) else {
            break;
        };
        last = more.count;
        all.count += more.count;
        all.rights = more.rights;
        is_full = now_full;
    }
    Ok(all)
}

/// `sendto(2)`: flags `MSG_DONTWAIT`, `MSG_NOSIGNAL`; others as the family has them.
pub(crate) fn sys_sendto(
    cx: &mut Cx<'_>,
    fd: Fd,
    buffer: UserVa,
    len: usize,
    flags: u32,
    address: UserVa,
    address_len: i32,
) -> SysResult {
    let open = open_socket(cx, fd)?;
    let address = if address.is_null() {
        None
    } else {
        Some(read_address(address, address_len)?)
    };
    let flags = MsgFlags::from_bits_retain(flags);
    let message = Outgoing {
        address,
        flags,
        ..Outgoing::default()
    };
    let sent = send(cx, &open, &mut UserBuffers::single(buffer, len), message)?;
    Ok(sent as u64)
}

/// `recvfrom(2)`: flags `MSG_DONTWAIT`, `MSG_WAITALL`; others as the family has them.
pub(crate) fn sys_recvfrom(
    cx: &mut Cx<'_>,
    fd: Fd,
    buffer: UserVa,
    len: usize,
    flags: u32,
    address: UserVa,
    address_len: UserVa,
) -> SysResult {
    let open = open_socket(cx, fd)?;
    let flags = MsgFlags::from_bits_retain(flags);
    let incoming = receive(cx, &open, &mut UserBuffers::single(buffer, len), flags)?;
    if !address.is_null() {
        write_address(
            address,
            address_len,
            incoming.address.as_deref().unwrap_or_default(),
        )?;
    }
    Ok(incoming.count as u64)
}

/// Reads `struct msghdr`, checking what Linux checks.
fn read_header(at: UserVa) -> Result<MsgHdr, Errno> {
    let mut header = MsgHdr::from_bytes(&user_io::read_bytes(at)?);
    if header.name.is_null() {
        header.name_len = 0;
    }
    if header.name_len.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    header.name_len = header.name_len.min(MAX_ADDRESS as u32);
    if header.iov_len > IOV_MAX as u64 {
        return Err(Errno::EMSGSIZE);
    }
    Ok(header)
}

/// Reads the control messages of an outgoing message.
fn read_control(cx: &Cx<'_>, header: &MsgHdr, message: &mut Outgoing) -> Result<(), Errno> {
    if header.control.is_null() || header.control_len == 0 {
        return Ok(());
    }
    if header.control_len > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = alloc::vec![0; header.control_len as usize];
    tyn_hal::user::copy_from(&mut bytes, header.control)?;
    for ControlMessage { level, kind, data } in parse_control(&bytes)? {
        match (level, kind) {
            (SOL_SOCKET, SCM_RIGHTS) => {
                let fds = data
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| Fd(i32::from_le_bytes(*b)));
                if message.rights.len() + fds.len() > SCM_MAX_FD {
                    return Err(Errno::EINVAL);
                }
                for fd in fds {
                    let open = cx.open_file(fd)?;
                    if open.is_path_only() {
                        return Err(Errno::EBADF);
                    }
                    message.rights.push(open);
                }
            }
            (SOL_SOCKET, SCM_CREDENTIALS) => message.credentials = Some(check_credentials(data)?),
            _ => message.control.push(Control {
                level,
                kind,
                data: data.to_vec(),
            }),
        }
    }
    Ok(())
}

/// Checks `struct ucred` that a sender gives: any process that there is and any user, as everybody is root.
fn check_credentials(data: &[u8]) -> Result<Credentials, Errno> {
    let ([pid, uid, gid], []) = data.as_chunks::<4>() else {
        return Err(Errno::EINVAL);
    };
    let [pid, uid, gid] = [pid, uid, gid].map(|number| u32::from_le_bytes(*number));
    process::find(Pid(pid))?;
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::EINVAL);
    }
    Ok(Credentials { pid, uid, gid })
}

fn send_message(cx: &Cx<'_>, open: &OpenFile, at: UserVa, flags: u32) -> Result<usize, Errno> {
    let header = read_header(at)?;
    let mut message = Outgoing {
        flags: MsgFlags::from_bits_retain(flags),
        ..Outgoing::default()
    };
    if header.name_len > 0 {
        message.address = Some(read_address(header.name, header.name_len.cast_signed())?);
    }
    read_control(cx, &header, &mut message)?;
    let mut src = UserBuffers::from_iovec(header.iov, header.iov_len as usize)?;
    send(cx, open, &mut src, message)
}

/// `sendmsg(2)`: control messages `SCM_RIGHTS` and `SCM_CREDENTIALS` of `SOL_SOCKET`;
/// others as the family has them.
pub(crate) fn sys_sendmsg(cx: &mut Cx<'_>, fd: Fd, message: UserVa, flags: u32) -> SysResult {
    let open = open_socket(cx, fd)?;
    Ok(send_message(cx, &open, message, flags)? as u64)
}

/// Gives received files descriptors and tells them in a control message, as far as it has room and `RLIMIT_NOFILE`
/// allows; the others are closed.
fn write_rights(cx: &Cx<'_>, out: &mut ControlWriter, rights: Vec<Arc<OpenFile>>, on_exec: OnExec) {
    if rights.is_empty() {
        return;
    }
    let total = rights.len();
    let room = out.room() / 4;
    let fds: Vec<Fd> = rights
        .into_iter()
        .take(room)
        .map_while(|open| cx.install(open, on_exec).ok())
        .collect();
    if fds.len() < total {
        out.truncate();
    }
    if !fds.is_empty() {
        let data: Vec<u8> = fds.iter().flat_map(|fd| fd.0.to_le_bytes()).collect();
        out.push(ControlMessage {
            level: SOL_SOCKET,
            kind: SCM_RIGHTS,
            data: &data,
        });
    }
}

/// Writes control messages, but not the padding behind them.
pub(super) fn write_control(to: UserVa, control: &[u8]) -> Result<(), Errno> {
    unpadded(control).try_for_each(|(offset, message)| {
        user_io::write_bytes(to.wrapping_add(offset as u64), message)
    })
}

fn receive_message(
    cx: &Cx<'_>,
    open: &OpenFile,
    at: UserVa,
    flags: MsgFlags,
) -> Result<usize, Errno> {
    let header = read_header(at)?;
    let mut dst = UserBuffers::from_iovec(header.iov, header.iov_len as usize)?;
    let incoming = receive(cx, open, &mut dst, flags)?;
    let on_exec = if flags.contains(MsgFlags::CMSG_CLOEXEC) {
        OnExec::Close
    } else {
        OnExec::Keep
    };
    let room = if header.control.is_null() {
        0
    } else {
        header.control_len.min(MAX_CONTROL)
    };
    let mut control = ControlWriter::new(room as usize);
    for Control { level, kind, data } in &incoming.control {
        control.push(ControlMessage {
            level: *level,
            kind: *kind,
            data,
        });
    }
    write_rights(cx, &mut control, incoming.rights, on_exec);
    let (control, is_cut) = control.finish();
    debug_assert!(control.is_empty() || control.len() >= CMSG_HEADER);
    let mut result = incoming.flags | flags & MsgFlags::CMSG_CLOEXEC;
    result.set(MsgFlags::CTRUNC, is_cut);
    let address = incoming.address.unwrap_or_default();
    if !header.name.is_null() {
        let room = header.name_len as usize;
        user_io::write_bytes(header.name, address.get(..room).unwrap_or(&address))?;
        user_io::write_bytes(at.wrapping_add(8), &(address.len() as u32).to_le_bytes())?;
    }
    write_control(header.control, &control)?;
    user_io::write_bytes(at.wrapping_add(40), &(control.len() as u64).to_le_bytes())?;
    user_io::write_bytes(at.wrapping_add(48), &result.bits().to_le_bytes())?;
    Ok(incoming.count)
}

/// `recvmsg(2)`: flags as `recvfrom(2)`, and `MSG_CMSG_CLOEXEC`.
pub(crate) fn sys_recvmsg(cx: &mut Cx<'_>, fd: Fd, message: UserVa, flags: u32) -> SysResult {
    let open = open_socket(cx, fd)?;
    let flags = MsgFlags::from_bits_retain(flags);
    Ok(receive_message(cx, &open, message, flags)? as u64)
}

/// Applies `one` to each element of an array of `struct mmsghdr` until it fails, and stores the counts.
fn for_each_message(
    messages: UserVa,
    count: u32,
    mut one: impl FnMut(u32, UserVa) -> Result<Option<usize>, Errno>,
) -> SysResult {
    let mut done = 0;
    for index in 0..count.min(IOV_MAX as u32) {
        let at = messages.wrapping_add(u64::from(index) * MMSGHDR);
        let moved = match one(index, at) {
            Ok(Some(moved)) => moved,
            Ok(None) => break,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        };
        user_io::write_bytes(
            at.wrapping_add(MsgHdr::SIZE as u64),
            &(moved as u32).to_le_bytes(),
        )?;
        done += 1;
    }
    Ok(done)
}

/// `sendmmsg(2)`.
pub(crate) fn sys_sendmmsg(
    cx: &mut Cx<'_>,
    fd: Fd,
    messages: UserVa,
    count: u32,
    flags: u32,
) -> SysResult {
    let open = open_socket(cx, fd)?;
    for_each_message(messages, count, |_, at| {
        send_message(cx, &open, at, flags).map(Some)
    })
}

/// `recvmmsg(2)`: flag `MSG_WAITFORONE`. The time-out is looked at after each message only, as on Linux.
pub(crate) fn sys_recvmmsg(
    cx: &mut Cx<'_>,
    fd: Fd,
    messages: UserVa,
    count: u32,
    flags: u32,
    timeout: UserVa,
) -> SysResult {
    let deadline: Option<Nanos> = poll::read_timeout(timeout)?.map(|t| time::now() + t);
    let open = open_socket(cx, fd)?;
    let flags = MsgFlags::from_bits_retain(flags);
    for_each_message(messages, count, |index, at| {
        if index > 0 && deadline.is_some_and(|d| time::now() >= d) {
            return Ok(None);
        }
        let mut flags = flags;
        if index > 0 && flags.contains(MsgFlags::WAITFORONE) {
            flags |= MsgFlags::DONTWAIT;
        }
        receive_message(cx, &open, at, flags - MsgFlags::WAITFORONE).map(Some)
    })
}
