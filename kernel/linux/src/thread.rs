//! Threads: what is scheduled. The file also holds each thread's main loop.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tyn_abi::{Errno, Events, Tid, UserVa};
use tyn_hal::sync::{Once, SpinLock};
use tyn_hal::task::{Task, UserState};
use tyn_hal::trap::{Trap, UserContext};
use tyn_trace::Event;

use crate::boot;
use crate::cx::{Cx, SysResult};
use crate::exit::INIT;
use crate::futex::{self, FutexWait};
use crate::oom;
use crate::process::{self, Process};
use crate::sched::{self, RunState};
use crate::signal::fault::PageFault;
use crate::signal::{self, ThreadSignals};
use crate::wait::Observer;
use crate::{table, trace};

/// A thread of a process.
#[derive(Debug)]
pub struct Thread {
    /// This thread, for observers that are told through `&self` (made by `Arc::new_cyclic`).
    this: Weak<Self>,
    tid: AtomicU32,
    process: Arc<Process>,
    task: Once<Task>,
    /// Scheduling state.
    pub run: RunState,
    /// The futex that it waits for.
    pub futex: FutexWait,
    /// Signal mask, pending signals, alternate stack.
    pub signals: ThreadSignals,
    /// `PR_SET_NAME`, NUL-padded.
    pub name: SpinLock<[u8; 16]>,
    /// `CLONE_CHILD_CLEARTID` / `set_tid_address(2)`; 0 when unset.
    clear_child_tid: AtomicU64,
    /// Head of the robust futex list (`set_robust_list(2)`); 0 when unset.
    pub robust_list: AtomicU64,
    /// The thread is to end before it would go to ring 3 again (`exit_group(2)`, `execve(2)` of another thread, SIGKILL).
    killed: AtomicBool,
    /// The wait status of a thread that ended itself (`exit(2)`), plus [`EXITING`]; 0 before.
    exit: AtomicU64,
    /// The registers that it begins with; taken by [`main`].
    start: SpinLock<Option<Box<UserContext>>>,
}

/// Marks [`Thread::exit`] as set.
const EXITING: u64 = 1 << 32;

impl Thread {
    /// Makes a thread that begins in ring 3 with the registers `user` when [`sched::start`] is called. It takes over from
    /// `parent`, the current thread (`clone(2)`, `fork(2)`): vector state and segment bases, signal mask, affinity and
    /// name; the alternate signal stack is the caller's to copy ([`ThreadSignals::inherit_alt_stack`]). The caller adds
    /// it to its process and to the kernel's table.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room for its kernel stack.
    pub fn new(
        process: &Arc<Process>,
        tid: Tid,
        user: UserContext,
        parent: Option<&Self>,
    ) -> Result<Arc<Self>, Errno> {
        let thread = Arc::new_cyclic(|this: &Weak<Self>| Self {
            this: Weak::clone(this),
            tid: AtomicU32::new(tid.0),
            process: Arc::clone(process),
            task: Once::new(),
            run: RunState::new(parent.map(|p| &p.run)),
            signals: ThreadSignals::new(parent.map(|p| &p.signals)),
            futex: FutexWait::default(),
            name: SpinLock::new(parent.map_or([0; 16], |p| *p.name.lock())),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            exit: AtomicU64::new(0),
            start: SpinLock::new(Some(Box::new(user))),
        });
        // The body captures nothing: it never returns, so whatever it owned would never be freed.
        let task = Task::new(UserState::Yes, Box::new(main)).map_err(|_| Errno::ENOMEM)?;
        if let Some(parent) = parent {
            task.inherit_user_state(parent.task());
        }
        thread.task.set(task);
        Ok(thread)
    }

    /// Returns the thread id.
    #[must_use]
    pub fn tid(&self) -> Tid {
        Tid(self.tid.load(Ordering::Relaxed))
    }

    /// Gives the thread another id: after `execve(2)` the only thread left is the leader.
    pub fn set_tid(&self, tid: Tid) {
        self.tid.store(tid.0, Ordering::Relaxed);
    }

    /// Makes the thread end before it goes to ring 3 again: waits are interrupted, ring 3 is left. Whoever runs the thread
    /// ends it when [`Thread::is_killed`].
    pub fn kill(self: &Arc<Self>) {
        self.mark_killed();
        sched::interrupt(self);
    }

    /// Returns whether the thread is to end; [`Thread::has_deliverable_signal`] is true then, too.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Makes the current thread end when the system call that it is in returns (`exit(2)`).
    pub fn request_exit(&self, wait_status: u32) {
        let value = EXITING | u64::from(wait_status);
        self.exit.store(value, Ordering::Relaxed);
        self.mark_killed();
    }

    /// On the way to ring 3 only the attention is looked at; that may be taken, having been set for something else, so it
    /// comes second: whoever takes it looks whether the thread is killed afterwards.
    fn mark_killed(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.signals.attend();
    }

    /// Returns the process.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Returns the hal task.
    ///
    /// # Panics
    /// Before the thread was given its task (it is not started then).
    #[must_use]
    pub fn task(&self) -> &Task {
        self.task
            .get()
            .expect("invariant: a thread has its task before it is visible")
    }

    /// Returns the address to clear and wake at exit.
    #[must_use]
    pub fn clear_child_tid(&self) -> UserVa {
        UserVa(self.clear_child_tid.load(Ordering::Relaxed))
    }

    /// Sets the address to clear and wake at exit.
    pub fn set_clear_child_tid(&self, va: UserVa) {
        self.clear_child_tid.store(va.0, Ordering::Relaxed);
    }

    /// Returns whether a signal that is not blocked is pending for this thread or its process (or it is to be killed).
    #[must_use]
    pub fn has_deliverable_signal(&self) -> bool {
        self.is_killed() || self.signals.has_deliverable(self)
    }

    /// Makes the thread run again if it is parked, else leaves it a token.
    pub fn unpark(self: &Arc<Self>) {
        sched::unpark(self);
    }
}

impl Observer for Thread {
    fn notify(&self, events: Events) {
        let _ = events;
        if let Some(thread) = self.this.upgrade() {
            sched::unpark(&thread);
        }
    }
}

/// What runs on a thread's kernel stack, from start to end.
fn main() {
    let thread = sched::current().expect("invariant: the dispatcher says whom it runs");
    let start = thread.start.lock().take();
    let mut user = *start.expect("invariant: a thread starts once");
    let mut restart = None;
    if thread.tid() == Tid(INIT.0) {
        boot::report_first_entry();
    }
    let mut cx = Cx {
        thread: &thread,
        process: thread.process(),
        user: &mut user,
    };
    while prepare_return(&mut cx, restart.take()) {
        let trap = cx.user.run();
        restart = serve(&mut cx, trap);
    }
    end(&thread);
    // Nothing else on this stack owns anything: it is never returned to.
    sched::exit_current(thread);
}

/// Does what has come up before the thread may go on in ring 3: signals, others' turns. Returns whether it may.
fn prepare_return(cx: &mut Cx<'_>, mut restart: Option<signal::Restart>) -> bool {
    loop {
        if !signal::deliver(cx, restart.take()) {
            return false;
        }
        // Others may have posted something while the thread was not on a CPU.
        if !sched::reschedule_if_due(cx.thread) {
            return true;
        }
    }
}

/// Does what ring 3 was left for; returns how to restart an interrupted system call.
fn serve(cx: &mut Cx<'_>, trap: Trap) -> Option<signal::Restart> {
    let (thread, process) = (cx.thread, cx.process);
    match trap {
        Trap::Syscall => return system_call(cx),
        Trap::Interrupt => sched::on_interrupt(),
        Trap::PageFault {
            addr,
            access,
            present,
        } => {
            let mm = Arc::clone(&process.mm.lock());
            thread.run.times.count_fault();
            process.times.count_fault();
            if let Err(bad) = mm.handle_fault(addr, access) {
                let fault = PageFault {
                    addr,
                    access,
                    is_present: present,
                };
                signal::fault::page_fault(cx, fault, bad);
            }
        }
        Trap::Exception { vector, error_code } => {
            signal::fault::exception(cx, vector, error_code);
        }
    }
    None
}

/// Runs a system call; returns how to restart it when it was interrupted.
fn system_call(cx: &mut Cx<'_>) -> Option<signal::Restart> {
    let regs = &cx.user.regs;
    let (nr, args) = (regs.rax, [regs.rdi, regs.rsi, regs.rdx]);
    oom::make_room_for_call(cx, nr);
    let result = table::dispatch(cx);
    if trace::records_calls() {
        trace_call(cx, nr, args, result);
    }
    let (rax, restart) = match result {
        Ok(value) => (value, None),
        Err(errno) => (
            i64::from(errno.number()).wrapping_neg().cast_unsigned(),
            signal::Restart::from_errno(errno, nr),
        ),
    };
    cx.user.regs.rax = rax;
    restart
}

fn trace_call(cx: &Cx<'_>, nr: u64, args: [u64; 3], result: SysResult) {
    let event = Event::Call {
        name: table::name(nr).unwrap_or("?"),
        args,
        result: match result {
            Ok(value) => value.cast_signed(),
            Err(errno) => -i64::from(errno.number()),
        },
    };
    trace::event(cx.thread.tid(), event);
}

/// Leaves the process: what the thread owes to others in its address space comes first.
fn end(thread: &Arc<Thread>) {
    futex::exit_robust_list(thread);
    let clear = thread.clear_child_tid();
    if !clear.is_null() {
        futex::clear_and_wake(thread, clear);
    }
    signal::leave(thread);
    let exit = thread.exit.load(Ordering::Relaxed) as u32;
    process::thread_exited(thread, exit);
}
