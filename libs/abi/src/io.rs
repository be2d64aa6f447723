//! Where bytes come from and go to: the seam between kernel objects and user memory.
//!
//! A pipe, socket or file copies straight from a [`Source`] and to a [`Sink`]; the kernel implements both over
//! user memory (one buffer or an iovec array), tests over slices. An object moves a piece at a time and gives the
//! count of those that were moved whole, or `EFAULT` if there was none (docs/abi/deviations.md, "Files").

use crate::Errno;

/// Bytes on their way into an object (`write`, `send`).
pub trait Source {
    /// Returns how many bytes are left.
    fn remaining(&self) -> usize;

    /// Fills `dst` from the front of the source and advances by its length.
    ///
    /// # Errors
    /// `EFAULT` when the memory cannot be read or fewer bytes remain; the position is then unspecified.
    fn read_exact(&mut self, dst: &mut [u8]) -> Result<(), Errno>;
}

/// Bytes on their way out of an object (`read`, `recv`).
pub trait Sink {
    /// Returns how many more bytes fit.
    fn remaining(&self) -> usize;

    /// Appends all of `src` and advances by its length.
    ///
    /// # Errors
    /// `EFAULT` when the memory cannot be written or does not suffice; the position is then unspecified.
    fn write_all(&mut self, src: &[u8]) -> Result<(), Errno>;

    /// Appends `len` zero bytes.
    ///
    /// # Errors
    /// As [`Sink::write_all`].
    fn write_zeros(&mut self, mut len: usize) -> Result<(), Errno> {
        const ZEROS: [u8; 256] = [0; 256];
        while len > 0 {
            let n = len.min(ZEROS.len());
            self.write_all(&ZEROS[..n])?;
            len -= n;
        }
        Ok(())
    }
}

impl Source for &[u8] {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn read_exact(&mut self, dst: &mut [u8]) -> Result<(), Errno> {
        let (head, tail) = self.split_at_checked(dst.len()).ok_or(Errno::EFAULT)?;
        dst.copy_from_slice(head);
        *self = tail;
        Ok(())
    }
}

impl Sink for &mut [u8] {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn write_all(&mut self, src: &[u8]) -> Result<(), Errno> {
        let whole = core::mem::take(self);
        let (head, tail) = whole.split_at_mut_checked(src.len()).ok_or(Errno::EFAULT)?;
        head.copy_from_slice(src);
        *self = tail;
        Ok(())
    }
}
