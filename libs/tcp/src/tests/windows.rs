//! Windows: used, opened, closed, probed, scaled (RFC 9293 §3.8.6, RFC 7323 §2).

use super::*;

#[test]
fn rfc_896_small_segments_wait_for_small_ones() {
    let mut s = Scene::new();
    s.c.policy.no_delay = false;
    s.write(1);
    assert_eq!(s.sent(), [(0, 1, PSH_ACK)]);
    s.write(1);
    assert_eq!(s.sent(), []);
    s.write(1500);
    assert_eq!(s.sent(), [(1, 1000, ACK)]);
    s.take(1, 2, Flags::ACK, &[]);
    assert_eq!(
        s.sent(),
        [(1001, 501, PSH_ACK)],
        "a whole one is no reason to wait"
    );
}

#[test]
fn rfc_9293_3_8_6_1_closed_window_is_probed_for_ever_if_the_peer_answers() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    s.write(10);
    assert_eq!(s.sent(), []);
    let mut last = 0;
    for _ in 0..60 {
        let (time, sent) = s.wait();
        assert_eq!(sent, [(-1, 0, ACK)]);
        assert!(time >= last && time <= 120_000);
        last = time;
        s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    }
    assert_eq!(last, 120_000);
    s.take(1, 1, Flags::ACK, &[]);
    assert_eq!(s.sent(), [(0, 10, PSH_ACK)]);
}

#[test]
fn rfc_9293_3_8_6_1_silent_peer_with_a_closed_window_is_given_up() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    s.now = s.now + ms(5_000_000);
    s.write(10);
    let start = s.now;
    while s.c.state() != State::Closed {
        s.sent();
        s.wait();
    }
    assert_eq!(s.now - start, s.c.policy.patience);
}

#[test]
fn rfc_9293_3_8_6_2_1_small_windows_are_used_only_after_a_while() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 100, Options::default(), &[]);
    s.write(2000);
    assert_eq!(s.sent(), []);
    let (time, sent) = s.wait();
    assert_eq!(sent, [(0, 100, ACK)]);
    assert!((200..=1000).contains(&time), "{time}");
}

#[test]
fn rfc_9293_3_8_6_2_2_window_opens_by_a_segment_at_least() {
    let mut s = Scene::new();
    s.take(1, 1, Flags::ACK, &[7; 60_000]);
    let out = drain(&mut s.c, s.now);
    assert_eq!(out[0].of.window, 0);
    assert_eq!(s.c.discard(999), 999);
    assert_eq!(s.sent(), []);
    s.c.discard(1);
    let out = drain(&mut s.c, s.now);
    assert_eq!((out.len(), out[0].of.window), (1, 1000));
}

#[test]
fn rfc_7323_2_2_reading_tells_nothing_when_the_window_is_as_wide_as_it_can_be_told() {
    let mut s = Scene::new();
    s.c.receive_limit = (1 << 20, 1 << 20);
    s.take(1, 1, Flags::ACK, &[7; 2000]);
    s.sent();
    s.c.discard(1000);
    assert_eq!(s.sent(), []);
}

#[test]
fn rfc_7323_2_windows_are_scaled_but_not_in_a_syn() {
    let handshake = Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 100,
        scale: Some(9),
        mss: Some(MSS),
        has_sack: false,
        timestamp: None,
    };
    let wide = Config {
        receive: (300_000, 4 << 20),
        ..config(0)
    };
    let (options, window) = Connection::answer(&wide, &handshake, ms(0));
    assert_eq!(
        (options.scale, window, options.sack_permitted),
        (Some(7), 65_535, false)
    );
    let c = Connection::answered(&wide, POLICY, &handshake, ms(1000));
    assert_eq!(c.window, 100);
    let mut s = Scene { c, now: ms(1000) };
    s.take_with(1, 1, Flags::ACK, 100, Options::default(), &[]);
    assert_eq!(s.c.window, 51_200);
    s.take(0, 1, Flags::ACK, &[]);
    let out = drain(&mut s.c, s.now);
    assert_eq!(out[0].of.window, (300_000 >> 7) as u16);
}

#[test]
fn program_may_bound_the_window_that_is_told() {
    let mut s = Scene::new();
    s.c.set_policy(Policy {
        most_window: 3000,
        ..POLICY
    });
    // What was promised before stays so.
    let told = s.c.receive.edge;
    s.take(1, 1, Flags::ACK, &[7; 1000]);
    s.c.discard(1000);
    assert!(s.sent().len() <= 1 && s.c.receive.edge == told);
    let mut taken = 1000;
    while s.c.receive.edge.beyond(s.c.receive.next) > 3000 {
        s.take(1 + taken, 1, Flags::ACK, &[7; 1000]);
        taken += 1000;
        s.c.discard(1000);
        s.sent();
    }
    s.take(1 + taken, 1, Flags::ACK, &[7; 1000]);
    s.c.discard(1000);
    s.sent();
    let window = s.c.receive.told.beyond(s.c.receive.next);
    assert!((2000..=3000).contains(&window), "{window}");
}

#[test]
fn program_may_bound_what_waits_to_be_sent() {
    let mut s = Scene::new();
    s.c.set_policy(Policy {
        most_unsent: 4000,
        ..POLICY
    });
    s.take_with(1, 1, Flags::ACK, 2000, Options::default(), &[]);
    s.write(1900);
    assert!(s.c.is_worth_a_write(), "less than half");
    s.write(1000);
    assert!(!s.c.is_worth_a_write() && s.c.send_room() == 1100);
    s.write(1000);
    // Where little is wanted, it is a segment.
    assert_eq!(s.c.send_room(), 1000);
    assert_eq!(s.c.write(&mut &[0; 9000][..]), Ok(1000));
    assert_eq!((s.c.unsent(), s.c.send_room()), (4900, 0));
    assert_eq!(s.sent().len(), 2);
    // What is under way does not count.
    assert_eq!(s.c.send_room(), 1100);
    s.take_with(1, 2001, Flags::ACK, 2000, Options::default(), &[]);
    assert_eq!(s.sent().len(), 2);
    assert!(s.c.is_worth_a_write() && s.c.unsent() == 2900);
}
