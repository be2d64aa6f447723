//! Names below `/proc/sys` (`proc_sys(5)`).

use super::ProcNode;
use super::net_sysctl::{IPV4, NetSysctl};

/// Directories of `/proc/sys`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are the paths'")]
pub enum SysctlDir {
    Sys,
    Fs,
    Inotify,
    Kernel,
    Pty,
    Random,
    Net,
    NetCore,
    NetIpv4,
    NetIpv6,
    NetIpv6Conf,
    NetIpv6ConfAll,
    Vm,
}

/// Files of `/proc/sys`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the names are the files'")]
pub enum Sysctl {
    FileMax,
    NrOpen,
    PipeMaxSize,
    MaxQueuedEvents,
    MaxUserInstances,
    MaxUserWatches,
    CapLastCap,
    DomainName,
    HostName,
    NGroupsMax,
    OsRelease,
    OsType,
    PidMax,
    PtyMax,
    PtyNr,
    PtyReserve,
    ThreadsMax,
    Version,
    BootId,
    Uuid,
    EntropyAvail,
    SoMaxConn,
    MaxMapCount,
    OvercommitMemory,
}

impl SysctlDir {
    pub(super) fn entries(self) -> &'static [(&'static str, ProcNode)] {
        use ProcNode::{NetSysctl as N, Sysctl as F, SysctlDir as D};
        match self {
            Self::Sys => &[
                ("fs", D(Self::Fs)),
                ("kernel", D(Self::Kernel)),
                ("net", D(Self::Net)),
                ("vm", D(Self::Vm)),
            ],
            Self::Fs => &[
                ("file-max", F(Sysctl::FileMax)),
                ("inotify", D(Self::Inotify)),
                ("nr_open", F(Sysctl::NrOpen)),
                ("pipe-max-size", F(Sysctl::PipeMaxSize)),
            ],
            Self::Inotify => &[
                ("max_queued_events", F(Sysctl::MaxQueuedEvents)),
                ("max_user_instances", F(Sysctl::MaxUserInstances)),
                ("max_user_watches", F(Sysctl::MaxUserWatches)),
            ],
            Self::Kernel => &[
                ("cap_last_cap", F(Sysctl::CapLastCap)),
                ("domainname", F(Sysctl::DomainName)),
                ("hostname", F(Sysctl::HostName)),
                ("ngroups_max", F(Sysctl::NGroupsMax)),
                ("osrelease", F(Sysctl::OsRelease)),
                ("ostype", F(Sysctl::OsType)),
                ("pid_max", F(Sysctl::PidMax)),
                ("pty", D(Self::Pty)),
                ("random", D(Self::Random)),
                ("threads-max", F(Sysctl::ThreadsMax)),
                ("version", F(Sysctl::Version)),
            ],
            Self::Pty => &[
                ("max", F(Sysctl::PtyMax)),
                ("nr", F(Sysctl::PtyNr)),
                ("reserve", F(Sysctl::PtyReserve)),
            ],
            Self::Random => &[
                ("boot_id", F(Sysctl::BootId)),
                ("entropy_avail", F(Sysctl::EntropyAvail)),
                ("uuid", F(Sysctl::Uuid)),
            ],
            Self::Net => &[
                ("core", D(Self::NetCore)),
                ("ipv4", D(Self::NetIpv4)),
                ("ipv6", D(Self::NetIpv6)),
            ],
            Self::NetCore => &[
                ("rmem_default", N(NetSysctl::RmemDefault)),
                ("rmem_max", N(NetSysctl::RmemMax)),
                ("somaxconn", F(Sysctl::SoMaxConn)),
                ("wmem_default", N(NetSysctl::WmemDefault)),
                ("wmem_max", N(NetSysctl::WmemMax)),
            ],
            Self::NetIpv4 => IPV4,
            Self::NetIpv6 => &[
                ("bindv6only", N(NetSysctl::Bindv6Only)),
                ("conf", D(Self::NetIpv6Conf)),
            ],
            Self::NetIpv6Conf => &[("all", D(Self::NetIpv6ConfAll))],
            Self::NetIpv6ConfAll => &[("disable_ipv6", N(NetSysctl::DisableIpv6))],
            Self::Vm => &[
                ("max_map_count", F(Sysctl::MaxMapCount)),
                ("overcommit_memory", F(Sysctl::OvercommitMemory)),
            ],
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Sys => "/sys",
            Self::Fs => "/sys/fs",
            Self::Inotify => "/sys/fs/inotify",
            Self::Kernel => "/sys/kernel",
            Self::Pty => "/sys/kernel/pty",
            Self::Random => "/sys/kernel/random",
            Self::Net => "/sys/net",
            Self::NetCore => "/sys/net/core",
            Self::NetIpv4 => "/sys/net/ipv4",
            Self::NetIpv6 => "/sys/net/ipv6",
            Self::NetIpv6Conf => "/sys/net/ipv6/conf",
            Self::NetIpv6ConfAll => "/sys/net/ipv6/conf/all",
            Self::Vm => "/sys/vm",
        }
    }

    pub(super) const ALL: [Self; 13] = [
        Self::Sys,
        Self::Fs,
        Self::Inotify,
        Self::Kernel,
        Self::Pty,
        Self::Random,
        Self::Net,
        Self::NetCore,
        Self::NetIpv4,
        Self::NetIpv6,
        Self::NetIpv6Conf,
        Self::NetIpv6ConfAll,
        Self::Vm,
    ];
}
