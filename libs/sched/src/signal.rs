//! Pending signals, and what becomes of a signal when it is sent and when it is delivered.

use alloc::collections::VecDeque;

use tyn_abi::signal::{
    DefaultAction, SIG_DFL, SIG_IGN, SaFlags, SigAction, SigInfo, Signal, SignalSet,
};

/// The signals that wait for a thread, or for any thread of a process.
///
/// A standard signal waits once however often it is sent; instances of a real-time signal queue up, in order
/// (`signal(7)`).
#[derive(Clone, Debug, Default)]
pub struct Pending {
    set: SignalSet,
    queue: VecDeque<SigInfo>,
}

/// What became of a signal that was to be queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// It waits.
    New,
    /// An instance of this standard signal waited already.
    Already,
    /// The queue is full: a real-time signal is refused (`EAGAIN`), a standard one waits without its details.
    Full,
}

impl Pending {
    /// Makes an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            set: SignalSet::EMPTY,
            queue: VecDeque::new(),
        }
    }

    /// Returns which signals wait.
    #[must_use]
    pub const fn set(&self) -> SignalSet {
        self.set
    }

    /// Adds a signal; at most `limit` instances (`RLIMIT_SIGPENDING`) keep their details.
    pub fn push(&mut self, info: SigInfo, limit: usize) -> Queued {
        let signal = info.signal();
        if !signal.is_realtime() && self.set.contains(signal) {
            return Queued::Already;
        }
        let is_full = self.queue.len() >= limit;
        if is_full && signal.is_realtime() {
            return Queued::Full;
        }
        self.set = self.set.with(signal);
        if is_full {
            return Queued::Full;
        }
        self.queue.push_back(info);
        Queued::New
    }

    /// Takes the next signal among `wanted`: those that instructions cause first, then the lowest number, the oldest
    /// instance first. One without details is said to come from the kernel's user 0 (`SI_USER`), as on Linux.
    pub fn take(&mut self, wanted: SignalSet) -> Option<SigInfo> {
        let ready = self.set.intersection(wanted);
        let synchronous = ready.intersection(SignalSet::SYNCHRONOUS);
        let signal = synchronous.lowest().or_else(|| ready.lowest())?;
        let found = self.queue.iter().position(|i| i.signal() == signal);
        let info = found
            .and_then(|i| self.queue.remove(i))
            .unwrap_or_else(|| SigInfo::from_process(signal, 0, 0, 0));
        if !self.queue.iter().any(|i| i.signal() == signal) {
            self.set = self.set.difference(SignalSet::only(signal));
        }
        Some(info)
    }

    /// Drops all instances of some signals.
    pub fn discard(&mut self, signals: SignalSet) {
        if self.set.intersection(signals).is_empty() {
            return;
        }
        self.queue.retain(|i| !signals.contains(i.signal()));
        self.set = self.set.difference(signals);
    }
}

/// Whose action a signal meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Any process.
    Ordinary,
    /// Process 1, which no signal ends or stops that it has no handler for.
    Init,
}

/// Returns whether a signal that is sent now can be forgotten at once: it is ignored and not blocked (a blocked one waits,
/// for its action may have changed when it is unblocked).
#[must_use]
pub fn is_ignored(signal: Signal, action: &SigAction, is_blocked: bool, role: Role) -> bool {
    if is_blocked {
        return false;
    }
    match action.handler {
        SIG_IGN => true,
        SIG_DFL => {
            role == Role::Init
                || matches!(
                    signal.default_action(),
                    DefaultAction::Ignore | DefaultAction::Continue
                )
        }
        _ => false,
    }
}

/// What to do with a signal that is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Nothing.
    Ignore,
    /// Run the handler.
    Handle,
    /// End the process.
    Terminate,
    /// Stop the process.
    Stop,
}

/// Decides what a signal that is delivered does.
#[must_use]
pub fn delivery(signal: Signal, action: &SigAction, role: Role) -> Delivery {
    match action.handler {
        SIG_IGN => Delivery::Ignore,
        SIG_DFL => match (signal.default_action(), role) {
            (DefaultAction::Ignore | DefaultAction::Continue, _) | (_, Role::Init) => {
                Delivery::Ignore
            }
            // No core is written, as on Linux with RLIMIT_CORE 0.
            (DefaultAction::Terminate | DefaultAction::Core, _) => Delivery::Terminate,
            (DefaultAction::Stop, _) => Delivery::Stop,
        },
        _ => Delivery::Handle,
    }
}

/// Returns the mask while a handler runs.
#[must_use]
pub fn mask_in_handler(mask: SignalSet, signal: Signal, action: &SigAction) -> SignalSet {
    let mut during = mask.union(action.mask);
    if !action.flags.contains(SaFlags::NODEFER) {
        during = during.with(signal);
    }
    during.difference(SignalSet::UNBLOCKABLE)
}

/// How `rt_sigprocmask(2)` changes a mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaskChange {
    /// `SIG_BLOCK`.
    Block,
    /// `SIG_UNBLOCK`.
    Unblock,
    /// `SIG_SETMASK`.
    Set,
}

impl MaskChange {
    /// Converts from the argument `how`.
    #[must_use]
    pub const fn from_how(how: u32) -> Option<Self> {
        match how {
            0 => Some(Self::Block),
            1 => Some(Self::Unblock),
            2 => Some(Self::Set),
            _ => None,
        }
    }

    /// Returns the new mask; SIGKILL and SIGSTOP are never in it.
    #[must_use]
    pub const fn apply(self, mask: SignalSet, set: SignalSet) -> SignalSet {
        let new = match self {
            Self::Block => mask.union(set),
            Self::Unblock => mask.difference(set),
            Self::Set => set,
        };
        new.difference(SignalSet::UNBLOCKABLE)
    }
}

/// What happens to an interrupted system call when a signal is delivered to its thread (`signal(7)`, "Interruption of
/// system calls").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartKind {
    /// `ERESTARTSYS`: restarted after a handler with `SA_RESTART`, and when no handler runs.
    IfAsked,
    /// `ERESTARTNOINTR`: always restarted.
    Always,
    /// `ERESTARTNOHAND`: restarted only when no handler runs.
    WithoutHandler,
    /// `ERESTART_RESTARTBLOCK`: as before, but continued by `restart_syscall(2)` with what is left of its time.
    WithRest,
}

/// What the call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// It fails with `EINTR`.
    Interrupted,
    /// It is made again.
    Again,
    /// `restart_syscall(2)` is made.
    Continue,
}

impl RestartKind {
    /// Decides, given the flags of the handler that runs, if one does.
    #[must_use]
    pub fn resume(self, handler: Option<SaFlags>) -> Resume {
        match (self, handler) {
            (Self::Always, _) => Resume::Again,
            (Self::IfAsked, Some(flags)) if flags.contains(SaFlags::RESTART) => Resume::Again,
            (_, Some(_)) => Resume::Interrupted,
            (Self::IfAsked | Self::WithoutHandler, None) => Resume::Again,
            (Self::WithRest, None) => Resume::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
