//! Calls on TCP sockets in every state: names, errors, readiness, options.

use super::*;
use crate::TcpStatus;

#[test]
fn fresh_socket_is_writable_and_hung_up_and_knows_nobody() {
    let mut w = World::new();
    let s = w.a.tcp_socket(options()).unwrap();
    assert_eq!(w.a.readiness(s), Events::OUT | Events::WRNORM | Events::HUP);
    assert_eq!(w.a.tcp_local(s), Ok(at(ANY, 0)));
    assert_eq!(w.a.tcp_remote(s), Err(Errno::ENOTCONN));
    assert_eq!(receive(&mut w.a, s, 1), Err(Errno::ENOTCONN));
    assert_eq!(send(&mut w.a, s, b"x"), Err(Errno::EPIPE));
    assert_eq!(w.a.tcp_shutdown(s, true, true), Err(Errno::ENOTCONN));
    assert_eq!(w.a.tcp_accept(s), Err(Errno::EINVAL));
    assert_eq!(w.a.tcp_queues(s), Ok((0, 0)));
    w.a.close(s);
    assert_eq!(w.a.tcp_local(s), Err(Errno::EBADF));
    assert_eq!(w.a.tcp_status(s), Err(Errno::EBADF));
    w.settle();
    assert!(w.wakes.is_empty());
}

#[test]
fn binding_checks_address_and_port() {
    let mut w = World::new();
    let s = w.a.tcp_socket(options()).unwrap();
    assert_eq!(w.a.tcp_bind(s, at(B, 80)), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(
        w.a.tcp_bind(s, at(Ipv4Addr::BROADCAST, 80)),
        Err(Errno::EADDRNOTAVAIL)
    );
    assert_eq!(w.a.tcp_bind(s, at(ANY, 80)), Ok(()));
    assert_eq!(w.a.tcp_bind(s, at(ANY, 81)), Err(Errno::EINVAL));
    let t = w.a.tcp_socket(options()).unwrap();
    assert_eq!(w.a.tcp_bind(t, at(LO, 80)), Err(Errno::EADDRINUSE));
    assert_eq!(w.a.tcp_bind(t, at(LO, 0)), Ok(()));
    let chosen = w.a.tcp_local(t).unwrap();
    assert!(crate::ports::EPHEMERAL.contains(&chosen.port()));
    let u = w.a.tcp_socket(options()).unwrap();
    assert_eq!(w.a.tcp_listen(u, 5), Ok(()), "listening chooses a port");
    assert_ne!(w.a.tcp_local(u).unwrap().port(), 0);
    assert_eq!(w.a.tcp_status(u), Ok(TcpStatus::Listen));
    assert_eq!(w.a.tcp_queues(u), Err(Errno::EINVAL));
    for s in [s, t, u] {
        w.a.close(s);
    }
    assert!(w.a.ports_tcp.is_free(80) && w.a.ports_tcp.is_free(chosen.port()));
}

#[test]
fn listening_twice_changes_the_backlog_and_lets_the_waiting_in() {
    let mut w = World::new();
    let listener = w.listen(80, 0);
    for _ in 0..5 {
        w.dial(80);
    }
    w.settle();
    let queue_len = |w: &mut World| {
        let mut n = 0;
        while w.b.tcp_accept(listener).is_ok() {
            n += 1;
        }
        n
    };
    w.b.tcp_listen(listener, 10).unwrap();
    assert_eq!(queue_len(&mut w), 5);
}

#[test]
fn shutdown_of_a_listener_stops_it() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    w.b.tcp_shutdown(listener, true, false).unwrap();
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EINVAL));
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.a.take_error(client), Some(Errno::ECONNREFUSED));
    assert_eq!(w.b.tcp_listen(listener, 4), Ok(()));
}

#[test]
fn connecting_is_refused_where_it_makes_no_sense() {
    let mut w = World::new();
    let s = w.a.tcp_socket(options()).unwrap();
    let far = at(Ipv4Addr::new(10, 0, 0, 255), 80);
    assert_eq!(w.a.tcp_connect(s, far, w.now), Err(Errno::ENETUNREACH));
    assert_eq!(
        w.a.tcp_connect(s, at(Ipv4Addr::BROADCAST, 1), w.now),
        Err(Errno::ENETUNREACH)
    );
    let multicast = at(Ipv4Addr::new(224, 0, 0, 1), 80);
    assert_eq!(
        w.a.tcp_connect(s, multicast, w.now),
        Err(Errno::ENETUNREACH)
    );
    w.a.tcp_bind(s, at(LO, 0)).unwrap();
    assert_eq!(w.a.tcp_connect(s, at(B, 80), w.now), Err(Errno::EINVAL));
    assert_eq!(w.a.tcp_connect(s, at(A, 80), w.now), Ok(()));
    let known = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_bind(known, at(A, 0)).unwrap();
    assert_eq!(w.a.tcp_connect(known, at(LO, 80), w.now), Ok(()));
    let listener = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_listen(listener, 1).unwrap();
    assert_eq!(
        w.a.tcp_connect(listener, at(B, 80), w.now),
        Err(Errno::EISCONN)
    );
    let t = w.dial(80);
    assert_eq!(w.a.tcp_connect(t, at(B, 80), w.now), Err(Errno::EALREADY));
    assert_eq!(receive(&mut w.a, t, 1), Err(Errno::EAGAIN));
    assert_eq!(send(&mut w.a, t, b"x"), Err(Errno::EAGAIN));
    assert_eq!(w.a.tcp_listen(t, 1), Err(Errno::EINVAL));
}

#[test]
fn stack_without_a_card_has_only_loopback() {
    let config = StackConfig {
        device: None,
        ip: IpConfig::Dhcp,
        ip6: Ip6Config::Off,
        entropy: [1; 32],
        limits: Limits::default(),
        free_memory: plenty(),
    };
    let mut stack = Stack::new(config, Nanos(0));
    stack.on_interrupt(Nanos(0));
    assert_eq!((stack.lease(), stack.deadline()), (None, None));
    assert_eq!(stack.card(), None);
    let s = stack.tcp_socket(options()).unwrap();
    assert_eq!(
        stack.tcp_connect(s, at(B, 80), Nanos(0)),
        Err(Errno::ENETUNREACH)
    );
    stack.tcp_listen(s, 5).unwrap();
    let port = stack.tcp_local(s).unwrap().port();
    let c = stack.tcp_socket(options()).unwrap();
    stack.tcp_connect(c, at(LO, port), Nanos(0)).unwrap();
    stack.poll(Nanos(0));
    assert!(stack.tcp_accept(s).is_ok());
}

#[test]
fn reads_that_ask_for_nothing_and_peeks_leave_everything() {
    let mut w = World::new();
    let (client, server) = w.pair();
    assert_eq!(receive(&mut w.b, server, 0), Ok(Vec::new()));
    send(&mut w.a, client, b"abcdef").unwrap();
    w.settle();
    let mut buffer = [0; 3];
    for _ in 0..2 {
        let n = w.b.tcp_receive(server, Take::Peek, &mut &mut buffer[..]);
        assert_eq!((n, &buffer), (Ok(3), b"abc"));
    }
    assert_eq!(w.b.tcp_queues(server), Ok((6, 0)));
    assert_eq!(
        w.b.tcp_receive(server, Take::Discard(2), &mut &mut [][..]),
        Ok(2)
    );
    assert_eq!(receive(&mut w.b, server, 9), Ok(b"cdef".to_vec()));
}

#[test]
fn readiness_follows_both_queues() {
    let mut w = World::new();
    let (client, server) = w.pair();
    assert_eq!(w.a.readiness(client), Events::OUT | Events::WRNORM);
    let mut total = 0;
    loop {
        match send(&mut w.a, client, &[7; 5000]) {
            Ok(n) => total += n,
            Err(e) => break assert_eq!(e, Errno::EAGAIN),
        }
        w.pass(ms(200));
    }
    // Both queues are full now: 16 KiB here and 16 KiB there.
    assert_eq!(total, 32768);
    assert_eq!(w.a.readiness(client), Events::empty());
    assert!(w.take_wakes(Side::B, server).contains(Events::IN));
    assert_eq!(receive(&mut w.b, server, 4000).map(|v| v.len()), Ok(4000));
    w.pass(seconds(1));
    assert_eq!(
        w.take_wakes(Side::A, client),
        Events::empty(),
        "not enough room yet"
    );
    assert_eq!(receive(&mut w.b, server, 8000).map(|v| v.len()), Ok(8000));
    w.pass(seconds(1));
    assert!(w.take_wakes(Side::A, client).contains(Events::OUT));
}

#[test]
fn each_arrival_is_told_although_the_socket_is_readable_already() {
    let mut w = World::new();
    let (client, server) = w.pair();
    for _ in 0..3 {
        send(&mut w.a, client, b"more").unwrap();
        w.settle();
        assert_eq!(w.take_wakes(Side::B, server), Events::IN | Events::RDNORM);
        w.pass(ms(50));
        assert_eq!(w.take_wakes(Side::B, server), Events::empty());
    }
}

#[test]
fn low_water_mark_holds_readiness_back() {
    let mut w = World::new();
    let (client, server) = w.pair();
    w.b.tcp_change_options(server, |o| o.low_water = 8).unwrap();
    send(&mut w.a, client, b"1234").unwrap();
    w.settle();
    assert!(!w.b.readiness(server).contains(Events::IN));
    send(&mut w.a, client, b"5678").unwrap();
    w.pass(ms(50));
    assert!(w.b.readiness(server).contains(Events::IN));
}

#[test]
fn tos_and_ttl_are_in_every_packet() {
    let mut w = World::new();
    let (client, _) = w.pair();
    w.a.tcp_change_options(client, |o| (o.tos, o.ttl) = (0x48, 9))
        .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    w.filter = Box::new(move |side, frame| {
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert!(ip.verify_checksum());
        if side == Side::A {
            let tos = ip.dscp() << 2 | ip.ecn();
            log.lock().unwrap().push((tos, ip.hop_limit()));
        }
        Fault::Deliver
    });
    send(&mut w.a, client, b"x").unwrap();
    w.settle();
    assert_eq!(*seen.lock().unwrap(), [(0x48, 9)]);
}

#[test]
fn no_delay_sends_small_segments_at_once() {
    for (no_delay, segments) in [(true, 3), (false, 1)] {
        let mut w = World::new();
        let (client, server) = w.pair();
        w.a.tcp_change_options(client, |o| o.no_delay = no_delay)
            .unwrap();
        let count = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&count);
        w.filter = Box::new(move |side, frame| {
            if side == Side::A && segment(frame).is_some_and(|s| !s.payload().is_empty()) {
                *counter.lock().unwrap() += 1;
            }
            Fault::Deliver
        });
        for _ in 0..3 {
            send(&mut w.a, client, b"x").unwrap();
            w.a.poll(w.now);
        }
        w.settle();
        assert_eq!(*count.lock().unwrap(), segments);
        w.pass(seconds(1));
        assert_eq!(receive(&mut w.b, server, 9), Ok(b"xxx".to_vec()));
    }
}

#[test]
fn longest_segment_holds_both_ways() {
    for is_listeners in [true, false] {
        let mut w = World::new();
        let longest = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&longest);
        w.filter = Box::new(move |_, frame| {
            let len = segment(frame).map_or(0, |s| s.payload().len());
            let mut seen = seen.lock().unwrap();
            *seen = len.max(*seen);
            Fault::Deliver
        });
        let listener = w.listen(80, 4);
        let client = w.a.tcp_socket(options()).unwrap();
        let limit = |o: &mut TcpOptions| o.longest_segment = Some(700);
        if is_listeners {
            w.b.tcp_change_options(listener, limit).unwrap();
        } else {
            w.a.tcp_change_options(client, limit).unwrap();
        }
        w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
        w.settle();
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        send(&mut w.a, client, &[1; 9000]).unwrap();
        send(&mut w.b, server, &[1; 9000]).unwrap();
        w.pass(seconds(1));
        assert_eq!(*longest.lock().unwrap(), 688, "less the timestamps");
    }
}

#[test]
fn queues_take_the_size_asked_for_and_memory_is_bounded() {
    let limits = Limits {
        tcp_buffers: 100_000,
        ..Limits::default()
    };
    let mut w = World::with_limits(limits);
    w.a.limits.tcp_buffers = 1 << 20;
    let listener = w.listen(80, 100);
    w.b.tcp_change_options(listener, |o| o.receive_buffer = 40_000)
        .unwrap();
    let mut full = Vec::new();
    let mut queued = 0;
    for n in 0..7 {
        let client = w.dial(80);
        w.settle();
        assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        for _ in 0..20 {
            while send(&mut w.a, client, &[7; 5000]).is_ok() {}
            w.pass(seconds(1));
        }
        // A queue that grows moves: it gets half of what there is, if not all.
        let left = 100_000usize.saturating_sub(queued);
        let (got, _) = w.b.tcp_queues(server).unwrap();
        let fair = 1024.max(40_000.min(left / 2))..=1024.max(40_000.min(left));
        assert!(fair.contains(&got), "{n}: {got} of {left}");
        queued += got;
        full.push(server);
    }
    assert!(queued >= 95_000, "{queued}");
    assert!(
        w.b.tcp.buffered <= 100_000 + 2 * 1024,
        "the least is for all"
    );
    let mut read = 0;
    for _ in 0..1000 {
        for &server in &full {
            read += receive(&mut w.b, server, 9000).map_or(0, |b| b.len());
        }
        w.pass(ms(300));
    }
    assert_eq!(read, queued + 7 * 16_384, "nothing was lost");
    w.pass(seconds(5));
    assert_eq!(w.b.tcp.buffered, 0);
}
