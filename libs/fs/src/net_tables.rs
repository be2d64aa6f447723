//! Texts of the tables of neighbours, groups and routes: `arp`, `igmp` and `ipv6_route` of `/proc/PID/net`.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

/// What stands in front of the lines of `arp`.
pub const NEIGHBORS: &str =
    "IP address       HW type     Flags       HW address            Mask     Device\n";
/// ... of `igmp`.
pub const GROUPS: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n";

/// The line of a neighbour.
#[must_use]
pub fn neighbor(address: Ipv4Addr, mac: Option<[u8; 6]>, device: &str) -> String {
    // ARPHRD_ETHER; ATF_COM
    let (kind, flags) = ("0x1", if mac.is_some() { "0x2" } else { "0x0" });
    let [a, b, c, d, e, f] = mac.unwrap_or_default();
    let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    let address = address.to_string();
    format!("{address:<16} {kind:<12}{flags:<12}{mac:<17}     *        {device}\n")
}

/// The line of an interface in `igmp`: how many groups follow, and the version that its routers speak.
#[must_use]
pub fn groups(index: u32, device: &str, count: usize, version: u8) -> String {
    format!(
        "{index}\t{device:<10}: {count:5} {:>7}\n",
        format!("V{version}")
    )
}

/// The line of a group: how many sockets are in it, and in how many clock ticks a question is answered.
#[must_use]
pub fn group(group: Ipv4Addr, users: u32, timer: Option<u64>) -> String {
    let word = u32::from_ne_bytes(group.octets());
    let is_running = u8::from(timer.is_some());
    let timer = timer.unwrap_or(0);
    format!("\t\t\t\t{word:08X} {users:5} {is_running}:{timer:08X}\t\t0\n")
}

/// A line of `ipv6_route`.
#[derive(Clone, Copy, Debug)]
pub struct Route6<'a> {
    /// Network.
    pub network: Ipv6Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// The router, or the unspecified address.
    pub router: Ipv6Addr,
    /// Metric.
    pub metric: u32,
    /// `RTF_UP` and others.
    pub flags: u32,
    /// Interface.
    pub device: &'a str,
}

impl Route6<'_> {
    /// Returns the line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut out = hex(self.network);
        let (none, prefix) = (hex(Ipv6Addr::UNSPECIFIED), self.prefix);
        let _ = write!(out, " {prefix:02x} {none} 00 {}", hex(self.router));
        // References and uses are not counted.
        let _ = writeln!(
            out,
            " {:08x} 00000001 00000000 {:08x} {:>8}",
            self.metric, self.flags, self.device
        );
        out
    }
}

fn hex(address: Ipv6Addr) -> String {
    let mut out = String::new();
    for byte in address.octets() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_linux() {
        // Lines of a Linux 6.18.
        assert_eq!(
            neighbor(
                Ipv4Addr::new(192, 0, 2, 1),
                Some([2, 0xfc, 0, 0, 0, 5]),
                "eth0"
            ),
            "192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\n"
        );
        assert_eq!(
            neighbor(Ipv4Addr::new(192, 0, 2, 1), None, "eth0"),
            "192.0.2.1        0x1         0x0         00:00:00:00:00:00     *        eth0\n"
        );
        assert_eq!(groups(1, "lo", 1, 3), "1\tlo        :     1      V3\n");
        assert_eq!(
            group(Ipv4Addr::new(224, 0, 0, 1), 1, None),
            "\t\t\t\t010000E0     1 0:00000000\t\t0\n"
        );
        let route = Route6 {
            network: "fd00::".parse().unwrap(),
            prefix: 64,
            router: Ipv6Addr::UNSPECIFIED,
            metric: 0x100,
            flags: 1,
            device: "eth0",
        };
        assert_eq!(
            route.line(),
            "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
             00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
        );
    }
}
