//! A segment as it is taken in (RFC 9293 §3.1).

use crate::options::Options;
use crate::seq::Seq;

/// Bytes of a header without options.
pub const HEADER: usize = 20;

/// The control bits that matter to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender has sent all.
    pub const FIN: Self = Self(1);
    /// Numbers are synchronized.
    pub const SYN: Self = Self(2);
    /// The connection is gone.
    pub const RST: Self = Self(4);
    /// There is no more for now.
    pub const PSH: Self = Self(8);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(16);

    /// Returns whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A segment whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The number of its first byte.
    pub seq: Seq,
    /// What it acknowledges, if [`Flags::ACK`] is set.
    pub ack: Seq,
    /// Control bits.
    pub flags: Flags,
    /// The window as it was sent, unscaled.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Data.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment; ports and checksum are not looked at.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let [
            _,
            _,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            a0,
            a1,
            a2,
            a3,
            offset,
            flags,
            w0,
            w1,
            ..,
        ] = *header;
        let len = usize::from(offset >> 4) * 4;
        Some(Self {
            seq: Seq(u32::from_be_bytes([s0, s1, s2, s3])),
            ack: Seq(u32::from_be_bytes([a0, a1, a2, a3])),
            flags: Flags(flags & 0x3f),
            window: u16::from_be_bytes([w0, w1]),
            options: Options::parse(bytes.get(HEADER..len)?),
            payload: bytes.get(len..)?,
        })
    }

    /// Returns how many sequence numbers it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
            + usize::from(self.flags.has(Flags::SYN))
            + usize::from(self.flags.has(Flags::FIN))
    }

    /// Returns whether it takes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
