//! Signals: sending, pending, delivery.

/// A thread's mask, pending signals and alternate stack.
#[derive(Debug)]
pub struct ThreadSignals;

/// A process's actions and shared pending signals.
#[derive(Debug)]
pub struct ProcessSignals;
