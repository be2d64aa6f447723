//! What a network card offers to the stack: frames out, frames in, and when to be interrupted.
//!
//! A driver implements [`NetDevice`]; the stack owns it and calls it under its owner's lock. One copy each way:
//! the stack builds a frame in memory of its own and the driver copies it to where the device reads, and the other way
//! round. A frame is an ordinary one, or, where the device does that, a TCP segment of up to 64 KiB that it cuts apart
//! or has put together. The turn that an owner makes on an interrupt is
//!
//! ```text
//!   disable_interrupts
//!   loop { receive.. transmit.. flush; if !enable_interrupts() { break } }
//! ```
//! What [`NetDevice::flush`] says that the device must be told of, the owner tells it by a [`Bell`], with or without its lock:
//! a virtual machine leaves the guest for that, so when it is best done is the owner's to choose. [`RingsDue`] lets one CPU
//! at a time do it for all.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// There is no room for a frame; nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// What the device does for the protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// It completes TCP and UDP checksums of frames that carry a [`PartialChecksum`].
    pub completes_checksums: bool,
    /// It says of received frames whether their TCP or UDP checksum was found right ([`RxChecksum::Valid`]).
    pub verifies_checksums: bool,
    /// It cuts TCP segments over IPv4 apart ([`Segments`]).
    pub cuts_v4: bool,
    /// The same over IPv6.
    pub cuts_v6: bool,
}

/// Where the device is to complete a checksum: it sums the frame from `start` to its end and stores the complement at
/// `start + offset`, where the stack has put the sum of the pseudo-header (virtio 1.2 §5.1.6.2, `NEEDS_CSUM`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartialChecksum {
    /// First byte that is summed, from the start of the frame.
    pub start: u16,
    /// Place of the checksum, from `start`.
    pub offset: u16,
}

/// How the device is to cut a TCP segment apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// Bytes of data of each piece; the last one may have fewer.
    pub size: u16,
    /// Bytes of the frame before the data, which come before each piece.
    pub headers: u16,
    /// It is a segment over IPv6.
    pub is_v6: bool,
}

/// What the device is to do with a frame before it is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offload {
    /// It completes the checksum.
    pub checksum: PartialChecksum,
    /// It cuts the frame apart first; only if [`Offloads::cuts_v4`] or [`Offloads::cuts_v6`].
    pub segments: Option<Segments>,
}

/// What the device says of the TCP or UDP checksum of a frame that it received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxChecksum {
    /// Nothing: the stack verifies it.
    Unknown,
    /// It is right, or the frame never was on a wire and has only a partial one (virtio's `DATA_VALID` and `NEEDS_CSUM`).
    Valid,
}

/// A frame that was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Its length.
    pub len: usize,
    /// What the device says of it.
    pub checksum: RxChecksum,
}

/// Of which queues a device is to be told, in the device's own numbering: bit N is its queue N.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Rings(pub u128);

impl Rings {
    /// Returns whether there is nothing to tell.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns those of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Of which queues a device is to be told still, by the one who is telling it.
///
/// Who has rings calls [`Self::begin`]; if it returns some, those are for the caller to ring, and then once what
/// [`Self::end`] returns. Else somebody is at it and will see them. So nobody rings more than twice, however many others
/// go on sending, and nothing is left when nobody rings.
#[derive(Debug, Default)]
pub struct RingsDue {
    left: Rings,
    is_ringing: bool,
}

impl RingsDue {
    /// Adds `rings`; returns what the caller is to ring, if nobody is ringing.
    #[must_use = "what is returned must be rung"]
    pub fn begin(&mut self, rings: Rings) -> Option<Rings> {
        self.left = self.left.union(rings);
        if self.is_ringing {
            return None;
        }
        let rings = self.end();
        self.is_ringing = rings.is_some();
        rings
    }

    /// Returns what was added since [`Self::begin`]; who comes from now on rings himself.
    #[must_use = "what is returned must be rung"]
    pub fn end(&mut self) -> Option<Rings> {
        self.is_ringing = false;
        let rings = core::mem::take(&mut self.left);
        (!rings.is_empty()).then_some(rings)
    }
}

/// Tells a device that there is something new for it.
pub trait Bell: Send + Sync {
    /// Tells it of these queues. What was queued is there already, so it does not matter what else happens in between, nor
    /// who rings first.
    fn ring(&self, rings: Rings);
}

/// A device that sends and receives Ethernet frames (without FCS).
pub trait NetDevice: Send {
    /// Returns the hardware address.
    fn mac(&self) -> [u8; 6];

    /// Returns what tells the device of what [`NetDevice::flush`] returns, if it must ever be told.
    fn bell(&self) -> Option<Arc<dyn Bell>> {
        None
    }

    /// Returns the greatest length of an IP packet in bytes: 1500 on plain Ethernet, whose frames have 14 bytes more.
    fn mtu(&self) -> usize {
        1500
    }

    /// Returns what the device does for the protocols.
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    /// Returns how many frames can be handed over now, after taking back those that were sent; a longer frame counts as
    /// all the ordinary ones that its pieces would be. When it returns 0 the device interrupts as soon as there is room
    /// again.
    fn room(&mut self) -> usize;

    /// Queues a frame of at most `mtu() + 14` bytes, or a longer one that is to be cut apart. `offload` is given only
    /// if [`Offloads::completes_checksums`].
    ///
    /// # Errors
    /// [`Full`].
    fn transmit(&mut self, frame: &[u8], offload: Option<Offload>) -> Result<(), Full>;

    /// Copies the next received frame to the beginning of `frame`, which grows if it is too small. The buffers go back
    /// to the device at the latest with [`NetDevice::flush`].
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Received>;

    /// Lets the device see, once for all, the frames queued and the receive buffers given back since the last call; returns
    /// what it must be told of by its [`Bell`] to look.
    fn flush(&mut self) -> Rings;

    /// Asks for an interrupt when the next frame arrives, and returns whether frames have arrived already, for which
    /// none may come.
    fn enable_interrupts(&mut self) -> bool;

    /// Asks for no interrupts for received frames; a hint.
    fn disable_interrupts(&mut self);
}

#[cfg(test)]
mod tests {
    use super::{Rings, RingsDue};

    #[test]
    fn one_rings_for_all_and_nothing_is_left() {
        let mut due = RingsDue::default();
        assert_eq!(due.begin(Rings(1)), Some(Rings(1)));
        assert_eq!(due.begin(Rings(2)), None);
        assert_eq!(due.begin(Rings(4)), None);
        assert_eq!(due.end(), Some(Rings(6)));
        // While that is rung others ring themselves: the first one is not kept at it.
        assert_eq!(due.begin(Rings(1)), Some(Rings(1)));
        assert_eq!(due.end(), None);
        assert_eq!(due.begin(Rings(8)), Some(Rings(8)));
    }

    #[test]
    fn nothing_to_ring_makes_nobody_ring() {
        let mut due = RingsDue::default();
        assert_eq!(due.begin(Rings(0)), None);
        assert_eq!(due.begin(Rings(1)), Some(Rings(1)));
    }
}
