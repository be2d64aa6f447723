//! Gathers what `/proc` shows. Locks are taken one at a time and never held while another part is asked.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Nanos, PAGE_SIZE, Pid, UserVa};
use tyn_bootfmt::contract::os_version;
use tyn_fs::inotify;
use tyn_fs::proc_text::{
    self as text, CpuFacts, CpuTimes, MemoryFacts, OS_RELEASE, OS_TYPE, TaskFacts,
};
use tyn_fs::procfs::{Owner, ProcNode, Sysctl, SystemFile, TaskFile};
use tyn_hal::cpu::{self, CpuId};
use tyn_hal::sync::Once;
use tyn_hal::{mem, time};

use super::descriptor_facts;
use super::fs;
use super::mounts::mount_table;
use crate::exit;
use crate::kernel::kernel;
use crate::limits::{NR_OPEN, Resource};
use crate::load;
use crate::mm::Mm;
use crate::net::census::net_text;
use crate::net::sysctl::text as net_sysctl;
use crate::oom;
use crate::process::{self, Process};
use crate::random;
use crate::thread::Thread;
use crate::tty;

/// Returns the text of a file of `/proc`.
///
/// # Errors
/// `ESRCH` when its process is gone, `EINVAL` for nodes that are no files.
pub(super) fn proc_text(node: ProcNode) -> Result<Vec<u8>, Errno> {
    match node {
        ProcNode::System(file) => Ok(system(file).into_bytes()),
        ProcNode::Sysctl(file) => Ok(sysctl(file).into_bytes()),
        ProcNode::NetSysctl(file) => Ok(net_sysctl(file).into_bytes()),
        ProcNode::TaskFile(owner, file) => task_file(owner, file),
        ProcNode::NetFile(owner, file) => {
            process::find(Pid(owner.pid))?;
            Ok(net_text(file)?.into_bytes())
        }
        ProcNode::FdInfo(owner, fd) => descriptor_facts::text(owner, fd),
        _ => Err(Errno::EINVAL),
    }
}

fn cpu_count() -> u32 {
    u32::try_from(cpu::count()).unwrap_or(u32::MAX)
}

fn system(file: SystemFile) -> String {
    match file {
        SystemFile::CmdLine => kernel().cmdline.clone() + "\n",
        SystemFile::CpuInfo => text::cpuinfo(&cpu_facts()),
        SystemFile::FileSystems => text::FILE_SYSTEMS.into(),
        SystemFile::LoadAvg => {
            let threads = u32::try_from(kernel().threads.lock().len()).unwrap_or(u32::MAX);
            let newest = kernel()
                .threads
                .lock()
                .keys()
                .next_back()
                .map_or(0, |t| t.0);
            text::loadavg(load::averages(), running_threads(), threads, newest)
        }
        SystemFile::MemInfo => text::meminfo(&memory_facts()),
        SystemFile::SlabInfo => text::slabinfo(mem::heap_usage().map(|class| text::SlabFacts {
            bytes: class.bytes,
            in_use: class.in_use,
            total: class.total,
        })),
        SystemFile::Stat => system_stat(),
        SystemFile::Uptime => text::uptime(time::now(), idle_time()),
        SystemFile::Version => text::version(os_version()),
    }
}

/// Returns what `/proc/meminfo` and `sysinfo(2)` show.
pub(crate) fn memory_facts() -> MemoryFacts {
    let page = PAGE_SIZE as u64;
    MemoryFacts {
        total: kernel().ram_bytes,
        free: mem::stats().free * page,
        shared: fs().quota().pages_used() * page,
    }
}

/// Returns how many threads run or could.
fn running_threads() -> u32 {
    let threads: Vec<Arc<Thread>> = kernel().threads.lock().values().cloned().collect();
    let running = threads.iter().filter(|t| !t.run.is_parked()).count();
    u32::try_from(running).unwrap_or(u32::MAX)
}

fn cpu_facts() -> Vec<CpuFacts> {
    // Kilohertz of the time-stamp counter: cycles in a millisecond.
    let scale = time::tsc_scale();
    let cycles = (1_000_000u128 << scale.shift).checked_div(u128::from(scale.mult));
    let khz = u64::try_from(cycles.unwrap_or(0)).unwrap_or(0);
    (0..cpu_count())
        .map(|n| {
            let identity = cpu::identity(CpuId(n));
            let (family, model, stepping) = identity.family_model_stepping;
            CpuFacts {
                vendor: identity.vendor,
                family,
                model,
                stepping,
                model_name: identity.brand,
                apic_id: identity.apic_id,
                khz,
                features: cpu::user_features().hwcap,
            }
        })
        .collect()
}

/// CPU time of all processes; time in the kernel is not told apart.
fn busy_time() -> Nanos {
    let processes: Vec<Arc<Process>> = kernel().processes.lock().values().cloned().collect();
    let times = processes.iter().map(|p| exit::times(p));
    times.fold(Nanos::ZERO, |sum, t| sum + t.user + t.system)
}

/// Idle time of all CPUs: what no process used.
fn idle_time() -> Nanos {
    let up = time::now();
    Nanos(up.0.saturating_mul(u64::from(cpu_count()))) - busy_time()
}

fn system_stat() -> String {
    let cpus = u64::from(cpu_count()).max(1);
    // Use is known for processes, not for CPUs: it is shown spread evenly.
    let each = CpuTimes {
        user: Nanos(busy_time().0 / cpus),
        system: Nanos::ZERO,
        idle: Nanos(idle_time().0 / cpus),
    };
    let times: Vec<CpuTimes> = (0..cpus).map(|_| each).collect();
    let (booted, _) = time::wall_at_boot().split();
    let processes = kernel().processes.lock().len() as u64;
    text::system_stat(&times, booted, processes, running_threads())
}

fn boot_id() -> String {
    static BOOT_ID: Once<String> = Once::new();
    static MAKING: tyn_hal::sync::SpinLock<()> = tyn_hal::sync::SpinLock::new(());
    let _making = MAKING.lock();
    let known = BOOT_ID.get().cloned();
    known.unwrap_or_else(|| BOOT_ID.set(random_uuid()).clone())
}

fn random_uuid() -> String {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    text::uuid(bytes)
}

fn sysctl(file: Sysctl) -> String {
    let line = |value: &str| String::from(value) + "\n";
    let number = |value: u64| alloc::format!("{value}\n");
    match file {
        Sysctl::FileMax => number(i64::MAX as u64),
        Sysctl::NrOpen => number(NR_OPEN),
        Sysctl::PipeMaxSize => number(1 << 20),
        Sysctl::MaxQueuedEvents => number(inotify::MAX_QUEUED_EVENTS as u64),
        Sysctl::MaxUserInstances => number(inotify::MAX_USER_INSTANCES as u64),
        Sysctl::MaxUserWatches => number(inotify::MAX_USER_WATCHES as u64),
        Sysctl::CapLastCap => number(40),
        Sysctl::DomainName => line("(none)"),
        Sysctl::HostName => line(&kernel().hostname.lock().clone()),
        Sysctl::NGroupsMax => number(65_536),
        Sysctl::OsRelease => line(OS_RELEASE),
        Sysctl::OsType => line(OS_TYPE),
        Sysctl::PtyMax => number(u64::from(tty::MAX_PAIRS)),
        Sysctl::PtyNr => number(tty::pairs() as u64),
        Sysctl::PtyReserve => number(u64::from(tty::RESERVED_PAIRS)),
        Sysctl::PidMax | Sysctl::ThreadsMax => number(u64::from(text::PID_MAX)),
        Sysctl::Version => line(os_version()),
        Sysctl::BootId => boot_id(),
        Sysctl::Uuid => random_uuid(),
        Sysctl::EntropyAvail => number(256),
        Sysctl::SoMaxConn => number(tyn_abi::socket::SOMAXCONN as u64),
        Sysctl::MaxMapCount => number(65_530),
        Sysctl::OvercommitMemory => number(0),
    }
}

fn task_file(owner: Owner, file: TaskFile) -> Result<Vec<u8>, Errno> {
    let process = process::find(Pid(owner.pid))?;
    let thread = main_thread(&process, owner);
    let mm = process.mm();
    let text = match file {
        TaskFile::CGroup => String::from("0::/\n"),
        TaskFile::Comm => comm(&process, thread.as_deref(), owner) + "\n",
        TaskFile::Limits => text::limits(&limits(&process)),
        TaskFile::Maps => mm.maps(),
        TaskFile::MountInfo => text::mountinfo(&mount_table()),
        TaskFile::Mounts => text::mounts(&mount_table()),
        TaskFile::OomScore => format!("{}\n", oom::score(&process)),
        // As on a Linux that does not tell where in the kernel somebody waits.
        TaskFile::WChan => String::from("0"),
        TaskFile::OomScoreAdj => String::from("0\n"),
        TaskFile::Stat => text::stat(&facts(&process, thread.as_deref(), owner)),
        TaskFile::StatM => text::statm(&facts(&process, thread.as_deref(), owner)),
        TaskFile::Status => {
            text::status(&facts(&process, thread.as_deref(), owner)).ok_or(Errno::ENOMEM)?
        }
        TaskFile::CmdLine | TaskFile::Environ | TaskFile::Auxv => {
            let Some(image) = mm.image() else {
                return Ok(Vec::new());
            };
            return match file {
                TaskFile::CmdLine => strings(&mm, image.args),
                TaskFile::Environ => strings(&mm, image.env),
                _ => Ok(image.auxv.clone()),
            };
        }
    };
    Ok(text.into_bytes())
}

/// Reads the strings of a program between two addresses.
fn strings(mm: &Mm, (start, end): (u64, u64)) -> Result<Vec<u8>, Errno> {
    /// Linux allows 128 KiB for one string and a quarter of the stack for all: this is far beyond both.
    const MAX: u64 = 8 << 20;
    let len = end.saturating_sub(start).min(MAX) as usize;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    mm.read(UserVa(start), &mut bytes);
    Ok(bytes)
}

/// The thread that a directory is about; a process's first thread speaks for it.
fn main_thread(process: &Process, owner: Owner) -> Option<Arc<Thread>> {
    let wanted = owner.tid.unwrap_or(owner.pid);
    let threads = process.live_threads();
    let found = threads.iter().find(|t| t.tid().0 == wanted);
    found.or(threads.first()).cloned()
}

/// The name of a thread; of a process that is of its first thread, also when that has exited.
fn comm(process: &Process, thread: Option<&Thread>, owner: Owner) -> String {
    let first = owner.tid.unwrap_or(owner.pid);
    let name = match thread {
        Some(thread) if thread.tid().0 == first => *thread.name.lock(),
        _ => *process.last_name.lock(),
    };
    let len = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(name.get(..len).unwrap_or_default()).into_owned()
}

fn limits(process: &Process) -> [(u64, u64); 16] {
    core::array::from_fn(|i| {
        let resource = u32::try_from(i).ok();
        let resource = resource.and_then(|n| Resource::from_number(n).ok());
        resource.map_or((u64::MAX, u64::MAX), |r| {
            let limit = process.limits.get(r);
            (limit.soft, limit.hard)
        })
    })
}

fn state(process: &Process, thread: Option<&Thread>) -> char {
    let is_zombie = kernel().family.lock().zombie(process.pid).is_some();
    match thread {
        None => 'Z',
        Some(_) if is_zombie => 'Z',
        Some(_) if process.signals.is_stopped() => 'T',
        Some(thread) if thread.run.is_parked() => 'S',
        Some(_) => 'R',
    }
}

fn facts(process: &Process, thread: Option<&Thread>, owner: Owner) -> TaskFacts {
    let (group, session) = {
        let family = kernel().family.lock();
        let id = |pid: Result<Pid, Errno>| pid.map_or(0, |p| p.0);
        (
            id(family.group(process.pid)),
            id(family.session(process.pid)),
        )
    };
    let terminal = process.terminal.get();
    let mm = process.mm();
    let usage = mm.usage();
    let image = mm.image();
    let times = exit::times(process);
    let children = kernel().family.lock().children_times(process.pid);
    let (ignored, caught) = process.signals.ignored_and_caught();
    let pending = thread.map_or(0, |t| t.signals.pending().0);
    let blocked = thread.map_or(0, |t| t.signals.mask().0);
    TaskFacts {
        comm: comm(process, thread, owner),
        state: state(process, thread),
        pid: process.pid.0,
        tid: owner.tid.unwrap_or(owner.pid),
        parent: process.parent_id(),
        group,
        session,
        tty: terminal.as_ref().map_or(0, |tty| tty.number()),
        tty_group: terminal.map_or(-1, |tty| tty.foreground().0.cast_signed()),
        threads: u32::try_from(process.live_threads().len()).unwrap_or(u32::MAX),
        fd_slots: 64,
        umask: process.fs().umask(),
        times: [times.user, times.system, children.user, children.system],
        started: process.started,
        vm_total: usage.total,
        vm_resident: mm.resident() * PAGE_SIZE as u64,
        vm_data: usage.data,
        vm_stack: usage.stack,
        vm_text: usage.text,
        vm_locked: usage.locked,
        resident_limit: u64::MAX,
        args: image.map_or((0, 0), |i| i.args),
        env: image.map_or((0, 0), |i| i.env),
        signals: [
            pending,
            process.signals.pending().0,
            blocked,
            ignored.0,
            caught.0,
        ],
        cpus_allowed: thread.map_or(0, |t| t.run.affinity().0),
        cpus: cpu_count(),
        cpu: thread.map_or(0, |t| t.run.last_cpu().0),
        no_new_privs: process
            .attributes
            .no_new_privs
            .load(core::sync::atomic::Ordering::Relaxed),
        groups: process.attributes.groups(),
    }
}
