//! Links that take less than Ethernet does.

use super::hostile::{deliver, icmp};
use super::*;
use crate::MtuDiscovery;
use crate::fragment::Split;
use crate::reassembly::{Piece, Reassembly};

/// Two stacks whose cards say this MTU.
fn narrow(mtu: usize) -> World {
    let w = World::new();
    for card in &w.cards {
        card.with(|c| c.mtu = Some(mtu));
    }
    w
}

#[test]
fn segments_and_datagrams_fit_the_link() {
    for mtu in [1400, 600] {
        let mut w = narrow(mtu);
        let (a, b) = w.pair();
        assert_eq!(w.a.interfaces()[1].mtu as usize, mtu);
        // Headers of IP and TCP, and timestamps.
        assert_eq!(w.a.tcp_segment_size(a), Ok(Some(mtu as u16 - 52)));
        let data = alloc::vec![7; 30_000];
        let mut sent = 0;
        let mut got = 0;
        while got < data.len() {
            sent += send(&mut w.a, a, &data[sent..]).unwrap_or(0);
            w.settle();
            got += receive(&mut w.b, b, 40_000).map_or(0, |bytes| bytes.len());
        }
        assert_eq!(w.cards[0].with(|c| c.longest), mtu + 14);
        let info = w.a.tcp_info(a).unwrap();
        let crate::TcpLife::Connection { info, mtu: path } = info.life else {
            panic!("{info:?}");
        };
        assert_eq!((info.offered as usize, path), (mtu - 40, mtu));
        let id = w.a.udp_socket().unwrap();
        let most = mtu - 28;
        let to = Some(at(B, 9));
        w.a.udp_change_options(id, |o| o.mtu_discovery = [MtuDiscovery::Do; 2])
            .unwrap();
        assert_eq!(w.a.udp_send(id, to, &mut &data[..most]), Ok(most));
        let longer = w.a.udp_send(id, to, &mut &data[..=most]);
        assert_eq!(longer, Err(Errno::EMSGSIZE));
    }
}

#[test]
fn link_that_is_too_narrow_carries_no_ipv6() {
    for (mtu, has_v6) in [(1279, false), (1280, true)] {
        let card = Handle::new(1);
        card.with(|c| c.mtu = Some(mtu));
        let mut stack = stack_with(&card, A, Limits::default(), Ip6Config::Auto);
        assert_eq!(!stack.interfaces()[1].addresses6.is_empty(), has_v6);
    }
}

/// Returns the IPv4 packets of UDP that A has sent, and takes them off the wire.
fn sent_by_a(w: &mut World) -> Vec<Vec<u8>> {
    let frames = w.cards[0].with(|c| core::mem::take(&mut c.sent));
    let packets = frames.into_iter().filter(|f| f[12..14] == [8, 0]);
    packets
        .map(|f| f[14..].to_vec())
        .filter(|p| p[9] == 17)
        .collect()
}

/// A stack that knows its neighbour, and a socket connected to it.
fn sender(mtu: usize, way: MtuDiscovery) -> (World, SocketId) {
    let mut w = narrow(mtu);
    w.pair();
    let id = w.a.udp_socket().unwrap();
    w.a.udp_change_options(id, |o| o.mtu_discovery = [way; 2])
        .unwrap();
    w.a.udp_connect(id, Some(at(B, 9))).unwrap();
    (w, id)
}

#[test]
fn datagrams_longer_than_the_link_leave_in_pieces() {
    use MtuDiscovery::*;
    for (way, splits, keeps_whole) in [
        (Dont, true, false),
        (Want, true, true),
        (Do, false, true),
        (Probe, false, true),
        (Interface, false, false),
        (Omit, true, false),
    ] {
        let (mut w, id) = sender(1500, way);
        let data: Vec<u8> = (0..4000).map(|n| (n % 251) as u8).collect();
        assert_eq!(w.a.udp_send(id, None, &mut &data[..1472]), Ok(1472));
        w.a.poll(w.now);
        let whole = sent_by_a(&mut w);
        let ip = Ipv4Packet::new_checked(&whole[0][..]).unwrap();
        assert!(whole.len() == 1 && ip.verify_checksum());
        assert_eq!(
            (ip.dont_frag(), ip.more_frags()),
            (keeps_whole, false),
            "{way:?}"
        );
        let sent = w.a.udp_send(id, None, &mut &data[..]);
        w.a.poll(w.now);
        let pieces = sent_by_a(&mut w);
        if !splits {
            assert_eq!((sent, pieces.len()), (Err(Errno::EMSGSIZE), 0), "{way:?}");
            continue;
        }
        assert_eq!((sent, pieces.len()), (Ok(4000), 3));
        let mut payload = Vec::new();
        let number = Ipv4Packet::new_unchecked(&pieces[0][..]).ident();
        for piece in &pieces {
            let ip = Ipv4Packet::new_checked(&piece[..]).unwrap();
            assert_eq!(
                (ip.ident(), usize::from(ip.frag_offset())),
                (number, payload.len())
            );
            assert!(!ip.dont_frag() && piece.len() <= 1500);
            payload.extend_from_slice(&piece[20..]);
        }
        let udp = smoltcp::wire::UdpPacket::new_checked(&payload[..]).unwrap();
        assert!(udp.verify_checksum(&A.into(), &B.into()));
        assert_eq!(udp.payload(), data);
    }
}

#[test]
fn card_that_completes_checksums_gets_complete_ones_in_pieces() {
    let (mut w, id) = sender(600, MtuDiscovery::Want);
    w.cards[0].with(|c| c.offloads.completes_checksums = true);
    w.a.udp_send(id, None, &mut &[7; 1000][..]).unwrap();
    w.a.poll(w.now);
    let payload: Vec<u8> = sent_by_a(&mut w)
        .iter()
        .flat_map(|p| p[20..].to_vec())
        .collect();
    let udp = smoltcp::wire::UdpPacket::new_checked(&payload[..]).unwrap();
    assert!(udp.verify_checksum(&A.into(), &B.into()));
}

#[test]
fn pieces_wait_for_room_and_nothing_comes_between() {
    let (mut w, id) = sender(600, MtuDiscovery::Want);
    w.cards[0].with(|c| c.capacity = Some(4));
    assert_eq!(w.a.udp_send(id, None, &mut &[7; 5000][..]), Ok(5000));
    w.a.poll(w.now);
    assert_eq!(
        w.a.udp_send(id, None, &mut &b"next"[..]),
        Err(Errno::EAGAIN)
    );
    let mut lens = Vec::new();
    for _ in 0..3 {
        lens.extend(sent_by_a(&mut w).iter().map(Vec::len));
        w.a.on_interrupt(w.now);
    }
    assert_eq!(lens, [[596; 8].as_slice(), &[420]].concat());
    assert!(
        w.a.take_wakes()
            .into_iter()
            .any(|wake| wake.events.contains(Events::OUT))
    );
    assert_eq!(w.a.udp_send(id, None, &mut &b"next"[..]), Ok(4));
    w.a.poll(w.now);
    assert_eq!(sent_by_a(&mut w)[0].len(), 32);
}

#[test]
fn what_routers_say_is_kept_for_later_datagrams() {
    use MtuDiscovery::*;
    for (way, told, known, later) in [
        (Want, true, 576, Ok(alloc::vec![572, 476])),
        (Dont, false, 576, Ok(alloc::vec![572, 476])),
        (Do, true, 576, Err(Errno::EMSGSIZE)),
        (Probe, true, 576, Ok(alloc::vec![1028])),
        (Interface, true, 1500, Ok(alloc::vec![1028])),
        (Omit, true, 1500, Ok(alloc::vec![1028])),
    ] {
        let mut w = World::new();
        w.pair();
        let id = w.b.udp_socket().unwrap();
        w.b.udp_change_options(id, |o| o.mtu_discovery = [way; 2])
            .unwrap();
        assert_eq!(w.b.socket_mtu(id), Err(Errno::ENOTCONN));
        w.b.udp_connect(id, Some(at(A, 9))).unwrap();
        assert_eq!(w.b.socket_mtu(id), Ok(1500));
        w.b.udp_send(id, None, &mut &[7; 1000][..]).unwrap();
        w.b.poll(w.now);
        let frame = w.cards[1]
            .with(|c| core::mem::take(&mut c.sent))
            .pop_front()
            .unwrap();
        let mut report = icmp(3, 4, &frame[14..]);
        let sum = u16::from_be_bytes([report[36], report[37]]) - 576;
        report[36..38].copy_from_slice(&sum.to_be_bytes());
        report[40..42].copy_from_slice(&576u16.to_be_bytes());
        deliver(&mut w, report);
        assert_eq!(
            w.b.take_error(id),
            told.then_some(Errno::EMSGSIZE),
            "{way:?}"
        );
        assert_eq!(w.b.socket_mtu(id), Ok(known), "{way:?}");
        let sent = w.b.udp_send(id, None, &mut &[7; 1000][..]);
        w.b.poll(w.now);
        let frames = w.cards[1].with(|c| core::mem::take(&mut c.sent));
        let lens = sent.map(|_| frames.iter().map(|f| f.len() - 14).collect::<Vec<_>>());
        assert_eq!(lens, later, "{way:?}");
    }
}

#[test]
fn segments_may_be_split_by_routers_if_the_program_says_so() {
    for (way, keeps_whole) in [(MtuDiscovery::Want, true), (MtuDiscovery::Dont, false)] {
        let mut w = World::new();
        let (a, _) = w.pair();
        w.a.tcp_change_options(a, |o| o.mtu_discovery = [way; 2])
            .unwrap();
        assert_eq!(w.a.socket_mtu(a), Ok(1500));
        send(&mut w.a, a, b"hello").unwrap();
        w.a.poll(w.now);
        let frame = w.cards[0].with(|c| c.sent.pop_back()).unwrap();
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        assert_eq!(ip.dont_frag(), keeps_whole);
        assert!(ip.verify_checksum());
    }
}

#[test]
fn datagrams_in_pieces_arrive_whole_and_what_does_not_is_forgotten() {
    let mut w = narrow(1500);
    w.pair();
    let (a, b) = (w.a.udp_socket().unwrap(), w.b.udp_socket().unwrap());
    w.b.udp_bind(b, at(ANY, 9)).unwrap();
    let data: Vec<u8> = (0..4000).map(|n| (n % 251) as u8).collect();
    let arrived = |w: &mut World| {
        let mut buffer = alloc::vec![0; 5000];
        let received = w.b.udp_receive(b, false, &mut &mut buffer[..]);
        received.map(|r| buffer[..r.copied] == data && r.len == data.len())
    };
    w.a.udp_send(a, Some(at(B, 9)), &mut &data[..]).unwrap();
    w.settle();
    assert_eq!(arrived(&mut w), Ok(true));
    w.filter = Box::new(|_, _| Fault::Lose);
    w.a.udp_send(a, Some(at(B, 9)), &mut &data[..]).unwrap();
    w.a.poll(w.now);
    let frames = w.cards[0].with(|c| core::mem::take(&mut c.sent));
    let frames: Vec<_> = frames.into();
    assert_eq!(frames.len(), 3);
    let mut damaged = frames.clone();
    damaged[1][600] ^= 1;
    for (frames, whole) in [
        (damaged, Err(Errno::EAGAIN)),
        (frames.clone(), Ok(true)),
        (frames[..2].to_vec(), Err(Errno::EAGAIN)),
    ] {
        frames.into_iter().rev().for_each(|f| deliver(&mut w, f));
        assert_eq!(arrived(&mut w), whole);
    }
    assert!(w.b.reassembly.deadline().is_some());
    w.b.poll(w.now + Nanos(60_000_000_000));
    assert_eq!(w.b.reassembly.deadline(), None);
}

#[test]
fn echo_in_pieces_is_answered_in_pieces() {
    let mut w = narrow(1500);
    w.pair();
    let data: Vec<u8> = (0..4000).map(|n| (n % 251) as u8).collect();
    let frame = icmp(8, 0, &data);
    let mut split = Split::new(&frame[14..], 1500, 3).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    w.filter = Box::new(move |side, frame| {
        if side == Side::B {
            log.lock().unwrap().push(frame.to_vec());
        }
        Fault::Lose
    });
    let mut piece = frame[..14].to_vec();
    while split.next(&mut piece).is_some() {
        deliver(&mut w, core::mem::replace(&mut piece, frame[..14].to_vec()));
    }
    let answers = core::mem::take(&mut *seen.lock().unwrap());
    let mut whole = None;
    let mut reassembly = Reassembly::new(1 << 20);
    for answer in answers.iter().filter(|a| a[12..14] == [8, 0]) {
        assert!(answer.len() <= 1514);
        let piece = Piece::parse(&answer[14..]).unwrap();
        assert!(whole.is_none());
        whole = reassembly.add(&piece, w.now);
    }
    let whole = whole.unwrap();
    let ip = Ipv4Packet::new_checked(&whole[..]).unwrap();
    assert_eq!((ip.src_addr(), ip.dst_addr()), (B, A));
    let echo = smoltcp::wire::Icmpv4Packet::new_checked(ip.payload()).unwrap();
    assert!(echo.verify_checksum());
    assert_eq!((u8::from(echo.msg_type()), echo.data()), (0, &data[..]));
}
