//! Names below `/proc/sys/net` (`ip-sysctl.rst` of Linux, `tcp(7)`, `ip(7)`, `socket(7)`).

use super::ProcNode::{self, NetSysctl as F};

/// A file below `/proc/sys/net`, but for those of `core` that are [`super::Sysctl`]'s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are the files'")]
pub enum NetSysctl {
    RmemDefault,
    RmemMax,
    WmemDefault,
    WmemMax,
    IpDefaultTtl,
    IpForward,
    IpLocalPortRange,
    IpNonlocalBind,
    IpUnprivilegedPortStart,
    TcpAllowedCongestionControl,
    TcpAvailableCongestionControl,
    TcpCongestionControl,
    TcpEcn,
    TcpFastopen,
    TcpFinTimeout,
    TcpKeepaliveIntvl,
    TcpKeepaliveProbes,
    TcpKeepaliveTime,
    TcpModerateRcvbuf,
    TcpRmem,
    TcpSack,
    TcpSynRetries,
    TcpSyncookies,
    TcpTimestamps,
    TcpWindowScaling,
    TcpWmem,
    Bindv6Only,
    DisableIpv6,
}

/// `net/ipv4`.
pub(super) const IPV4: &[(&str, ProcNode)] = &[
    ("ip_default_ttl", F(NetSysctl::IpDefaultTtl)),
    ("ip_forward", F(NetSysctl::IpForward)),
    ("ip_local_port_range", F(NetSysctl::IpLocalPortRange)),
    ("ip_nonlocal_bind", F(NetSysctl::IpNonlocalBind)),
    (
        "ip_unprivileged_port_start",
        F(NetSysctl::IpUnprivilegedPortStart),
    ),
    (
        "tcp_allowed_congestion_control",
        F(NetSysctl::TcpAllowedCongestionControl),
    ),
    (
        "tcp_available_congestion_control",
        F(NetSysctl::TcpAvailableCongestionControl),
    ),
    ("tcp_congestion_control", F(NetSysctl::TcpCongestionControl)),
    ("tcp_ecn", F(NetSysctl::TcpEcn)),
    ("tcp_fastopen", F(NetSysctl::TcpFastopen)),
    ("tcp_fin_timeout", F(NetSysctl::TcpFinTimeout)),
    ("tcp_keepalive_intvl", F(NetSysctl::TcpKeepaliveIntvl)),
    ("tcp_keepalive_probes", F(NetSysctl::TcpKeepaliveProbes)),
    ("tcp_keepalive_time", F(NetSysctl::TcpKeepaliveTime)),
    ("tcp_moderate_rcvbuf", F(NetSysctl::TcpModerateRcvbuf)),
    ("tcp_rmem", F(NetSysctl::TcpRmem)),
    ("tcp_sack", F(NetSysctl::TcpSack)),
    ("tcp_syn_retries", F(NetSysctl::TcpSynRetries)),
    ("tcp_syncookies", F(NetSysctl::TcpSyncookies)),
    ("tcp_timestamps", F(NetSysctl::TcpTimestamps)),
    ("tcp_window_scaling", F(NetSysctl::TcpWindowScaling)),
    ("tcp_wmem", F(NetSysctl::TcpWmem)),
];
