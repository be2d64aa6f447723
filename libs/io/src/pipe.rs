//! The pipe buffer (`pipe(7)`).
//!
//! As in Linux, a pipe is a ring of up to 16 slots (by default) of one page each, which come into being as they are
//! filled. A write's odd part (its length modulo the page size) is appended to the last slot when it fits there whole;
//! everything else starts new slots. Which writes are short, which are refused and that writes of up to
//! [`PIPE_BUF`] bytes are never split all follow from that.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use tyn_abi::{Errno, Events, PAGE_SIZE, Sink, Source};

/// Writes of at most this many bytes are atomic.
pub const PIPE_BUF: usize = PAGE_SIZE;
/// Slots of a new pipe: 64 KiB.
const DEFAULT_SLOTS: usize = 16;
/// Most bytes that `F_SETPIPE_SZ` grants (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

/// A page's worth of bytes or less; those before `start` were read.
#[derive(Debug)]
struct Slot {
    data: Vec<u8>,
    start: usize,
    /// It is read alone, and what a read leaves of it is lost (`O_DIRECT`).
    is_packet: bool,
}

/// One side of a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The reading end.
    Read,
    /// The writing end.
    Write,
}

/// What a transfer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Bytes moved.
    pub count: usize,
    /// Whether the other end must be told: a write put bytes in; a read made room in a full pipe.
    pub wakes_other_end: bool,
}

/// A pipe with both its ends.
///
/// # Invariants
/// - A slot is never empty and holds at most a page.
/// - There are never more slots than `max_slots`, but for bytes that were put back.
#[derive(Debug)]
pub struct Pipe {
    slots: VecDeque<Slot>,
    max_slots: usize,
    /// A page kept for the next write.
    spare: Option<Vec<u8>>,
    readers: usize,
    writers: usize,
    /// How often each end was opened. Without a writer ever, a reader sees no hang-up (`fifo(7)`).
    reader_opens: u64,
    writer_opens: u64,
    /// Each write of at most a page is read by itself (`O_DIRECT`).
    makes_packets: bool,
}

impl Default for Pipe {
    fn default() -> Self {
        Self::new()
    }
}

impl Pipe {
    /// Makes an empty pipe of 64 KiB that nobody has open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            max_slots: DEFAULT_SLOTS,
            spare: None,
            readers: 0,
            writers: 0,
            reader_opens: 0,
            makes_packets: false,
            writer_opens: 0,
        }
    }

    /// Makes an empty pipe whose writes stay apart (`O_DIRECT` of `pipe2(2)`).
    #[must_use]
    pub const fn of_packets() -> Self {
        let mut pipe = Self::new();
        pipe.makes_packets = true;
        pipe
    }

    /// Counts one more open description of `end`.
    pub fn open(&mut self, end: End) {
        match end {
            End::Read => {
                self.readers += 1;
                self.reader_opens += 1;
            }
            End::Write => {
                self.writers += 1;
                self.writer_opens += 1;
            }
        }
    }

    /// Returns how often `end` was opened.
    #[must_use]
    pub fn opens(&self, end: End) -> u64 {
        match end {
            End::Read => self.reader_opens,
            End::Write => self.writer_opens,
        }
    }

    /// Returns whether anybody has `end` open.
    #[must_use]
    pub fn is_open(&self, end: End) -> bool {
        match end {
            End::Read => self.readers > 0,
            End::Write => self.writers > 0,
        }
    }

    /// Returns whether nobody has either end open.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.readers == 0 && self.writers == 0
    }

    /// Counts one description of `end` less; returns whether it was the last, which the other end must be told.
    ///
    /// # Panics
    /// When `end` is not open.
    pub fn close(&mut self, end: End) -> bool {
        let count = match end {
            End::Read => &mut self.readers,
            End::Write => &mut self.writers,
        };
        *count = count
            .checked_sub(1)
            .expect("invariant: only open ends are closed");
        if self.is_closed() {
            self.slots.clear();
            self.spare = None;
        }
        *match end {
            End::Read => &self.readers,
            End::Write => &self.writers,
        } == 0
    }

    /// Returns the number of bytes that can be read (`FIONREAD`).
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.iter().map(|s| s.data.len() - s.start).sum()
    }

    /// Returns whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn is_full(&self) -> bool {
        self.slots.len() >= self.max_slots
    }

    /// Returns how many pages hold something.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.slots.len()
    }

    /// Returns the capacity in bytes (`F_GETPIPE_SZ`).
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.max_slots * PAGE_SIZE
    }

    /// Sets the capacity (`F_SETPIPE_SZ`), rounded up to a power of two of pages, and returns it.
    ///
    /// # Errors
    /// `EINVAL` above 2 GiB, `EPERM` above [`MAX_CAPACITY`] (nobody has `CAP_SYS_RESOURCE` here), `EBUSY` when more slots
    /// than that are in use.
    pub fn set_capacity(&mut self, bytes: usize) -> Result<usize, Errno> {
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let bytes = bytes.next_power_of_two().max(PAGE_SIZE);
        if bytes > MAX_CAPACITY && bytes > self.capacity() {
            return Err(Errno::EPERM);
        }
        let slots = bytes / PAGE_SIZE;
        if slots < self.slots.len() {
            return Err(Errno::EBUSY);
        }
        self.max_slots = slots;
        Ok(self.capacity())
    }

    /// Reads what is there, up to what `dst` takes. A count of 0 is the end of the file (or an empty `dst`).
    ///
    /// # Errors
    /// `EAGAIN` when the pipe is empty and has writers; `EFAULT` when nothing could be copied.
    pub fn read(&mut self, dst: &mut dyn Sink) -> Result<Moved, Errno> {
        let was_full = self.is_full();
        let mut count = 0;
        while dst.remaining() > 0 {
            let Some(slot) = self.slots.front_mut() else {
                break;
            };
            let unread = slot.data.get(slot.start..).unwrap_or_default();
            let chunk = unread.get(..dst.remaining()).unwrap_or(unread);
            if let Err(e) = dst.write_all(chunk) {
                if count == 0 {
                    return Err(e);
                }
                break;
            }
            count += chunk.len();
            slot.start += chunk.len();
            let is_packet = slot.is_packet;
            if is_packet || slot.start == slot.data.len() {
                self.spare = self.slots.pop_front().map(|s| s.data);
            }
            if is_packet {
                break;
            }
        }
        if count == 0 && dst.remaining() > 0 && self.writers > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(Moved {
            count,
            wakes_other_end: was_full && !self.is_full(),
        })
    }

    /// Writes from `src` what fits now; the count is short when the rest must wait.
    ///
    /// # Errors
    /// `EPIPE` when there is no reader (the caller raises SIGPIPE); `EAGAIN` when nothing fits now, which for writes of
    /// up to [`PIPE_BUF`] bytes means that not all of it does; `EFAULT`, `ENOMEM` when nothing was written.
    pub fn write(&mut self, src: &mut dyn Source) -> Result<Moved, Errno> {
        let total = src.remaining();
        let moved = |count| Moved {
            count,
            wakes_other_end: count > 0,
        };
        if total == 0 {
            return Ok(moved(0));
        }
        if self.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let mut count = self.append_to_last(total % PAGE_SIZE, src)?;
        while count < total {
            match self.add_slot((total - count).min(PAGE_SIZE), src) {
                Ok(added) => count += added,
                Err(e) if count == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(moved(count))
    }

    /// Appends `len` bytes to the last slot if they fit there whole; returns how many it appended.
    fn append_to_last(&mut self, len: usize, src: &mut dyn Source) -> Result<usize, Errno> {
        match self.slots.back_mut() {
            Some(slot) if !slot.is_packet && slot.data.len() + len <= PAGE_SIZE => {
                fill(&mut slot.data, len, src)
            }
            _ => Ok(0),
        }
    }

    /// Moves `len` bytes, at most a page, into a new slot; returns `len`.
    fn add_slot(&mut self, len: usize, src: &mut dyn Source) -> Result<usize, Errno> {
        if self.is_full() {
            return Err(Errno::EAGAIN);
        }
        let mut data = self.spare.take().unwrap_or_default();
        data.clear();
        data.try_reserve_exact(PAGE_SIZE)
            .map_err(|_| Errno::ENOMEM)?;
        fill(&mut data, len, src)?;
        self.slots.push_back(Slot {
            data,
            start: 0,
            is_packet: self.makes_packets,
        });
        Ok(len)
    }

    /// Returns how many bytes a write that starts new slots can put in now.
    ///
    /// # Errors
    /// `EPIPE` when there is no reader.
    pub fn room(&self) -> Result<usize, Errno> {
        if self.readers == 0 {
            return Err(Errno::EPIPE);
        }
        Ok(self.max_slots.saturating_sub(self.slots.len()) * PAGE_SIZE)
    }

    /// Copies up to `len` bytes without taking them out (`tee(2)`); `None` when the pipe is empty and has writers.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn peek(&self, len: usize) -> Result<Option<Vec<u8>>, Errno> {
        if self.is_empty() && self.writers > 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        for slot in &self.slots {
            let unread = slot.data.get(slot.start..).unwrap_or_default();
            let part = unread.get(..len - bytes.len()).unwrap_or(unread);
            bytes.try_reserve(part.len()).map_err(|_| Errno::ENOMEM)?;
            bytes.extend_from_slice(part);
        }
        Ok(Some(bytes))
    }

    /// Puts back, before all others, bytes that were read and that nobody took (`splice(2)`).
    pub fn put_back(&mut self, bytes: &[u8]) {
        for piece in bytes.rchunks(PAGE_SIZE) {
            self.slots.push_front(Slot {
                data: piece.to_vec(),
                start: 0,
                is_packet: false,
            });
        }
    }

    /// Returns what `end` is ready for.
    #[must_use]
    pub fn poll(&self, end: End) -> Events {
        let mut events = Events::empty();
        match end {
            End::Read => {
                events.set(Events::IN | Events::RDNORM, !self.is_empty());
                events.set(Events::HUP, self.writers == 0 && self.writer_opens > 0);
            }
            End::Write => {
                events.set(Events::OUT | Events::WRNORM, !self.is_full());
                events.set(Events::ERR, self.readers == 0);
            }
        }
        events
    }
}

/// Appends `len` bytes of `src` to `data`, all or none; returns `len`. The capacity was reserved.
fn fill(data: &mut Vec<u8>, len: usize, src: &mut dyn Source) -> Result<usize, Errno> {
    let old = data.len();
    data.resize(old + len, 0);
    let result = src.read_exact(data.get_mut(old..).unwrap_or_default());
    if result.is_err() {
        data.truncate(old);
    }
    result.map(|()| len)
}

#[cfg(test)]
mod tests;
