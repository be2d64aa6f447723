//! The receiving half of a datagram socket.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use tyn_abi::{Errno, Sink, Source};

use super::Address;
use super::queue::{Credentials, DEFAULT_BUFFER, Queue, Received, Take};

/// Most datagrams that wait from senders that the receiver did not connect to, less one
/// (`/proc/sys/net/unix/max_dgram_qlen`).
const MAX_WAITING: usize = 10;

/// A received datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram<R> {
    /// Its contents.
    pub received: Received<R>,
    /// Who sent it.
    pub sender: Address,
}

/// Datagrams for one socket.
#[derive(Debug)]
pub struct Inbox<R> {
    queue: Queue<R>,
    /// The sender of each datagram in the queue.
    senders: VecDeque<Address>,
    is_closed: bool,
    /// Its socket receives no more.
    is_shut: bool,
}

impl<R: Clone> Default for Inbox<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Clone> Inbox<R> {
    /// Makes an empty inbox.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            queue: Queue::new(),
            senders: VecDeque::new(),
            is_closed: false,
            is_shut: false,
        }
    }

    /// Says who sends from now on.
    pub const fn set_writer(&mut self, writer: Credentials) {
        self.queue.set_writer(writer);
    }

    /// Returns the memory that the waiting messages take.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.queue.cost()
    }

    /// Returns whether a sender must wait. One that the receiver is connected to is limited by memory only.
    #[must_use]
    pub fn is_full(&self, is_peer: bool) -> bool {
        self.queue.cost() >= DEFAULT_BUFFER || !is_peer && self.queue.len() > MAX_WAITING
    }

    /// Delivers a datagram; rights that went along are taken out of `rights`.
    ///
    /// # Errors
    /// `ECONNREFUSED` when the receiver is closed, `EPIPE` when it receives no more, `EMSGSIZE` above the buffer size, `EAGAIN` when the inbox is full,
    /// `EFAULT`, `ENOMEM`.
    pub fn send(
        &mut self,
        src: &mut dyn Source,
        rights: &mut Vec<R>,
        sender: Address,
        is_peer: bool,
    ) -> Result<usize, Errno> {
        if self.is_closed {
            return Err(Errno::ECONNREFUSED);
        }
        if self.is_shut {
            return Err(Errno::EPIPE);
        }
        let len = src.remaining();
        if len > DEFAULT_BUFFER {
            return Err(Errno::EMSGSIZE);
        }
        if self.is_full(is_peer) {
            return Err(Errno::EAGAIN);
        }
        let count = self.queue.push(src, len, rights)?;
        self.senders.push_back(sender);
        Ok(count)
    }

    /// Receives a datagram. The flag tells whether the inbox was full before and no longer is.
    ///
    /// # Errors
    /// `EAGAIN`, `EFAULT` (the datagram stays).
    pub fn receive(
        &mut self,
        dst: &mut dyn Sink,
        take: Take,
    ) -> Result<(Datagram<R>, bool), Errno> {
        let was_full = self.is_full(false);
        let received = self.queue.receive_record(dst, take)?;
        let sender = match take {
            Take::Peek => self.senders.front().cloned(),
            Take::Remove => self.senders.pop_front(),
        };
        let datagram = Datagram {
            received,
            sender: sender.unwrap_or_default(),
        };
        Ok((datagram, was_full && !self.is_full(false)))
    }

    /// Returns whether there is nothing to receive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the length of the first datagram (`FIONREAD`).
    #[must_use]
    pub fn first_length(&self) -> usize {
        self.queue.first_length()
    }

    /// Returns whether the socket was closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns the rights that wait.
    pub fn rights(&self) -> impl Iterator<Item = &R> {
        self.queue.rights()
    }

    /// Takes the rights that wait away.
    pub fn take_rights(&mut self) -> Vec<R> {
        self.queue.take_rights()
    }

    /// Refuses further datagrams; those that wait can be received.
    pub const fn shut(&mut self) {
        self.is_shut = true;
    }

    /// Refuses further datagrams and returns the rights that nobody received, to be dropped by the caller.
    pub fn close(&mut self) -> Vec<R> {
        self.is_closed = true;
        self.senders.clear();
        self.queue.drain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn send(inbox: &mut Inbox<u8>, mut bytes: &[u8]) -> Result<usize, Errno> {
        inbox.send(&mut bytes, &mut vec![9], Address::autobind(1), false)
    }

    fn receive(inbox: &mut Inbox<u8>, len: usize) -> Result<(usize, usize, Vec<u8>), Errno> {
        let mut buf = vec![0; len];
        let (d, _) = inbox.receive(&mut &mut buf[..], Take::Remove)?;
        assert_eq!(d.sender, Address::autobind(1));
        Ok((d.received.count, d.received.full_length, d.received.rights))
    }

    #[test]
    fn datagrams_keep_their_boundaries() {
        let mut inbox = Inbox::new();
        assert_eq!(send(&mut inbox, b"hello"), Ok(5));
        assert_eq!(send(&mut inbox, b""), Ok(0));
        assert_eq!(inbox.first_length(), 5);
        assert_eq!(receive(&mut inbox, 2), Ok((2, 5, vec![9])));
        assert_eq!(receive(&mut inbox, 2), Ok((0, 0, vec![9])));
        assert_eq!(receive(&mut inbox, 2), Err(Errno::EAGAIN));
    }

    #[test]
    fn strangers_wait_at_the_eleventh_and_peers_do_not() {
        let mut inbox = Inbox::new();
        for _ in 0..11 {
            assert_eq!(send(&mut inbox, b"x"), Ok(1));
        }
        assert_eq!(send(&mut inbox, b"x"), Err(Errno::EAGAIN));
        let mut none: Vec<u8> = vec![];
        assert_eq!(
            inbox.send(&mut &b"y"[..], &mut none, Address::Unnamed, true),
            Ok(1)
        );
        let mut buf = [0; 4];
        assert!(!inbox.receive(&mut &mut buf[..], Take::Remove).unwrap().1);
        assert!(inbox.receive(&mut &mut buf[..], Take::Remove).unwrap().1);
        assert!(inbox.receive(&mut &mut buf[..], Take::Peek).is_ok());
    }

    #[test]
    fn closed_inbox_refuses_and_returns_rights() {
        let mut inbox = Inbox::new();
        send(&mut inbox, b"x").unwrap();
        assert!(!inbox.is_empty() && !inbox.is_closed());
        assert_eq!(inbox.close(), vec![9]);
        assert!(inbox.is_closed() && inbox.is_empty());
        assert_eq!(send(&mut inbox, b"x"), Err(Errno::ECONNREFUSED));
    }

    #[test]
    fn giant_datagram_is_refused() {
        let mut inbox = Inbox::new();
        assert_eq!(
            send(&mut inbox, &vec![0; DEFAULT_BUFFER + 1]),
            Err(Errno::EMSGSIZE)
        );
    }
}
