//! Extension headers of IPv6, and what senders are told of packets that can't be taken in (RFC 8200 §4, 4443, 792).

use super::ipv6::{A6, B6, world};
use super::*;
use core::net::Ipv6Addr;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv4Packet, Icmpv6Packet, IpProtocol, Ipv4Packet, UdpPacket,
};

use crate::wire::{Ip, write_header};

const PORT: u16 = 9;

/// A datagram for B in a frame, behind extension headers that begin with one of type `first`.
fn datagram(to: Ipv6Addr, first: u8, headers: &[u8], data: &[u8]) -> Vec<u8> {
    let caps = ChecksumCapabilities::default();
    let mut frame = alloc::vec![0; 14 + 40 + headers.len() + 8 + data.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_dst_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
    ethernet.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 1]));
    ethernet.set_ethertype(EthernetProtocol::Ipv6);
    let packet = ethernet.payload_mut();
    let rest = write_header(packet, A6.into(), to.into(), first.into(), 64, &caps);
    let (front, datagram) = rest.split_at_mut(headers.len());
    front.copy_from_slice(headers);
    let mut udp = UdpPacket::new_unchecked(datagram);
    udp.set_src_port(77);
    udp.set_dst_port(PORT);
    udp.set_len(8 + data.len() as u16);
    udp.payload_mut().copy_from_slice(data);
    udp.fill_checksum(&A6.into(), &to.into());
    frame
}

/// Lets all of B's frames be seen; returns where they are noted.
fn watch(w: &mut World) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    w.filter = Box::new(move |side, frame| {
        if side == Side::B {
            log.lock().unwrap().push(frame.to_vec());
        }
        Fault::Deliver
    });
    seen
}

/// Returns type, code, the word behind and the quote of each error among the frames.
fn errors(seen: &Mutex<Vec<Vec<u8>>>) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let frames = core::mem::take(&mut *seen.lock().unwrap());
    let mut all = Vec::new();
    for frame in &frames {
        let Some(ip) = Ip::parse(&frame[14..]) else {
            continue;
        };
        let is_error = match ip.protocol {
            IpProtocol::Icmp => {
                assert!(Icmpv4Packet::new_unchecked(ip.payload).verify_checksum());
                assert!(frame.len() <= 14 + 576);
                matches!(ip.payload[0], 3 | 11)
            }
            IpProtocol::Icmpv6 => {
                let icmp = Icmpv6Packet::new_unchecked(ip.payload);
                assert!(icmp.verify_checksum(&B6, &A6) || ip.payload[0] >= 128);
                assert!(frame.len() <= 14 + 1280);
                ip.payload[0] < 128
            }
            _ => false,
        };
        if is_error {
            let [kind, code, _, _, w0, w1, w2, w3] = *ip.payload.first_chunk().unwrap();
            let word = u32::from_be_bytes([w0, w1, w2, w3]);
            all.push((kind, code, word, ip.payload[8..].to_vec()));
        }
    }
    all
}

fn deliver(w: &mut World, frame: Vec<u8>) {
    w.cards[1].with(|c| c.received.push_back(frame));
    w.settle();
}

#[test]
fn rfc_8200_4_datagrams_behind_headers_arrive_and_others_are_told_of() {
    let mut w = world();
    w.pass(seconds(5));
    let b = w.b.udp_socket_v6().unwrap();
    w.b.udp_bind(b, at(Ipv6Addr::UNSPECIFIED, PORT)).unwrap();
    let seen = watch(&mut w);
    let arrived = |w: &mut World| {
        let mut buffer = [0; 100];
        let received = w.b.udp_receive(b, false, &mut &mut buffer[..]);
        received.map(|r| (buffer[..r.copied].to_vec(), r.source))
    };
    let options = |next: u8, kind: u8| [next, 0, kind, 4, 0, 0, 0, 0];
    let all = [
        &options(60, 1)[..],
        &options(43, 0x1e),
        &[17, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    deliver(&mut w, datagram(B6, 0, &all, b"behind"));
    let expected = (b"behind".to_vec(), at(A6, 77));
    assert_eq!(arrived(&mut w), Ok(expected));
    assert_eq!(errors(&seen), []);
    // In one piece that says so, with a header behind.
    let fragment = [60, 0, 0, 0, 0, 0, 0, 5];
    let all = [&options(44, 1)[..], &fragment, &options(17, 1)].concat();
    deliver(&mut w, datagram(B6, 60, &all, b"piece"));
    assert_eq!(arrived(&mut w).unwrap().0, b"piece");

    let refused = datagram(B6, 60, &options(17, 0x9e), b"no");
    deliver(&mut w, refused.clone());
    assert_eq!(errors(&seen), [(4, 2, 42, refused[14..].to_vec())]);
    let leads_on = datagram(B6, 43, &[17, 0, 0, 1, 0, 0, 0, 0], b"no");
    deliver(&mut w, leads_on.clone());
    assert_eq!(errors(&seen), [(4, 0, 42, leads_on[14..].to_vec())]);
    let late = [&options(0, 1)[..], &options(17, 1)].concat();
    deliver(&mut w, datagram(B6, 60, &late, b"no"));
    let told = errors(&seen);
    assert_eq!((told[0].0, told[0].1, told[0].2), (4, 1, 40));
    deliver(&mut w, datagram(B6, 60, &options(17, 0x5e), b"no"));
    // Errors are never answered.
    let mut error = datagram(B6, 60, &options(58, 0x9e), b"no");
    error[14 + 48] = 1;
    deliver(&mut w, error);
    assert_eq!(errors(&seen), []);
    assert_eq!(arrived(&mut w), Err(Errno::EAGAIN));
    // Nobody is there: what is quoted lacks the headers.
    w.b.close(b);
    deliver(&mut w, datagram(B6, 60, &options(17, 1), b"no"));
    let bare = datagram(B6, 17, &[], b"no");
    assert_eq!(errors(&seen), [(1, 4, 0, bare[14..].to_vec())]);
}

#[test]
fn rfc_792_first_pieces_that_stay_alone_are_told_of() {
    let data = alloc::vec![5; 4000];
    for is_v6 in [false, true] {
        let mut w = world();
        w.pass(seconds(5));
        let (a, to) = if is_v6 {
            (w.a.udp_socket_v6().unwrap(), at(B6, PORT))
        } else {
            (w.a.udp_socket().unwrap(), at(B, PORT))
        };
        // Neighbours know each other afterwards.
        w.a.udp_send(a, Some(to), &mut &b"hello"[..]).unwrap();
        w.settle();
        w.filter = Box::new(|_, _| Fault::Lose);
        w.a.udp_send(a, Some(to), &mut &data[..]).unwrap();
        w.a.poll(w.now);
        let frames: Vec<_> = w.cards[0].with(|c| core::mem::take(&mut c.sent)).into();
        let seen = watch(&mut w);
        let patience = seconds(if is_v6 { 60 } else { 30 });
        for first in [false, true] {
            deliver(&mut w, frames[1].clone());
            if first {
                deliver(&mut w, frames[0].clone());
            }
            w.pass(patience - ms(1));
            assert_eq!(errors(&seen), []);
            w.pass(ms(1));
            let told = errors(&seen);
            assert_eq!(told.len(), usize::from(first));
            for (kind, code, word, quote) in told {
                assert_eq!((kind, code, word), (if is_v6 { 3 } else { 11 }, 1, 0));
                assert!(quote.len() >= 500 && frames[0][14..].starts_with(&quote));
            }
        }
    }
}

#[test]
fn rfc_1122_3_2_2_what_was_for_many_is_not_told_of() {
    let mut w = world();
    w.pass(seconds(5));
    let seen = watch(&mut w);
    let mut frame = alloc::vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    let mut packet = alloc::vec![0; 20 + 64];
    let caps = ChecksumCapabilities::default();
    let many = Ipv4Addr::BROADCAST;
    write_header(
        &mut packet,
        A.into(),
        many.into(),
        IpProtocol::Udp,
        9,
        &caps,
    );
    let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
    ip.clear_flags();
    ip.set_more_frags(true);
    ip.fill_checksum();
    frame.extend(packet);
    deliver(&mut w, frame);
    assert!(w.b.reassembly.deadline().is_some());
    w.pass(seconds(40));
    assert!(w.b.reassembly.deadline().is_none());
    assert_eq!(errors(&seen), []);
}
