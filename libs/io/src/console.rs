//! What a console driver offers to the tty above it.

use alloc::boxed::Box;

/// Takes bytes that a console received; called in interrupt context, so it must not block.
pub type ConsoleInput = Box<dyn Fn(&[u8]) + Send + Sync>;

/// A byte-wise console: a serial port, virtio-console.
pub trait ConsoleDevice: Send + Sync {
    /// Puts out all of `bytes`, in order and unchanged; bytes of two calls never mix. The driver queues what the device
    /// does not take at once.
    fn write(&self, bytes: &[u8]);

    /// Sets who gets received bytes. Bytes received before are handed over first; a second call replaces the receiver.
    fn set_input(&self, input: ConsoleInput);
}
