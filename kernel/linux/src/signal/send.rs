//! Posting signals.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use tyn_abi::signal::{SaFlags, SigInfo, Signal, SignalSet, code};
use tyn_abi::{Errno, Pid};
use tyn_proc::{ChildEvent, ExitNotice};
use tyn_sched::signal::{Pending, Queued, Role, is_ignored};

use super::{PENDING_LIMIT, role};
use crate::exit;
use crate::kernel::kernel;
use crate::limits::Resource;
use crate::process::Process;
use crate::sched;
use crate::signalfd;
use crate::stop;
use crate::thread::Thread;

/// Length of a clock tick (`sysconf(_SC_CLK_TCK)` is 100) in nanoseconds.
const TICK_NS: u64 = 10_000_000;

/// What became of a signal that was posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Posted {
    /// It waits to be taken.
    Queued,
    /// It was ignored, did at once what it does, or waits already.
    Gone,
}

/// Posts a signal to one thread (`tgkill(2)`, faults).
///
/// # Errors
/// `EAGAIN` when a real-time signal does not fit its queue.
pub fn send_to_thread(thread: &Arc<Thread>, info: SigInfo) -> Result<(), Errno> {
    post_to_thread(thread, info, limit(thread.process())).map(|_| ())
}

/// Posts a signal to one thread, whose queue then has at most `limit` instances.
pub(super) fn post_to_thread(
    thread: &Arc<Thread>,
    info: SigInfo,
    limit: usize,
) -> Result<Posted, Errno> {
    let process = thread.process();
    if !prepare(process, info.signal()) {
        return Ok(Posted::Gone);
    }
    let signals = &thread.signals;
    let blocked = signals
        .mask()
        .union(SignalSet(signals.awaited.load(Ordering::SeqCst)));
    if is_forgotten(process, info.signal(), blocked) {
        return Ok(Posted::Gone);
    }
    let posted = queue(&mut signals.pending.lock(), info, limit)?;
    if wants(thread, info.signal()) {
        notify(thread);
    }
    signalfd::notify(info.signal());
    Ok(posted)
}

/// Posts a signal to a process: some thread that does not block it gets it.
///
/// # Errors
/// `EAGAIN` when a real-time signal does not fit its queue.
pub fn send_to_process(process: &Arc<Process>, info: SigInfo) -> Result<(), Errno> {
    post_to_process(process, info, limit(process)).map(|_| ())
}

/// Posts a signal to a process, whose queue then has at most `limit` instances.
pub(super) fn post_to_process(
    process: &Arc<Process>,
    info: SigInfo,
    limit: usize,
) -> Result<Posted, Errno> {
    let signal = info.signal();
    if !prepare(process, signal) {
        return Ok(Posted::Gone);
    }
    let threads = process.live_threads();
    // As on Linux, the first thread's mask decides whether an ignored signal waits.
    let blocked = threads.first().map_or(SignalSet::EMPTY, |t| {
        t.signals
            .mask()
            .union(SignalSet(t.signals.awaited.load(Ordering::SeqCst)))
    });
    if is_forgotten(process, signal, blocked) {
        stop::keep(process, &info);
        return Ok(Posted::Gone);
    }
    let posted = queue(&mut process.signals.pending.lock(), info, limit)?;
    if let Some(thread) = choose(&threads, signal) {
        notify(thread);
    }
    signalfd::notify(signal);
    Ok(posted)
}

/// Returns how many instances of signals may wait in one queue of the process.
fn limit(process: &Process) -> usize {
    let limit = process.limits.get(Resource::SIGPENDING).soft;
    usize::try_from(limit).map_or(PENDING_LIMIT, |limit| limit.min(PENDING_LIMIT))
}

/// Posts a signal to every process of a group (`kill(2)` with a negative id, the terminal).
///
/// # Errors
/// `ESRCH` when the group is empty.
pub fn send_to_group(group: Pid, info: SigInfo) -> Result<(), Errno> {
    let members = kernel().family.lock().group_members(group);
    let mut outcome = Err(Errno::ESRCH);
    for pid in members {
        let process = kernel().processes.lock().get(&pid).cloned();
        if let Some(process) = process {
            outcome = send_to_process(&process, info).or(outcome);
        }
    }
    outcome
}

/// Sends a group that became orphaned SIGHUP and SIGCONT if one of its members is stopped, which nobody else would wake.
pub fn wake_orphaned_group(group: Pid) {
    let members = kernel().family.lock().group_members(group);
    let members: Vec<_> = {
        let processes = kernel().processes.lock();
        let known = members.iter().filter_map(|pid| processes.get(pid));
        known.cloned().collect()
    };
    if members.iter().any(|process| process.signals.is_stopped()) {
        for process in &members {
            send_from_kernel(process, Signal::SIGHUP.number());
            send_from_kernel(process, Signal::SIGCONT.number());
        }
    }
}

/// Sends `parent` the signal with which a child announces its end (usually SIGCHLD), with the child's details.
pub fn send_child_ended(parent: &Arc<Process>, notice: &ExitNotice) {
    let Some(signal) = Signal::from_number(u32::from(notice.signal)) else {
        return;
    };
    let (code, status) = notice.status.to_siginfo();
    let ticks = |ns: u64| ns / TICK_NS;
    let info = SigInfo::from_child(
        code,
        notice.child.0,
        0,
        status,
        ticks(notice.times.user.0),
        ticks(notice.times.system.0),
    );
    let info = SigInfo::from_bytes(info.to_bytes(), signal);
    // A standard signal is never refused.
    let _ = send_to_process(parent, info);
}

/// Tells the parent that `process` stopped or continued, unless it does not want to know (`SA_NOCLDSTOP`).
pub(super) fn send_child_changed(process: &Process, code: i32, status: Signal) {
    let parent = Pid(process.parent_id());
    let parent = kernel().processes.lock().get(&parent).cloned();
    let Some(parent) = parent else { return };
    let action = parent.signals.action(Signal::SIGCHLD);
    if action.flags.contains(SaFlags::NOCLDSTOP) {
        return;
    }
    let info = SigInfo::from_child(
        code,
        process.pid.0,
        0,
        i32::from(status.number()),
        process.times.used().0 / TICK_NS,
        0,
    );
    let _ = send_to_process(&parent, info);
}

/// Sends `process` a signal in the kernel's name (`SI_KERNEL`).
pub fn send_from_kernel(process: &Arc<Process>, signal: u8) {
    if let Some(signal) = Signal::from_number(u32::from(signal)) {
        let _ = send_to_process(process, SigInfo::from_kernel(signal));
    }
}

/// Does what a signal does at once, whatever its action is; returns whether it is to be queued.
fn prepare(process: &Arc<Process>, signal: Signal) -> bool {
    if process.is_exiting() {
        return false;
    }
    match signal {
        Signal::SIGKILL if role(process) == Role::Init => return false,
        Signal::SIGKILL => {
            process.exit_group(u32::from(signal.number()));
            return false;
        }
        Signal::SIGCONT => {
            discard(process, SignalSet::STOP);
            resume(process);
        }
        stop if SignalSet::STOP.contains(stop) => {
            discard(process, SignalSet::only(Signal::SIGCONT));
        }
        _ => {}
    }
    true
}

fn discard(process: &Process, set: SignalSet) {
    process.signals.pending.lock().discard(set);
    for thread in process.live_threads() {
        thread.signals.pending.lock().discard(set);
    }
}

/// Lets a stopped process go on.
fn resume(process: &Arc<Process>) {
    if process.signals.is_stopped.swap(false, Ordering::SeqCst) {
        for thread in process.live_threads() {
            sched::unpark(&thread);
        }
        exit::report_change(process, ChildEvent::Continued);
        send_child_changed(process, code::CLD_CONTINUED, Signal::SIGCONT);
    }
}

fn is_forgotten(process: &Process, signal: Signal, blocked: SignalSet) -> bool {
    let action = process.signals.action(signal);
    is_ignored(signal, &action, blocked.contains(signal), role(process))
}

fn queue(pending: &mut Pending, info: SigInfo, limit: usize) -> Result<Posted, Errno> {
    match pending.push(info, limit) {
        Queued::Full if info.signal().is_realtime() => Err(Errno::EAGAIN),
        Queued::New => Ok(Posted::Queued),
        Queued::Already | Queued::Full => Ok(Posted::Gone),
    }
}

/// Returns whether a signal would be delivered to this thread, or ends its `rt_sigtimedwait(2)`.
fn wants(thread: &Thread, signal: Signal) -> bool {
    let signals = &thread.signals;
    let awaited = SignalSet(signals.awaited.load(Ordering::SeqCst));
    let blocked = signals.mask().difference(awaited);
    !blocked.contains(signal) && !thread.is_killed()
}

/// Chooses the thread that is told: the first that has nothing else to attend to, else the first that wants the signal.
fn choose(threads: &[Arc<Thread>], signal: Signal) -> Option<&Arc<Thread>> {
    let mut wanting = threads.iter().filter(|t| wants(t, signal));
    let first = wanting.next()?;
    if !first.signals.attention.load(Ordering::SeqCst) {
        return Some(first);
    }
    let free = wanting.find(|t| !t.signals.attention.load(Ordering::SeqCst));
    Some(free.unwrap_or(first))
}

/// Makes a thread look at its signals.
pub(super) fn notify(thread: &Arc<Thread>) {
    thread.signals.attend();
    sched::interrupt(thread);
}

/// Tells other threads of the process about signals that wait for it and that the current thread blocks from now on.
pub(super) fn pass_on(thread: &Arc<Thread>, blocked: SignalSet) {
    let process = thread.process();
    let waiting = process.signals.pending().intersection(blocked);
    if waiting.is_empty() {
        return;
    }
    let others: Vec<_> = process
        .live_threads()
        .into_iter()
        .filter(|t| !Arc::ptr_eq(t, thread))
        .collect();
    for signal in Signal::all().filter(|&s| waiting.contains(s)) {
        if let Some(other) = choose(&others, signal) {
            notify(other);
        }
    }
}
