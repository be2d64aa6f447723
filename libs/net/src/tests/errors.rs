//! Error queues: what routers say of datagrams and segments of ours (`IP_RECVERR`).

use super::hostile::{deliver, icmp};
use super::*;
use crate::{Origin, QueuedError};

/// A socket of B's that has sent a datagram to a host behind the router, and that packet.
fn sender(w: &mut World, asks: bool, connects: bool) -> (SocketId, Vec<u8>) {
    let far = at(A, 33_434);
    let id = w.b.udp_socket().unwrap();
    w.b.ask_for_errors(id, false, asks).unwrap();
    if connects {
        w.b.udp_connect(id, Some(far)).unwrap();
    }
    w.b.udp_send(id, Some(far), &mut &b"probe"[..]).unwrap();
    w.b.poll(w.now);
    let frame = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
    (id, frame[14..].to_vec())
}

fn take(stack: &mut Stack, id: SocketId) -> Result<(QueuedError, Vec<u8>), Errno> {
    let mut bytes = [0; 32];
    let (error, copied) = stack.take_queued_error(id, &mut &mut bytes[..])?;
    Ok((error, bytes[..copied].to_vec()))
}

fn world() -> World {
    let mut w = World::new();
    // B knows where A is.
    w.listen(80, 1);
    w.dial(80);
    w.settle();
    w
}

#[test]
fn hop_that_a_datagram_died_at_is_told_with_what_was_sent() {
    let mut w = world();
    let (id, packet) = sender(&mut w, true, false);
    deliver(&mut w, icmp(11, 0, &packet));
    assert_eq!(w.take_wakes(Side::B, id), Events::ERR);
    assert!(w.b.readiness(id).contains(Events::ERR));
    let (error, data) = take(&mut w.b, id).unwrap();
    assert_eq!(data, b"probe");
    assert_eq!(error.to, at(A, 33_434));
    let (what, by) = (error.trouble.error, error.trouble.report.unwrap());
    assert_eq!(
        (what.errno, what.origin),
        (Errno::EHOSTUNREACH, Origin::Icmp)
    );
    assert_eq!((what.kind, what.code, what.info), (11, 0, 0));
    assert_eq!((by.source.ip(), by.destination), (A.into(), B.into()));
    assert_eq!(take(&mut w.b, id).err(), Some(Errno::EAGAIN));
    assert!(!w.b.readiness(id).contains(Events::ERR));
    assert_eq!(w.b.take_error(id), None);
}

#[test]
fn errors_that_may_pass_are_told_only_if_asked_for() {
    for (kind, code, asks, connects, told) in [
        (3, 3, false, false, None),
        (3, 3, false, true, Some(Errno::ECONNREFUSED)),
        (3, 3, true, false, Some(Errno::ECONNREFUSED)),
        (3, 1, false, true, None),
        (3, 1, true, true, Some(Errno::EHOSTUNREACH)),
        (11, 1, false, true, None),
        (12, 0, false, true, Some(Errno::EPROTO)),
        (3, 4, false, true, Some(Errno::EMSGSIZE)),
        (3, 99, true, true, None),
        (5, 0, true, true, None),
    ] {
        let mut w = world();
        let (id, packet) = sender(&mut w, asks, connects);
        deliver(&mut w, icmp(kind, code, &packet));
        assert_eq!(w.b.take_error(id), told, "{kind} {code} {asks} {connects}");
        let is_queued = take(&mut w.b, id).is_ok();
        assert_eq!(is_queued, asks && told.is_some());
    }
}

#[test]
fn router_tells_what_would_fit_and_the_queue_is_bounded() {
    let mut w = world();
    let (id, packet) = sender(&mut w, true, false);
    w.b.udp_change_options(id, |o| o.receive_buffer = 4096)
        .unwrap();
    for _ in 0..100 {
        let mut frame = icmp(3, 4, &packet);
        // The MTU, and the checksum that goes with it.
        let sum = u16::from_be_bytes([frame[36], frame[37]]) - 1300;
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
        frame[40..42].copy_from_slice(&1300u16.to_be_bytes());
        deliver(&mut w, frame);
    }
    assert!(w.b.memory(id) < (8 << 10) + 4096);
    let mut count = 0;
    while let Ok((error, _)) = take(&mut w.b, id) {
        assert_eq!(error.trouble.error.info, 1300);
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn silent_neighbour_and_own_link_are_told_of_by_ourselves() {
    let mut w = World::new();
    let id = w.a.udp_socket().unwrap();
    w.a.ask_for_errors(id, false, true).unwrap();
    let nobody = at(Ipv4Addr::new(10, 0, 0, 77), 9);
    w.a.udp_send(id, Some(nobody), &mut &b"x"[..]).unwrap();
    w.pass(seconds(10));
    assert_eq!(w.a.take_error(id), Some(Errno::EHOSTUNREACH));
    let (error, data) = take(&mut w.a, id).unwrap();
    let (what, by) = (error.trouble.error, error.trouble.report.unwrap());
    assert_eq!((what.origin, what.kind, what.code), (Origin::Icmp, 3, 1));
    assert_eq!(
        (by.source.ip(), error.to, data.len()),
        (A.into(), nobody, 1)
    );
    let long = [0; 1473];
    w.a.udp_change_options(id, |o| o.mtu_discovery = [crate::MtuDiscovery::Do; 2])
        .unwrap();
    let sent = w.a.udp_send(id, Some(nobody), &mut &long[..]);
    assert_eq!(sent, Err(Errno::EMSGSIZE));
    let (error, _) = take(&mut w.a, id).unwrap();
    assert_eq!(error.trouble.report, None);
    assert_eq!(
        (error.trouble.error.origin, error.trouble.error.info),
        (Origin::Local, 1500)
    );
    assert_eq!(w.a.take_error(id), None, "the call has told it");
}

#[test]
fn connection_that_asks_is_told_at_once_and_an_attempt_in_the_queue() {
    for asks in [false, true] {
        let mut w = world();
        let id = w.b.tcp_socket(options()).unwrap();
        w.b.ask_for_errors(id, false, asks).unwrap();
        w.b.tcp_connect(id, at(A, 81), w.now).unwrap();
        w.b.poll(w.now);
        let syn = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
        deliver(&mut w, icmp(3, 1, &syn[14..]));
        assert_eq!(w.b.tcp_connect_result(id), Some(Err(Errno::EHOSTUNREACH)));
        let queued = take(&mut w.b, id);
        assert_eq!(queued.is_ok(), asks);
        if let Ok((error, data)) = queued {
            assert_eq!((error.to, &data[..8]), (at(A, 81), &syn[34..42]));
        }

        let l = w.a.tcp_socket(options()).unwrap();
        w.a.tcp_bind(l, at(A, 82)).unwrap();
        w.a.tcp_listen(l, 1).unwrap();
        let id = w.b.tcp_socket(options()).unwrap();
        w.b.ask_for_errors(id, false, asks).unwrap();
        w.b.tcp_connect(id, at(A, 82), w.now).unwrap();
        w.settle();
        assert_eq!(w.b.tcp_connect_result(id), Some(Ok(())));
        assert_eq!(send(&mut w.b, id, b"data"), Ok(4));
        w.b.poll(w.now);
        let data = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
        deliver(&mut w, icmp(3, 1, &data[14..42]));
        let told = asks.then_some(Errno::EHOSTUNREACH);
        assert_eq!(w.b.take_error(id), told);
        w.pass(seconds(3));
        assert_eq!(w.b.tcp_queues(id), Ok((0, 0)), "it goes on");
    }
}
