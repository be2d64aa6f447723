//! Cards that cut great segments apart, and such that put them together.

use super::transfer::{exchange, pattern};
use super::*;
use crate::types::Cidr6;
use core::net::Ipv6Addr;

/// What a card does with a frame: the pieces, whose checksums are still partial.
pub(super) fn cut(frame: &[u8], offload: Option<Offload>) -> Vec<Vec<u8>> {
    let Some(segments) = offload.and_then(|o| o.segments) else {
        assert!(frame.len() <= 1514, "{} bytes and no cut", frame.len());
        return alloc::vec![frame.to_vec()];
    };
    let tcp = usize::from(offload.unwrap().checksum.start);
    let (headers, data) = frame.split_at(usize::from(segments.headers));
    assert!(data.len() > usize::from(segments.size) && frame.len() < 65_550);
    assert_eq!(segments.is_v6, frame[14] >> 4 == 6);
    let pieces: Vec<_> = data.chunks(usize::from(segments.size)).collect();
    let cut = |(n, data): (usize, &&[u8])| {
        let mut piece = [headers, *data].concat();
        renumber(&mut piece, tcp, n * usize::from(segments.size));
        if n + 1 < pieces.len() {
            piece[tcp + 13] &= !9;
        }
        set_len(&mut piece, tcp, frame.len());
        piece
    };
    pieces.iter().enumerate().map(cut).collect()
}

fn renumber(frame: &mut [u8], tcp: usize, add: usize) {
    let at = tcp + 4;
    let number = u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
    let number = number.wrapping_add(add as u32);
    frame[at..at + 4].copy_from_slice(&number.to_be_bytes());
}

/// Corrects what speaks of the length: the IP header, and the sum of the pseudo-header.
fn set_len(frame: &mut [u8], tcp: usize, was: usize) {
    let (old, new) = ((was - tcp) as u16, (frame.len() - tcp) as u16);
    let len = frame.len() - 14;
    if frame[14] >> 4 == 4 {
        assert_eq!(frame[16..18], ((was - 14) as u16).to_be_bytes());
        frame[16..18].copy_from_slice(&(len as u16).to_be_bytes());
        Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
    } else {
        assert_eq!(frame[18..20], old.to_be_bytes());
        frame[18..20].copy_from_slice(&new.to_be_bytes());
    }
    let at = tcp + 16;
    let sum = u16::from_be_bytes(frame[at..at + 2].try_into().unwrap());
    let sum = u32::from(sum) + u32::from(!old) + u32::from(new);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    frame[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
}

const ALL: Offloads = Offloads {
    completes_checksums: true,
    verifies_checksums: false,
    cuts_v4: true,
    cuts_v6: true,
};

fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)
}

fn world(offloads: Offloads) -> World {
    let mut w = World::new();
    for card in &w.cards {
        card.with(|c| c.offloads = offloads);
    }
    let cards = w.cards.clone();
    let stack = |card, address: Ipv4Addr| {
        let ip6 = Ip6Config::Static {
            address: Cidr6 {
                address: v6(address.octets()[3].into()),
                prefix: 64,
            },
            gateway: None,
            dns: Vec::new(),
        };
        stack_with(card, address, Limits::default(), ip6)
    };
    w.a = stack(&cards[0], A);
    w.b = stack(&cards[1], B);
    w
}

/// A connection with great queues.
fn pair(w: &mut World, to: IpAddr) -> (SocketId, SocketId) {
    let big = TcpOptions::new(400_000);
    let listener = if to.is_ipv4() {
        w.b.tcp_socket(big.clone()).unwrap()
    } else {
        w.b.tcp_socket_v6(big.clone()).unwrap()
    };
    w.b.tcp_bind(listener, at(to, 80)).unwrap();
    w.b.tcp_listen(listener, 1).unwrap();
    let client = if to.is_ipv4() {
        w.a.tcp_socket(big).unwrap()
    } else {
        w.a.tcp_socket_v6(big).unwrap()
    };
    w.pass(seconds(3));
    w.a.tcp_connect(client, at(to, 80), w.now).unwrap();
    w.pass(seconds(1));
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    (client, server)
}

fn longest(w: &World) -> usize {
    w.cards[0].with(|c| c.longest)
}

#[test]
fn great_segments_are_left_to_cards_that_cut_them() {
    for to in [IpAddr::V4(B), v6(2).into()] {
        let mut w = world(ALL);
        let (a, b) = pair(&mut w, to);
        exchange(&mut w, a, b, &pattern(2_000_000), 300_000);
        assert!(longest(&w) > 60_000, "{}", longest(&w));
    }
}

#[test]
fn cards_that_cut_one_family_get_great_segments_of_that() {
    for (cuts_v4, to, is_great) in [
        (true, IpAddr::V4(B), true),
        (true, v6(2).into(), false),
        (false, IpAddr::V4(B), false),
        (false, v6(2).into(), true),
    ] {
        let mut w = world(Offloads {
            cuts_v4,
            cuts_v6: !cuts_v4,
            ..ALL
        });
        let (a, b) = pair(&mut w, to);
        exchange(&mut w, a, b, &pattern(500_000), 100_000);
        assert_eq!(longest(&w) > 1514, is_great, "{cuts_v4} {to}");
    }
}

#[test]
fn full_card_gets_as_much_as_it_has_room_for() {
    let mut w = world(ALL);
    let (a, b) = pair(&mut w, B.into());
    w.cards[0].with(|c| c.capacity = Some(9));
    let mut most = 0;
    let mut last = None;
    let lost = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&lost);
    w.filter = Box::new(move |side, frame| {
        if let Some(s) = segment(frame).filter(|s| side == Side::A && !s.payload().is_empty()) {
            let n = s.seq_number().0;
            *counter.lock().unwrap() += u32::from(last.is_some_and(|l| l > n));
            last = Some(n);
        }
        Fault::Deliver
    });
    exchange(&mut w, a, b, &pattern(500_000), 100_000);
    most = most.max(longest(&w));
    assert!((1515..=9 * 1514).contains(&most), "{most}");
    assert_eq!(*lost.lock().unwrap(), 0, "nothing had to be sent twice");
}

#[test]
fn nothing_great_waits_for_an_address() {
    let mut w = world(ALL);
    let (a, b) = pair(&mut w, B.into());
    // The peer has another card now, says somebody, and the address is asked for anew.
    w.a.out.neighbors.clear_v4();
    exchange(&mut w, a, b, &pattern(500_000), 100_000);
    assert!(longest(&w) > 30_000);
}

#[test]
fn lost_pieces_are_sent_again_alone() {
    let mut w = world(ALL);
    let (a, b) = pair(&mut w, B.into());
    let mut dice = Dice(99);
    w.filter = Box::new(move |_, _| {
        if dice.roll(30) == 0 {
            Fault::Lose
        } else {
            Fault::Deliver
        }
    });
    exchange(&mut w, a, b, &pattern(1_000_000), 200_000);
}

/// Puts frames of the queue together as a card does that hands over great segments.
fn merge(frames: &mut VecDeque<Vec<u8>>) -> usize {
    let mut merged: VecDeque<Vec<u8>> = VecDeque::new();
    let mut longest = 0;
    for frame in frames.drain(..) {
        let appended = merged.back_mut().is_some_and(|last| append(last, &frame));
        if !appended {
            merged.push_back(frame);
        }
        longest = longest.max(merged.back().map_or(0, Vec::len));
    }
    *frames = merged;
    longest
}

fn append(last: &mut Vec<u8>, next: &[u8]) -> bool {
    let (Some(one), Some(two)) = (segment(last), segment(next)) else {
        return false;
    };
    let data = one.payload().len();
    let fits = data > 0
        && !two.payload().is_empty()
        && one.src_port() == two.src_port()
        && one.seq_number() + data == two.seq_number()
        && last.len() + two.payload().len() < 65_535;
    if !fits {
        return false;
    }
    let payload = two.payload().to_vec();
    last.extend(payload);
    let len = (last.len() - 14) as u16;
    let mut ip = Ipv4Packet::new_unchecked(&mut last[14..]);
    ip.set_total_len(len);
    ip.fill_checksum();
    true
}

#[test]
fn great_segments_are_taken_in() {
    let mut w = world(Offloads {
        verifies_checksums: true,
        ..ALL
    });
    let (a, b) = pair(&mut w, B.into());
    let data = pattern(3_000_000);
    let (mut sent, mut received, mut longest, mut carried) = (0, Vec::new(), 0, 0);
    while received.len() < data.len() {
        sent += send(&mut w.a, a, &data[sent..]).unwrap_or(0);
        w.a.poll(w.now);
        w.carry(Side::A);
        longest = w.cards[1].with(|c| merge(&mut c.received)).max(longest);
        carried += w.cards[1].with(|c| c.received.len());
        w.b.on_interrupt(w.now);
        received.extend(receive(&mut w.b, b, 1 << 20).unwrap_or_default());
        w.b.poll(w.now);
        w.carry(Side::B);
        w.a.on_interrupt(w.now);
        w.now = w.now + ms(1);
    }
    assert!(received == data);
    assert!(longest > 60_000 && carried < 300, "{longest} {carried}");
}
