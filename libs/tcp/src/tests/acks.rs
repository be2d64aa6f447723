//! Acknowledgements: when they are sent, and what they carry (RFC 1122 §4.2.3.2, RFC 5681 §4.2).

use super::*;

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
