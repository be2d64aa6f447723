//! What the files below `/proc/sys/net` say: how the network works here. Nothing can be set.

use alloc::format;
use alloc::string::String;

use tyn_fs::procfs::NetSysctl;
use tyn_net::{Algorithm, EPHEMERAL, TcpOptions};

use super::inet::{MOST_QUEUE, RECEIVE_BUFFER, SEND_BUFFER};
use super::tcp_options::{ALGORITHMS, DEFAULT_FIN_TIMEOUT, DEFAULT_SYN_RETRIES, seconds};
use crate::socket_options::{MAX_BUFFER, MIN_RECEIVE_BUFFER, MIN_SEND_BUFFER};

/// Returns what a file says, with its newline.
pub(crate) fn text(file: NetSysctl) -> String {
    let defaults = TcpOptions::new(MOST_QUEUE);
    let number = |n: u32| format!("{n}\n");
    let sizes = |least: u32, first: u32| format!("{least}\t{first}\t{MOST_QUEUE}\n");
    match file {
        NetSysctl::RmemDefault
        | NetSysctl::RmemMax
        | NetSysctl::WmemDefault
        | NetSysctl::WmemMax => number(MAX_BUFFER),
        NetSysctl::IpDefaultTtl => number(defaults.ttl.into()),
        NetSysctl::IpLocalPortRange => format!("{}\t{}\n", EPHEMERAL.start(), EPHEMERAL.end()),
        NetSysctl::IpUnprivilegedPortStart => number(1024),
        NetSysctl::TcpAllowedCongestionControl | NetSysctl::TcpAvailableCongestionControl => {
            ALGORITHMS.map(|(_, name)| name).join(" ") + "\n"
        }
        NetSysctl::TcpCongestionControl => {
            let mut names = ALGORITHMS
                .iter()
                .filter(|(a, _)| *a == Algorithm::default());
            String::from(names.next().map_or("", |(_, name)| name)) + "\n"
        }
        NetSysctl::TcpFinTimeout => number(DEFAULT_FIN_TIMEOUT),
        NetSysctl::TcpKeepaliveIntvl => number(seconds(defaults.keep_interval)),
        NetSysctl::TcpKeepaliveProbes => number(defaults.keep_count.into()),
        NetSysctl::TcpKeepaliveTime => number(seconds(defaults.keep_idle)),
        NetSysctl::TcpRmem => sizes(MIN_RECEIVE_BUFFER, RECEIVE_BUFFER),
        NetSysctl::TcpWmem => sizes(MIN_SEND_BUFFER, SEND_BUFFER),
        NetSysctl::TcpSynRetries => number(DEFAULT_SYN_RETRIES),
        NetSysctl::TcpModerateRcvbuf
        | NetSysctl::TcpSack
        | NetSysctl::TcpSyncookies
        | NetSysctl::TcpTimestamps
        | NetSysctl::TcpWindowScaling => number(1),
        NetSysctl::IpForward
        | NetSysctl::IpNonlocalBind
        | NetSysctl::TcpEcn
        | NetSysctl::TcpFastopen
        | NetSysctl::Bindv6Only
        | NetSysctl::DisableIpv6 => number(0),
    }
}
