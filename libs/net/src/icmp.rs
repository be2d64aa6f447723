//! Errors that we tell senders by ICMP ourselves (RFC 792, 1122 §3.2.2, 4443 §2.4); smoltcp tells the others.

use core::convert::Infallible;
use core::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, IpProtocol};
use tyn_abi::Nanos;

use crate::extension::carried;
use crate::mib;
use crate::output::Output;
use crate::stack::Stack;
use crate::types::Path;
use crate::wire::{Ip, header_len, write_header};

/// The longest errors (RFC 1812 §4.3.2.3, RFC 4443 §2.4).
const MOST_V4: usize = 576;
const MOST_V6: usize = 1280;
const HEADER: usize = 8;
const HOPS: u8 = 64;
/// Precedence of what concerns the network (RFC 1812 §4.3.2.5).
const NETWORK_CONTROL: u8 = 0xc0;
/// Pieces did not come in time: type and code of either family.
const TIME_EXCEEDED: u8 = 11;
const TIME_EXCEEDED6: u8 = 3;
const OF_REASSEMBLY: u8 = 1;
const PARAMETER_PROBLEM6: u8 = 4;

impl Output {
    /// Tells the sender of a first piece that not all of its packet came.
    pub(crate) fn tell_of_pieces(&mut self, piece: &[u8]) {
        let is_v4 = piece.first().is_some_and(|b| b >> 4 == 4);
        let kind = if is_v4 { TIME_EXCEEDED } else { TIME_EXCEEDED6 };
        self.tell(piece, [kind, OF_REASSEMBLY], 0);
    }

    /// Tells the sender of a packet of IPv6 where it makes no sense.
    pub(crate) fn tell_of_problem(&mut self, packet: &[u8], code: u8, at: usize) {
        self.tell(packet, [PARAMETER_PROBLEM6, code], at as u32);
    }

    /// Sends an error about a packet that came by the card, if one may be told (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
    fn tell(&mut self, packet: &[u8], [kind, code]: [u8; 2], word: u32) {
        let Some(ip) = Ip::parse(packet) else {
            return;
        };
        let (own, to) = (ip.destination, ip.source);
        let is_one = !to.is_unspecified() && !to.is_multicast() && !self.routes.is_broadcast(to);
        if !is_one || !self.routes.is_own(own) || is_error(&ip, packet) {
            return;
        }
        if !self.errors.take(self.now) {
            mib::of(&mut self.mib.icmp, own).limited += 1;
            return;
        }
        let (most, protocol, tos) = match own {
            IpAddr::V4(_) => (MOST_V4, IpProtocol::Icmp, ip.tos & 0x1e | NETWORK_CONTROL),
            IpAddr::V6(_) => (MOST_V6, IpProtocol::Icmpv6, 0),
        };
        let room = most - header_len(own) - HEADER;
        let quote = packet.get(..packet.len().min(room)).unwrap_or_default();
        let len = header_len(own) + HEADER + quote.len();
        let [w0, w1, w2, w3] = word.to_be_bytes();
        let _ = self.emit(Path::Nic, len, tos, |packet| {
            let caps = ChecksumCapabilities::default();
            let message = write_header(packet, own, to, protocol, HOPS, &caps);
            if let Some((header, rest)) = message.split_first_chunk_mut::<HEADER>() {
                *header = [kind, code, 0, 0, w0, w1, w2, w3];
                rest.copy_from_slice(quote);
            }
            match (own, to) {
                (IpAddr::V6(own), IpAddr::V6(to)) => {
                    Icmpv6Packet::new_unchecked(message).fill_checksum(&own, &to);
                }
                _ => Icmpv4Packet::new_unchecked(message).fill_checksum(),
            }
            Ok::<_, Infallible>(())
        });
    }
}

impl Stack {
    /// Tells the sender of a packet that nobody wants, by an ICMP error that smoltcp makes.
    pub(crate) fn tell_unwanted(&mut self, path: Path, packet: &[u8]) {
        if path == Path::Loopback || self.out.errors.take(self.out.now) {
            self.refuse(path, packet);
        } else if let Some(ip) = Ip::parse(packet) {
            mib::of(&mut self.out.mib.icmp, ip.source).limited += 1;
        }
    }
}

/// Returns whether a packet tells of an error itself; what is cut off might.
fn is_error(ip: &Ip<'_>, packet: &[u8]) -> bool {
    let (protocol, data) = match ip.source {
        IpAddr::V4(_) => (ip.protocol, ip.payload),
        IpAddr::V6(_) => match carried(packet) {
            Some((protocol, data)) => (protocol.into(), data),
            None => return true,
        },
    };
    match (protocol, data.first()) {
        (IpProtocol::Icmp, Some(kind)) => !matches!(kind, 0 | 8..=10 | 13..=18),
        (IpProtocol::Icmpv6, Some(kind)) => *kind < 128,
        (IpProtocol::Icmp | IpProtocol::Icmpv6, None) => true,
        _ => false,
    }
}

/// How many errors may be sent: as many as Linux sends by default (`icmp_msgs_per_sec`, `icmp_msgs_burst`). RFC 4443
/// §2.4 (f) demands a limit, so that nobody makes us send by forged packets as much as they do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorRate {
    left: u64,
    /// When one more was last added.
    since: Nanos,
}

/// Errors that may be sent at once.
const BURST: u64 = 50;
/// Time for which there is one.
const EACH: u64 = Nanos::PER_SEC / 1000;

impl ErrorRate {
    pub(crate) fn new() -> Self {
        Self {
            left: BURST,
            since: Nanos::ZERO,
        }
    }

    /// Returns whether one more may be sent, and counts it.
    pub(crate) fn take(&mut self, now: Nanos) -> bool {
        let more = (now - self.since).0 / EACH;
        self.left = self.left.saturating_add(more).min(BURST);
        self.since = if self.left == BURST {
            now
        } else {
            Nanos(self.since.0 + more * EACH)
        };
        let may = self.left > 0;
        self.left -= u64::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_limited_to_a_burst_and_a_rate() {
        let mut rate = ErrorRate::new();
        let start = Nanos(5 * Nanos::PER_SEC);
        assert_eq!((0..100).filter(|_| rate.take(start)).count(), 50);
        // Three seconds with a packet every 100 µs: one in ten is answered.
        let asked = (1..=30_000).map(|n| start + Nanos(n * 100_000));
        assert_eq!(asked.filter(|&at| rate.take(at)).count(), 3000);
        // A pause gives a burst back, not more.
        let later = start + Nanos(60 * Nanos::PER_SEC);
        assert_eq!((0..100).filter(|_| rate.take(later)).count(), 50);
    }
}
