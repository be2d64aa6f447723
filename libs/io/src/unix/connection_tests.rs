//! Tests of connections.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use Side::{A, B};

type Conn = Connection<u8>;

fn stream() -> Conn {
    Connection::new(ConnectionKind::Stream)
}

fn packets() -> Conn {
    Connection::new(ConnectionKind::Packets)
}

fn send(c: &mut Conn, side: Side, mut bytes: &[u8], rights: &[u8]) -> Result<usize, Errno> {
    let mut rights = rights.to_vec();
    let sent = c.send(side, &mut bytes, &mut rights);
    assert!(sent.is_err() || rights.is_empty() || sent == Ok(0));
    sent
}

fn take(c: &mut Conn, side: Side, len: usize, take: Take) -> Result<(Vec<u8>, Vec<u8>), Errno> {
    let mut buf = vec![0; len];
    let (r, _) = c.receive(side, &mut &mut buf[..], take)?;
    buf.truncate(r.count);
    Ok((buf, r.rights))
}

fn recv(c: &mut Conn, side: Side, len: usize) -> Result<(Vec<u8>, Vec<u8>), Errno> {
    take(c, side, len, Take::Remove)
}

#[test]
fn bytes_of_each_writer_come_apart_if_asked_for() {
    let mut c = Connection::new(ConnectionKind::Stream);
    let who = |pid| Credentials {
        pid,
        ..Credentials::default()
    };
    for (pid, text) in [(1, b"ab"), (1, b"cd"), (2, b"ef"), (1, b"gh")] {
        c.set_writer(A, who(pid));
        send(&mut c, A, text, &[]).unwrap();
    }
    c.set_apart(B, true);
    for (take, pid, text) in [
        (Take::Peek, 1, &b"abcd"[..]),
        (Take::Remove, 1, b"abcd"),
        (Take::Remove, 2, b"ef"),
    ] {
        let mut dst = [0; 8];
        let (received, _) = c.receive(B, &mut &mut dst[..], take).unwrap();
        assert_eq!(received.writer, who(pid));
        assert_eq!(&dst[..received.count], text);
    }
    c.set_writer(A, who(3));
    send(&mut c, A, b"ij", &[]).unwrap();
    c.set_apart(B, false);
    let (received, _) = c.receive(B, &mut &mut [0; 8][..], Take::Remove).unwrap();
    assert_eq!((received.count, received.writer), (4, who(1)));
    c.close(A);
    let (end, _) = c.receive(B, &mut &mut [0; 8][..], Take::Remove).unwrap();
    assert_eq!((end.count, end.writer), (0, Credentials::default()));
}

#[test]
fn bytes_flow_both_ways() {
    let mut c = stream();
    assert_eq!(recv(&mut c, B, 9), Err(Errno::EAGAIN));
    assert_eq!(send(&mut c, A, b"ping", &[]), Ok(4));
    assert_eq!(send(&mut c, A, b"!", &[]), Ok(1));
    assert_eq!(send(&mut c, B, b"pong", &[]), Ok(4));
    assert_eq!(c.unread(B), 5);
    assert_eq!(recv(&mut c, B, 2), Ok((b"pi".to_vec(), vec![])));
    assert_eq!(recv(&mut c, B, 9), Ok((b"ng!".to_vec(), vec![])));
    assert_eq!(recv(&mut c, A, 9), Ok((b"pong".to_vec(), vec![])));
}

#[test]
fn reading_stops_after_the_message_with_rights() {
    let mut c = stream();
    send(&mut c, A, b"ab", &[]).unwrap();
    send(&mut c, A, b"cd", &[7, 8]).unwrap();
    send(&mut c, A, b"ef", &[]).unwrap();
    assert_eq!(
        take(&mut c, B, 9, Take::Peek),
        Ok((b"abcd".to_vec(), vec![7, 8]))
    );
    assert_eq!(recv(&mut c, B, 9), Ok((b"abcd".to_vec(), vec![7, 8])));
    assert_eq!(recv(&mut c, B, 9), Ok((b"ef".to_vec(), vec![])));
}

#[test]
fn rights_come_with_the_first_byte() {
    let mut c = stream();
    send(&mut c, A, b"abcd", &[7]).unwrap();
    assert_eq!(recv(&mut c, B, 1), Ok((b"a".to_vec(), vec![7])));
    assert_eq!(recv(&mut c, B, 9), Ok((b"bcd".to_vec(), vec![])));
}

#[test]
fn rights_without_bytes_are_not_sent_on_a_stream() {
    let mut c = stream();
    let mut rights = vec![7];
    assert_eq!(c.send(A, &mut &b""[..], &mut rights), Ok(0));
    assert_eq!(rights, [7]);
    assert_eq!(recv(&mut c, B, 9), Err(Errno::EAGAIN));
}

#[test]
fn full_buffer_gives_a_short_count_then_waits() {
    let mut c = stream();
    let n = send(&mut c, A, &vec![1; 1 << 20], &[]).unwrap();
    assert!(n > 150_000 && n <= DEFAULT_BUFFER + 4096);
    assert_eq!(send(&mut c, A, b"x", &[]), Err(Errno::EAGAIN));
    assert!(!c.poll(A).contains(Events::OUT));
    let mut buf = vec![0; n * 4 / 5];
    assert!(!c.receive(B, &mut &mut buf[..100], Take::Remove).unwrap().1);
    assert!(c.receive(B, &mut &mut buf[..], Take::Remove).unwrap().1);
    assert!(c.poll(A).contains(Events::OUT));
}

#[test]
fn smaller_send_buffer_is_respected() {
    let mut c = packets();
    c.set_send_limit(A, 4096);
    assert_eq!(send(&mut c, A, &[0; 4097], &[]), Err(Errno::EMSGSIZE));
    assert_eq!(send(&mut c, A, &[0; 4000], &[]), Ok(4000));
    assert_eq!(send(&mut c, A, &[0; 10], &[]), Err(Errno::EAGAIN));
}

#[test]
fn close_lets_the_peer_read_the_rest_and_breaks_its_writes() {
    let mut c = stream();
    send(&mut c, A, b"bye", &[]).unwrap();
    assert_eq!(c.close(A), vec![]);
    assert_eq!(recv(&mut c, B, 2), Ok((b"by".to_vec(), vec![])));
    assert_eq!(recv(&mut c, B, 9), Ok((b"e".to_vec(), vec![])));
    assert_eq!(recv(&mut c, B, 9), Ok((vec![], vec![])));
    assert_eq!(send(&mut c, B, b"x", &[]), Err(Errno::EPIPE));
    assert!(c.poll(B).contains(Events::HUP | Events::RDHUP | Events::IN));
}

#[test]
fn close_with_unread_data_resets_the_peer_once() {
    let mut c = stream();
    send(&mut c, A, b"lost", &[5]).unwrap();
    send(&mut c, B, b"kept", &[]).unwrap();
    assert_eq!(c.close(B), vec![5]);
    assert!(c.poll(A).contains(Events::ERR | Events::HUP));
    assert_eq!(recv(&mut c, A, 9), Ok((b"kept".to_vec(), vec![])));
    assert_eq!(recv(&mut c, A, 9), Err(Errno::ECONNRESET));
    assert_eq!(recv(&mut c, A, 9), Ok((vec![], vec![])));
}

#[test]
fn connection_that_was_never_accepted_is_reset() {
    let mut c = stream();
    c.abort();
    assert_eq!(c.take_error(A), Some(Errno::ECONNRESET));
    assert_eq!(c.take_error(A), None);
}

#[test]
fn shutdown_ends_one_direction() {
    let mut c = stream();
    send(&mut c, A, b"x", &[]).unwrap();
    c.shutdown(A, Shutdown::SEND);
    assert_eq!(send(&mut c, A, b"y", &[]), Err(Errno::EPIPE));
    assert_eq!(send(&mut c, B, b"z", &[]), Ok(1));
    assert_eq!(recv(&mut c, B, 9), Ok((b"x".to_vec(), vec![])));
    assert_eq!(recv(&mut c, B, 9), Ok((vec![], vec![])));
    assert_eq!(recv(&mut c, A, 9), Ok((b"z".to_vec(), vec![])));
    assert!(c.poll(B).contains(Events::RDHUP) && !c.poll(B).contains(Events::HUP));
    c.shutdown(A, Shutdown::RECEIVE);
    assert!(c.poll(B).contains(Events::HUP));
    assert_eq!(send(&mut c, B, b"z", &[]), Err(Errno::EPIPE));
}

#[test]
fn packets_keep_boundaries_and_may_be_empty() {
    let mut c = packets();
    send(&mut c, A, b"hello", &[1]).unwrap();
    send(&mut c, A, b"", &[]).unwrap();
    assert_eq!(c.unread(B), 5);
    let mut buf = [0; 2];
    let (r, _) = c.receive(B, &mut &mut buf[..], Take::Peek).unwrap();
    assert_eq!((r.count, r.full_length, r.rights), (2, 5, vec![1]));
    assert_eq!(recv(&mut c, B, 2), Ok((b"he".to_vec(), vec![1])));
    assert_eq!(recv(&mut c, B, 2), Ok((vec![], vec![])));
    assert_eq!(recv(&mut c, B, 2), Err(Errno::EAGAIN));
    c.close(A);
    assert_eq!(recv(&mut c, B, 2), Ok((vec![], vec![])));
}

#[test]
fn fresh_connection_is_writable_only() {
    assert_eq!(
        stream().poll(A),
        Events::OUT | Events::WRNORM | Events::WRBAND
    );
}

proptest! {
    /// A stream delivers all that was accepted, in order, and each right exactly once, in order.
    #[test]
    fn stream_loses_and_reorders_nothing(
        ops in proptest::collection::vec((any::<bool>(), 1usize..6000, 0u8..3), 1..150)
    ) {
        let mut c = stream();
        let (mut written, mut seen, mut right, mut got) = (0usize, 0usize, 0u8, 0u8);
        for (is_send, len, n) in ops {
            if is_send {
                let bytes: Vec<u8> = (written..written + len).map(|i| (i % 251) as u8).collect();
                let rights: Vec<u8> = (0..n).map(|i| right.wrapping_add(i)).collect();
                if let Ok(sent) = send(&mut c, A, &bytes, &rights) {
                    written += sent;
                    right = right.wrapping_add(n);
                }
            } else if let Ok((bytes, rights)) = recv(&mut c, B, len) {
                for b in bytes {
                    prop_assert_eq!(b, (seen % 251) as u8);
                    seen += 1;
                }
                for r in rights {
                    prop_assert_eq!(r, got);
                    got = got.wrapping_add(1);
                }
            }
            prop_assert_eq!(c.unread(B), written - seen);
        }
    }
}
