//! What is sent while losses are repaired (RFC 6937).

use super::*;

/// A scene with 20 segments in flight, which fill the window, and more to send.
fn flight() -> Scene {
    let mut s = Scene::new();
    s.write(1000);
    s.sent();
    s.now = s.now + ms(50);
    s.take(1, 1001, Flags::ACK, &[]);
    s.c.congestion.window = 20_000;
    s.write(50_000);
    assert_eq!(s.sent().len(), 20);
    s.now = s.now + ms(50);
    s
}

#[test]
fn rfc_6937_3_reduction_is_spread_over_the_acknowledgements() {
    let mut s = flight();
    // The first of twenty is missing. Two of new data go while that is not certain, and of 22 under way then 14 are to
    // be left: for each eleven that arrive seven go.
    let mut sent = Vec::new();
    for n in 0..13 {
        s.sack(1000, &[(2000, 3000 + n * 1000)]);
        sent.push(s.sent().len());
    }
    assert_eq!(sent, [1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]);
    assert!(s.c.recovery.is_on());
    s.take(1, 23_001, Flags::ACK, &[]);
    assert!(!s.c.recovery.is_on());
    assert_eq!(s.c.congestion.window, 14_000);
}

#[test]
fn rfc_6937_3_great_losses_are_not_repaired_in_one_burst() {
    let mut s = flight();
    s.sack(1000, &[(18_000, 21_000)]);
    // Seventeen are lost; three have arrived, and one more may go.
    assert_eq!(s.sent().len(), 4);
    s.now = s.now + ms(50);
    // Slow start up to what the window is to be.
    s.sack(2000, &[(18_000, 21_000)]);
    assert_eq!(s.sent().len(), 2);
    s.sack(3000, &[(18_000, 21_000)]);
    assert_eq!(s.sent().len(), 2);
    for n in 4..18 {
        s.sack(n * 1000, &[(18_000, 21_000)]);
        s.sent();
        assert!(s.c.in_flight() <= 14_000);
    }
    s.sack(21_000, &[]);
    assert_eq!(s.c.congestion.window, 14_000);
}

#[test]
fn rfc_6937_3_timeout_in_recovery_begins_anew() {
    let mut s = flight();
    s.sack(1000, &[(18_000, 21_000)]);
    assert_eq!(s.sent().len(), 4);
    while !s.c.recovery.is_after_timeout {
        s.wait();
    }
    assert!(s.c.recovery.prr.is_none());
    assert_eq!(s.c.congestion.window, 1000);
}
