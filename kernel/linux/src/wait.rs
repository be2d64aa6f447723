//! Waiting for events.
//!
//! Objects never block. A call that must wait registers the thread on the object's [`WaitQueue`], tries, and parks if there
//! is nothing yet; whoever changes the object notifies the queue. Registering comes before trying, so a change between
//! the two leaves a token with the thread (see [`sched::park`]) and the park returns at once: no wake-up is lost.
//!
//! ```text
//!   waiter                          notifier
//!   register on queue
//!   attempt() -> nothing
//!                                   change the object (its lock)
//!                                   queue.notify()  -> unpark(thread): token
//!   park() returns at once
//!   attempt() -> done
//! ```
//! Lock order: object, wait queue, observer's own lock (epoll ready list), run queue. An observer never calls back into
//! the object.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use tyn_abi::{Errno, Events, Nanos};
use tyn_hal::sync::SpinLock;
use tyn_hal::time;

use crate::cx::Cx;
use crate::sched;

/// Somebody who wants to hear of events: a waiting thread, an epoll item.
pub trait Observer: Send + Sync {
    /// Takes note that `events` may have become true. Runs with the notifier's locks held: it must not call back into the
    /// object and must not block.
    fn notify(&self, events: Events);
}

/// Identifies a registration on one queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RegistrationId(u64);

struct Entry {
    id: RegistrationId,
    interest: Events,
    observer: Arc<dyn Observer>,
}

/// The observers of one object, in order of registration, which is that of their ids.
pub struct WaitQueue {
    entries: SpinLock<VecDeque<Entry>>,
    next_id: AtomicU64,
}

impl core::fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WaitQueue")
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitQueue {
    /// Makes a queue without observers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: SpinLock::new(VecDeque::new()),
            next_id: AtomicU64::new(0),
        }
    }

    /// Adds an observer that is notified when one of `interest` (or `ERR`, `HUP`) may have become true.
    pub fn register(&self, observer: Arc<dyn Observer>, interest: Events) -> RegistrationId {
        let interest = interest | Events::ERR | Events::HUP;
        let mut entries = self.entries.lock();
        let id = RegistrationId(self.next_id.fetch_add(1, Ordering::Relaxed));
        entries.push_back(Entry {
            id,
            interest,
            observer,
        });
        id
    }

    /// Removes an observer; no notification reaches it after this returns.
    pub fn unregister(&self, id: RegistrationId) {
        let removed = {
            let mut entries = self.entries.lock();
            let found = entries.binary_search_by_key(&id, |entry| entry.id);
            found.ok().and_then(|index| entries.remove(index))
        };
        drop(removed);
    }

    /// Tells every interested observer that `events` may have become true.
    pub fn notify(&self, events: Events) {
        for entry in self.entries.lock().iter() {
            if entry.interest.intersects(events) {
                entry.observer.notify(events);
            }
        }
    }
}

/// Why a wait ended without success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupted {
    /// The deadline passed.
    TimedOut,
    /// A signal is to be delivered.
    Signal,
}

impl Interrupted {
    /// Returns the error of a call that is restarted under `SA_RESTART` and has no time-out (`read`, `wait4`, ...).
    #[must_use]
    pub fn or_restart(self) -> Errno {
        match self {
            Self::TimedOut => Errno::EAGAIN,
            Self::Signal => Errno::ERESTARTSYS,
        }
    }

    /// Returns the error of a call that is never restarted (`poll`, `epoll_wait`, socket calls with a time-out).
    #[must_use]
    pub fn or_eintr(self) -> Errno {
        match self {
            Self::TimedOut => Errno::EAGAIN,
            Self::Signal => Errno::EINTR,
        }
    }
}

impl Cx<'_> {
    /// Waits until `attempt` returns a value; it is tried again whenever one of the queues tells of an event in `interest`.
    /// The caller holds no lock.
    ///
    /// # Errors
    /// [`Interrupted`] when the deadline passed or a signal came first; `attempt` was tried after both were checked last.
    pub fn block_on<T>(
        &self,
        queues: &[&WaitQueue],
        interest: Events,
        deadline: Option<Nanos>,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, Interrupted> {
        if let Some(value) = attempt() {
            return Ok(value);
        }
        let register = |queue: &WaitQueue| {
            queue.register(Arc::clone(self.thread) as Arc<dyn Observer>, interest)
        };
        // Nearly always there is one queue: its registration needs no room on the heap.
        let mut queues = queues.iter();
        let first = queues.next().map(|queue| (queue, register(queue)));
        let rest: Vec<_> = queues.map(|queue| (queue, register(queue))).collect();
        let result = loop {
            if let Some(value) = attempt() {
                break Ok(value);
            }
            if self.thread.has_deliverable_signal() {
                break Err(Interrupted::Signal);
            }
            if deadline.is_some_and(|d| time::now() >= d) {
                break Err(Interrupted::TimedOut);
            }
            sched::park(self.thread, deadline);
        };
        for (queue, id) in first.into_iter().chain(rest) {
            queue.unregister(id);
        }
        result
    }
}
