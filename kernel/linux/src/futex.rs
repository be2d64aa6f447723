//! Futexes (`futex(2)`): `tyn_sched`'s buckets under one lock each, and the threads that wait in them.
//!
//! ```text
//!  waiter                                   waker
//!  lock bucket                              change the word (ring 3)
//!  load word, compare, enter, unlock        lock bucket
//!  until woken: park                        take waiters out, mark them woken, unlock
//!                                           unpark them
//! ```
//! The word is compared and the waiter entered under the lock under which a waker looks for waiters, so either the waker
//! finds the waiter or the waiter sees the new value. Loading the word may fault; the fault handler takes the locks of the
//! address space and of a file's pages, below the bucket's.
//!
//! Lock order: buckets by index, then [`FutexWait`], then what page faults take.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use tyn_abi::{Errno, Nanos, UserVa};
use tyn_hal::sync::{SpinGuard, SpinLock};
use tyn_hal::{time, user};
use tyn_sched::futex::{Bucket, Key, MATCH_ANY, WakeOp, robust};

use crate::cx::{Cx, SysResult};
use crate::mm::FutexPlace;
use crate::process::Process;
use crate::sched;
use crate::signal::Rest;
use crate::thread::Thread;
use crate::user_io;

const BUCKET_BITS: u32 = 8;

pub(crate) type Waiters = Bucket<Arc<Thread>>;

static BUCKETS: [SpinLock<Waiters>; 1 << BUCKET_BITS] =
    [const { SpinLock::new(Bucket::new()) }; 1 << BUCKET_BITS];

/// What a thread waits for; a thread waits for one futex at a time.
#[derive(Debug)]
pub struct FutexWait {
    /// Under which key it is entered; changed (by requeueing) only under the locks of both buckets.
    key: SpinLock<Option<Key>>,
    /// Set under the bucket's lock by whoever takes the thread out.
    pub(crate) is_woken: AtomicBool,
}

impl FutexWait {
    /// Prepares the thread to be entered under `key`, under the bucket's lock.
    pub(crate) fn prepare(&self, key: Key) {
        self.is_woken.store(false, Ordering::Relaxed);
        *self.key.lock() = Some(key);
    }
}

impl Default for FutexWait {
    fn default() -> Self {
        Self {
            key: SpinLock::new(None),
            is_woken: AtomicBool::new(false),
        }
    }
}

/// Which words with the same address are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Those of this address space (`FUTEX_PRIVATE_FLAG`).
    Private,
    /// Those of the same memory.
    Shared,
}

/// Finds out what identifies a word.
///
/// # Errors
/// `EINVAL` when it is not aligned, `EFAULT` when it cannot be user memory or is not mapped (shared words).
pub fn key(process: &Process, word: UserVa, scope: Scope) -> Result<Key, Errno> {
    if !word.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if word.0 >= tyn_abi::USER_END {
        return Err(Errno::EFAULT);
    }
    let place = match scope {
        Scope::Private => FutexPlace::Private,
        Scope::Shared => process.mm().futex_place(word)?,
    };
    Ok(match place {
        FutexPlace::Private => Key::Private {
            space: process.mm.lock().id(),
            addr: word.0,
        },
        FutexPlace::Shared { object, offset } => Key::Shared { object, offset },
    })
}

fn bucket_index(key: Key) -> usize {
    key.bucket(BUCKET_BITS)
}

fn lock(index: usize) -> SpinGuard<'static, Waiters> {
    let index = index % BUCKETS.len();
    BUCKETS[index].lock()
}

/// Locks the bucket of a key.
pub(crate) fn lock_bucket(key: Key) -> SpinGuard<'static, Waiters> {
    lock(bucket_index(key))
}

/// Threads that were taken out of a bucket and are to be unparked when its lock is released.
#[derive(Default)]
struct Woken {
    first: Option<Arc<Thread>>,
    rest: Vec<Arc<Thread>>,
}

impl Woken {
    fn add(&mut self, thread: Arc<Thread>) {
        thread.futex.is_woken.store(true, Ordering::Release);
        if self.first.is_none() {
            self.first = Some(thread);
        } else {
            self.rest.push(thread);
        }
    }

    fn unpark(self) {
        let Some(first) = self.first else {
            return;
        };
        sched::unpark(&first);
        self.rest.iter().for_each(sched::unpark);
    }
}

/// Wakes at most `limit` threads that wait on `key` with a bitset that meets `mask`; returns how many.
pub fn wake(key: Key, limit: u32, mask: u32) -> u32 {
    let mut woken = Woken::default();
    let count = lock(bucket_index(key)).wake(key, limit, mask, |t| woken.add(t));
    woken.unpark();
    count
}

/// Waits on a word as long as nobody wakes the thread, if the word is `expected` now.
///
/// # Errors
/// `EAGAIN` when the word differs, `ETIMEDOUT`, `ERESTARTSYS` when a signal came first, `EFAULT`.
pub fn wait(
    cx: &Cx<'_>,
    word: UserVa,
    scope: Scope,
    expected: u32,
    bitset: u32,
    deadline: Option<Nanos>,
) -> Result<(), Errno> {
    let thread = cx.thread;
    let key = key(cx.process, word, scope)?;
    {
        let mut bucket = lock(bucket_index(key));
        if user::load_u32(word)? != expected {
            return Err(Errno::EAGAIN);
        }
        thread.futex.prepare(key);
        bucket.wait(key, bitset, Arc::clone(thread));
    }
    loop {
        if thread.futex.is_woken.load(Ordering::Acquire) {
            return Ok(());
        }
        let error = if thread.has_deliverable_signal() {
            Errno::ERESTARTSYS
        } else if deadline.is_some_and(|d| time::now() >= d) {
            Errno::ETIMEDOUT
        } else {
            sched::park(thread, deadline);
            continue;
        };
        return if cancel(thread) { Err(error) } else { Ok(()) };
    }
}

/// Takes a thread that gives up out of its bucket; returns whether it was still there.
pub(crate) fn cancel(thread: &Arc<Thread>) -> bool {
    loop {
        let Some(key) = *thread.futex.key.lock() else {
            return false;
        };
        let mut bucket = lock(bucket_index(key));
        // It may have been requeued before we had the lock.
        if *thread.futex.key.lock() != Some(key) {
            continue;
        }
        let entry = bucket.cancel(|t| Arc::ptr_eq(t, thread));
        drop(bucket);
        return entry.is_some();
    }
}

/// Runs `f` with the buckets of two keys; the second is `None` when it is the first's.
fn with_two<R>(a: Key, b: Key, f: impl FnOnce(&mut Waiters, Option<&mut Waiters>) -> R) -> R {
    let (i, j) = (bucket_index(a), bucket_index(b));
    match i.cmp(&j) {
        core::cmp::Ordering::Equal => f(&mut lock(i), None),
        core::cmp::Ordering::Less => {
            let mut first = lock(i);
            let mut second = lock(j);
            f(&mut first, Some(&mut second))
        }
        core::cmp::Ordering::Greater => {
            let mut second = lock(j);
            let mut first = lock(i);
            f(&mut first, Some(&mut second))
        }
    }
}

/// Wakes at most `wake_limit` waiters on `from` and moves at most `move_limit` others to `to`; returns how many were woken or
/// moved. With `expected`, only if the word has that value (`FUTEX_CMP_REQUEUE`).
///
/// # Errors
/// `EAGAIN` when the word differs; `EFAULT`.
pub fn requeue(
    from: Key,
    to: Key,
    wake_limit: u32,
    move_limit: u32,
    expected: Option<(UserVa, u32)>,
) -> Result<u32, Errno> {
    let mut woken = Woken::default();
    let count = with_two(from, to, |source, target| {
        if let Some((word, value)) = expected
            && user::load_u32(word)? != value
        {
            return Err(Errno::EAGAIN);
        }
        let count = source.wake(from, wake_limit, MATCH_ANY, |t| woken.add(t));
        let moved = source.requeue(from, to, move_limit, |t| {
            *t.futex.key.lock() = Some(to);
        });
        Ok(count + target.unwrap_or(source).accept(moved))
    });
    woken.unpark();
    count
}

/// Changes `second_word` as `op` says, wakes at most `limit` waiters on `first`, and at most `second_limit` on `second` if the
/// old value of the word is as `op` says (`FUTEX_WAKE_OP`); returns how many were woken.
///
/// # Errors
/// `EFAULT`.
pub fn wake_op(
    first: Key,
    limit: u32,
    second: Key,
    second_word: UserVa,
    second_limit: u32,
    op: WakeOp,
) -> Result<u32, Errno> {
    let mut woken = Woken::default();
    let count = with_two(first, second, |own, other| {
        let mut old = user::load_u32(second_word)?;
        loop {
            let found = user::compare_exchange_u32(second_word, old, op.apply(old))?;
            if found == old {
                break;
            }
            old = found;
        }
        let mut count = own.wake(first, limit, MATCH_ANY, |t| woken.add(t));
        if op.matches(old) {
            let other = other.unwrap_or(own);
            count += other.wake(second, second_limit, MATCH_ANY, |t| woken.add(t));
        }
        Ok(count)
    });
    woken.unpark();
    count
}

/// Waits as [`wait`] does, and remembers how to go on when a signal interrupts a wait that has a time-out.
///
/// # Errors
/// As [`wait`]; `ERESTART_RESTARTBLOCK` instead of `ERESTARTSYS` with a time-out.
pub fn wait_restartable(
    cx: &Cx<'_>,
    word: UserVa,
    scope: Scope,
    expected: u32,
    bitset: u32,
    deadline: Option<Nanos>,
) -> SysResult {
    match (wait(cx, word, scope, expected, bitset, deadline), deadline) {
        (Err(Errno::ERESTARTSYS), Some(deadline)) => {
            cx.thread.signals.set_rest(Rest::Futex {
                word,
                expected,
                bitset,
                is_private: scope == Scope::Private,
                deadline,
            });
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        (result, _) => result.map(|()| 0),
    }
}

/// Clears the word and wakes one waiter: the end of a thread with `CLONE_CHILD_CLEARTID`.
pub fn clear_and_wake(thread: &Arc<Thread>, word: UserVa) {
    // As on Linux, an address that is not there any more is no error.
    if user::store_u32(word, 0).is_ok()
        && let Ok(key) = key(thread.process(), word, Scope::Shared)
    {
        wake(key, 1, MATCH_ANY);
    }
}

/// Marks the robust locks that the current thread holds as abandoned (`set_robust_list(2)`); it ends. Bad pointers end the
/// walk.
pub fn exit_robust_list(thread: &Arc<Thread>) {
    let head = thread.robust_list.load(Ordering::Relaxed);
    if head != 0 {
        // The list may be broken, even on purpose: what can be walked is.
        let _ = walk_robust_list(thread, UserVa(head));
    }
}

/// Bit 0 of a list pointer: the lock inherits priority.
const PI: u64 = 1;

fn walk_robust_list(thread: &Arc<Thread>, head: UserVa) -> Result<(), Errno> {
    let offset = user_io::read_u64(head.wrapping_add(8))?;
    let pending = user_io::read_u64(head.wrapping_add(16))?;
    let mut entry = user_io::read_u64(head)?;
    for _ in 0..robust::LIST_LIMIT {
        if entry & !PI == head.0 {
            break;
        }
        // Read before the lock is given up: its new owner may change the list.
        let next = user_io::read_u64(UserVa(entry & !PI));
        if entry & !PI != pending & !PI {
            abandon(thread, UserVa((entry & !PI).wrapping_add(offset)))?;
        }
        entry = next?;
    }
    if pending & !PI != 0 {
        let word = UserVa((pending & !PI).wrapping_add(offset));
        let inherits_priority = pending & PI != 0;
        // The owner may have died between giving the lock up and waking a waiter.
        if user::load_u32(word)? == 0 && !inherits_priority {
            wake(key(thread.process(), word, Scope::Shared)?, 1, MATCH_ANY);
        }
        abandon(thread, word)?;
    }
    Ok(())
}

fn abandon(thread: &Arc<Thread>, word: UserVa) -> Result<(), Errno> {
    let key = key(thread.process(), word, Scope::Shared)?;
    let mut old = user::load_u32(word)?;
    while let Some((new, has_waiters)) = robust::abandon(old, thread.tid().0) {
        let found = user::compare_exchange_u32(word, old, new)?;
        if found == old {
            if has_waiters {
                wake(key, 1, MATCH_ANY);
            }
            break;
        }
        old = found;
    }
    Ok(())
}
