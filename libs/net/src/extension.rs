//! Extension headers of IPv6 on their way in (RFC 8200 §4), as Linux takes them: options that nobody needs are skipped or
//! refused as their type says, routing headers that lead no further are skipped. What is left is a packet without them.

use alloc::vec::Vec;

use smoltcp::wire::Ipv6Packet;

use crate::wire::IPV6_HEADER;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Types of routing headers that Linux drops until it is told otherwise: mobility, RPL, segments.
const ROUTING_UNUSED: [u8; 3] = [2, 3, 4];
const PAD_ONE: u8 = 0;
const PAD: u8 = 1;
const ROUTER_ALERT: u8 = 5;
/// Options of a header, and bytes of padding in a row, that Linux bears (`max_hbh_opts_number`; RFC 8504 §5.3).
const MOST_OPTIONS: usize = 8;
const MOST_PADDING: usize = 7;
/// Codes of "parameter problem" (RFC 4443 §3.4).
const BAD_FIELD: u8 = 0;
const UNKNOWN_HEADER: u8 = 1;
const UNKNOWN_OPTION: u8 = 2;

/// Why a packet is not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Nobody is told.
    Silent,
    /// Its sender is told by a code of "parameter problem", and where that is.
    Problem(u8, usize),
}

/// Returns a packet without the extension headers up to that of a fragment or of what it carries; `None` if it has none.
/// Hop-by-hop options are allowed only directly behind the header, and not in what came in pieces.
///
/// # Errors
/// When it must not be taken in.
pub(crate) fn without_headers(
    packet: &[u8],
    is_multicast: bool,
    in_pieces: bool,
) -> Result<Option<Vec<u8>>, Refusal> {
    let (mut at, mut named_at) = (IPV6_HEADER, 6);
    loop {
        let next = *packet.get(named_at).ok_or(Refusal::Silent)?;
        if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
            break;
        }
        let eights = *packet.get(at + 1).ok_or(Refusal::Silent)?;
        let end = at + 8 * (usize::from(eights) + 1);
        let header = packet.get(at..end).ok_or(Refusal::Silent)?;
        match next {
            HOP_BY_HOP if at != IPV6_HEADER || in_pieces => {
                return Err(Refusal::Problem(UNKNOWN_HEADER, named_at));
            }
            ROUTING => routing(header, at, is_multicast)?,
            _ => options(header, at, is_multicast, next == HOP_BY_HOP)?,
        }
        (named_at, at) = (at, end);
    }
    if at == IPV6_HEADER {
        return Ok(None);
    }
    let (Some(header), Some(rest)) = (packet.get(..IPV6_HEADER), packet.get(at..)) else {
        return Err(Refusal::Silent);
    };
    let mut plain = Vec::new();
    let has_memory = plain.try_reserve_exact(IPV6_HEADER + rest.len()).is_ok();
    if !has_memory {
        return Err(Refusal::Silent);
    }
    plain.extend_from_slice(header);
    plain.extend_from_slice(rest);
    let next = packet.get(named_at).copied().unwrap_or_default();
    let mut ip = Ipv6Packet::new_unchecked(&mut plain[..]);
    ip.set_next_header(next.into());
    ip.set_payload_len(rest.len() as u16);
    Ok(Some(plain))
}

/// Returns what a packet of IPv6 carries, and that, behind all extension headers, whether these make sense or not.
pub(crate) fn carried(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (mut next, mut at) = (*packet.get(6)?, IPV6_HEADER);
    while matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT) {
        let &[then, eights] = packet.get(at..)?.first_chunk()?;
        let more = if next == FRAGMENT { 0 } else { eights };
        (next, at) = (then, at + 8 * (usize::from(more) + 1));
    }
    Some((next, packet.get(at..)?))
}

/// `ipv6_rthdr_rcv` of Linux.
fn routing(header: &[u8], at: usize, is_multicast: bool) -> Result<(), Refusal> {
    let Some(&[_, _, kind, left]) = header.first_chunk() else {
        return Err(Refusal::Silent);
    };
    if is_multicast || ROUTING_UNUSED.contains(&kind) {
        return Err(Refusal::Silent);
    }
    if left > 0 {
        return Err(Refusal::Problem(BAD_FIELD, at + 2));
    }
    Ok(())
}

/// `ip6_parse_tlv` of Linux.
fn options(header: &[u8], at: usize, is_multicast: bool, by_hop: bool) -> Result<(), Refusal> {
    let (mut offset, mut padding, mut count) = (2, 0, 0);
    while let Some(&kind) = header.get(offset) {
        if kind == PAD_ONE {
            padding += 1;
            offset += 1;
        } else {
            let len = *header.get(offset + 1).ok_or(Refusal::Silent)?;
            let end = offset + 2 + usize::from(len);
            let data = header.get(offset + 2..end).ok_or(Refusal::Silent)?;
            if kind == PAD {
                padding += 2 + data.len();
                if data.iter().any(|&byte| byte != 0) {
                    return Err(Refusal::Silent);
                }
            } else {
                (padding, count) = (0, count + 1);
                let is_known = by_hop && kind == ROUTER_ALERT;
                if count > MOST_OPTIONS || is_known && len != 2 {
                    return Err(Refusal::Silent);
                }
                if !is_known {
                    unknown(kind, at + offset, is_multicast)?;
                }
            }
            offset = end;
        }
        if padding > MOST_PADDING {
            return Err(Refusal::Silent);
        }
    }
    Ok(())
}

/// RFC 8200 §4.2: the two highest bits say what is done by those who do not know an option.
fn unknown(kind: u8, at: usize, is_multicast: bool) -> Result<(), Refusal> {
    match kind >> 6 {
        0 => Ok(()),
        2 => Err(Refusal::Problem(UNKNOWN_OPTION, at)),
        3 if !is_multicast => Err(Refusal::Problem(UNKNOWN_OPTION, at)),
        _ => Err(Refusal::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const UDP: u8 = 17;

    /// A packet with headers, each a type and what follows its length, and `rest` of UDP.
    fn packet(headers: &[(u8, &[u8])], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; IPV6_HEADER];
        bytes[0] = 0x60;
        let mut named_at = 6;
        for (kind, data) in headers {
            bytes[named_at] = *kind;
            named_at = bytes.len();
            assert_eq!((data.len() + 2) % 8, 0);
            bytes.extend([UDP, ((data.len() + 2) / 8 - 1) as u8]);
            bytes.extend_from_slice(data);
        }
        if headers.is_empty() {
            bytes[6] = UDP;
        }
        bytes.extend_from_slice(rest);
        let len = bytes.len() - IPV6_HEADER;
        Ipv6Packet::new_unchecked(&mut bytes[..]).set_payload_len(len as u16);
        bytes
    }

    const PADDING: &[u8] = &[1, 4, 0, 0, 0, 0];
    const LEADS_NOWHERE: &[u8] = &[0, 0, 0, 0, 0, 0];

    fn plain(headers: &[(u8, &[u8])]) -> Result<Option<Vec<u8>>, Refusal> {
        without_headers(&packet(headers, &[7; 9]), false, false)
    }

    #[test]
    fn rfc_8200_4_headers_are_skipped_in_any_order() {
        let bare = packet(&[], &[7; 9]);
        assert_eq!(plain(&[]), Ok(None));
        let long = [[1, 4, 0, 0, 0, 0].as_slice(), &[30, 6, 1, 2, 3, 4, 5, 6]].concat();
        for headers in [
            &[(HOP_BY_HOP, PADDING)][..],
            &[(DESTINATION_OPTIONS, &long)],
            &[(ROUTING, LEADS_NOWHERE)],
            &[
                (HOP_BY_HOP, &[5, 2, 0, 0, 1, 0]),
                (DESTINATION_OPTIONS, PADDING),
                (ROUTING, LEADS_NOWHERE),
                (DESTINATION_OPTIONS, PADDING),
            ],
        ] {
            assert_eq!(plain(headers), Ok(Some(bare.clone())), "{headers:?}");
        }
    }

    #[test]
    fn rfc_8200_4_hop_by_hop_options_come_first_or_not_at_all() {
        let late = plain(&[(ROUTING, LEADS_NOWHERE), (HOP_BY_HOP, PADDING)]);
        assert_eq!(late, Err(Refusal::Problem(UNKNOWN_HEADER, 40)));
        let first = packet(&[(HOP_BY_HOP, PADDING)], &[]);
        let inside = without_headers(&first, false, true);
        assert_eq!(inside, Err(Refusal::Problem(UNKNOWN_HEADER, 6)));
    }

    #[test]
    fn rfc_8200_4_2_type_of_an_unknown_option_says_what_is_done() {
        let with = |kind: u8, is_multicast| {
            let data = [kind, 4, 0, 0, 0, 0];
            let packet = packet(&[(DESTINATION_OPTIONS, &data)], &[]);
            without_headers(&packet, is_multicast, false).map(|p| p.is_some())
        };
        let told = Err(Refusal::Problem(UNKNOWN_OPTION, 42));
        for (kind, one, many) in [
            (0x1e, Ok(true), Ok(true)),
            (0x5e, Err(Refusal::Silent), Err(Refusal::Silent)),
            (0x9e, told, told),
            (0xde, told, Err(Refusal::Silent)),
        ] {
            assert_eq!((with(kind, false), with(kind, true)), (one, many), "{kind}");
        }
    }

    #[test]
    fn rfc_8200_4_4_routes_that_lead_further_are_refused() {
        let with = |kind, left| plain(&[(ROUTING, &[kind, left, 0, 0, 0, 0])]).map(|p| p.is_some());
        assert_eq!(with(0, 0), Ok(true));
        assert_eq!(with(253, 0), Ok(true));
        for kind in [0, 1, 253] {
            assert_eq!(with(kind, 1), Err(Refusal::Problem(BAD_FIELD, 42)));
        }
        for kind in ROUTING_UNUSED {
            assert_eq!(with(kind, 0), Err(Refusal::Silent));
        }
    }

    #[test]
    fn rfc_8504_5_3_nonsense_is_dropped() {
        for data in [
            // Padding that is too long, or carries something.
            &[0, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 4, 0, 0, 1, 0],
            // An option that ends behind its header.
            &[30, 5, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 30],
            // Nine options.
            &[
                30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 1, 2, 0, 0,
            ],
        ] {
            let refused = plain(&[(DESTINATION_OPTIONS, data)]);
            assert_eq!(refused, Err(Refusal::Silent), "{data:?}");
        }
        assert_eq!(
            plain(&[(HOP_BY_HOP, &[5, 4, 0, 0, 0, 0])]),
            Err(Refusal::Silent)
        );
        let cut = packet(&[(DESTINATION_OPTIONS, PADDING)], &[]);
        assert_eq!(
            without_headers(&cut[..44], false, false),
            Err(Refusal::Silent)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(first in prop::sample::select(&[0u8, 43, 60, 44, 17][..]), rest in prop::collection::vec(prop::sample::select(&[0u8, 1, 2, 5, 43, 44, 60, 0x9e, 0xff][..]), 0..120), many: bool) {
            let mut bytes = packet(&[], &rest);
            bytes[6] = first;
            if let Some((_, rest)) = carried(&bytes) {
                prop_assert!(rest.len() <= bytes.len() - IPV6_HEADER);
            }
            if let Ok(Some(plain)) = without_headers(&bytes, many, false) {
                prop_assert!(plain.len() < bytes.len());
                prop_assert_eq!(Ipv6Packet::new_checked(&plain[..]).unwrap().total_len(), plain.len());
            }
        }
    }
}
