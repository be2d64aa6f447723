//! The network: frames for the stack, segments for a connection, requests of netlink.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tyn_abi::Nanos;
use tyn_net::types::is_unicast;
use tyn_net::{
    Cidr, Ip6Config, IpConfig, Lease, Limits, SocketId, Stack, StackConfig, Take, TcpOptions,
    netlink,
};
use tyn_tcp::options::Options;
use tyn_tcp::{Algorithm, Config, Connection, Flags, Handshake, Policy, Segment, Seq};

use crate::card::Card;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// The stack's address comes from a server.
const BY_DHCP: u8 = 1;
/// Requests of netlink instead of frames.
const NETLINK: u8 = 2;
/// A record of no frame: time passes, and programs do something.
const PAUSE: u16 = 0;
/// Most of them that are heeded: a run of zeros is many.
const MOST_PAUSES: u32 = 32;

/// A host with a server of each kind.
struct Host {
    stack: Stack,
    card: Card,
    now: Nanos,
    listener: SocketId,
    datagrams: SocketId,
    client: Option<SocketId>,
}

impl Host {
    fn new(address: Ipv4Addr, by_dhcp: bool) -> Self {
        let last = address.octets()[3];
        let card = Card::new(last);
        let address = Cidr {
            address,
            prefix: 24,
        };
        let lease = Lease {
            address,
            gateway: Some(Ipv4Addr::new(10, 0, 0, 254)),
            dns: Vec::new(),
        };
        let config = StackConfig {
            device: Some(Box::new(card.clone())),
            ip: if by_dhcp {
                IpConfig::Dhcp
            } else {
                IpConfig::Static(lease)
            },
            ip6: Ip6Config::Auto,
            entropy: [last; 32],
            limits: Limits {
                tcp_buffers: 1 << 20,
                half_open: 16,
                time_wait: 16,
            },
            free_memory: Box::new(|| usize::MAX),
        };
        let mut stack = Stack::new(config, Nanos(0));
        let made = "a new stack has room for sockets";
        let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let listener = stack.tcp_socket_v6(TcpOptions::new(4096)).expect(made);
        stack.tcp_bind(listener, any(80)).expect(made);
        stack.tcp_listen(listener, 4).expect(made);
        let datagrams = stack.udp_socket_v6().expect(made);
        stack.udp_bind(datagrams, any(53)).expect(made);
        stack.ask_for_errors(datagrams, false, true).expect(made);
        let now = Nanos(0);
        Self {
            stack,
            card,
            now,
            listener,
            datagrams,
            client: None,
        }
    }

    /// Lets happen what can without time passing.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.stack.on_interrupt(self.now);
            self.stack.take_wakes();
            self.stack.take_config_events();
            if self.stack.deadline().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the stack never comes to rest");
    }

    fn pass(&mut self, time: Nanos) {
        let end = self.now + time;
        while let Some(at) = self.stack.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.settle();
            self.card.take();
        }
        self.now = end;
        self.settle();
    }

    /// Dials, takes what has come, and answers.
    fn serve(&mut self) {
        if self.client.is_none()
            && let Ok(client) = self.stack.tcp_socket(TcpOptions::new(4096))
        {
            let to = SocketAddr::new(PEER.into(), 80);
            // Errors are as good: there may be no address yet.
            let _ = self.stack.tcp_connect(client, to, self.now);
            self.client = Some(client);
        }
        let mut buffer = vec![0; 4096];
        while let Ok((connection, _)) = self.stack.tcp_accept(self.listener) {
            let _ = self
                .stack
                .tcp_receive(connection, Take::Bytes, &mut &mut buffer[..]);
            let _ = self
                .stack
                .tcp_send(connection, &mut &b"an answer"[..], false);
            self.stack.close(connection);
        }
        while let Ok(received) = self
            .stack
            .udp_receive(self.datagrams, false, &mut &mut buffer[..])
        {
            assert!(received.copied <= received.len);
            let data = &mut &buffer[..received.copied];
            let _ = self
                .stack
                .udp_send(self.datagrams, Some(received.source), data);
        }
        let _ = self
            .stack
            .take_queued_error(self.datagrams, &mut &mut buffer[..]);
        self.settle();
    }
}

fn sum(bytes: &[u8]) -> [u8; 2] {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let pairs = pairs
        .iter()
        .map(|&pair| u32::from(u16::from_be_bytes(pair)));
    let last = rest.first().map_or(0, |&byte| u32::from(byte) << 8);
    let mut sum = pairs.sum::<u32>() + last;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(0)).to_be_bytes()
}

/// Makes the sums right that the card does not answer for: those of IPv4 headers and ICMP.
fn fix_sums(frame: &mut [u8]) -> Option<()> {
    let kind: [u8; 2] = frame.get(12..ETHERNET)?.try_into().ok()?;
    let packet = frame.get_mut(ETHERNET..)?;
    match u16::from_be_bytes(kind) {
        0x0800 => {
            let length = usize::from(packet.first()? & 15) * 4;
            let header = packet.get_mut(..length)?;
            header.get_mut(10..12)?.fill(0);
            let own = sum(header);
            header.get_mut(10..12)?.copy_from_slice(&own);
            let total = usize::from(u16::from_be_bytes([*header.get(2)?, *header.get(3)?]));
            let is_icmp = *header.get(9)? == 1;
            let message = packet.get_mut(length..total).filter(|_| is_icmp)?;
            message.get_mut(2..4)?.fill(0);
            let own = sum(message);
            message.get_mut(2..4)?.copy_from_slice(&own);
        }
        0x86dd => {
            let total = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            let is_icmp = *packet.get(6)? == 58;
            let mut pseudo = packet.get(8..40)?.to_vec();
            let message = packet.get_mut(40..40 + total).filter(|_| is_icmp)?;
            message.get_mut(2..4)?.fill(0);
            pseudo.extend(u32::try_from(total).unwrap_or(0).to_be_bytes());
            pseudo.extend([0, 0, 0, 58]);
            pseudo.extend_from_slice(message);
            let own = sum(&pseudo);
            message.get_mut(2..4)?.copy_from_slice(&own);
        }
        _ => {}
    }
    Some(())
}

/// Lets frames arrive, each with its length in front, at a host with servers and clients. Returns whether it has answered.
pub(crate) fn frames(data: &[u8]) -> bool {
    let Some((&mode, mut rest)) = data.split_first() else {
        return false;
    };
    if mode & NETLINK != 0 {
        let mut host = Host::new(OURS, false);
        let interfaces = host.stack.interfaces();
        return !netlink::answer(rest, 7, &interfaces).is_empty();
    }
    let mut host = Host::new(OURS, mode & BY_DHCP != 0);
    host.settle();
    // What it says by itself.
    host.card.take();
    let mut has_answered = false;
    let mut pauses = 0;
    while let [low, high, behind @ ..] = rest {
        let length = u16::from_le_bytes([*low, *high]);
        if length == PAUSE {
            rest = behind;
            pauses += 1;
            if pauses > MOST_PAUSES {
                continue;
            }
            host.serve();
            has_answered |= !host.card.take().is_empty();
            host.pass(Nanos::from_millis(300));
            continue;
        }
        let (frame, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        let mut frame = frame.to_vec();
        // What is too short for a sum is too short for the stack.
        let _ = fix_sums(&mut frame);
        host.card.deliver(frame);
        host.settle();
        has_answered |= !host.card.take().is_empty();
    }
    if let Some(lease) = host.stack.lease() {
        assert!(is_unicast(lease.address.address), "{lease:?}");
    }
    if let Some(client) = host.client {
        host.stack.close(client);
    }
    host.stack.close(host.listener);
    host.stack.close(host.datagrams);
    host.pass(Nanos(2000 * Nanos::PER_SEC));
    has_answered
}

/// Records what a peer sends to a host while they talk.
fn talk(rounds: u32, act: impl Fn(&mut Host, u32)) -> Vec<u8> {
    let mut host = Host::new(OURS, false);
    let mut peer = Host::new(PEER, false);
    host.settle();
    host.card.take();
    let mut record = vec![0];
    for round in 0..rounds {
        act(&mut peer, round);
        for _ in 0..4 {
            peer.settle();
            for frame in peer.card.take() {
                let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
                record.extend(length.to_le_bytes());
                record.extend_from_slice(&frame);
                host.card.deliver(frame);
                host.settle();
            }
            for frame in host.card.take() {
                peer.card.deliver(frame);
            }
        }
        record.extend(PAUSE.to_le_bytes());
        host.serve();
        for frame in host.card.take() {
            peer.card.deliver(frame);
        }
        host.pass(Nanos::from_millis(300));
        peer.pass(Nanos::from_millis(300));
    }
    record
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let tcp = talk(6, |peer, round| {
        if round == 0 {
            let client = peer.stack.tcp_socket(TcpOptions::new(4096)).ok();
            if let Some(client) = client {
                let to = SocketAddr::new(OURS.into(), 80);
                let _ = peer.stack.tcp_connect(client, to, peer.now);
                peer.client = Some(client);
            }
        } else if let Some(client) = peer.client {
            let _ = peer.stack.tcp_send(client, &mut &b"a request"[..], false);
            if round == 4 {
                peer.stack.close(client);
                peer.client = None;
            }
        }
    });
    let udp = talk(3, |peer, round| {
        let data = vec![7; if round == 1 { 4000 } else { 10 }];
        let to = Some(SocketAddr::new(OURS.into(), 53 + u16::from(round == 2)));
        let _ = peer.stack.udp_send(peer.datagrams, to, &mut &data[..]);
    });
    // RTM_GETLINK and RTM_GETADDR, as getifaddrs(3) asks.
    let mut requests = vec![NETLINK];
    for kind in [18_u16, 22] {
        requests.extend([20, 0, 0, 0]);
        requests.extend(kind.to_le_bytes());
        requests.extend([1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0]);
    }
    vec![tcp, udp, requests]
}

/// Reads a segment's options, which are the same when they are written and read again, and lets segments arrive at a
/// connection, each with its length in front.
pub(crate) fn segments(data: &[u8]) -> bool {
    let options = Options::parse(data);
    let mut bytes = vec![0; options.len()];
    options.write(&mut bytes);
    if options.len() <= 40 {
        assert_eq!(Options::parse(&bytes), options);
    }
    let Some((&mode, mut rest)) = data.split_first() else {
        return false;
    };
    let mut now = Nanos::from_millis(1000);
    let mut connection = connection(mode, now);
    let mut is_open = false;
    while let [length, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let segment = Segment::parse(bytes);
        if let Some(mut segment) = segment {
            // Numbers are relative to where it is.
            let (next, received) = connection.numbers();
            segment.seq = Seq(received.0.wrapping_add(segment.seq.0));
            segment.ack = Seq(next.0.wrapping_add(segment.ack.0));
            connection.on_segment(&segment, now);
        } else {
            act(&mut connection, bytes, &mut now);
        }
        let mut sent = 0;
        while let Some(out) = connection.next_segment(now) {
            sent += 1;
            assert!(sent < 10_000, "it never stops sending");
            let mut header = vec![0; out.header_len()];
            out.write_header(&mut header, 80, 81);
            let parsed = Segment::parse(&header).expect("what we write can be read");
            assert_eq!((parsed.seq, parsed.flags), (out.seq, out.flags));
            let (first, second) = connection.payload(&out);
            assert_eq!(first.len() + second.len(), out.len);
        }
        is_open |= connection.readable() > 0;
    }
    connection.shut_down();
    connection.release();
    let mut rounds = 0;
    while let Some(at) = connection.deadline() {
        rounds += 1;
        assert!(rounds < 3000, "it never rests: {connection:?}");
        now = now.max(at);
        connection.on_deadline(now);
        while connection.next_segment(now).is_some() {}
    }
    is_open
}

fn connection(mode: u8, now: Nanos) -> Connection {
    let config = Config {
        mss: 1000,
        receive: (9000, 9000),
        send: (9000, 9000),
        clock_offset: 777,
    };
    let policy = Policy {
        no_delay: true,
        patience: Nanos(900 * Nanos::PER_SEC),
        keep_alive: None,
        algorithm: match mode & 16 {
            0 => Algorithm::Cubic,
            _ => Algorithm::Reno,
        },
        is_thin: mode & 32 != 0,
        most_window: if mode & 64 == 0 { usize::MAX } else { 2000 },
        most_unsent: if mode & 128 == 0 { usize::MAX } else { 1500 },
    };
    let handshake = Handshake {
        ours: Seq(u32::MAX - 5000),
        theirs: Seq(70_000),
        window: 5000,
        scale: (mode & 1 == 0).then_some(2),
        mss: Some(1000),
        has_sack: mode & 2 == 0,
        timestamp: (mode & 4 != 0).then_some(5),
    };
    match mode & 8 {
        0 => Connection::answered(&config, policy, &handshake, now),
        _ => Connection::connect(&config, policy, handshake.ours, now),
    }
}

/// What is too short for a segment is something that our side does.
fn act(connection: &mut Connection, bytes: &[u8], now: &mut Nanos) {
    let mut buffer = [0; 5000];
    match *bytes {
        [0, n] => *now = *now + Nanos::from_millis(u64::from(n) * 20),
        // Errors are as good: it may be closed.
        [1, n] => drop(connection.write(&mut &buffer[..usize::from(n) * 16])),
        [2, n] => drop(connection.read(&mut &mut buffer[..usize::from(n) * 16])),
        [3, n, m] => {
            let mss = u16::from(n) << 8 | u16::from(m);
            connection.on_packet_too_big(connection.sent().0, mss, *now);
        }
        [4] => connection.shut_down(),
        [5] => connection.release(),
        [6, n] => connection.set_spare(usize::from(n) * 16),
        _ => {}
    }
    connection.on_deadline(*now);
}

pub(crate) fn segments_seeds() -> Vec<Vec<u8>> {
    let mut talk = vec![4];
    let mut add = |bytes: &[u8]| {
        talk.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        talk.extend_from_slice(bytes);
    };
    let segment = |seq: u32, flags: u8, blocks: &[u8], data: &[u8]| {
        let mut options = vec![1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0];
        options.extend_from_slice(blocks);
        let words = u8::try_from(5 + options.len() / 4).unwrap_or(5);
        let mut bytes = vec![0, 80, 0, 81];
        bytes.extend(seq.to_be_bytes());
        bytes.extend([0, 0, 0, 0, words << 4, flags, 16, 0, 0, 0, 0, 0]);
        bytes.extend(options);
        bytes.extend_from_slice(data);
        bytes
    };
    let ack = Flags::ACK.0;
    add(&segment(0, ack | Flags::PSH.0, &[], b"data"));
    add(&[1, 200]);
    add(&segment(10, ack, &[], b"later"));
    add(&segment(
        0,
        ack,
        &[1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 9],
        b"",
    ));
    add(&[2, 10]);
    add(&[0, 100]);
    add(&segment(0, ack | Flags::FIN.0, &[], b""));
    add(&[4]);
    // As a list of options.
    vec![talk.clone(), [&[0][..], &talk[1..]].concat()]
}
