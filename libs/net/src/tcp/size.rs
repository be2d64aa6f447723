//! The size of segments for hosts behind a router of IPv6.
//!
//! Routers of IPv6 do not split packets; what is too big for a link they drop, and say so ("packet too big"). smoltcp
//! cannot make the segments of a connection smaller. Those for hosts behind a router are therefore as small as every
//! link of IPv6 must carry (RFC 8200 §5), which is told to smoltcp by lowering what the peer offers in its SYN.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::output::Output;
use crate::types::Path;
use crate::wire::{IPV6_HEADER, Ip};

const TCP_HEADER: usize = 20;
/// What fits every link.
const SIZE: u16 = 1280 - IPV6_HEADER as u16 - TCP_HEADER as u16;

/// Options of TCP: the end of them, padding, and the greatest segment with its length.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const SEGMENT_SIZE: u8 = 2;
const SEGMENT_SIZE_LEN: u8 = 4;

impl Output {
    /// Returns whether a host is reached by IPv6 through a router.
    pub(crate) fn is_behind_router6(&self, path: Path, host: IpAddr) -> bool {
        match host {
            IpAddr::V6(host) => path == Path::Nic && !self.routes.v6.is_on_link(host),
            IpAddr::V4(_) => false,
        }
    }
}

/// Returns a copy of a packet with a SYN in which the segment size fits every link, unless it does so already. The
/// checksum is not made right: it has been looked at.
pub(crate) fn lowered(packet: &[u8]) -> Option<Vec<u8>> {
    let ip = Ip::parse(packet)?;
    let header_len = usize::from(ip.payload.get(12)? >> 4) * 4;
    let mut at = TCP_HEADER;
    while at < header_len {
        let &kind = ip.payload.get(at)?;
        match kind {
            END => return None,
            NO_OPERATION => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let &[len, high, low] = ip.payload.get(at + 1..)?.first_chunk()?;
        if (kind, len) == (SEGMENT_SIZE, SEGMENT_SIZE_LEN) {
            if u16::from_be_bytes([high, low]) <= SIZE {
                return None;
            }
            let mut copy = packet.to_vec();
            let value = copy.get_mut(ip.header + at + 2..)?.first_chunk_mut()?;
            *value = SIZE.to_be_bytes();
            return Some(copy);
        }
        at += usize::from(len.max(2));
    }
    None
}
