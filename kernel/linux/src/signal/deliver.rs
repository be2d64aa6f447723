//! Delivering signals on the way back to ring 3.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tyn_abi::Errno;
use tyn_abi::signal::{SIG_DFL, SIG_IGN, SaFlags, SigAction, SigInfo, Signal, SignalSet, code};
use tyn_proc::ChildEvent;
use tyn_sched::signal::{Delivery, Resume, delivery, mask_in_handler};
use tyn_trace::Event;

use super::{Restart, frame, role, send};
use crate::cx::Cx;
use crate::kernel::kernel;
use crate::process::Process;
use crate::thread::Thread;
use crate::{exit, sched, trace};

/// `restart_syscall(2)`.
const NR_RESTART_SYSCALL: u64 = 219;
/// Length of the `syscall` instruction.
const SYSCALL_BYTES: u64 = 2;

/// Delivers what is pending: runs default actions, sets up handlers. `restart` says how to resume a system call that a
/// signal interrupted. Returns whether the thread may go on: it may be killed. Costs one load when there is nothing to do.
#[inline]
pub fn deliver(cx: &mut Cx<'_>, restart: Option<Restart>) -> bool {
    if cx.thread.signals.attention.load(Ordering::SeqCst) {
        deliver_pending(cx, restart);
        return !cx.thread.is_killed();
    }
    if restart.is_some() {
        resume(cx, restart, None);
    }
    true
}

#[cold]
fn deliver_pending(cx: &mut Cx<'_>, mut restart: Option<Restart>) {
    let thread = Arc::clone(cx.thread);
    let signals = &thread.signals;
    while !thread.is_killed() && signals.attention.swap(false, Ordering::SeqCst) {
        while let Some(info) = next(&thread) {
            act(cx, &info, &mut restart);
            if thread.is_killed() {
                return;
            }
        }
        // No handler runs under the temporary mask: the call may be made again, and the old mask is back.
        resume(cx, restart.take(), None);
        cx.restore_mask();
    }
    resume(cx, restart, None);
}

/// Returns the next signal that is to be delivered, after having waited while the process is stopped.
fn next(thread: &Arc<Thread>) -> Option<SigInfo> {
    let process = thread.process();
    while process.signals.is_stopped() && !thread.is_killed() {
        sched::park(thread, None);
    }
    if thread.is_killed() {
        return None;
    }
    let unblocked = SignalSet(!thread.signals.mask().0);
    thread.signals.take(&process.signals, unblocked)
}

/// Does what a signal asks for.
fn act(cx: &mut Cx<'_>, info: &SigInfo, restart: &mut Option<Restart>) {
    let process = cx.process;
    let signal = info.signal();
    let action = process.signals.action(signal);
    match delivery(signal, &action, role(process)) {
        Delivery::Ignore => crate::stop::keep(process, info),
        Delivery::Terminate => terminate(cx, signal),
        Delivery::Stop if is_discarded(process, signal) => {}
        Delivery::Stop => stop(process, signal),
        Delivery::Handle => {
            resume(cx, restart.take(), Some(action.flags));
            handle(cx, info, &action);
        }
    }
}

/// Ends the process by a signal.
pub(super) fn terminate(cx: &Cx<'_>, signal: Signal) {
    let event = Event::KilledBySignal {
        pid: cx.process.pid.0,
        signal: signal.number(),
    };
    trace::event(cx.thread.tid(), event);
    cx.process.exit_group(u32::from(signal.number()));
}

/// Returns whether a signal that would stop the process does nothing: those of a terminal, where the group is orphaned and
/// nobody would wake it (`signal(7)`; POSIX, "orphaned process group").
fn is_discarded(process: &Process, signal: Signal) -> bool {
    if signal == Signal::SIGSTOP {
        return false;
    }
    let family = kernel().family.lock();
    let group = family.group(process.pid);
    group.is_ok_and(|group| family.is_orphaned(group))
}

/// Stops the process: its threads wait in [`next`].
fn stop(process: &Arc<Process>, signal: Signal) {
    process.signals.is_stopped.store(true, Ordering::SeqCst);
    for thread in process.live_threads() {
        send::notify(&thread);
    }
    exit::report_change(process, ChildEvent::Stopped(signal.number()));
    send::send_child_changed(process, code::CLD_STOPPED, signal);
}

/// Resumes an interrupted system call: as `handler`'s flags say, or without one.
fn resume(cx: &mut Cx<'_>, restart: Option<Restart>, handler: Option<SaFlags>) {
    let Some(Restart { kind, nr }) = restart else {
        return;
    };
    let regs = &mut cx.user.regs;
    let nr = match kind.resume(handler) {
        Resume::Interrupted => {
            regs.rax = i64::from(Errno::EINTR.number())
                .wrapping_neg()
                .cast_unsigned();
            return;
        }
        Resume::Again => nr,
        Resume::Continue => NR_RESTART_SYSCALL,
    };
    regs.rax = nr;
    regs.rip = regs.rip.wrapping_sub(SYSCALL_BYTES);
}

/// Sets up a handler; a frame that cannot be written is a SIGSEGV.
fn handle(cx: &mut Cx<'_>, info: &SigInfo, action: &SigAction) {
    let signal = info.signal();
    let signals = &cx.thread.signals;
    if action.flags.contains(SaFlags::RESETHAND) {
        let reset = SigAction {
            handler: SIG_DFL,
            ..*action
        };
        cx.process.signals.set_action(signal, reset);
    }
    let saved = signals.own.lock().saved_mask.take();
    let mask = signals.mask();
    if frame::push(cx, info, action, saved.unwrap_or(mask)).is_err() {
        // The handler of SIGSEGV itself cannot run for it.
        if signal == Signal::SIGSEGV {
            return terminate(cx, signal);
        }
        return force(cx, SigInfo::from_kernel(Signal::SIGSEGV));
    }
    let during = mask_in_handler(mask, signal, action);
    let set = tyn_sched::signal::MaskChange::Set;
    super::change_mask(cx.thread, set, during);
}

/// Posts a signal that the current instruction cannot go on without (a fault): when it is blocked, ignored or not caught,
/// the process ends, even process 1.
pub(super) fn force(cx: &Cx<'_>, info: SigInfo) {
    let signal = info.signal();
    let action = cx.process.signals.action(signal);
    let is_blocked = cx.thread.signals.mask().contains(signal);
    if is_blocked || matches!(action.handler, SIG_DFL | SIG_IGN) {
        return terminate(cx, signal);
    }
    cx.thread.signals.pending.lock().push(info, usize::MAX);
    cx.thread.signals.attend();
}
