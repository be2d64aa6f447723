//! Making connections: backlog, refusal, loss, silence, sequence numbers.

use super::*;
use crate::TcpStatus;
use crate::types::Tuple;

#[test]
fn connection_is_made_and_both_ends_know_their_names() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    let client = w.dial(80);
    assert_eq!(w.a.tcp_status(client), Ok(TcpStatus::SynSent));
    assert_eq!(w.a.tcp_connect_result(client), None);
    assert_eq!(w.a.readiness(client), Events::empty());
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    w.settle();
    let ready = w.take_wakes(Side::A, client);
    assert_eq!(ready, Events::OUT | Events::WRNORM);
    assert!(w.take_wakes(Side::B, listener).contains(Events::IN));
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    assert_eq!(w.a.tcp_connect_result(client), Some(Err(Errno::EISCONN)));
    assert_eq!(
        w.a.tcp_connect(client, at(B, 80), w.now),
        Err(Errno::EISCONN)
    );
    let (server, peer) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(w.a.tcp_local(client), Ok(peer));
    assert_eq!(w.b.tcp_local(server), Ok(at(B, 80)));
    assert_eq!(w.b.tcp_remote(server), Ok(peer));
    assert_eq!(w.a.tcp_remote(client), Ok(at(B, 80)));
    assert_eq!(w.b.readiness(server), Events::OUT | Events::WRNORM);
    assert_eq!(w.b.readiness(listener), Events::empty());
    assert_eq!(w.b.tcp_remote(listener), Err(Errno::ENOTCONN));
}

#[test]
fn closed_port_refuses() {
    let mut w = World::new();
    let client = w.dial(81);
    w.settle();
    let woken = w.take_wakes(Side::A, client);
    assert!(woken.contains(Events::ERR | Events::HUP | Events::OUT));
    assert_eq!(w.a.take_error(client), Some(Errno::ECONNREFUSED));
    assert_eq!(w.a.take_error(client), None);
    assert_eq!(w.a.tcp_status(client), Ok(TcpStatus::Closed));
    // The socket can be used again, when `connect` has told that it failed.
    let listener = w.listen(81, 4);
    assert_eq!(
        w.a.tcp_connect(client, at(B, 81), w.now),
        Err(Errno::ECONNABORTED)
    );
    assert_eq!(
        w.a.readiness(client),
        Events::OUT | Events::WRNORM | Events::HUP
    );
    assert_eq!(w.a.tcp_connect(client, at(B, 81), w.now), Ok(()));
    w.settle();
    assert!(w.b.tcp_accept(listener).is_ok());
}

#[test]
fn port_zero_refuses() {
    let mut w = World::new();
    let client = w.dial(0);
    let own = w.b.tcp_socket(options()).unwrap();
    w.b.tcp_connect(own, at(LO, 0), w.now).unwrap();
    w.settle();
    assert_eq!(w.a.take_error(client), Some(Errno::ECONNREFUSED));
    assert_eq!(w.b.take_error(own), Some(Errno::ECONNREFUSED));
}

#[test]
fn refusal_is_told_by_whoever_asks_first() {
    let mut w = World::new();
    let client = w.dial(81);
    w.settle();
    let refused = Some(Err(Errno::ECONNREFUSED));
    assert_eq!(w.a.tcp_connect_result(client), refused);
    let client = w.dial(81);
    w.settle();
    assert_eq!(receive(&mut w.a, client, 1), Err(Errno::ECONNREFUSED));
    assert_eq!(receive(&mut w.a, client, 1), Ok(Vec::new()));
    let client = w.dial(81);
    w.settle();
    assert_eq!(send(&mut w.a, client, b"x"), Err(Errno::ECONNREFUSED));
    assert_eq!(send(&mut w.a, client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn loopback_connects_and_refuses() {
    let mut w = World::new();
    for address in [LO, B, Ipv4Addr::new(127, 9, 9, 9), ANY] {
        let refused = w.b.tcp_socket(options()).unwrap();
        w.b.tcp_connect(refused, at(address, 7), w.now).unwrap();
        w.settle();
        assert_eq!(
            w.b.take_error(refused),
            Some(Errno::ECONNREFUSED),
            "{address}"
        );
        let listener = w.listen(7, 4);
        let client = w.b.tcp_socket(options()).unwrap();
        w.b.tcp_connect(client, at(address, 7), w.now).unwrap();
        w.settle();
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        assert_eq!(send(&mut w.b, server, b"hello"), Ok(5));
        w.settle();
        assert_eq!(receive(&mut w.b, client, 9), Ok(b"hello".to_vec()));
        w.b.close(listener);
        w.b.close(client);
        w.b.close(server);
        w.pass(seconds(61));
    }
    assert_eq!(w.frames, 0, "loopback traffic must not reach the wire");
    assert_eq!(w.b.sockets.len(), 4);
}

#[test]
fn lost_segments_of_the_handshake_are_repeated() {
    for lost in 1..=3 {
        let mut w = World::new();
        let mut count = 0;
        w.filter = Box::new(move |_, frame| {
            count += usize::from(segment(frame).is_some());
            if count == lost && segment(frame).is_some() {
                Fault::Lose
            } else {
                Fault::Deliver
            }
        });
        let listener = w.listen(80, 4);
        let client = w.dial(80);
        w.pass(seconds(4));
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())), "{lost}");
        assert!(w.b.tcp_accept(listener).is_ok(), "{lost}");
    }
}

#[test]
fn silent_host_times_out() {
    let mut w = World::new();
    w.filter = Box::new(|_, frame| {
        if segment(frame).is_some() {
            Fault::Lose
        } else {
            Fault::Deliver
        }
    });
    let client = w.dial(80);
    w.pass(seconds(120));
    assert_eq!(w.a.tcp_connect_result(client), None);
    w.pass(seconds(10));
    assert_eq!(w.a.tcp_connect_result(client), Some(Err(Errno::ETIMEDOUT)));
}

#[test]
fn host_that_is_not_there_is_unreachable() {
    let mut w = World::new();
    let client = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_connect(client, at(Ipv4Addr::new(10, 0, 0, 77), 80), w.now)
        .unwrap();
    w.pass(ms(2900));
    assert_eq!(w.a.tcp_connect_result(client), None);
    w.pass(ms(200));
    assert_eq!(
        w.a.tcp_connect_result(client),
        Some(Err(Errno::EHOSTUNREACH))
    );
    assert_eq!(w.a.deadline(), None);
}

#[test]
fn full_accept_queue_drops_and_never_resets() {
    let mut w = World::new();
    let resets = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&resets);
    w.filter = Box::new(move |side, frame| {
        if side == Side::B && segment(frame).is_some_and(|s| s.rst()) {
            *counter.lock().unwrap() += 1;
        }
        Fault::Deliver
    });
    let listener = w.listen(80, 2);
    let clients: Vec<_> = (0..20).map(|_| w.dial(80)).collect();
    w.settle();
    assert!(
        w.b.tcp
            .listener(at(B, 80), crate::Path::Nic, || 0)
            .is_some()
    );
    let late = w.dial(80);
    w.settle();
    assert_eq!(
        w.a.tcp_connect_result(late),
        None,
        "requests beyond are dropped"
    );
    w.pass(seconds(20));
    let mut accepted = 0;
    while let Ok((server, _)) = w.b.tcp_accept(listener) {
        accepted += 1;
        assert_eq!(send(&mut w.b, server, b"welcome"), Ok(7));
        w.settle();
    }
    assert_eq!(accepted, 20);
    assert!(w.b.tcp.half_open.is_empty());
    assert_eq!(w.a.tcp_connect_result(late), None);
    assert_eq!(*resets.lock().unwrap(), 0);
    for client in clients {
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
        assert_eq!(receive(&mut w.a, client, 10), Ok(b"welcome".to_vec()));
    }
}

#[test]
fn requests_that_nobody_accepts_end() {
    let mut w = World::new();
    let answers = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&answers);
    w.filter = Box::new(move |side, frame| {
        let is_answer = side == Side::B && segment(frame).is_some_and(|s| s.syn());
        *counter.lock().unwrap() += usize::from(is_answer);
        Fault::Deliver
    });
    let listener = w.listen(80, 0);
    let clients: Vec<_> = (0..4).map(|_| w.dial(80)).collect();
    w.pass(seconds(62));
    assert_eq!(w.b.tcp.half_open.len(), 3);
    w.pass(seconds(2));
    assert_eq!(w.b.tcp.half_open.len(), 0);
    // Six for each that waited, one for the one that is in the queue.
    assert_eq!(*answers.lock().unwrap(), 3 * 6 + 1);
    assert_eq!(w.b.deadline(), None);
    let (first, _) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    assert_eq!(send(&mut w.b, first, b"you"), Ok(3));
    w.settle();
    // Who was forgotten learns it when it says something.
    for &client in &clients {
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
        assert_eq!(send(&mut w.a, client, b"hello"), Ok(5));
    }
    w.settle();
    let mut lost = 0;
    for client in clients {
        lost += usize::from(receive(&mut w.a, client, 9) == Err(Errno::ECONNRESET));
    }
    assert_eq!(lost, 3);
}

#[test]
fn requests_that_wait_go_with_their_peer_and_their_listener() {
    let mut w = World::new();
    let listener = w.listen(80, 0);
    let clients: Vec<_> = (0..5).map(|_| w.dial(80)).collect();
    w.settle();
    let waiting = |w: &mut World| match w.b.sockets.get(listener) {
        Some(crate::stack::Socket::Tcp(l)) => match &l.state {
            crate::tcp::TcpState::Listening(queue) => queue.waiting.len(),
            _ => 0,
        },
        _ => 0,
    };
    assert_eq!((waiting(&mut w), w.b.tcp.half_open.len()), (4, 4));
    // A client that breaks off is no longer waited for.
    w.a.tcp_change_options(clients[4], |o| o.linger = Some(0))
        .unwrap();
    w.a.close(clients[4]);
    w.settle();
    assert_eq!((waiting(&mut w), w.b.tcp.half_open.len()), (3, 3));
    w.b.close(listener);
    w.settle();
    assert!(w.b.tcp.half_open.is_empty());
}

#[test]
fn burst_of_connections_is_accepted_at_once() {
    let mut w = World::new();
    let listener = w.listen(80, 1024);
    w.dial(80);
    w.settle();
    let clients: Vec<_> = (0..300).map(|_| w.dial(80)).collect();
    w.settle();
    for client in clients {
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    }
    for _ in 0..300 {
        assert!(w.b.tcp_accept(listener).is_ok());
    }
    assert_eq!(w.now, Nanos(0));
}

#[test]
fn request_without_acknowledgement_is_forgotten() {
    let mut w = World::new();
    w.filter = Box::new(|side, frame| match segment(frame) {
        Some(s) if side == Side::A && !s.syn() => Fault::Lose,
        _ => Fault::Deliver,
    });
    let listener = w.listen(80, 4);
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    assert_eq!(w.b.tcp.half_open.len(), 1);
    w.pass(seconds(70));
    assert_eq!(w.b.tcp.half_open.len(), 0);
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    assert_eq!(w.b.deadline(), None);
}

#[test]
fn data_completes_a_handshake_whose_last_segment_was_lost() {
    let mut w = World::new();
    let mut is_first = true;
    w.filter = Box::new(move |side, frame| match segment(frame) {
        Some(s) if side == Side::A && !s.syn() && core::mem::take(&mut is_first) => Fault::Lose,
        _ => Fault::Deliver,
    });
    let listener = w.listen(80, 4);
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    assert_eq!(send(&mut w.a, client, b"early"), Ok(5));
    w.settle();
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    assert!(w.b.readiness(server).contains(Events::IN));
    assert_eq!(receive(&mut w.b, server, 9), Ok(b"early".to_vec()));
}

#[test]
fn sequence_numbers_are_those_of_rfc_6528() {
    let mut w = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    w.filter = Box::new(move |side, frame| {
        if let Some(s) = segment(frame).filter(TcpPacket::syn) {
            let number = s.seq_number().0.cast_unsigned();
            log.lock().unwrap().push((side, s.src_port(), number));
        }
        Fault::Deliver
    });
    w.listen(80, 4);
    w.now = seconds(5);
    w.settle();
    let client = w.dial(80);
    let local = w.a.tcp_local(client).unwrap();
    w.settle();
    let outgoing = Tuple {
        local,
        remote: at(B, 80),
    };
    let expected_a = w.a.secret.sequence_number(&outgoing, w.now);
    let expected_b = w.b.secret.sequence_number(&outgoing.mirrored(), w.now);
    let seen = seen.lock().unwrap();
    assert_eq!(
        *seen,
        [
            (Side::A, local.port(), expected_a),
            (Side::B, 80, expected_b)
        ]
    );
}

#[test]
fn closing_a_listener_resets_those_who_wait() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    w.b.close(listener);
    w.settle();
    assert_eq!(receive(&mut w.a, client, 1), Err(Errno::ECONNRESET));
    assert_eq!(receive(&mut w.a, client, 1), Ok(Vec::new()));
    let late = w.dial(80);
    w.settle();
    assert_eq!(w.a.take_error(late), Some(Errno::ECONNREFUSED));
    assert_eq!(w.b.sockets.len(), 0);
    assert!(w.b.ports_tcp.is_free(80));
}

#[test]
fn peer_that_gives_up_while_it_waits_is_still_accepted() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    let client = w.dial(80);
    w.settle();
    w.a.tcp_change_options(client, |o| o.linger = Some(0))
        .unwrap();
    w.a.close(client);
    w.settle();
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(receive(&mut w.b, server, 1), Err(Errno::ECONNRESET));
}

#[test]
fn socket_can_connect_to_itself() {
    let mut w = World::new();
    let s = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_bind(s, at(LO, 7777)).unwrap();
    w.a.tcp_connect(s, at(LO, 7777), w.now).unwrap();
    w.settle();
    assert_eq!(w.a.tcp_connect_result(s), Some(Ok(())));
    assert_eq!(send(&mut w.a, s, b"me"), Ok(2));
    w.settle();
    assert_eq!(receive(&mut w.a, s, 10), Ok(b"me".to_vec()));
}
