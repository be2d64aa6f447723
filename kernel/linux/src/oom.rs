//! What happens when a page is needed and no frame is left: a process gives up its memory for the others.
//!
//! The kernel's own objects (descriptors, threads, mappings, ...) come out of what user data may not take. When half of that is
//! used up, no system call begins that could make one more before a process has given up its own.
//!
//! As on Linux that is the one with the most memory, whoever asked; init is spared while there is another, since its end is
//! the machine's. The thread that asked tries again until the memory of whoever was chosen is back.

use alloc::sync::{Arc, Weak};
use core::ops::Bound;
use core::sync::atomic::{AtomicUsize, Ordering};

use tyn_abi::signal::Signal;
use tyn_abi::{PAGE_SIZE, Pid};
use tyn_hal::mem;
use tyn_trace::Event;

use crate::cx::Cx;
use crate::exit::INIT;
use crate::kernel::kernel;
use crate::process::Process;
use crate::{sched, trace, tty};

/// Processes that have ended and are giving their memory back.
static GIVING_BACK: AtomicUsize = AtomicUsize::new(0);

/// Says, while it lives, that memory is about to be free.
#[derive(Debug)]
pub(crate) struct GivingBack(());

impl GivingBack {
    /// Begins; before the process shows no memory any more.
    pub(crate) fn begin() -> Self {
        GIVING_BACK.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for GivingBack {
    fn drop(&mut self) {
        GIVING_BACK.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes room for the page that the current thread needs, before it tries again. The caller holds no lock.
pub(crate) fn make_room(cx: &Cx<'_>) {
    if let Some(victim) = choose() {
        let had = Had::of(&victim);
        // Another CPU may have chosen it at the same moment: one of us tells.
        if victim.exit_group(u32::from(Signal::SIGKILL.number())) {
            let pid = victim.pid.0;
            trace::event(cx.thread.tid(), Event::OutOfMemory { pid });
            had.tell(pid);
        }
    }
    if !cx.thread.is_killed() {
        sched::yield_now(cx.thread);
    }
}

/// Makes room for the kernel's own objects, as far as they need it, before the current thread makes a system call. The
/// caller holds no lock.
pub(crate) fn make_room_for_call(cx: &Cx<'_>, nr: u64) {
    if !mem::is_short() || FREEING.contains(&nr) {
        return;
    }
    while mem::is_short() && !cx.thread.is_killed() {
        make_room(cx);
        sched::pause_point(cx.thread);
    }
}

/// Calls that make nothing: `close(2)`, `munmap(2)`, `rt_sigreturn(2)`, `exit(2)`, `exit_group(2)`, `unlink(2)`,
/// `unlinkat(2)`, `close_range(2)`.
const FREEING: [u64; 8] = [3, 11, 15, 60, 231, 87, 263, 436];

/// Returns about how many frames the kernel's objects of a process take.
fn kernel_frames(process: &Process) -> u64 {
    /// A kernel stack, and what is known of its thread.
    const THREAD: usize = 24 * 1024;
    const MAPPING: usize = 256;
    let files = process.files.lock().kernel_bytes();
    let threads = process.threads.lock().len() * THREAD;
    let mappings = process.mm.lock().mappings() * MAPPING;
    ((files + threads + mappings) / PAGE_SIZE) as u64
}

/// What a process had before it was ended.
struct Had {
    name: [u8; 16],
    kib: u64,
}

impl Had {
    fn of(process: &Process) -> Self {
        let thread = process.threads.lock().first().and_then(Weak::upgrade);
        Self {
            name: thread.map_or([0; 16], |thread| *thread.name.lock()),
            kib: process.mm.lock().resident() * (PAGE_SIZE as u64 / 1024),
        }
    }

    /// Says on the console who is to end.
    fn tell(&self, pid: u32) {
        let Self { name, kib } = self;
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        let name = core::str::from_utf8(name).unwrap_or("?");
        tty::kernel_line(format_args!(
            "tyn: out of memory: killed process {pid} ({name}), which had {kib} KiB"
        ));
    }
}

/// Returns what `/proc/PID/oom_score` shows: 666 of 1000 for a process that has nothing, and more the more it has of the
/// memory (`oom_badness` of Linux). The caller holds no lock.
pub(crate) fn score(process: &Process) -> u64 {
    if process.pid == INIT {
        return 0;
    }
    let all = (kernel().ram_bytes / PAGE_SIZE as u64).max(1);
    let resident = process.mm.lock().resident();
    let had = resident + kernel_frames(process);
    (1000 + had * 1000 / all) * 2 / 3
}

/// Chooses who is to end; nobody while somebody who is ending still has memory, or there is some again.
fn choose() -> Option<Arc<Process>> {
    if GIVING_BACK.load(Ordering::SeqCst) > 0 || !mem::is_used_up() {
        return None;
    }
    let mut largest: Option<(u64, Arc<Process>)> = None;
    let mut last = Pid(0);
    // One after the other and not under the lock of the table: it needs no memory, and other locks are taken.
    while let Some(process) = after(last) {
        last = process.pid;
        // Under the lock, not by a handle of our own: that could be the last, and the memory come back later than announced.
        let resident = process.mm.lock().resident();
        if resident > 0 && (process.is_exiting() || process.threads.lock().is_empty()) {
            return None;
        }
        // Init counts as the smallest of all.
        let size = match process.pid {
            INIT => 0,
            _ => 1 + resident + kernel_frames(&process),
        };
        if resident > 0 && largest.as_ref().is_none_or(|(most, _)| size > *most) {
            largest = Some((size, process));
        }
    }
    // Asked last, in this order: whoever was seen without memory above had begun by then, and who has done so left some.
    let is_coming = GIVING_BACK.load(Ordering::SeqCst) > 0;
    if is_coming || !mem::is_used_up() {
        return None;
    }
    largest.map(|(_, process)| process)
}

fn after(pid: Pid) -> Option<Arc<Process>> {
    let processes = kernel().processes.lock();
    let mut later = processes.range((Bound::Excluded(pid), Bound::Unbounded));
    later.next().map(|(_, process)| Arc::clone(process))
}
