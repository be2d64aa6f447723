//! Requests that wait: what changes them, and what does not (RFC 9293, RFC 5961).

use super::*;
use crate::tcp::bare::plain_segment;
use crate::types::Tuple;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{TcpControl, TcpRepr};

#[test]
fn request_that_starts_anew_replaces_the_old_one() {
    let mut w = World::new();
    // B's address must be known to A, so the answers to ARP pass.
    w.filter = Box::new(|side, frame| match segment(frame) {
        Some(_) if side == Side::B => Fault::Lose,
        _ => Fault::Deliver,
    });
    let listener = w.listen(80, 4);
    let client = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_bind(client, at(A, 5555)).unwrap();
    w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
    w.settle();
    w.a.close(client);
    w.filter = Box::new(|_, _| Fault::Deliver);
    w.now = ms(100);
    w.settle();
    let client = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_bind(client, at(A, 5555)).unwrap();
    w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
    w.settle();
    // It resets what B tells of the old one, and asks again.
    assert_eq!(w.a.tcp_connect_result(client), None);
    w.pass(ms(1100));
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    assert!(w.b.tcp_accept(listener).is_ok());
}

#[test]
fn forged_request_does_not_disturb_one_that_waits() {
    let mut w = World::new();
    w.filter = Box::new(|side, frame| match segment(frame) {
        Some(s) if side == Side::A && !s.syn() => Fault::Lose,
        _ => Fault::Deliver,
    });
    let listener = w.listen(80, 4);
    let client = w.a.tcp_socket(options()).unwrap();
    w.a.tcp_bind(client, at(A, 5555)).unwrap();
    w.a.tcp_connect(client, at(B, 80), w.now).unwrap();
    w.settle();
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    let (next, _) = w.a.open_connection(client).unwrap().tcp.numbers();
    let tuple = Tuple {
        local: at(A, 5555),
        remote: at(B, 80),
    };
    for ahead in [0, 1, 50_000, 1 << 31] {
        let mut syn = plain_segment(&tuple, next.0.wrapping_add(ahead), None);
        syn.control = TcpControl::Syn;
        let mut bytes = alloc::vec![0; syn.buffer_len()];
        let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
        let none = ChecksumCapabilities::ignored();
        syn.emit(&mut packet, &A.into(), &B.into(), &none);
        let packet = TcpPacket::new_checked(&bytes[..]).unwrap();
        w.b.on_half_open(tuple.mirrored(), &packet, &[]);
        w.settle();
    }
    w.filter = Box::new(|_, _| Fault::Deliver);
    send(&mut w.a, client, b"still me").unwrap();
    w.pass(ms(1100));
    let (child, _) = w.b.tcp_accept(listener).unwrap();
    assert_eq!(receive(&mut w.b, child, 100), Ok(b"still me".to_vec()));
}

/// Returns a segment from A to B.
fn to_bytes(repr: &TcpRepr<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; repr.buffer_len()];
    let none = ChecksumCapabilities::ignored();
    let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
    repr.emit(&mut packet, &A.into(), &B.into(), &none);
    bytes
}

/// Lets B take in a segment for a request, without data.
fn to_request(w: &mut World, tuple: &Tuple, control: TcpControl, seq: u32, ack: Option<u32>) {
    let mut repr = plain_segment(tuple, seq, ack);
    (repr.control, repr.window_len) = (control, 1000);
    let bytes = to_bytes(&repr);
    let segment = TcpPacket::new_checked(&bytes[..]).unwrap();
    w.b.on_half_open(tuple.mirrored(), &segment, &[]);
    w.b.poll(w.now);
}

/// What B answers: flags of RST and SYN, number, acknowledgement.
fn answers(w: &World) -> Vec<(bool, bool, u32, u32)> {
    let frames = w.cards[1].with(|c| core::mem::take(&mut c.sent));
    let segments = frames.iter().filter_map(|f| segment(f));
    let brief = segments.map(|s| {
        let (seq, ack) = (s.seq_number().0, s.ack_number().0);
        (s.rst(), s.syn(), seq.cast_unsigned(), ack.cast_unsigned())
    });
    brief.collect()
}

#[test]
fn rfc_5961_only_what_fits_a_request_changes_it() {
    let mut w = World::new();
    let listener = w.listen(80, 4);
    // B must know where A is.
    w.dial(80);
    w.settle();
    assert!(w.b.tcp_accept(listener).is_ok());
    let tuple = Tuple {
        local: at(A, 5555),
        remote: at(B, 80),
    };
    let request = |w: &mut World| {
        let mut syn = plain_segment(&tuple, 1000, None);
        (syn.control, syn.window_len) = (TcpControl::Syn, 1000);
        let bytes = to_bytes(&syn);
        let syn = tyn_tcp::Segment::parse(&bytes).unwrap();
        w.b.on_syn(tuple.mirrored(), crate::types::Path::Nic, listener, &syn);
        w.b.poll(w.now);
        let sent = answers(w);
        assert!(matches!(sent[..], [(false, true, _, 1001)]), "{sent:?}");
        sent[0].2
    };
    let ours = request(&mut w);
    // Resets that do not have the very next number (RFC 5961 §3.2).
    for off in [0, 1000, 1002, 1500, 1 << 31] {
        to_request(&mut w, &tuple, TcpControl::Rst, off, None);
        assert_eq!((answers(&w), w.b.tcp.half_open.len()), (Vec::new(), 1));
    }
    // Its SYN again is answered as before; another one by what we have (§4.2).
    to_request(&mut w, &tuple, TcpControl::Syn, 1000, None);
    assert_eq!(answers(&w), [(false, true, ours, 1001)]);
    to_request(&mut w, &tuple, TcpControl::Syn, 7777, None);
    assert_eq!(answers(&w), [(false, false, ours.wrapping_add(1), 1001)]);
    // Without an acknowledgement, or out of the window: nothing is made.
    to_request(&mut w, &tuple, TcpControl::None, 1001, None);
    let behind = 1001 + 100_000;
    let acked = Some(ours.wrapping_add(1));
    to_request(&mut w, &tuple, TcpControl::None, behind, acked);
    assert_eq!(w.b.tcp_accept(listener), Err(Errno::EAGAIN));
    assert_eq!(w.b.tcp.half_open.len(), 1);
    answers(&w);
    // What fits does: an acknowledgement, or a reset (RFC 9293 §3.5.3).
    to_request(&mut w, &tuple, TcpControl::None, 1001, acked);
    assert!(w.b.tcp_accept(listener).is_ok());
    w.b.tcp.connections.remove(&tuple.mirrored());
    request(&mut w);
    to_request(&mut w, &tuple, TcpControl::Rst, 1001, None);
    assert_eq!(w.b.tcp.half_open.len(), 0);
}
