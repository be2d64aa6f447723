//! A value that is set once, early, and read ever after.

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const WRITING: u8 = 1;
const SET: u8 = 2;

/// A cell that is written at most once.
pub struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one caller (state EMPTY to WRITING) before it is shared (state SET, released).
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY: the cell owns its value.
unsafe impl<T: Send> Send for Once<T> {}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl<T> Once<T> {
    /// Makes an empty cell.
    #[expect(
        clippy::new_without_default,
        reason = "a static; `Default` would not be const"
    )]
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Sets the value and returns it.
    ///
    /// # Panics
    /// When it is set already.
    pub fn set(&self, value: T) -> &T {
        claim(&self.state);
        // SAFETY: the state makes us the only one who touches the cell.
        let slot = unsafe { &mut *self.value.get() };
        let value = slot.write(value);
        self.state.store(SET, Ordering::Release);
        value
    }

    /// Returns the value, if set.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: SET was stored after the value, which nobody changes any more.
        let slot = unsafe { &*self.value.get() };
        // SAFETY: as above: it is initialised.
        Some(unsafe { slot.assume_init_ref() })
    }
}

/// Makes the caller the one who writes.
#[inline(never)]
fn claim(state: &AtomicU8) {
    let claimed = state.compare_exchange(EMPTY, WRITING, Ordering::Acquire, Ordering::Relaxed);
    assert!(claimed.is_ok(), "a Once was set twice");
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: SET means initialised, and nobody else has the cell.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_absent_then_present() {
        let once = Once::new();
        assert!(once.get().is_none());
        assert_eq!(*once.set(7), 7);
        assert_eq!(once.get(), Some(&7));
    }
}
