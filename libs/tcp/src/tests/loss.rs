//! What the sender does about loss: RFC 6298, 5681, 6582, 6675, 8985.

use super::*;
use crate::End;

const ACK: u8 = 16;

/// A scene with a round trip of 50 ms measured and `count` segments in flight.
fn flight(count: usize) -> Scene {
    let mut s = Scene::new();
    s.write(1000);
    s.sent();
    s.now = s.now + ms(50);
    s.take(1, 1001, Flags::ACK, &[]);
    s.write(count * 1000);
    assert_eq!(s.sent().len(), count);
    s.now = s.now + ms(50);
    s
}

#[test]
fn rfc_8985_6_three_overtakers_mean_loss() {
    let mut s = flight(8);
    let before = s.c.congestion.window;
    for n in 2..4 {
        s.sack(1000, &[(2000, n * 1000 + 1000)]);
        assert_eq!(s.sent(), []);
    }
    s.sack(1000, &[(2000, 5000)]);
    assert_eq!(s.sent(), [(1000, 1000, ACK)]);
    assert_eq!(s.c.congestion.threshold(), Some(before * 7 / 10));
    s.now = s.now + ms(50);
    s.sack(5000, &[]);
    assert!(s.c.recovery.is_on());
    s.sack(9000, &[]);
    assert!(!s.c.recovery.is_on() && s.c.deadline().is_none());
    assert_eq!(s.c.congestion.window, before * 7 / 10);
}

#[test]
fn rfc_8985_6_several_holes_are_filled_in_one_round_trip() {
    let mut s = flight(10);
    s.sack(1000, &[(2000, 3000), (4000, 5000), (6000, 11_000)]);
    let sent: Vec<i32> = s.sent().iter().map(|s| s.0).collect();
    assert_eq!(sent, [1000, 3000, 5000]);
}

#[test]
fn rfc_8985_6_lost_retransmissions_are_noticed() {
    let mut s = flight(10);
    s.sack(1000, &[(2000, 5000)]);
    assert_eq!(s.sent(), [(1000, 1000, ACK)]);
    s.write(3000);
    s.now = s.now + ms(10);
    s.sack(1000, &[(2000, 11_000)]);
    let new = s.sent();
    assert!(new.iter().all(|s| s.0 >= 11_000) && !new.is_empty());
    // What was sent after the retransmission arrives, the retransmission does not.
    s.now = s.now + ms(55);
    s.sack(1000, &[(2000, 12_000)]);
    assert_eq!(s.sent().first(), Some(&(1000, 1000, ACK)));
}

#[test]
fn rfc_8985_6_2_reordering_that_was_seen_is_waited_for() {
    let mut s = flight(6);
    s.sack(1000, &[(2000, 3000)]);
    assert_eq!(s.sent(), []);
    s.sack(1000, &[(4000, 5000), (2000, 3000)]);
    // Late, not lost: the path reorders.
    s.sack(1000, &[(2000, 5000)]);
    s.sent();
    assert!(s.c.recovery.until.is_some() || s.c.reorder_at.is_some());
    let mut s = flight(6);
    s.sack(1000, &[(3000, 4000)]);
    s.sack(1000, &[(2000, 4000)]);
    assert_eq!(s.sent(), [], "only two");
    let at = s.c.reorder_at.expect("a timer runs");
    assert!(at > s.now && at <= s.now + ms(13));
    s.now = at;
    s.c.on_deadline(at);
    assert_eq!(s.sent(), [(1000, 1000, ACK)]);
}

#[test]
fn rfc_8985_7_tail_that_is_lost_is_probed_before_the_timeout() {
    let mut s = flight(3);
    s.sack(2000, &[]);
    let (time, sent) = s.wait();
    assert_eq!(sent, [(3000, 1000, 24 & ACK)], "the last one again");
    assert!((90..=150).contains(&time), "{time}");
    s.now = s.now + ms(50);
    s.sack(2000, &[(3000, 4000)]);
    // One segment in front of it is missing; the reordering window passes.
    let mut sent = s.sent();
    if sent.is_empty() {
        sent = s.wait().1;
    }
    assert_eq!(sent, [(2000, 1000, ACK)]);
}

#[test]
fn rfc_8985_7_3_probe_prefers_new_data() {
    let mut s = flight(10);
    s.c.congestion.window = 10_000;
    s.write(2000);
    assert_eq!(s.sent(), []);
    assert_eq!(s.wait().1, [(11_000, 1000, ACK)]);
}

#[test]
fn rfc_8985_7_4_repaired_tail_counts_as_a_loss_and_a_needless_probe_does_not() {
    for needless in [false, true] {
        let mut s = flight(2);
        let before = s.c.congestion.window;
        s.wait();
        s.now = s.now + ms(50);
        if needless {
            s.sack(3000, &[(2000, 3000)]);
        } else {
            s.sack(3000, &[]);
        }
        s.write(1000);
        s.sent();
        s.sack(4000, &[]);
        assert_eq!(s.c.congestion.window < before, !needless);
        assert_eq!(s.c.deadline(), None);
    }
}

#[test]
fn rfc_6298_5_timeout_sends_all_again_slowly_and_backs_off() {
    let mut s = flight(5);
    let (_, probe) = s.wait();
    assert_eq!(probe.len(), 1);
    let (time, sent) = s.wait();
    assert_eq!(sent, [(1000, 1000, ACK)]);
    assert!((200..=400).contains(&time), "{time}");
    let (next, sent) = s.wait();
    assert_eq!((next / time, sent), (2, alloc::vec![(1000, 1000, ACK)]));
    s.sack(2000, &[]);
    assert_eq!(s.sent().len(), 2, "slow start");
    s.sack(4000, &[]);
    assert_eq!(s.sent().len(), 2);
    s.sack(6000, &[]);
    assert_eq!(s.c.deadline(), None);
}

#[test]
fn timeouts_of_a_thin_stream_stay_as_long_if_the_program_says_so() {
    for (count, is_thin) in [(2, true), (2, false), (5, true)] {
        let mut s = flight(count);
        s.c.set_policy(Policy { is_thin, ..POLICY });
        s.wait();
        let (first, _) = s.wait();
        let (second, _) = s.wait();
        assert_eq!(second / first, if is_thin && count < 4 { 1 } else { 2 });
    }
}

#[test]
fn rfc_6298_5_peer_that_stays_silent_is_given_up() {
    let mut s = flight(2);
    let start = s.c.waiting_since;
    while s.c.state() != State::Closed {
        s.wait();
    }
    assert_eq!(
        (s.now - start, s.c.end()),
        (POLICY.patience, Some(End::Silence(None)))
    );
}

#[test]
fn rfc_6582_3_2_without_sack_three_duplicates_and_partial_acknowledgements() {
    let mut s = Scene::with(Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 60_000,
        scale: None,
        mss: Some(MSS),
        has_sack: false,
        timestamp: None,
    });
    s.write(10_000);
    assert_eq!(s.sent().len(), 10);
    s.now = s.now + ms(50);
    for _ in 0..2 {
        s.take(1, 1, Flags::ACK, &[]);
        assert_eq!(s.sent(), []);
    }
    s.take(1, 1, Flags::ACK, &[]);
    assert_eq!(s.sent(), [(0, 1000, ACK)]);
    s.take(1, 5001, Flags::ACK, &[]);
    assert_eq!(s.sent(), [(5000, 1000, ACK)]);
    s.take(1, 10_001, Flags::ACK, &[]);
    assert!(!s.c.recovery.is_on() && s.c.deadline().is_none());
}

#[test]
fn rfc_2018_8_reports_are_forgotten_after_repeated_timeouts() {
    let mut s = flight(4);
    s.sack(1000, &[(3000, 5000)]);
    s.sent();
    for _ in 0..4 {
        s.wait();
    }
    assert_eq!(s.c.board.sacked, 0);
    s.sack(2000, &[]);
    assert_eq!(s.sent().len(), 2);
}

#[test]
fn blocks_of_nonsense_are_ignored() {
    let mut s = flight(4);
    for block in [
        (0, 500),
        (4000, 3000),
        (4000, 90_000),
        (4_000_000, 4_001_000),
        (1500, 1600),
    ] {
        s.sack(1000, &[(2000, 2000), block]);
        assert_eq!((s.c.board.sacked, s.sent()), (0, alloc::vec![]));
    }
}
