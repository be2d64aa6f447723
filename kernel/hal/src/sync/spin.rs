//! A fair (ticket) spinlock that owns its data.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// A spinlock around a `T`; FIFO-fair between CPUs. Locking twice on one CPU is a kernel bug (panics with both places).
#[derive(Debug)]
pub struct SpinLock<T: ?Sized> {
    _data: UnsafeCell<T>,
}

// SAFETY: (stub) the guard gives exclusive access.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: (stub) the lock owns its data.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

/// Exclusive access to the data; unlocks when dropped. Not `Send`: a task cannot carry it to another CPU.
#[derive(Debug)]
pub struct SpinGuard<'a, T: ?Sized> {
    _lock: &'a SpinLock<T>,
    _not_send: PhantomData<*mut ()>,
}

impl<T> SpinLock<T> {
    /// Makes an unlocked lock.
    pub const fn new(value: T) -> Self {
        Self {
            _data: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock, spinning.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        unimplemented!()
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        unimplemented!()
    }
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        unimplemented!()
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        unimplemented!()
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        unimplemented!()
    }
}
