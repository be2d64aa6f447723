//! Segments that leave as one packet.

use super::*;

const ACK: u8 = 16;
const PSH_ACK: u8 = 24;
const FIN_PSH_ACK: u8 = 25;

impl Scene {
    /// What it sends now in trains of up to `most` segments, in brief.
    fn trains(&mut self, most: usize) -> Vec<(i32, usize, u8)> {
        let sent = drain_trains(&mut self.c, self.now, most);
        sent.iter().map(Out::brief).collect()
    }
}

#[test]
fn window_is_filled_by_one_packet_and_each_segment_is_listed() {
    let mut s = Scene::new();
    s.write(30_000);
    // The initial window has ten segments.
    assert_eq!(s.trains(64), [(0, 10_000, ACK)]);
    assert_eq!(s.c.board.iter().count(), 10);
    // Two are acknowledged in slow start: four may go.
    s.take(1, 2001, Flags::ACK, &[]);
    assert_eq!(s.trains(64), [(10_000, 4000, ACK)]);
    // One of those is lost, and sent again alone.
    s.sack(2000, &[(3000, 10_000)]);
    assert_eq!(s.trains(64).first(), Some(&(2000, 1000, ACK)));
}

#[test]
fn trains_are_no_longer_than_allowed() {
    let mut s = Scene::new();
    s.write(9500);
    let expected = [(0, 3000, ACK), (3000, 3000, ACK), (6000, 3000, ACK)];
    let sent = s.trains(3);
    assert_eq!(sent[..3], expected);
    assert_eq!(sent[3..], [(9000, 500, PSH_ACK)]);
    // What fits no packet goes in two.
    let mut s = Scene::with(Handshake {
        ours: OURS,
        theirs: THEIRS,
        window: 65_535,
        scale: Some(4),
        mss: Some(MSS),
        has_sack: true,
        timestamp: None,
    });
    s.c.congestion.window = 1_000_000;
    s.take_with(1, 1, Flags::ACK, 65_535, Options::default(), &[]);
    s.c.send_limit = (200_000, 200_000);
    s.write(120_000);
    let expected = [(0, 65_000, ACK), (65_000, 55_000, PSH_ACK)];
    assert_eq!(s.trains(1000), expected);
}

#[test]
fn rest_goes_along_unless_it_must_wait() {
    let mut s = Scene::new();
    s.write(2500);
    assert_eq!(s.trains(64), [(0, 2500, PSH_ACK)]);
    // Nagle: a second small one waits for the first.
    s.c.policy.no_delay = false;
    s.write(1700);
    assert_eq!(s.trains(64), [(2500, 1000, ACK)]);
    s.take(1, 3501, Flags::ACK, &[]);
    assert_eq!(s.trains(64), [(3500, 700, PSH_ACK)]);
}

#[test]
fn end_goes_along() {
    let mut s = Scene::new();
    s.write(2000);
    s.c.shut_down();
    assert_eq!(s.trains(64), [(0, 2000, FIN_PSH_ACK)]);
    let lens: Vec<_> = s.c.board.iter().map(|s| s.len()).collect();
    assert_eq!(lens, [1000, 1001]);
    // The second is lost, and sent again as long as a segment may be.
    s.take(1, 1001, Flags::ACK, &[]);
    let (_, again) = s.wait();
    assert_eq!(again, [(1001, 999, FIN_PSH_ACK & !8)]);
}

#[test]
fn peers_window_bounds_a_train() {
    let mut s = Scene::new();
    s.take_with(1, 1, Flags::ACK, 3500, Options::default(), &[]);
    s.write(9000);
    assert_eq!(s.trains(64), [(0, 3000, ACK)]);
    s.take_with(1, 1, Flags::ACK, 4000, Options::default(), &[]);
    assert_eq!(s.trains(64), [(3000, 1000, ACK)]);
}

#[test]
fn what_is_held_back_does_not_go_along() {
    let mut s = Scene::new();
    s.c.set_held(true);
    s.write(3300);
    assert_eq!(s.trains(64), [(0, 3000, ACK)]);
    assert_eq!(s.c.held(), 300);
}

#[test]
fn reports_leave_room_in_each_segment() {
    let mut s = Scene::new();
    s.take(1001, 1, Flags::ACK, &[5; 500]);
    s.write(5000);
    let sent = drain_trains(&mut s.c, s.now, 64);
    assert_eq!(sent[0].of.options.blocks().len(), 1);
    assert!(sent[0].of.piece + sent[0].of.options.len() <= usize::from(MSS));
    assert!(sent[0].of.len > 4 * sent[0].of.piece);
    assert_eq!(s.c.board.iter().count(), 6);
}

#[test]
fn without_memory_nothing_is_lost() {
    let mut s = Scene::new();
    s.c.board.without_memory = true;
    s.write(5000);
    assert_eq!(s.trains(64), []);
    s.c.board.without_memory = false;
    let (_, sent) = s.wait();
    assert_eq!(sent.len(), 5);
}

#[test]
fn trains_of_any_length_send_the_same_bytes() {
    for most in [0, 1, 2, usize::MAX] {
        let mut s = Scene::new();
        s.write(9999);
        let mut next = 0;
        while let Some(of) = s.c.next_train(s.now, most) {
            assert_eq!(of.seq, OURS + 1 + next);
            next += of.len;
        }
        assert_eq!(next, 9999);
    }
}
