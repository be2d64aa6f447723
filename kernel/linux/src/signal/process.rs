//! What a process keeps of signals: actions, what waits for any of its threads, whether it is stopped.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_abi::signal::{SIG_DFL, SIG_IGN, SaFlags, SigAction, Signal, SignalSet};
use tyn_hal::sync::SpinLock;
use tyn_sched::signal::Pending;

use super::{CpuAlarms, PosixTimers, RealTimer};

/// The actions of a process, or of several (`CLONE_SIGHAND`).
#[derive(Clone, Debug)]
struct Actions([SigAction; Signal::MAX as usize]);

impl Actions {
    fn get(&self, signal: Signal) -> SigAction {
        let index = usize::from(signal.number()) - 1;
        self.0.get(index).copied().unwrap_or_default()
    }

    fn set(&mut self, signal: Signal, action: SigAction) {
        let index = usize::from(signal.number()) - 1;
        if let Some(slot) = self.0.get_mut(index) {
            *slot = action;
        }
    }
}

/// A process's actions and shared pending signals.
#[derive(Debug)]
pub struct ProcessSignals {
    actions: Arc<SpinLock<Box<Actions>>>,
    pub(super) pending: SpinLock<Pending>,
    pub(super) is_stopped: AtomicBool,
    /// `ITIMER_REAL`.
    pub real_timer: RealTimer,
    /// `ITIMER_VIRTUAL`, `ITIMER_PROF`, `RLIMIT_CPU`.
    pub cpu_alarms: CpuAlarms,
    /// POSIX timers.
    pub posix_timers: PosixTimers,
}

impl Default for ProcessSignals {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessSignals {
    fn with_actions(actions: Arc<SpinLock<Box<Actions>>>) -> Self {
        Self {
            actions,
            pending: SpinLock::new(Pending::new()),
            is_stopped: AtomicBool::new(false),
            real_timer: RealTimer::default(),
            cpu_alarms: CpuAlarms::default(),
            posix_timers: PosixTimers::default(),
        }
    }

    /// Returns the actions of the first process: all default.
    #[must_use]
    pub fn new() -> Self {
        let actions = Actions([SigAction::default(); Signal::MAX as usize]);
        Self::with_actions(Arc::new(SpinLock::new(Box::new(actions))))
    }

    /// Returns a copy of the actions with nothing pending (`fork(2)`).
    #[must_use]
    pub fn fork(&self) -> Self {
        let copy = self.actions.lock().clone();
        Self::with_actions(Arc::new(SpinLock::new(copy)))
    }

    /// Returns the same actions with nothing pending (`CLONE_SIGHAND` without `CLONE_THREAD`).
    #[must_use]
    pub fn share(&self) -> Self {
        Self::with_actions(Arc::clone(&self.actions))
    }

    /// Resets caught signals to their default (`execve(2)`, `CLONE_CLEAR_SIGHAND`); ignored ones stay ignored.
    pub fn reset_caught(&self) {
        let mut actions = self.actions.lock();
        for signal in Signal::all() {
            if actions.get(signal).handler != SIG_IGN {
                actions.set(signal, SigAction::default());
            }
        }
    }

    /// Returns whether children that end leave no zombies: SIGCHLD is ignored, or has `SA_NOCLDWAIT`.
    #[must_use]
    pub fn ignores_children(&self) -> bool {
        let action = self.action(Signal::SIGCHLD);
        action.handler == SIG_IGN || action.flags.contains(SaFlags::NOCLDWAIT)
    }

    /// Returns the action of a signal.
    #[must_use]
    pub fn action(&self, signal: Signal) -> SigAction {
        self.actions.lock().get(signal)
    }

    /// Sets the action of a signal and returns the former one.
    pub(super) fn set_action(&self, signal: Signal, action: SigAction) -> SigAction {
        let mut actions = self.actions.lock();
        let old = actions.get(signal);
        actions.set(signal, action);
        old
    }

    /// Returns the signals that wait for any thread of the process.
    #[must_use]
    pub fn pending(&self) -> SignalSet {
        self.pending.lock().set()
    }

    /// Returns whether the process was stopped (`SIGSTOP`).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Returns which signals are ignored and which are caught (`/proc/PID/status`).
    #[must_use]
    pub fn ignored_and_caught(&self) -> (SignalSet, SignalSet) {
        let actions = self.actions.lock();
        let mut sets = (SignalSet::EMPTY, SignalSet::EMPTY);
        for signal in Signal::all() {
            match actions.get(signal).handler {
                SIG_DFL => {}
                SIG_IGN => sets.0 = sets.0.with(signal),
                _ => sets.1 = sets.1.with(signal),
            }
        }
        sets
    }
}
