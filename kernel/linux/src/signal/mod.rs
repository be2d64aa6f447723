//! Signals: who blocks what, what is pending, what is to be done about it.
//!
//! | file | what |
//! |---|---|
//! | `process.rs` | actions and what waits for a process |
//! | `send.rs` | posting a signal to a thread, a process, a group |
//! | `deliver.rs` | what happens on the way back to ring 3 |
//! | `frame.rs` | the frame on the user stack, and taking it back |
//! | `wait.rs` | waiting for blocked signals |
//! | `itimer.rs` | SIGALRM at a time |
//! | `cpu_alarm.rs` | signals at a CPU time |
//! | `posix_timer.rs` | signals of POSIX timers |
//! | `fault.rs` | exceptions of ring 3 that become signals |
//!
//! # Ordering
//! A sender queues the signal, then sets the thread's `attention`, then interrupts the thread. The thread clears
//! `attention`, then looks at the queues, on each way back to ring 3 and before each wait. Only the thread itself changes
//! its mask; when it blocks a signal that waits for the process, it passes the news on to a thread that does not.
//!
//! Lock order: actions, process queue, thread queue; each is a leaf as far as other modules are concerned.

mod cpu_alarm;
mod deliver;
pub mod fault;
mod frame;
mod itimer;
mod posix_timer;
mod process;
mod send;
mod wait;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tyn_abi::signal::{AltStack, SIG_DFL, SigAction, SigInfo, Signal, SignalSet};
use tyn_abi::{Errno, Nanos, UserVa};
use tyn_hal::sync::SpinLock;
use tyn_sched::signal::{MaskChange, Pending, RestartKind, Role};

use crate::cx::Cx;
use crate::exit::INIT;
use crate::process::Process;
use crate::stop;
use crate::thread::Thread;

pub use cpu_alarm::{CpuAlarms, CpuTimer};
pub use deliver::deliver;
pub use frame::sigreturn;
pub use itimer::{IntervalTimer, RealTimer};
pub use posix_timer::{Notice, PosixTimer, PosixTimers, Setting, Target, TimerClock};
pub use process::ProcessSignals;
pub use send::{
    send_child_ended, send_from_kernel, send_to_group, send_to_process, send_to_thread,
    wake_orphaned_group,
};
pub use wait::wait_for;

/// Most instances that keep their details in one queue, if `RLIMIT_SIGPENDING` is not lower.
const PENDING_LIMIT: usize = 4096;

/// A thread's mask, pending signals and alternate stack.
#[derive(Debug)]
pub struct ThreadSignals {
    /// Blocked signals; only the thread itself changes them.
    mask: AtomicU64,
    /// Signals that the thread waits for in `rt_sigtimedwait(2)` although it blocks them.
    awaited: AtomicU64,
    pending: SpinLock<Pending>,
    /// Something may be there to be delivered.
    attention: AtomicBool,
    own: SpinLock<Own>,
}

/// What only the thread itself uses.
#[derive(Debug)]
struct Own {
    /// The mask to go back to, while a temporary one is in force.
    saved_mask: Option<SignalSet>,
    alt_stack: AltStack,
    rest: Option<Rest>,
    fault: fault::Details,
}

/// What `restart_syscall(2)` continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// A relative sleep.
    Sleep {
        /// When it is over.
        deadline: Nanos,
        /// Where the remaining time goes when a handler interrupts it; may be null.
        remaining: UserVa,
    },
    /// A futex wait with a time-out.
    Futex {
        /// Address of the word.
        word: UserVa,
        /// The value that it is to have.
        expected: u32,
        /// The bits to wait for.
        bitset: u32,
        /// Whether the word is known by its address alone (`FUTEX_PRIVATE_FLAG`).
        is_private: bool,
        /// When the wait is over.
        deadline: Nanos,
    },
    /// `poll(2)`.
    Poll {
        /// The descriptors.
        fds: UserVa,
        /// How many.
        count: u32,
        /// When the wait is over, if it is.
        deadline: Option<Nanos>,
    },
}

/// How to make an interrupted system call again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    kind: RestartKind,
    nr: u64,
}

impl Restart {
    /// Recognises the internal errors that ask for a restart of call `nr`.
    #[must_use]
    pub fn from_errno(errno: Errno, nr: u64) -> Option<Self> {
        let kind = match errno {
            Errno::ERESTARTSYS => RestartKind::IfAsked,
            Errno::ERESTARTNOINTR => RestartKind::Always,
            Errno::ERESTARTNOHAND => RestartKind::WithoutHandler,
            Errno::ERESTART_RESTARTBLOCK => RestartKind::WithRest,
            _ => return None,
        };
        Some(Self { kind, nr })
    }
}

impl ThreadSignals {
    /// Makes the signals of a new thread: nothing pending, the mask of `parent`, no alternate stack.
    #[must_use]
    pub fn new(parent: Option<&Self>) -> Self {
        let mask = parent.map_or(SignalSet::EMPTY, Self::mask_to_inherit);
        Self {
            mask: AtomicU64::new(mask.0),
            awaited: AtomicU64::new(0),
            pending: SpinLock::new(Pending::new()),
            attention: AtomicBool::new(false),
            own: SpinLock::new(Own {
                saved_mask: None,
                alt_stack: AltStack::DISABLED,
                rest: None,
                fault: fault::Details::default(),
            }),
        }
    }

    /// Copies the alternate stack of `parent` (`fork(2)`, `vfork(2)`; threads of one address space start without).
    pub fn inherit_alt_stack(&self, parent: &Self) {
        let stack = parent.alt_stack();
        self.own.lock().alt_stack = stack;
    }

    /// Forgets what a new program must not see (`execve(2)`): the alternate stack and an interrupted sleep.
    pub fn reset_for_exec(&self) {
        let mut own = self.own.lock();
        own.alt_stack = AltStack::DISABLED;
        own.rest = None;
    }

    /// Returns the blocked signals.
    #[must_use]
    pub fn mask(&self) -> SignalSet {
        SignalSet(self.mask.load(Ordering::SeqCst))
    }

    fn mask_to_inherit(&self) -> SignalSet {
        let saved = self.own.lock().saved_mask;
        saved.unwrap_or_else(|| self.mask())
    }

    /// Returns the pending signals of this thread alone.
    #[must_use]
    pub fn pending(&self) -> SignalSet {
        self.pending.lock().set()
    }

    /// Returns the alternate stack, without `SS_ONSTACK`.
    #[must_use]
    pub fn alt_stack(&self) -> AltStack {
        self.own.lock().alt_stack
    }

    /// Sets the alternate stack.
    pub fn set_alt_stack(&self, stack: AltStack) {
        self.own.lock().alt_stack = stack;
    }

    /// Changes the alternate stack while the stack pointer is `sp` (`sigaltstack(2)`, `rt_sigreturn(2)`).
    ///
    /// # Errors
    /// `EPERM` when the thread runs on it, `EINVAL` for unknown flags, `ENOMEM` when the new one is too small.
    pub fn change_alt_stack(&self, new: AltStack, sp: u64) -> Result<(), Errno> {
        let mut own = self.own.lock();
        if own.alt_stack.is_in_use(sp) {
            return Err(Errno::EPERM);
        }
        own.alt_stack = new.checked()?;
        Ok(())
    }

    /// Remembers how to continue the current call.
    pub fn set_rest(&self, rest: Rest) {
        self.own.lock().rest = Some(rest);
    }

    /// Takes what `restart_syscall(2)` is to continue.
    #[must_use]
    pub fn take_rest(&self) -> Option<Rest> {
        self.own.lock().rest.take()
    }

    /// Returns whether a signal that is not blocked is pending for the thread or its process, or the process is stopped.
    #[must_use]
    pub fn has_deliverable(&self, thread: &Thread) -> bool {
        if !self.attention.load(Ordering::SeqCst) {
            return false;
        }
        let process = &thread.process().signals;
        let pending = self.pending().union(process.pending());
        process.is_stopped() || !pending.difference(self.mask()).is_empty()
    }

    /// Makes the thread look at the queues before it goes on in ring 3.
    pub fn attend(&self) {
        self.attention.store(true, Ordering::SeqCst);
    }

    /// Takes the next signal among `wanted`, the thread's own first. Signals of timers that were set anew meanwhile, or are
    /// gone, are dropped.
    fn take(&self, process: &ProcessSignals, wanted: SignalSet) -> Option<SigInfo> {
        loop {
            let own = self.pending.lock().take(wanted);
            let info = own.or_else(|| process.pending.lock().take(wanted))?;
            if let Some(info) = process.posix_timers.complete(info) {
                return Some(info);
            }
        }
    }

    /// Takes the next signal among `wanted` for the current thread `thread`, whose signals these are (`signalfd(2)`).
    #[must_use]
    pub fn take_for(&self, thread: &Thread, wanted: SignalSet) -> Option<SigInfo> {
        self.take(&thread.process().signals, wanted)
    }
}

/// Returns how signals treat a process.
fn role(process: &Process) -> Role {
    if process.pid == INIT {
        Role::Init
    } else {
        Role::Ordinary
    }
}

/// Sets the action of a signal (`rt_sigaction(2)`) and returns the former one. A signal that is ignored from now on stops
/// being pending.
pub fn set_action(process: &Arc<Process>, signal: Signal, action: SigAction) -> SigAction {
    let old = process.signals.set_action(signal, action);
    if tyn_sched::signal::is_ignored(signal, &action, false, Role::Ordinary) {
        let set = SignalSet::only(signal);
        process.signals.pending.lock().discard(set);
        for thread in process.live_threads() {
            thread.signals.pending.lock().discard(set);
        }
    }
    if signal == Signal::SIGTERM && action.handler != SIG_DFL {
        stop::ask(process);
    }
    old
}

/// Changes the mask of the current thread and returns the former one.
pub fn change_mask(thread: &Arc<Thread>, change: MaskChange, set: SignalSet) -> SignalSet {
    let signals = &thread.signals;
    let old = signals.mask();
    let new = change.apply(old, set);
    signals.mask.store(new.0, Ordering::SeqCst);
    let unblocked = old.difference(new);
    if !unblocked.is_empty() {
        signals.attend();
    }
    let blocked = new.difference(old);
    if !blocked.is_empty() {
        send::pass_on(thread, blocked);
    }
    if blocked.contains(Signal::SIGTERM) {
        stop::ask(thread.process());
    }
    old
}

/// Hands signals that wait for the process to the other threads: the current one ends.
pub fn leave(thread: &Arc<Thread>) {
    thread.signals.mask.store(u64::MAX, Ordering::SeqCst);
    send::pass_on(thread, SignalSet(u64::MAX));
}

impl Cx<'_> {
    /// Blocks exactly the signals in `mask` (bit n - 1 for signal n; SIGKILL and SIGSTOP cannot be) until
    /// [`Cx::restore_mask`](crate::cx::Cx::restore_mask) or the end of the system call (`ppoll(2)`, `pselect(2)`,
    /// `epoll_pwait(2)`, `rt_sigsuspend(2)`): a handler that interrupts the call runs under this mask, and its return
    /// restores the old one; without a handler the old one is back when ring 3 goes on.
    pub fn set_temporary_mask(&self, mask: u64) {
        let signals = &self.thread.signals;
        let old = change_mask(self.thread, MaskChange::Set, SignalSet(mask));
        signals.own.lock().saved_mask = Some(old);
        signals.attend();
    }

    /// Undoes [`Cx::set_temporary_mask`](crate::cx::Cx::set_temporary_mask): the call was not interrupted.
    pub fn restore_mask(&self) {
        let saved = self.thread.signals.own.lock().saved_mask.take();
        if let Some(mask) = saved {
            change_mask(self.thread, MaskChange::Set, mask);
        }
    }

    /// Sends the calling thread a signal that its own action caused (SIGPIPE), as `tgkill(2)` to itself would.
    pub fn raise(&self, signal: u8) {
        if let Some(signal) = Signal::from_number(u32::from(signal)) {
            let pid = self.process.pid.0;
            let info = SigInfo::from_process(signal, tyn_abi::signal::code::SI_USER, pid, 0);
            // A queue that is full has the signal already.
            let _ = send_to_thread(self.thread, info);
        }
    }
}
