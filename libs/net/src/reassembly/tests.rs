//! Pieces in any order, twice, wrong.

use alloc::vec;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;

use super::*;
use crate::fragment::Split;
use crate::wire::{header_len, write_header};

const NOW: Nanos = Nanos(7);
const MANY: usize = 1 << 20;

fn packet(is_v4: bool, len: usize) -> Vec<u8> {
    let ends = if is_v4 {
        ["10.0.0.1", "10.0.0.2"]
    } else {
        ["fd00::1", "fd00::2"]
    };
    let [from, to] = ends.map(|a| a.parse().unwrap());
    let mut packet = vec![0; header_len(to) + len];
    let caps = ChecksumCapabilities::default();
    let data = write_header(&mut packet, from, to, IpProtocol::Udp, 9, &caps);
    data.iter_mut()
        .zip(0u32..)
        .for_each(|(b, n)| *b = (n % 251) as u8);
    packet
}

fn pieces(packet: &[u8], number: u32) -> Vec<Vec<u8>> {
    let mut split = Split::new(packet, 1280, number).unwrap();
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    while split.next(&mut piece).is_some() {
        pieces.push(core::mem::take(&mut piece));
    }
    pieces
}

fn put(r: &mut Reassembly, piece: &[u8]) -> Option<Vec<u8>> {
    r.add(&Piece::parse(piece).unwrap(), NOW)
}

fn is_empty(r: &Reassembly) -> bool {
    r.partial.is_empty() && r.due.is_empty() && r.cost == 0
}

/// Removes what splitting leaves in an IPv4 header.
fn without_number(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
        assert!(ip.verify_checksum());
        ip.set_ident(0);
        ip.clear_flags();
        ip.fill_checksum();
    }
    packet
}

proptest! {
    #[test]
    fn any_order_and_any_number_of_times_make_the_whole(
        is_v4: bool,
        len in 1300usize..65_000,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let packet = packet(is_v4, len);
        let pieces = pieces(&packet, 5);
        let mut r = Reassembly::new(MANY);
        let mut left: BTreeSet<usize> = (0..pieces.len()).collect();
        let mut whole = None;
        for at in order.iter().map(|i| i.index(pieces.len())).chain(0..pieces.len()) {
            if left.is_empty() {
                break;
            }
            left.remove(&at);
            prop_assert!(whole.is_none());
            whole = put(&mut r, &pieces[at]);
            prop_assert_eq!(whole.is_some(), left.is_empty());
        }
        prop_assert_eq!(without_number(whole.unwrap()), without_number(packet));
        prop_assert!(is_empty(&r));
    }

    #[test]
    fn whatever_comes_what_is_kept_has_bounds(
        list in prop::collection::vec(
            (any::<bool>(), 0u32..4, 0usize..9000, 0usize..64, any::<bool>()), 0..200),
    ) {
        const MOST: usize = 6000;
        let mut r = Reassembly::new(MOST);
        for (is_v4, number, eight, len, is_last) in list {
            let header = packet(is_v4, 0);
            let ip = Ip::parse(&header).unwrap();
            let piece = Piece {
                key: Key { source: ip.source, destination: ip.destination, protocol: 17, number },
                header: &header,
                protocol: IpProtocol::Udp,
                offset: 8 * eight,
                is_last,
                data: &[1; 64][..len],
            };
            r.add(&piece, NOW);
            prop_assert!(r.cost <= MOST);
            prop_assert_eq!(r.cost, r.partial.values().map(Partial::cost).sum::<usize>());
            prop_assert_eq!(r.due.len(), r.partial.len());
        }
        r.expire(NOW + PATIENCE6, |_| {});
        prop_assert!(is_empty(&r));
    }
}

#[test]
fn packets_are_told_apart_and_given_up() {
    for is_v4 in [true, false] {
        let packet = packet(is_v4, 3000);
        let (a, b) = (pieces(&packet, 1), pieces(&packet, 2));
        let mut r = Reassembly::new(MANY);
        assert_eq!(put(&mut r, &a[0]), None);
        assert_eq!(put(&mut r, &b[1]), None);
        assert_eq!(put(&mut r, &b[2]), None);
        assert!(put(&mut r, &b[0]).is_some());
        let patience = if is_v4 { PATIENCE } else { PATIENCE6 };
        assert_eq!(r.deadline(), Some(NOW + patience));
        r.expire(NOW + patience - Nanos(1), |_| {});
        assert_eq!(r.partial.len(), 1);
        r.expire(NOW + patience, |_| {});
        assert!(is_empty(&r));
    }
}

#[test]
fn pieces_that_contradict_each_other_make_their_packet_void() {
    let whole = packet(true, 3000);
    let good = pieces(&whole, 1);
    let moved = |piece: &[u8], by: i32| {
        let mut piece = piece.to_vec();
        let mut ip = Ipv4Packet::new_unchecked(&mut piece[..]);
        ip.set_frag_offset((i32::from(ip.frag_offset()) + by) as u16);
        piece
    };
    let mut other = good[1].clone();
    *other.last_mut().unwrap() ^= 1;
    for bad in [moved(&good[1], -8), moved(&good[1], 8), other] {
        let mut r = Reassembly::new(MANY);
        put(&mut r, &good[1]);
        assert_eq!(put(&mut r, &bad), None);
        assert!(is_empty(&r));
    }
    // Two ends, and what lies behind the end.
    for bad in [moved(&good[2], 800), moved(&good[1], 4000)] {
        let mut r = Reassembly::new(MANY);
        put(&mut r, &good[2]);
        assert_eq!(put(&mut r, &bad), None);
        assert!(is_empty(&r));
    }
    // Such that no length field can say how long the whole is.
    let mut r = Reassembly::new(MANY);
    assert_eq!(put(&mut r, &moved(&good[2], 65_528 - 2512)), None);
    assert!(is_empty(&r));
}

#[test]
fn packets_that_were_begun_first_give_way() {
    let whole = packet(true, 3000);
    let mut r = Reassembly::new(3 * 2500);
    for number in 0..5 {
        let first = &pieces(&whole, number)[0];
        let piece = Piece::parse(first).unwrap();
        r.add(&piece, NOW + Nanos(number.into()));
    }
    let numbers: Vec<u32> = r.partial.keys().map(|key| key.number).collect();
    assert_eq!(numbers, [2, 3, 4]);
}
