//! What a peer may send: anything. The stack survives, and goes on serving.

use super::*;
use proptest::prelude::*;
use smoltcp::wire::{EthernetAddress, IpProtocol, TcpSeqNumber};

/// Makes the checksums of a frame right, so that what is wrong with it gets deeper.
fn fix_checksums(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(14..) else {
        return;
    };
    let Ok(mut ip) = Ipv4Packet::new_checked(packet) else {
        return;
    };
    ip.fill_checksum();
    let (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
    if ip.next_header() == IpProtocol::Tcp
        && let Ok(mut tcp) = TcpPacket::new_checked(ip.payload_mut())
    {
        tcp.fill_checksum(&source, &destination);
    }
}

fn ethernet(protocol: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 14];
    bytes.extend_from_slice(payload);
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_dst_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
    frame.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 1]));
    frame.set_ethertype(protocol);
    bytes
}

/// An IPv4 packet from A to B.
fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 20];
    bytes.extend_from_slice(payload);
    let len = bytes.len() as u16;
    let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
    ip.set_version(4);
    ip.set_header_len(20);
    ip.set_total_len(len);
    ip.set_hop_limit(64);
    ip.set_next_header(IpProtocol::from(protocol));
    ip.set_src_addr(A);
    ip.set_dst_addr(B);
    ip.fill_checksum();
    let mut frame = ethernet(EthernetProtocol::Ipv4, &bytes);
    fix_checksums(&mut frame);
    frame
}

pub(crate) fn icmp(kind: u8, code: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = alloc::vec![kind, code, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(data);
    let sum: u32 = bytes
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0)))
        .sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = !((sum + (sum >> 16)) as u16);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(1, &bytes)
}

fn still_serves(w: &mut World) {
    w.filter = Box::new(|_, _| Fault::Deliver);
    let listener = w.listen(4242, 4);
    let client = w.dial(4242);
    w.pass(seconds(10));
    assert_eq!(w.a.tcp_connect_result(client), Some(Ok(())));
    assert!(w.b.tcp_accept(listener).is_ok());
}

pub(crate) fn deliver(w: &mut World, frame: Vec<u8>) {
    w.cards[1].with(|c| c.received.push_back(frame));
    w.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn noise_is_survived(frames in prop::collection::vec((0u8..6, prop::collection::vec(any::<u8>(), 0..120)), 1..40)) {
        let mut w = World::new();
        w.listen(80, 4);
        for (kind, bytes) in frames {
            let frame = match kind {
                0 => bytes,
                1 => ethernet(EthernetProtocol::Arp, &bytes),
                2 => ethernet(EthernetProtocol::Ipv4, &bytes),
                3 => packet(6, &bytes),
                4 => packet(17, &bytes),
                _ => packet(1, &bytes),
            };
            deliver(&mut w, frame);
        }
        still_serves(&mut w);
    }

    /// Segments of a live exchange with fields changed, checksums put right.
    #[test]
    fn segments_with_strange_fields_are_survived(
        changes in prop::collection::vec((0usize..5, 34usize..74, any::<u8>()), 1..60),
        seed in 1u64..,
        lists_listener: bool,
    ) {
        let mut w = World::new();
        let (a, b) = w.pair();
        if lists_listener {
            w.listen(81, 2);
        }
        let mut dice = Dice(seed);
        let mut changes = changes.into_iter();
        w.filter = Box::new(|_, _| Fault::Deliver);
        for round in 0..40 {
            let _ = send(&mut w.a, a, &[1; 700]);
            if round % 3 == 0 {
                let _ = send(&mut w.b, b, &[2; 900]);
            }
            w.a.on_interrupt(w.now);
            let frames = w.cards[0].with(|c| core::mem::take(&mut c.sent));
            for frame in frames {
                let mut copy = frame.clone();
                if let Some((kind, at, value)) = changes.next() {
                    if let Some(byte) = copy.get_mut(at) {
                        *byte = value;
                    }
                    if kind == 0 && let Some(byte) = copy.get_mut(47) {
                        *byte = value;
                    }
                    if kind == 1 && let Some(byte) = copy.get_mut(46) {
                        *byte = (value & 0xf0) | (copy_len(&frame) & 0xf);
                    }
                    fix_checksums(&mut copy);
                    w.cards[1].with(|c| c.received.push_back(copy));
                }
                if dice.roll(4) > 0 {
                    w.cards[1].with(|c| c.received.push_back(frame));
                }
            }
            w.settle();
            if dice.roll(3) == 0 {
                let _ = receive(&mut w.b, b, 3000);
                let _ = receive(&mut w.a, a, 3000);
            }
            if dice.roll(15) == 0 {
                let _ = w.b.tcp_shutdown(b, false, true);
            }
            w.pass(ms(dice.roll(700)));
        }
        w.a.close(a);
        w.b.close(b);
        w.pass(seconds(1100));
        prop_assert_eq!(w.b.tcp.connections.len(), 0);
        still_serves(&mut w);
    }

    /// Segments near the edges of what a live connection expects.
    #[test]
    fn segments_at_the_edges_are_survived(
        segments in prop::collection::vec((any::<u8>(), -70_000i32..70_000, -70_000i32..70_000, any::<u16>(), 0usize..1400), 1..30),
        has_data: bool,
    ) {
        let mut w = World::new();
        let (a, b) = w.pair();
        if has_data {
            let _ = send(&mut w.b, b, &[7; 10_000]);
        }
        send(&mut w.a, a, b"x").unwrap();
        w.a.poll(w.now);
        let model = w.cards[0].with(|c| c.sent.pop_front()).unwrap();
        for (flags, seq, ack, window, len) in segments {
            let mut frame = model.clone();
            let base = segment(&model).map(|s| (s.seq_number(), s.ack_number())).unwrap();
            frame.resize(54 + len, 9);
            let total = (frame.len() - 14) as u16;
            Ipv4Packet::new_unchecked(&mut frame[14..]).set_total_len(total);
            let mut tcp = TcpPacket::new_unchecked(&mut frame[34..]);
            tcp.set_seq_number(TcpSeqNumber(base.0.0.wrapping_add(seq / 8)));
            tcp.set_ack_number(TcpSeqNumber(base.1.0.wrapping_add(ack / 8)));
            tcp.set_window_len(window);
            tcp.set_ack(flags & 0x10 != 0 || flags & 3 == 0);
            tcp.set_fin(flags & 0x21 == 0x21);
            tcp.set_syn(flags & 0x42 == 0x42);
            tcp.set_rst(flags & 0xc4 == 0xc4);
            fix_checksums(&mut frame);
            deliver(&mut w, frame);
            w.pass(ms(u64::from(flags)));
            let _ = receive(&mut w.b, b, 500);
        }
        w.a.close(a);
        w.b.close(b);
        w.pass(seconds(1100));
        prop_assert_eq!(w.b.tcp.connections.len(), 0);
        still_serves(&mut w);
    }
}

fn copy_len(frame: &[u8]) -> u8 {
    frame.len() as u8
}

#[test]
fn forged_addresses_and_fragments_are_dropped() {
    let mut w = World::new();
    w.listen(80, 4);
    w.dial(80);
    w.settle();
    w.filter = Box::new(|_, _| Fault::Lose);
    let mut syn = packet(
        6,
        &[
            0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0,
        ],
    );
    let before = w.b.tcp.half_open.len();
    let with = |w: &mut World, change: &dyn Fn(&mut Ipv4Packet<&mut [u8]>)| {
        let mut frame = syn.clone();
        change(&mut Ipv4Packet::new_unchecked(&mut frame[14..]));
        fix_checksums(&mut frame);
        deliver(w, frame);
        w.b.tcp.half_open.len()
    };
    for forged in [
        B,
        LO,
        ANY,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 1, 1, 1),
        Ipv4Addr::new(10, 0, 0, 255),
    ] {
        assert_eq!(
            with(&mut w, &|ip| ip.set_src_addr(forged)),
            before,
            "{forged}"
        );
    }
    for other in [
        LO,
        A,
        ANY,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 0, 0, 255),
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        assert_eq!(
            with(&mut w, &|ip| ip.set_dst_addr(other)),
            before,
            "{other}"
        );
    }
    assert_eq!(with(&mut w, &|ip| ip.set_more_frags(true)), before);
    assert_eq!(with(&mut w, &|ip| ip.set_frag_offset(8)), before);
    assert_eq!(with(&mut w, &|ip| ip.set_version(6)), before);
    assert_eq!(with(&mut w, &|_| {}), before + 1);
    // A frame for somebody else.
    syn[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    let len = w.b.tcp.half_open.len();
    deliver(&mut w, syn);
    assert_eq!(w.b.tcp.half_open.len(), len);
}

#[test]
fn echo_is_answered_and_unknown_protocols_are_refused() {
    let mut w = World::new();
    w.dial(9);
    w.settle();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    w.filter = Box::new(move |side, frame| {
        if side == Side::B {
            log.lock().unwrap().push((frame[23], frame[34], frame[35]));
        }
        Fault::Deliver
    });
    deliver(&mut w, icmp(8, 0, b"ping"));
    deliver(&mut w, packet(99, b"what?"));
    deliver(&mut w, packet(17, &[0, 1, 0, 2, 0, 8, 0, 0]));
    assert_eq!(*seen.lock().unwrap(), [(1, 0, 0), (1, 3, 2), (1, 3, 3)]);
    let mut broken = icmp(8, 0, b"ping");
    broken[40] ^= 1;
    deliver(&mut w, broken);
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn unreachable_ends_an_attempt_only_if_it_names_the_request() {
    for (code, error) in [
        (0, Some(Errno::ENETUNREACH)),
        (1, Some(Errno::EHOSTUNREACH)),
        (3, Some(Errno::ECONNREFUSED)),
        (4, None),
    ] {
        let mut w = World::new();
        w.dial(9);
        w.settle();
        w.filter = Box::new(|_, _| Fault::Lose);
        let s = w.b.tcp_socket(options()).unwrap();
        w.b.tcp_connect(s, at(A, 80), w.now).unwrap();
        w.b.poll(w.now);
        let syn = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
        let mut forged = syn[14..42].to_vec();
        forged[25] ^= 1;
        deliver(&mut w, icmp(3, code, &forged));
        assert_eq!(w.b.tcp_connect_result(s), None);
        deliver(&mut w, icmp(3, code, &syn[14..41]));
        assert_eq!(w.b.tcp_connect_result(s), None, "cut off");
        deliver(&mut w, icmp(3, code, &syn[14..42]));
        assert_eq!(w.b.tcp_connect_result(s), error.map(Err));
    }
    let mut w = World::new();
    let (_, b) = w.pair();
    send(&mut w.b, b, b"data").unwrap();
    w.b.poll(w.now);
    let data = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
    deliver(&mut w, icmp(3, 3, &data[14..42]));
    assert_eq!(w.b.take_error(b), None, "an established connection goes on");
}

/// Returns the start of a segment that B has sent to itself.
fn own_segment(tuple: &crate::types::Tuple, number: u32) -> Vec<u8> {
    let mut original = packet(6, &[0; 20]).split_off(14);
    let mut ip = Ipv4Packet::new_unchecked(&mut original[..]);
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (tuple.local.ip(), tuple.remote.ip())
    else {
        unreachable!()
    };
    ip.set_src_addr(source);
    ip.set_dst_addr(destination);
    let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
    tcp.set_src_port(tuple.local.port());
    tcp.set_dst_port(tuple.remote.port());
    tcp.set_seq_number(TcpSeqNumber(number.cast_signed()));
    original
}

#[test]
fn nobody_on_the_wire_knows_of_what_never_left_us() {
    let mut w = World::new();
    w.dial(9);
    w.settle();
    let listener = w.listen(80, 4);
    for own in [LO, B] {
        let client = w.b.tcp_socket(options()).unwrap();
        w.b.tcp_connect(client, at(own, 80), w.now).unwrap();
        // What the engine has given out is under way.
        let connection = w.b.open_connection(client).unwrap();
        let tuple = connection.tuple;
        let syn = connection.tcp.next_segment(w.now).unwrap();
        let original = own_segment(&tuple, syn.seq.0);
        deliver(&mut w, icmp(3, 1, &original));
        assert_eq!(w.b.tcp_connect_result(client), None, "{own}");
        w.pass(seconds(2));
        assert_eq!(w.b.tcp_connect_result(client), Some(Ok(())), "{own}");
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        send(&mut w.b, client, &[7; 8000]).unwrap();
        let connection = w.b.open_connection(client).unwrap();
        let before = connection.tcp.segment_size();
        let first = connection.tcp.next_segment(w.now).unwrap();
        let original = own_segment(&tuple, first.seq.0);
        deliver(&mut w, icmp(3, 4, &original));
        let connection = w.b.open_connection(client).unwrap();
        assert_eq!(connection.tcp.segment_size(), before, "{own}");
        w.b.close(client);
        w.b.close(server);
        w.settle();
    }
    let to = w.b.udp_socket().unwrap();
    let from = w.b.udp_socket().unwrap();
    w.b.udp_bind(to, at(LO, 5000)).unwrap();
    w.b.udp_connect(from, Some(at(LO, 5000))).unwrap();
    let tuple = crate::types::Tuple {
        local: w.b.udp_local(from).unwrap(),
        remote: at(LO, 5000),
    };
    let mut original = own_segment(&tuple, 0);
    Ipv4Packet::new_unchecked(&mut original[..]).set_next_header(IpProtocol::Udp);
    deliver(&mut w, icmp(3, 3, &original));
    assert_eq!(w.b.take_error(from), None);
}

#[test]
fn blind_resets_do_not_end_a_connection() {
    let mut w = World::new();
    let (a, b) = w.pair();
    send(&mut w.a, a, b"x").unwrap();
    w.a.poll(w.now);
    let model = w.cards[0].with(|c| c.sent.pop_front()).unwrap();
    let mut reset = model;
    {
        let mut tcp = TcpPacket::new_unchecked(&mut reset[34..]);
        let seq = tcp.seq_number();
        tcp.set_seq_number(seq + 100_000);
        tcp.set_rst(true);
    }
    fix_checksums(&mut reset);
    deliver(&mut w, reset);
    assert_eq!(w.b.take_error(b), None);
    assert!(!w.b.readiness(b).contains(Events::HUP));
}

/// What comes in faster than a turn takes it keeps nobody from sending, nor from talking to itself.
#[test]
fn a_flood_leaves_turns_to_those_who_send() {
    let mut w = World::new();
    let (_, b) = w.pair();
    let (me, it) = (w.b.udp_socket().unwrap(), w.b.udp_socket().unwrap());
    w.b.udp_bind(it, at(LO, 53)).unwrap();
    let junk = packet(6, &[0; 20]);
    w.cards[1].with(|c| c.received.extend((0..1000).map(|_| junk.clone())));
    send(&mut w.b, b, b"answer").unwrap();
    w.b.udp_connect(me, Some(at(LO, 53))).unwrap();
    w.b.udp_send(me, None, &mut &b"note"[..]).unwrap();
    w.b.poll(w.now);
    assert!(
        w.cards[1].with(|c| c.received.len()) > 0,
        "the turn took all"
    );
    let sent = w.cards[1].with(|c| {
        c.sent
            .iter()
            .filter_map(|f| segment(f))
            .any(|s| s.payload() == b"answer")
    });
    assert!(sent, "the answer waits for the flood to end");
    assert!(w.b.readiness(it).contains(Events::IN));
}
