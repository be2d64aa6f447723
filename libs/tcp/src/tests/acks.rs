//! Acknowledgements: when they are sent, and what they carry (RFC 1122 §4.2.3.2, RFC 5681 §4.2).

use super::*;
use proptest::prelude::*;

#[test]
fn rfc_1122_4_2_3_2_acknowledgements_are_delayed_but_not_the_second_segment() {
    let mut s = Scene::new();
    s.take(1, 1, Flags::ACK, &[1; 1000]);
    assert_eq!(s.wait(), (40, alloc::vec![(0, 0, ACK)]));
    s.take(1001, 1, Flags::ACK, &[1; 1000]);
    assert_eq!(s.sent(), []);
    s.take(2001, 1, Flags::ACK, &[1; 1000]);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    s.take(3001, 1, Flags::ACK, &[1; 1000]);
    s.write(5);
    assert_eq!(s.sent(), [(0, 5, PSH_ACK)], "data carry it");
    s.take(4001, 6, Flags::ACK, &[]);
    assert_eq!(s.c.deadline(), None);
}

#[test]
fn rfc_9293_3_8_6_3_reading_all_acknowledges_unless_answers_are_usual() {
    let mut s = Scene::new();
    s.take(1, 1, Flags::ACK, &[1; 500]);
    assert_eq!(s.sent(), []);
    s.c.discard(500);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    s.take(501, 1, Flags::ACK, &[1; 500]);
    s.write(5);
    assert_eq!(s.sent(), [(0, 5, PSH_ACK)]);
    s.c.discard(500);
    s.take(1001, 6, Flags::ACK, &[1; 500]);
    s.c.discard(500);
    assert_eq!(s.wait(), (40, alloc::vec![(5, 0, ACK)]));
    s.take(1501, 6, Flags::ACK, &[1; 500]);
    s.c.discard(500);
    assert_eq!(s.sent(), [(5, 0, ACK)], "no answer came in time");
}

#[test]
fn rfc_1122_4_2_3_2_answers_carry_acknowledgements_of_what_was_read_before() {
    let mut s = Scene::new();
    let request = |s: &mut Scene, n: i32, answers_after: u64| {
        s.take(1 + 500 * n, 1 + 5 * n, Flags::ACK, &[1; 500]);
        assert_eq!(s.c.discard(500), 500);
        let early = s.sent().len();
        s.now = s.now + ms(answers_after);
        s.write(5);
        (early, s.sent())
    };
    let answer = |n: i32| alloc::vec![(5 * n, 5, PSH_ACK)];
    assert_eq!(request(&mut s, 0, 39), (1, answer(0)), "who knows");
    assert_eq!(request(&mut s, 1, 39), (0, answer(1)));
    assert_eq!(request(&mut s, 2, 1), (0, answer(2)));
    // The acknowledgement waits for company, but not for long.
    s.take(1501, 16, Flags::ACK, &[1; 500]);
    s.c.discard(500);
    assert_eq!(s.wait(), (40, alloc::vec![(15, 0, ACK)]));
    s.write(5);
    assert_eq!(s.sent(), answer(3), "too late to be one");
    assert_eq!(request(&mut s, 4, 40), (1, answer(4)));
    assert_eq!(request(&mut s, 5, 0), (1, answer(5)));
    assert_eq!(request(&mut s, 6, 0), (0, answer(6)));
}

#[test]
fn rfc_5681_4_2_gaps_are_reported_at_once() {
    let mut s = Scene::new();
    s.take(1001, 1, Flags::ACK, &[1; 1000]);
    let out = drain(&mut s.c, s.now);
    let block = crate::options::Block {
        start: THEIRS + 1001,
        end: THEIRS + 2001,
    };
    assert_eq!((out.len(), out[0].of.options.blocks()), (1, &[block][..]));
    s.take(1, 1, Flags::ACK, &[1; 1000]);
    let out = drain(&mut s.c, s.now);
    assert_eq!(
        (out[0].of.ack, out[0].of.options.blocks()),
        (THEIRS + 2001, &[][..])
    );
    assert_eq!(s.c.readable(), 2000);
}

#[test]
fn fin_that_overtakes_data_waits_for_them() {
    let mut s = Scene::new();
    s.take(4, 1, Flags::FIN.with(Flags::ACK), b"def");
    assert_eq!((s.c.state(), s.sent().len()), (State::Established, 1));
    s.take(1, 1, Flags::ACK, b"abc");
    assert_eq!(
        (s.c.state(), s.c.readable(), s.sent().len()),
        (State::CloseWait, 6, 1)
    );
}

#[test]
fn tcp_7_quickack_off_lets_acknowledgements_wait_until_none_came_along() {
    let mut s = Scene::new();
    assert!(!s.c.delays_acks() && !s.c.delay_acks(true) && s.c.delays_acks());
    s.take(1, 1, Flags::ACK, &[1; 500]);
    s.c.discard(500);
    assert_eq!(s.wait(), (40, alloc::vec![(0, 0, ACK)]));
    assert!(!s.c.delays_acks(), "no answer came in time");
    s.take(501, 1, Flags::ACK, &[1; 500]);
    s.c.discard(500);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
}

#[test]
fn tcp_7_quickack_on_sends_what_waits_if_all_was_read() {
    let mut s = Scene::new();
    s.c.delay_acks(true);
    s.take(1, 1, Flags::ACK, &[1; 500]);
    s.c.discard(400);
    assert!(s.c.delay_acks(false));
    assert_eq!(s.sent(), [], "the program is not done yet");
    s.c.discard(100);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    s.c.delay_acks(true);
    s.take(501, 1, Flags::ACK, &[1; 500]);
    s.c.discard(500);
    assert_eq!(s.sent(), []);
    assert!(s.c.delay_acks(false));
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    assert!(!s.c.delay_acks(false), "none waits");
}

#[test]
fn tcp_7_quickack_off_lets_the_end_of_a_handshake_wait_for_data_once() {
    let answered = |s: &mut Scene| {
        s.c.delay_acks(true);
        s.sent();
        s.take_with(0, 1, Flags::SYN.with(Flags::ACK), 1000, syn_ack(), &[]);
        assert_eq!((s.c.state(), s.sent()), (State::Established, Vec::new()));
        assert!(!s.c.delays_acks());
    };
    let mut s = client();
    answered(&mut s);
    assert_eq!(s.wait(), (200, alloc::vec![(0, 0, ACK)]));
    let mut s = client();
    answered(&mut s);
    s.write(5);
    assert_eq!(s.sent(), [(0, 5, PSH_ACK)]);
}

#[test]
fn who_has_heard_nothing_has_not_answered() {
    let mut s = Scene::new();
    s.write(5);
    assert_eq!(s.sent(), [(0, 5, PSH_ACK)]);
    assert!(!s.c.delays_acks());
    s.take(1, 6, Flags::ACK, &[1; 5]);
    s.write(5);
    assert_eq!(s.sent(), [(5, 5, PSH_ACK)]);
    assert!(s.c.delays_acks());
    // Nor does one hear more after the end: Linux calls that interactive, too.
    let mut s = Scene::new();
    s.take(1, 1, Flags::FIN.with(Flags::ACK), &[]);
    assert!(s.c.delays_acks());
}

/// The blocks of each acknowledgement that it sends now, relative to the first byte.
fn told(s: &mut Scene) -> Vec<Vec<(i32, i32)>> {
    let relative = |seq: Seq| seq.since(THEIRS + 1);
    let out = drain(&mut s.c, s.now);
    out.iter()
        .map(|o| {
            let blocks = o.of.options.blocks().iter();
            blocks
                .map(|b| (relative(b.start), relative(b.end)))
                .collect()
        })
        .collect()
}

#[test]
fn rfc_2883_4_each_of_several_that_came_twice_is_told() {
    let mut s = Scene::new();
    s.take(1, 1, Flags::ACK, &[1; 1000]);
    s.take(2001, 1, Flags::ACK, &[1; 1000]);
    s.take(4001, 1, Flags::ACK, &[1; 1000]);
    assert_eq!(told(&mut s), [[(4000, 5000), (2000, 3000)]]);
    // Nothing is sent meanwhile; two follow each other.
    for at in [0, 2100, 300, 400] {
        s.take(1 + at, 1, Flags::ACK, &[1; 100]);
    }
    let (first, second) = ((2000, 3000), (4000, 5000));
    assert_eq!(
        told(&mut s),
        [
            [(0, 100), second, first],
            // What lies ahead is known as such by the island around it.
            [(2100, 2200), first, second],
            [(300, 500), second, first],
        ]
    );
    assert!(told(&mut s).is_empty());
}

#[test]
fn rfc_2018_4_islands_that_one_acknowledgement_has_no_room_for_are_told_by_the_next() {
    let mut s = Scene::new();
    let island = |n: i32| (n * 2000, n * 2000 + 1000);
    for n in 1..=6 {
        s.take(1 + n * 2000, 1, Flags::ACK, &[1; 1000]);
    }
    let first = [4, 3, 2, 1].map(island);
    let second = [6, 5, 4, 3].map(island);
    assert_eq!(told(&mut s), [first, second]);
    // One that grows is the latest, and what is told beside it are the latest before.
    s.take(3001, 1, Flags::ACK, &[1; 500]);
    let grown = (2000, 3500);
    assert_eq!(told(&mut s), [[grown, island(6), island(5), island(4)]]);
    // What is in order now is not told.
    s.take(1, 1, Flags::ACK, &[1; 2000]);
    assert_eq!(told(&mut s), [[6, 5, 4, 3].map(island)]);
}

#[test]
fn peer_without_sack_is_told_nothing_and_gets_full_segments() {
    let mut s = Scene::with(Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 60_000,
        scale: Some(0),
        mss: Some(MSS),
        has_sack: false,
        timestamp: None,
    });
    s.take(1, 1, Flags::ACK, &[1; 1000]);
    for at in [1, 201, 5001, 3001, 3001] {
        s.take(at, 1, Flags::ACK, &[1; 100]);
    }
    assert_eq!(told(&mut s), [[(0, 0); 0]]);
    s.write(2000);
    assert_eq!(s.sent(), [(0, 1000, ACK), (1000, 1000, PSH_ACK)]);
}

proptest! {
    /// However many segments come before the next acknowledgements: these say of each that it has come, and of each that
    /// came twice that it did.
    #[test]
    fn rfc_2018_4_acknowledgements_tell_all_that_came(steps in prop::collection::vec((0..90i32, prop::bool::weighted(0.2)), 1..200)) {
        const SIZE: i32 = 100;
        let mut s = Scene::new();
        let (mut known, mut twice, mut has_come) = ([false; 90], Vec::new(), [false; 90]);
        let mut waiting = 0;
        for (piece, is_turn) in steps {
            s.take(1 + piece * SIZE, 1, Flags::ACK, &[1; SIZE as usize]);
            if core::mem::replace(&mut has_come[piece as usize], true) {
                twice.push(piece);
            }
            waiting += 1;
            if !is_turn && waiting < 30 {
                continue;
            }
            waiting = 0;
            s.c.on_deadline(s.now + ms(1000));
            for out in drain(&mut s.c, s.now) {
                let relative = |seq: Seq| seq.since(THEIRS + 1);
                let ack = relative(out.of.ack);
                let mut blocks: Vec<_> = out.of.options.blocks().iter().map(|b| (relative(b.start), relative(b.end))).collect();
                let is_in = |of: (i32, i32), piece: i32| of.0 <= piece * SIZE && (piece + 1) * SIZE <= of.1;
                if let Some(&first) = blocks.first() {
                    let is_within = blocks.get(1).is_some_and(|b| b.0 <= first.0 && first.1 <= b.1);
                    if first.1 <= ack || is_within {
                        twice.retain(|&piece| !is_in(first, piece));
                        blocks.remove(0);
                    }
                }
                for (piece, known) in (0..).zip(known.iter_mut()) {
                    *known |= is_in((0, ack), piece) || blocks.iter().any(|&b| is_in(b, piece));
                }
            }
            prop_assert_eq!(known, has_come);
            prop_assert!(twice.is_empty(), "{:?}", twice);
        }
    }
}
