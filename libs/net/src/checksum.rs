//! The Internet checksum (RFC 1071) of TCP segments and UDP datagrams.
//!
//! Every byte that comes or goes by a card that neither verifies nor completes checksums passes here, so it adds eight
//! bytes with two instructions. smoltcp's sum becomes vector instructions, which an emulator calls a function for.

use core::net::IpAddr;

use smoltcp::wire::IpProtocol;

/// Sums what a checksum covers: the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1) and `bytes`, folded, not complemented.
/// Of a segment or datagram with the right checksum it is `0xffff`.
pub(crate) fn of(source: IpAddr, destination: IpAddr, protocol: IpProtocol, bytes: &[u8]) -> u16 {
    let header = pseudo_header(source, destination, protocol, bytes.len());
    fold(u64::from(header) + u64::from(sum(bytes)))
}

/// Sums the pseudo-header of `len` bytes, folded, not complemented.
pub(crate) fn pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    len: usize,
) -> u16 {
    let address = |a: IpAddr| match a {
        IpAddr::V4(a) => sum(&a.octets()),
        IpAddr::V6(a) => sum(&a.octets()),
    };
    let addresses = u64::from(address(source)) + u64::from(address(destination));
    fold(addresses + u64::from(u8::from(protocol)) + len as u64)
}

/// Sums `bytes` alone, as IGMP does. Of a message with the right checksum it is `0xffff`.
pub(crate) fn plain(bytes: &[u8]) -> u16 {
    sum(bytes)
}

/// Sums the 16-bit words of `bytes`, in network order, folded. A last odd byte counts as if a zero followed.
fn sum(bytes: &[u8]) -> u16 {
    // The sum of words of any width, with the carries added at the low end, folds to the sum of the narrow ones; in
    // which order their bytes are comes out at the end (RFC 1071 §2).
    let add = |total: u64, word: u64| {
        let (total, carry) = total.overflowing_add(word);
        total.wrapping_add(u64::from(carry))
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let total = words
        .iter()
        .fold(0, |total, &word| add(total, u64::from_ne_bytes(word)));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    fold(add(total, u64::from_ne_bytes(last))).to_be()
}

/// Folds a sum to 16 bits, each carry added at the low end.
fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while let high @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + high;
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use smoltcp::wire::TcpPacket;

    proptest! {
        #[test]
        fn agrees_with_smoltcp(mut bytes in proptest::collection::vec(prop_oneof![Just(0xff), any::<u8>()], 20..2000)) {
            for (from, to) in [("10.1.2.3", "255.255.255.255"), ("fe80::1234", "ffff:ffff::ffff")] {
                let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
                TcpPacket::new_unchecked(&mut bytes).fill_checksum(&from.into(), &to.into());
                prop_assert_eq!(of(from, to, IpProtocol::Tcp, &bytes), 0xffff);
                let filled: [u8; 2] = bytes[16..18].try_into().unwrap();
                bytes[16..18].fill(0);
                prop_assert_eq!(!of(from, to, IpProtocol::Tcp, &bytes), u16::from_be_bytes(filled));
            }
        }
    }

    #[test]
    fn segment_with_its_checksum_sums_to_all_ones() {
        let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().unwrap());
        let mut bytes: Vec<u8> = (0..1461_u32).map(|i| (i * 7) as u8).collect();
        bytes[16..18].fill(0);
        let sum = !of(from, to, IpProtocol::Tcp, &bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(of(from, to, IpProtocol::Tcp, &bytes), 0xffff);
        bytes[700] ^= 1;
        assert_ne!(of(from, to, IpProtocol::Tcp, &bytes), 0xffff);
    }
}
