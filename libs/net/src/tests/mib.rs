//! What is counted.

use core::net::Ipv6Addr;

use super::*;
use crate::mib::{IpCounters, Mib};

/// The counters of both, since they were counted last.
fn pair(w: &World) -> [Mib; 2] {
    [w.a.mib(), w.b.mib()]
}

#[test]
fn what_one_sends_the_other_receives() {
    let mut w = World::new();
    w.a = stack_with(&w.cards[0], A, Limits::default(), Ip6Config::Auto);
    w.b = stack_with(&w.cards[1], B, Limits::default(), Ip6Config::Auto);
    w.pass(seconds(20));
    let (a, b) = w.pair();
    for n in 1..20 {
        send(&mut w.a, a, &alloc::vec![7; 700 * n]).unwrap();
        w.settle();
        receive(&mut w.b, b, 1 << 20).unwrap();
    }
    w.pass(seconds(1));
    let [of_a, of_b] = pair(&w);
    for (sender, receiver) in [(&of_a, &of_b), (&of_b, &of_a)] {
        for (out, inside) in sender.ip.iter().zip(&receiver.ip) {
            assert!(out.requests.packets > 0);
            assert_eq!(out.requests, inside.receives);
            assert_eq!(out.transmits, inside.receives.packets);
            assert_eq!(out.out_multicast, inside.in_multicast);
            assert_eq!(
                inside.congestion.iter().sum::<u64>(),
                inside.receives.packets
            );
        }
        assert_eq!(sender.tcp.out_segments, receiver.tcp.in_segments);
        assert_eq!((sender.tcp.repeated, sender.tcp.out_resets), (0, 0));
        let [_, icmp] = &sender.icmp;
        assert_eq!(icmp.sent, receiver.icmp[1].received);
    }
    assert!(of_a.tcp.out_segments > 100);
    assert_eq!((of_a.tcp.active_opens, of_a.tcp.passive_opens), (1, 0));
    assert_eq!((of_b.tcp.active_opens, of_b.tcp.passive_opens), (0, 1));
    assert_eq!((w.a.established(), w.b.established()), (1, 1));
}

#[test]
fn lost_and_damaged_segments_are_counted() {
    let mut w = World::new();
    let (a, _) = w.pair();
    let mut left = 1;
    w.filter = Box::new(move |_, _| match core::mem::replace(&mut left, 0) {
        0 => Fault::Deliver,
        _ => Fault::Lose,
    });
    send(&mut w.a, a, b"hello").unwrap();
    w.pass(seconds(2));
    assert!(w.a.mib().tcp.repeated > 0 && w.b.mib().tcp.repeated == 0);
    // A segment whose last byte has changed, and one whose header has.
    w.filter = Box::new(|_, _| Fault::Lose);
    send(&mut w.a, a, b"world").unwrap();
    w.a.poll_if_due(w.now);
    let frame = w.cards[0].with(|c| c.sent.pop_front()).unwrap();
    let before = w.b.mib();
    let mut damaged = frame.clone();
    *damaged.last_mut().unwrap() ^= 1;
    w.cards[1].with(|c| c.received.push_back(damaged));
    let mut damaged = frame;
    damaged[14 + 8] ^= 1;
    w.cards[1].with(|c| c.received.push_back(damaged));
    w.settle();
    let after = w.b.mib();
    assert_eq!(
        after.tcp.in_checksum_errors,
        before.tcp.in_checksum_errors + 1
    );
    assert_eq!(after.tcp.in_errors, before.tcp.in_errors + 1);
    let [ip, _]: &[IpCounters; 2] = &after.ip;
    assert_eq!((ip.header_errors, ip.checksum_errors), (1, 1));
    // A request that is not answered is sent again, and given up.
    let failed = w.a.mib().tcp;
    let id = w.dial(99);
    w.pass(seconds(600));
    assert_eq!(w.a.tcp_connect_result(id), Some(Err(Errno::ETIMEDOUT)));
    let tcp = w.a.mib().tcp;
    assert_eq!(tcp.attempt_fails, failed.attempt_fails + 1);
    assert!(tcp.repeated >= failed.repeated + 6);
}

#[test]
fn destinations_without_a_way_are_counted() {
    let mut w = World::new();
    let a = w.a.udp_socket_v6().unwrap();
    let to = Some(at(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 7));
    assert_eq!(w.a.udp_send(a, to, &mut &b"x"[..]), Err(Errno::ENETUNREACH));
    let [v4, v6] = w.a.mib().ip;
    assert_eq!((v4.no_routes, v6.no_routes), (0, 1));
}
