//! Many connections: the work for one does not grow with the number of others.

use super::*;

/// Counts what the stack looks at: entries in its lists of things to do.
#[test]
fn thousands_of_idle_connections_add_nothing_to_the_work_for_one() {
    const CONNECTIONS: usize = 5000;
    let small = TcpOptions::new(2048);
    let mut w = World::with_limits(Limits {
        tcp_buffers: 64 << 20,
        ..Limits::default()
    });
    let listener = w.listen(80, 4096);
    w.b.tcp_change_options(listener, |o| *o = small.clone())
        .unwrap();
    let mut pairs = Vec::new();
    for n in 0..CONNECTIONS {
        let client = w.a.tcp_socket(small.clone()).unwrap();
        w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
        w.settle();
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        pairs.push((client, server));
        if n % 1000 == 0 {
            assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
        }
    }
    w.pass(seconds(1));
    assert_eq!(
        (w.a.deadline(), w.b.deadline()),
        (None, None),
        "nothing to do for the idle"
    );
    assert_eq!(w.b.tcp.connections.len(), CONNECTIONS);
    let mut dice = Dice(7);
    let before = w.frames;
    for _ in 0..1000 {
        let (client, server) = pairs[dice.roll(CONNECTIONS as u64) as usize];
        send(&mut w.a, client, b"ping").unwrap();
        w.settle();
        assert_eq!(receive(&mut w.b, server, 9), Ok(b"ping".to_vec()));
        send(&mut w.b, server, b"pong").unwrap();
        w.settle();
        assert_eq!(receive(&mut w.a, client, 9), Ok(b"pong".to_vec()));
        w.pass(ms(20));
        assert!(w.a.dirty.is_empty() && w.b.dirty.is_empty());
    }
    // Two segments with data and, when both are at rest, one acknowledgement.
    assert!(w.frames - before <= 3500, "{}", w.frames - before);
    for (client, server) in pairs {
        w.a.close(client);
        w.b.close(server);
    }
    w.b.close(listener);
    w.pass(seconds(61));
    assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
    assert_eq!((w.a.tcp.buffered, w.b.tcp.buffered), (0, 0));
    assert_eq!((w.a.tcp.time_waits.len(), w.b.tcp.time_waits.len()), (0, 0));
    assert!(w.b.ports_tcp.is_free(80));
}

/// A stack under a flood: as many requests as it keeps, none of which is ever acknowledged.
fn flooded(limit: usize) -> (World, SocketId) {
    let limits = Limits {
        half_open: limit,
        ..Limits::default()
    };
    let mut w = World::with_limits(limits);
    let listener = w.listen(80, 64);
    w.filter = Box::new(|side, frame| match segment(frame) {
        // A flooder never acknowledges.
        Some(s) if side == Side::A && !s.syn() => Fault::Lose,
        _ => Fault::Deliver,
    });
    w.dial(80);
    w.settle();
    for _ in 0..limit + 400 {
        w.dial(80);
        w.settle();
    }
    assert_eq!(w.b.tcp.half_open.len(), limit);
    w.filter = Box::new(|_, _| Fault::Deliver);
    (w, listener)
}

#[test]
fn flood_of_requests_is_bounded_and_others_are_served_meanwhile() {
    let (mut w, listener) = flooded(100);
    assert_eq!(w.b.tcp.buffered, 0, "requests have no buffers");
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    let (server, peer) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(peer, w.a.tcp_local(client).unwrap());
    transfer::exchange(&mut w, client, server, &transfer::pattern(100_000), 5000);
    assert!(w.b.tcp.half_open.len() <= 100);
    // These flooders answer in the end, when they are asked again.
    w.pass(seconds(130));
    while w.b.tcp_accept(listener).is_ok() {}
    assert_eq!(w.b.tcp.half_open.len(), 0);
}

#[test]
fn acknowledgements_that_bring_no_cookie_back_are_refused() {
    let (mut w, listener) = flooded(4);
    while w.b.tcp_accept(listener).is_ok() {}
    let client = w.dial(80);
    w.a.poll(w.now);
    let syn = w.cards[0].with(|c| core::mem::take(&mut c.sent));
    w.cards[1].with(|c| c.received.extend(syn));
    w.b.on_interrupt(w.now);
    let answer = w.cards[1].with(|c| core::mem::take(&mut c.sent));
    w.cards[0].with(|c| c.received.extend(answer));
    w.a.on_interrupt(w.now);
    let ack = w.cards[0].with(|c| c.sent.pop_front()).unwrap();
    let forge = |by: i32| {
        let mut frame = ack.clone();
        let mut tcp = TcpPacket::new_unchecked(&mut frame[34..]);
        let number = tcp.ack_number().0.wrapping_add(by);
        tcp.set_ack_number(smoltcp::wire::TcpSeqNumber(number));
        tcp.fill_checksum(&A.into(), &B.into());
        frame
    };
    let try_frame = |w: &mut World, frame: Vec<u8>| {
        w.cards[1].with(|c| c.received.push_back(frame));
        w.b.on_interrupt(w.now);
        let refused = w.cards[1].with(|c| core::mem::take(&mut c.sent));
        let is_reset = refused.iter().filter_map(|f| segment(f)).any(|s| s.rst());
        (is_reset, w.b.tcp_accept(listener).is_ok())
    };
    for by in [1, -1, 1 << 24, 1 << 27, 12345] {
        assert_eq!(try_frame(&mut w, forge(by)), (true, false), "{by}");
    }
    let start = w.now;
    w.now = start + seconds(129);
    assert_eq!(try_frame(&mut w, forge(0)), (true, false), "too late");
    w.a.close(client);
}

#[test]
fn turn_has_a_budget_and_asks_for_another() {
    let mut w = World::new();
    w.pair();
    w.pass(seconds(2));
    let noise = core::iter::repeat_n(alloc::vec![0xff; 60], 3000);
    w.cards[1].with(|c| c.received.extend(noise));
    w.b.on_interrupt(w.now);
    assert!(w.cards[1].with(|c| !c.received.is_empty()));
    assert_eq!(w.b.deadline(), Some(w.now));
    w.b.on_interrupt(w.now);
    assert!(w.cards[1].with(|c| c.received.is_empty() && c.interrupts));
    assert_eq!(w.b.deadline(), None);
}

#[test]
fn card_that_outran_the_turns_is_asked_for_interrupts_again() {
    let mut w = World::new();
    w.pair();
    let noise = core::iter::repeat_n(alloc::vec![0xff; 60], 3000);
    w.cards[1].with(|c| c.received.extend(noise));
    w.b.on_interrupt(w.now);
    assert!(w.cards[1].with(|c| !c.received.is_empty() && !c.interrupts));
    while w.b.deadline().is_some_and(|at| at <= w.now) {
        // The timer's turn.
        w.b.poll(w.now);
    }
    assert!(w.cards[1].with(|c| c.received.is_empty() && c.interrupts));
}

#[test]
fn timers_pass_although_the_card_has_always_more() {
    let mut w = World::new();
    let (_, b) = w.pair();
    w.pass(seconds(2));
    let noise = |count| core::iter::repeat_n(alloc::vec![0xff; 60], count);
    w.cards[1].with(|c| c.received.extend(noise(3000)));
    w.b.on_interrupt(w.now);
    send(&mut w.b, b, b"lost").unwrap();
    w.b.poll_if_due(w.now);
    w.cards[1].with(|c| c.sent.clear());
    for _ in 0..20 {
        w.cards[1].with(|c| c.received.extend(noise(600)));
        w.now = w.now + ms(100);
        w.b.set_now(w.now);
        assert_eq!(w.b.poll_if_due(w.now), Some(w.now), "there is more");
    }
    assert!(w.b.mib().tcp.repeated > 0);
}

#[test]
fn ephemeral_ports_run_out_with_an_error_and_are_shared_between_peers() {
    let mut w = World::new();
    let count = crate::ports::ephemeral_count();
    let sharing = crate::ports::Sharing {
        address: true,
        port: false,
    };
    for n in 0..count {
        let device = None;
        let by = crate::ports::Use { device, sharing };
        w.a.ports_tcp.hold(at(A, crate::ports::ephemeral(n)), by);
    }
    let s = w.a.tcp_socket(options()).unwrap();
    assert_eq!(w.a.tcp_bind(s, at(ANY, 0)), Err(Errno::EADDRINUSE));
    assert_eq!(
        w.a.tcp_connect(s, at(B, 80), w.now),
        Ok(()),
        "another peer shares a port"
    );
    let t = w.a.tcp_socket(options()).unwrap();
    for n in 0..count {
        let port = crate::ports::ephemeral(n);
        let any = crate::ports::Bound {
            ip: ANY.into(),
            is_v6_only: false,
            device: None,
        };
        let _ = w.a.ports_tcp.bind(t, any, port, sharing);
    }
    let u = w.a.tcp_socket(options()).unwrap();
    assert_eq!(
        w.a.tcp_connect(u, at(B, 80), w.now),
        Err(Errno::EADDRNOTAVAIL)
    );
}

#[test]
fn orphans_are_bounded_and_the_rest_is_reset() {
    let limits = Limits {
        tcp_buffers: 1 << 20,
        ..Limits::default()
    };
    let most = limits.orphans();
    let mut w = World::with_limits(Limits::default());
    w.b = stack(&w.cards[1], B, limits);
    for is_small in [false, true] {
        if is_small {
            w.b.limits.tcp_buffers = 100 * 2048;
        }
        let listener = w.listen(80, 1000);
        w.b.tcp_change_options(listener, |o| *o = TcpOptions::new(2048))
            .unwrap();
        let clients: Vec<_> = (0..120).map(|_| w.dial(80)).collect();
        w.pass(seconds(3));
        let mut servers = Vec::new();
        while let Ok((server, _)) = w.b.tcp_accept(listener) {
            servers.push(server);
        }
        assert_eq!(servers.len(), 120);
        w.b.close(listener);
        // They say goodbye, and nobody listens.
        w.filter = Box::new(|_, _| Fault::Lose);
        for server in servers {
            w.b.close(server);
            w.settle();
            assert!(w.b.tcp.orphans <= most);
            assert!(w.b.tcp.buffered <= w.b.limits.tcp_buffers);
        }
        assert_eq!(w.b.tcp.orphans, w.b.sockets.len());
        assert!(w.b.tcp.orphans > 1);
        w.pass(seconds(200));
        assert_eq!((w.b.tcp.orphans, w.b.sockets.len()), (0, 0));
        w.filter = Box::new(|_, _| Fault::Deliver);
        for client in clients {
            w.a.close(client);
        }
        w.pass(seconds(1000));
    }
}

/// `cargo test --release -p tyn-net turns -- --ignored --nocapture`: what the stack, all of which is under one lock, costs
/// for a small request and its answer, both ends and the cards between them together.
#[test]
#[ignore = "a measurement"]
fn turns_of_a_request() {
    const ROUNDS: u32 = 50_000;
    let mut w = World::new();
    let (a, b) = w.pair();
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        send(&mut w.a, a, &[7; 100]).unwrap();
        w.a.poll(w.now);
        w.carry(Side::A);
        w.b.on_interrupt(w.now);
        receive(&mut w.b, b, 200).unwrap();
        send(&mut w.b, b, &[7; 300]).unwrap();
        w.b.poll(w.now);
        w.carry(Side::B);
        w.a.on_interrupt(w.now);
        receive(&mut w.a, a, 400).unwrap();
    }
    std::println!(
        "{:?} for a request and its answer",
        start.elapsed() / ROUNDS
    );
}
