//! IPv6: neighbours, and sockets that take both families.

use super::transfer::{exchange, pattern};
use super::*;
use core::net::Ipv6Addr;

use crate::{UdpReceived, UdpSend};

pub(super) const A6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);
pub(super) const B6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 2);
pub(super) const ANY6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const LO6: Ipv6Addr = Ipv6Addr::LOCALHOST;
fn stack6(card: &Handle, address: Ipv4Addr) -> Stack {
    stack_with(card, address, Limits::default(), Ip6Config::Auto)
}

/// Two stacks that speak IPv6, too.
pub(super) fn world() -> World {
    let mut w = World::new();
    w.a = stack6(&w.cards[0], A);
    w.b = stack6(&w.cards[1], B);
    w
}

pub(super) fn listen6(
    stack: &mut Stack,
    address: Ipv6Addr,
    port: u16,
    only6: bool,
) -> Result<SocketId, Errno> {
    let id = stack.tcp_socket_v6(options()).unwrap();
    stack
        .tcp_change_options(id, |o| o.is_v6_only = only6)
        .unwrap();
    stack.tcp_bind(id, at(address, port))?;
    stack.tcp_listen(id, 16)?;
    Ok(id)
}

/// Connects from A to B and returns both ends.
pub(super) fn connect(w: &mut World, listener: SocketId, to: SocketAddr) -> (SocketId, SocketId) {
    let client = w.a.tcp_socket_v6(options()).unwrap();
    w.a.tcp_connect(client, to, w.now).unwrap();
    w.settle();
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    let (server, peer) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(peer, w.a.tcp_local(client).unwrap());
    (client, server)
}

#[test]
fn neighbours_find_each_other_and_exchange_bytes() {
    let mut w = world();
    let listener = listen6(&mut w.b, ANY6, 80, false).unwrap();
    let (a, b) = connect(&mut w, listener, at(B6, 80));
    assert_eq!(w.a.tcp_local(a).unwrap().ip(), A6);
    exchange(&mut w, a, b, &pattern(200_000), 7000);
    w.pass(seconds(3));
    assert_eq!(
        (w.a.tcp.buffered, w.b.tcp.buffered),
        (0, 0),
        "they sleep as others"
    );
    exchange(&mut w, a, b, &pattern(5000), 999);
    w.a.close(a);
    w.b.close(b);
    w.b.close(listener);
    w.pass(seconds(70));
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
}

#[test]
fn checksums_are_left_to_cards_that_complete_them() {
    let mut w = world();
    for card in &w.cards {
        card.with(|c| c.offloads.completes_checksums = true);
    }
    let cards = w.cards.clone();
    w.a = stack6(&cards[0], A);
    w.b = stack6(&cards[1], B);
    let listener = listen6(&mut w.b, ANY6, 80, false).unwrap();
    let (a, b) = connect(&mut w, listener, at(B6, 80));
    exchange(&mut w, a, b, &pattern(50_000), 7000);
    let s = w.a.udp_socket_v6().unwrap();
    let t = w.b.udp_socket_v6().unwrap();
    w.b.udp_bind(t, at(ANY6, 53)).unwrap();
    w.a.udp_send(s, Some(at(B6, 53)), &mut &b"question"[..])
        .unwrap();
    w.settle();
    assert_eq!(take(&mut w.b, t).unwrap().0, b"question");
}

#[test]
fn listener_on_any_address_takes_both_families_unless_told() {
    for only6 in [false, true] {
        let mut w = world();
        let listener = listen6(&mut w.b, ANY6, 80, only6).unwrap();
        let client = w.dial(80);
        w.settle();
        if only6 {
            assert_eq!(
                w.a.tcp_connect_result(client),
                Some(Err(Errno::ECONNREFUSED))
            );
            let other = w.listen(80, 1);
            let client = w.dial(80);
            w.settle();
            assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
            assert!(w.b.tcp_accept(other).is_ok());
        } else {
            assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
            let (server, peer) = w.b.tcp_accept(listener).unwrap();
            assert_eq!(peer.ip(), A);
            assert_eq!(w.b.tcp_local(server).unwrap(), at(B, 80));
            let s = w.b.tcp_socket(options()).unwrap();
            assert_eq!(w.b.tcp_bind(s, at(ANY, 80)), Err(Errno::EADDRINUSE));
        }
        connect(&mut w, listener, at(B6, 80));
    }
}

#[test]
fn the_very_address_goes_before_any() {
    let mut w = world();
    let share = |w: &mut World, id| w.b.tcp_change_options(id, |o| o.reuses_address = true);
    let any6 = w.b.tcp_socket_v6(options()).unwrap();
    let any4 = w.b.tcp_socket(options()).unwrap();
    let lo6 = w.b.tcp_socket_v6(options()).unwrap();
    for (id, address) in [
        (any6, ANY6.into()),
        (any4, IpAddr::from(ANY)),
        (lo6, LO6.into()),
    ] {
        share(&mut w, id).unwrap();
        w.b.tcp_change_options(id, |o| o.is_v6_only = true).unwrap();
        w.b.tcp_bind(id, at(address, 80)).unwrap();
    }
    w.b.tcp_listen(any4, 4).unwrap();
    w.b.tcp_listen(lo6, 4).unwrap();
    let client = w.b.tcp_socket_v6(options()).unwrap();
    w.b.tcp_connect(client, at(LO6, 80), w.now).unwrap();
    w.settle();
    assert!(w.b.tcp_accept(lo6).is_ok());
    assert_eq!(w.b.tcp_local(client).unwrap().ip(), LO6);
}

#[test]
fn loopback_carries_streams_and_datagrams_of_any_length() {
    let mut w = world();
    let listener = listen6(&mut w.b, LO6, 80, false).unwrap();
    let client = w.b.tcp_socket_v6(options()).unwrap();
    w.b.tcp_connect(client, at(ANY6, 80), w.now).unwrap();
    w.settle();
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    send(&mut w.b, client, b"hello").unwrap();
    w.settle();
    assert_eq!(receive(&mut w.b, server, 9), Ok(b"hello".to_vec()));
    let (s, t) = (w.b.udp_socket_v6().unwrap(), w.b.udp_socket_v6().unwrap());
    w.b.udp_bind(t, at(ANY6, 53)).unwrap();
    let longest = pattern(65_527);
    let mut send = |len: usize| {
        w.b.udp_send(
            s,
            Some(at(LO6, 53)),
            &mut longest.get(..len).unwrap_or(&pattern(len)),
        )
    };
    assert_eq!(send(65_528), Err(Errno::EMSGSIZE));
    assert_eq!(send(65_527), Ok(65_527));
    w.settle();
    assert!(take(&mut w.b, t).unwrap().0 == longest);
    w.b.udp_connect(s, Some(at(LO6, 99))).unwrap();
    w.b.udp_send(s, None, &mut &b"x"[..]).unwrap();
    w.settle();
    assert_eq!(w.b.take_error(s), Some(Errno::ECONNREFUSED));
    let refused = w.b.tcp_socket_v6(options()).unwrap();
    w.b.tcp_connect(refused, at(LO6, 99), w.now).unwrap();
    w.settle();
    assert_eq!(
        w.b.tcp_connect_result(refused),
        Some(Err(Errno::ECONNREFUSED))
    );
}

fn take(stack: &mut Stack, id: SocketId) -> Result<(Vec<u8>, UdpReceived), Errno> {
    let mut buffer = alloc::vec![0; 70_000];
    let received = stack.udp_receive(id, false, &mut &mut buffer[..])?;
    buffer.truncate(received.copied);
    Ok((buffer, received))
}

#[test]
fn datagram_sockets_of_ipv6_hear_both_families() {
    let mut w = world();
    let t = w.b.udp_socket_v6().unwrap();
    w.b.udp_bind(t, at(ANY6, 53)).unwrap();
    let s = w.a.udp_socket_v6().unwrap();
    w.a.udp_change_options(s, |o| (o.tos, o.traffic_class, o.ttl) = (0x20, 0x20, 7))
        .unwrap();
    for (to, from) in [(IpAddr::from(B), IpAddr::from(A)), (B6.into(), A6.into())] {
        w.a.udp_send(s, Some(at(to, 53)), &mut &b"hi"[..]).unwrap();
        w.settle();
        let (_, received) = take(&mut w.b, t).unwrap();
        assert_eq!((received.source.ip(), received.destination), (from, to));
        assert_eq!((received.tos, received.ttl), (0x20, 7));
    }
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    w.a.udp_send(s, Some(at(all, 53)), &mut &b"all"[..])
        .unwrap();
    w.settle();
    assert_eq!(take(&mut w.b, t).unwrap().0, b"all");
}

#[test]
fn silent_neighbours_and_missing_routers_are_unreachable() {
    let mut w = world();
    let nobody = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    let s = w.a.tcp_socket_v6(options()).unwrap();
    w.a.tcp_connect(s, at(nobody, 80), w.now).unwrap();
    w.pass(seconds(5));
    assert_eq!(w.a.tcp_connect_result(s), Some(Err(Errno::EHOSTUNREACH)));
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    assert_eq!(
        w.a.tcp_connect(s, at(far, 80), w.now),
        Err(Errno::ENETUNREACH)
    );
}

#[test]
fn rfc_3542_11_2_what_may_not_be_split_is_refused_and_the_path_noted() {
    let mut w = world();
    let id = w.a.udp_socket_v6().unwrap();
    let bytes = [7; 1453];
    let send = |w: &mut World, len: usize, never_splits, tells_mtu| {
        let how = UdpSend {
            to: Some(at(B6, 9)),
            never_splits,
            tells_mtu,
            ..UdpSend::default()
        };
        let sent = w.a.udp_send_with(id, &how, &mut &bytes[..len]);
        (sent, w.a.udp_take_path_mtu(id))
    };
    // 1500 bytes with both headers.
    assert_eq!(send(&mut w, 1452, true, true), (Ok(1452), None));
    assert_eq!(send(&mut w, 1453, false, true), (Ok(1453), None));
    let refused = Err(Errno::EMSGSIZE);
    assert_eq!(send(&mut w, 1453, true, false), (refused, None));
    let noted = Some((B6.into(), 1500));
    assert_eq!(send(&mut w, 1453, true, true), (refused, noted));
    assert_eq!(w.a.udp_take_path_mtu(id), None, "it is told once");
}

#[test]
fn rfc_2292_4_1_streams_know_the_headers_that_they_note() {
    let mut w = world();
    let listener = listen6(&mut w.b, ANY6, 80, true).unwrap();
    let client = w.a.tcp_socket_v6(options()).unwrap();
    let from = |w: &mut World, ttl, traffic_class| {
        w.a.tcp_change_options(client, |o| {
            o.no_delay = true;
            (o.ttl, o.traffic_class) = (ttl, traffic_class);
        })
        .unwrap();
    };
    let note = |w: &mut World, id, notes| {
        w.b.tcp_change_options(id, |o| o.notes = notes).unwrap();
    };
    note(&mut w, listener, [true, false, false]);
    from(&mut w, 33, 4);
    w.a.tcp_connect(client, at(B6, 80), w.now).unwrap();
    w.settle();
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    let seen = |w: &mut World| {
        let (seen, own, peer) = w.b.tcp_seen(server).unwrap();
        assert_eq!((own, peer.map(|p| p.ip())), (B6.into(), Some(A6.into())));
        (seen.ttl, seen.tos, seen.path, seen.is_first)
    };
    let card = Some(crate::Path::Nic);
    assert_eq!(seen(&mut w), (33, 4, card, true));
    // Later packets count for what is noted by then.
    note(&mut w, server, [false, true, false]);
    from(&mut w, 44, 8);
    send(&mut w.a, client, b"x").unwrap();
    w.settle();
    assert_eq!(seen(&mut w), (44, 4, card, false));
    note(&mut w, server, [false, false, true]);
    from(&mut w, 55, 12);
    send(&mut w.a, client, b"x").unwrap();
    w.settle();
    assert_eq!(seen(&mut w), (44, 12, card, false));
    // What did not come in order says nothing.
    from(&mut w, 66, 16);
    w.filter = Box::new(|side, _| {
        if side == Side::A {
            Fault::Lose
        } else {
            Fault::Deliver
        }
    });
    send(&mut w.a, client, b"lost").unwrap();
    w.settle();
    w.filter = Box::new(|_, _| Fault::Deliver);
    send(&mut w.a, client, b"early").unwrap();
    w.settle();
    assert_eq!(seen(&mut w), (44, 12, card, false));
    // Nor does what fills the gap, as it is not the last that was received (`tcp_v6_do_rcv` of Linux).
    w.pass(seconds(1));
    assert_eq!(seen(&mut w), (44, 12, card, false));
    assert_eq!(receive(&mut w.b, server, 99), Ok(b"xxlostearly".to_vec()));
    send(&mut w.a, client, b"x").unwrap();
    w.settle();
    assert_eq!(seen(&mut w), (44, 16, card, false));
}
