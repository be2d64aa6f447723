//! The counter of `eventfd(2)`.

use tyn_abi::{Errno, Events, Sink, Source};

/// Length of what is read and written in bytes.
pub const VALUE_LEN: usize = 8;

/// How a read takes from the counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// All of it.
    All,
    /// One (`EFD_SEMAPHORE`).
    One,
}

/// A 64-bit counter that is read and written eight bytes at a time.
#[derive(Debug)]
pub struct EventFd {
    count: u64,
    take: Take,
}

impl EventFd {
    /// Makes a counter.
    #[must_use]
    pub const fn new(count: u32, take: Take) -> Self {
        Self {
            count: count as u64,
            take,
        }
    }

    /// Returns the counter (`/proc/PID/fdinfo`).
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns whether a read takes one (`EFD_SEMAPHORE`).
    #[must_use]
    pub fn is_semaphore(&self) -> bool {
        self.take == Take::One
    }

    /// Takes from the counter and puts what was taken into `dst`; returns 8.
    ///
    /// # Errors
    /// `EINVAL` when `dst` takes less than 8 bytes, `EAGAIN` when the counter is zero, `EFAULT`.
    pub fn read(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() < VALUE_LEN {
            return Err(Errno::EINVAL);
        }
        let taken = match self.take {
            _ if self.count == 0 => return Err(Errno::EAGAIN),
            Take::All => self.count,
            Take::One => 1,
        };
        self.count -= taken;
        // As in Linux, what was taken is lost when it cannot be stored.
        dst.write_all(&taken.to_le_bytes())?;
        Ok(VALUE_LEN)
    }

    /// Adds the value in `src`; returns 8.
    ///
    /// # Errors
    /// `EINVAL` for less than 8 bytes or the value 2^64 - 1, `EAGAIN` when the counter would exceed 2^64 - 2, `EFAULT`.
    pub fn write(&mut self, src: &mut dyn Source) -> Result<usize, Errno> {
        if src.remaining() < VALUE_LEN {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; VALUE_LEN];
        src.read_exact(&mut bytes)?;
        let value = u64::from_le_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if u64::MAX - 1 - self.count < value {
            return Err(Errno::EAGAIN);
        }
        self.count += value;
        Ok(VALUE_LEN)
    }

    /// Returns what the counter is ready for.
    #[must_use]
    pub fn poll(&self) -> Events {
        let mut events = Events::empty();
        events.set(Events::IN, self.count > 0);
        events.set(Events::OUT, self.count < u64::MAX - 1);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(e: &mut EventFd) -> Result<u64, Errno> {
        let mut buf = [0; 8];
        e.read(&mut &mut buf[..]).map(|n| {
            assert_eq!(n, 8);
            u64::from_le_bytes(buf)
        })
    }

    fn write(e: &mut EventFd, value: u64) -> Result<usize, Errno> {
        e.write(&mut &value.to_le_bytes()[..])
    }

    #[test]
    fn read_takes_all() {
        let mut e = EventFd::new(3, Take::All);
        assert_eq!(write(&mut e, 4), Ok(VALUE_LEN));
        assert_eq!(read(&mut e), Ok(7));
        assert_eq!(read(&mut e), Err(Errno::EAGAIN));
    }

    #[test]
    fn semaphore_read_takes_one() {
        let mut e = EventFd::new(2, Take::One);
        assert_eq!(read(&mut e), Ok(1));
        assert_eq!(e.count(), 1);
        assert_eq!(read(&mut e), Ok(1));
        assert_eq!(read(&mut e), Err(Errno::EAGAIN));
    }

    #[test]
    fn full_counter_refuses_and_is_not_writable() {
        let mut e = EventFd::new(0, Take::All);
        assert_eq!(e.poll(), Events::OUT);
        assert_eq!(write(&mut e, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(write(&mut e, u64::MAX - 1), Ok(VALUE_LEN));
        assert_eq!(e.poll(), Events::IN);
        assert_eq!(write(&mut e, 1), Err(Errno::EAGAIN));
        assert_eq!(write(&mut e, 0), Ok(VALUE_LEN));
        assert_eq!(read(&mut e), Ok(u64::MAX - 1));
    }

    #[test]
    fn short_buffers_are_invalid_and_long_ones_used_in_part() {
        let mut e = EventFd::new(1, Take::All);
        assert_eq!(e.read(&mut &mut [0; 7][..]), Err(Errno::EINVAL));
        assert_eq!(e.write(&mut &[0; 7][..]), Err(Errno::EINVAL));
        assert_eq!(e.write(&mut &[1; 16][..]), Ok(VALUE_LEN));
        assert_eq!(e.read(&mut &mut [0; 16][..]), Ok(VALUE_LEN));
    }
}
