//! The texts about mounted file systems (`proc_pid_mountinfo(5)`, `proc_filesystems(5)`).

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// A mounted file system.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// Its number, unique among mounts, and its parent's.
    pub id: (u32, u32),
    /// Major and minor device number.
    pub dev: (u32, u32),
    /// Where it is.
    pub place: &'static str,
    /// What `mount(8)` shows as its source.
    pub source: &'static str,
    /// Type.
    pub kind: &'static str,
    /// Options of the mount.
    pub options: &'static str,
    /// Size limit in KiB, for tmpfs.
    pub size_kib: Option<u64>,
    /// More options of the file system, each after a comma.
    pub more: &'static str,
}

impl Mount {
    fn super_options(&self) -> String {
        let access = self.options.split(',').next().unwrap_or("rw");
        match self.size_kib {
            Some(kib) => format!("{access},size={kib}k{}", self.more),
            None => format!("{access}{}", self.more),
        }
    }
}

/// `/proc/PID/mountinfo`.
#[must_use]
pub fn mountinfo(mounts: &[Mount]) -> String {
    let mut out = String::new();
    for m in mounts {
        let _ = writeln!(
            out,
            "{} {} {}:{} / {} {} - {} {} {}",
            m.id.0,
            m.id.1,
            m.dev.0,
            m.dev.1,
            m.place,
            m.options,
            m.kind,
            m.source,
            m.super_options()
        );
    }
    out
}

/// `/proc/PID/mounts`.
#[must_use]
pub fn mounts(mounts: &[Mount]) -> String {
    let mut out = String::new();
    for m in mounts {
        let size = m.size_kib.map_or(String::new(), |k| format!(",size={k}k"));
        let _ = writeln!(
            out,
            "{} {} {} {}{size}{} 0 0",
            m.source, m.place, m.kind, m.options, m.more
        );
    }
    out
}

/// `/proc/filesystems`.
pub const FILE_SYSTEMS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\n\
    nodev\tsockfs\nnodev\tpipefs\nnodev\tdevpts\n";
