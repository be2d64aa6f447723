//! Groups: who hears what, and what the network is told.

use core::net::Ipv6Addr;

use super::*;
use crate::{FilterMode, Multicast, Path, SourceChange, SourceFilter, UdpSend};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x77);

fn socket(stack: &mut Stack, port: u16) -> SocketId {
    let id = stack.udp_socket_v6().unwrap();
    stack
        .udp_change_options(id, |o| o.reuses_address = true)
        .unwrap();
    stack.udp_bind(id, at(Ipv6Addr::UNSPECIFIED, port)).unwrap();
    id
}

fn hears(stack: &mut Stack, id: SocketId) -> bool {
    let mut buffer = [0; 9];
    stack.udp_receive(id, false, &mut &mut buffer[..]).is_ok()
}

fn join(
    stack: &mut Stack,
    id: SocketId,
    group: impl Into<IpAddr>,
    path: Path,
) -> Result<(), Errno> {
    stack.udp_join(id, group.into(), Some(path), FilterMode::Exclude)
}

fn call(stack: &mut Stack, id: SocketId, group: impl Into<IpAddr>) {
    stack
        .udp_send(id, Some(at(group, 7)), &mut &b"x"[..])
        .unwrap();
}

/// Two stacks with both families.
fn world() -> World {
    let mut w = World::new();
    w.a = stack_with(&w.cards[0], A, Limits::default(), Ip6Config::Auto);
    w.b = stack_with(&w.cards[1], B, Limits::default(), Ip6Config::Auto);
    w.pass(seconds(20));
    w
}

/// Messages, and to whom they went.
type Messages = Vec<(IpAddr, Vec<u8>)>;

/// Notes the messages of group membership that B sends: to whom, and what follows the header with its options.
fn spy(w: &mut World) -> Arc<Mutex<Messages>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    w.filter = Box::new(move |side, frame| {
        let packet = &frame[14..];
        let ip = crate::wire::Ip::parse(packet);
        if let Some(ip) = ip.filter(|_| side == Side::B) {
            let message = match u8::from(ip.protocol) {
                2 => {
                    assert_eq!(
                        (ip.header, ip.ttl, &packet[20..24]),
                        (24, 1, &[0x94, 4, 0, 0][..])
                    );
                    assert!(Ipv4Packet::new_checked(packet).unwrap().verify_checksum());
                    Some(ip.payload.to_vec())
                }
                0 => {
                    assert_eq!(
                        (ip.ttl, &ip.payload[..8]),
                        (1, &[58, 0, 5, 2, 0, 0, 1, 0][..])
                    );
                    Some(ip.payload[8..].to_vec())
                }
                _ => None,
            };
            let mut notes = notes.lock().unwrap();
            notes.extend(message.map(|m| (ip.destination, m)));
        }
        Fault::Deliver
    });
    told
}

#[test]
fn members_hear_their_group_and_nobody_else_does() {
    let mut w = world();
    let (a, b) = (socket(&mut w.a, 7), socket(&mut w.b, 7));
    for group in [IpAddr::V4(GROUP), IpAddr::V6(GROUP6)] {
        call(&mut w.a, a, group);
        w.settle();
        assert!(!hears(&mut w.b, b) && !hears(&mut w.a, a));
        assert_eq!(join(&mut w.b, b, group, Path::Nic), Ok(()));
        assert_eq!(join(&mut w.b, b, group, Path::Nic), Err(Errno::EADDRINUSE));
        call(&mut w.a, a, group);
        w.settle();
        assert!(hears(&mut w.b, b) && !hears(&mut w.a, a));
        assert_eq!(
            w.b.udp_leave(b, group, Some(Path::Loopback)),
            Err(Errno::EADDRNOTAVAIL)
        );
        assert_eq!(w.b.udp_leave(b, group, None), Ok(()));
        assert_eq!(w.b.udp_leave(b, group, None), Err(Errno::EADDRNOTAVAIL));
        call(&mut w.a, a, group);
        w.settle();
        assert!(!hears(&mut w.b, b));
    }
    assert_eq!(join(&mut w.b, b, B, Path::Nic), Err(Errno::EINVAL));
}

#[test]
fn host_hears_itself_unless_told() {
    let mut w = world();
    let (a, b) = (socket(&mut w.a, 7), socket(&mut w.b, 7));
    for group in [IpAddr::V4(GROUP), IpAddr::V6(GROUP6)] {
        let other = socket(&mut w.a, 7);
        join(&mut w.a, a, group, Path::Nic).unwrap();
        join(&mut w.b, b, group, Path::Nic).unwrap();
        call(&mut w.a, a, group);
        w.settle();
        assert!(hears(&mut w.a, a) && hears(&mut w.a, other) && hears(&mut w.b, b));
        // Who wants its own groups alone does not hear those of others.
        let choose = |o: &mut crate::UdpOptions| {
            let hears_own = Multicast {
                hears_all: false,
                ..Multicast::default()
            };
            (o.v4, o.v6) = (hears_own, hears_own);
        };
        w.a.udp_change_options(other, choose).unwrap();
        call(&mut w.a, a, group);
        w.settle();
        assert!(hears(&mut w.a, a) && !hears(&mut w.a, other) && hears(&mut w.b, b));
        let quiet = |o: &mut crate::UdpOptions| (o.v4.loops, o.v6.loops) = (false, false);
        w.a.udp_change_options(a, quiet).unwrap();
        call(&mut w.a, a, group);
        w.settle();
        assert!(!hears(&mut w.a, a) && hears(&mut w.b, b));
        let loud = |o: &mut crate::UdpOptions| (o.v4.loops, o.v6.loops) = (true, true);
        w.a.udp_change_options(a, loud).unwrap();
        let how = UdpSend {
            to: Some(at(group, 7)),
            ttl: Some(0),
            ..UdpSend::default()
        };
        w.a.udp_send_with(a, &how, &mut &b"here"[..]).unwrap();
        w.settle();
        assert!(
            hears(&mut w.a, a) && !hears(&mut w.b, b),
            "no hop, yet it left"
        );
    }
}

#[test]
fn interface_can_be_chosen() {
    let mut w = world();
    let (a, b) = (socket(&mut w.a, 7), socket(&mut w.b, 7));
    join(&mut w.b, b, GROUP, Path::Nic).unwrap();
    join(&mut w.a, a, GROUP, Path::Loopback).unwrap();
    call(&mut w.a, a, GROUP);
    w.settle();
    assert!(hears(&mut w.b, b) && !hears(&mut w.a, a));
    w.a.udp_change_options(a, |o| o.v4.path = Some(Path::Loopback))
        .unwrap();
    call(&mut w.a, a, GROUP);
    w.settle();
    assert!(!hears(&mut w.b, b) && hears(&mut w.a, a));
    w.a.udp_change_options(a, |o| o.v6.path = Some(Path::Loopback))
        .unwrap();
    let to = Some(at(GROUP6, 7));
    let sent = w.a.udp_send(a, to, &mut &b"x"[..]);
    assert_eq!(sent, Err(Errno::ENETUNREACH));
}

#[test]
fn network_is_told_who_listens() {
    let mut w = world();
    let told = spy(&mut w);
    let take = || core::mem::take(&mut *told.lock().unwrap());
    let (b, c) = (socket(&mut w.b, 7), socket(&mut w.b, 7));
    for id in [b, c] {
        join(&mut w.b, id, GROUP, Path::Nic).unwrap();
        join(&mut w.b, id, GROUP6, Path::Nic).unwrap();
        w.pass(seconds(30));
    }
    let all = take();
    for group in [IpAddr::V4(GROUP), IpAddr::V6(GROUP6)] {
        let (routers, octets) = match group {
            IpAddr::V4(ip) => ("224.0.0.22", ip.octets().to_vec()),
            IpAddr::V6(ip) => ("ff02::16", ip.octets().to_vec()),
        };
        let of_it = all.iter().filter(|m| m.0.is_ipv4() == group.is_ipv4());
        let reports: Vec<_> = of_it.collect();
        assert_eq!(reports.len(), 2);
        for (to, message) in reports {
            assert_eq!(*to, routers.parse::<IpAddr>().unwrap());
            let kind = if group.is_ipv4() { 0x22 } else { 143 };
            assert_eq!((message[0], &message[4..8]), (kind, &[0, 0, 0, 1][..]));
            assert_eq!(message[8..], [&[4, 0, 0, 0], &octets[..]].concat());
            let is_right = match group {
                IpAddr::V4(_) => crate::checksum::plain(message) == 0xffff,
                IpAddr::V6(_) => has_right_checksum(&w, message),
            };
            assert!(is_right, "{message:?}");
        }
    }
    let version2 = (
        IpAddr::V4(GROUP),
        [&[0x16, 0], &checksum(0x16)[..], &GROUP.octets()].concat(),
    );
    // A question is answered by one report for each group, in the router's version.
    let question = igmp_query();
    w.cards[1].with(|c| c.received.push_back(question));
    w.pass(seconds(30));
    assert_eq!(take(), [version2]);
    w.b.close(b);
    w.pass(seconds(3));
    assert_eq!(take(), []);
    w.b.close(c);
    w.pass(seconds(3));
    let left = take();
    let [(all_routers, leave), (to, done), (_, again)] = &left[..] else {
        panic!("{left:?}");
    };
    assert_eq!(*all_routers, IpAddr::V4(Ipv4Addr::new(224, 0, 0, 2)));
    assert_eq!((leave[0], &leave[4..]), (0x17, &GROUP.octets()[..]));
    assert_eq!((to.is_ipv6(), done[0], done[8]), (true, 143, 3));
    assert_eq!(done, again);
}

#[test]
fn routers_that_speak_mld_1_are_told_in_it() {
    let mut w = world();
    let told = spy(&mut w);
    let take = || core::mem::take(&mut *told.lock().unwrap());
    let b = socket(&mut w.b, 7);
    join(&mut w.b, b, IpAddr::V6(GROUP6), Path::Nic).unwrap();
    w.pass(seconds(3));
    take();
    let question = mld_query();
    w.cards[1].with(|c| c.received.push_back(question));
    w.pass(seconds(11));
    let mut messages = take();
    w.b.close(b);
    w.pass(seconds(3));
    messages.extend(take());
    let own = w.b.out.routes.v6.link_local.unwrap().into();
    let mut expected = [(131, IpAddr::V6(GROUP6)), (132, "ff02::2".parse().unwrap())].into_iter();
    for (to, message) in messages {
        let protocol = smoltcp::wire::IpProtocol::Icmpv6;
        assert_eq!(crate::checksum::of(own, to, protocol, &message), 0xffff);
        assert_eq!(expected.next(), Some((message[0], to)));
        assert_eq!(message[4..], [&[0; 4][..], &GROUP6.octets()].concat());
    }
    assert_eq!(expected.next(), None);
}

/// A question of MLDv1 for all groups, to be answered within ten seconds.
fn mld_query() -> Vec<u8> {
    let (router, all): (Ipv6Addr, Ipv6Addr) =
        ("fe80::9".parse().unwrap(), "ff02::1".parse().unwrap());
    let mut frame = Vec::from([0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0, 0, 32, 0, 1]);
    frame.extend(router.octets().iter().chain(&all.octets()));
    frame.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    let mut message = [0; 24];
    message[0] = 130;
    message[4..6].copy_from_slice(&10_000u16.to_be_bytes());
    let protocol = smoltcp::wire::IpProtocol::Icmpv6;
    let sum = !crate::checksum::of(router.into(), all.into(), protocol, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    frame.extend(message);
    frame
}

/// Returns whether a message of ICMPv6 that B sent to the routers is as it was sent.
fn has_right_checksum(w: &World, message: &[u8]) -> bool {
    let own = w.b.out.routes.v6.link_local.unwrap().into();
    let routers = "ff02::16".parse().unwrap();
    let protocol = smoltcp::wire::IpProtocol::Icmpv6;
    crate::checksum::of(own, routers, protocol, message) == 0xffff
}

#[test]
fn sources_decide_who_is_heard() {
    let mut w = world();
    let (a, b, other) = (
        socket(&mut w.a, 7),
        socket(&mut w.b, 7),
        socket(&mut w.b, 7),
    );
    for group in [IpAddr::V4(GROUP), IpAddr::V6(GROUP6)] {
        let source = match group {
            IpAddr::V4(_) => IpAddr::V4(A),
            IpAddr::V6(_) => w.a.out.routes.v6.link_local.unwrap().into(),
        };
        let stranger = match group {
            IpAddr::V4(_) => "10.0.0.77".parse().unwrap(),
            IpAddr::V6(_) => "fe80::77".parse().unwrap(),
        };
        let change = |source, mode, adds| SourceChange { source, mode, adds };
        let block = change(source, FilterMode::Exclude, true);
        assert_eq!(
            w.b.udp_change_source(b, group, None, &block),
            Err(Errno::EINVAL)
        );
        join(&mut w.b, b, group, Path::Nic).unwrap();
        assert_eq!(w.b.udp_change_source(b, group, None, &block), Ok(()));
        call(&mut w.a, a, group);
        w.settle();
        // The interface does not take it in for those who would hear everything either.
        assert!(!hears(&mut w.b, b) && !hears(&mut w.b, other));
        join(&mut w.b, other, group, Path::Nic).unwrap();
        call(&mut w.a, a, group);
        w.settle();
        assert!(!hears(&mut w.b, b) && hears(&mut w.b, other));
        w.b.udp_leave(other, group, None).unwrap();
        let filter = |sources: &[IpAddr]| SourceFilter {
            mode: FilterMode::Include,
            sources: sources.to_vec(),
        };
        for (sources, is_heard) in [(&[stranger][..], false), (&[stranger, source], true)] {
            let at = (Path::Nic, group);
            assert_eq!(w.b.udp_set_filter(b, at, filter(sources)), Ok(()));
            assert_eq!(w.b.udp_filter(b, at), Ok(filter(sources)));
            call(&mut w.a, a, group);
            w.settle();
            assert_eq!(hears(&mut w.b, b), is_heard);
            assert_eq!(hears(&mut w.b, other), is_heard);
        }
        let leave = |source| change(source, FilterMode::Include, false);
        let at = Some(Path::Nic);
        assert_eq!(w.b.udp_change_source(b, group, at, &leave(source)), Ok(()));
        let again = w.b.udp_change_source(b, group, at, &leave(source));
        assert_eq!(again, Err(Errno::EADDRNOTAVAIL));
        assert_eq!(
            w.b.udp_change_source(b, group, at, &leave(stranger)),
            Ok(())
        );
        assert_eq!(w.b.udp_leave(b, group, None), Err(Errno::EADDRNOTAVAIL));
    }
}

#[test]
fn groups_are_limited() {
    let mut w = world();
    let a = socket(&mut w.a, 7);
    let group = |number: u32| IpAddr::V4((0xef01_0000 + number).into());
    for number in 0..20 {
        assert_eq!(join(&mut w.a, a, group(number), Path::Nic), Ok(()));
    }
    assert_eq!(join(&mut w.a, a, group(20), Path::Nic), Err(Errno::ENOBUFS));
    let group = |number: u16| IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, number));
    let fits = (0..).take_while(
        |&number| match join(&mut w.a, a, group(number), Path::Nic) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error, Errno::ENOMEM);
                false
            }
        },
    );
    assert_eq!(fits.count(), (131_072 - 1 - 20 * 48) / 56);
}

/// The checksum of a message of IGMP about [`GROUP`].
fn checksum(kind: u8) -> [u8; 2] {
    let [a, b, c, d] = GROUP.octets();
    let sum = u32::from(u16::from_be_bytes([kind, 0]))
        + u32::from(u16::from_be_bytes([a, b]))
        + u32::from(u16::from_be_bytes([c, d]));
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// A router's question for all groups, to be answered within ten seconds.
fn igmp_query() -> Vec<u8> {
    let mut frame = alloc::vec![0; 14 + 24 + 8];
    frame[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 1]);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
    let packet = &mut frame[14..];
    packet[24..].copy_from_slice(&[0x11, 100, 0xee, 0x9b, 0, 0, 0, 0]);
    let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
    ip.set_version(4);
    ip.set_header_len(24);
    ip.set_total_len(32);
    ip.set_hop_limit(1);
    ip.set_next_header(smoltcp::wire::IpProtocol::Igmp);
    ip.set_src_addr(Ipv4Addr::new(10, 0, 0, 254));
    ip.set_dst_addr(Ipv4Addr::new(224, 0, 0, 1));
    packet[20..24].copy_from_slice(&[0x94, 4, 0, 0]);
    Ipv4Packet::new_unchecked(packet).fill_checksum();
    frame
}
