//! What is held back, and what a peer or a program can make us keep.

use super::*;
use crate::board::MOST_SEGMENTS;

#[test]
fn held_bytes_go_in_whole_segments_until_they_are_let_go() {
    let mut s = Scene::new();
    s.c.set_held(true);
    s.write(2300);
    assert_eq!(s.sent(), [(0, 1000, 16), (1000, 1000, 16)]);
    assert_eq!((s.c.held(), s.c.unsent()), (300, 2300));
    s.take(1, 2001, Flags::ACK, &[]);
    assert_eq!(s.sent(), []);
    // Nothing waits for the peer: no timer runs, and no probe lets it out.
    assert_eq!(s.c.deadline(), None);
    s.c.set_held(false);
    assert_eq!(s.sent(), [(2000, 300, 24)]);
}

#[test]
fn held_bytes_survive_a_queue_that_shrinks() {
    let mut s = Scene::new();
    s.c.send_limit = (4000, 1 << 20);
    s.c.set_held(true);
    s.write(900);
    // The window collapses and there is no memory: what was written is in the queue all the same.
    s.c.set_spare(0);
    s.c.congestion.window = 1000;
    s.c.shut_down();
    assert_eq!(s.sent(), [(0, 900, 25)]);
    assert_eq!(s.c.held(), 0);
}

#[test]
fn without_memory_nothing_is_taken_in_and_nothing_promised() {
    let mut s = Scene::new();
    s.c.set_spare(0);
    assert_eq!(s.c.write(&mut &[1; 100][..]), Ok(0));
    s.take(1, 1, Flags::ACK, &[1; 500]);
    assert_eq!((s.c.readable(), s.c.memory() < 256), (0, true));
    let out = drain(&mut s.c, s.now);
    assert_eq!((out[0].of.ack, out[0].of.window), (THEIRS + 1, 0));
    // The peer asks some time later, and it goes on.
    s.c.set_spare(5000);
    s.now = s.now + ms(1000);
    s.take(0, 1, Flags::ACK, &[]);
    let out = drain(&mut s.c, s.now);
    assert!(usize::from(out[0].of.window) >= 1000, "{out:?}");
    s.take(1, 1, Flags::ACK, &[1; 500]);
    assert_eq!(s.c.readable(), 500);
    assert_eq!(s.c.write(&mut &[1; 100][..]), Ok(100));
}

#[test]
fn held_bytes_are_not_repeated_by_a_probe_of_the_tail() {
    let mut s = Scene::new();
    s.write(1000);
    s.sent();
    s.now = s.now + ms(20);
    s.take(1, 1001, Flags::ACK, &[]);
    s.c.set_held(true);
    s.write(1500);
    assert_eq!(s.sent(), [(1000, 1000, 16)]);
    // The last segment again, not what is held.
    let (_, sent) = s.wait();
    assert_eq!(sent, [(1000, 1000, 16)]);
}

#[test]
fn small_segments_under_way_are_bounded_as_large_ones_are() {
    let mut s = Scene::new();
    for _ in 0..50 {
        s.write(1);
        s.sent();
    }
    // Ten of one byte; the others go together when there is room.
    assert_eq!(s.c.board.flight_segments(), 10);
    s.take(1, 2, Flags::ACK, &[]);
    assert_eq!(s.sent(), [(10, 40, 24)]);
}

#[test]
fn list_of_what_was_sent_is_bounded_and_counted() {
    let mut s = Scene::new();
    s.c.send_limit = (1 << 20, 1 << 20);
    s.c.congestion.window = 1 << 30;
    s.c.window = 1 << 30;
    for _ in 0..3 * MOST_SEGMENTS {
        s.write(1);
        drain(&mut s.c, s.now);
    }
    assert_eq!(s.c.board.flight_segments(), MOST_SEGMENTS);
    let bytes = s.c.send.capacity() + s.c.receive.ring.capacity();
    assert!(s.c.memory() >= bytes + MOST_SEGMENTS * size_of::<crate::board::Sent>());
    s.take(1, MOST_SEGMENTS as i32 + 1, Flags::ACK, &[]);
    assert!(!s.sent().is_empty());
}

#[test]
fn window_that_opens_ends_the_doubling_of_its_probes() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    s.write(3000);
    assert_eq!(s.sent(), []);
    let first = s.wait().0;
    for n in 1..5 {
        s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
        assert!(s.wait().0 >= first << n, "probes become rare");
    }
    s.take_with(1, 1, Flags::ACK, 2000, Options::default(), &[]);
    assert_eq!(s.sent(), [(0, 1000, 16), (1000, 1000, 16)]);
    // They are lost: the timer is that of a connection which never waited.
    assert!(s.wait().0 <= first);
}
