//! A spinlock that owns its data.
//!
//! It is not fair, on purpose: with more virtual CPUs than cores of the host, the CPU whose turn it is may not be running for
//! milliseconds, and in a queue of such CPUs every hand-over waits for the host's scheduler. Here whoever runs takes the lock;
//! critical sections are short, so nobody waits for long.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

/// Value of `owner` while nobody holds the lock.
const NOBODY: u32 = u32::MAX;

/// A spinlock around a `T`. Locking twice on one CPU is a kernel bug (panics).
pub struct SpinLock<T: ?Sized> {
    raw: Raw,
    data: UnsafeCell<T>,
}

/// The lock without the data. Taking it is a call, not a copy at each of several hundred places: the kernel is smaller by
/// that, and starts faster where it is translated first. Releasing it is as short as a call.
struct Raw {
    /// The CPU that holds the lock.
    owner: AtomicU32,
}

impl Raw {
    /// Takes the lock, spinning. Inlined it is slower (docs/performance.md, "Host interface").
    #[inline(never)]
    fn lock(&self) {
        let me = here::id();
        if !self.take(me) {
            self.spin(me);
        }
        here::count_lock();
    }

    /// Takes a lock that somebody holds.
    #[cold]
    #[inline(never)]
    fn spin(&self, me: u32) {
        loop {
            let is_mine = me != here::ANY && self.owner.load(Ordering::Relaxed) == me;
            assert!(!is_mine, "spinlock taken twice on CPU {me}");
            // Read only, so that the waiters share the cache line until the lock is free.
            while self.owner.load(Ordering::Relaxed) != NOBODY {
                core::hint::spin_loop();
            }
            if self.take(me) {
                return;
            }
        }
    }

    /// Takes the lock if it is free.
    fn try_lock(&self) -> bool {
        let is_taken = self.take(here::id());
        if is_taken {
            here::count_lock();
        }
        is_taken
    }

    fn take(&self, me: u32) -> bool {
        self.owner
            .compare_exchange(NOBODY, me, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn unlock(&self) {
        self.owner.store(NOBODY, Ordering::Release);
        here::count_unlock();
    }
}

/// The CPU that runs this, and the locks that it holds.
#[cfg(feature = "entry")]
mod here {
    use crate::cpu_local::CpuLocal;

    /// No CPU: what tests on the host have as theirs.
    pub(super) const ANY: u32 = u32::MAX - 1;

    pub(super) fn id() -> u32 {
        CpuLocal::current_id()
    }

    pub(super) fn count_lock() {
        CpuLocal::count_lock();
    }

    pub(super) fn count_unlock() {
        CpuLocal::count_unlock();
    }
}

/// As above where there is no block of a CPU, as in tests on the host.
#[cfg(not(feature = "entry"))]
mod here {
    pub(super) const ANY: u32 = u32::MAX - 1;

    pub(super) const fn id() -> u32 {
        ANY
    }

    pub(super) const fn count_lock() {}

    pub(super) const fn count_unlock() {}
}

// SAFETY: the guard gives exclusive access to the data, which may move between CPUs.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: the lock owns its data.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

/// Exclusive access to the data; unlocks when dropped. Not `Send`: a task cannot carry it to another CPU.
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    _not_send: PhantomData<*mut ()>,
}

impl<T: ?Sized> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinLock")
    }
}

impl<T: ?Sized> fmt::Debug for SpinGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpinGuard")
    }
}

impl<T> SpinLock<T> {
    /// Makes an unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            raw: Raw {
                owner: AtomicU32::new(NOBODY),
            },
            data: UnsafeCell::new(value),
        }
    }

    /// Returns the data of a lock that nobody else can reach.
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning.
    ///
    /// # Panics
    /// When this CPU holds it already.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.raw.lock();
        self.taken()
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.raw.try_lock().then(|| self.taken())
    }

    #[inline]
    fn taken(&self) -> SpinGuard<'_, T> {
        SpinGuard {
            lock: self,
            _not_send: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and we have it exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn counter_survives_contention() {
        let lock = Arc::new(SpinLock::new(0u64));
        let threads: std::vec::Vec<_> = (0..4)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || (0..1000).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        for t in threads {
            t.join().unwrap();
        }
        assert_eq!(*lock.lock(), 4000);
    }

    #[test]
    fn try_lock_fails_while_held() {
        let lock = SpinLock::new(());
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }
}
