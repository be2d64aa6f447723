//! Options of `SOL_SOCKET` that only store a value, or whose value the socket layer itself uses (`socket(7)`).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tyn_abi::socket::so;
use tyn_abi::{Errno, Nanos};

use crate::socket::Direction;

/// Greatest buffer that can be asked for (`/proc/sys/net/core/wmem_max`).
pub(crate) const MAX_BUFFER: u32 = 212_992;
/// Least send buffer.
pub(crate) const MIN_SEND_BUFFER: u32 = 4608;
/// Least receive buffer.
pub(crate) const MIN_RECEIVE_BUFFER: u32 = 2304;

/// The options of one socket.
#[derive(Debug)]
pub struct Options {
    /// Bit n is boolean option number n.
    switches: AtomicU64,
    priority: AtomicU32,
    mark: AtomicU32,
    receive_low: AtomicU32,
    /// `struct linger`: switch in the upper half, seconds in the lower.
    linger: AtomicU64,
    send_buffer: AtomicU32,
    receive_buffer: AtomicU32,
    /// Nanoseconds; 0 waits for ever.
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
}

impl Default for Options {
    fn default() -> Self {
        Self::new(MAX_BUFFER, MAX_BUFFER)
    }
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// An int, which nearly all are.
    Int([u8; 4]),
    /// Anything else.
    Bytes(Vec<u8>),
    /// Control messages, the padding of which is not written (`put_cmsg` of Linux).
    Control(Vec<u8>),
}

impl Value {
    /// Makes the value of an int.
    #[must_use]
    pub const fn int(int: u32) -> Self {
        Self::Int(int.to_le_bytes())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl core::ops::Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Int(bytes) => bytes,
            Self::Bytes(bytes) | Self::Control(bytes) => bytes,
        }
    }
}

/// Reads the int that most options are.
///
/// # Errors
/// `EINVAL` when `value` is too short.
pub fn int(value: &[u8]) -> Result<u32, Errno> {
    value
        .first_chunk()
        .map(|b| u32::from_le_bytes(*b))
        .ok_or(Errno::EINVAL)
}

/// Reads `struct timeval` as a time-out.
fn timeout(value: &[u8]) -> Result<u64, Errno> {
    let (sec, rest) = value.split_first_chunk().ok_or(Errno::EINVAL)?;
    let micros = i64::from_le_bytes(*rest.first_chunk().ok_or(Errno::EINVAL)?);
    let micros = u64::try_from(micros)
        .ok()
        .filter(|us| *us < 1_000_000)
        .ok_or(Errno::EDOM)?;
    // Linux takes a negative time as "for ever", with a warning.
    let sec = u64::try_from(i64::from_le_bytes(*sec)).unwrap_or_default();
    Ok(sec
        .saturating_mul(Nanos::PER_SEC)
        .saturating_add(micros * 1000))
}

fn timeval(nanos: u64) -> Value {
    let (sec, nsec) = Nanos(nanos).split();
    let micros = u64::from(nsec / 1000);
    [sec.to_le_bytes(), micros.to_le_bytes()].concat().into()
}

impl Options {
    /// Makes default options with these buffer sizes in bytes.
    #[must_use]
    pub const fn new(send_buffer: u32, receive_buffer: u32) -> Self {
        Self {
            switches: AtomicU64::new(0),
            priority: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            receive_low: AtomicU32::new(1),
            linger: AtomicU64::new(0),
            send_buffer: AtomicU32::new(send_buffer),
            receive_buffer: AtomicU32::new(receive_buffer),
            receive_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
        }
    }

    /// Returns what a connection has of its listener: all but the priority (`sk_clone_lock` of Linux).
    #[must_use]
    pub fn inherited(&self) -> Self {
        let word = |value: &AtomicU32| AtomicU32::new(value.load(Ordering::Relaxed));
        let long = |value: &AtomicU64| AtomicU64::new(value.load(Ordering::Relaxed));
        Self {
            switches: long(&self.switches),
            priority: AtomicU32::new(0),
            mark: word(&self.mark),
            receive_low: word(&self.receive_low),
            linger: long(&self.linger),
            send_buffer: word(&self.send_buffer),
            receive_buffer: word(&self.receive_buffer),
            receive_timeout: long(&self.receive_timeout),
            send_timeout: long(&self.send_timeout),
        }
    }

    fn is_switch(name: i32) -> bool {
        matches!(
            name,
            so::DEBUG
                | so::REUSEADDR
                | so::DONTROUTE
                | so::BROADCAST
                | so::KEEPALIVE
                | so::OOBINLINE
                | so::REUSEPORT
        )
    }

    /// Returns whether a boolean option is on.
    #[must_use]
    pub fn is_on(&self, name: i32) -> bool {
        self.switches.load(Ordering::Relaxed) & (1 << (name & 63)) != 0
    }

    /// Returns the size of the send buffer in bytes.
    #[must_use]
    pub fn send_buffer(&self) -> usize {
        self.send_buffer.load(Ordering::Relaxed) as usize
    }

    /// Returns the size of the receive buffer in bytes.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer.load(Ordering::Relaxed) as usize
    }

    /// Returns `SO_RCVLOWAT` in bytes.
    #[must_use]
    pub fn receive_low(&self) -> u32 {
        self.receive_low.load(Ordering::Relaxed)
    }

    /// Returns `SO_LINGER`: the seconds, when it is on.
    #[must_use]
    pub fn linger(&self) -> Option<u32> {
        let linger = self.linger.load(Ordering::Relaxed);
        (linger >> 32 != 0).then_some(linger as u32)
    }

    /// Returns the time-out of a direction.
    #[must_use]
    pub fn timeout(&self, direction: Direction) -> Option<Nanos> {
        let nanos = match direction {
            Direction::Receive => &self.receive_timeout,
            Direction::Send => &self.send_timeout,
        };
        Some(nanos.load(Ordering::Relaxed))
            .filter(|n| *n != 0)
            .map(Nanos)
    }

    /// Returns an option's value, or `None` for one that the family must answer.
    #[must_use]
    pub fn get(&self, name: i32) -> Option<Value> {
        let int = |value: u32| Some(Value::int(value));
        let load = |value: &AtomicU32| int(value.load(Ordering::Relaxed));
        match name {
            name if Self::is_switch(name) => int(u32::from(self.is_on(name))),
            so::PRIORITY => load(&self.priority),
            // Rules of routes and filters look at it, of which there are none.
            so::MARK => load(&self.mark),
            so::RCVLOWAT => load(&self.receive_low),
            so::SNDLOWAT => int(1),
            so::SNDBUF => load(&self.send_buffer),
            so::RCVBUF => load(&self.receive_buffer),
            so::RCVTIMEO => Some(timeval(self.receive_timeout.load(Ordering::Relaxed))),
            so::SNDTIMEO => Some(timeval(self.send_timeout.load(Ordering::Relaxed))),
            so::LINGER => {
                let linger = self.linger.load(Ordering::Relaxed);
                let words = [(linger >> 32) as u32, linger as u32];
                Some(words.map(u32::to_le_bytes).concat().into())
            }
            _ => None,
        }
    }

    /// Sets an option; returns `None` for one that the family must answer.
    pub fn set(&self, name: i32, value: &[u8]) -> Option<Result<(), Errno>> {
        let result = match name {
            name if Self::is_switch(name) => int(value).map(|on| {
                let bit = 1 << (name & 63);
                if on == 0 {
                    self.switches.fetch_and(!bit, Ordering::Relaxed);
                } else {
                    self.switches.fetch_or(bit, Ordering::Relaxed);
                }
            }),
            so::PRIORITY => int(value).map(|v| self.priority.store(v, Ordering::Relaxed)),
            so::MARK => int(value).map(|v| self.mark.store(v, Ordering::Relaxed)),
            so::RCVLOWAT => int(value).map(|v| {
                let v = if v.cast_signed() < 0 {
                    i32::MAX.cast_unsigned()
                } else {
                    v.max(1)
                };
                self.receive_low.store(v, Ordering::Relaxed);
            }),
            so::SNDBUF => int(value).map(|v| {
                let v = (v.min(MAX_BUFFER) * 2).max(MIN_SEND_BUFFER);
                self.send_buffer.store(v, Ordering::Relaxed);
            }),
            so::RCVBUF => int(value).map(|v| {
                let v = (v.min(MAX_BUFFER) * 2).max(MIN_RECEIVE_BUFFER);
                self.receive_buffer.store(v, Ordering::Relaxed);
            }),
            so::RCVTIMEO => {
                timeout(value).map(|t| self.receive_timeout.store(t, Ordering::Relaxed))
            }
            so::SNDTIMEO => timeout(value).map(|t| self.send_timeout.store(t, Ordering::Relaxed)),
            so::LINGER => match value {
                [on, on1, on2, on3, seconds @ ..] if seconds.len() >= 4 => int(seconds).map(|s| {
                    let on = u32::from_le_bytes([*on, *on1, *on2, *on3]);
                    let on = u64::from(on != 0);
                    self.linger
                        .store(on << 32 | u64::from(s), Ordering::Relaxed);
                }),
                _ => Err(Errno::EINVAL),
            },
            _ => return None,
        };
        Some(result)
    }
}
