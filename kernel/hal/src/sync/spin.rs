//! A fair (ticket) spinlock that owns its data.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::cpu;

/// Value of `owner` while nobody holds the lock.
const NOBODY: u32 = u32::MAX;

/// A spinlock around a `T`; FIFO-fair between CPUs. Locking twice on one CPU is a kernel bug (panics).
pub struct SpinLock<T: ?Sized> {
    next: AtomicU32,
    serving: AtomicU32,
    /// The CPU that holds the lock, to find recursive locking.
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
            next: AtomicU32::new(0),
            serving: AtomicU32::new(0),
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
    #[track_caller]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let me = cpu::lock_owner();
        let is_mine = me != cpu::UNKNOWN_OWNER && self.owner.load(Ordering::Relaxed) == me;
        assert!(!is_mine, "spinlock taken twice on CPU {me}");
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket {
            core::hint::spin_loop();
        }
        self.taken(me)
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        // The holder before us released `serving`, not `next`.
        let serving = self.serving.load(Ordering::Acquire);
        self.next
            .compare_exchange(
                serving,
                serving.wrapping_add(1),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
            .then(|| self.taken(cpu::lock_owner()))
    }

    fn taken(&self, me: u32) -> SpinGuard<'_, T> {
        self.owner.store(me, Ordering::Relaxed);
        cpu::spin_depth_changed(1);
        SpinGuard {
            lock: self,
            _not_send: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and we have it exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.owner.store(NOBODY, Ordering::Relaxed);
        let serving = self.lock.serving.load(Ordering::Relaxed);
        self.lock
            .serving
            .store(serving.wrapping_add(1), Ordering::Release);
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
