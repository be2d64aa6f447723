//! How threads and processes end.
//!
//! ```text
//!  exit(2)        -> this thread ends                    thread_exited
//!  exit_group(2)  -> Process::exit_group: all are killed  thread_exited for each
//!                    the last thread: address space, files released; zombie; parent told; orphans pass on
//!  init ends      -> the machine is switched off
//! ```
//! Lock order: `kernel().family`, then `kernel().processes`, then a process's signal state.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use tyn_abi::{Events, Pid};
use tyn_hal::power;
use tyn_proc::{ChildEvent, ExitStatus, Exited, Times};

use crate::descriptors::FdTable;
use crate::fs::FsContext;
use crate::kernel::kernel;
use crate::mm::Mm;
use crate::oom;
use crate::process::{EXITING, Process};
use crate::sched;
use crate::signal;
use crate::thread::Thread;
use crate::tty;

/// The process whose end is the machine's.
pub const INIT: Pid = Pid(1);

/// Takes the current thread, which is about to end, out of its process; the last one ends the process (zombie, SIGCHLD to
/// the parent, orphans to init). `wait_status` counts when it is the last one and nothing else set one. The caller holds nothing of the
/// process but `thread`.
pub fn thread_exited(thread: &Arc<Thread>, wait_status: u32) {
    let process = thread.process();
    let known = kernel().threads.lock().remove(&thread.tid());
    drop(known);
    if thread.tid().0 == process.pid.0 {
        *process.last_name.lock() = *thread.name.lock();
    }
    let is_last = {
        let mut threads = process.threads.lock();
        threads.retain(|other| !core::ptr::eq(Weak::as_ptr(other), Arc::as_ptr(thread)));
        threads.is_empty()
    };
    process.thread_events.notify(Events::IN);
    if is_last {
        end(thread, wait_status);
    }
}

/// Ends a process whose last thread, the current one, is leaving with `wait_status`.
fn end(thread: &Arc<Thread>, wait_status: u32) {
    let process = thread.process();
    let word = match process.exit.load(Ordering::SeqCst) {
        0 => wait_status,
        exit => (exit & !EXITING) as u32,
    };
    let status = ExitStatus::from_wait_word(word);
    if process.pid == INIT {
        power::report(format_args!("exit {}", status.to_shell_code()));
        power::off();
    }
    sched::charge_current(thread);
    Mm::nothing().activate();
    release(process, || sched::pause_point(thread));
    tty::leader_exits(process);
    let exited = kernel()
        .family
        .lock()
        .exit(process.pid, status, times(process), |parent| {
            let parent = kernel().processes.lock().get(&parent).cloned();
            parent.is_some_and(|p| p.signals.ignores_children())
        });
    process.set_ended();
    tell(&exited);
}

/// Makes known to the parent's `wait` calls that a process stopped or went on.
pub(crate) fn report_change(process: &Process, event: ChildEvent) {
    let parent = kernel().family.lock().set_news(process.pid, event);
    let parent = parent.and_then(|pid| kernel().processes.lock().get(&pid).cloned());
    if let Some(parent) = parent {
        parent.child_events.notify(Events::IN);
    }
}

/// Gives back what a zombie does not need, as others may keep it: its parent, or whoever has a descriptor of it. Nothing here
/// runs under a lock: files may take any on their way out.
pub(crate) fn release(process: &Process, pause: impl FnMut()) {
    let giving_back = oom::GivingBack::begin();
    let mm = core::mem::replace(&mut *process.mm.lock(), Mm::nothing());
    process.release_vfork_parent();
    if let Some(mm) = Arc::into_inner(mm) {
        mm.unmap_all(pause);
    }
    drop(giving_back);
    let fs = core::mem::replace(&mut *process.fs.lock(), FsContext::nothing());
    drop(fs);
    let files = core::mem::replace(&mut *process.files.lock(), Arc::new(FdTable::new()));
    drop(files);
}

/// Tells parents and children what the end of a process means for them.
fn tell(exited: &Exited) {
    for notice in &exited.notices {
        let parent = kernel().processes.lock().get(&notice.parent).cloned();
        let Some(parent) = parent else { continue };
        if notice.signal != 0 {
            signal::send_child_ended(&parent, notice);
        }
        parent.child_events.notify(Events::IN);
    }
    for death in &exited.death_signals {
        let child = kernel().processes.lock().get(&death.pid).cloned();
        if let Some(child) = child {
            signal::send_from_kernel(&child, death.signal);
        }
    }
    for &group in &exited.orphaned_groups {
        signal::wake_orphaned_group(group);
    }
    for &pid in &exited.forgotten {
        forget(pid);
    }
}

/// Removes a process that was waited for (or never will be) from the kernel's table.
pub(crate) fn forget(pid: Pid) {
    let process = kernel().processes.lock().remove(&pid);
    drop(process);
}

/// Returns the CPU times of a process: of its threads so far. Time in the kernel is counted as the user's.
pub(crate) fn times(process: &Process) -> Times {
    Times {
        user: process.times.used(),
        ..Times::default()
    }
}
