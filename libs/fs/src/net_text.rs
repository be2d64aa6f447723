//! The texts of `/proc/PID/net` (`proc_pid_net(5)`).

use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What stands in front of the lines of `dev`.
pub const DEVICES: &str = "Inter-|   Receive                                                |  Transmit\n \
    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
/// ... of `unix`.
pub const LOCAL: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";
/// ... of `tcp6`, and, without its end, of `udp6`.
const V6: &str = "  sl  local_address                         remote_address                        \
    st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
/// Width of the lines of `tcp`, and of `udp` and `route`.
const TCP_WIDTH: usize = 149;
const UDP_WIDTH: usize = 127;

/// The line of an interface: packets and bytes, in and out.
#[must_use]
pub fn device(name: &str, packets: [u64; 2], bytes: [u64; 2]) -> String {
    let ([packets_in, packets_out], [bytes_in, bytes_out]) = (packets, bytes);
    let zero = 0;
    format!(
        "{name:>6}: {bytes_in:7} {packets_in:7} {zero:4} {zero:4} {zero:4} {zero:5} {zero:10} {zero:9} \
         {bytes_out:8} {packets_out:7} {zero:4} {zero:4} {zero:4} {zero:5} {zero:7} {zero:10}\n"
    )
}

/// Fills a line up with spaces.
fn padded(line: &str, width: usize) -> String {
    format!("{line:<width$}\n")
}

/// What a line of `tcp` and its like tells.
#[derive(Clone, Copy, Debug)]
pub struct SocketLine {
    /// Number of the line.
    pub number: usize,
    /// Our end, and the peer.
    pub ends: (SocketAddr, SocketAddr),
    /// State (`include/net/tcp_states.h`).
    pub state: u8,
    /// Bytes to send, and to read.
    pub queues: (usize, usize),
    /// Time-outs in a row.
    pub timeouts: u8,
    /// Inode, 0 without a descriptor.
    pub inode: u64,
}

/// Which file a line is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// `tcp`, `udp`.
    V4,
    /// `tcp6`, `udp6`.
    V6,
}

/// An end as Linux prints it: the words of the address as this CPU reads them.
fn end(at: SocketAddr, version: Version) -> String {
    let word = |bytes: &[u8]| u32::from_ne_bytes(*bytes.first_chunk().unwrap_or(&[0; 4]));
    let mut out = String::new();
    let port = at.port();
    match (version, at.ip()) {
        (Version::V4, IpAddr::V4(ip)) => {
            let _ = write!(out, "{:08X}", word(&ip.octets()));
        }
        (Version::V4, IpAddr::V6(_)) => out.push_str("00000000"),
        (Version::V6, ip) => {
            let ip = match ip {
                IpAddr::V6(ip) => ip,
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv6Addr::UNSPECIFIED,
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            };
            for part in ip.octets().chunks(4) {
                let _ = write!(out, "{:08X}", word(part));
            }
        }
    }
    let _ = write!(out, ":{port:04X}");
    out
}

/// What the lines of TCP and of UDP have in common, up to the inode.
fn socket(line: &SocketLine, version: Version, width: usize) -> String {
    let (local, remote) = line.ends;
    format!(
        "{:width$}: {} {} {:02X} {:08X}:{:08X} 00:00000000 {:08X}     0        0 {}",
        line.number,
        end(local, version),
        end(remote, version),
        line.state,
        line.queues.0,
        line.queues.1,
        line.timeouts,
        line.inode,
    )
}

/// What stands in front of the lines of `tcp` or `tcp6`.
#[must_use]
pub fn tcp_header(version: Version) -> String {
    match version {
        Version::V4 => padded(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            TCP_WIDTH,
        ),
        Version::V6 => String::from(V6) + "\n",
    }
}

/// What a line of TCP ends with.
#[derive(Clone, Copy, Debug)]
pub enum Tail {
    /// References and address alone.
    None(u32),
    /// Time-out in clock ticks, congestion window, threshold (of a listener: length of its queue of fast openers).
    Window(u64, u32, i64),
}

/// The line of a TCP socket.
#[must_use]
pub fn tcp(line: &SocketLine, version: Version, tail: Tail) -> String {
    let text = socket(line, version, 4);
    let text = match tail {
        Tail::None(references) => format!("{text} {references} {:016x}", 0),
        Tail::Window(timeout, window, threshold) => {
            format!("{text} 1 {:016x} {timeout} 0 0 {window} {threshold}", 0)
        }
    };
    match version {
        Version::V4 => padded(&text, TCP_WIDTH),
        Version::V6 => text + "\n",
    }
}

/// What stands in front of the lines of `udp` or `udp6`.
#[must_use]
pub fn udp_header(version: Version) -> String {
    match version {
        Version::V4 => padded(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
            UDP_WIDTH,
        ),
        Version::V6 => String::from(V6) + " ref pointer drops\n",
    }
}

/// The line of a UDP socket.
#[must_use]
pub fn udp(line: &SocketLine, version: Version) -> String {
    let text = format!("{} 2 {:016x} 0", socket(line, version, 5), 0);
    match version {
        Version::V4 => padded(&text, UDP_WIDTH),
        Version::V6 => text + "\n",
    }
}

/// What a line of `unix` tells.
#[derive(Clone, Debug)]
pub struct LocalLine {
    /// Whether it listens, whether it is connected.
    pub is: (bool, bool),
    /// `SOCK_STREAM` ...
    pub kind: u32,
    /// Inode.
    pub inode: u64,
    /// Its name, if it has one: a path, or one of the abstract namespace, that begins with `@`.
    pub name: Option<String>,
}

/// The line of a local socket.
#[must_use]
pub fn local(line: &LocalLine) -> String {
    /// `__SO_ACCEPTCON`, `SS_UNCONNECTED`, `SS_CONNECTED`.
    const LISTENS: u32 = 0x10000;
    let (listens, is_connected) = line.is;
    let (references, state) = if is_connected { (3, 3) } else { (2, 1) };
    let flags = if listens { LISTENS } else { 0 };
    let name = line
        .name
        .as_ref()
        .map_or(String::new(), |name| format!(" {name}"));
    format!(
        "{:016x}: {references:08X} {:08X} {flags:08X} {:04X} {state:02X} {:5}{name}\n",
        0, 0, line.kind, line.inode
    )
}

/// What stands in front of the lines of `route`.
#[must_use]
pub fn route_header() -> String {
    padded(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        UDP_WIDTH,
    )
}

/// The line of a route: network, length of its prefix, router.
#[must_use]
pub fn route(device: &str, network: [u8; 4], prefix: u8, router: Option<[u8; 4]>) -> String {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    // RTF_UP, RTF_GATEWAY
    let flags = if router.is_some() { 3 } else { 1 };
    let word = u32::from_ne_bytes;
    let text = format!(
        "{device}\t{:08X}\t{:08X}\t{flags:04X}\t0\t0\t0\t{:08X}\t0\t0\t0",
        word(network),
        word(router.unwrap_or([0; 4])),
        word(mask.to_be_bytes()),
    );
    padded(&text, UDP_WIDTH)
}

/// The line of an address in `if_inet6`.
#[must_use]
pub fn address6(address: Ipv6Addr, index: u32, prefix: u8, device: &str) -> String {
    /// `IFA_F_PERMANENT`.
    const PERMANENT: u8 = 0x80;
    let scope = if address.is_loopback() {
        0x10
    } else if address.is_unicast_link_local() {
        0x20
    } else {
        0
    };
    let mut out = String::new();
    for byte in address.octets() {
        let _ = write!(out, "{byte:02x}");
    }
    let _ = writeln!(
        out,
        " {index:02x} {prefix:02x} {scope:02x} {PERMANENT:02x} {device:>8}"
    );
    out
}

/// Facts of `sockstat`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of the file's lines")]
pub struct Totals {
    pub used: usize,
    pub tcp: usize,
    pub orphans: usize,
    pub time_waits: usize,
    pub tcp_pages: usize,
    pub udp: usize,
}

/// `sockstat`.
#[must_use]
pub fn totals(t: &Totals) -> String {
    format!(
        "sockets: used {}\nTCP: inuse {} orphan {} tw {} alloc {} mem {}\nUDP: inuse {} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        t.used, t.tcp, t.orphans, t.time_waits, t.tcp, t.tcp_pages, t.udp
    )
}

/// `sockstat6`.
#[must_use]
pub fn totals6(tcp: usize, udp: usize) -> String {
    format!(
        "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_linux() {
        // Lines of a Linux 6.1.
        assert_eq!(
            device("lo", [5, 5], [500, 500]),
            "    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0\n"
        );
        let line = SocketLine {
            number: 0,
            ends: (
                "127.0.0.1:8080".parse().unwrap(),
                "0.0.0.0:0".parse().unwrap(),
            ),
            state: 10,
            queues: (0, 1),
            timeouts: 0,
            inode: 12345,
        };
        let text = tcp(&line, Version::V4, Tail::Window(100, 10, 0));
        let start = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 12345 1 ";
        assert!(text.starts_with(start) && text.len() == 150, "{text}");
        let mapped = SocketLine {
            ends: ("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()),
            ..line
        };
        let text = tcp(&mapped, Version::V6, Tail::None(3));
        let start =
            "   0: 0000000000000000FFFF00000100007F:0001 00000000000000000000000001000000:0002 0A ";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(udp(&line, Version::V4).len(), 128);
        assert_eq!(tcp_header(Version::V4).len(), 150);
        assert_eq!(
            route("eth0", [10, 0, 2, 0], 24, None).trim_end(),
            "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"
        );
        assert_eq!(
            address6(Ipv6Addr::LOCALHOST, 1, 128, "lo"),
            "00000000000000000000000000000001 01 80 10 80       lo\n"
        );
        let socket = LocalLine {
            is: (true, false),
            kind: 1,
            inode: 77,
            name: Some(String::from("@x")),
        };
        assert_eq!(
            local(&socket),
            "0000000000000000: 00000002 00000000 00010000 0001 01    77 @x\n"
        );
    }
}
