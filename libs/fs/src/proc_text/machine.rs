//! The texts about the machine: memory, CPUs, and how their time was spent.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use tyn_abi::Nanos;

use super::ticks;

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
    let text = |v: u64| {
        // Rounded, by as much as Linux adds: 10/2048.
        let v = v + (10 << 5);
        format!("{}.{:02}", v >> 16, ((v & 0xffff) * 100) >> 16)
    };
    let [a, b, c] = averages.map(text);
    format!("{a} {b} {c} {running}/{threads} {last}\n")
}
