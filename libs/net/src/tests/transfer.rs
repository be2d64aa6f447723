//! Moving bytes: whole and in order, whatever the wire does.

use super::*;
use proptest::prelude::*;

/// Sends `data` from A to B and back again, and checks that it arrives.
pub(super) fn exchange(w: &mut World, a: SocketId, b: SocketId, data: &[u8], chunk: usize) {
    let (mut sent, mut echoed, mut received) = (0, Vec::new(), Vec::new());
    let mut to_echo: Vec<u8> = Vec::new();
    for round in 0.. {
        assert!(round < 200_000, "no progress: {sent} {}", received.len());
        while sent < data.len() {
            let end = data.len().min(sent + chunk);
            match send(&mut w.a, a, &data[sent..end]) {
                Ok(n) => sent += n,
                Err(Errno::EAGAIN) => break,
                Err(e) => panic!("{e:?}"),
            }
        }
        match receive(&mut w.b, b, chunk) {
            Ok(bytes) => {
                to_echo.extend_from_slice(&bytes);
                received.extend(bytes);
            }
            Err(e) => assert_eq!(e, Errno::EAGAIN),
        }
        while !to_echo.is_empty() {
            match send(&mut w.b, b, &to_echo) {
                Ok(n) => drop(to_echo.drain(..n)),
                Err(Errno::EAGAIN) => break,
                Err(e) => panic!("{e:?}"),
            }
        }
        match receive(&mut w.a, a, chunk) {
            Ok(bytes) => echoed.extend(bytes),
            Err(e) => assert_eq!(e, Errno::EAGAIN),
        }
        if echoed.len() == data.len() {
            break;
        }
        w.pass(ms(20));
    }
    assert!(received == data && echoed == data);
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn bytes_arrive_in_both_directions() {
    let mut w = World::new();
    let (a, b) = w.pair();
    exchange(&mut w, a, b, &pattern(1_000_000), 10_000);
}

#[test]
fn cards_that_complete_and_verify_checksums_are_used() {
    let mut w = World::new();
    for card in &w.cards {
        card.with(|c| {
            c.offloads = Offloads {
                completes_checksums: true,
                ..Offloads::default()
            };
        });
    }
    let cards = w.cards.clone();
    w.a = stack(&cards[0], A, Limits::default());
    w.b = stack(&cards[1], B, Limits::default());
    let (a, b) = w.pair();
    exchange(&mut w, a, b, &pattern(100_000), 3000);
    // A receiver that verifies nothing itself takes what the card vouches for.
    w.cards[1].with(|c| c.offloads.verifies_checksums = true);
    exchange(&mut w, a, b, &pattern(10_000), 3000);
}

#[test]
fn frames_with_broken_checksums_are_dropped() {
    let mut w = World::new();
    let (a, b) = w.pair();
    send(&mut w.a, a, b"payload").unwrap();
    w.a.poll(w.now);
    let frame = w.cards[0].with(|c| c.sent.pop_front()).unwrap();
    for at in 14..frame.len() {
        let mut broken = frame.clone();
        broken[at] ^= 0x10;
        w.cards[1].with(|c| c.received.push_back(broken));
        w.b.on_interrupt(w.now);
        assert_eq!(receive(&mut w.b, b, 9), Err(Errno::EAGAIN), "byte {at}");
    }
    w.cards[1].with(|c| c.received.push_back(frame));
    w.b.on_interrupt(w.now);
    assert_eq!(receive(&mut w.b, b, 9), Ok(b"payload".to_vec()));
}

#[test]
fn full_card_holds_senders_back_and_loses_nothing() {
    let mut w = World::new();
    let (a, b) = w.pair();
    w.cards[0].with(|c| c.capacity = Some(2));
    let lost = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&lost);
    let mut last = None;
    w.filter = Box::new(move |side, frame| {
        if let Some(s) = segment(frame).filter(|s| side == Side::A && !s.payload().is_empty()) {
            let n = s.seq_number().0;
            *counter.lock().unwrap() += u32::from(last.is_some_and(|l| l > n));
            last = Some(n);
        }
        Fault::Deliver
    });
    exchange(&mut w, a, b, &pattern(200_000), 9000);
    assert_eq!(*lost.lock().unwrap(), 0, "nothing had to be sent twice");
}

#[test]
fn receiver_that_reads_late_stops_the_sender_and_starts_it_again() {
    let mut w = World::new();
    let (a, b) = w.pair();
    let data = pattern(60_000);
    let mut sent = 0;
    for _ in 0..100 {
        sent += send(&mut w.a, a, &data[sent..]).unwrap_or(0);
        w.pass(ms(100));
    }
    assert_eq!(sent, 32768);
    w.pass(seconds(100));
    let mut received = Vec::new();
    while received.len() < data.len() {
        received.extend(receive(&mut w.b, b, 7000).unwrap_or_default());
        sent += send(&mut w.a, a, &data[sent..]).unwrap_or(0);
        w.pass(ms(100));
    }
    assert!(received == data);
}

#[test]
fn loopback_moves_large_segments() {
    let mut w = World::new();
    let listener = w.listen(80, 1);
    let big = TcpOptions::new(200_000);
    w.b.tcp_change_options(listener, |o| *o = big.clone())
        .unwrap();
    let client = w.b.tcp_socket(big).unwrap();
    w.b.tcp_connect(client, at(LO, 80), w.now).unwrap();
    w.settle();
    let (server, _) = w.b.tcp_accept(listener).unwrap();
    let data = pattern(500_000);
    let (mut sent, mut received) = (0, Vec::new());
    while received.len() < data.len() {
        sent += send(&mut w.b, client, &data[sent..]).unwrap_or(0);
        w.pass(ms(11));
        received.extend(receive(&mut w.b, server, 100_000).unwrap_or_default());
    }
    assert!(received == data);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Loss, duplication and reordering up to one frame in five on each way change nothing but the time it takes.
    #[test]
    fn bad_wire_delivers_everything_in_order(
        seed in 1u64..,
        loss in 0u64..12,
        duplicates in 0u64..6,
        delays in 0u64..6,
        len in 0usize..60_000,
        chunk in 1usize..9000,
    ) {
        let mut w = World::new();
        let (a, b) = w.pair();
        let mut dice = Dice(seed);
        w.filter = Box::new(move |_, _| match dice.roll(100) {
            n if n < loss => Fault::Lose,
            n if n < loss + duplicates => Fault::Duplicate,
            n if n < loss + duplicates + delays => Fault::Delay,
            _ => Fault::Deliver,
        });
        exchange(&mut w, a, b, &pattern(len), chunk.max(len / 200));
        w.filter = Box::new(|_, _| Fault::Deliver);
        w.a.close(a);
        w.b.close(b);
        w.pass(seconds(200));
        prop_assert_eq!((w.a.sockets.len(), w.b.sockets.len()), (0, 0));
        prop_assert_eq!((w.a.deadline(), w.b.deadline()), (None, None));
    }
}

/// Both ends on one machine, and a program that reads in pieces: no acknowledgement may wait for its timer.
#[test]
fn loopback_never_waits_for_a_timer() {
    for piece in [1460, 9000, 1 << 20] {
        let mut w = World::new();
        let first = TcpOptions {
            receive_most: 4 << 20,
            send_most: 4 << 20,
            ..TcpOptions::new(64 << 10)
        };
        let listener = w.listen(80, 1);
        w.b.tcp_change_options(listener, |o| *o = first.clone())
            .unwrap();
        let client = w.b.tcp_socket(first).unwrap();
        w.b.tcp_connect(client, at(LO, 80), w.now).unwrap();
        w.settle();
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        let data = alloc::vec![7; 64 << 10];
        let total = 4 << 20;
        let (mut sent, mut received) = (0, 0);
        let mut waited = Nanos::ZERO;
        while received < total {
            let more = data.len().min(total - sent);
            let wrote = send(&mut w.b, client, &data[..more]).unwrap_or(0);
            w.settle();
            let read = receive(&mut w.b, server, piece).map_or(0, |d| d.len());
            w.settle();
            (sent, received) = (sent + wrote, received + read);
            if wrote + read == 0 {
                let next = w.b.deadline().expect("something is to come");
                waited = waited + (next - w.now);
                w.pass(next - w.now);
            }
        }
        assert!(waited < ms(100), "{piece}: {waited:?}");
    }
}

/// A writer whose queue seemed to have room, until others took the memory for it, hears of the room that comes.
#[test]
fn writer_without_memory_is_woken_by_room() {
    let mut w = World::new();
    let (a, b) = w.pair();
    w.pass(ms(20));
    // The queue has as many bytes as it has memory for, and might have more.
    let data = [7; 8 << 10];
    let mut sent = 0;
    while sent < data.len() {
        sent += send(&mut w.a, a, &data[sent..]).unwrap();
    }
    w.take_wakes(Side::A, a);
    w.a.limits.tcp_buffers = 0;
    assert_eq!(send(&mut w.a, a, &data), Err(Errno::EAGAIN));
    // What was not told to be there counts as news.
    let told = w.a.tcp(a).unwrap().reported;
    assert!(!told.contains(Events::OUT), "{told:?}");
    let mut events = Events::empty();
    for _ in 0..200 {
        // Whoever waits reads what there is.
        let _ = receive(&mut w.b, b, 1 << 20);
        w.pass(ms(20));
        events |= w.take_wakes(Side::A, a);
    }
    assert!(events.contains(Events::OUT), "{events:?}");
    assert!(send(&mut w.a, a, b"more").is_ok());
}
