//! User memory as values, sources and sinks.

use alloc::vec::Vec;

use tyn_abi::{Errno, Sink, Source, UserVa};
use tyn_hal::user;

/// Most iovecs in one call (`IOV_MAX`).
pub const IOV_MAX: usize = 1024;
/// Most bytes that one read or write moves (`MAX_RW_COUNT` of Linux).
pub const MAX_RW_COUNT: usize = 0x7fff_f000;
/// Longest path with its NUL (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;

/// Reads `N` bytes: a structure to be decoded by its `from_bytes`.
///
/// # Errors
/// `EFAULT`.
pub fn read_bytes<const N: usize>(src: UserVa) -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    user::copy_from(&mut bytes, src)?;
    Ok(bytes)
}

/// Reads a little-endian u32.
///
/// # Errors
/// `EFAULT`.
pub fn read_u32(src: UserVa) -> Result<u32, Errno> {
    read_bytes(src).map(u32::from_le_bytes)
}

/// Reads a little-endian u64.
///
/// # Errors
/// `EFAULT`.
pub fn read_u64(src: UserVa) -> Result<u64, Errno> {
    read_bytes(src).map(u64::from_le_bytes)
}

/// Writes bytes: a structure encoded by its `to_bytes`.
///
/// # Errors
/// `EFAULT`.
pub fn write_bytes(dst: UserVa, bytes: &[u8]) -> Result<(), Errno> {
    user::copy_to(dst, bytes)?;
    Ok(())
}

/// Reads a NUL-terminated string of at most `max` bytes with its NUL; the NUL is not returned.
///
/// # Errors
/// `EFAULT`; `ENAMETOOLONG` when no NUL is within `max` bytes.
pub fn read_c_string(src: UserVa, max: usize) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    let mut at = src;
    while out.len() < max {
        // Never cross into a page that the string may not reach.
        let to_page_end = 4096 - (at.0 & 4095) as usize;
        let mut chunk = [0; 256];
        let len = to_page_end.min(chunk.len()).min(max - out.len());
        let chunk = chunk.get_mut(..len).ok_or(Errno::EFAULT)?;
        user::copy_from(chunk, at)?;
        if let Some(end) = chunk.iter().position(|&b| b == 0) {
            out.extend_from_slice(chunk.get(..end).unwrap_or_default());
            return Ok(out);
        }
        out.extend_from_slice(chunk);
        at = at.wrapping_add(len as u64);
    }
    Err(Errno::ENAMETOOLONG)
}

/// Reads a string up to its NUL, or its first `max` bytes when it is longer.
///
/// # Errors
/// `EFAULT`.
pub fn read_c_prefix(src: UserVa, max: usize) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for i in 0..max {
        match read_bytes::<1>(src.wrapping_add(i as u64))? {
            [0] => break,
            [byte] => out.push(byte),
        }
    }
    Ok(out)
}

/// Reads a path argument.
///
/// # Errors
/// `EFAULT`, `ENAMETOOLONG`.
pub fn read_path(src: UserVa) -> Result<Vec<u8>, Errno> {
    read_c_string(src, PATH_MAX)
}

/// One piece of user memory.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Start.
    pub base: UserVa,
    /// Length in bytes.
    pub len: usize,
}

/// A sequence of pieces of user memory, used up from the front: what `read(2)`, `writev(2)`, `recvmsg(2)` ... were given.
#[derive(Clone, Debug)]
pub struct UserBuffers {
    /// The piece that is next.
    first: Segment,
    /// Those after it: the last is the one that follows.
    rest: Vec<Segment>,
    remaining: usize,
}

impl UserBuffers {
    /// One buffer; longer ones are cut to [`MAX_RW_COUNT`] as Linux does.
    #[must_use]
    pub fn single(base: UserVa, len: usize) -> Self {
        let len = len.min(MAX_RW_COUNT);
        Self {
            first: Segment { base, len },
            rest: Vec::new(),
            remaining: len,
        }
    }

    /// Reads an array of `struct iovec`.
    ///
    /// # Errors
    /// `EINVAL` when `count` is above [`IOV_MAX`] or a length (or their sum) overflows `ssize_t`; `EFAULT`.
    pub fn from_iovec(iov: UserVa, count: usize) -> Result<Self, Errno> {
        if count > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        let mut segments = Vec::with_capacity(count);
        let mut remaining = 0usize;
        for i in 0..count {
            let at = iov.wrapping_add(i as u64 * 16);
            let base = UserVa(read_u64(at)?);
            let len = read_u64(at.wrapping_add(8))?;
            let len = usize::try_from(len)
                .ok()
                .filter(|&l| isize::try_from(l).is_ok())
                .ok_or(Errno::EINVAL)?;
            let len = len.min(MAX_RW_COUNT - remaining);
            remaining += len;
            segments.push(Segment { base, len });
        }
        segments.reverse();
        let nothing = Segment {
            base: UserVa::NULL,
            len: 0,
        };
        Ok(Self {
            first: segments.pop().unwrap_or(nothing),
            rest: segments,
            remaining,
        })
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Returns whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Limits what is left to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        let mut left = len.min(self.remaining);
        self.remaining = left;
        for s in core::iter::once(&mut self.first).chain(self.rest.iter_mut().rev()) {
            s.len = s.len.min(left);
            left -= s.len;
        }
    }

    /// Takes the next piece that is not empty, whole.
    pub fn take_piece(&mut self) -> Option<Self> {
        while self.remaining > 0 {
            let nothing = Segment {
                base: UserVa::NULL,
                len: 0,
            };
            let next = self.rest.pop().unwrap_or(nothing);
            let piece = core::mem::replace(&mut self.first, next);
            self.remaining -= piece.len;
            if piece.len > 0 {
                return Some(Self::single(piece.base, piece.len));
            }
        }
        None
    }

    /// Applies `copy(address, offset in the transfer, length)` to the next `len` bytes, piece by piece.
    fn advance(
        &mut self,
        len: usize,
        mut copy: impl FnMut(UserVa, usize, usize) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if len > self.remaining {
            return Err(Errno::EFAULT);
        }
        let mut done = 0;
        while done < len {
            let segment = &mut self.first;
            let n = segment.len.min(len - done);
            if n > 0 {
                copy(segment.base, done, n)?;
                segment.base = segment.base.wrapping_add(n as u64);
                segment.len -= n;
                self.remaining -= n;
                done += n;
            }
            if segment.len == 0 {
                match self.rest.pop() {
                    Some(next) => *segment = next,
                    None if done < len => return Err(Errno::EFAULT),
                    None => {}
                }
            }
        }
        Ok(())
    }
}

impl Source for UserBuffers {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn read_exact(&mut self, dst: &mut [u8]) -> Result<(), Errno> {
        self.advance(dst.len(), |va, at, len| {
            let piece = dst.get_mut(at..at + len).ok_or(Errno::EFAULT)?;
            Ok(user::copy_from(piece, va)?)
        })
    }
}

impl Sink for UserBuffers {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn write_all(&mut self, src: &[u8]) -> Result<(), Errno> {
        self.advance(src.len(), |va, at, len| {
            let piece = src.get(at..at + len).ok_or(Errno::EFAULT)?;
            Ok(user::copy_to(va, piece)?)
        })
    }

    fn write_zeros(&mut self, len: usize) -> Result<(), Errno> {
        self.advance(len, |va, _, len| Ok(user::zero(va, len)?))
    }
}
