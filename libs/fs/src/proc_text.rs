//! The texts of `/proc` files (`proc(5)` and the pages it refers to), formatted as Linux does, from facts given as values.

mod machine;
mod mounts;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use tyn_abi::Nanos;

use crate::synth::{cpu_list, cpu_mask};

pub use machine::{
    CpuFacts, CpuTimes, MemoryFacts, SlabFacts, cpuinfo, loadavg, meminfo, slabinfo, system_stat,
    uptime,
};
pub use mounts::{FILE_SYSTEMS, Mount, mountinfo, mounts};

/// What `uname(2)` and `/proc/sys/kernel/ostype` call the system: the ABI that it has.
pub const OS_TYPE: &str = "Linux";
/// The Linux release whose ABI is followed, as `uname -r` shows it.
pub const OS_RELEASE: &str = "6.12.0-tyn";
/// Clock ticks per second in `/proc` (`sysconf(_SC_CLK_TCK)`).
const USER_HZ: u64 = 100;
/// Most processes and threads (`/proc/sys/kernel/pid_max`).
pub const PID_MAX: u32 = 1 << 22;

/// Converts a time to clock ticks.
#[must_use]
pub const fn ticks(time: Nanos) -> u64 {
    time.0 / (Nanos::PER_SEC / USER_HZ)
}

/// Facts about a process for `stat`, `statm` and `status`. Sizes are in bytes.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of proc_pid_status(5)")]
pub struct TaskFacts {
    pub comm: String,
    /// `R`, `S`, `Z`, ...
    pub state: char,
    pub pid: u32,
    pub tid: u32,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// Device number of the controlling terminal, 0 for none.
    pub tty: u64,
    /// Its foreground process group, -1 for none.
    pub tty_group: i32,
    pub threads: u32,
    pub fd_slots: u32,
    pub umask: u32,
    /// User and system time of the process, and of its waited-for children.
    pub times: [Nanos; 4],
    /// Start, since boot.
    pub started: Nanos,
    pub vm_total: u64,
    pub vm_resident: u64,
    pub vm_data: u64,
    pub vm_stack: u64,
    pub vm_text: u64,
    pub vm_locked: u64,
    pub resident_limit: u64,
    pub args: (u64, u64),
    pub env: (u64, u64),
    /// Pending for the thread, pending for the process, blocked, ignored, caught.
    pub signals: [u64; 5],
    pub cpus_allowed: u64,
    pub cpus: u32,
    pub cpu: u32,
    pub no_new_privs: bool,
    /// Supplementary groups.
    pub groups: Arc<Vec<u32>>,
}

/// Group ids with spaces between them, and one at the end, which Linux keeps for those who expect it.
struct Groups<'a>(&'a [u32]);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{group}")?;
        }
        f.write_str(" ")
    }
}

fn state_name(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'T' => "stopped",
        'Z' => "zombie",
        _ => "dead",
    }
}

/// `/proc/PID/stat`.
#[must_use]
pub fn stat(f: &TaskFacts) -> String {
    let [user, system, child_user, child_system] = f.times.map(ticks);
    let [pending, _, blocked, ignored, caught] = f.signals;
    let mut out = format!(
        "{} ({}) {} {} {} {} {} {} ",
        f.tid, f.comm, f.state, f.parent, f.group, f.session, f.tty, f.tty_group
    );
    // flags minflt cminflt majflt cmajflt
    out.push_str("0 0 0 0 0 ");
    let _ = write!(
        out,
        "{user} {system} {child_user} {child_system} 20 0 {} 0 {} {} {} {} ",
        f.threads,
        ticks(f.started),
        f.vm_total,
        f.vm_resident / 4096,
        f.resident_limit,
    );
    // startcode endcode startstack kstkesp kstkeip: hidden, as from a process without ptrace rights.
    let _ = write!(
        out,
        "1 1 0 0 0 {pending} {} {ignored} {caught} 0 0 0 17 {} 0 0 0 0 0 ",
        blocked & 0x7fff_ffff,
        f.cpu
    );
    // start_data end_data start_brk arg_start arg_end env_start env_end exit_code
    let _ = writeln!(
        out,
        "0 0 0 {} {} {} {} 0",
        f.args.0, f.args.1, f.env.0, f.env.1
    );
    out
}

/// `/proc/PID/statm`.
#[must_use]
pub fn statm(f: &TaskFacts) -> String {
    let pages = |bytes: u64| bytes / 4096;
    format!(
        "{} {} 0 {} 0 {} 0\n",
        pages(f.vm_total),
        pages(f.vm_resident),
        pages(f.vm_text),
        pages(f.vm_data + f.vm_stack)
    )
}

/// `/proc/PID/status`; `None` without memory for it, of which many groups take hundreds of kilobytes.
#[must_use]
pub fn status(f: &TaskFacts) -> Option<String> {
    /// More than all but the groups take.
    const OTHERS: usize = 2048;
    /// Most that a group takes, with the space behind it.
    const GROUP: usize = 11;
    let mut out = String::new();
    out.try_reserve_exact(OTHERS + GROUP * f.groups.len())
        .ok()?;
    let mut line = |name: &str, value: fmt::Arguments<'_>| {
        let _ = writeln!(out, "{name}:\t{value}");
    };
    line("Name", format_args!("{}", f.comm));
    if f.state != 'Z' {
        line("Umask", format_args!("{:04o}", f.umask));
    }
    line(
        "State",
        format_args!("{} ({})", f.state, state_name(f.state)),
    );
    line("Tgid", format_args!("{}", f.pid));
    line("Ngid", format_args!("0"));
    line("Pid", format_args!("{}", f.tid));
    line("PPid", format_args!("{}", f.parent));
    line("TracerPid", format_args!("0"));
    line("Uid", format_args!("0\t0\t0\t0"));
    line("Gid", format_args!("0\t0\t0\t0"));
    line("FDSize", format_args!("{}", f.fd_slots));
    line("Groups", format_args!("{}", Groups(&f.groups)));
    line("NStgid", format_args!("{}", f.pid));
    line("NSpid", format_args!("{}", f.tid));
    line("NSpgid", format_args!("{}", f.group));
    line("NSsid", format_args!("{}", f.session));
    line("Kthread", format_args!("0"));
    if f.state != 'Z' {
        for (name, bytes) in [
            ("VmPeak", f.vm_total),
            ("VmSize", f.vm_total),
            ("VmLck", f.vm_locked),
            ("VmPin", 0),
            ("VmHWM", f.vm_resident),
            ("VmRSS", f.vm_resident),
            ("VmData", f.vm_data),
            ("VmStk", f.vm_stack),
            ("VmExe", f.vm_text),
            ("VmLib", 0),
            ("VmPTE", 0),
            ("VmSwap", 0),
        ] {
            line(name, format_args!("{:>8} kB", bytes / 1024));
        }
    }
    line("Threads", format_args!("{}", f.threads));
    line("SigQ", format_args!("0/{PID_MAX}"));
    for (name, mask) in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"]
        .into_iter()
        .zip(f.signals)
    {
        line(name, format_args!("{mask:016x}"));
    }
    const ALL_CAPABILITIES: u64 = (1 << 41) - 1;
    for (name, mask) in [
        ("CapInh", 0),
        ("CapPrm", ALL_CAPABILITIES),
        ("CapEff", ALL_CAPABILITIES),
        ("CapBnd", ALL_CAPABILITIES),
        ("CapAmb", 0),
    ] {
        line(name, format_args!("{mask:016x}"));
    }
    line("NoNewPrivs", format_args!("{}", u32::from(f.no_new_privs)));
    line("Seccomp", format_args!("0"));
    let allowed = || (0..f.cpus.min(64)).filter(|cpu| f.cpus_allowed >> cpu & 1 != 0);
    let mask = cpu_mask(allowed(), f.cpus);
    line("Cpus_allowed", format_args!("{}", mask.trim_end()));
    let list = cpu_list(allowed());
    line("Cpus_allowed_list", format_args!("{}", list.trim_end()));
    line("Mems_allowed", format_args!("1"));
    line("Mems_allowed_list", format_args!("0"));
    Some(out)
}

/// `/proc/PID/limits`: soft and hard limits in the order of their numbers, `u64::MAX` for none.
#[must_use]
pub fn limits(limits: &[(u64, u64); 16]) -> String {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let value = |v: u64| {
        if v == u64::MAX {
            String::from("unlimited")
        } else {
            format!("{v}")
        }
    };
    let header = ["Limit", "Soft Limit", "Hard Limit", "Units"];
    let [a, b, c, d] = header;
    let mut out = format!("{a:<25} {b:<20} {c:<20} {d:<10}\n");
    for ((name, unit), (soft, hard)) in NAMES.into_iter().zip(limits) {
        let (soft, hard) = (value(*soft), value(*hard));
        let _ = writeln!(out, "{name:<25} {soft:<20} {hard:<20} {unit:<10}");
    }
    out
}

/// `/proc/version`; `build` is what `uname -v` shows.
#[must_use]
pub fn version(build: &str) -> String {
    format!("{OS_TYPE} version {OS_RELEASE} {build}\n")
}

/// A UUID of version 4 from random bytes, with a newline (`/proc/sys/kernel/random/uuid`).
#[must_use]
pub fn uuid(random: [u8; 16]) -> String {
    let mut bytes = random;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut out = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&i) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
