//! The point of no return.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tyn_abi::signal::Signal;
use tyn_abi::{Errno, Events, Tid, UserVa};
use tyn_elf::stack::Strings;
use tyn_hal::trap::UserContext;

use super::load::{self, Loaded, Placing};
use super::{Program, program};
use crate::cx::{Cx, SysResult};
use crate::file::OpenFile;
use crate::futex;
use crate::kernel::kernel;
use crate::process::{ADDR_NO_RANDOMIZE, Process};
use crate::sched;
use crate::thread::Thread;
use crate::wait::Observer;

/// Replaces the calling process's program by the one in `open`, known by the path `name`.
///
/// # Errors
/// As `execve(2)`; nothing has changed then. `EAGAIN` when the process is ending or another of its threads is doing the same.
pub(crate) fn execute(
    cx: &mut Cx<'_>,
    open: Arc<OpenFile>,
    name: &[u8],
    argv: Strings,
    envp: &Strings,
) -> SysResult {
    let program = program::resolve(&cx.process.fs(), open, name, argv)?;
    let persona = cx.process.attributes.personality.load(Ordering::Relaxed);
    let placing = if persona & ADDR_NO_RANDOMIZE == 0 {
        Placing::Random
    } else {
        Placing::Fixed
    };
    let loaded = load::load(&program, envp, &cx.process.limits.memory(), placing)?;
    end_other_threads(cx)?;
    switch_memory(cx, &loaded);
    reset(cx, &program);
    *cx.user = UserContext::new(loaded.entry, loaded.stack);
    Ok(0)
}

/// Ends all other threads and waits until they have left; the caller becomes the first thread.
fn end_other_threads(cx: &Cx<'_>) -> Result<(), Errno> {
    let process = cx.process;
    process.begin_exec()?;
    let queue = &process.thread_events;
    let id = queue.register(Arc::clone(cx.thread) as Arc<dyn Observer>, Events::IN);
    for other in process.live_threads() {
        if !Arc::ptr_eq(&other, cx.thread) {
            other.kill();
        }
    }
    let alone = loop {
        if process.threads.lock().len() <= 1 {
            break true;
        }
        if cx.thread.is_killed() {
            break false;
        }
        sched::park(cx.thread, None);
    };
    queue.unregister(id);
    process.end_exec();
    if !alone {
        return Err(Errno::EAGAIN);
    }
    become_leader(cx.thread, process);
    Ok(())
}

/// Gives the only thread left the id of the process.
fn become_leader(thread: &Arc<Thread>, process: &Process) {
    let (old, new) = (thread.tid(), Tid(process.pid.0));
    if old == new {
        return;
    }
    thread.set_tid(new);
    let mut threads = kernel().threads.lock();
    let known = threads.remove(&old);
    threads.insert(new, Arc::clone(thread));
    drop(threads);
    drop(known);
}

/// Swaps the address space; the old one goes when nobody else (a vfork parent) uses it.
fn switch_memory(cx: &Cx<'_>, loaded: &Loaded) {
    // Locks and waiters in the old memory, which may live on in a vfork parent, learn that the thread left it.
    futex::exit_robust_list(cx.thread);
    cx.thread.robust_list.store(0, Ordering::Relaxed);
    let clear = cx.thread.clear_child_tid();
    if !clear.is_null() && cx.process.vfork_parent.lock().is_some() {
        futex::clear_and_wake(cx.thread, clear);
    }
    cx.thread.set_clear_child_tid(UserVa::NULL);
    let old = core::mem::replace(&mut *cx.process.mm.lock(), Arc::clone(&loaded.mm));
    loaded.mm.activate();
    cx.process.release_vfork_parent();
    drop(old);
}

/// Resets what does not outlive an exec (`execve(2)`, "Effect on process attributes").
fn reset(cx: &Cx<'_>, program: &Program) {
    let process = cx.process;
    let shared = process.files();
    // A table shared with another process stays its own; ours is a copy from here on.
    if Arc::strong_count(&shared) > 2 {
        let Ok(own) = shared.duplicate() else {
            // There is no way back any more.
            process.exit_group(u32::from(Signal::SIGKILL.number()));
            return;
        };
        *process.files.lock() = Arc::new(own);
    }
    drop(shared);
    process
        .files()
        .remove_where(|_, close_on_exec| close_on_exec, drop);
    process.signals.reset_caught();
    process.signals.posix_timers.delete_all();
    cx.thread.signals.reset_for_exec();
    process.attributes.dumpable.store(1, Ordering::Relaxed);
    process.attributes.keep_caps.store(false, Ordering::Relaxed);
    *cx.thread.name.lock() = command_name(&program.name);
    kernel().family.lock().exec(process.pid);
    cx.thread.task().reset_user_state();
}

/// Returns the name of a program as `PR_GET_NAME` shows it: the last part of its path, at most 15 bytes.
pub(super) fn command_name(path: &[u8]) -> [u8; 16] {
    let base = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    let mut name = [0; 16];
    for (slot, &byte) in name.iter_mut().take(15).zip(base) {
        *slot = byte;
    }
    name
}
