//! Packets that arrive in pieces, put together (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! Pieces that overlap make their packet void (RFC 5722); the same piece twice is one. What is kept has bounds: the packets
//! that were begun first give way to new ones, and none waits longer than Linux lets it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};
use tyn_abi::Nanos;

use crate::fragment::FRAGMENT_HEADER;
use crate::mib;
use crate::wire::{IPV6_HEADER, Ip};

/// How long a packet's pieces may take (`ipfrag_time`, `ip6frag_time` of Linux).
const PATIENCE: Nanos = Nanos(30_000_000_000);
const PATIENCE6: Nanos = Nanos(60_000_000_000);
/// What a packet and a piece count for beside its bytes. The least pieces, of 8 bytes, must not take more than is counted:
/// nodes of trees, which may be half empty, and the header.
const PACKET_COST: usize = 1024;
const PIECE_COST: usize = 128;
/// Most that the length fields of either IP can say.
const MOST: usize = 65_535;

/// What the pieces of one packet have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    source: IpAddr,
    destination: IpAddr,
    /// Counts in IPv4 only.
    protocol: u8,
    number: u32,
}

/// A piece of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    key: Key,
    /// The IP header in front of it.
    header: &'a [u8],
    /// What follows the headers of the whole.
    protocol: IpProtocol,
    /// Where it belongs, in bytes.
    offset: usize,
    is_last: bool,
    data: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Reads one; `None` when the packet is none, or broken.
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        let ip = Ip::parse(packet)?;
        let header = packet.get(..ip.header)?;
        let key = |protocol, number| Key {
            source: ip.source,
            destination: ip.destination,
            protocol,
            number,
        };
        if ip.source.is_ipv4() {
            let v4 = Ipv4Packet::new_unchecked(packet);
            let is_piece = v4.more_frags() || v4.frag_offset() != 0;
            return is_piece.then(|| Self {
                key: key(ip.protocol.into(), v4.ident().into()),
                header,
                protocol: ip.protocol,
                offset: v4.frag_offset().into(),
                is_last: !v4.more_frags(),
                data: ip.payload,
            });
        }
        if ip.protocol != IpProtocol::Ipv6Frag {
            return None;
        }
        let (&[protocol, _, high, low, n0, n1, n2, n3], data) =
            ip.payload.split_first_chunk::<FRAGMENT_HEADER>()?;
        let word = u16::from_be_bytes([high, low]);
        Some(Self {
            key: key(0, u32::from_be_bytes([n0, n1, n2, n3])),
            header,
            protocol: protocol.into(),
            offset: usize::from(word & !7),
            is_last: word & 1 == 0,
            data,
        })
    }

    fn end(&self) -> usize {
        self.offset + self.data.len()
    }

    fn is_sound(&self) -> bool {
        let is_whole = self.data.len().is_multiple_of(8) || self.is_last;
        is_whole && !self.data.is_empty() && self.header.len() + self.end() <= MOST + IPV6_HEADER
    }
}

/// What is there of a packet.
#[derive(Debug)]
struct Partial {
    due: Nanos,
    /// The first piece's header and protocol, when it is there.
    head: Option<(Vec<u8>, IpProtocol)>,
    pieces: BTreeMap<usize, Vec<u8>>,
    /// Bytes of the pieces.
    bytes: usize,
    /// Where the last piece ends, when it is there.
    len: Option<usize>,
}

/// The packet is void.
struct Void;

impl Partial {
    fn new(due: Nanos) -> Self {
        Self {
            due,
            head: None,
            pieces: BTreeMap::new(),
            bytes: 0,
            len: None,
        }
    }

    fn cost(&self) -> usize {
        self.bytes + PACKET_COST + PIECE_COST * self.pieces.len()
    }

    fn add(&mut self, piece: &Piece<'_>) -> Result<(), Void> {
        let end = piece.end();
        let before = self.pieces.range(..end).next_back();
        if let Some((&at, data)) = before
            && at + data.len() > piece.offset
        {
            let is_same = at == piece.offset && *data == piece.data;
            return if is_same { Ok(()) } else { Err(Void) };
        }
        let last_end = self
            .pieces
            .last_key_value()
            .map_or(0, |(at, d)| at + d.len());
        let reaches_too_far = match (self.len, piece.is_last) {
            (Some(_), true) => true,
            (Some(len), false) => end > len,
            (None, true) => last_end > end,
            (None, false) => false,
        };
        if reaches_too_far {
            return Err(Void);
        }
        if piece.offset == 0 {
            self.head = Some((copy_of(piece.header).ok_or(Void)?, piece.protocol));
        }
        self.pieces
            .insert(piece.offset, copy_of(piece.data).ok_or(Void)?);
        self.bytes += piece.data.len();
        if piece.is_last {
            self.len = Some(end);
        }
        Ok(())
    }

    /// They do not overlap, so they are all there when they are as long as the whole.
    fn is_complete(&self) -> bool {
        self.len == Some(self.bytes)
    }

    /// Returns the first piece as it came, if it did.
    fn first(&self, key: &Key) -> Option<Vec<u8>> {
        let (header, protocol) = self.head.as_ref()?;
        let data = self.pieces.get(&0)?;
        let mut packet = Vec::new();
        packet
            .try_reserve_exact(header.len() + FRAGMENT_HEADER + data.len())
            .ok()?;
        packet.extend_from_slice(header);
        if key.source.is_ipv6() {
            let [n0, n1, n2, n3] = key.number.to_be_bytes();
            packet.extend([(*protocol).into(), 0, 0, 1, n0, n1, n2, n3]);
        }
        packet.extend_from_slice(data);
        Some(packet)
    }

    /// Returns the whole.
    fn whole(self) -> Option<Vec<u8>> {
        let (mut packet, protocol) = self.head?;
        packet.try_reserve_exact(self.bytes).ok()?;
        self.pieces
            .values()
            .for_each(|data| packet.extend_from_slice(data));
        finish(packet, protocol)
    }
}

fn copy_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy)
}

/// Makes the first piece's header that of the whole.
fn finish(mut packet: Vec<u8>, protocol: IpProtocol) -> Option<Vec<u8>> {
    let len = packet.len();
    if packet.first()? >> 4 == 4 {
        let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
        ip.set_total_len(u16::try_from(len).ok()?);
        ip.set_more_frags(false);
        ip.set_frag_offset(0);
        ip.fill_checksum();
    } else {
        let mut ip = Ipv6Packet::new_unchecked(&mut packet[..]);
        ip.set_payload_len(u16::try_from(len.checked_sub(IPV6_HEADER)?).ok()?);
        ip.set_next_header(protocol);
    }
    Some(packet)
}

/// The packets of which something is there.
#[derive(Debug)]
pub(crate) struct Reassembly {
    partial: BTreeMap<Key, Partial>,
    due: BTreeSet<(Nanos, Key)>,
    cost: usize,
    /// Most that all may cost.
    most: usize,
    /// Packets of IPv4 and of IPv6 that did not come whole: in time, and at all.
    pub(crate) timeouts: [u64; 2],
    pub(crate) failures: [u64; 2],
}

impl Reassembly {
    /// Makes one that keeps at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            partial: BTreeMap::new(),
            due: BTreeSet::new(),
            cost: 0,
            most,
            timeouts: [0; 2],
            failures: [0; 2],
        }
    }

    /// Returns when [`Reassembly::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Gives up what has waited too long; tells of the first pieces that came (RFC 792, RFC 8200 §4.5).
    pub(crate) fn expire(&mut self, now: Nanos, mut tell: impl FnMut(&[u8])) {
        while let Some(&(_, key)) = self.due.first().filter(|&&(at, _)| at <= now) {
            *mib::of(&mut self.timeouts, key.source) += 1;
            *mib::of(&mut self.failures, key.source) += 1;
            let first = self.remove(&key).and_then(|partial| partial.first(&key));
            if let Some(first) = first {
                tell(&first);
            }
        }
    }

    /// Takes a piece; returns the packet when it was the one that was missing.
    pub(crate) fn add(&mut self, piece: &Piece<'_>, now: Nanos) -> Option<Vec<u8>> {
        if !piece.is_sound() {
            return None;
        }
        if piece.offset == 0 && piece.is_last {
            // A piece that is all of it (RFC 6946).
            let mut packet = copy_of(piece.header)?;
            packet.try_reserve_exact(piece.data.len()).ok()?;
            packet.extend_from_slice(piece.data);
            return finish(packet, piece.protocol);
        }
        let patience = match piece.key.source {
            IpAddr::V4(_) => PATIENCE,
            IpAddr::V6(_) => PATIENCE6,
        };
        let (key, new_due) = (piece.key, now + patience);
        let partial = self
            .partial
            .entry(key)
            .or_insert_with(|| Partial::new(new_due));
        self.cost -= if partial.pieces.is_empty() {
            0
        } else {
            partial.cost()
        };
        let added = partial.add(piece);
        self.cost += partial.cost();
        self.due.insert((partial.due, key));
        let is_complete = partial.is_complete();
        match added {
            Err(Void) => {
                *mib::of(&mut self.failures, key.source) += 1;
                drop(self.remove(&key));
            }
            Ok(()) if is_complete => return self.remove(&key)?.whole(),
            Ok(()) => self.make_room(),
        }
        None
    }

    fn make_room(&mut self) {
        while self.cost > self.most
            && let Some(&(_, key)) = self.due.first()
        {
            *mib::of(&mut self.failures, key.source) += 1;
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.due.remove(&(partial.due, *key));
        self.cost -= partial.cost();
        Some(partial)
    }
}

#[cfg(test)]
mod tests;
