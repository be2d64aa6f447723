//! Futexes that hold their owner's thread id (`futex(2)`, "Priority-inheritance futexes").
//!
//! The kernel takes part when a lock is contended: the word then has [`robust::WAITERS`] set, and an unlock in the kernel
//! hands the lock to the first waiter by storing its id. Nothing inherits priority, because all threads have the same.
//! Words and waiters are those of [`crate::futex`], under the same bucket locks.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use tyn_abi::{Errno, Nanos, Tid, UserVa};
use tyn_hal::{time, user};
use tyn_sched::futex::robust::{OWNER_DIED, TID_MASK, WAITERS};
use tyn_sched::futex::{Key, MATCH_ANY};

use crate::cx::{Cx, SysResult};
use crate::futex::{self, Scope};
use crate::process;
use crate::sched;
use crate::thread::Thread;

/// What a look at the word came to.
enum Look {
    /// The lock is the caller's.
    Mine,
    /// The caller is entered as a waiter.
    Waiting,
}

/// Takes the lock or enters the caller as a waiter, in one step.
fn look(cx: &Cx<'_>, word: UserVa, key: Key, may_wait: bool) -> Result<Look, Errno> {
    let own = cx.thread.tid().0;
    let mut bucket = futex::lock_bucket(key);
    let mut old = user::load_u32(word)?;
    loop {
        let owner = old & TID_MASK;
        if owner == own {
            return Err(Errno::EDEADLK);
        }
        let new = if owner == 0 {
            // Who died stays known to the next owner, who has to mend what it guards.
            let waiters = if bucket.has(key) { WAITERS } else { 0 };
            own | old & OWNER_DIED | waiters
        } else if !may_wait {
            return Err(Errno::EAGAIN);
        } else {
            process::find_thread(Tid(owner))?;
            old | WAITERS
        };
        let found = user::compare_exchange_u32(word, old, new)?;
        if found != old {
            old = found;
            continue;
        }
        if owner == 0 {
            return Ok(Look::Mine);
        }
        let wait = &cx.thread.futex;
        wait.prepare(key);
        bucket.wait(key, MATCH_ANY, Arc::clone(cx.thread));
        return Ok(Look::Waiting);
    }
}

/// Takes the lock (`FUTEX_LOCK_PI`, `FUTEX_LOCK_PI2`), waiting for it until `deadline`, or only tries (`FUTEX_TRYLOCK_PI`).
///
/// # Errors
/// `EDEADLK`, `ESRCH` when the owner does not exist, `EAGAIN` for a try, `ETIMEDOUT`, `EFAULT`, `EINVAL`.
pub(crate) fn lock(
    cx: &Cx<'_>,
    word: UserVa,
    scope: Scope,
    may_wait: bool,
    deadline: Option<Nanos>,
) -> SysResult {
    let key = futex::key(cx.process, word, scope)?;
    loop {
        if let Look::Mine = look(cx, word, key, may_wait)? {
            return Ok(0);
        }
        if let Err(errno) = wait(cx, deadline)
            && futex::cancel(cx.thread)
        {
            return Err(errno);
        }
        // Woken: the lock was handed over, or its owner died.
        if user::load_u32(word)? & TID_MASK == cx.thread.tid().0 {
            return Ok(0);
        }
    }
}

fn wait(cx: &Cx<'_>, deadline: Option<Nanos>) -> Result<(), Errno> {
    let thread: &Arc<Thread> = cx.thread;
    while !thread.futex.is_woken.load(Ordering::Acquire) {
        if thread.has_deliverable_signal() {
            // The caller's C library does not expect to be interrupted.
            return Err(Errno::ERESTARTNOINTR);
        }
        if deadline.is_some_and(|d| time::now() >= d) {
            return Err(Errno::ETIMEDOUT);
        }
        sched::park(thread, deadline);
    }
    Ok(())
}

/// Gives the lock up (`FUTEX_UNLOCK_PI`): to the first waiter, if there is one.
///
/// # Errors
/// `EPERM` when it is not the caller's; `EFAULT`, `EINVAL`.
pub(crate) fn unlock(cx: &Cx<'_>, word: UserVa, scope: Scope) -> SysResult {
    let key = futex::key(cx.process, word, scope)?;
    let mut next = None;
    let result = {
        let mut bucket = futex::lock_bucket(key);
        let mut old = user::load_u32(word)?;
        if old & TID_MASK != cx.thread.tid().0 {
            return Err(Errno::EPERM);
        }
        bucket.wake(key, 1, MATCH_ANY, |thread| next = Some(thread));
        let waiters = if bucket.has(key) { WAITERS } else { 0 };
        let new = next.as_ref().map_or(0, |t| t.tid().0 | waiters);
        if let Some(thread) = &next {
            thread.futex.is_woken.store(true, Ordering::Release);
        }
        loop {
            match user::compare_exchange_u32(word, old, new) {
                Ok(found) if found == old => break Ok(0),
                Ok(found) => old = found,
                Err(fault) => break Err(fault.into()),
            }
        }
    };
    if let Some(thread) = next {
        sched::unpark(&thread);
    }
    result
}
