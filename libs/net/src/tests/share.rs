//! Sockets that share a port (`SO_REUSEPORT`), and those that are bound to an interface (`SO_BINDTODEVICE`).

use super::*;
use crate::types::Tuple;
use crate::{Path, UdpSend};

const GROUP: usize = 5;

fn listener(stack: &mut Stack, backlog: usize) -> SocketId {
    let mut options = options();
    options.reuses_port = true;
    let id = stack.tcp_socket(options).unwrap();
    stack.tcp_bind(id, at(ANY, 80)).unwrap();
    stack.tcp_listen(id, backlog).unwrap();
    id
}

fn member(stack: &mut Stack, port: u16) -> SocketId {
    let id = stack.udp_socket().unwrap();
    stack
        .udp_change_options(id, |o| o.reuses_port = true)
        .unwrap();
    stack.udp_bind(id, at(ANY, port)).unwrap();
    id
}

/// Peers that differ in address, in port, or in both.
fn peers() -> impl Iterator<Item = Tuple> {
    let remotes = (0..200u32).flat_map(|host| {
        let ip = Ipv4Addr::from(0x0a00_0100 + host);
        (0..100u16).map(move |n| at(ip, 32_768 + 2 * n))
    });
    remotes.map(|remote| Tuple {
        local: at(B, 80),
        remote,
    })
}

#[test]
fn each_of_a_group_gets_its_share_and_a_peer_always_meets_the_same() {
    let mut w = World::new();
    let ids: Vec<SocketId> = (0..GROUP).map(|_| listener(&mut w.b, 9)).collect();
    let sockets: Vec<SocketId> = (0..GROUP).map(|_| member(&mut w.b, 80)).collect();
    let mut shares = [[0; GROUP]; 2];
    for tuple in peers() {
        let listener = |w: &World| {
            let share = || w.b.secret.share(&tuple);
            w.b.tcp.listener(tuple.local, Path::Nic, share).unwrap()
        };
        let socket = |w: &World| w.b.udp_best(Path::Nic, &tuple).unwrap();
        let (l, s) = (listener(&w), socket(&w));
        assert_eq!((l, s), (listener(&w), socket(&w)));
        shares[0][ids.iter().position(|&id| id == l).unwrap()] += 1;
        shares[1][sockets.iter().position(|&id| id == s).unwrap()] += 1;
    }
    // 4000 each of 20,000; five standard deviations are 283.
    for share in shares.into_iter().flatten() {
        assert!((3717..=4283).contains(&share), "{shares:?}");
    }
}

#[test]
fn connections_of_a_listener_that_closes_are_reset_and_others_go_on() {
    let mut w = World::new();
    let ids: Vec<SocketId> = (0..3).map(|_| listener(&mut w.b, 64)).collect();
    let clients: Vec<SocketId> = (0..60).map(|_| w.dial(80)).collect();
    w.settle();
    let queued = |w: &World, id| match w.b.sockets.get(id) {
        Some(crate::stack::Socket::Tcp(s)) => match &s.state {
            crate::tcp::TcpState::Listening(l) => l.queue.len(),
            _ => 0,
        },
        _ => 0,
    };
    let counts: Vec<usize> = ids.iter().map(|&id| queued(&w, id)).collect();
    assert_eq!(counts.iter().sum::<usize>(), 60);
    assert!(counts.iter().all(|&n| n > 5), "{counts:?}");
    w.b.close(ids[1]);
    w.settle();
    let reset = clients
        .iter()
        .filter(|&&c| w.a.take_error(c) == Some(Errno::ECONNRESET));
    assert_eq!(reset.count(), counts[1]);
    assert_eq!(
        [queued(&w, ids[0]), queued(&w, ids[2])],
        [counts[0], counts[2]]
    );
    for _ in 0..10 {
        w.dial(80);
    }
    w.settle();
    assert_eq!(
        queued(&w, ids[0]) + queued(&w, ids[2]),
        counts[0] + counts[2] + 10
    );
}

#[test]
fn full_listener_of_a_group_drops_what_is_its_own() {
    let mut w = World::new();
    let ids = [listener(&mut w.b, 0), listener(&mut w.b, 64)];
    for _ in 0..40 {
        w.dial(80);
    }
    w.settle();
    let mut accepted = [0; 2];
    // Only what is there now: who accepts makes room for those that wait.
    for (n, &id) in ids.iter().enumerate() {
        if w.b.tcp_accept(id).is_ok() {
            accepted[n] += 1;
        }
    }
    assert_eq!(accepted, [1, 1]);
    let held = w.b.tcp.connections.len();
    assert!((12..40).contains(&held), "{held}");
}

#[test]
fn group_without_the_option_and_connected_members_do_not_share() {
    let mut w = World::new();
    let ids = [
        member(&mut w.b, 90),
        member(&mut w.b, 90),
        member(&mut w.b, 90),
    ];
    let tuple = |port| Tuple {
        local: at(B, 90),
        remote: at(A, port),
    };
    w.b.udp_connect(ids[0], Some(at(A, 7))).unwrap();
    assert_eq!(w.b.udp_best(Path::Nic, &tuple(7)), Some(ids[0]));
    for port in 1000..1100 {
        assert_ne!(w.b.udp_best(Path::Nic, &tuple(port)), Some(ids[0]));
    }
    for id in ids {
        w.b.udp_change_options(id, |o| o.reuses_port = false)
            .unwrap();
    }
    assert_eq!(w.b.udp_best(Path::Nic, &tuple(1000)), Some(ids[2]));
}

fn send_by(stack: &mut Stack, device: Option<Path>, to: SocketAddr) -> Result<usize, Errno> {
    let id = stack.udp_socket().unwrap();
    stack.udp_change_options(id, |o| o.device = device).unwrap();
    let how = UdpSend {
        to: Some(to),
        ..UdpSend::default()
    };
    stack.udp_send_with(id, &how, &mut &b"x"[..])
}

#[test]
fn bound_socket_hears_and_speaks_by_its_interface_alone() {
    let mut w = World::new();
    let mut ids = Vec::new();
    for device in [None, Some(Path::Nic), Some(Path::Loopback)] {
        let id = w.b.udp_socket().unwrap();
        let change = |o: &mut crate::UdpOptions| (o.device, o.reuses_address) = (device, true);
        w.b.udp_change_options(id, change).unwrap();
        w.b.udp_bind(id, at(ANY, 90)).unwrap();
        ids.push(id);
    }
    let best = |w: &World, path, to| {
        let tuple = Tuple {
            local: at(to, 90),
            remote: at(A, 7),
        };
        w.b.udp_best(path, &tuple)
    };
    assert_eq!(best(&w, Path::Nic, B), Some(ids[1]));
    assert_eq!(
        best(&w, Path::Loopback, B),
        Some(ids[1]),
        "the card's own address"
    );
    assert_eq!(best(&w, Path::Loopback, LO), Some(ids[2]));
    for &id in &ids[1..] {
        w.b.close(id);
    }
    assert_eq!(best(&w, Path::Nic, B), Some(ids[0]));
    // By the card 127.0.0.1 is somebody else's, and by loopback everything is ours.
    assert_eq!(send_by(&mut w.b, Some(Path::Nic), at(LO, 90)), Ok(1));
    w.settle();
    assert_eq!(w.b.udp_next_len(ids[0]), 0);
    assert_eq!(send_by(&mut w.b, Some(Path::Loopback), at(A, 90)), Ok(1));
    w.settle();
    assert_eq!(w.b.udp_next_len(ids[0]), 1);
    let six = SocketAddr::new("2001:db8::1".parse().unwrap(), 9);
    let id = w.b.udp_socket_v6().unwrap();
    w.b.udp_change_options(id, |o| o.device = Some(Path::Loopback))
        .unwrap();
    assert_eq!(
        w.b.udp_send(id, Some(six), &mut &b"x"[..]),
        Err(Errno::ENETUNREACH)
    );
}

#[test]
fn listener_and_connection_by_one_interface() {
    let mut w = World::new();
    let mut bound = options();
    bound.device = Some(Path::Loopback);
    let l = w.b.tcp_socket(bound.clone()).unwrap();
    w.b.tcp_bind(l, at(ANY, 80)).unwrap();
    w.b.tcp_listen(l, 4).unwrap();
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.a.take_error(client), Some(Errno::ECONNREFUSED));
    let own = w.b.tcp_socket(bound).unwrap();
    // It is ours by loopback, as everything is.
    w.b.tcp_connect(own, at(A, 80), w.now).unwrap();
    w.settle();
    assert_eq!(w.b.tcp_connect_result(own), Some(Ok(())));
    let (child, _) = w.b.tcp_accept(l).unwrap();
    assert_eq!(w.b.tcp_options(child).unwrap().device, Some(Path::Loopback));
    // Set while it listens, it holds at once.
    w.b.tcp_change_options(l, |o| o.device = Some(Path::Nic))
        .unwrap();
    let client = w.dial(80);
    w.settle();
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
}

#[test]
fn connection_ends_when_its_socket_is_bound_to_another_interface() {
    let mut w = World::new();
    let (a, b) = w.pair();
    let bind = |w: &mut World, device| {
        w.b.tcp_change_options(b, |o| o.device = device).unwrap();
    };
    for device in [Some(Path::Nic), None] {
        bind(&mut w, device);
        send(&mut w.a, a, b"x").unwrap();
        w.pass(seconds(1));
        assert_eq!(receive(&mut w.b, b, 9), Ok(b"x".to_vec()));
    }
    bind(&mut w, Some(Path::Loopback));
    let before = w.frames;
    send(&mut w.b, b, b"lost").unwrap();
    w.pass(seconds(1));
    assert_eq!(w.frames, before, "nothing leaves");
    send(&mut w.a, a, b"x").unwrap();
    w.settle();
    assert_eq!(w.a.take_error(a), Some(Errno::ECONNRESET));
    assert_eq!(receive(&mut w.b, b, 9), Err(Errno::EAGAIN));
    bind(&mut w, None);
    w.pass(seconds(60));
    assert_eq!(
        w.b.take_error(b),
        Some(Errno::ECONNRESET),
        "its peer knows no more"
    );
}
