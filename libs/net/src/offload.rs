//! What is left to the card: completing checksums, and cutting great TCP segments apart.

use core::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet};

use crate::checksum;
use crate::device::{Offload, PartialChecksum, Segments};
use crate::output::{ETHERNET_HEADER, Output};
use crate::types::Path;
use crate::virtio::LONGEST_FRAME;
use crate::wire::Ip;

impl Output {
    /// Returns how many TCP segments can leave as one packet to `host` now: as [`Output::has_room`], more than one only
    /// if the card cuts them apart and knows where they go.
    pub(crate) fn room_for(&mut self, path: Path, host: IpAddr) -> usize {
        let Some(device) = self.device.as_mut().filter(|_| path == Path::Nic) else {
            return usize::from(self.has_room(path));
        };
        let (room, does) = (device.room(), device.offloads());
        let cuts = if host.is_ipv4() {
            does.cuts_v4
        } else {
            does.cuts_v6
        };
        let has_hop = || {
            let hop = self.routes.next_hop(host);
            hop.is_some_and(|hop| self.neighbors.has_address(hop))
        };
        if cuts && room > 1 && has_hop() && self.reserve(LONGEST_FRAME) {
            room
        } else {
            room.min(1)
        }
    }

    /// Builds and sends a packet as [`Output::emit`] does, a TCP segment that the card cuts into pieces with so many
    /// bytes of data. [`Output::room_for`] has said that it can.
    pub(crate) fn emit_pieces<E>(
        &mut self,
        path: Path,
        len: usize,
        tos: u8,
        piece: u16,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.piece = Some(piece);
        let result = self.emit(path, len, tos, fill);
        self.piece = None;
        result
    }
}

/// Returns what the card is to do with a packet: complete its checksum, and cut it into pieces with so many bytes of data.
pub(crate) fn of_packet(packet: &[u8], checksum: PartialChecksum, piece: Option<u16>) -> Offload {
    let tcp = usize::from(checksum.start) - ETHERNET_HEADER;
    let words = packet.get(tcp + 12).map_or(5, |b| b >> 4);
    let segments = piece.map(|size| Segments {
        size,
        headers: checksum.start + 4 * u16::from(words),
        is_v6: packet.first().is_some_and(|b| b >> 4 == 6),
    });
    Offload { checksum, segments }
}

/// Returns the sum with which the checksum of a packet begins.
pub(crate) fn sum_of_pseudo_header(ip: &Ip<'_>) -> u16 {
    checksum::pseudo_header(ip.source, ip.destination, ip.protocol, ip.payload.len())
}

/// Puts that sum where the checksum of a frame goes, for the card to complete.
pub(crate) fn start_checksum(frame: &mut [u8], partial: PartialChecksum, sum: u16) {
    let at = usize::from(partial.start) + usize::from(partial.offset);
    let rest = frame.get_mut(at..).unwrap_or_default();
    if let Some(place) = rest.first_chunk_mut() {
        *place = sum.to_be_bytes();
    }
}

/// Returns what the card is to complete; fragments and other protocols carry checksums of their own.
pub(crate) fn partial_checksum(packet: &[u8], ip: &Ip<'_>) -> Option<PartialChecksum> {
    if ip.source.is_ipv4() {
        let v4 = Ipv4Packet::new_unchecked(packet);
        if v4.more_frags() || v4.frag_offset() != 0 {
            return None;
        }
    }
    let offset = match ip.protocol {
        IpProtocol::Tcp if ip.payload.len() >= 20 => 16,
        IpProtocol::Udp if ip.payload.len() >= 8 => 6,
        _ => return None,
    };
    Some(PartialChecksum {
        start: (ETHERNET_HEADER + ip.header) as u16,
        offset,
    })
}
