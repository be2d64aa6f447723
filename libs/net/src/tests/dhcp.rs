//! Getting, renewing and losing an address.

use super::*;
use crate::ConfigEvent;
use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
    IpAddress, IpProtocol, Ipv4Repr, UdpPacket, UdpRepr,
};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// A server that hands out one lease.
struct Server {
    card: Handle,
    router: Option<Ipv4Addr>,
    address: Ipv4Addr,
    lease_seconds: u32,
    asked: Vec<DhcpMessageType>,
    is_silent: bool,
    frames: usize,
}

impl Server {
    /// Answers what the client sent; returns whether there was something.
    fn answer(&mut self) -> bool {
        let sent = self.card.with(|c| core::mem::take(&mut c.sent));
        self.frames += sent.len();
        let any = !sent.is_empty();
        for frame in sent {
            if !self.is_silent
                && let Some(reply) = self.arp(&frame).or_else(|| self.reply(&frame))
            {
                self.card.with(|c| c.received.push_back(reply));
            }
        }
        any
    }

    fn arp(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.ethertype() != EthernetProtocol::Arp {
            return None;
        }
        let asked = frame.payload();
        let mut reply = [0u8; 42];
        let mut out = EthernetFrame::new_unchecked(&mut reply[..]);
        out.set_dst_addr(frame.src_addr());
        out.set_src_addr(EthernetAddress(SERVER_MAC));
        out.set_ethertype(EthernetProtocol::Arp);
        out.payload_mut().copy_from_slice(&asked[..28]);
        let p = out.payload_mut();
        p[7] = 2;
        p[18..28].copy_from_slice(&asked[8..18]);
        p[8..14].copy_from_slice(&SERVER_MAC);
        p[14..18].copy_from_slice(&asked[24..28]);
        Some(reply.to_vec())
    }

    fn reply(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
        assert!(ip.verify_checksum());
        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
        if udp.dst_port() != DHCP_SERVER_PORT {
            return None;
        }
        let asked = DhcpPacket::new_checked(udp.payload()).ok()?;
        let asked = DhcpRepr::parse(&asked).ok()?;
        self.asked.push(asked.message_type);
        let kind = match asked.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request => DhcpMessageType::Ack,
            _ => return None,
        };
        let dns = [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)];
        let reply = DhcpRepr {
            message_type: kind,
            your_ip: self.address,
            server_ip: SERVER,
            server_identifier: Some(SERVER),
            router: self.router,
            subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            lease_duration: Some(self.lease_seconds),
            dns_servers: Some(dns.into_iter().collect()),
            requested_ip: None,
            client_identifier: None,
            parameter_request_list: None,
            max_size: None,
            ..asked
        };
        Some(self.frame(&reply, frame.src_addr()))
    }

    fn frame(&self, dhcp: &DhcpRepr<'_>, to: EthernetAddress) -> Vec<u8> {
        let caps = smoltcp::phy::ChecksumCapabilities::default();
        let len = dhcp.buffer_len();
        let ip = Ipv4Repr {
            src_addr: SERVER,
            dst_addr: self.address,
            next_header: IpProtocol::Udp,
            payload_len: 8 + len,
            hop_limit: 64,
        };
        let udp = UdpRepr {
            src_port: DHCP_SERVER_PORT,
            dst_port: DHCP_CLIENT_PORT,
        };
        let mut bytes = alloc::vec![0; 42 + len];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_dst_addr(to);
        frame.set_src_addr(EthernetAddress(SERVER_MAC));
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &caps);
        udp.emit(
            &mut UdpPacket::new_unchecked(packet.payload_mut()),
            &IpAddress::Ipv4(SERVER),
            &IpAddress::Ipv4(self.address),
            len,
            |p| dhcp.emit(&mut DhcpPacket::new_unchecked(p)).unwrap(),
            &caps,
        );
        bytes
    }
}

fn start() -> (Stack, Server) {
    let card = Handle::new(1);
    let config = StackConfig {
        device: Some(Box::new(card.clone())),
        ip: IpConfig::Dhcp,
        ip6: Ip6Config::Off,
        entropy: [3; 32],
        limits: Limits::default(),
        free_memory: plenty(),
    };
    let server = Server {
        card,
        router: Some(SERVER),
        address: A,
        lease_seconds: 3600,
        asked: Vec::new(),
        is_silent: false,
        frames: 0,
    };
    (Stack::new(config, Nanos(0)), server)
}

/// Lets stack and server talk from `now` until `end`.
fn run(stack: &mut Stack, server: &mut Server, now: Nanos, end: Nanos) {
    let mut now = now;
    for _ in 0..10_000 {
        stack.on_interrupt(now);
        if server.answer() {
            continue;
        }
        match stack.deadline() {
            Some(d) if d <= now => {}
            Some(d) if d <= end => now = d,
            _ => return,
        }
    }
    panic!("never at rest");
}

#[test]
fn lease_gives_address_route_and_name_servers_at_once() {
    let (mut stack, mut server) = start();
    run(&mut stack, &mut server, Nanos(0), Nanos(0));
    let expected = Lease {
        dns: alloc::vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)],
        ..lease(A)
    };
    assert_eq!(stack.lease(), Some(&expected));
    assert_eq!(stack.take_config_events(), [ConfigEvent::Up(expected)]);
    assert_eq!(stack.card(), Some(([2, 0, 0, 0, 0, 1], 1500)));
    let s = stack.udp_socket().unwrap();
    let far = at(Ipv4Addr::new(9, 9, 9, 9), 53);
    assert_eq!(stack.udp_send(s, Some(far), &mut &b"x"[..]), Ok(1));
    run(&mut stack, &mut server, Nanos(0), Nanos(0));
}

#[test]
fn discovery_goes_on_until_somebody_answers() {
    let (mut stack, mut server) = start();
    server.is_silent = true;
    run(&mut stack, &mut server, Nanos(0), seconds(9));
    server.is_silent = false;
    assert_eq!(stack.lease(), None);
    let s = stack.tcp_socket(options()).unwrap();
    assert_eq!(
        stack.tcp_connect(s, at(B, 80), seconds(9)),
        Err(Errno::ENETUNREACH)
    );
    run(&mut stack, &mut server, seconds(9), seconds(20));
    assert!(stack.lease().is_some());
    assert_eq!(
        server.asked,
        [DhcpMessageType::Discover, DhcpMessageType::Request]
    );
    // Three that nobody answered at least, and these two.
    assert!(server.frames >= 5, "{}", server.frames);
}

#[test]
fn lease_is_renewed_and_lost_when_the_server_is_gone() {
    let (mut stack, mut server) = start();
    run(&mut stack, &mut server, Nanos(0), Nanos(0));
    let messages = server.asked.len();
    run(&mut stack, &mut server, Nanos(0), seconds(2000));
    assert_eq!(server.asked.len(), messages + 1);
    stack.take_config_events();
    server.is_silent = true;
    run(&mut stack, &mut server, seconds(2000), seconds(5600));
    server.is_silent = false;
    assert_eq!(stack.take_config_events(), [ConfigEvent::Down]);
    assert_eq!(stack.lease(), None);
    run(&mut stack, &mut server, seconds(5600), seconds(5670));
    assert!(stack.lease().is_some());
}

#[test]
fn useless_router_is_left_out_and_useless_address_refused() {
    let (mut stack, mut server) = start();
    server.router = Some(Ipv4Addr::BROADCAST);
    run(&mut stack, &mut server, Nanos(0), Nanos(0));
    assert_eq!(stack.lease().map(|l| l.gateway), Some(None));
    for address in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 255)] {
        let (mut stack, mut server) = start();
        server.address = address;
        run(&mut stack, &mut server, Nanos(0), seconds(5));
        assert_eq!(stack.lease(), None, "{address}");
    }
}

#[test]
fn silent_wire_costs_one_message_now_and_then() {
    let (mut stack, mut server) = start();
    server.is_silent = true;
    let mut waits = Vec::new();
    let (mut now, mut last) = (Nanos(0), Nanos(0));
    while now < seconds(1000) {
        let before = server.frames;
        run(&mut stack, &mut server, now, now);
        if server.frames > before && now > last {
            waits.push((now - last).0 as f64 / 1e9);
            last = now;
        }
        now = stack.deadline().unwrap().max(now + Nanos(1));
    }
    // Doubled up to a minute, and no two alike.
    let expected = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0].into_iter();
    for (found, about) in waits.iter().zip(expected.chain(core::iter::repeat(64.0))) {
        assert!((found - about).abs() <= 1.1, "{waits:?}");
    }
    assert!((17..=20).contains(&waits.len()), "{waits:?}");
    assert!(waits.windows(2).all(|w| w[0] != w[1]), "{waits:?}");
}
