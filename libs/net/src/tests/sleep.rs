//! Idle connections keep no queues, and nobody on the wire or behind the socket notices.

use super::transfer::{exchange, pattern};
use super::*;
use proptest::prelude::*;

/// A connection with queues of these sizes on both ends.
fn pair_of(w: &mut World, options: &TcpOptions) -> (SocketId, SocketId) {
    let listener = w.listen(80, 4096);
    w.b.tcp_change_options(listener, |o| *o = options.clone())
        .unwrap();
    let client = w.a.tcp_socket(options.clone()).unwrap();
    w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
    w.settle();
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    w.b.close(listener);
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    (client, server)
}

#[test]
fn connection_is_born_without_queues_and_loses_them_when_it_is_idle() {
    let mut w = World::new();
    let (a, b) = w.pair();
    // What was sent to open it is remembered, too.
    assert!(w.b.tcp.buffered < 256, "nothing has come yet");
    w.pass(seconds(2));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    send(&mut w.a, a, b"request").unwrap();
    w.settle();
    assert_eq!(w.b.tcp.buffered, 1024, "what is used");
    w.pass(seconds(5));
    assert_eq!(w.b.tcp.buffered, 1024, "what was not read stays");
    assert_eq!(receive(&mut w.b, b, 99), Ok(b"request".to_vec()));
    send(&mut w.b, b, b"answer").unwrap();
    w.pass(ms(500));
    let queues = 2 * 1024..2 * 1024 + 256;
    assert!(
        queues.contains(&w.b.tcp.buffered),
        "not idle for long enough"
    );
    w.pass(seconds(2));
    assert_eq!(w.b.tcp.buffered, 0);
    assert_eq!(w.a.tcp.buffered, 1024, "its reader is late");
    assert_eq!(receive(&mut w.a, a, 99), Ok(b"answer".to_vec()));
    w.pass(seconds(2));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    assert_eq!((w.a.deadline(), w.b.deadline()), (None, None));
    assert!(w.b.readiness(b).contains(Events::OUT));
    assert_eq!(receive(&mut w.b, b, 9), Err(Errno::EAGAIN));
}

#[test]
fn scaled_windows_survive_sleep() {
    let mut w = World::new();
    let (a, b) = pair_of(&mut w, &TcpOptions::new(300_000));
    for _ in 0..3 {
        exchange(&mut w, a, b, &pattern(900_000), 100_000);
        w.pass(seconds(3));
        assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    }
}

#[test]
fn segments_out_of_order_keep_nobody_awake() {
    let mut w = World::new();
    let (a, b) = w.pair();
    exchange(&mut w, a, b, &pattern(20_000), 7000);
    let mut fault = Some(Fault::Delay);
    w.filter = Box::new(move |side, _| match side {
        Side::A => fault.take().unwrap_or(Fault::Deliver),
        Side::B => Fault::Deliver,
    });
    send(&mut w.a, a, &pattern(2920)).unwrap();
    w.pass(ms(500));
    assert!(receive(&mut w.b, b, 9999) == Ok(pattern(2920)));
    w.pass(seconds(3));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
}

#[test]
fn the_least_queue_is_not_promised_to_be_more() {
    let mut w = World::new();
    w.b.limits.tcp_buffers = 0;
    let (a, b) = pair_of(&mut w, &TcpOptions::new(300_000));
    w.filter = Box::new(|side, frame| {
        if let (Side::B, Some(tcp)) = (side, segment(frame)) {
            let scale = if tcp.syn() { return Fault::Deliver } else { 3 };
            let promised = usize::from(tcp.window_len()) << scale;
            assert!(promised <= 1024, "{promised} bytes");
            let (source, destination) = (IpAddr::from(B).into(), IpAddr::from(A).into());
            assert!(tcp.verify_checksum(&source, &destination));
        }
        Fault::Deliver
    });
    for _ in 0..3 {
        exchange(&mut w, a, b, &pattern(20_000), 700);
        assert!(w.b.tcp.buffered <= 2048 + 4096, "queues and lists");
        w.pass(seconds(3));
        assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    }
}

#[test]
fn more_connections_are_served_than_there_is_memory_for_queues() {
    let limits = Limits {
        tcp_buffers: 200_000,
        ..Limits::default()
    };
    let mut w = World::with_limits(Limits::default());
    w.b = stack(&w.cards[1], B, limits);
    let listener = w.listen(80, 4096);
    let clients: Vec<_> = (0..300).map(|_| w.dial(80)).collect();
    // More than wait for a neighbour's address: the others are sent again.
    w.pass(seconds(3));
    let mut servers = Vec::new();
    while let Ok((server, _)) = w.b.tcp_accept(listener) {
        servers.push(server);
    }
    assert_eq!(servers.len(), 300);
    for round in 0..3 {
        for &client in &clients {
            send(&mut w.a, client, &pattern(700)).unwrap();
        }
        w.settle();
        let most = limits.tcp_buffers + 300 * 2048;
        assert!(w.b.tcp.buffered <= most, "{}", w.b.tcp.buffered);
        let mut answered = 0;
        for &server in &servers {
            let request = receive(&mut w.b, server, 999).unwrap_or_default();
            answered += usize::from(request == pattern(700));
            send(&mut w.b, server, b"answer").unwrap();
        }
        w.settle();
        assert_eq!(answered, 300, "round {round}");
        for &client in &clients {
            assert_eq!(receive(&mut w.a, client, 9), Ok(b"answer".to_vec()));
        }
        w.pass(seconds(1));
    }
    w.pass(seconds(2));
    assert_eq!(w.b.tcp.buffered, 0);
}

#[test]
fn sleepers_are_shut_down_closed_and_reset_like_others() {
    let mut w = World::new();
    let (a, b) = w.pair();
    w.pass(seconds(3));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    w.a.tcp_shutdown(a, false, true).unwrap();
    w.settle();
    assert_eq!(receive(&mut w.b, b, 9), Ok(Vec::new()));
    send(&mut w.b, b, &pattern(9000)).unwrap();
    w.pass(seconds(1));
    assert!(receive(&mut w.a, a, 9999) == Ok(pattern(9000)));
    w.b.close(b);
    w.a.close(a);
    w.pass(seconds(70));
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));

    let (a, b) = w.pair();
    w.pass(seconds(3));
    w.b.tcp_change_options(b, |o| o.linger = Some(0)).unwrap();
    w.b.close(b);
    w.settle();
    assert_eq!(w.a.take_error(a), Some(Errno::ECONNRESET));
    w.a.close(a);

    let (a, b) = w.pair();
    w.pass(seconds(3));
    w.a.close(a);
    w.b.close(b);
    w.pass(seconds(70));
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
}

#[test]
fn what_is_left_of_an_ended_connection_is_counted_until_it_is_read() {
    let mut w = World::new();
    let (a, b) = w.pair();
    send(&mut w.a, a, &pattern(5000)).unwrap();
    w.pass(seconds(1));
    w.a.tcp_change_options(a, |o| o.linger = Some(0)).unwrap();
    w.a.close(a);
    w.settle();
    assert_eq!(w.b.tcp.buffered, 5000, "no more than was not read");
    assert_eq!(receive(&mut w.b, b, 3000).unwrap(), pattern(5000)[..3000]);
    assert_eq!(w.b.tcp.buffered, 5000);
    assert_eq!(receive(&mut w.b, b, 9999).unwrap(), pattern(5000)[3000..]);
    assert_eq!(w.b.tcp.buffered, 0);
    w.b.close(b);

    let (a, b) = w.pair();
    send(&mut w.a, a, &pattern(5000)).unwrap();
    w.settle();
    w.a.close(a);
    w.settle();
    w.b.close(b);
    w.pass(seconds(200));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
}

#[test]
fn keep_alive_keeps_a_connection_awake_and_probes() {
    let mut w = World::new();
    let (a, b) = w.pair();
    w.pass(seconds(3));
    w.b.tcp_change_options(b, |o| {
        o.keeps_alive = true;
        o.keep_idle = seconds(10);
        o.keep_interval = seconds(1);
        o.keep_count = 3;
    })
    .unwrap();
    w.pass(seconds(100));
    assert_eq!(w.b.take_error(b), None);
    w.filter = Box::new(|_, _| Fault::Lose);
    w.pass(seconds(100));
    assert_eq!(w.b.take_error(b), Some(Errno::ETIMEDOUT));
    w.a.close(a);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Bursts with pauses in which both ends fall asleep, on a wire that loses, repeats and reorders.
    #[test]
    fn bursts_with_sleep_between_arrive_whole(
        seed in 1u64..,
        loss in 0u64..15,
        duplicates in 0u64..15,
        delays in 0u64..15,
        bursts in prop::collection::vec((1usize..9000, 0u64..3000), 1..8),
        buffer in 2048usize..100_000,
    ) {
        let mut w = World::new();
        let (a, b) = pair_of(&mut w, &TcpOptions::new(buffer));
        let mut dice = Dice(seed);
        w.filter = Box::new(move |_, _| match dice.roll(100) {
            n if n < loss => Fault::Lose,
            n if n < loss + duplicates => Fault::Duplicate,
            n if n < loss + duplicates + delays => Fault::Delay,
            _ => Fault::Deliver,
        });
        for (len, pause) in bursts {
            exchange(&mut w, a, b, &pattern(len), len.div_ceil(3));
            w.pass(ms(pause));
        }
        w.filter = Box::new(|_, _| Fault::Deliver);
        w.pass(seconds(70));
        prop_assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
        w.a.close(a);
        w.b.close(b);
        w.pass(seconds(200));
        prop_assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
        prop_assert_eq!((w.a.deadline(), w.b.deadline()), (None, None));
    }
}
