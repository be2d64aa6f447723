//! Connections that wait to be accepted.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use tyn_abi::{Errno, Events};

use super::Shutdown;

/// The queue of a listening socket.
#[derive(Debug)]
pub struct Backlog<C> {
    waiting: VecDeque<C>,
    limit: usize,
    shutdown: Shutdown,
}

impl<C> Backlog<C> {
    /// Makes a queue for `limit` + 1 connections, as Linux counts.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit,
            shutdown: Shutdown::empty(),
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

    fn is_shut(&self) -> bool {
        self.shutdown.contains(Shutdown::RECEIVE)
    }

    /// Returns what the listening socket is ready for.
    #[must_use]
    pub fn poll(&self) -> Events {
        let mut events = Events::empty();
        events.set(Events::HUP, self.shutdown.is_all());
        events.set(Events::RDHUP, self.is_shut());
        events.set(
            Events::IN | Events::RDNORM,
            self.is_shut() || !self.waiting.is_empty(),
        );
        events
    }

    /// Adds the connection that `make` makes, if there is room.
    ///
    /// # Errors
    /// `ECONNREFUSED` when the listener is closed, `EAGAIN` when the queue is full.
    pub fn connect(&mut self, make: impl FnOnce() -> C) -> Result<(), Errno> {
        if self.is_shut() {
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
            None if self.is_shut() => Err(Errno::EINVAL),
            None => Err(Errno::EAGAIN),
        }
    }

    /// Returns those that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &C> {
        self.waiting.iter()
    }

    /// Shuts halves down: without the receiving one further connections are refused, and those that wait can be accepted.
    pub fn shut(&mut self, how: Shutdown) {
        self.shutdown |= how;
    }

    /// Refuses further connections and returns those that were not accepted.
    pub fn close(&mut self) -> Vec<C> {
        self.shutdown = Shutdown::all();
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
        assert_eq!(b.poll(), Events::empty());
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
    fn shut_listener_refuses_who_comes_and_not_who_waits() {
        let mut b = Backlog::new(5);
        b.connect(|| 1).unwrap();
        b.shut(Shutdown::SEND);
        assert_eq!(b.connect(|| 2), Ok(()));
        b.shut(Shutdown::RECEIVE);
        assert_eq!(b.connect(|| 3), Err(Errno::ECONNREFUSED));
        assert_eq!(b.accept(), Ok((1, false)));
        assert_eq!(b.accept(), Ok((2, false)));
        assert_eq!(b.accept(), Err(Errno::EINVAL));
        let events = Events::IN | Events::RDNORM | Events::HUP | Events::RDHUP;
        assert_eq!(b.poll(), events);
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
