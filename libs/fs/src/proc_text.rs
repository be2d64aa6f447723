//! The texts of `/proc` files (`proc(5)` and the pages it refers to), formatted as Linux does, from facts given as values.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use tyn_abi::Nanos;

use crate::synth::{cpu_list, cpu_mask};

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

/// `/proc/PID/status`.
#[must_use]
pub fn status(f: &TaskFacts) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: core::fmt::Arguments<'_>| {
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
    line("Groups", format_args!(" "));
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
    out
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

/// The kernel's objects of one size.
#[derive(Clone, Copy, Debug)]
pub struct SlabFacts {
    /// Size in bytes.
    pub bytes: usize,
    /// Objects in use.
    pub in_use: usize,
    /// Room for objects.
    pub total: usize,
}

/// `/proc/slabinfo` (slabinfo(5)).
pub fn slabinfo(slabs: impl Iterator<Item = SlabFacts>) -> String {
    let mut out = String::from(
        "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
         : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    );
    for s in slabs {
        let name = format!("kmalloc-{}", s.bytes);
        let per_page = 4096usize.checked_div(s.bytes).unwrap_or(0).max(1);
        let pages = s.total / per_page;
        let _ = writeln!(
            out,
            "{name:<17} {:>6} {:>6} {:>6} {per_page:>4} {:>4} : tunables {:>4} {:>4} {:>4} : slabdata {pages:>6} {pages:>6} {:>6}",
            s.in_use, s.total, s.bytes, 1, 0, 0, 0, 0
        );
    }
    out
}

/// Memory facts in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFacts {
    /// Usable RAM.
    pub total: u64,
    /// Free.
    pub free: u64,
    /// File data in memory: tmpfs.
    pub shared: u64,
}

/// `/proc/meminfo`.
#[must_use]
pub fn meminfo(f: &MemoryFacts) -> String {
    let used = f.total.saturating_sub(f.free).saturating_sub(f.shared);
    let mut out = String::new();
    for (name, bytes) in [
        ("MemTotal:", f.total),
        ("MemFree:", f.free),
        ("MemAvailable:", f.free),
        ("Buffers:", 0),
        ("Cached:", f.shared),
        ("SwapCached:", 0),
        ("Active:", used),
        ("Inactive:", f.shared),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
        ("Dirty:", 0),
        ("Writeback:", 0),
        ("AnonPages:", used),
        ("Mapped:", 0),
        ("Shmem:", f.shared),
        ("KReclaimable:", 0),
        ("Slab:", 0),
        ("SReclaimable:", 0),
        ("SUnreclaim:", 0),
        ("CommitLimit:", f.total),
        ("Committed_AS:", used),
    ] {
        let _ = writeln!(out, "{name:<15} {:>8} kB", bytes / 1024);
    }
    out
}

/// What `/proc/cpuinfo` shows of a CPU.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of the file's lines")]
pub struct CpuFacts {
    pub vendor: String,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
    pub model_name: String,
    pub apic_id: u32,
    pub khz: u64,
    /// CPUID.1:EDX.
    pub features: u64,
}

/// Names of the bits of CPUID.1:EDX (`arch/x86/include/asm/cpufeatures.h`).
const FEATURES: [&str; 32] = [
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge",
    "mca", "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse",
    "sse2", "ss", "ht", "tm", "ia64", "pbe",
];

/// `/proc/cpuinfo`.
#[must_use]
pub fn cpuinfo(cpus: &[CpuFacts]) -> String {
    let mut out = String::new();
    for (i, c) in cpus.iter().enumerate() {
        let _ = write!(
            out,
            "processor\t: {i}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\n\
             model name\t: {}\nstepping\t: {}\ncpu MHz\t\t: {}.{:03}\nphysical id\t: 0\n\
             siblings\t: {}\ncore id\t\t: {i}\ncpu cores\t: {}\napicid\t\t: {}\n\
             initial apicid\t: {}\nfpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\nflags\t\t:",
            c.vendor,
            c.family,
            c.model,
            c.model_name,
            c.stepping,
            c.khz / 1000,
            c.khz % 1000,
            cpus.len(),
            cpus.len(),
            c.apic_id,
            c.apic_id
        );
        for (bit, name) in FEATURES.iter().enumerate() {
            if c.features >> bit & 1 != 0 && !name.is_empty() {
                let _ = write!(out, " {name}");
            }
        }
        // The kernel needs these two, so every CPU that runs it has them.
        out.push_str(" syscall nx lm\n");
        let _ = writeln!(out, "bogomips\t: {}.{:02}", c.khz / 500, c.khz / 5 % 100);
        out.push_str("clflush size\t: 64\n\n");
    }
    out
}

/// `/proc/stat`: idle time and busy time of each CPU.
#[must_use]
pub fn system_stat(cpus: &[CpuTimes], booted: u64, processes: u64, running: u32) -> String {
    let total = cpus.iter().fold(CpuTimes::default(), |a, b| CpuTimes {
        user: a.user + b.user,
        system: a.system + b.system,
        idle: a.idle + b.idle,
    });
    let mut out = String::new();
    let mut line = |name: &str, t: &CpuTimes| {
        let (user, system, idle) = (ticks(t.user), ticks(t.system), ticks(t.idle));
        let _ = writeln!(out, "{name} {user} 0 {system} {idle} 0 0 0 0 0 0");
    };
    line("cpu ", &total);
    for (i, times) in cpus.iter().enumerate() {
        line(&format!("cpu{i}"), times);
    }
    let _ = write!(
        out,
        "intr 0\nctxt 0\nbtime {booted}\nprocesses {processes}\nprocs_running {running}\n\
         procs_blocked 0\n"
    );
    out
}

/// How a CPU's time was spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    /// In ring 3.
    pub user: Nanos,
    /// In the kernel.
    pub system: Nanos,
    /// Idle.
    pub idle: Nanos,
}

/// `/proc/uptime`: time since boot and idle time of all CPUs.
#[must_use]
pub fn uptime(up: Nanos, idle: Nanos) -> String {
    let hundredths = |t: Nanos| (t.0 / Nanos::PER_SEC, t.0 % Nanos::PER_SEC / 10_000_000);
    let ((a, b), (c, d)) = (hundredths(up), hundredths(idle));
    format!("{a}.{b:02} {c}.{d:02}\n")
}

/// `/proc/loadavg`: averages in units of 1/65536, running and existing threads, the last thread id.
#[must_use]
pub fn loadavg(averages: [u64; 3], running: u32, threads: u32, last: u32) -> String {
    let text = |v: u64| format!("{}.{:02}", v >> 16, ((v & 0xffff) * 100) >> 16);
    let [a, b, c] = averages.map(text);
    format!("{a} {b} {c} {running}/{threads} {last}\n")
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
