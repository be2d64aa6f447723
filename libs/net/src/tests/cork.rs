//! Holding back what fills no segment (`TCP_CORK`, `MSG_MORE`).

use super::*;

fn corked() -> (World, SocketId, SocketId) {
    let mut w = World::new();
    let (a, b) = w.pair();
    w.a.tcp_change_options(a, |o| o.is_corked = true).unwrap();
    assert_eq!(send(&mut w.a, a, b"head"), Ok(4));
    assert_eq!(send(&mut w.a, a, b"body"), Ok(4));
    w.settle();
    assert_eq!(receive(&mut w.b, b, 100), Err(Errno::EAGAIN));
    assert_eq!(w.a.tcp_queues(a), Ok((0, 8)));
    (w, a, b)
}

#[test]
fn corked_bytes_go_together_when_the_cork_is_out() {
    let (mut w, a, b) = corked();
    w.a.tcp_change_options(a, |o| o.is_corked = false).unwrap();
    w.settle();
    assert_eq!(receive(&mut w.b, b, 100), Ok(b"headbody".to_vec()));
}

#[test]
fn corked_bytes_go_after_200_ms() {
    let (mut w, _, b) = corked();
    w.pass(ms(150));
    assert_eq!(receive(&mut w.b, b, 100), Err(Errno::EAGAIN));
    w.pass(ms(60));
    assert_eq!(receive(&mut w.b, b, 100), Ok(b"headbody".to_vec()));
}

#[test]
fn delays_of_calls_count_from_the_time_of_the_call() {
    let mut w = World::new();
    let (a, _) = w.pair();
    w.pass(seconds(3));
    // Nothing has happened for long; the owner tells the time before it calls.
    let now = w.now + seconds(100);
    w.a.set_now(now);
    assert_eq!(w.a.tcp_send(a, &mut &b"head"[..], true), Ok(4));
    w.a.poll(now);
    assert_eq!(w.a.deadline(), Some(now + ms(200)));
    // It never goes back.
    w.a.set_now(ms(1));
    w.a.poll(ms(1));
    assert_eq!(w.a.out.now, now);
    assert_eq!(w.a.deadline(), Some(now + ms(200)));
}

#[test]
fn corked_bytes_go_before_the_end() {
    let (mut w, a, b) = corked();
    w.a.tcp_shutdown(a, false, true).unwrap();
    w.settle();
    assert_eq!(receive(&mut w.b, b, 100), Ok(b"headbody".to_vec()));
    assert_eq!(receive(&mut w.b, b, 100), Ok(Vec::new()));
}

/// Receives what comes within 100 ms; returns how much that is.
fn all(w: &mut World, b: SocketId) -> usize {
    let mut count = 0;
    for _ in 0..10 {
        w.pass(ms(10));
        while let Ok(bytes) = receive(&mut w.b, b, 9000) {
            count += bytes.len();
        }
    }
    count
}

#[test]
fn whole_segments_are_not_held_back() {
    let mut w = World::new();
    let (a, b) = w.pair();
    let data = alloc::vec![7; 4000];
    assert_eq!(w.a.tcp_send(a, &mut &data[..], true), Ok(4000));
    assert_eq!(all(&mut w, b), 2 * 1448);
    assert_eq!(send(&mut w.a, a, b"end"), Ok(3));
    assert_eq!(all(&mut w, b), 4003 - 2 * 1448);
}

#[test]
fn held_bytes_count_as_queued() {
    let mut w = World::new();
    let (a, b) = w.pair();
    let mut sent = 0;
    while let Ok(n) = w.a.tcp_send(a, &mut &[1; 1000][..], true) {
        sent += n;
    }
    assert_eq!(w.a.tcp_send(a, &mut &[1; 1][..], false), Err(Errno::EAGAIN));
    let mut received = 0;
    for _ in 0..100 {
        w.pass(ms(50));
        received += receive(&mut w.b, b, 9000).map_or(0, |d| d.len());
    }
    assert_eq!(received, sent);
}

/// Memory is used up after the bytes were taken: they are in the queue, none may get lost.
#[test]
fn held_bytes_survive_when_the_room_shrinks() {
    let mut w = World::new();
    let (a, b) = w.pair();
    let data: Vec<u8> = (0..9000u32).map(|n| (n / 5) as u8).collect();
    let mut sent = 0;
    for piece in data.chunks(700) {
        let mut piece = piece;
        while !piece.is_empty() {
            match w.a.tcp_send(a, &mut piece, true) {
                Ok(_) => {}
                Err(Errno::EAGAIN) => w.pass(ms(10)),
                Err(errno) => panic!("{errno:?}"),
            }
            sent += 1;
            w.a.limits.tcp_buffers = if sent % 2 == 0 { 0 } else { 1 << 20 };
        }
        w.settle();
    }
    w.a.limits.tcp_buffers = 0;
    w.a.close(a);
    let mut received = Vec::new();
    for _ in 0..200 {
        w.pass(ms(20));
        if let Ok(bytes) = receive(&mut w.b, b, 9999) {
            received.extend(bytes);
        }
    }
    assert!(received == data, "{} bytes", received.len());
}
