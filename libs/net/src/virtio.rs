//! What virtio's network card puts before each frame (virtio 1.2 §5.1.6), which features go together, and how a frame
//! is put together from the buffers that the card has filled.
//!
//! The card may write anything: what makes no sense costs the frame, never more.

pub mod pairs;

use alloc::vec::Vec;

use crate::device::{Offload, Offloads, Received, RxChecksum};

/// Length of the header, `struct virtio_net_hdr_v1`.
pub const HEADER: usize = 12;
/// The longest frame: what an IPv6 packet's length can say, its header, and Ethernet's.
pub const LONGEST_FRAME: usize = 65_535 + 40 + 14;

/// Feature bits (§5.1.3).
pub mod feature {
    /// The card completes partial checksums.
    pub const CSUM: u64 = 1 << 0;
    /// It may hand over frames whose checksum is partial.
    pub const GUEST_CSUM: u64 = 1 << 1;
    /// It says how great a packet may be.
    pub const MTU: u64 = 1 << 3;
    /// It has an address.
    pub const MAC: u64 = 1 << 5;
    /// It may hand over TCP segments of up to 64 KiB, over IPv4.
    pub const GUEST_TSO4: u64 = 1 << 7;
    /// The same over IPv6.
    pub const GUEST_TSO6: u64 = 1 << 8;
    /// It cuts TCP segments apart, over IPv4.
    pub const HOST_TSO4: u64 = 1 << 11;
    /// The same over IPv6.
    pub const HOST_TSO6: u64 = 1 << 12;
    /// A frame may take several receive buffers.
    pub const MRG_RXBUF: u64 = 1 << 15;
    /// There is a queue for commands.
    pub const CTRL_VQ: u64 = 1 << 17;
    /// There are several pairs of queues.
    pub const MQ: u64 = 1 << 22;
}

/// Where the card's configuration has the MTU (`struct virtio_net_config`, §5.1.4): two bytes, little-endian.
pub const CONFIG_MTU: usize = 10;
/// The MTU of a card that says nothing.
const DEFAULT_MTU: u16 = 1500;
/// The least MTU that a card may say (§5.1.4.1).
const LEAST_MTU: u16 = 68;
/// Length of an Ethernet header.
const ETHERNET: usize = 14;

/// Returns which of the features that a card offers are used; `mtu` is what its configuration says if it offers
/// [`feature::MTU`], and `slot` the bytes of each buffer. Segmentation needs checksums (§5.1.3.1). Great segments are only
/// taken in where buffers merge: one of 64 KiB for each would be megabytes. The same holds for packets of a great MTU, of
/// which a driver that accepts it must be able to receive one (§5.1.4.2); an MTU that no card may say is not accepted.
#[must_use]
pub const fn accepted(offered: u64, mtu: u16, slot: usize) -> u64 {
    use feature::{
        CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, MAC, MRG_RXBUF, MTU,
    };
    let mut wanted = CSUM | GUEST_CSUM | MAC | MRG_RXBUF;
    if offered & CSUM != 0 {
        wanted |= HOST_TSO4 | HOST_TSO6;
    }
    if offered & GUEST_CSUM != 0 && offered & MRG_RXBUF != 0 {
        wanted |= GUEST_TSO4 | GUEST_TSO6;
    }
    if mtu >= LEAST_MTU && (offered & MRG_RXBUF != 0 || slots(mtu, slot) == 1) {
        wanted |= MTU;
    }
    offered & wanted
}

/// Returns the MTU of a card with these features, whose configuration says `mtu`.
#[must_use]
pub const fn mtu(accepted: u64, mtu: u16) -> u16 {
    if accepted & feature::MTU == 0 {
        DEFAULT_MTU
    } else {
        mtu
    }
}

/// Returns how many buffers of `slot` bytes a frame of the greatest length takes.
#[must_use]
pub const fn slots(mtu: u16, slot: usize) -> usize {
    (HEADER + ETHERNET + mtu as usize).div_ceil(slot)
}

/// Returns what a card with these features does for the protocols.
#[must_use]
pub const fn offloads(accepted: u64) -> Offloads {
    Offloads {
        completes_checksums: accepted & feature::CSUM != 0,
        verifies_checksums: accepted & feature::GUEST_CSUM != 0,
        cuts_v4: accepted & feature::HOST_TSO4 != 0,
        cuts_v6: accepted & feature::HOST_TSO6 != 0,
    }
}

/// `flags`: the checksum is partial.
const NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum was found right.
const DATA_VALID: u8 = 2;
/// `gso_type`: what kind of segment is to be cut, and a bit that does not matter here.
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// Returns the header for a frame to be sent.
#[must_use]
pub fn header(offload: Option<&Offload>) -> [u8; HEADER] {
    let Some(Offload { checksum, segments }) = offload else {
        return [0; HEADER];
    };
    let (kind, headers, size) = match segments {
        None => (GSO_NONE, 0, 0),
        Some(s) => (
            if s.is_v6 { GSO_TCPV6 } else { GSO_TCPV4 },
            s.headers,
            s.size,
        ),
    };
    let [h0, h1] = headers.to_le_bytes();
    let [s0, s1] = size.to_le_bytes();
    let [c0, c1] = checksum.start.to_le_bytes();
    let [o0, o1] = checksum.offset.to_le_bytes();
    [NEEDS_CSUM, kind, h0, h1, s0, s1, c0, c1, o0, o1, 0, 0]
}

/// The header of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct RxHeader {
    flags: u8,
    kind: u8,
    size: u16,
    start: u16,
    offset: u16,
    buffers: u16,
}

impl RxHeader {
    fn parse(bytes: [u8; HEADER]) -> Self {
        let [flags, kind, _, _, s0, s1, c0, c1, o0, o1, n0, n1] = bytes;
        Self {
            flags,
            kind,
            size: u16::from_le_bytes([s0, s1]),
            start: u16::from_le_bytes([c0, c1]),
            offset: u16::from_le_bytes([o0, o1]),
            buffers: u16::from_le_bytes([n0, n1]),
        }
    }

    /// Returns what the card says of a frame of `len` bytes; `None` if that makes no sense.
    fn checksum(self, len: usize) -> Option<RxChecksum> {
        let is_known = match self.kind & !GSO_ECN {
            GSO_NONE => true,
            GSO_TCPV4 | GSO_TCPV6 => self.size > 0,
            _ => false,
        };
        if !is_known {
            return None;
        }
        if self.flags & NEEDS_CSUM != 0 {
            let end = usize::from(self.start) + usize::from(self.offset) + 2;
            return (end <= len).then_some(RxChecksum::Valid);
        }
        Some(if self.flags & DATA_VALID != 0 {
            RxChecksum::Valid
        } else {
            RxChecksum::Unknown
        })
    }
}

/// Buffers that the card has filled, one after the other.
pub trait Filled {
    /// Goes on to the next one, and returns how many bytes it has; the one before is given back.
    fn advance(&mut self) -> Option<usize>;

    /// Copies out of the current one; never asked for more than it has.
    fn read(&self, offset: usize, to: &mut [u8]);
}

/// Takes the next frame that makes sense into `frame`, which grows if it is too small. `merges` says whether a frame may
/// take several buffers ([`feature::MRG_RXBUF`]).
pub fn receive(buffers: &mut impl Filled, merges: bool, frame: &mut Vec<u8>) -> Option<Received> {
    loop {
        let len = buffers.advance()?;
        let mut header = [0; HEADER];
        let Some(rest) = len.checked_sub(HEADER) else {
            continue;
        };
        buffers.read(0, &mut header);
        let header = RxHeader::parse(header);
        let mut taken = take(buffers, HEADER, rest, frame, 0);
        let count = if merges { header.buffers } else { 1 };
        for _ in 1..count {
            // The card hands all of a frame's buffers over at once (§5.1.6.4): more are not to come.
            let len = buffers.advance()?;
            taken = taken.and_then(|at| take(buffers, 0, len, frame, at));
        }
        if count > 0
            && let Some(len) = taken
            && let Some(checksum) = header.checksum(len)
        {
            return Some(Received { len, checksum });
        }
    }
}

/// Appends `len` bytes of the current buffer to a frame of `at` bytes; returns how many those are, if they may be.
fn take(
    buffers: &impl Filled,
    offset: usize,
    len: usize,
    frame: &mut Vec<u8>,
    at: usize,
) -> Option<usize> {
    let end = at.checked_add(len).filter(|&end| end <= LONGEST_FRAME)?;
    if end > frame.len() {
        frame.try_reserve(end - frame.len()).ok()?;
        frame.resize(end, 0);
    }
    buffers.read(offset, frame.get_mut(at..end)?);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{PartialChecksum, Segments};
    use alloc::collections::VecDeque;
    use alloc::vec;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Buffers {
        filled: VecDeque<Vec<u8>>,
        current: Vec<u8>,
    }

    impl Filled for Buffers {
        fn advance(&mut self) -> Option<usize> {
            self.current = self.filled.pop_front()?;
            Some(self.current.len())
        }

        fn read(&self, offset: usize, to: &mut [u8]) {
            to.copy_from_slice(&self.current[offset..offset + to.len()]);
        }
    }

    fn with_header(flags: u8, kind: u8, [size, start, offset, count]: [u16; 4]) -> Vec<u8> {
        let mut bytes = vec![flags, kind, 0, 0];
        for word in [size, start, offset, count] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    /// A buffer with a header that says so many buffers, and so many bytes of a frame.
    fn first(count: u16, len: usize) -> Vec<u8> {
        let mut bytes = with_header(0, 0, [0, 0, 0, count]);
        bytes.resize(HEADER + len, 1);
        bytes
    }

    fn all(filled: impl IntoIterator<Item = Vec<u8>>, merges: bool) -> Vec<(Vec<u8>, RxChecksum)> {
        let mut buffers = Buffers {
            filled: filled.into_iter().collect(),
            ..Buffers::default()
        };
        let (mut frame, mut all) = (Vec::new(), Vec::new());
        while let Some(received) = receive(&mut buffers, merges, &mut frame) {
            all.push((frame[..received.len].to_vec(), received.checksum));
        }
        all
    }

    #[test]
    fn features_come_with_those_that_they_need() {
        use feature::*;
        assert_eq!(accepted(u64::MAX, 1400, 2048), 0b1001_1001_1010_1011);
        let sends = CSUM | HOST_TSO4 | HOST_TSO6;
        let takes = GUEST_CSUM | GUEST_TSO4 | GUEST_TSO6 | MRG_RXBUF;
        assert_eq!(accepted(sends, 0, 2048), sends);
        assert_eq!(accepted(sends & !CSUM, 0, 2048), 0);
        assert_eq!(accepted(takes, 0, 2048), takes);
        assert_eq!(accepted(takes & !GUEST_CSUM, 0, 2048), MRG_RXBUF);
        assert_eq!(accepted(takes & !MRG_RXBUF, 0, 2048), GUEST_CSUM);
        assert_eq!(accepted(takes & !GUEST_TSO6, 0, 2048), takes & !GUEST_TSO6);
        // What QEMU offers on its user network.
        assert_eq!(
            accepted(1 << 32 | MAC | MRG_RXBUF | 1 << 29, 0, 2048),
            MAC | MRG_RXBUF
        );
        assert_eq!(offloads(0), Offloads::default());
        assert!(offloads(HOST_TSO6).cuts_v6 && !offloads(HOST_TSO6).cuts_v4);
    }

    #[test]
    fn mtu_is_taken_from_cards_that_may_say_it() {
        use feature::*;
        for (offered, says, is_taken) in [
            (MTU, 0, false),
            (MTU, 67, false),
            (MTU, 68, true),
            (MTU, 1400, true),
            (MTU, 1500, true),
            // What a buffer has room for beside the headers, and one more.
            (MTU, 2022, true),
            (MTU, 2023, false),
            (MTU | MRG_RXBUF, 9000, true),
            (MTU | MRG_RXBUF, u16::MAX, true),
            (MTU | MRG_RXBUF, 67, false),
            (MRG_RXBUF, 1400, false),
        ] {
            let features = accepted(offered, says, 2048);
            assert_eq!(features & MTU != 0, is_taken, "{offered:x} {says}");
            let expected = if is_taken { says } else { 1500 };
            assert_eq!(mtu(features, says), expected);
        }
        assert_eq!(
            [1500, 2022, 2023, 9000].map(|mtu| slots(mtu, 2048)),
            [1, 1, 2, 5]
        );
    }

    #[test]
    fn headers_of_sent_frames() {
        assert_eq!(header(None), [0; 12]);
        let checksum = PartialChecksum {
            start: 34,
            offset: 16,
        };
        let mut offload = Offload {
            checksum,
            segments: None,
        };
        assert_eq!(
            header(Some(&offload)),
            [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]
        );
        let segments = |is_v6| Segments {
            size: 1448,
            headers: 66,
            is_v6,
        };
        offload.segments = Some(segments(false));
        let expected = [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0];
        assert_eq!(header(Some(&offload)), expected);
        offload.segments = Some(segments(true));
        assert_eq!(header(Some(&offload))[1], 4);
    }

    #[test]
    fn frames_come_from_one_buffer_or_several() {
        let frames = all(
            [
                first(1, 5),
                first(3, 4),
                vec![2; 7],
                vec![3; 2],
                first(1, 0),
            ],
            true,
        );
        let lens: Vec<_> = frames.iter().map(|(f, _)| f.len()).collect();
        assert_eq!(lens, [5, 13, 0]);
        assert_eq!(frames[1].0, [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3]);
        // Without merging the count says nothing.
        let frames = all([first(0, 5), first(3, 4), first(1, 9)], false);
        let lens: Vec<_> = frames.iter().map(|(f, _)| f.len()).collect();
        assert_eq!(lens, [5, 4, 9]);
    }

    #[test]
    fn what_makes_no_sense_costs_the_frame() {
        // No room for a header, no buffer, more buffers than there are.
        assert_eq!(all([vec![0; 11], first(0, 3), first(1, 4)], true).len(), 1);
        assert_eq!(all([first(9, 3), first(1, 4)], true).len(), 0);
        // Too long: its buffers go, too.
        let long = core::iter::once(first(40, 2000)).chain((1..40).map(|_| vec![0; 2000]));
        assert_eq!(all(long.chain([first(1, 4)]), true).len(), 1);
        // Headers, each before a frame of 60 bytes.
        let verdict = |header: Vec<u8>| {
            let frame = [header, vec![0; 60]].concat();
            all([frame], true).first().map(|(_, checksum)| *checksum)
        };
        let valid = Some(RxChecksum::Valid);
        assert_eq!(
            verdict(with_header(0, 0, [0, 9, 9, 1])),
            Some(RxChecksum::Unknown)
        );
        assert_eq!(verdict(with_header(2, 0, [0, 999, 9, 1])), valid);
        assert_eq!(verdict(with_header(1, 0, [0, 34, 16, 1])), valid);
        assert_eq!(verdict(with_header(1, 0, [0, 42, 16, 1])), valid);
        assert_eq!(verdict(with_header(1, 0, [0, 43, 16, 1])), None);
        assert_eq!(verdict(with_header(1, 0, [0, 65_535, 65_535, 1])), None);
        assert_eq!(verdict(with_header(1, 0x81, [1448, 34, 16, 1])), valid);
        assert_eq!(verdict(with_header(1, 1, [0, 34, 16, 1])), None);
        assert_eq!(verdict(with_header(1, 3, [1448, 34, 16, 1])), None);
        assert_eq!(
            verdict(with_header(0, 4, [1220, 0, 0, 1])),
            Some(RxChecksum::Unknown)
        );
    }

    proptest! {
        #[test]
        fn anything_is_survived(
            filled in prop::collection::vec(prop::collection::vec(0u8..4, 0..80), 0..40),
            merges: bool,
        ) {
            for (frame, _) in all(filled, merges) {
                prop_assert!(frame.len() <= LONGEST_FRAME);
            }
        }
    }
}
