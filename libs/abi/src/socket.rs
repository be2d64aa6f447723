//! Sockets: families, types, flags, options, and the structures of `socket(2)`, `sendmsg(2)` and `cmsg(3)`.

use alloc::vec::Vec;

use crate::{Errno, UserVa};

/// Local sockets (`unix(7)`).
pub const AF_UNIX: u16 = 1;
/// IPv4 (`ip(7)`).
pub const AF_INET: u16 = 2;
/// IPv6 (`ipv6(7)`).
pub const AF_INET6: u16 = 10;
/// Kernel information (`netlink(7)`).
pub const AF_NETLINK: u16 = 16;
/// Packets (`packet(7)`).
pub const AF_PACKET: u16 = 17;

/// Byte stream.
pub const SOCK_STREAM: u32 = 1;
/// Datagrams.
pub const SOCK_DGRAM: u32 = 2;
/// Raw protocol access.
pub const SOCK_RAW: u32 = 3;
/// Sequenced records.
pub const SOCK_SEQPACKET: u32 = 5;
/// The bits of `type` that name the type; the others are flags.
pub const SOCK_TYPE_MASK: u32 = 0xf;
/// Flag in `type`: `O_NONBLOCK`.
pub const SOCK_NONBLOCK: u32 = 0o4000;
/// Flag in `type`: close on exec.
pub const SOCK_CLOEXEC: u32 = 0o2_000_000;

/// `shutdown(2)`: receiving.
pub const SHUT_RD: i32 = 0;
/// `shutdown(2)`: sending.
pub const SHUT_WR: i32 = 1;
/// `shutdown(2)`: both.
pub const SHUT_RDWR: i32 = 2;

/// The greatest backlog (`/proc/sys/net/core/somaxconn`).
pub const SOMAXCONN: usize = 4096;

bitflags::bitflags! {
    /// Flags of `send(2)` and `recv(2)`, and those that `recvmsg(2)` returns.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MsgFlags: u32 {
        /// Out-of-band data.
        const OOB = 0x1;
        /// Leave what is received in the queue.
        const PEEK = 0x2;
        /// Do not route.
        const DONTROUTE = 0x4;
        /// Control data did not fit (result).
        const CTRUNC = 0x8;
        /// Return the real length of a record; the record did not fit (result).
        const TRUNC = 0x20;
        /// Do not block for this call.
        const DONTWAIT = 0x40;
        /// End of a record.
        const EOR = 0x80;
        /// Wait until all that was asked for is there.
        const WAITALL = 0x100;
        /// The path is alive.
        const CONFIRM = 0x800;
        /// Fetch from the error queue.
        const ERRQUEUE = 0x2000;
        /// No SIGPIPE.
        const NOSIGNAL = 0x4000;
        /// More will follow.
        const MORE = 0x8000;
        /// `recvmmsg(2)`: block for the first only.
        const WAITFORONE = 0x1_0000;
        /// No copy.
        const ZEROCOPY = 0x400_0000;
        /// Send data with the SYN.
        const FASTOPEN = 0x2000_0000;
        /// Received descriptors are closed on exec.
        const CMSG_CLOEXEC = 0x4000_0000;
    }
}

/// Level of the options that every socket has (`socket(7)`).
pub const SOL_SOCKET: i32 = 1;

/// Longest option value that is read from user memory; longer ones are cut. The longest that means something is a filter
/// with 64 sources (`MCAST_MSFILTER`).
pub const SO_MAX_OPTION: usize = 16 << 10;

/// Options of [`SOL_SOCKET`].
pub mod so {
    /// Debugging.
    pub const DEBUG: i32 = 1;
    /// Reuse of local addresses.
    pub const REUSEADDR: i32 = 2;
    /// The socket's type.
    pub const TYPE: i32 = 3;
    /// The pending error, cleared by reading it.
    pub const ERROR: i32 = 4;
    /// No routing.
    pub const DONTROUTE: i32 = 5;
    /// Broadcast.
    pub const BROADCAST: i32 = 6;
    /// Send buffer.
    pub const SNDBUF: i32 = 7;
    /// Receive buffer.
    pub const RCVBUF: i32 = 8;
    /// Keep-alive.
    pub const KEEPALIVE: i32 = 9;
    /// Out-of-band data in line.
    pub const OOBINLINE: i32 = 10;
    /// Packet priority.
    pub const PRIORITY: i32 = 12;
    /// Lingering close.
    pub const LINGER: i32 = 13;
    /// Several sockets on one port.
    pub const REUSEPORT: i32 = 15;
    /// Receive the sender's credentials.
    pub const PASSCRED: i32 = 16;
    /// The peer's credentials.
    pub const PEERCRED: i32 = 17;
    /// Low-water mark of receiving.
    pub const RCVLOWAT: i32 = 18;
    /// Low-water mark of sending.
    pub const SNDLOWAT: i32 = 19;
    /// Time-out of receiving.
    pub const RCVTIMEO: i32 = 20;
    /// Time-out of sending.
    pub const SNDTIMEO: i32 = 21;
    /// The mark of packets.
    pub const MARK: i32 = 36;
    /// Bound interface.
    pub const BINDTODEVICE: i32 = 25;
    /// Time stamps.
    pub const TIMESTAMP: i32 = 29;
    /// Time stamps in nanoseconds.
    pub const TIMESTAMPNS: i32 = 35;
    /// Whether the socket listens.
    pub const ACCEPTCONN: i32 = 30;
    /// The protocol.
    pub const PROTOCOL: i32 = 38;
    /// The family.
    pub const DOMAIN: i32 = 39;
}

/// Control message of [`SOL_SOCKET`]: descriptors.
pub const SCM_RIGHTS: i32 = 1;
/// Control message of [`SOL_SOCKET`]: the sender's credentials.
pub const SCM_CREDENTIALS: i32 = 2;
/// Most descriptors in one message.
pub const SCM_MAX_FD: usize = 253;

/// `struct msghdr` (`sendmsg(2)`): 56 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MsgHdr {
    /// Address buffer.
    pub name: UserVa,
    /// Its length; on return the address's.
    pub name_len: u32,
    /// Array of `struct iovec`.
    pub iov: UserVa,
    /// Number of its elements.
    pub iov_len: u64,
    /// Buffer of control messages.
    pub control: UserVa,
    /// Its length; on return what was used.
    pub control_len: u64,
    /// Flags on return (`recvmsg(2)`).
    pub flags: u32,
}

impl MsgHdr {
    /// Size of the structure.
    pub const SIZE: usize = 56;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes(b: &[u8; Self::SIZE]) -> Self {
        let u64_at = |at: usize| {
            b.iter()
                .skip(at)
                .take(8)
                .rev()
                .fold(0, |acc, &x| acc << 8 | u64::from(x))
        };
        Self {
            name: UserVa(u64_at(0)),
            name_len: u64_at(8) as u32,
            iov: UserVa(u64_at(16)),
            iov_len: u64_at(24),
            control: UserVa(u64_at(32)),
            control_len: u64_at(40),
            flags: u64_at(48) as u32,
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut b = [0; Self::SIZE];
        let words = [
            self.name.0,
            u64::from(self.name_len),
            self.iov.0,
            self.iov_len,
            self.control.0,
            self.control_len,
            u64::from(self.flags),
        ];
        for (dst, word) in b.chunks_exact_mut(8).zip(words) {
            dst.copy_from_slice(&word.to_le_bytes());
        }
        b
    }
}

/// Size of `struct cmsghdr`.
pub const CMSG_HEADER: usize = 16;

/// Returns `len` rounded up to the alignment of control messages (`CMSG_ALIGN`).
#[must_use]
pub const fn cmsg_align(len: usize) -> usize {
    len.saturating_add(7) & !7
}

/// A control message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlMessage<'a> {
    /// Protocol level, e.g. [`SOL_SOCKET`].
    pub level: i32,
    /// Type at that level, e.g. [`SCM_RIGHTS`].
    pub kind: i32,
    /// What it carries.
    pub data: &'a [u8],
}

/// Splits a control buffer given to `sendmsg(2)` into its messages.
///
/// # Errors
/// `EINVAL` when a message is shorter than its header or longer than what is left.
pub fn parse_control(mut buffer: &[u8]) -> Result<Vec<ControlMessage<'_>>, Errno> {
    let mut messages = Vec::new();
    while let Some((header, _)) = buffer.split_first_chunk::<CMSG_HEADER>() {
        let [a, b, c, d, e, f, g, h, level @ .., k, l, m, n] = *header;
        let len = usize::try_from(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            .map_err(|_| Errno::EINVAL)?;
        let data = buffer.get(CMSG_HEADER..len).ok_or(Errno::EINVAL)?;
        let kind = i32::from_le_bytes([k, l, m, n]);
        messages.push(ControlMessage {
            level: i32::from_le_bytes(level),
            kind,
            data,
        });
        buffer = buffer.get(cmsg_align(len)..).unwrap_or_default();
    }
    Ok(messages)
}

/// Collects control messages for `recvmsg(2)` within the length that the caller's buffer has.
#[derive(Debug)]
pub struct ControlWriter {
    bytes: Vec<u8>,
    capacity: usize,
    is_truncated: bool,
}

impl ControlWriter {
    /// Makes a writer for a buffer of `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            bytes: Vec::new(),
            capacity,
            is_truncated: false,
        }
    }

    /// Returns how many bytes of data a further message can have.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity
            .saturating_sub(self.bytes.len())
            .saturating_sub(CMSG_HEADER)
    }

    /// Appends a message. One that does not fit is cut (to nothing when not even its header fits), and the result marked
    /// as truncated.
    pub fn push(&mut self, message: ControlMessage<'_>) {
        let left = self.capacity.saturating_sub(self.bytes.len());
        if left < CMSG_HEADER {
            self.is_truncated = true;
            return;
        }
        let data = message
            .data
            .get(..left - CMSG_HEADER)
            .unwrap_or(message.data);
        self.is_truncated |= data.len() < message.data.len();
        let len = CMSG_HEADER + data.len();
        self.bytes.extend_from_slice(&(len as u64).to_le_bytes());
        self.bytes.extend_from_slice(&message.level.to_le_bytes());
        self.bytes.extend_from_slice(&message.kind.to_le_bytes());
        self.bytes.extend_from_slice(data);
        let padded = (self.bytes.len() + cmsg_align(len) - len).min(self.capacity);
        self.bytes.resize(padded, 0);
    }

    /// Marks the result as truncated: something was left out.
    pub const fn truncate(&mut self) {
        self.is_truncated = true;
    }

    /// Returns the bytes for the caller's buffer, and whether something is missing (`MSG_CTRUNC`).
    #[must_use]
    pub fn finish(self) -> (Vec<u8>, bool) {
        (self.bytes, self.is_truncated)
    }
}

/// Returns the messages of what a [`ControlWriter`] wrote with their offsets, without the padding behind them: Linux leaves it
/// as it is in the caller's buffer (`put_cmsg`).
pub fn unpadded(control: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let rest = control.get(at..)?;
        let len = usize::try_from(u64::from_le_bytes(*rest.first_chunk()?)).ok()?;
        let message = (at, rest.get(..len)?);
        at = at.checked_add(cmsg_align(len).max(CMSG_HEADER))?;
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: ControlMessage<'_> = ControlMessage {
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        data: &[1, 0, 0, 0],
    };

    #[test]
    fn msghdr_survives_a_round_trip() {
        let mut bytes = [0u8; 56];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = i as u8;
        }
        let h = MsgHdr::from_bytes(&bytes);
        assert_eq!(h.name_len, 0x0b0a_0908);
        assert_eq!(h.flags, 0x3332_3130);
        let again = MsgHdr::from_bytes(&h.to_bytes());
        assert_eq!(h, again);
    }

    #[test]
    fn written_messages_are_parsed() {
        let mut w = ControlWriter::new(100);
        w.push(RIGHTS);
        w.push(ControlMessage {
            kind: SCM_CREDENTIALS,
            data: &[7; 12],
            ..RIGHTS
        });
        let (bytes, truncated) = w.finish();
        assert_eq!((bytes.len(), truncated), (24 + 32, false));
        let parsed = parse_control(&bytes).unwrap();
        assert_eq!(parsed[0], RIGHTS);
        assert_eq!(parsed[1].data, [7; 12]);
        let pieces = unpadded(&bytes).map(|(at, message)| (at, message.len()));
        assert_eq!(pieces.collect::<Vec<_>>(), [(0, 20), (24, 28)]);
        assert_eq!(unpadded(&[]).count(), 0);
    }

    #[test]
    fn message_that_does_not_fit_is_cut() {
        let mut w = ControlWriter::new(18);
        assert_eq!(w.room(), 2);
        w.push(RIGHTS);
        let (bytes, truncated) = w.finish();
        assert_eq!((bytes.len(), bytes[0], truncated), (18, 18, true));
        assert_eq!(unpadded(&bytes).collect::<Vec<_>>(), [(0, &bytes[..])]);
        let mut w = ControlWriter::new(15);
        w.push(RIGHTS);
        assert_eq!(w.finish(), (Vec::new(), true));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut bytes = [0; 24];
        assert_eq!(parse_control(&bytes), Err(Errno::EINVAL));
        bytes[0] = 25;
        assert_eq!(parse_control(&bytes), Err(Errno::EINVAL));
        bytes[..8].fill(0xff);
        assert_eq!(parse_control(&bytes), Err(Errno::EINVAL));
        bytes[..8].copy_from_slice(&17u64.to_le_bytes());
        assert_eq!(parse_control(&bytes).unwrap()[0].data.len(), 1);
        assert_eq!(parse_control(&bytes[..15]), Ok(Vec::new()));
    }
}
