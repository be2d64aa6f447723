//! What a connection tells of itself, in dialogues.

use super::*;
use crate::info::Congestion;

#[test]
fn what_is_under_way_and_lost_is_told_in_segments() {
    let mut s = Scene::new();
    s.write(1000);
    s.sent();
    s.now = s.now + ms(50);
    s.take(1, 1001, Flags::ACK, &[]);
    s.write(8000);
    assert_eq!(s.sent().len(), 8);
    s.now = s.now + ms(50);
    let info = s.c.info(s.now);
    assert_eq!((info.unacknowledged, info.sacked, info.lost), (8, 0, 0));
    assert_eq!((info.rtt, info.least_rtt), (ms(50), ms(50)));
    assert_eq!((info.variation, info.timeout), (ms(25), ms(250)));
    assert_eq!((info.since_sent, info.since_received), (ms(50), ms(100)));
    assert_eq!((info.segment, info.peer_segment), (1000, 536));
    assert_eq!((info.threshold, info.window), (None, 10));
    // The first and the third of eight are missing.
    s.sack(1000, &[(2000, 3000), (4000, 9000)]);
    let info = s.c.info(s.now);
    assert_eq!(info.congestion, Congestion::Recovery);
    assert_eq!(
        (info.unacknowledged, info.sacked, info.lost, info.repeated),
        (8, 6, 2, 0)
    );
    assert_eq!(info.threshold, Some(info.window));
    assert_eq!(s.sent().len(), 2);
    let info = s.c.info(s.now);
    assert_eq!(
        (info.lost, info.repeated, info.counters.repeated),
        (0, 2, 2)
    );
    assert_eq!(info.counters.bytes_repeated, 2000);
    assert_eq!(info.counters.bytes_sent, 11_000);
    assert_eq!(info.counters.data_segments_out, 11);
    s.take(1, 9001, Flags::ACK, &[1; 300]);
    let info = s.c.info(s.now);
    assert_eq!((info.unacknowledged, info.repeated), (0, 0));
    assert_eq!(info.counters.bytes_acked, 9000);
    assert_eq!(info.counters.bytes_received, 300);
    // All nine, and the SYN.
    assert_eq!(info.counters.delivered, 10);
    assert_eq!(info.congestion, Congestion::Open);
    assert_eq!(
        (info.counters.segments_in, info.counters.data_segments_in),
        (5, 1)
    );
}

#[test]
fn timeouts_are_told_until_something_is_acknowledged() {
    let mut s = Scene::new();
    s.write(1000);
    s.sent();
    for n in 1..4 {
        s.wait();
        let info = s.c.info(s.now);
        assert_eq!(info.congestion, Congestion::Loss);
        assert_eq!((info.timeouts, info.counters.repeated), (n, n.into()));
        assert_eq!((info.repeated, info.probes), (1, 0));
    }
    s.take(1, 1001, Flags::ACK, &[]);
    let info = s.c.info(s.now);
    assert_eq!((info.timeouts, info.repeated), (0, 0));
    assert_eq!(
        (info.congestion, info.counters.repeated),
        (Congestion::Open, 3)
    );
}

#[test]
fn what_comes_early_or_in_one_piece_is_counted_by_segments() {
    let mut s = Scene::new();
    s.take(1001, 1, Flags::ACK, &[1; 2500]);
    s.take(1, 1, Flags::ACK, &[1; 1000]);
    let sums = s.c.info(s.now).counters;
    assert_eq!((sums.early, sums.bytes_received), (1, 3500));
    assert_eq!((sums.data_segments_in, sums.segments_in), (4, 6));
    s.take(3501, 1, Flags::ACK.with(Flags::FIN), &[]);
    assert_eq!(s.c.info(s.now).counters.bytes_received, 3501);
}
