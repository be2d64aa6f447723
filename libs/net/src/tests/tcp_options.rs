//! Options that say when something is sent, taken or given up (`tcp(7)`).

use super::*;
use crate::TcpStatus;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Counts the segments of `from` that have a SYN, and loses those that `loses` names.
fn count_syns(
    w: &mut World,
    from: Side,
    loses: fn(Side, &TcpPacket<&[u8]>) -> bool,
) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    w.filter = Box::new(move |side, frame| {
        let Some(segment) = segment(frame) else {
            return Fault::Deliver;
        };
        if side == from && segment.syn() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        if loses(side, &segment) {
            Fault::Lose
        } else {
            Fault::Deliver
        }
    });
    count
}

fn change(stack: &mut Stack, id: SocketId, change: impl FnOnce(&mut TcpOptions)) {
    stack.tcp_change_options(id, change).unwrap();
}

#[test]
fn syncnt_says_how_often_a_request_is_repeated() {
    // With TCP_USER_TIMEOUT, what is over first counts.
    for (retries, user_timeout, sent, time) in [
        (1, 0, 2, 3),
        (2, 0, 3, 7),
        (0, 0, 7, 127),
        (1, 1000, 2, 3),
        (6, 2, 2, 2),
    ] {
        let mut w = World::new();
        // They know each other's addresses.
        w.pair();
        let count = count_syns(&mut w, Side::A, |_, _| true);
        let id = w.a.tcp_socket(options()).unwrap();
        change(&mut w.a, id, |o| {
            o.syn_retries = retries;
            o.user_timeout = seconds(user_timeout);
        });
        w.a.tcp_connect(id, at(B, 80), w.now).unwrap();
        w.pass(seconds(time) - ms(1));
        assert_eq!(w.a.tcp_connect_result(id), None, "{retries}");
        w.pass(ms(2));
        let result = w.a.tcp_connect_result(id);
        assert_eq!(result, Some(Err(Errno::ETIMEDOUT)), "{retries}");
        assert_eq!(count.load(Ordering::Relaxed), sent, "{retries}");
    }
}

#[test]
fn syncnt_of_a_listener_says_how_often_an_answer_is_repeated() {
    for (retries, sent, time) in [(1, 2, 3), (2, 3, 7), (0, 6, 63)] {
        let mut w = World::new();
        let listener = w.listen(80, 4);
        change(&mut w.b, listener, |o| o.syn_retries = retries);
        let count = count_syns(&mut w, Side::B, |side, s| side == Side::A && !s.syn());
        w.dial(80);
        w.pass(seconds(time) - ms(1));
        assert_eq!(w.b.tcp.half_open.len(), 1);
        w.pass(ms(2));
        assert_eq!(w.b.tcp.half_open.len(), 0);
        assert_eq!(count.load(Ordering::Relaxed), sent);
        assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    }
}

#[test]
fn linger2_says_how_long_a_closed_socket_waits_for_the_end() {
    for (chosen, time) in [(0, 60), (5, 5), (120, 120)] {
        let mut w = World::new();
        let (client, server) = w.pair();
        change(&mut w.a, client, |o| o.fin_timeout = Some(chosen));
        w.a.close(client);
        w.pass(seconds(time) - ms(1));
        assert_eq!(w.a.sockets.len(), 1);
        w.pass(ms(2));
        assert_eq!(w.a.sockets.len(), 0);
        assert_eq!(w.b.tcp_status(server), Ok(TcpStatus::CloseWait));
        // Whoever ends it now is told that it is over already.
        w.b.tcp_shutdown(server, false, true).unwrap();
        w.settle();
        assert!(w.b.readiness(server).contains(Events::ERR | Events::HUP));
        assert_eq!(w.b.take_error(server), Some(Errno::ECONNRESET));
    }
}

#[test]
fn linger2_below_zero_resets_instead() {
    let mut w = World::new();
    let (client, server) = w.pair();
    change(&mut w.a, client, |o| o.fin_timeout = None);
    // While the program has it, it waits.
    w.a.tcp_shutdown(client, false, true).unwrap();
    w.pass(seconds(100));
    assert_eq!(w.a.tcp_status(client), Ok(TcpStatus::FinWait2));
    w.a.close(client);
    w.settle();
    assert_eq!((w.a.sockets.len(), w.a.tcp.time_waits.len()), (0, 0));
    assert_eq!(w.b.take_error(server), Some(Errno::EPIPE));
    assert_eq!(w.a.tcp.orphans, 0);
}

#[test]
fn deferred_request_waits_for_data_and_for_a_time() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    // Three time-outs: 1 + 2 + 4 seconds.
    change(&mut w.b, listener, |o| o.defers = 3);
    let count = count_syns(&mut w, Side::B, |_, _| false);
    let (early, late) = (w.dial(80), w.dial(80));
    w.pass(ms(500));
    assert_eq!(w.a.tcp_connect_result(early), Some(Ok(())));
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    send(&mut w.a, early, b"request").unwrap();
    w.settle();
    let (child, _) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(receive(&mut w.b, child, 99), Ok(b"request".to_vec()));
    assert_eq!(w.b.tcp_options(child).unwrap().defers, 0);
    w.pass(ms(6400));
    assert_eq!(count.load(Ordering::Relaxed), 2, "it has acknowledged");
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    // The answer goes out once more, and the acknowledgement of that counts.
    w.pass(ms(200));
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let (child, peer) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(peer, w.a.tcp_local(late).unwrap());
    assert_eq!(receive(&mut w.b, child, 99), Err(Errno::EAGAIN));
    assert_eq!(w.b.tcp.half_open.len(), 0);
}

#[test]
fn deferred_request_whose_peer_is_gone_is_forgotten() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    change(&mut w.b, listener, |o| o.defers = 3);
    w.dial(80);
    w.settle();
    assert_eq!(w.b.tcp.half_open.len(), 1);
    w.filter = Box::new(|_, _| Fault::Lose);
    w.pass(seconds(63));
    assert_eq!(w.b.tcp.half_open.len(), 0);
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
}

#[test]
fn deferred_request_waits_for_hours_if_told() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    change(&mut w.b, listener, |o| o.defers = u8::MAX);
    w.dial(80);
    // Seven time-outs are shorter than two minutes.
    w.pass(seconds(127 + 248 * 120 - 1));
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    w.pass(seconds(2));
    assert!(w.b.tcp_accept(listener).is_ok());
}

/// Bytes that A has sent and B has not acknowledged.
fn unacknowledged(w: &mut World, client: SocketId) -> usize {
    w.settle();
    w.a.tcp_queues(client).unwrap().1
}

#[test]
fn quickack_for_once_sends_what_waits_and_no_more() {
    let mut w = World::new();
    let (client, server) = w.pair();
    let say = |w: &mut World| {
        send(&mut w.a, client, b"x").unwrap();
        w.settle();
        assert_eq!(receive(&mut w.b, server, 9), Ok(b"x".to_vec()));
        unacknowledged(w, client)
    };
    assert_eq!(say(&mut w), 0);
    w.b.tcp_delay_acks(server, true, false).unwrap();
    assert_eq!(say(&mut w), 1);
    w.b.tcp_delay_acks(server, false, true).unwrap();
    assert_eq!(w.b.tcp_delays_acks(server), Ok(true));
    assert_eq!(unacknowledged(&mut w, client), 0);
    assert_eq!(say(&mut w), 1);
    w.pass(ms(40));
    assert_eq!(unacknowledged(&mut w, client), 0);
    // When none waits, nothing is done once.
    w.b.tcp_delay_acks(server, true, false).unwrap();
    w.b.tcp_delay_acks(server, false, true).unwrap();
    assert_eq!(w.b.tcp_delays_acks(server), Ok(false));
    assert_eq!(say(&mut w), 0);
}

#[test]
fn quickack_off_before_a_connection_is_for_its_handshake() {
    for (delays_acks, defers) in [(true, 0), (false, 1)] {
        let mut w = World::new();
        let listener = w.listen(80, 4);
        change(&mut w.b, listener, |o| o.delays_acks = true);
        let client = w.a.tcp_socket(options()).unwrap();
        change(&mut w.a, client, |o| {
            (o.delays_acks, o.defers) = (delays_acks, defers);
        });
        w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
        w.pass(ms(199));
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
        assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
        w.pass(ms(1));
        let (child, _) = w.b.tcp_accept(listener).unwrap();
        assert_eq!(w.a.tcp_delays_acks(client), Ok(false));
        // A listener's is its own.
        assert_eq!(w.b.tcp_delays_acks(child), Ok(false));
        assert_eq!(w.b.tcp_delays_acks(listener), Ok(true));
        w.a.tcp_delay_acks(client, true, false).unwrap();
        change(&mut w.b, child, |o| o.linger = Some(0));
        w.b.close(child);
        w.settle();
        assert_eq!(w.a.tcp_delays_acks(client), Ok(true));
        w.a.tcp_disconnect(client).unwrap();
        assert_eq!(w.a.tcp_delays_acks(client), Ok(false));
    }
}
