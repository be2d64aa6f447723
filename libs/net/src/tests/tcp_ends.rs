//! Ending connections: FIN from either side, resets, lingering, TIME-WAIT, silence.

use super::*;
use crate::TcpStatus;

const END: Result<Vec<u8>, Errno> = Ok(Vec::new());
const ALL_UP: Events = Events::OUT.union(Events::WRNORM);

#[test]
fn close_sends_what_was_written_and_a_fin() {
    let mut w = World::new();
    let (client, server) = w.pair();
    send(&mut w.a, client, b"last words").unwrap();
    w.a.close(client);
    w.settle();
    let woken = w.take_wakes(Side::B, server);
    assert!(woken.contains(Events::IN | Events::RDHUP) && !woken.contains(Events::HUP));
    assert_eq!(receive(&mut w.b, server, 99), Ok(b"last words".to_vec()));
    assert_eq!(receive(&mut w.b, server, 99), END);
    assert_eq!(w.b.tcp_status(server), Ok(TcpStatus::CloseWait));
    w.b.close(server);
    w.settle();
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
    // The one who closed first remembers, without a socket.
    assert_eq!((w.a.tcp.time_waits.len(), w.b.tcp.time_waits.len()), (1, 0));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    w.pass(seconds(60));
    assert_eq!(w.a.tcp.time_waits.len(), 0);
    assert_eq!((w.a.deadline(), w.b.deadline()), (None, None));
    assert!(w.b.ports_tcp.is_free(80));
}

#[test]
fn half_closed_connection_still_receives() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.a.tcp_shutdown(client, false, true).unwrap();
    w.settle();
    assert_eq!(send(&mut w.a, client, b"x"), Err(Errno::EPIPE));
    assert_eq!(w.a.readiness(client), ALL_UP);
    assert_eq!(receive(&mut w.b, server, 9), END);
    assert_eq!(send(&mut w.b, server, b"answer"), Ok(6));
    w.settle();
    assert_eq!(receive(&mut w.a, client, 9), Ok(b"answer".to_vec()));
    assert_eq!(receive(&mut w.a, client, 9), Err(Errno::EAGAIN));
    w.b.tcp_shutdown(server, false, true).unwrap();
    w.pass(ms(50));
    assert_eq!(receive(&mut w.a, client, 9), END);
    assert!(
        w.a.readiness(client)
            .contains(Events::HUP | Events::RDHUP | Events::IN)
    );
    assert!(
        w.b.readiness(server)
            .contains(Events::HUP | Events::RDHUP | Events::IN)
    );
    assert_eq!(w.b.take_error(server), None);
    assert_eq!(w.a.tcp_shutdown(client, true, true), Err(Errno::ENOTCONN));
}

#[test]
fn unread_data_outlive_time_wait() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.a.tcp_shutdown(client, false, true).unwrap();
    w.settle();
    send(&mut w.b, server, b"keep this").unwrap();
    w.b.close(server);
    w.pass(seconds(120));
    assert!(w.a.readiness(client).contains(Events::IN | Events::HUP));
    assert_eq!(w.a.tcp_queues(client), Ok((9, 0)));
    let mut peeked = [0; 4];
    let n = w.a.tcp_receive(client, Take::Peek, &mut &mut peeked[..]);
    assert_eq!((n, &peeked), (Ok(4), b"keep"));
    assert_eq!(
        w.a.tcp_receive(client, Take::Discard(5), &mut &mut [][..]),
        Ok(5)
    );
    assert_eq!(receive(&mut w.a, client, 99), Ok(b"this".to_vec()));
    assert_eq!(receive(&mut w.a, client, 99), END);
    w.a.close(client);
    assert_eq!(w.a.sockets.len(), 0);
}

#[test]
fn close_with_unread_data_resets() {
    let mut w = World::new();
    let (client, server) = w.pair();
    send(&mut w.a, client, b"ignored").unwrap();
    w.settle();
    w.b.close(server);
    w.settle();
    assert!(
        w.a.readiness(client)
            .contains(Events::ERR | Events::HUP | Events::IN | Events::OUT)
    );
    assert_eq!(send(&mut w.a, client, b"x"), Err(Errno::ECONNRESET));
    assert_eq!(send(&mut w.a, client, b"x"), Err(Errno::EPIPE));
    assert_eq!(receive(&mut w.a, client, 1), END);
    assert_eq!(w.b.sockets.len(), 0);
}

#[test]
fn data_for_a_closed_socket_reset_it() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.b.close(server);
    w.settle();
    assert_eq!(send(&mut w.a, client, b"too late"), Ok(8));
    w.settle();
    // The peer had sent its FIN before: on Linux that makes it a broken pipe.
    assert_eq!(w.a.take_error(client), Some(Errno::EPIPE));
    assert_eq!(w.b.sockets.len(), 0);
    assert_eq!(w.b.tcp.time_waits.len(), 0);
}

#[test]
fn end_is_read_whatever_comes_after_it() {
    let mut w = World::new();
    let (client, server) = w.pair();
    send(&mut w.a, client, b"last words").unwrap();
    w.a.tcp_shutdown(client, false, true).unwrap();
    w.settle();
    // Unread when the client closes, which resets the connection.
    send(&mut w.b, server, b"too late").unwrap();
    w.settle();
    w.a.close(client);
    w.settle();
    assert_eq!(receive(&mut w.b, server, 99), Ok(b"last words".to_vec()));
    assert_eq!(receive(&mut w.b, server, 99), END);
    assert_eq!(receive(&mut w.b, server, 99), END);
    assert_eq!(send(&mut w.b, server, b"x"), Err(Errno::EPIPE));
    assert_eq!(w.b.take_error(server), None);
    // The end is of that connection, not of the socket.
    w.b.tcp_disconnect(server).unwrap();
    assert_eq!(receive(&mut w.b, server, 1), Err(Errno::ENOTCONN));
}

#[test]
fn lingering_for_no_time_resets() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.a.tcp_change_options(client, |o| o.linger = Some(0))
        .unwrap();
    send(&mut w.a, client, b"lost").unwrap();
    w.a.close(client);
    w.settle();
    assert_eq!(receive(&mut w.b, server, 9), Err(Errno::ECONNRESET));
    assert_eq!(w.a.sockets.len() + w.a.tcp.time_waits.len(), 0);
}

#[test]
fn data_that_came_before_a_reset_can_be_read() {
    let mut w = World::new();
    let (client, server) = w.pair();
    send(&mut w.a, client, b"first").unwrap();
    w.settle();
    w.a.tcp_disconnect(client).unwrap();
    w.settle();
    assert_eq!(receive(&mut w.b, server, 9), Ok(b"first".to_vec()));
    assert_eq!(receive(&mut w.b, server, 9), Err(Errno::ECONNRESET));
    assert_eq!(receive(&mut w.b, server, 9), END);
    // The disconnected socket connects again.
    assert_eq!(w.a.tcp_status(client), Ok(TcpStatus::Closed));
    let listener = w.listen(81, 3);
    w.a.tcp_connect(client, at(B, 81), w.now).unwrap();
    w.settle();
    assert!(w.b.tcp_accept(listener).is_ok());
}

#[test]
fn simultaneous_close_ends_on_both_sides() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.a.close(client);
    w.b.close(server);
    w.settle();
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
    assert_eq!((w.a.tcp.time_waits.len(), w.b.tcp.time_waits.len()), (1, 1));
}

#[test]
fn lost_last_acknowledgement_is_repeated_from_time_wait() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.a.close(client);
    w.settle();
    let mut is_first = true;
    w.filter = Box::new(move |side, frame| match segment(frame) {
        Some(_) if side == Side::A && core::mem::take(&mut is_first) => Fault::Lose,
        _ => Fault::Deliver,
    });
    w.b.close(server);
    w.settle();
    assert_eq!((w.a.tcp.time_waits.len(), w.b.sockets.len()), (1, 1));
    w.pass(seconds(2));
    assert_eq!(w.b.sockets.len(), 0);
}

#[test]
fn peer_that_never_closes_is_left_after_a_minute() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.a.close(client);
    w.pass(seconds(59));
    assert_eq!(w.a.sockets.len(), 1);
    w.pass(seconds(2));
    assert_eq!(w.a.sockets.len(), 0);
    assert_eq!(send(&mut w.b, server, b"hello?"), Ok(6));
    w.settle();
    assert_eq!(w.b.take_error(server), Some(Errno::EPIPE));
}

#[test]
fn orphan_whose_peer_vanished_is_given_up() {
    let mut w = World::new();
    let (client, _) = w.pair();
    w.filter = Box::new(|_, _| Fault::Lose);
    send(&mut w.a, client, b"anyone?").unwrap();
    w.a.close(client);
    w.pass(seconds(300));
    assert_eq!(w.a.sockets.len(), 0);
    assert_eq!(w.a.deadline(), None);
}

#[test]
fn data_that_nobody_acknowledges_time_out() {
    let mut w = World::new();
    let (client, _) = w.pair();
    w.a.tcp_change_options(client, |o| o.user_timeout = seconds(30))
        .unwrap();
    w.pass(seconds(3600));
    assert_eq!(
        w.a.take_error(client),
        None,
        "silence without data is no reason"
    );
    w.filter = Box::new(|_, frame| match segment(frame) {
        Some(_) => Fault::Lose,
        None => Fault::Deliver,
    });
    send(&mut w.a, client, b"anyone?").unwrap();
    w.pass(seconds(29));
    assert_eq!(w.a.take_error(client), None);
    w.pass(seconds(5));
    let woken = w.take_wakes(Side::A, client);
    assert!(woken.contains(Events::ERR | Events::HUP));
    assert_eq!(w.a.take_error(client), Some(Errno::ETIMEDOUT));
}

#[test]
fn peer_that_has_left_the_wire_is_unreachable() {
    let mut w = World::new();
    let (client, _) = w.pair();
    w.a.tcp_change_options(client, |o| o.user_timeout = seconds(120))
        .unwrap();
    w.pass(seconds(3600));
    w.filter = Box::new(|_, _| Fault::Lose);
    send(&mut w.a, client, b"anyone?").unwrap();
    w.pass(seconds(119));
    assert_eq!(w.a.take_error(client), None);
    w.pass(seconds(2));
    assert_eq!(w.a.take_error(client), Some(Errno::EHOSTUNREACH));
}

#[test]
fn keep_alive_finds_out_that_the_peer_is_gone() {
    let mut w = World::new();
    let (client, _) = w.pair();
    w.a.tcp_change_options(client, |o| {
        o.keeps_alive = true;
        (o.keep_idle, o.keep_interval, o.keep_count) = (seconds(100), seconds(10), 3);
    })
    .unwrap();
    w.settle();
    let before = w.frames;
    w.pass(seconds(1000));
    assert_eq!(w.a.take_error(client), None);
    // A probe and its answer every 100 s, and ARP now and then.
    assert!(
        (18..80).contains(&(w.frames - before)),
        "{}",
        w.frames - before
    );
    w.filter = Box::new(|_, _| Fault::Lose);
    w.pass(seconds(125));
    assert_eq!(w.a.take_error(client), None);
    w.pass(seconds(110));
    assert_eq!(w.a.take_error(client), Some(Errno::ETIMEDOUT));
}

#[test]
fn idle_connection_costs_nothing() {
    let mut w = World::new();
    let (client, server) = w.pair();
    send(&mut w.a, client, b"hello").unwrap();
    w.pass(seconds(1));
    receive(&mut w.b, server, 9).unwrap();
    w.pass(seconds(1));
    assert_eq!((w.a.deadline(), w.b.deadline()), (None, None));
}

#[test]
fn port_of_a_live_connection_can_be_listened_on_again_only_with_reuse() {
    let mut w = World::new();
    let (_client, _server) = w.pair();
    let again = w.b.tcp_socket(options()).unwrap();
    assert_eq!(w.b.tcp_bind(again, at(ANY, 80)), Err(Errno::EADDRINUSE));
    w.b.tcp_change_options(again, |o| o.reuses_address = true)
        .unwrap();
    assert_eq!(w.b.tcp_bind(again, at(ANY, 80)), Ok(()));
    assert_eq!(w.b.tcp_listen(again, 5), Ok(()));
}

#[test]
fn connection_in_time_wait_can_be_opened_again_by_the_peer() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    let open = |w: &mut World| {
        let client = w.a.tcp_socket(options()).unwrap();
        w.a.tcp_bind(client, at(A, 5000)).unwrap();
        w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
        w.settle();
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
        client
    };
    let client = open(&mut w);
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    w.b.close(server);
    w.settle();
    w.a.close(client);
    w.settle();
    assert_eq!((w.a.tcp.time_waits.len(), w.b.tcp.time_waits.len()), (0, 1));
    w.now = seconds(3);
    open(&mut w);
    assert!(w.b.tcp_accept(listener).is_ok());
    assert_eq!(w.b.tcp.time_waits.len(), 0);
}
