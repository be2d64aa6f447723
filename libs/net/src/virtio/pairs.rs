//! Several pairs of a receive and a transmit queue (virtio 1.2 §5.1.2): how many are used, how the card is told, and which
//! one a frame goes by.

use super::feature;

/// Where the card's configuration has `max_virtqueue_pairs` (§5.1.4): two bytes, little-endian.
pub const CONFIG_MAX_PAIRS: usize = 8;
/// The features that several pairs take.
pub const FEATURES: u64 = feature::CTRL_VQ | feature::MQ;
/// Most pairs that are used.
const MOST: u16 = 8;
/// Memory of the machine for which there may be another pair, whose buffers take less than a hundredth of it.
const MEMORY_FOR_EACH: u64 = 64 << 20;

/// Length of [`command`] in bytes.
pub const COMMAND: usize = 4;
/// What the card answers when it did what it was told (§5.1.6.5).
pub const OK: u8 = 0;

/// Returns how many pairs to use of a card that offers these features and, in its configuration, `most` pairs: one for each
/// CPU, where memory allows.
#[must_use]
pub fn count(offered: u64, most: u16, cpus: usize, memory: u64) -> u16 {
    if offered & FEATURES != FEATURES {
        return 1;
    }
    let cpus = u16::try_from(cpus).unwrap_or(MOST);
    let affordable = u16::try_from(memory / MEMORY_FOR_EACH).unwrap_or(MOST);
    most.min(cpus).min(affordable).clamp(1, MOST)
}

/// Returns the number of the control queue: behind all pairs that the card has, in use or not (§5.1.2).
#[must_use]
pub const fn control_queue(most: u16) -> u16 {
    most.saturating_mul(2)
}

/// Returns the command `VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET` (§5.1.6.5.5): class, command, number of pairs.
#[must_use]
pub const fn command(pairs: u16) -> [u8; COMMAND] {
    const CLASS: u8 = 4;
    const PAIRS_SET: u8 = 0;
    let [low, high] = pairs.to_le_bytes();
    [CLASS, PAIRS_SET, low, high]
}

/// Returns which of `pairs` pairs a frame goes by: all packets of a flow go by the same one, and so arrive in order; a card
/// hands over the answers by it, too (§5.1.6.5.5.1). What is not IP, and pieces of packets, which have no ports, go by one
/// that the addresses alone tell.
#[must_use]
pub fn of_frame(frame: &[u8], pairs: u16) -> u16 {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    if pairs <= 1 {
        return 0;
    }
    let Some(packet) = frame.get(14..) else {
        return 0;
    };
    let at = |offset: usize| packet.get(offset).copied().unwrap_or(0);
    let (addresses, protocol, ports) = match frame.get(12..14) {
        Some(&[a, b]) if u16::from_be_bytes([a, b]) == IPV4 => {
            // Neither the first piece of several nor a further one: "more fragments" and the offset are 0.
            let is_whole = at(6) & 0x3f == 0 && at(7) == 0;
            let header = usize::from(at(0) & 15) * 4;
            (12..20, at(9), is_whole.then_some(header))
        }
        Some(&[a, b]) if u16::from_be_bytes([a, b]) == IPV6 => (8..40, at(6), Some(40)),
        _ => return 0,
    };
    let ports = match (protocol, ports) {
        (TCP | UDP, Some(start)) => packet.get(start..start + 4),
        _ => None,
    };
    let flow = packet.get(addresses).unwrap_or_default();
    // FNV-1a; a multiplication brings what all bytes have told to the upper bits, which are scaled to the number of pairs.
    let hash = flow
        .iter()
        .chain(ports.unwrap_or_default())
        .fold(0x811c_9dc5_u32, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    let mixed = u64::from(hash.wrapping_mul(0x9e37_79b1));
    ((mixed * u64::from(pairs)) >> 32) as u16
}

/// Protocol numbers whose header begins with ports.
const TCP: u8 = 6;
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_as_many_as_card_cpus_and_memory_allow() {
        const GIB: u64 = 1 << 30;
        for (offered, most, cpus, memory, expected) in [
            (FEATURES, 4, 2, GIB, 2),
            (FEATURES, 2, 4, GIB, 2),
            (FEATURES, 0x8000, 64, GIB, 8),
            (FEATURES, 4, 1, GIB, 1),
            (FEATURES, 4, 4, 72 << 20, 1),
            (FEATURES, 4, 4, 128 << 20, 2),
            // A configuration that makes no sense.
            (FEATURES, 0, 4, GIB, 1),
            (feature::MQ, 4, 4, GIB, 1),
            (feature::CTRL_VQ, 4, 4, GIB, 1),
        ] {
            assert_eq!(count(offered, most, cpus, memory), expected);
        }
        assert_eq!([2, 4, 0x8000].map(control_queue), [4, 8, u16::MAX]);
        assert_eq!(command(2), [4, 0, 2, 0]);
        assert_eq!(command(0x102), [4, 0, 2, 1]);
    }

    /// A frame between ports of two hosts.
    fn frame(v6: bool, protocol: u8, source: u16, target: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64]);
            frame.extend([0x20; 32]);
        } else {
            frame.extend([8, 0, 0x45, 0, 0, 40, 1, 2, 0x40, 0, 64, protocol, 0, 0]);
            frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend(source.to_be_bytes());
        frame.extend(target.to_be_bytes());
        frame.extend([0; 16]);
        frame
    }

    #[test]
    fn flows_are_spread_and_keep_their_pair() {
        for (v6, protocol) in [(false, TCP), (false, UDP), (true, TCP), (true, UDP)] {
            let mut counts = [0; 4];
            for port in 0..400 {
                let mut frame = frame(v6, protocol, 4000, 30_000 + port);
                let pair = of_frame(&frame, 4);
                counts[usize::from(pair)] += 1;
                // What changes from packet to packet of a flow.
                let (ident, seq, length) = if v6 { (15, 58, 19) } else { (18, 38, 17) };
                for place in [ident, seq, length] {
                    frame[place] ^= 0x5a;
                }
                assert_eq!(of_frame(&frame, 4), pair);
            }
            assert!(counts.iter().all(|&n| n > 50), "{counts:?}");
        }
    }

    #[test]
    fn pieces_go_by_the_addresses() {
        let whole = frame(false, UDP, 4000, 53);
        let pieces: Vec<u16> = [(0x20, 0), (0x20, 185), (0, 185), (1, 0)]
            .map(|(flags, offset)| {
                let mut piece = whole.clone();
                (piece[20], piece[21]) = (flags, offset);
                // What stands where the ports would be.
                piece[34] = offset;
                of_frame(&piece, 8)
            })
            .into();
        assert!(pieces.iter().all(|p| *p == pieces[0]), "{pieces:?}");
        let icmp = |port| of_frame(&frame(false, 1, port, port), 8);
        assert_eq!(icmp(1), icmp(2));
        // ARP, and nothing.
        assert_eq!(of_frame(&[&[0; 12][..], &[8, 6], &[7; 28]].concat(), 8), 0);
        assert_eq!(of_frame(&[], 8), 0);
    }

    proptest! {
        #[test]
        fn anything_goes_by_a_pair_that_there_is(
            frame in prop::collection::vec(any::<u8>(), 0..80),
            kind in prop::sample::select(vec![[8u8, 0], [0x86, 0xdd], [8, 6]]),
            pairs in 0u16..9,
        ) {
            let mut frame = frame;
            if let Some(place) = frame.get_mut(12..14) {
                place.copy_from_slice(&kind);
            }
            prop_assert!(of_frame(&frame, pairs) < pairs.max(1));
        }
    }
}
