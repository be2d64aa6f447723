//! `struct epoll_event` and its bits.

use tyn_abi::Events;

/// `EPOLLET`.
pub const EDGE: u32 = 1 << 31;
/// `EPOLLONESHOT`.
pub const ONESHOT: u32 = 1 << 30;
/// `EPOLLWAKEUP`: no effect on a machine that never sleeps.
pub const WAKEUP: u32 = 1 << 29;
/// `EPOLLEXCLUSIVE`.
pub const EXCLUSIVE: u32 = 1 << 28;

/// The bits that say how an item works rather than what it waits for.
pub(super) const MODES: u32 = EDGE | ONESHOT | WAKEUP | EXCLUSIVE;
/// All that may accompany `EPOLLEXCLUSIVE`.
pub(super) const EXCLUSIVE_OK: u32 = Events::IN.bits()
    | Events::OUT.bits()
    | Events::ERR.bits()
    | Events::HUP.bits()
    | MODES & !ONESHOT;

/// `struct epoll_event` (packed on x86-64): 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EpollEvent {
    /// Events and modes asked for, or events that are true.
    pub events: u32,
    /// The caller's own value.
    pub data: u64,
}

impl EpollEvent {
    /// Size of the structure.
    pub const SIZE: usize = 12;

    /// Reads the kernel layout.
    #[must_use]
    pub fn from_bytes([a, b, c, d, data @ ..]: [u8; 12]) -> Self {
        Self {
            events: u32::from_le_bytes([a, b, c, d]),
            data: u64::from_le_bytes(data),
        }
    }

    /// Writes the kernel layout.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let [a, b, c, d] = self.events.to_le_bytes();
        let [e, f, g, h, i, j, k, l] = self.data.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}
