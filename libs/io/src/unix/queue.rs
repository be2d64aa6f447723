//! What was sent and not yet received: bytes or records, and the rights that go with them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use tyn_abi::{Errno, PAGE_SIZE, Sink, Source};

/// Memory that unreceived messages may take, unless `SO_SNDBUF` says otherwise (`/proc/sys/net/core/wmem_default`).
pub const DEFAULT_BUFFER: usize = 212_992;
/// What a message costs beside its bytes.
const OVERHEAD: usize = 256;
/// Most bytes of a stream that are sent as one message with rights: reading stops at its end.
const RIGHTS_CHUNK: usize = 32 * 1024;

/// What a receive does with what it finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// Removes it.
    Remove,
    /// Leaves it (`MSG_PEEK`).
    Peek,
}

/// Who somebody is (`struct ucred`, `unix(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credentials {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Credentials {
    /// Nobody: no peer.
    pub const NONE: Self = Self {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };

    /// Returns the structure.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [self.pid, self.uid, self.gid]
            .map(u32::to_le_bytes)
            .concat()
    }
}

/// What was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received<R> {
    /// Bytes stored.
    pub count: usize,
    /// Length of the record, which may exceed `count` (`MSG_TRUNC`); same as `count` for streams.
    pub full_length: usize,
    /// Rights that came along.
    pub rights: Vec<R>,
    /// Who sent it; all zero for the end of a stream.
    pub writer: Credentials,
}

#[derive(Debug)]
struct Message<R> {
    data: Vec<u8>,
    start: usize,
    rights: Vec<R>,
    /// Whether more bytes of a stream may be appended.
    is_open: bool,
    writer: Credentials,
}

impl<R> Message<R> {
    fn cost(&self) -> usize {
        self.data.capacity() + OVERHEAD
    }

    fn unread(&self) -> &[u8] {
        self.data.get(self.start..).unwrap_or_default()
    }
}

/// Messages in order.
///
/// # Invariants
/// - `cost` is the sum of the messages' costs.
/// - In a stream, no message is read to its end.
#[derive(Debug)]
pub(super) struct Queue<R> {
    messages: VecDeque<Message<R>>,
    cost: usize,
    /// Who sends next.
    writer: Credentials,
    /// A stream's bytes are received apart from those of others.
    is_apart: bool,
}

impl<R: Clone> Queue<R> {
    pub(super) const fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            cost: 0,
            writer: Credentials {
                pid: 0,
                uid: 0,
                gid: 0,
            },
            is_apart: false,
        }
    }

    /// Says who sends from now on.
    pub(super) const fn set_writer(&mut self, writer: Credentials) {
        self.writer = writer;
    }

    /// Says whether a stream's bytes are received apart from those of others.
    pub(super) const fn set_apart(&mut self, is_apart: bool) {
        self.is_apart = is_apart;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns the memory that the messages take.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    /// Returns the number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns the number of bytes that wait, or of the first record's (`FIONREAD`).
    pub(super) fn unread(&self) -> usize {
        self.messages.iter().map(|m| m.unread().len()).sum()
    }

    /// Returns the length of the first record.
    pub(super) fn first_length(&self) -> usize {
        self.messages.front().map_or(0, |m| m.unread().len())
    }

    /// Appends bytes of a stream while the queue's cost is below `limit`; rights go with the first of them.
    ///
    /// # Errors
    /// `EAGAIN` when nothing fits, `EFAULT`, `ENOMEM`; `rights` are then left to the caller.
    pub(super) fn send_bytes(
        &mut self,
        src: &mut dyn Source,
        rights: &mut Vec<R>,
        limit: usize,
    ) -> Result<usize, Errno> {
        let total = src.remaining();
        let mut count = 0;
        while count < total {
            let left = total - count;
            let sent = if self.cost >= limit {
                Err(Errno::EAGAIN)
            } else if rights.is_empty() {
                self.append(src, left)
            } else {
                self.push(src, left.min(RIGHTS_CHUNK), rights)
            };
            match sent {
                Ok(n) => count += n,
                Err(e) if count == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// Appends up to `len` bytes to the last message, if that is a page with room, or as a new page.
    fn append(&mut self, src: &mut dyn Source, len: usize) -> Result<usize, Errno> {
        if !self
            .messages
            .back()
            .is_some_and(|m| m.is_open && m.data.len() < PAGE_SIZE && m.writer == self.writer)
        {
            let mut data = Vec::new();
            data.try_reserve_exact(PAGE_SIZE)
                .map_err(|_| Errno::ENOMEM)?;
            let message = Message {
                data,
                start: 0,
                rights: Vec::new(),
                is_open: true,
                writer: self.writer,
            };
            return self.fill_and_push(message, src, len.min(PAGE_SIZE));
        }
        let Some(message) = self.messages.back_mut() else {
            return Ok(0);
        };
        let old = message.data.len();
        let len = len.min(PAGE_SIZE - old);
        message.data.resize(old + len, 0);
        let copied = src.read_exact(message.data.get_mut(old..).unwrap_or_default());
        if copied.is_err() {
            message.data.truncate(old);
        }
        copied.map(|()| len)
    }

    /// Appends a record of `len` bytes with its rights.
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM`; `rights` are then left to the caller.
    pub(super) fn push(
        &mut self,
        src: &mut dyn Source,
        len: usize,
        rights: &mut Vec<R>,
    ) -> Result<usize, Errno> {
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        let message = Message {
            data,
            start: 0,
            rights: Vec::new(),
            is_open: false,
            writer: self.writer,
        };
        let sent = self.fill_and_push(message, src, len)?;
        if let Some(message) = self.messages.back_mut() {
            message.rights = mem::take(rights);
        }
        Ok(sent)
    }

    fn fill_and_push(
        &mut self,
        mut message: Message<R>,
        src: &mut dyn Source,
        len: usize,
    ) -> Result<usize, Errno> {
        message.data.resize(len, 0);
        src.read_exact(&mut message.data)?;
        self.cost += message.cost();
        self.messages.push_back(message);
        Ok(len)
    }

    fn pop(&mut self) -> Option<Message<R>> {
        let message = self.messages.pop_front()?;
        self.cost -= message.cost();
        Some(message)
    }

    /// Receives bytes of a stream, over message boundaries, up to the end of the first message with rights.
    ///
    /// # Errors
    /// `EAGAIN` when the queue is empty, `EFAULT` when nothing could be stored.
    pub(super) fn receive_bytes(
        &mut self,
        dst: &mut dyn Sink,
        take: Take,
    ) -> Result<Received<R>, Errno> {
        let mut count = 0;
        let mut rights = Vec::new();
        let mut index = 0;
        let writer = self.messages.front().map(|m| m.writer).unwrap_or_default();
        while let Some(message) = self.messages.get_mut(index) {
            if self.is_apart && message.writer != writer {
                break;
            }
            let chunk = message.unread();
            let chunk = chunk.get(..dst.remaining()).unwrap_or(chunk);
            let len = chunk.len();
            if let Err(e) = dst.write_all(chunk) {
                if count == 0 {
                    return Err(e);
                }
                break;
            }
            count += len;
            match take {
                Take::Peek => {
                    rights.clone_from(&message.rights);
                    index += 1;
                }
                Take::Remove => {
                    rights = mem::take(&mut message.rights);
                    message.start += len;
                    if message.start < message.data.len() {
                        break;
                    }
                    drop(self.pop());
                }
            }
            if !rights.is_empty() || dst.remaining() == 0 {
                break;
            }
        }
        if count == 0 && index == 0 && rights.is_empty() && self.is_empty() {
            return Err(Errno::EAGAIN);
        }
        Ok(Received {
            count,
            full_length: count,
            rights,
            writer,
        })
    }

    /// Receives one record; what `dst` does not take of it is lost.
    ///
    /// # Errors
    /// `EAGAIN` when the queue is empty, `EFAULT` (the record stays).
    pub(super) fn receive_record(
        &mut self,
        dst: &mut dyn Sink,
        take: Take,
    ) -> Result<Received<R>, Errno> {
        let message = self.messages.front_mut().ok_or(Errno::EAGAIN)?;
        let writer = message.writer;
        let full_length = message.data.len();
        let count = full_length.min(dst.remaining());
        dst.write_all(message.data.get(..count).unwrap_or_default())?;
        let rights = match take {
            Take::Peek => message.rights.clone(),
            Take::Remove => self.pop().map(|m| m.rights).unwrap_or_default(),
        };
        Ok(Received {
            count,
            full_length,
            rights,
            writer,
        })
    }

    /// Returns the rights in all messages.
    pub(super) fn rights(&self) -> impl Iterator<Item = &R> {
        self.messages.iter().flat_map(|m| &m.rights)
    }

    /// Takes the rights out of all messages.
    pub(super) fn take_rights(&mut self) -> Vec<R> {
        let messages = self.messages.iter_mut();
        messages.flat_map(|m| mem::take(&mut m.rights)).collect()
    }

    /// Empties the queue and returns all rights in it.
    pub(super) fn drain(&mut self) -> Vec<R> {
        self.cost = 0;
        mem::take(&mut self.messages)
            .into_iter()
            .flat_map(|m| m.rights)
            .collect()
    }
}
