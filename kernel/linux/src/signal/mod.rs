//! Signals: sending, pending, delivery.

/// A thread's mask, pending signals and alternate stack.
#[derive(Debug)]
pub struct ThreadSignals;

/// A process's actions and shared pending signals.
#[derive(Debug)]
pub struct ProcessSignals;

impl ThreadSignals {
    /// Returns whether a signal that is not blocked is pending for the thread or its process.
    #[must_use]
    pub fn has_deliverable(&self, thread: &crate::thread::Thread) -> bool {
        let _ = thread;
        unimplemented!()
    }
}
