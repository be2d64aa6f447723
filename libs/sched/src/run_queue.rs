//! A CPU's queue of runnable threads, and how long the running one may keep the CPU.
//!
//! # Policy
//! A thread has a [`Budget`] of CPU time, [`SLICE`]. As long as some is left it re-enters the queue in the woken lane when
//! it wakes up, ahead of threads that used theirs up; those take turns, first come first served, each with a new budget.
//! Hence a thread that works a little and sleeps is served at once, and a thread in the turn lane waits at most one
//! budget of every other thread: sleeping never refills a budget.
//!
//! A thread that runs on its turn gives way to a woken one after [`GRANULARITY`], and takes its turn up again first
//! thing afterwards. When nobody waits, nobody is preempted and no timer is needed.

use alloc::collections::VecDeque;

use tyn_abi::Nanos;

use crate::cpus::{CpuIndex, CpuSet};

/// CPU time between two turns.
pub const SLICE: Nanos = Nanos(4_000_000);
/// What a thread on its turn gets before a woken one may preempt it.
pub const GRANULARITY: Nanos = Nanos(1_000_000);

/// What the queue must know about a thread.
pub trait Runnable {
    /// Returns the CPUs that it may run on.
    fn affinity(&self) -> CpuSet;
}

/// Which lane a thread waits in, or came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Woke up with budget left.
    Woken,
    /// Waits for its turn, at the end of the lane.
    Turn,
    /// Was preempted by a woken thread within its turn: goes to the front of the turn lane.
    Resume,
}

/// The runnable threads of a CPU, without the one that runs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RunQueue<T> {
    woken: VecDeque<T>,
    turn: VecDeque<T>,
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> RunQueue<T> {
    /// Makes an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            woken: VecDeque::new(),
            turn: VecDeque::new(),
        }
    }

    /// Returns how many threads wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.woken.len() + self.turn.len()
    }

    /// Returns whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the lane that would be served next, if anybody waits.
    #[must_use]
    pub fn next_lane(&self) -> Option<Lane> {
        if !self.woken.is_empty() {
            Some(Lane::Woken)
        } else if !self.turn.is_empty() {
            Some(Lane::Turn)
        } else {
            None
        }
    }

    /// Adds a thread.
    pub fn push(&mut self, thread: T, lane: Lane) {
        match lane {
            Lane::Woken => self.woken.push_back(thread),
            Lane::Turn => self.turn.push_back(thread),
            Lane::Resume => self.turn.push_front(thread),
        }
    }

    /// Takes the thread that runs next, and the lane it waited in.
    pub fn pop(&mut self) -> Option<(T, Lane)> {
        if let Some(thread) = self.woken.pop_front() {
            return Some((thread, Lane::Woken));
        }
        self.turn.pop_front().map(|t| (t, Lane::Turn))
    }

    /// Takes the first thread that `is_meant` says yes to, and the lane it waited in.
    pub fn remove(&mut self, is_meant: impl Fn(&T) -> bool) -> Option<(T, Lane)> {
        for (lane, name) in [(&mut self.woken, Lane::Woken), (&mut self.turn, Lane::Turn)] {
            let found = lane.iter().position(&is_meant);
            if let Some(thread) = found.and_then(|i| lane.remove(i)) {
                return Some((thread, name));
            }
        }
        None
    }

    /// Iterates over the waiting threads, in the order in which they will run.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.woken.iter().chain(self.turn.iter())
    }
}

impl<T: Runnable> RunQueue<T> {
    /// Takes the first thread that may run on `thief`, and the lane it waited in.
    pub fn steal(&mut self, thief: CpuIndex) -> Option<(T, Lane)> {
        self.remove(|t| t.affinity().contains(thief))
    }
}

/// What is left of a thread's CPU time before it goes to the turn lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Budget(pub Nanos);

impl Default for Budget {
    fn default() -> Self {
        Self(SLICE)
    }
}

/// A thread's stay on a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stay {
    /// When it began.
    pub since: Nanos,
    /// The thread's budget then.
    pub budget: Budget,
    /// The lane it came from.
    pub lane: Lane,
}

impl Stay {
    /// Returns when the running thread must give way, given the lane that would be served next; `None` when nobody
    /// waits.
    #[must_use]
    pub fn ends_at(&self, waiting: Option<Lane>) -> Option<Nanos> {
        let full = self.since + self.budget.0;
        match (waiting?, self.lane) {
            (Lane::Woken, Lane::Turn | Lane::Resume) => Some(full.min(self.since + GRANULARITY)),
            _ => Some(full),
        }
    }

    /// Returns the budget after a stay that ended at `now`, and the lane in which a thread that is still runnable waits
    /// on.
    #[must_use]
    pub fn preempted(&self, now: Nanos) -> (Budget, Lane) {
        let left = self.budget.0 - (now - self.since);
        match (left, self.lane) {
            (Nanos::ZERO, _) => (Budget::default(), Lane::Turn),
            (left, Lane::Woken) => (Budget(left), Lane::Woken),
            (left, Lane::Turn | Lane::Resume) => (Budget(left), Lane::Resume),
        }
    }

    /// Returns the budget of a thread that parked at `now`, and the lane that it will wake up to.
    #[must_use]
    pub fn parked(&self, now: Nanos) -> (Budget, Lane) {
        match self.budget.0 - (now - self.since) {
            Nanos::ZERO => (Budget::default(), Lane::Turn),
            left => (Budget(left), Lane::Woken),
        }
    }
}

#[cfg(test)]
mod tests;
