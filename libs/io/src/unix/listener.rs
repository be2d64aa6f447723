//! Connections that wait to be accepted.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use tyn_abi::Errno;

/// The queue of a listening socket.
#[derive(Debug)]
pub struct Backlog<C> {
    waiting: VecDeque<C>,
    limit: usize,
    is_closed: bool,
}

impl<C> Backlog<C> {
    /// Makes a queue for `limit` + 1 connections, as Linux counts.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit,
            is_closed: false,
        }
    }

    /// Sets the limit (a second `listen(2)`); returns whether there is room now and was not.
    pub fn set_limit(&mut self, limit: usize) -> bool {
        let was_full = self.is_full();
        self.limit = limit;
        was_full && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.waiting.len() > self.limit
    }

    /// Returns whether there is nothing to accept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds the connection that `make` makes, if there is room.
    ///
    /// # Errors
    /// `ECONNREFUSED` when the listener is closed, `EAGAIN` when the queue is full.
    pub fn connect(&mut self, make: impl FnOnce() -> C) -> Result<(), Errno> {
        if self.is_closed {
            return Err(Errno::ECONNREFUSED);
        }
        if self.is_full() {
            return Err(Errno::EAGAIN);
        }
        self.waiting.push_back(make());
        Ok(())
    }

    /// Takes the oldest connection, and tells whether the queue was full.
    ///
    /// # Errors
    /// `EAGAIN` when there is none, `EINVAL` when the listener was shut down.
    pub fn accept(&mut self) -> Result<(C, bool), Errno> {
        let was_full = self.is_full();
        match self.waiting.pop_front() {
            Some(connection) => Ok((connection, was_full)),
            None if self.is_closed => Err(Errno::EINVAL),
            None => Err(Errno::EAGAIN),
        }
    }

    /// Returns those that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &C> {
        self.waiting.iter()
    }

    /// Refuses further connections and returns those that were not accepted.
    pub fn close(&mut self) -> Vec<C> {
        self.is_closed = true;
        core::mem::take(&mut self.waiting).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn connections_are_accepted_in_order() {
        let mut b = Backlog::new(1);
        assert_eq!(b.accept(), Err(Errno::EAGAIN));
        assert_eq!(b.connect(|| 1), Ok(()));
        assert_eq!(b.connect(|| 2), Ok(()));
        assert_eq!(b.connect(|| 3), Err(Errno::EAGAIN));
        assert_eq!(b.accept(), Ok((1, true)));
        assert_eq!(b.accept(), Ok((2, false)));
        assert!(b.is_empty());
    }

    #[test]
    fn greater_limit_makes_room() {
        let mut b = Backlog::new(0);
        assert!(!b.set_limit(0));
        b.connect(|| 1).unwrap();
        assert!(b.set_limit(5));
        assert_eq!(b.connect(|| 2), Ok(()));
    }

    #[test]
    fn closed_listener_refuses() {
        let mut b = Backlog::new(5);
        b.connect(|| 1).unwrap();
        assert_eq!(b.close(), vec![1]);
        assert_eq!(b.connect(|| 2), Err(Errno::ECONNREFUSED));
        assert_eq!(b.accept(), Err(Errno::EINVAL));
    }
}
