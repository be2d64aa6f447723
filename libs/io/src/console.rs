//! What a console driver offers to the tty above it.

use alloc::sync::Arc;

/// Who hears of a console's events. Called in interrupt context: it must not block.
pub trait ConsoleListener: Send + Sync {
    /// Bytes arrived.
    fn received(&self, bytes: &[u8]);

    /// There is room for output again, after a [`ConsoleDevice::write`] that took only a part.
    fn writable(&self);
}

/// A byte-wise console: a serial port, virtio-console.
pub trait ConsoleDevice: Send + Sync {
    /// Takes as many of `bytes` as there is room for, to be put out in order and unchanged, and returns the count. Bytes of
    /// two calls never mix. When the count is short, [`ConsoleListener::writable`] follows.
    fn write(&self, bytes: &[u8]) -> usize;

    /// Sets who hears of input and of room for output; a second call replaces the listener.
    fn set_listener(&self, listener: Arc<dyn ConsoleListener>);
}
