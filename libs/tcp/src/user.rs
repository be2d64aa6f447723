//! What a program does with a connection.

use alloc::vec::Vec;

use tyn_abi::{Errno, Nanos, Sink, Source};

use crate::connection::{Connection, End, Policy, State};
use crate::seq::Seq;

/// Queues grow no further at a time than to twice what there was.
const GROWTH: usize = 2;

impl Connection {
    /// Changes what the program asks for.
    pub fn set_policy(&mut self, policy: Policy) {
        if policy.keep_alive != self.policy.keep_alive {
            self.probes = 0;
        }
        self.congestion.set_algorithm(policy.algorithm);
        self.policy = policy;
    }

    /// Returns what the program asks for.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Says how great the memory of a queue may become from now on, if it is not greater. (A queue that grows moves into a
    /// new piece of memory beside its old one.)
    pub fn set_spare(&mut self, bytes: usize) {
        self.spare = bytes;
    }

    /// Says that the program has gone, and no longer waits for what is left to be sent.
    pub fn set_orphan(&mut self, now: Nanos) {
        self.orphaned_at.get_or_insert(now);
    }

    /// Lets acknowledgements wait for company, also that of a SYN|ACK to come, or no longer, which sends one that waits if all
    /// was read (`TCP_QUICKACK`). Returns whether one waited.
    pub fn delay_acks(&mut self, delays: bool) -> bool {
        self.is_interactive = delays;
        let is_open = matches!(self.state, State::Established | State::CloseWait);
        let waits = is_open && self.ack_at.is_some();
        self.ack_now |= !delays && waits && self.readable() == 0;
        waits
    }

    /// Returns whether acknowledgements wait for company.
    #[must_use]
    pub fn delays_acks(&self) -> bool {
        self.is_interactive
    }

    /// Holds back what fills no segment (`TCP_CORK`, `MSG_MORE`), or lets it go. Nothing is held once no more can be written.
    pub fn set_held(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Returns how many bytes are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.fin_number().beyond(self.next) - self.sendable()
    }

    /// Returns the bytes of memory of both queues, and of the lists that belong to them.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.send.capacity() + self.receive.memory() + self.board.memory()
    }

    /// Returns how many bytes were written and are not acknowledged.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.send.len()
    }

    /// Returns how many bytes may be written now: what the queue has room for, and not more than the program wants to wait
    /// to be sent. Where it wants some, there is room for a segment.
    #[must_use]
    pub fn send_room(&self) -> usize {
        let room = self.send_capacity().saturating_sub(self.send.len());
        match self.policy.most_unsent.saturating_sub(self.never_sent()) {
            0 => 0,
            wanted => room.min(wanted.max(self.payload_size())),
        }
    }

    /// Returns how many bytes were written and never sent.
    fn never_sent(&self) -> usize {
        self.fin_number().beyond(self.next)
    }

    /// Returns whether enough of the queue is free to be worth a write: a third, and half of what may wait to be sent, as on
    /// Linux.
    #[must_use]
    pub fn is_worth_a_write(&self) -> bool {
        let capacity = self.send_capacity();
        let free = capacity.saturating_sub(self.send.len());
        free * 3 >= capacity && self.never_sent() * 2 < self.policy.most_unsent
    }

    /// Returns how many bytes the send queue may have: it follows the congestion window.
    #[must_use]
    pub fn send_capacity(&self) -> usize {
        let (least, most) = self.send_limit;
        let wanted = (self.congestion.window as usize * 2).clamp(least, most.max(least));
        wanted.min(self.send.capacity().max(self.spare))
    }

    /// Returns whether the program may write.
    #[must_use]
    pub fn may_send(&self) -> bool {
        !self.is_finished && matches!(self.state, State::Established | State::CloseWait)
    }

    /// Appends bytes of `src` to the send queue and returns how many.
    ///
    /// # Errors
    /// `EPIPE` when nothing more can be sent; that of `src`.
    pub fn write(&mut self, src: &mut dyn Source) -> Result<usize, Errno> {
        if !self.may_send() {
            return Err(Errno::EPIPE);
        }
        let capacity = self.send.len() + self.send_room();
        let wanted = self.send.len() + src.remaining();
        self.send.reserve(wanted.min(capacity), capacity);
        if self.send.capacity() < wanted.min(capacity) {
            // It could not grow: what the queue may have is what it has, until memory is given anew.
            self.spare = 0;
        }
        let room = capacity.saturating_sub(self.send.len());
        self.send.append(src, room)
    }

    /// Returns how many received bytes can be read.
    #[must_use]
    pub fn readable(&self) -> usize {
        self.receive.ring.len()
    }

    /// Returns how many bytes may wait to be read.
    #[must_use]
    pub fn receive_capacity(&self) -> usize {
        self.receive_limit.0
    }

    /// Copies received bytes to `dst` and returns how many; they stay.
    ///
    /// # Errors
    /// That of `dst`.
    pub fn peek(&self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        self.receive.ring.copy_to(dst)
    }

    /// Moves received bytes to `dst` and returns how many.
    ///
    /// # Errors
    /// That of `dst`.
    pub fn read(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let count = self.receive.ring.copy_to(dst)?;
        self.discard(count);
        Ok(count)
    }

    /// Drops up to `len` received bytes and returns how many.
    pub fn discard(&mut self, len: usize) -> usize {
        let count = len.min(self.readable());
        self.receive.ring.consume(count);
        self.tune_receive(count);
        // A program that has read all and has nothing to say keeps a peer waiting whose window is full.
        let is_due = self.readable() == 0 && self.ack_at.is_some() && !self.is_interactive;
        if (is_due || self.opens_window()) && !self.has_peer_finished() {
            self.ack_now = true;
        }
        count
    }

    /// Lets the window grow when a whole one was read and the program keeps up.
    fn tune_receive(&mut self, count: usize) {
        let (limit, most) = self.receive_limit;
        if limit >= most {
            return;
        }
        self.read_since += count;
        if self.read_since < limit {
            return;
        }
        self.read_since = 0;
        if self.readable() < limit / 4 {
            self.receive_limit.0 = (limit * GROWTH).min(most);
        }
    }

    /// Takes all received bytes out.
    pub fn take_unread(&mut self) -> Vec<u8> {
        self.receive.ring.take_all()
    }

    /// Returns whether the peer sends no more.
    #[must_use]
    pub fn has_peer_finished(&self) -> bool {
        matches!(
            self.state,
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed
        )
    }

    /// Sends no more than what was written (RFC 9293 §3.10.4).
    pub fn shut_down(&mut self) {
        self.is_finished = true;
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
    }

    /// Ends the connection; the peer hears of it if it knows of the connection (RFC 9293 §3.10.5).
    pub fn abort(&mut self) {
        self.reset_due = !matches!(self.state, State::SynSent | State::TimeWait | State::Closed);
        self.finish(End::Aborted);
    }

    /// Returns whether the connection has nothing to do, keeps nothing, and waits for nothing but the peer or its program.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.state == State::Established
            && self.board.is_empty()
            && self.send.is_empty()
            && self.receive.ring.is_empty()
            && !self.receive.has_islands()
            && !self.ack_now
            && self.ack_at.is_none()
            && !self.is_finished
    }

    /// Gives memory back that nothing is in.
    pub fn release(&mut self) {
        self.send.release();
        self.receive.release();
        self.board.release();
    }

    /// Returns whether nothing is left to be sent.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        !self.ack_now && !self.reset_due && self.stray_reset.is_none()
    }

    /// Returns the number of the next byte that will be sent for the first time, and the oldest unacknowledged one.
    #[must_use]
    pub fn sent(&self) -> (Seq, Seq) {
        (self.next, self.unacknowledged)
    }

    /// Returns when the peer was last heard.
    #[must_use]
    pub fn last_received(&self) -> Nanos {
        self.last_received
    }
}
