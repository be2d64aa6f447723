//! Counters of the protocols in `/proc/PID/net`: `snmp`, `snmp6`, `netstat`.
//!
//! `snmp` and `snmp6` have all names that Linux has; a zero that nothing counts is of what does not happen here. Of Linux's
//! own counters (`TcpExt`) there are those that are counted.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use tyn_fs::net_counters::{Counter, protocol, protocol6};
use tyn_net::mib::{IcmpCounters, IpCounters, Mib, UdpCounters};

use super::inspect;

/// Types of ICMP, and their names there.
const V4_TYPES: &[(u8, &str)] = &[
    (3, "DestUnreachs"),
    (11, "TimeExcds"),
    (12, "ParmProbs"),
    (4, "SrcQuenchs"),
    (5, "Redirects"),
    (8, "Echos"),
    (0, "EchoReps"),
    (13, "Timestamps"),
    (14, "TimestampReps"),
    (17, "AddrMasks"),
    (18, "AddrMaskReps"),
];
/// Those of IPv6.
const V6_TYPES: &[(u8, &str)] = &[
    (1, "DestUnreachs"),
    (2, "PktTooBigs"),
    (3, "TimeExcds"),
    (4, "ParmProblems"),
    (128, "Echos"),
    (129, "EchoReplies"),
    (130, "GroupMembQueries"),
    (131, "GroupMembResponses"),
    (132, "GroupMembReductions"),
    (133, "RouterSolicits"),
    (134, "RouterAdvertisements"),
    (135, "NeighborSolicits"),
    (136, "NeighborAdvertisements"),
    (137, "Redirects"),
    (143, "MLDv2Reports"),
];

/// Counters with names that were put together.
type Named = Vec<(String, u64)>;

fn refer(named: &Named) -> Vec<Counter<'_>> {
    let counters = named.iter();
    counters
        .map(|(name, count)| (name.as_str(), count.cast_signed()))
        .collect()
}

fn plain(counters: &[(&str, u64)]) -> Named {
    let counters = counters.iter();
    counters
        .map(|&(name, count)| (String::from(name), count))
        .collect()
}

/// The counters of messages in one direction, by the names of their types.
fn by_type(icmp: &IcmpCounters, types: &[(u8, &str)], is_in: bool) -> Named {
    let (way, counts) = match is_in {
        true => ("In", &icmp.received),
        false => ("Out", &icmp.sent),
    };
    let types = types.iter();
    types
        .map(|(kind, name)| {
            (
                format!("{way}{name}"),
                counts.get(kind).copied().unwrap_or(0),
            )
        })
        .collect()
}

/// The counters of messages of every type that there was.
fn by_number(icmp: &IcmpCounters) -> Named {
    let of =
        |way: &'static str| move |(kind, count): (&u8, &u64)| (format!("{way}Type{kind}"), *count);
    let received = icmp.received.iter().map(of("In"));
    received.chain(icmp.sent.iter().map(of("Out"))).collect()
}

fn sum(counts: &alloc::collections::BTreeMap<u8, u64>) -> u64 {
    counts.values().sum()
}

/// `snmp`.
pub(super) fn snmp() -> String {
    let (mib, established) = inspect(|stack| (stack.mib(), stack.established()));
    let Mib {
        ip: [ip, _],
        icmp: [icmp, _],
        udp: [udp, _],
        tcp,
    } = &mib;
    let mut out = protocol(
        "Ip",
        &refer(&plain(&[
            // It does not forward; the time to live that packets begin with.
            ("Forwarding", 2),
            ("DefaultTTL", 64),
            ("InReceives", ip.receives.packets),
            ("InHdrErrors", ip.header_errors),
            ("InAddrErrors", ip.address_errors),
            ("ForwDatagrams", 0),
            ("InUnknownProtos", ip.unknown_protocols),
            ("InDiscards", 0),
            ("InDelivers", ip.delivers),
            ("OutRequests", ip.requests.packets),
            ("OutDiscards", ip.discards),
            ("OutNoRoutes", ip.no_routes),
            ("ReasmTimeout", ip.reassembly_timeouts),
            ("ReasmReqds", ip.pieces),
            ("ReasmOKs", ip.reassembled),
            ("ReasmFails", ip.reassembly_failures),
            ("FragOKs", ip.split),
            ("FragFails", ip.split_failures),
            ("FragCreates", ip.pieces_made),
            ("OutTransmits", ip.transmits),
        ])),
    );
    let mut messages = plain(&[
        ("InMsgs", sum(&icmp.received)),
        ("InErrors", icmp.errors),
        ("InCsumErrors", icmp.checksum_errors),
    ]);
    messages.extend(by_type(icmp, V4_TYPES, true));
    messages.extend(plain(&[
        ("OutMsgs", sum(&icmp.sent)),
        ("OutErrors", 0),
        ("OutRateLimitGlobal", icmp.limited),
        ("OutRateLimitHost", 0),
    ]));
    messages.extend(by_type(icmp, V4_TYPES, false));
    out.push_str(&protocol("Icmp", &refer(&messages)));
    let types = by_number(icmp);
    if !types.is_empty() {
        out.push_str(&protocol("IcmpMsg", &refer(&types)));
    }
    // As RFC 6298 says (vanj), in milliseconds, and without a bound.
    const ALGORITHM: i64 = 1;
    const LEAST_RTO: i64 = 200;
    const MOST_RTO: i64 = 120_000;
    let mut segments = Vec::from([
        ("RtoAlgorithm", ALGORITHM),
        ("RtoMin", LEAST_RTO),
        ("RtoMax", MOST_RTO),
        ("MaxConn", -1),
    ]);
    let counts = [
        ("ActiveOpens", tcp.active_opens),
        ("PassiveOpens", tcp.passive_opens),
        ("AttemptFails", tcp.attempt_fails),
        ("EstabResets", tcp.established_resets),
        ("CurrEstab", established as u64),
        ("InSegs", tcp.in_segments),
        ("OutSegs", tcp.out_segments),
        ("RetransSegs", tcp.repeated),
        ("InErrs", tcp.in_errors),
        ("OutRsts", tcp.out_resets),
        ("InCsumErrors", tcp.in_checksum_errors),
    ];
    segments.extend(counts.map(|(name, count)| (name, count.cast_signed())));
    out.push_str(&protocol("Tcp", &segments));
    out.push_str(&protocol("Udp", &refer(&plain(&datagrams(udp)))));
    let lite = datagrams(&UdpCounters::default());
    out.push_str(&protocol("UdpLite", &refer(&plain(&lite))));
    out
}

fn datagrams(udp: &UdpCounters) -> [(&'static str, u64); 9] {
    [
        ("InDatagrams", udp.in_datagrams),
        ("NoPorts", udp.no_ports),
        ("InErrors", udp.in_errors),
        ("OutDatagrams", udp.out_datagrams),
        ("RcvbufErrors", udp.queue_full),
        ("SndbufErrors", udp.send_errors),
        ("InCsumErrors", udp.in_checksum_errors),
        ("IgnoredMulti", udp.ignored_multicast),
        ("MemErrors", udp.no_memory),
    ]
}

/// Bytes, and packets by their bits for congestion, as both versions name them.
fn volumes(ip: &IpCounters) -> [(&'static str, u64); 10] {
    let [none, one, zero, experienced] = ip.congestion;
    [
        ("InOctets", ip.receives.bytes),
        ("OutOctets", ip.requests.bytes),
        ("InMcastOctets", ip.in_multicast.bytes),
        ("OutMcastOctets", ip.out_multicast.bytes),
        ("InBcastOctets", ip.in_broadcast.bytes),
        ("OutBcastOctets", ip.out_broadcast.bytes),
        ("InNoECTPkts", none),
        ("InECT1Pkts", one),
        ("InECT0Pkts", zero),
        ("InCEPkts", experienced),
    ]
}

/// `netstat`.
pub(super) fn netstat() -> String {
    let mib = inspect(|stack| stack.mib());
    let ([ip, _], tcp) = (&mib.ip, &mib.tcp);
    let out = protocol(
        "TcpExt",
        &refer(&plain(&[
            ("SyncookiesSent", tcp.cookies_sent),
            ("SyncookiesRecv", tcp.cookies_received),
            ("SyncookiesFailed", tcp.cookies_failed),
            ("EmbryonicRsts", tcp.requests_reset),
            ("TW", tcp.time_waits_over),
            ("ListenOverflows", tcp.listen_overflows),
            ("ListenDrops", tcp.listen_drops),
            ("TCPTimeWaitOverflow", tcp.time_wait_overflows),
            ("TCPReqQFullDoCookies", tcp.cookies_sent),
        ])),
    );
    let mut packets = plain(&[
        ("InNoRoutes", 0),
        ("InTruncatedPkts", ip.truncated),
        ("InMcastPkts", ip.in_multicast.packets),
        ("OutMcastPkts", ip.out_multicast.packets),
        ("InBcastPkts", ip.in_broadcast.packets),
        ("OutBcastPkts", ip.out_broadcast.packets),
    ]);
    let [octets @ .., none, one, zero, experienced] = volumes(ip);
    packets.extend(plain(&octets));
    packets.extend(plain(&[("InCsumErrors", ip.checksum_errors)]));
    packets.extend(plain(&[none, one, zero, experienced]));
    out + &protocol("IpExt", &refer(&packets))
}

/// `snmp6`.
pub(super) fn snmp6() -> String {
    let mib = inspect(|stack| stack.mib());
    let ([_, ip], [_, icmp], [_, udp]) = (&mib.ip, &mib.icmp, &mib.udp);
    let mut packets = plain(&[
        ("InReceives", ip.receives.packets),
        ("InHdrErrors", ip.header_errors),
        ("InTooBigErrors", 0),
        ("InNoRoutes", 0),
        ("InAddrErrors", ip.address_errors),
        ("InUnknownProtos", ip.unknown_protocols),
        ("InTruncatedPkts", ip.truncated),
        ("InDiscards", 0),
        ("InDelivers", ip.delivers),
        ("OutForwDatagrams", 0),
        ("OutRequests", ip.requests.packets),
        ("OutDiscards", ip.discards),
        ("OutNoRoutes", ip.no_routes),
        ("ReasmTimeout", ip.reassembly_timeouts),
        ("ReasmReqds", ip.pieces),
        ("ReasmOKs", ip.reassembled),
        ("ReasmFails", ip.reassembly_failures),
        ("FragOKs", ip.split),
        ("FragFails", ip.split_failures),
        ("FragCreates", ip.pieces_made),
        ("InMcastPkts", ip.in_multicast.packets),
        ("OutMcastPkts", ip.out_multicast.packets),
    ]);
    packets.extend(plain(&volumes(ip)));
    packets.extend(plain(&[("OutTransmits", ip.transmits)]));
    let mut out = protocol6("Ip6", &refer(&packets));
    let mut messages = plain(&[
        ("InMsgs", sum(&icmp.received)),
        ("InErrors", icmp.errors),
        ("OutMsgs", sum(&icmp.sent)),
        ("OutErrors", 0),
        ("InCsumErrors", icmp.checksum_errors),
        ("OutRateLimitHost", icmp.limited),
    ]);
    messages.extend(by_type(icmp, V6_TYPES, true));
    messages.extend(by_type(icmp, V6_TYPES, false));
    messages.extend(by_number(icmp));
    out.push_str(&protocol6("Icmp6", &refer(&messages)));
    out.push_str(&protocol6("Udp6", &refer(&plain(&datagrams(udp)))));
    // What UDP-Lite has none of, Linux does not list.
    let lite = datagrams(&UdpCounters::default()).into_iter();
    let lite: Vec<_> = lite.filter(|(name, _)| *name != "IgnoredMulti").collect();
    out + &protocol6("UdpLite6", &refer(&plain(&lite)))
}
