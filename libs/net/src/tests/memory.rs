//! Memory that is used up, by others or by queues: nothing is taken of what the owner keeps for itself.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::transfer::{exchange, pattern};
use super::*;

/// What is free of the memory of a stack.
#[derive(Clone)]
struct Free(Arc<AtomicUsize>);

impl Free {
    fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// Both stacks, and what is free for B.
fn world() -> (World, Free) {
    let mut w = World::new();
    let free = Free(Arc::new(AtomicUsize::new(usize::MAX)));
    let shared = Arc::clone(&free.0);
    let config = StackConfig {
        device: Some(Box::new(w.cards[1].clone())),
        ip: IpConfig::Static(lease(B)),
        ip6: Ip6Config::Off,
        entropy: [2; 32],
        limits: Limits::default(),
        free_memory: Box::new(move || shared.load(Ordering::Relaxed)),
    };
    w.b = Stack::new(config, Nanos(0));
    (w, free)
}

#[test]
fn writer_of_the_first_byte_waits_for_memory_and_is_woken() {
    let (mut w, free) = world();
    let (a, b) = w.pair();
    w.pass(seconds(3));
    assert_eq!(w.b.tcp.buffered, 0);
    free.set(0);
    for _ in 0..3 {
        assert_eq!(send(&mut w.b, b, b"hello"), Err(Errno::EAGAIN));
        // Who polls does not turn in a circle.
        assert!(!w.b.readiness(b).contains(Events::OUT));
        w.take_wakes(Side::B, b);
        w.pass(ms(200));
        assert!(w.take_wakes(Side::B, b).contains(Events::OUT));
        assert!(w.b.readiness(b).contains(Events::OUT));
    }
    assert_eq!(w.b.deadline(), None);
    assert_eq!(w.b.tcp.buffered, 0);
    free.set(4096);
    assert_eq!(send(&mut w.b, b, b"hello"), Ok(5));
    w.settle();
    assert_eq!(receive(&mut w.a, a, 9), Ok(b"hello".to_vec()));
}

#[test]
fn queues_take_no_more_than_is_free() {
    let (mut w, free) = world();
    let (a, b) = w.pair();
    free.set(3000);
    let data = pattern(16_000);
    assert_eq!(send(&mut w.b, b, &data), Ok(3000));
    assert!(w.b.memory(b) >= 3000);
    let sent = send(&mut w.a, a, &data).unwrap();
    w.pass(seconds(2));
    // What is sent and what is received have a piece each, none greater than what is free.
    assert!(w.b.tcp.buffered <= 2 * 3000 + 1024, "{}", w.b.tcp.buffered);
    free.set(usize::MAX);
    let mut got = Vec::new();
    while got.len() < sent {
        w.pass(seconds(1));
        got.extend(receive(&mut w.b, b, 9999).unwrap_or_default());
    }
    assert!(got == data[..sent]);
    let mut w = World::new();
    let (a, b) = w.pair();
    exchange(&mut w, a, b, &data, 5000);
}

#[test]
fn peer_whose_data_find_no_memory_goes_on_later() {
    let (mut w, free) = world();
    let (a, b) = w.pair();
    w.pass(seconds(3));
    free.set(0);
    let data = pattern(9000);
    assert_eq!(send(&mut w.a, a, &data), Ok(9000));
    w.pass(seconds(20));
    assert_eq!(receive(&mut w.b, b, 9999), Err(Errno::EAGAIN));
    assert!(w.b.tcp.buffered < 256);
    free.set(usize::MAX);
    w.pass(seconds(60));
    assert!(receive(&mut w.b, b, 9999) == Ok(data));
}

#[test]
fn without_memory_nobody_is_let_in_and_nobody_reset() {
    let (mut w, free) = world();
    let listener = w.listen(80, 4);
    // One that is half open when the memory is used up, and one that comes then.
    let mut is_first = true;
    w.filter = Box::new(move |side, frame| match segment(frame) {
        Some(s) if side == Side::A && !s.syn() && core::mem::take(&mut is_first) => Fault::Lose,
        _ => Fault::Deliver,
    });
    let early = w.dial(80);
    w.settle();
    free.set(0);
    let late = w.dial(80);
    send(&mut w.a, early, b"early").unwrap();
    w.pass(seconds(5));
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    assert_eq!(w.b.tcp.half_open.len(), 1);
    assert_eq!(w.a.tcp_connect_result(late), None);
    free.set(usize::MAX);
    w.pass(seconds(30));
    assert_eq!(w.a.tcp_connect_result(late), Some(Ok(())));
    let (first, _) = w.b.tcp_accept(listener).unwrap();
    let (second, _) = w.b.tcp_accept(listener).unwrap();
    let greetings = [first, second].map(|id| receive(&mut w.b, id, 9));
    assert!(greetings.contains(&Ok(b"early".to_vec())), "{greetings:?}");
}

#[test]
fn datagrams_that_find_no_memory_are_lost() {
    let (mut w, free) = world();
    let s = w.b.udp_socket().unwrap();
    w.b.udp_bind(s, at(LO, 5000)).unwrap();
    let to_self = |w: &mut World| {
        let sent = w.b.udp_send(s, Some(at(LO, 5000)), &mut &pattern(5000)[..]);
        w.settle();
        sent
    };
    assert_eq!(to_self(&mut w), Ok(5000));
    let before = w.b.memory(s);
    assert!(before > 5000);
    free.set(0);
    assert_eq!(to_self(&mut w), Ok(5000));
    assert_eq!(w.b.memory(s), before);
    free.set(usize::MAX);
    assert_eq!(to_self(&mut w), Ok(5000));
    assert!(w.b.memory(s) > before + 5000);
}

#[test]
fn loopback_path_is_bounded_by_bytes() {
    for (memory, most) in [(usize::MAX, 1 << 20), (0, 128 << 10)] {
        let (mut w, free) = world();
        let s = w.b.udp_socket().unwrap();
        w.b.udp_bind(s, at(LO, 5000)).unwrap();
        free.set(memory);
        let data = pattern(50_000);
        let mut sent = 0;
        // No turn is taken in between.
        while w.b.udp_send(s, Some(at(LO, 5000)), &mut &data[..]).is_ok() {
            sent += data.len();
            assert!(sent < most + 60_000, "{sent}");
        }
        assert!(sent >= most, "{sent} of {most}");
        assert!(!w.b.readiness(s).contains(Events::OUT));
        w.settle();
        assert!(w.b.readiness(s).contains(Events::OUT));
    }
}

#[test]
fn listener_has_the_memory_of_those_that_nobody_accepted() {
    let (mut w, _) = world();
    let listener = w.listen(80, 4);
    let before = w.b.memory(listener);
    let client = w.dial(80);
    w.settle();
    send(&mut w.a, client, &pattern(9000)).unwrap();
    w.settle();
    assert!(w.b.memory(listener) >= before + 9000);
}
