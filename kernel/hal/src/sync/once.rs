//! A value that is set once, early, and read ever after.

use core::cell::UnsafeCell;

/// A cell that is written at most once.
#[derive(Debug)]
pub struct Once<T> {
    _value: UnsafeCell<Option<T>>,
}

// SAFETY: (stub) written once before it is shared.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Makes an empty cell.
    #[expect(
        clippy::new_without_default,
        reason = "a static; `Default` would not be const"
    )]
    pub const fn new() -> Self {
        Self {
            _value: UnsafeCell::new(None),
        }
    }

    /// Sets the value and returns it.
    ///
    /// # Panics
    /// When it is set already.
    pub fn set(&self, value: T) -> &T {
        let _ = value;
        unimplemented!()
    }

    /// Returns the value, if set.
    pub fn get(&self) -> Option<&T> {
        unimplemented!()
    }
}
