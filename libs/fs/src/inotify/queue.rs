//! The events of one instance that were not read yet.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use tyn_abi::inotify::{EVENT_LEN, Inotify};
use tyn_abi::{Errno, Sink};

/// Most events that wait (`fs.inotify.max_queued_events`).
pub const MAX_QUEUED_EVENTS: usize = 16_384;

/// `struct inotify_event` before it is laid out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) wd: i32,
    pub(super) mask: Inotify,
    pub(super) cookie: u32,
    pub(super) name: Box<[u8]>,
}

impl Event {
    fn overflow() -> Self {
        Self {
            wd: -1,
            mask: Inotify::Q_OVERFLOW,
            cookie: 0,
            name: Box::default(),
        }
    }

    /// Length of the name with its NUL and what pads it.
    fn padded(&self) -> usize {
        match self.name.len() {
            0 => 0,
            len => (len + 1).next_multiple_of(EVENT_LEN),
        }
    }

    fn len(&self) -> usize {
        EVENT_LEN + self.padded()
    }

    /// Whether it tells nothing that `last`, the event before it, does not.
    fn repeats(&self, last: &Self) -> bool {
        let is_same = |e: &Self| (e.wd, e.mask);
        is_same(self) == is_same(last)
            && self.name == last.name
            && !last.mask.contains(Inotify::IGNORED)
    }

    fn write_to(&self, dst: &mut dyn Sink) -> Result<(), Errno> {
        let padded = self.padded();
        let words = [
            self.wd.cast_unsigned(),
            self.mask.bits(),
            self.cookie,
            u32::try_from(padded).map_err(|_| Errno::EINVAL)?,
        ];
        let mut head = [0; EVENT_LEN];
        for (bytes, word) in head.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        dst.write_all(&head)?;
        dst.write_all(&self.name)?;
        dst.write_zeros(padded - self.name.len())
    }
}

/// A queue of events, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    /// What reading all would take.
    bytes: usize,
    /// Whether one of them tells that the queue was full.
    tells_overflow: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns how many bytes reading all would take (`FIONREAD`).
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event unless it repeats the last one; when the queue is full, that is told instead, once.
    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() >= MAX_QUEUED_EVENTS {
            if !self.tells_overflow {
                self.tells_overflow = true;
                self.add(Event::overflow());
            }
            return;
        }
        if !self.events.back().is_some_and(|last| event.repeats(last)) {
            self.add(event);
        }
    }

    fn add(&mut self, event: Event) {
        self.bytes += event.len();
        self.events.push_back(event);
    }

    /// Moves events to `dst`, as many as fit whole, and returns their bytes.
    ///
    /// # Errors
    /// `EAGAIN` when there are none, `EINVAL` when not even the first one fits, `EFAULT`.
    pub(super) fn read(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        while let Some(event) = self.events.front() {
            if event.len() > dst.remaining() {
                break;
            }
            let len = event.len();
            // As on Linux, an event whose copy fails is gone; what was read before it counts.
            let copied = event.write_to(dst);
            self.tells_overflow &= !event.mask.contains(Inotify::Q_OVERFLOW);
            self.bytes -= len;
            self.events.pop_front();
            match copied {
                Ok(()) => done += len,
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            }
        }
        match done {
            0 if self.is_empty() => Err(Errno::EAGAIN),
            0 => Err(Errno::EINVAL),
            done => Ok(done),
        }
    }
}
