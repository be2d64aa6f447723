//! Rules that a first reading of the engine against the RFCs found broken, one dialogue for each.

use super::*;
use crate::End;
use crate::options::Block;

const ACK: u8 = 16;
const SYN_ACK: Flags = Flags(18);

/// A scene with a round trip of 50 ms measured and nothing in flight.
fn measured() -> Scene {
    let mut s = Scene::new();
    s.write(1000);
    s.sent();
    s.now = s.now + ms(50);
    s.take(1, 1001, Flags::ACK, &[]);
    s
}

#[test]
fn rfc_1122_4_2_3_6_keep_alive_switched_on_late_sends_one_probe() {
    let mut s = Scene::new();
    s.now = s.now + ms(3_600_000);
    let mut policy = POLICY;
    policy.keep_alive = Some((ms(60_000), ms(10_000), 3));
    s.c.set_policy(policy);
    let (time, sent) = s.wait();
    assert_eq!((time, sent), (0, alloc::vec![(-1, 0, ACK)]));
    assert_eq!(s.wait(), (10_000, alloc::vec![(-1, 0, ACK)]));
    // The peer is there: the next probe is due after a whole idle time.
    s.take(1, 1, Flags::ACK, &[]);
    assert_eq!(s.wait(), (60_000, alloc::vec![(-1, 0, ACK)]));
    for _ in 0..2 {
        assert_eq!(s.wait(), (10_000, alloc::vec![(-1, 0, ACK)]));
    }
    assert_eq!(s.wait(), (10_000, alloc::vec![]));
    assert_eq!(s.c.end(), Some(End::Silence(None)));
}

#[test]
fn rfc_1122_4_2_3_6_keep_alive_survives_a_jump_of_the_clock() {
    let mut s = Scene::new();
    let mut policy = POLICY;
    policy.keep_alive = Some((ms(60_000), ms(10_000), 3));
    s.c.set_policy(policy);
    s.now = s.now + ms(3_600_000);
    for _ in 0..5 {
        s.c.on_deadline(s.now);
    }
    assert_eq!(s.c.state(), State::Established);
    assert_eq!(s.sent(), [(-1, 0, ACK)]);
}

/// Lets two connections talk until both are silent; what `lost` says does not arrive.
fn talk(ends: &mut [Connection; 2], now: Nanos, mut lost: impl FnMut(usize, u8) -> bool) {
    for _ in 0..20 {
        let sent = [drain(&mut ends[0], now), drain(&mut ends[1], now)];
        if sent.iter().all(Vec::is_empty) {
            return;
        }
        for (from, all) in sent.iter().enumerate() {
            for out in all.iter().filter(|out| !lost(from, out.of.flags.0)) {
                ends[1 - from].on_segment(&out.segment(), now);
            }
        }
    }
    panic!("they talk for ever: {ends:?}");
}

fn openers() -> [Connection; 2] {
    [OURS, THEIRS].map(|first| Connection::connect(&config(60_000), POLICY, first, ms(1000)))
}

#[test]
fn rfc_9293_3_5_simultaneous_open_of_two_engines_completes() {
    let mut ends = openers();
    talk(&mut ends, ms(1000), |_, _| false);
    for end in &ends {
        assert_eq!(end.state(), State::Established);
        assert_eq!(end.deadline(), None);
    }
    assert_eq!(ends[0].write(&mut &b"hello"[..]), Ok(5));
    talk(&mut ends, ms(1000), |_, _| false);
    assert_eq!(ends[1].readable(), 5);
}

#[test]
fn rfc_9293_3_5_simultaneous_open_completes_though_answers_are_lost() {
    let mut ends = openers();
    // Of the first end, neither SYN|ACK nor acknowledgement arrives at first.
    talk(&mut ends, ms(1000), |from, flags| {
        from == 0 && flags & ACK != 0
    });
    assert_eq!(ends[0].state(), State::Established);
    assert_eq!(ends[1].state(), State::SynReceived);
    let now = ends[1].deadline().expect("it tries again");
    ends[1].on_deadline(now);
    talk(&mut ends, now, |_, _| false);
    assert_eq!(ends[1].state(), State::Established);
}

#[test]
fn rfc_9293_3_5_connection_to_itself_completes() {
    let mut c = Connection::connect(&config(60_000), POLICY, OURS, ms(1000));
    let mut count = 0;
    loop {
        let sent = drain(&mut c, ms(1000));
        if sent.is_empty() {
            break;
        }
        for out in sent {
            count += 1;
            assert!(count < 20, "it talks to itself for ever");
            c.on_segment(&out.segment(), ms(1000));
        }
    }
    assert_eq!((c.state(), c.deadline()), (State::Established, None));
}

#[test]
fn rfc_9293_3_10_7_4_bare_syn_again_is_answered_again_and_a_strange_answer_is_not_taken() {
    let mut s = Scene {
        c: Connection::connect(&config(60_000), POLICY, OURS, ms(1000)),
        now: ms(1000),
    };
    s.sent();
    s.take(0, 0, Flags::SYN, &[]);
    assert_eq!(s.sent(), [(-1, 0, 18)]);
    s.take(0, 0, Flags::SYN, &[]);
    assert_eq!(s.sent(), [(-1, 0, 18)]);
    s.take(0, 77, SYN_ACK, &[]);
    assert_eq!((s.c.state(), s.sent()), (State::SynReceived, alloc::vec![]));
    s.take(0, 1, SYN_ACK, &[]);
    assert_eq!(s.c.state(), State::Established);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
}

#[test]
fn rfc_9293_3_8_6_2_2_little_memory_is_offered_again() {
    let mut big = config(60_000);
    big.mss = 1460;
    let handshake = Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 60_000,
        scale: Some(0),
        mss: Some(1460),
        has_sack: true,
        timestamp: None,
    };
    let mut s = Scene {
        c: Connection::answered(&big, POLICY, &handshake, ms(1000)),
        now: ms(1000),
    };
    s.take(1, 1, Flags::ACK, &[]);
    s.c.set_spare(1024);
    // It keeps what it has promised until that is used up; what does not fit is dropped.
    let mut at = 1;
    let mut window = 60_000;
    for round in 0.. {
        assert!(round < 200, "the window does not open");
        let len = usize::from(window).clamp(1, 500);
        s.take(at, 1, Flags::ACK, &alloc::vec![7; len]);
        at = s.c.numbers().1.since(THEIRS);
        let told = drain(&mut s.c, s.now).last().map(|out| out.of.window);
        window = told.unwrap_or(window);
        if window == 0 {
            break;
        }
    }
    assert!(s.c.readable() >= 1000);
    let all = s.c.readable();
    assert_eq!(s.c.discard(all), all);
    let told = drain(&mut s.c, s.now).last().map(|out| out.of.window);
    assert!(told.is_some_and(|window| window >= 1024), "{told:?}");
}

#[test]
fn rfc_9293_3_8_6_2_2_little_memory_is_offered_after_a_full_queue() {
    let (mut s, next) = full();
    s.c.offered_mss = 1460;
    s.c.set_spare(1024);
    assert_eq!(s.c.take_unread().len(), 60_000);
    // The peer asks.
    s.take(next - 1, 1, Flags::ACK, &[]);
    let told = drain(&mut s.c, s.now).last().map(|out| out.of.window);
    assert_eq!(told, Some(1024));
}

#[test]
fn rfc_9293_3_8_3_orphan_whose_peer_keeps_its_window_closed_is_given_up() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    s.write(100);
    assert_eq!(s.sent(), []);
    s.c.shut_down();
    s.c.set_orphan(s.now);
    let start = s.now;
    while s.c.state() != State::Closed {
        s.wait();
        assert!(s.now - start <= POLICY.patience, "it is kept for ever");
        s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    }
    assert_eq!(s.c.end(), Some(End::Silence(None)));
}

#[test]
fn rfc_9293_3_8_6_1_closed_window_lasts_while_the_program_stays() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    s.write(100);
    s.sent();
    let start = s.now;
    while s.now - start < ms(3_600_000) {
        s.wait();
        s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    }
    assert_eq!(s.c.state(), State::Established);
    // The program goes: patience begins now.
    let start = s.now;
    s.c.set_orphan(s.now);
    assert_eq!(s.c.state(), State::Established);
    while s.c.state() != State::Closed {
        s.wait();
        s.take_with(1, 1, Flags::ACK, 0, Options::default(), &[]);
    }
    assert_eq!(s.now - start, POLICY.patience);
}

#[test]
fn rfc_6298_5_window_updates_do_not_hold_the_timer_up() {
    let mut s = measured();
    s.write(2000);
    s.sent();
    let due = s.c.deadline().expect("a timer runs");
    for n in 1..5u16 {
        s.now = s.now + ms(10);
        s.take_with(1, 1001, Flags::ACK, 60_000 - n, Options::default(), &[]);
        assert_eq!(s.c.deadline(), Some(due));
    }
}

#[test]
fn rfc_6298_5_1_new_segments_do_not_hold_the_timer_up() {
    let mut s = measured();
    s.write(1000);
    let start = s.now;
    s.sent();
    let timeout = s.c.rtt.timeout();
    // The program goes on writing, and nothing is acknowledged.
    let mut repeated = None;
    for _ in 0..100 {
        // Not so often that there would be too many segments under way.
        s.now = s.now + ms(30);
        s.c.on_deadline(s.now);
        s.write(10);
        if s.sent().iter().any(|sent| sent.0 == 1000) {
            repeated = Some(s.now - start);
            break;
        }
    }
    let repeated = repeated.expect("it is sent again");
    assert!(repeated <= timeout + ms(30), "{repeated:?} {timeout:?}");
}

#[test]
fn rfc_6298_5_1_repetition_of_the_oldest_starts_the_timer_anew() {
    let mut s = measured();
    s.write(6000);
    s.sent();
    s.now = s.now + ms(150);
    s.sack(1000, &[(2000, 5000)]);
    assert_eq!(s.sent(), [(1000, 1000, ACK)]);
    let due = s.c.retransmit_at.expect("a timer runs");
    assert_eq!(due, s.now + s.c.rtt.timeout());
}

#[test]
fn without_memory_for_the_board_it_is_tried_again() {
    let mut s = measured();
    s.c.board.without_memory = true;
    s.write(1000);
    s.now = s.now + ms(5000);
    assert_eq!(s.sent(), []);
    assert_eq!(s.c.waiting_since, s.now);
    let at = s.c.deadline().expect("a timer runs");
    s.now = at;
    s.c.on_deadline(at);
    s.c.board.without_memory = false;
    assert_eq!(s.sent(), [(1000, 1000, 24)]);
}

#[test]
fn without_memory_for_the_board_a_syn_is_tried_again() {
    let mut s = Scene {
        c: Connection::connect(&config(60_000), POLICY, OURS, ms(1000)),
        now: ms(1000),
    };
    s.c.board.without_memory = true;
    assert_eq!(s.sent(), []);
    let at = s.c.deadline().expect("a timer runs");
    s.now = at;
    s.c.on_deadline(at);
    s.c.board.without_memory = false;
    assert_eq!(s.sent(), [(-1, 0, 2)]);
    s.take(0, 1, SYN_ACK, &[]);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    assert_eq!(s.c.deadline(), None);
}

#[test]
fn rfc_9293_3_4_marks_do_not_fall_half_the_number_space_behind() {
    let mut s = measured();
    s.write(10);
    s.sent();
    s.sack(1010, &[(0, 500)]);
    for n in 1..9 {
        s.write(1000);
        s.sent();
        s.sack(1010 + n * 1000, &[]);
        assert!(!s.c.small_end.is_before(s.c.unacknowledged));
        assert!(!s.c.recovery.repeated_until.is_before(s.c.unacknowledged));
    }
}

#[test]
fn rfc_9293_3_10_7_4_fin_before_what_has_come_is_nonsense() {
    let mut s = Scene::new();
    s.take(11, 1, Flags::ACK, &[5; 10]);
    s.take(1, 1, Flags::FIN.with(Flags::ACK), b"hello");
    assert_eq!(s.c.state(), State::Established);
    assert_eq!((s.c.readable(), s.c.fin), (5, None));
    s.take(6, 1, Flags::ACK, b"world");
    assert_eq!(s.c.readable(), 20);
    s.take(21, 1, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(s.c.state(), State::CloseWait);
}

/// A scene whose last segment, of two, was sent again as a probe, of which nothing is heard yet.
fn probed() -> Scene {
    let mut s = measured();
    s.write(2000);
    s.sent();
    s.now = s.now + ms(50);
    assert_eq!(s.wait().1, [(2000, 1000, ACK)]);
    s.now = s.now + ms(50);
    s
}

#[test]
fn rfc_8985_7_4_2_acknowledgement_up_to_the_probe_does_not_tell() {
    // First the original arrives, then the probe: D-SACK.
    let mut s = probed();
    let before = s.c.congestion.window;
    s.sack(3000, &[]);
    assert!(s.c.congestion.window >= before);
    s.sack(3000, &[(2000, 3000)]);
    assert_eq!(s.c.recovery.tail, None);
    // A peer that does not report what came twice: a duplicate without SACK.
    let mut s = probed();
    let before = s.c.congestion.window;
    s.sack(3000, &[]);
    s.sack(3000, &[]);
    assert_eq!(s.c.recovery.tail, None);
    assert!(s.c.congestion.window >= before);
    // Neither: the next acknowledgement tells that the probe repaired a loss.
    let mut s = probed();
    let before = s.c.congestion.window;
    s.sack(3000, &[]);
    s.write(1000);
    s.sent();
    s.sack(4000, &[]);
    assert_eq!(s.c.recovery.tail, None);
    assert_eq!(s.c.congestion.window, before * 7 / 10);
}

/// A scene whose receive queue is full, and the number that comes next.
fn full() -> (Scene, i32) {
    let mut s = Scene::new();
    for n in 0..60 {
        s.take(n * 1000 + 1, 1, Flags::ACK, &[3; 1000]);
    }
    let told = drain(&mut s.c, s.now).last().map(|out| out.of.window);
    assert_eq!((told, s.c.readable()), (Some(0), 60_000));
    (s, 60_001)
}

#[test]
fn rfc_9293_3_10_7_4_closed_window_takes_a_fin() {
    let (mut s, next) = full();
    s.take(next, 1, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(s.c.state(), State::CloseWait);
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    assert_eq!(s.c.readable(), 60_000);
}

#[test]
fn rfc_9293_3_10_7_4_closed_window_takes_acknowledgements() {
    let (mut s, next) = full();
    s.write(1000);
    assert_eq!(s.sent().len(), 1);
    s.take(next, 1001, Flags::ACK, b"does not fit");
    assert_eq!(s.c.sent().1, OURS + 1001);
    assert_eq!(
        (s.sent(), s.c.readable()),
        (alloc::vec![(1000, 0, ACK)], 60_000)
    );
    s.take(next, 1001, Flags::RST, &[]);
    assert_eq!(s.c.end(), Some(End::Reset));
}

#[test]
fn rfc_7323_2_4_told_edge_does_not_move_left_while_there_is_memory() {
    let limit = 1 << 20;
    let mut s = Scene {
        c: Connection::answered(
            &config(limit),
            POLICY,
            &Handshake {
                ours: OURS,
                theirs: THEIRS,
                window: 60_000,
                scale: Some(0),
                mss: Some(MSS),
                has_sack: true,
                timestamp: None,
            },
            ms(1000),
        ),
        now: ms(1000),
    };
    s.take(1, 1, Flags::ACK, &[]);
    let unit = 1 << s.c.scale;
    assert!(unit > 1);
    let mut edge: Option<Seq> = None;
    let mut at = 1;
    while s.c.readable() + 3 * usize::from(MSS) < limit {
        s.take(at, 1, Flags::ACK, &[1; 501]);
        at += 501;
        s.c.ack_now = true;
        // The program keeps some of it.
        s.c.discard(250);
        let told = drain(&mut s.c, s.now).pop().expect("an acknowledgement");
        let now = told.of.ack + (usize::from(told.of.window) << s.c.scale);
        let free = s.c.promised();
        assert!(now.beyond(told.of.ack) < free + unit);
        if let Some(edge) = edge {
            let is_full = now.beyond(told.of.ack) + unit > free;
            assert!(!now.is_before(edge) || is_full, "{now:?} {edge:?}");
        }
        edge = Some(edge.map_or(now, |e| e.max(now)));
    }
    // A peer that sends little at a time finds the window closed in the end.
    for _ in 0..limit {
        s.take(at, 1, Flags::ACK, &[1; 9]);
        at = s.c.numbers().1.since(THEIRS);
        s.c.ack_now = true;
        let told = drain(&mut s.c, s.now).pop().expect("an acknowledgement");
        if told.of.window == 0 {
            return;
        }
    }
    panic!("the window does not close");
}

#[test]
fn blocks_of_a_probe_are_as_rfc_2883_has_them() {
    let mut s = probed();
    let block = Block {
        start: OURS + 2001,
        end: OURS + 3001,
    };
    let mut options = Options::default();
    options.push_block(block);
    s.take_with(1, 3001, Flags::ACK, 60_000, options, &[]);
    assert_eq!(s.c.recovery.tail, None);
    assert_eq!(s.c.deadline(), None);
}
