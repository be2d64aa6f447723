//! Rules of RFC 9293 and its company, one dialogue for each.

use super::*;
use crate::End;
use tyn_abi::Errno;

#[test]
fn rfc_9293_3_5_three_way_handshake() {
    let mut s = client();
    let syn = drain(&mut s.c, s.now);
    assert_eq!(syn[0].brief(), (-1, 0, 2));
    let options = syn[0].of.options;
    assert_eq!(
        (options.mss, options.scale, options.sack_permitted),
        (Some(MSS), Some(0), true)
    );
    assert!(options.timestamps.is_some());
    s.take_with(0, 1, Flags::SYN.with(Flags::ACK), 1000, syn_ack(), &[]);
    assert_eq!(s.c.state(), State::Established);
    assert_eq!((s.c.window, s.c.peer_scale, s.c.mss), (1000, 3, 900));
    assert_eq!(s.sent(), [(0, 0, ACK)]);
    assert_eq!(s.c.deadline(), None);
}

#[test]
fn rfc_9293_3_5_simultaneous_open() {
    let mut s = client();
    s.sent();
    s.take_with(0, 0, Flags::SYN, 1000, syn_ack(), &[]);
    assert_eq!(s.c.state(), State::SynReceived);
    assert_eq!(s.sent(), [(-1, 0, 18)]);
    s.take_with(
        0,
        1,
        Flags::SYN.with(Flags::ACK),
        1000,
        Options::default(),
        &[],
    );
    s.take(1, 1, Flags::ACK, &[]);
    assert_eq!(s.c.state(), State::Established);
}

#[test]
fn rfc_9293_3_10_7_3_acknowledgement_of_nothing_is_reset() {
    let mut s = client();
    s.sent();
    s.take(0, 77, Flags::ACK, &[]);
    assert_eq!(
        (s.sent(), s.c.state()),
        (alloc::vec![(76, 0, 4)], State::SynSent)
    );
    s.take(0, 77, Flags::RST.with(Flags::ACK), &[]);
    assert_eq!((s.sent(), s.c.state()), (alloc::vec![], State::SynSent));
    s.take(0, 0, Flags::RST, &[]);
    assert_eq!(s.c.state(), State::SynSent);
    s.take(0, 1, Flags::RST.with(Flags::ACK), &[]);
    assert_eq!((s.c.state(), s.c.end()), (State::Closed, Some(End::Reset)));
}

#[test]
fn rfc_6298_2_syn_is_repeated_and_given_up() {
    let mut s = client();
    s.c.policy.patience = ms(127_000);
    s.sent();
    for seconds in [1, 2, 4, 8, 16, 32] {
        assert_eq!(s.wait(), (seconds * 1000, alloc::vec![(-1, 0, 2)]));
    }
    assert_eq!(s.wait(), (64_000, alloc::vec![]));
    assert_eq!(s.c.end(), Some(End::Silence(None)));
}

#[test]
fn rfc_9293_3_6_close_from_our_side() {
    let mut s = Scene::new();
    s.write(10);
    s.c.shut_down();
    assert_eq!(s.c.write(&mut &b"x"[..]), Err(Errno::EPIPE));
    assert_eq!(s.c.state(), State::FinWait1);
    assert_eq!(s.sent(), [(0, 10, PSH_ACK | 1)]);
    s.take(1, 12, Flags::ACK, &[]);
    assert_eq!(s.c.state(), State::FinWait2);
    // The other direction goes on.
    s.take(1, 12, Flags::ACK, b"more");
    assert_eq!(s.c.readable(), 4);
    s.take(5, 12, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(
        (s.c.state(), s.sent()),
        (State::TimeWait, alloc::vec![(11, 0, ACK)])
    );
    assert_eq!(s.c.deadline(), None);
    s.take(5, 12, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(s.sent(), [(11, 0, ACK)], "the peer did not hear it");
}

#[test]
fn rfc_9293_3_6_close_from_the_other_side() {
    let mut s = Scene::new();
    s.take(1, 1, Flags::FIN.with(Flags::ACK), b"bye");
    assert_eq!(
        (s.c.state(), s.sent()),
        (State::CloseWait, alloc::vec![(0, 0, ACK)])
    );
    s.write(5);
    assert_eq!(s.sent(), [(0, 5, PSH_ACK)]);
    s.c.shut_down();
    assert_eq!(
        (s.c.state(), s.sent()),
        (State::LastAck, alloc::vec![(5, 0, FIN_ACK)])
    );
    s.take(5, 7, Flags::ACK, &[]);
    assert_eq!(
        (s.c.state(), s.c.end()),
        (State::Closed, Some(End::Finished))
    );
}

#[test]
fn rfc_9293_3_6_simultaneous_close() {
    let mut s = Scene::new();
    s.c.shut_down();
    assert_eq!(s.sent(), [(0, 0, FIN_ACK)]);
    s.take(1, 1, Flags::FIN.with(Flags::ACK), &[]);
    assert_eq!(
        (s.c.state(), s.sent()),
        (State::Closing, alloc::vec![(1, 0, ACK)])
    );
    s.take(2, 2, Flags::ACK, &[]);
    assert_eq!(s.c.state(), State::TimeWait);
}

#[test]
fn rfc_5961_3_2_only_the_exact_reset_counts() {
    let mut s = Scene::new();
    s.take(100, 1, Flags::RST, &[]);
    assert_eq!(
        (s.c.state(), s.sent()),
        (State::Established, alloc::vec![(0, 0, ACK)])
    );
    s.take(101, 1, Flags::RST, &[]);
    assert_eq!(s.sent(), [], "challenges are few");
    s.take(-5, 1, Flags::RST, &[]);
    s.take(70_000, 1, Flags::RST, &[]);
    assert_eq!((s.c.state(), s.sent()), (State::Established, alloc::vec![]));
    s.take(1, 1, Flags::RST, &[]);
    assert_eq!(s.c.end(), Some(End::Reset));
}

#[test]
fn rfc_5961_4_2_syn_is_challenged() {
    let mut s = Scene::new();
    s.take(50, 1, Flags::SYN, &[]);
    assert_eq!(
        (s.c.state(), s.sent()),
        (State::Established, alloc::vec![(0, 0, ACK)])
    );
}

#[test]
fn rfc_5961_5_2_acknowledgements_out_of_range_are_challenged_and_their_data_dropped() {
    for ack in [2, -70_000] {
        let mut s = Scene::new();
        s.take(1, ack, Flags::ACK, b"data");
        assert_eq!((s.c.readable(), s.sent()), (0, alloc::vec![(0, 0, ACK)]));
    }
}

#[test]
fn rfc_1122_4_2_3_6_keep_alive() {
    let mut s = Scene::new();
    s.c.set_policy(Policy {
        keep_alive: Some((ms(10_000), ms(1000), 3)),
        ..POLICY
    });
    assert_eq!(s.wait(), (10_000, alloc::vec![(-1, 0, ACK)]));
    s.take(1, 1, Flags::ACK, &[]);
    for wait in [10_000, 1000, 1000] {
        assert_eq!(s.wait(), (wait, alloc::vec![(-1, 0, ACK)]));
    }
    assert_eq!(s.wait(), (1000, alloc::vec![]));
    assert_eq!(s.c.end(), Some(End::Silence(None)));
    let mut s = Scene::new();
    s.take(0, 1, Flags::ACK, &[]);
    assert_eq!(s.sent(), [(0, 0, ACK)], "probes are answered");
}

#[test]
fn rfc_7323_5_3_old_timestamps_are_refused() {
    let mut s = Scene::with(Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 60_000,
        scale: None,
        mss: None,
        has_sack: true,
        timestamp: Some(1000),
    });
    assert_eq!(s.c.mss, 536);
    let at = |value| Options {
        timestamps: Some((value, 0)),
        ..Options::default()
    };
    s.take_with(1, 1, Flags::ACK, 500, at(999), b"old");
    assert_eq!((s.c.readable(), s.sent().len()), (0, 1));
    s.take_with(1, 1, Flags::ACK, 500, at(1001), b"new");
    s.write(5);
    let out = drain(&mut s.c, s.now);
    assert_eq!(out[0].of.options.timestamps, Some((1000 + 777, 1001)));
    s.take_with(4, 6, Flags::RST, 500, at(3), &[]);
    assert_eq!(s.c.end(), Some(End::Reset), "resets are not checked");
}

#[test]
fn rfc_8201_4_too_big_packets_are_sent_in_pieces() {
    let mut s = Scene::new();
    s.write(3000);
    assert_eq!(s.sent().len(), 3);
    let window = s.c.congestion.window;
    s.c.on_packet_too_big(OURS + 3001, 500, s.now);
    s.c.on_packet_too_big(OURS, 500, s.now);
    assert_eq!(s.sent(), [], "not in flight");
    s.c.on_packet_too_big(OURS + 1, 600, s.now);
    let sent = s.sent();
    assert_eq!(
        sent.iter()
            .map(|&(seq, len, _)| (seq, len))
            .collect::<Vec<_>>(),
        [
            (0, 600),
            (600, 400),
            (1000, 600),
            (1600, 400),
            (2000, 600),
            (2600, 400)
        ]
    );
    assert_eq!(s.c.congestion.window, window);
    s.c.on_packet_too_big(OURS + 1, 1000, s.now);
    assert_eq!(s.c.segment_size(), 600, "never greater");
    s.take(1, 3001, Flags::ACK, &[]);
    s.write(1000);
    assert_eq!(s.sent(), [(3000, 600, ACK), (3600, 400, PSH_ACK)]);
}

#[test]
fn rfc_1122_4_2_3_9_soft_errors_are_told_at_the_end_only() {
    let mut s = Scene::new();
    s.write(10);
    s.sent();
    s.c.on_soft_error(OURS + 1, Errno::EHOSTUNREACH);
    while s.c.state() != State::Closed {
        s.wait();
    }
    assert_eq!(s.c.end(), Some(End::Silence(Some(Errno::EHOSTUNREACH))));
}

#[test]
fn rfc_9293_3_10_5_abort_resets() {
    let mut s = Scene::new();
    s.write(10);
    s.c.abort();
    assert_eq!(s.sent(), [(0, 0, 20)]);
    assert_eq!(
        (s.c.end(), s.c.is_silent(), s.c.deadline()),
        (Some(End::Aborted), true, None)
    );
}

#[test]
fn memory_is_given_back_and_taken_again() {
    let mut s = Scene::new();
    assert!(s.c.memory() > 0, "the list of what was sent");
    s.c.release();
    assert_eq!(s.c.memory(), 0);
    s.take(1, 1, Flags::ACK, &[1; 700]);
    s.write(5000);
    assert!(s.c.memory() >= 5700);
    s.sent();
    s.take(701, 5001, Flags::ACK, &[]);
    assert!(!s.c.is_quiet());
    s.c.discard(700);
    assert!(s.c.is_quiet());
    s.c.release();
    assert_eq!(s.c.memory(), 0);
    s.write(3);
    assert_eq!(s.sent(), [(5000, 3, PSH_ACK)]);
    s.c.set_spare(1024);
    s.take(701, 5004, Flags::ACK, &[1; 1000]);
    s.take(1701, 5004, Flags::ACK, &[1; 1000]);
    assert_eq!(s.c.readable(), 1024, "no more than is allowed");
    let out = drain(&mut s.c, s.now);
    assert_eq!((out[0].of.window, out[0].of.ack), (0, THEIRS + 1725));
}

#[test]
fn queues_follow_what_the_network_takes() {
    let mut s = Scene::new();
    s.c.send_limit = (20_000, 1 << 20);
    s.c.receive_limit = (10_000, 1 << 20);
    assert_eq!(s.c.send_room(), 20_000);
    let mut acked = 0;
    for _ in 0..20 {
        s.write(s.c.send_room().min(30_000));
        let sent: usize = s.sent().iter().map(|s| s.1).sum();
        acked += sent;
        s.take(1, acked as i32 + 1, Flags::ACK, &[]);
    }
    assert!(s.c.send_room() > 60_000);
    let mut at = 1;
    for _ in 0..200 {
        s.take(at, acked as i32 + 1, Flags::ACK, &[1; 1000]);
        at += 1000;
        s.c.discard(1000);
        s.sent();
    }
    assert!(s.c.receive_capacity() > 60_000);
}

#[test]
fn tcp_7_syncnt_says_how_often_a_syn_is_repeated() {
    // After n repetitions the time-out is over that would be the next one's: 1 + 2 + 4 + ... seconds.
    let time_out = |n: u64| (1 << n).min(120) * 1000;
    for repetitions in 1..=8 {
        let mut s = client();
        s.c.policy.patience = ms((0..=repetitions).map(time_out).sum());
        s.sent();
        for n in 0..repetitions {
            assert_eq!(s.wait(), (time_out(n), alloc::vec![(-1, 0, 2)]));
        }
        assert_eq!(s.wait(), (time_out(repetitions), alloc::vec![]));
        assert_eq!(s.c.end(), Some(End::Silence(None)));
    }
}
