//! A lock whose waiters park, for what may take long: its holder may give up the CPU.
//!
//! Such locks are taken before any spinlock, a position's ([`crate::file::OpenFile`]) before a file's. Waiting for one is not
//! interrupted by signals, as with Linux' mutexes; who holds one always comes to an end.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, Ordering};

use tyn_abi::Events;
use tyn_sched::sleep_lock::SleepLockState;

use crate::sched;
use crate::thread::Thread;
use crate::wait::{Observer, WaitQueue};

/// Those who wait for any of these locks: few ever do.
static WAITERS: WaitQueue = WaitQueue::new();

/// A lock without data, free at first.
#[derive(Debug)]
pub struct SleepLock {
    /// [`SleepLockState`].
    state: AtomicU8,
}

/// Gives the lock back when it is dropped.
#[derive(Debug)]
pub struct SleepGuard<'a>(&'a SleepLock);

impl Default for SleepLock {
    fn default() -> Self {
        Self::new()
    }
}

impl SleepLock {
    /// Makes a free lock.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(SleepLockState::Free as u8),
        }
    }

    /// Takes the lock for the current thread, which holds no spinlock.
    pub fn lock(&self, current: &Arc<Thread>) -> SleepGuard<'_> {
        if !self.transition(SleepLockState::take) {
            let id = WAITERS.register(Arc::clone(current) as Arc<dyn Observer>, Events::IN);
            while !self.transition(SleepLockState::wait) {
                sched::park(current, None);
            }
            WAITERS.unregister(id);
        }
        SleepGuard(self)
    }

    /// Acquire and release: what the holder before did is seen by the next. Waiters need no more: registering, a transition to
    /// `Awaited` and the release are ordered by the wait queue's lock and this word.
    fn transition(&self, step: impl Fn(SleepLockState) -> (SleepLockState, bool)) -> bool {
        let mut raw = self.state.load(Ordering::Relaxed);
        loop {
            let state = SleepLockState::from_u8(raw)
                .expect("invariant: only this function stores the state");
            let (next, outcome) = step(state);
            let swap = self.state.compare_exchange_weak(
                raw,
                next as u8,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match swap {
                Ok(_) => return outcome,
                Err(found) => raw = found,
            }
        }
    }
}

impl Drop for SleepGuard<'_> {
    fn drop(&mut self) {
        if self.0.transition(SleepLockState::release) {
            WAITERS.notify(Events::IN);
        }
    }
}
