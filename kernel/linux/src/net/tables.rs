//! Tables of neighbours, groups and routes in `/proc/PID/net`.

use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tyn_abi::{Errno, Nanos};
use tyn_fs::net_tables::{self as text, Route6 as Line};
use tyn_hal::time;
use tyn_net::Path;
use tyn_net::census::Route6;

use super::census::write;
use super::inspect;

/// `arp`.
pub(super) fn neighbors() -> Result<String, Errno> {
    let mut out = String::from(text::NEIGHBORS);
    for (address, mac) in inspect(|stack| stack.neighbor_rows()) {
        write(&mut out, &text::neighbor(address, mac, "eth0"))?;
    }
    Ok(out)
}

/// `igmp`: every interface is in the group of all hosts.
pub(super) fn groups() -> Result<String, Errno> {
    const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
    const TICK: u64 = Nanos::PER_SEC / 100;
    let mut out = String::from(text::GROUPS);
    let (interfaces, version) = inspect(|stack| (stack.interfaces(), stack.igmp_version()));
    for interface in interfaces.iter().filter(|i| i.address.is_some()) {
        let (path, version) = match interface.is_loopback {
            true => (Path::Loopback, 3),
            false => (Path::Nic, version),
        };
        let rows = inspect(|stack| stack.group_rows(path));
        let v4 = rows.iter().filter_map(|row| match row.group {
            IpAddr::V4(group) => Some((group, row)),
            IpAddr::V6(_) => None,
        });
        let is_all = |group: Ipv4Addr| group == ALL_HOSTS;
        let others = v4.clone().filter(|(group, _)| !is_all(*group));
        let in_all = v4.filter(|(group, _)| is_all(*group));
        let in_all: u32 = in_all.map(|(_, row)| row.sockets).sum();
        let count = others.clone().count() + 1;
        write(
            &mut out,
            &text::groups(interface.index, interface.name, count, version),
        )?;
        for (group, row) in others {
            let left = row.answer_at.map(|at| (at - time::now()).0 / TICK);
            write(&mut out, &text::group(group, row.sockets, left))?;
        }
        write(&mut out, &text::group(ALL_HOSTS, in_all + 1, None))?;
    }
    Ok(out)
}

/// `ipv6_route`.
pub(super) fn routes6() -> String {
    const UP: u32 = 1;
    const GATEWAY: u32 = 2;
    const REJECT: u32 = 0x200;
    const DEFAULT: u32 = 0x1_0000;
    const TOLD: u32 = 0x4_0000;
    const PREFIX: u32 = 0x8_0000;
    const NO_HOP: u32 = 0x20_0000;
    const EXPIRES: u32 = 0x40_0000;
    const OWN: u32 = 0x8000_0000;
    let unspecified = Ipv6Addr::UNSPECIFIED;
    let mut out = String::new();
    let own = |network, device| Line {
        network,
        prefix: 128,
        router: unspecified,
        metric: 0,
        flags: UP | NO_HOP | OWN,
        device,
    };
    out.push_str(&own(Ipv6Addr::LOCALHOST, "lo").line());
    for row in inspect(|stack| stack.route6_rows()) {
        let told = if row.is_told { TOLD | EXPIRES } else { 0 };
        let of_kind = own(row.network.address, "eth0");
        let line = match row.kind {
            Route6::Own => of_kind,
            Route6::Link => Line {
                prefix: row.network.prefix,
                metric: 0x100,
                flags: UP | told | if row.is_told { PREFIX } else { 0 },
                ..of_kind
            },
            Route6::Router(router) => Line {
                prefix: 0,
                router,
                metric: 0x400,
                flags: UP | GATEWAY | told | if row.is_told { DEFAULT } else { 0 },
                ..of_kind
            },
        };
        out.push_str(&line.line());
    }
    let unreachable = Line {
        prefix: 0,
        metric: u32::MAX,
        flags: REJECT | NO_HOP,
        ..own(unspecified, "lo")
    };
    out.push_str(&unreachable.line());
    out
}
