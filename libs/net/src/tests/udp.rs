//! UDP: datagrams, ports, errors that come back.

use super::*;
use crate::{FilterMode, Path, UdpReceived};

fn socket(stack: &mut Stack, address: Ipv4Addr, port: u16) -> SocketId {
    let id = stack.udp_socket().unwrap();
    stack.udp_bind(id, at(address, port)).unwrap();
    id
}

fn take(stack: &mut Stack, id: SocketId, max: usize) -> Result<(Vec<u8>, UdpReceived), Errno> {
    let mut buffer = alloc::vec![0; max];
    let received = stack.udp_receive(id, false, &mut &mut buffer[..])?;
    buffer.truncate(received.copied);
    Ok((buffer, received))
}

fn put(
    stack: &mut Stack,
    id: SocketId,
    to: Option<SocketAddr>,
    mut data: &[u8],
) -> Result<usize, Errno> {
    stack.udp_send(id, to, &mut data)
}

#[test]
fn datagrams_keep_their_bounds_and_tell_their_sender() {
    let mut w = World::new();
    let a = socket(&mut w.a, ANY, 1000);
    let b = socket(&mut w.b, ANY, 2000);
    assert_eq!(put(&mut w.a, a, Some(at(B, 2000)), b"one"), Ok(3));
    assert_eq!(put(&mut w.a, a, Some(at(B, 2000)), b""), Ok(0));
    w.settle();
    assert_eq!(w.take_wakes(Side::B, b), Events::IN | Events::RDNORM);
    assert_eq!(w.b.udp_next_len(b), 3);
    let mut start = [0; 2];
    let peeked = w.b.udp_receive(b, true, &mut &mut start[..]).unwrap();
    assert_eq!((peeked.copied, peeked.len, &start), (2, 3, b"on"));
    let (data, from) = take(&mut w.b, b, 99).unwrap();
    assert_eq!(data, b"one");
    let expected = UdpReceived {
        source: at(A, 1000),
        destination: B.into(),
        path: Path::Nic,
        at: w.now,
        tos: 0,
        ttl: 64,
        copied: 3,
        len: 3,
    };
    assert_eq!(from, expected);
    assert_eq!(take(&mut w.b, b, 99).unwrap().1.len, 0);
    assert_eq!(take(&mut w.b, b, 99).err(), Some(Errno::EAGAIN));
}

#[test]
fn owner_learns_once_that_the_card_must_be_told_of_what_was_queued() {
    let mut w = World::new();
    let a = socket(&mut w.a, ANY, 1000);
    w.settle();
    let _ = w.a.take_rings();
    w.a.poll(w.now);
    assert!(w.a.take_rings().is_empty());
    assert_eq!(put(&mut w.a, a, Some(at(B, 2000)), b"one"), Ok(3));
    w.a.poll(w.now);
    w.a.poll(w.now);
    assert!(!w.a.take_rings().is_empty() && w.a.take_rings().is_empty());
}

#[test]
fn turn_is_taken_when_there_is_something_to_do() {
    let mut w = World::new();
    let a = socket(&mut w.a, ANY, 1000);
    w.settle();
    let _ = w.a.take_rings();
    let sent = |w: &World| w.cards[0].with(|c| c.sent.len());
    // Nothing: the frame that waits comes with the interrupt.
    w.a.udp_change_options(a, |o| o.ttl = 9).unwrap();
    w.cards[0].with(|c| c.received.push_back(alloc::vec![0; 60]));
    let deadline = w.a.poll_if_due(w.now);
    assert!(deadline.is_none_or(|at| at > w.now));
    assert_eq!(w.cards[0].with(|c| c.received.len()), 1);
    // Something to send, now or by a timer that has come.
    assert_eq!(put(&mut w.a, a, Some(at(B, 2000)), b"one"), Ok(3));
    let _ = w.a.poll_if_due(w.now);
    assert!(!w.a.take_rings().is_empty());
    assert_eq!(w.cards[0].with(|c| c.received.len()), 0);
    let before = sent(&w);
    w.a.udp_join(
        a,
        Ipv4Addr::new(239, 1, 2, 3).into(),
        Some(Path::Nic),
        FilterMode::Exclude,
    )
    .unwrap();
    let _ = w.a.poll_if_due(w.now);
    assert!(!w.a.take_rings().is_empty() && sent(&w) > before);
    // And what its owner sends to itself.
    assert_eq!(put(&mut w.a, a, Some(at(A, 1000)), b"two"), Ok(3));
    let _ = w.a.poll_if_due(w.now);
    assert_eq!(w.a.udp_next_len(a), 3);
}

#[test]
fn connected_socket_hears_only_its_peer_and_its_refusals() {
    let mut w = World::new();
    let a = socket(&mut w.a, ANY, 4000);
    assert_eq!(put(&mut w.a, a, None, b"x"), Err(Errno::EDESTADDRREQ));
    assert_eq!(w.a.udp_remote(a), Err(Errno::ENOTCONN));
    w.a.udp_connect(a, Some(at(B, 9))).unwrap();
    assert_eq!(w.a.udp_local(a).unwrap().ip(), A);
    assert_eq!(w.a.udp_remote(a), Ok(at(B, 9)));
    put(&mut w.a, a, None, b"anyone?").unwrap();
    w.settle();
    assert!(w.take_wakes(Side::A, a).contains(Events::ERR));
    assert_eq!(take(&mut w.a, a, 9).err(), Some(Errno::ECONNREFUSED));
    assert_eq!(take(&mut w.a, a, 9).err(), Some(Errno::EAGAIN));
    let stranger = socket(&mut w.b, ANY, 10);
    let local = w.a.udp_local(a).unwrap();
    put(&mut w.b, stranger, Some(local), b"psst").unwrap();
    w.settle();
    assert_eq!(take(&mut w.a, a, 9).err(), Some(Errno::EAGAIN));
    w.a.udp_connect(a, None).unwrap();
    assert_eq!(w.a.udp_local(a), Ok(at(ANY, 4000)));
    put(&mut w.b, stranger, Some(local), b"psst").unwrap();
    w.settle();
    assert_eq!(take(&mut w.a, a, 9).unwrap().0, b"psst");
}

#[test]
fn loopback_works_and_refuses() {
    let mut w = World::new();
    let server = socket(&mut w.a, LO, 53);
    let client = w.a.udp_socket().unwrap();
    put(&mut w.a, client, Some(at(LO, 53)), b"question").unwrap();
    w.settle();
    let (data, from) = take(&mut w.a, server, 99).unwrap();
    assert_eq!(
        (data.as_slice(), from.path),
        (&b"question"[..], Path::Loopback)
    );
    put(&mut w.a, server, Some(from.source), b"answer").unwrap();
    w.settle();
    assert_eq!(take(&mut w.a, client, 99).unwrap().0, b"answer");
    w.a.udp_connect(client, Some(at(LO, 54))).unwrap();
    put(&mut w.a, client, None, b"nobody").unwrap();
    w.settle();
    assert_eq!(w.a.take_error(client), Some(Errno::ECONNREFUSED));
    assert_eq!(w.frames, 0);
}

#[test]
fn best_match_gets_what_is_for_one_and_all_get_what_is_for_all() {
    let mut w = World::new();
    let bind_shared = |w: &mut World, address| {
        let id = w.b.udp_socket().unwrap();
        w.b.udp_change_options(id, |o| o.reuses_address = true)
            .unwrap();
        w.b.udp_bind(id, at(address, 7)).unwrap();
        id
    };
    let wide = bind_shared(&mut w, ANY);
    let narrow = bind_shared(&mut w, B);
    let a = socket(&mut w.a, ANY, 7);
    put(&mut w.a, a, Some(at(B, 7)), b"one").unwrap();
    w.settle();
    assert_eq!(take(&mut w.b, narrow, 9).unwrap().0, b"one");
    assert_eq!(take(&mut w.b, wide, 9).err(), Some(Errno::EAGAIN));
    let all = at(Ipv4Addr::new(10, 0, 0, 255), 7);
    assert_eq!(put(&mut w.a, a, Some(all), b"all"), Err(Errno::EACCES));
    w.a.udp_change_options(a, |o| o.broadcasts = true).unwrap();
    for to in [all, at(Ipv4Addr::BROADCAST, 7)] {
        put(&mut w.a, a, Some(to), b"all").unwrap();
        w.settle();
        assert_eq!(take(&mut w.b, wide, 9).unwrap().1.destination, to.ip());
        // As on Linux, an address of one host does not hear what is for all; who has sent it does.
        assert_eq!(take(&mut w.b, narrow, 9).err(), Some(Errno::EAGAIN));
        assert_eq!(take(&mut w.a, a, 9).unwrap().0, b"all");
    }
}

#[test]
fn addresses_and_sizes_that_make_no_sense_are_refused() {
    let mut w = World::new();
    let a = w.a.udp_socket().unwrap();
    assert_eq!(w.a.udp_bind(a, at(B, 1)), Err(Errno::EADDRNOTAVAIL));
    let mut send = |to, len: usize| put(&mut w.a, a, Some(to), &alloc::vec![0; len]);
    assert_eq!(send(at(B, 0), 1), Err(Errno::EINVAL));
    assert_eq!(send(at(B, 9), 65508), Err(Errno::EMSGSIZE));
    assert_eq!(send(at(B, 9), 65507), Ok(65507));
    assert_eq!(send(at(LO, 9), 65507), Ok(65507));
    let b = socket(&mut w.a, LO, 5);
    assert_eq!(put(&mut w.a, b, Some(at(B, 9)), b"x"), Err(Errno::EINVAL));
    let c = w.a.udp_socket().unwrap();
    assert_eq!(w.a.udp_bind(c, at(ANY, 5)), Err(Errno::EADDRINUSE));
    assert_eq!(w.a.udp_bind(b, at(ANY, 6)), Err(Errno::EINVAL));
}

#[test]
fn queue_is_bounded_and_the_rest_is_dropped() {
    let mut w = World::new();
    let b = socket(&mut w.b, ANY, 7);
    w.b.udp_change_options(b, |o| o.receive_buffer = 10_000)
        .unwrap();
    let a = w.a.udp_socket().unwrap();
    for _ in 0..100 {
        put(&mut w.a, a, Some(at(B, 7)), &[0; 744]).unwrap();
        w.settle();
    }
    let mut n = 0;
    while take(&mut w.b, b, 999).is_ok() {
        n += 1;
    }
    assert_eq!(n, 10);
    put(&mut w.a, a, Some(at(B, 7)), b"again").unwrap();
    w.settle();
    assert_eq!(take(&mut w.b, b, 999).unwrap().0, b"again");
}

#[test]
fn full_card_makes_the_sender_wait() {
    let mut w = World::new();
    let a = w.a.udp_socket().unwrap();
    put(&mut w.a, a, Some(at(B, 7)), b"x").unwrap();
    w.settle();
    w.cards[0].with(|c| c.capacity = Some(1));
    assert_eq!(put(&mut w.a, a, Some(at(B, 7)), b"x"), Ok(1));
    assert_eq!(put(&mut w.a, a, Some(at(B, 7)), b"x"), Err(Errno::EAGAIN));
    assert!(!w.a.readiness(a).contains(Events::OUT));
    w.settle();
    assert!(w.take_wakes(Side::A, a).contains(Events::OUT));
    assert_eq!(put(&mut w.a, a, Some(at(B, 7)), b"x"), Ok(1));
}

#[test]
fn options_shape_the_packets_and_shutdown_ends_directions() {
    let mut w = World::new();
    let a = socket(&mut w.a, ANY, 7);
    let b = socket(&mut w.b, ANY, 7);
    w.a.udp_change_options(a, |o| (o.tos, o.ttl) = (0xb9, 3))
        .unwrap();
    put(&mut w.a, a, Some(at(B, 7)), b"x").unwrap();
    w.settle();
    let (_, from) = take(&mut w.b, b, 9).unwrap();
    assert_eq!((from.tos, from.ttl), (0xb9, 3));
    assert_eq!(w.b.udp_shutdown(b, true, false), Err(Errno::ENOTCONN));
    w.b.udp_connect(b, Some(at(A, 7))).unwrap();
    w.b.udp_shutdown(b, true, true).unwrap();
    assert_eq!(put(&mut w.b, b, None, b"x"), Err(Errno::EPIPE));
    assert!(w.b.udp_is_read_shut(b));
    assert!(
        w.b.readiness(b)
            .contains(Events::IN | Events::HUP | Events::RDHUP)
    );
    w.b.close(b);
    w.b.close(b);
    assert_eq!(w.b.readiness(b), Events::NVAL);
    assert!(w.b.ports_udp.is_free(7));
}

#[test]
fn source_that_cannot_be_read_sends_nothing() {
    struct Bad;
    impl tyn_abi::Source for Bad {
        fn remaining(&self) -> usize {
            10
        }
        fn read_exact(&mut self, _: &mut [u8]) -> Result<(), Errno> {
            Err(Errno::EFAULT)
        }
    }
    let mut w = World::new();
    let a = w.a.udp_socket().unwrap();
    assert_eq!(
        w.a.udp_send(a, Some(at(B, 7)), &mut Bad),
        Err(Errno::EFAULT)
    );
    w.settle();
    assert_eq!(w.frames, 0);
    let (client, server) = w.pair();
    assert_eq!(w.a.tcp_send(client, &mut Bad, false), Err(Errno::EFAULT));
    w.settle();
    assert_eq!(receive(&mut w.b, server, 9), Err(Errno::EAGAIN));
}
