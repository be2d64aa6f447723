//! The names of files whose set is fixed.

macro_rules! names {
    ($(#[$doc:meta])* $enum:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[expect(missing_docs, reason = "the names are the files'")]
        pub enum $enum {
            $($variant),*
        }

        impl $enum {
            pub(super) const ALL: &[(&'static str, Self)] = &[$(($name, Self::$variant)),*];
        }
    };
}

names! {
    /// Files in `/proc`.
    SystemFile {
        CmdLine = "cmdline",
        CpuInfo = "cpuinfo",
        FileSystems = "filesystems",
        LoadAvg = "loadavg",
        MemInfo = "meminfo",
        SlabInfo = "slabinfo",
        Stat = "stat",
        Uptime = "uptime",
        Version = "version",
    }
}

names! {
    /// Files in `/proc/PID`.
    TaskFile {
        CGroup = "cgroup",
        CmdLine = "cmdline",
        Comm = "comm",
        Environ = "environ",
        Auxv = "auxv",
        Limits = "limits",
        Maps = "maps",
        MountInfo = "mountinfo",
        Mounts = "mounts",
        OomScore = "oom_score",
        OomScoreAdj = "oom_score_adj",
        Stat = "stat",
        StatM = "statm",
        Status = "status",
        WChan = "wchan",
    }
}

names! {
    /// Files in `/proc/PID/net`.
    NetFile {
        Arp = "arp",
        Dev = "dev",
        IfInet6 = "if_inet6",
        Igmp = "igmp",
        Ipv6Route = "ipv6_route",
        NetStat = "netstat",
        Route = "route",
        Snmp = "snmp",
        Snmp6 = "snmp6",
        SockStat = "sockstat",
        SockStat6 = "sockstat6",
        Tcp = "tcp",
        Tcp6 = "tcp6",
        Udp = "udp",
        Udp6 = "udp6",
        Unix = "unix",
    }
}

names! {
    /// Links in `/proc/PID`.
    TaskLink {
        Cwd = "cwd",
        Exe = "exe",
        Root = "root",
    }
}
