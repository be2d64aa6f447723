//! IPv6: what routers and neighbours say of addresses, routes and packets that were too big.

use super::ipv6::{A6, ANY6, B6, connect, listen6, world};
use super::transfer::pattern;
use super::*;
use core::net::Ipv6Addr;
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetAddress, Icmpv6Packet, IpProtocol, TcpControl, TcpRepr};

use crate::ConfigEvent;
use crate::tcp::bare::{plain_segment, segment_len, write_segment};
use crate::types::{Cidr6, Tuple};
use crate::wire::{Ip, write_header};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

/// An ICMPv6 message in a frame for B.
fn message(source: Ipv6Addr, to: Ipv6Addr, ttl: u8, body: &[u8]) -> Vec<u8> {
    let caps = ChecksumCapabilities::default();
    let mut frame = alloc::vec![0; 14 + 40 + body.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_dst_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
    ethernet.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 0x99]));
    ethernet.set_ethertype(EthernetProtocol::Ipv6);
    let packet = ethernet.payload_mut();
    let protocol = IpProtocol::Icmpv6;
    let payload = write_header(packet, source.into(), to.into(), protocol, ttl, &caps);
    payload.copy_from_slice(body);
    if payload.len() >= 4 {
        Icmpv6Packet::new_unchecked(payload).fill_checksum(&source, &to);
    }
    frame
}

/// A router's advertisement: lifetime of the router, lifetime of the network, and name servers.
fn advertisement(router_s: u16, valid_s: u32) -> Vec<u8> {
    let mut body = alloc::vec![134, 0, 0, 0, 64, 0];
    body.extend(router_s.to_be_bytes());
    body.extend([0; 8]);
    body.extend([1, 1, 2, 0, 0, 0, 0, 0x99]);
    body.extend([3, 4, 64, 0xc0]);
    body.extend(valid_s.to_be_bytes());
    body.extend(valid_s.min(100).to_be_bytes());
    body.extend([0; 4]);
    body.extend(Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 0).octets());
    body.extend([25, 3, 0, 0, 0, 0, 9, 9]);
    body.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 53).octets());
    body
}

fn deliver(w: &mut World, frame: Vec<u8>) {
    w.cards[1].with(|c| c.received.push_back(frame));
    w.b.on_interrupt(w.now);
}

fn all_nodes() -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)
}

#[test]
fn routers_give_address_route_and_name_servers_and_they_run_out() {
    let mut w = world();
    w.pass(seconds(10));
    w.b.take_config_events();
    let ours = Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0xff, 0xfe00, 2);
    // What does not come from the link, or from no router, is not believed.
    deliver(
        &mut w,
        message(ROUTER, all_nodes(), 64, &advertisement(1800, 86_400)),
    );
    let stranger = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
    deliver(
        &mut w,
        message(stranger, all_nodes(), 255, &advertisement(1800, 86_400)),
    );
    assert!(w.b.take_config_events().is_empty());
    deliver(
        &mut w,
        message(ROUTER, all_nodes(), 255, &advertisement(1800, 86_400)),
    );
    assert_eq!(w.b.take_config_events(), [ConfigEvent::Changed6]);
    assert_eq!(
        w.b.resolvers(),
        [Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 53)]
    );
    let far = at(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 80);
    let s = w.b.tcp_socket_v6(options()).unwrap();
    w.cards[1].with(|c| c.sent.clear());
    w.b.tcp_connect(s, far, w.now).unwrap();
    w.b.poll(w.now);
    assert_eq!(w.b.tcp_local(s).unwrap().ip(), ours);
    // The router's address came with its message: the request goes at once, and to the router.
    let syn = w.cards[1].with(|c| c.sent.pop_front()).unwrap();
    assert_eq!(syn[..6], [2, 0, 0, 0, 0, 0x99]);
    assert_eq!(Ip::parse(&syn[14..]).unwrap().destination, far.ip());
    let card = w.b.interfaces().pop().unwrap();
    let addresses: Vec<Ipv6Addr> = card.addresses6.iter().map(|c| c.address).collect();
    assert_eq!(addresses, [ours, B6]);
    // Cutting a network's life short by a message that anybody can forge leaves it two hours.
    deliver(
        &mut w,
        message(ROUTER, all_nodes(), 255, &advertisement(0, 1)),
    );
    let fresh = w.b.tcp_socket_v6(options()).unwrap();
    assert_eq!(
        w.b.tcp_connect(fresh, far, w.now),
        Err(Errno::ENETUNREACH),
        "no router"
    );
    w.b.close(s);
    w.pass(seconds(7100));
    assert!(w.b.out.routes.v6.is_own(ours));
    w.pass(seconds(200));
    assert!(!w.b.out.routes.v6.is_own(ours));
    assert!(w.b.out.routes.v6.networks.is_empty());
}

/// A stranger's advertisement of an address.
fn claim_of(address: Ipv6Addr) -> Vec<u8> {
    let mut claim = alloc::vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    claim.extend(address.octets());
    claim.extend([2, 1, 2, 0, 0, 0, 0, 0x99]);
    claim
}

#[test]
fn address_that_somebody_else_has_is_given_up() {
    let mut w = world();
    let claim = claim_of(B6);
    deliver(&mut w, message(B6, all_nodes(), 255, &claim));
    assert!(
        w.b.out.routes.v6.is_own(B6),
        "nobody else speaks with our address"
    );
    deliver(&mut w, message(ROUTER, all_nodes(), 255, &claim));
    assert!(!w.b.out.routes.v6.is_own(B6));
    let mut w = world();
    w.pass(seconds(2));
    deliver(&mut w, message(ROUTER, all_nodes(), 255, &claim));
    assert!(w.b.out.routes.v6.is_own(B6), "too late");
}

/// Hands B a segment from behind the router.
fn deliver_segment(w: &mut World, tuple: &Tuple, repr: &TcpRepr<'_>) {
    let mut frame = message(
        ROUTER,
        B6,
        64,
        &alloc::vec![0; segment_len(tuple, repr) - 40],
    );
    let caps = ChecksumCapabilities::default();
    write_segment(&mut frame[14..], tuple, 64, repr, &caps);
    deliver(w, frame);
}

/// Returns the segments that B sent, as sequence number and length of the data.
fn sent_by_b(w: &World) -> Vec<(u32, usize)> {
    let frames = w.cards[1].with(|c| core::mem::take(&mut c.sent));
    let packets = frames.iter().filter_map(|f| Ip::parse(&f[14..]));
    let segments = packets.filter(|ip| ip.protocol == IpProtocol::Tcp);
    let segments = segments.map(|ip| TcpPacket::new_checked(ip.payload).unwrap());
    let both = segments.map(|s| (s.seq_number().0.cast_unsigned(), s.payload().len()));
    both.collect()
}

#[test]
fn routers_say_what_is_too_big_and_later_connections_know() {
    let mut w = world();
    w.pass(seconds(10));
    let news = advertisement(1800, 86_400);
    deliver(&mut w, message(ROUTER, all_nodes(), 255, &news));
    let ours = Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0xff, 0xfe00, 2);
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    let listener = listen6(&mut w.b, ANY6, 80, false).unwrap();
    for (peer, port, longest) in [(far, 5000, 1440), (far, 5001, 1240), (other, 5000, 1440)] {
        sent_by_b(&w);
        let tuple = Tuple {
            local: at(peer, port),
            remote: at(ours, 80),
        };
        let mut syn = plain_segment(&tuple, 1000, None);
        (syn.control, syn.max_seg_size) = (TcpControl::Syn, Some(1440));
        syn.window_len = 60_000;
        deliver_segment(&mut w, &tuple, &syn);
        let &[(seq, 0)] = &sent_by_b(&w)[..] else {
            panic!("no answer");
        };
        let mut ack = plain_segment(&tuple, 1001, Some(seq.wrapping_add(1)));
        ack.window_len = 60_000;
        deliver_segment(&mut w, &tuple, &ack);
        let (server, _) = w.b.tcp_accept(listener).unwrap();
        send(&mut w.b, server, &pattern(9000)).unwrap();
        w.b.poll(w.now);
        let frames = w.cards[1].with(|c| c.sent.iter().cloned().collect::<Vec<_>>());
        assert_eq!(
            sent_by_b(&w).iter().map(|&(_, len)| len).max(),
            Some(longest)
        );
        // Packet too big, from a router in between: 1300 bytes; first one that names nothing of ours.
        for forged in [true, false] {
            let mut original = frames.last().unwrap()[14..14 + 300].to_vec();
            original[44] ^= u8::from(forged);
            let mut body = alloc::vec![2, 0, 0, 0, 0, 0, 0x05, 0x14];
            body.extend(original);
            deliver(&mut w, message(ROUTER, ours, 64, &body));
            let again = sent_by_b(&w);
            if forged || longest < 1300 {
                assert_eq!(again, []);
            } else {
                assert_eq!(again.first(), Some(&(seq.wrapping_add(1), 1240)));
                assert!(again.iter().all(|&(_, len)| len <= 1240));
            }
        }
    }
}

#[test]
fn new_address_puts_no_old_one_in_doubt() {
    let mut w = world();
    w.pass(seconds(20));
    let news = message(ROUTER, all_nodes(), 255, &advertisement(1800, 86_400));
    deliver(&mut w, news);
    let ours = Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0xff, 0xfe00, 2);
    for address in [B6, ours] {
        deliver(
            &mut w,
            message(ROUTER, all_nodes(), 255, &claim_of(address)),
        );
    }
    assert!(w.b.out.routes.v6.is_own(B6));
    assert!(!w.b.out.routes.v6.is_own(ours));
}

#[test]
fn who_lost_the_link_local_address_asks_for_no_router_and_rests() {
    let mut w = world();
    deliver(&mut w, message(ROUTER, all_nodes(), 255, &claim_of(B6)));
    assert!(!w.b.out.routes.v6.is_own(B6));
    w.pass(seconds(10));
    assert_eq!(w.b.deadline(), None);
}

#[test]
fn static_address_needs_no_router_to_say_so() {
    let card = Handle::new(2);
    let config = StackConfig {
        device: Some(Box::new(card)),
        ip: IpConfig::Off,
        ip6: Ip6Config::Static {
            address: Cidr6 {
                address: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
                prefix: 64,
            },
            gateway: Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
            dns: alloc::vec![ROUTER],
        },
        entropy: [1; 32],
        limits: Limits::default(),
        free_memory: plenty(),
    };
    let mut stack = Stack::new(config, Nanos(0));
    assert_eq!(stack.take_config_events(), [ConfigEvent::Changed6]);
    assert_eq!(stack.resolvers(), [ROUTER]);
    let s = stack.tcp_socket_v6(options()).unwrap();
    let far = Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 1);
    stack.tcp_connect(s, at(far, 80), Nanos(0)).unwrap();
    assert_eq!(
        stack.tcp_local(s).unwrap().ip(),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)
    );
}

#[test]
fn echo_is_answered_and_errors_reach_who_sent() {
    let mut w = world();
    w.pass(seconds(1));
    let listener = listen6(&mut w.b, ANY6, 80, false).unwrap();
    connect(&mut w, listener, at(B6, 80));
    w.cards[1].with(|c| c.sent.clear());
    deliver(
        &mut w,
        message(A6, B6, 64, &[128, 0, 0, 0, 0, 1, 0, 2, 7, 7]),
    );
    let echo = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
    let ip = Ip::parse(&echo[14..]).unwrap();
    assert_eq!((ip.source, ip.destination), (B6.into(), A6.into()));
    assert_eq!(
        (ip.payload[0], &ip.payload[4..]),
        (129, &[0, 1, 0, 2, 7, 7][..])
    );
    for (code, error) in [
        (0, Errno::ENETUNREACH),
        (1, Errno::EACCES),
        (3, Errno::EHOSTUNREACH),
        (4, Errno::ECONNREFUSED),
    ] {
        let s = w.b.tcp_socket_v6(options()).unwrap();
        w.b.tcp_connect(s, at(A6, 81), w.now).unwrap();
        w.b.poll(w.now);
        let syn = w.cards[1].with(|c| c.sent.pop_back()).unwrap();
        let mut body = alloc::vec![1, code, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(&syn[14..14 + 48]);
        deliver(&mut w, message(A6, B6, 64, &body));
        assert_eq!(w.b.tcp_connect_result(s), Some(Err(error)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Messages of any kind with any content, checksums put right.
    #[test]
    fn noise_is_survived(
        messages in prop::collection::vec((120u8..140, any::<bool>(), prop::collection::vec(any::<u8>(), 3..150)), 1..30),
        headers in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..100)), 0..10),
    ) {
        let mut w = world();
        let listener = listen6(&mut w.b, ANY6, 80, false).unwrap();
        for (kind, is_near, mut body) in messages {
            body[0] = kind;
            body[1] &= 1;
            if is_near && body.len() > 24 {
                body[8..24].copy_from_slice(&B6.octets());
            }
            deliver(&mut w, message(ROUTER, if is_near { B6 } else { all_nodes() }, 255, &body));
        }
        for (next, body) in headers {
            let mut frame = message(A6, B6, 9, &body);
            frame[20] = next;
            deliver(&mut w, frame);
        }
        w.pass(seconds(20));
        if w.b.out.routes.v6.is_own(B6) {
            connect(&mut w, listener, at(B6, 80));
        }
    }
}
