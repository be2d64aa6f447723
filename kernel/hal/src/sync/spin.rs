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

use crate::cpu;

/// Value of `owner` while nobody holds the lock.
const NOBODY: u32 = u32::MAX;

/// A spinlock around a `T`. Locking twice on one CPU is a kernel bug (panics).
pub struct SpinLock<T: ?Sized> {
    /// The CPU that holds the lock.
    owner: AtomicU32,
    data: UnsafeCell<T>,
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
            owner: AtomicU32::new(NOBODY),
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
    #[track_caller]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let me = cpu::lock_owner();
        if !self.take(me) {
            self.spin(me);
        }
        self.taken()
    }

    /// Takes a lock that somebody holds.
    #[cold]
    #[track_caller]
    fn spin(&self, me: u32) {
        loop {
            let is_mine = me != cpu::UNKNOWN_OWNER && self.owner.load(Ordering::Relaxed) == me;
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
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        self.take(cpu::lock_owner()).then(|| self.taken())
    }

    #[inline]
    fn take(&self, me: u32) -> bool {
        self.owner
            .compare_exchange(NOBODY, me, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn taken(&self) -> SpinGuard<'_, T> {
        cpu::spin_depth_changed(1);
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
        self.lock.owner.store(NOBODY, Ordering::Release);
        cpu::spin_depth_changed(-1);
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
