//! Reductions of the window that turn out to have been for nothing (RFC 3522, 3708, 9438 §4.9).

use super::*;
use crate::options::Block;

/// A scene with a round trip of 50 ms measured, and twenty segments in flight that were sent a millisecond apart.
fn flight(timestamp: Option<u32>) -> Scene {
    let mut s = Scene::with(Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 60_000,
        scale: Some(0),
        mss: Some(MSS + 12),
        has_sack: true,
        timestamp,
    });
    s.c.mss = MSS + if timestamp.is_some() { 12 } else { 0 };
    s.write(1000);
    s.sent();
    s.now = s.now + ms(50);
    let echo = s.now - ms(50);
    answer(&mut s, 1000, &[], echo);
    s.c.congestion.window = 40_000;
    for _ in 0..20 {
        s.write(1000);
        assert_eq!(s.sent().len(), 1);
        s.now = s.now + ms(1);
    }
    s
}

/// An acknowledgement that echoes what was sent at a time.
fn answer(s: &mut Scene, ack: i32, blocks: &[(usize, usize)], sent: Nanos) {
    let mut options = Options::default();
    if s.c.has_timestamps {
        options.timestamps = Some((1, crate::connection::clock(sent, 777)));
    }
    for &(start, end) in blocks {
        options.push_block(Block {
            start: OURS + 1 + start,
            end: OURS + 1 + end,
        });
    }
    s.take_with(1, ack + 1, Flags::ACK, 60_000, options, &[]);
}

/// Lets the last segment overtake the others by so much that these are taken for lost.
fn overtake(s: &mut Scene) -> (Nanos, u32) {
    let (start, before) = (s.now - Nanos(20 * 1_000_000), s.c.congestion.window);
    s.now = s.now + ms(10);
    answer(s, 1000, &[(20_000, 21_000)], start);
    if s.sent().is_empty() {
        s.wait();
    }
    assert!(s.c.recovery.is_on() && s.c.board.lost > 0 && s.c.congestion.window < before);
    (start, before)
}

#[test]
fn rfc_3522_3_echo_of_the_first_transmission_takes_it_back() {
    let mut s = flight(Some(1));
    let (start, before) = overtake(&mut s);
    let again = s.c.board.repeated_segments();
    assert!(again > 0);
    // All that was sent again arrives late, from its first transmission.
    for n in 0..again {
        assert!(s.c.recovery.is_on());
        s.now = s.now + ms(1);
        let ack = 2000 + n as i32 * 1000;
        answer(&mut s, ack, &[(20_000, 21_000)], start + ms(n as u64));
    }
    assert!(!s.c.recovery.is_on() && s.c.congestion.is_slow_start());
    assert!(s.c.congestion.window >= before && s.c.board.lost == 0);
    // What is late is no longer taken for lost.
    assert_eq!(s.sent(), []);
}

#[test]
fn rfc_3522_3_echo_of_a_repetition_does_not() {
    let mut s = flight(Some(1));
    let (_, before) = overtake(&mut s);
    let again = s.now;
    s.now = s.now + ms(50);
    answer(&mut s, 2000, &[(20_000, 21_000)], again);
    assert!(s.c.recovery.is_on() && s.c.congestion.window < before);
}

#[test]
fn rfc_3708_3_all_that_was_sent_again_came_twice() {
    for is_one_missing in [false, true] {
        let mut s = flight(None);
        let (start, before) = overtake(&mut s);
        let again = s.c.board.repeated_segments();
        s.now = s.now + ms(10);
        answer(&mut s, 21_000, &[], start);
        assert!(!s.c.recovery.is_on() && s.c.congestion.window < before);
        for n in 0..again - usize::from(is_one_missing) {
            assert!(s.c.congestion.window < before);
            s.now = s.now + ms(1);
            let at = 1000 + n * 1000;
            answer(&mut s, 21_000, &[(at, at + 1000)], start);
        }
        assert_eq!(s.c.congestion.window == before, !is_one_missing);
    }
}

#[test]
fn rfc_2883_5_what_came_twice_may_lie_behind_a_hole() {
    let mut s = flight(None);
    let (start, before) = overtake(&mut s);
    let again = s.c.board.repeated_segments();
    // The first is really lost; the others came, and come again.
    answer(&mut s, 1000, &[(2000, 21_000)], start);
    for n in 1..again {
        let at = 1000 + n * 1000;
        answer(&mut s, 1000, &[(at, at + 1000), (2000, 21_000)], start);
    }
    assert_eq!(s.c.counters.twice as usize, again - 1);
    assert!(s.c.congestion.window < before);
}

#[test]
fn rfc_3522_3_timeout_that_came_too_early_is_taken_back() {
    let mut s = flight(Some(1));
    let (start, before) = (s.now - ms(20), s.c.congestion.window);
    // A probe first, then the time-out.
    s.wait();
    while !s.c.recovery.is_after_timeout {
        s.wait();
    }
    assert!(s.c.congestion.window <= 2000);
    s.now = s.now + ms(1);
    answer(&mut s, 21_000, &[], start);
    assert!(s.c.congestion.window >= before && !s.c.recovery.is_on());
}

#[test]
fn rfc_9438_4_9_window_that_has_outgrown_a_reduction_stays() {
    let mut s = flight(None);
    let (start, before) = overtake(&mut s);
    let again = s.c.board.repeated_segments();
    answer(&mut s, 21_000, &[], start);
    s.c.congestion.window = before + 5000;
    for n in 0..again {
        let at = 1000 + n * 1000;
        answer(&mut s, 21_000, &[(at, at + 1000)], start);
    }
    assert_eq!(s.c.congestion.window, before + 5000);
}
