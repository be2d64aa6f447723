//! What must not be guessed: initial sequence numbers (RFC 6528) and ephemeral ports (RFC 6056).
//!
//! smoltcp draws sequence numbers from a small generator that each of its interfaces owns, which an observer can
//! predict. It is used as it is, and made to yield the number we want: the connection is opened with an interface of its
//! own, seeded by [`seed_for`]. A test holds the two together; should smoltcp's generator change, sequence numbers
//! stay unpredictable (the seed is secret) and only lose their clock.

#![expect(
    deprecated,
    reason = "core's SipHash is stable under this name only; we need a keyed hash, not a HashMap's default"
)]

use core::hash::{Hasher, SipHasher};
use core::net::{IpAddr, SocketAddr};

use tyn_abi::Nanos;

use crate::types::Tuple;

/// Keys drawn at boot.
#[derive(Clone)]
pub(crate) struct Secret {
    sequence: [u64; 2],
    ports: [u64; 2],
    cookies: [u64; 2],
    /// Seeds what needs variety but no secrecy.
    pub(crate) seed: u64,
}

impl Secret {
    /// Splits 32 bytes of entropy into independent keys.
    pub(crate) fn new(entropy: [u8; 32]) -> Self {
        let [a, b, c, d] = core::array::from_fn(|word| {
            entropy
                .iter()
                .skip(word * 8)
                .take(8)
                .fold(0, |acc, &byte| acc << 8 | u64::from(byte))
        });
        let mut seed = SipHasher::new_with_keys(d, a);
        seed.write_u64(b ^ c);
        Self {
            sequence: [a, b],
            ports: [c, d],
            cookies: [a ^ d.rotate_left(17), b ^ c.rotate_left(31)],
            seed: seed.finish(),
        }
    }

    /// Returns the initial sequence number of a connection: a clock of 4 us plus a secret function of the tuple.
    pub(crate) fn sequence_number(&self, tuple: &Tuple, now: Nanos) -> u32 {
        let mut hash = SipHasher::new_with_keys(self.sequence[0], self.sequence[1]);
        write_address(&mut hash, tuple.local);
        write_address(&mut hash, tuple.remote);
        ((now.0 / 4000) as u32).wrapping_add(hash.finish() as u32)
    }

    /// Returns a hash that only we can make of a request that is not written down.
    pub(crate) fn cookie(&self, tuple: &Tuple, of: [u32; 3]) -> u32 {
        let mut hash = SipHasher::new_with_keys(self.cookies[0], self.cookies[1]);
        write_address(&mut hash, tuple.local);
        write_address(&mut hash, tuple.remote);
        for word in of {
            hash.write_u32(word);
        }
        hash.finish() as u32
    }

    /// Returns where to start looking for an ephemeral port for connections to `remote`.
    pub(crate) fn port_offset(&self, remote: SocketAddr, counter: u32) -> u32 {
        let mut hash = SipHasher::new_with_keys(self.ports[0], self.ports[1]);
        write_address(&mut hash, remote);
        hash.write_u32(counter);
        hash.finish() as u32
    }
}

fn write_address(hash: &mut SipHasher, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => hash.write_u32(u32::from(ip)),
        IpAddr::V6(ip) => hash.write_u128(u128::from(ip)),
    }
    hash.write_u16(address.port());
}

/// Multiplier and increment of smoltcp's generator (sPCG32).
const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
const INCREMENT: u64 = 0x7590_ef39;
/// The multiplier's inverse modulo 2^64, by Newton's iteration (each step doubles the number of right bits).
const INVERSE: u64 = {
    let mut x: u64 = MULTIPLIER;
    let mut i = 0;
    while i < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(MULTIPLIER.wrapping_mul(x)));
        i += 1;
    }
    x
};

fn before(state: u64) -> u64 {
    state.wrapping_sub(INCREMENT).wrapping_mul(INVERSE)
}

fn output(state: u64) -> u32 {
    (state >> (29 - (state >> 61))) as u32
}

/// Returns the seed with which a fresh smoltcp interface yields `sequence_number` for its first connection. Its first
/// number goes to the IPv4 identification, drawn again while that is 0.
pub(crate) fn seed_for(sequence_number: u32) -> u64 {
    // With the three top bits clear, bits 29 to 60 of the state are the output; the low ones are free.
    let second = (0..64u64).map(|low| u64::from(sequence_number) << 29 | low);
    let mut firsts = second.map(before);
    let usable = firsts.find(|&first| {
        let n = output(first);
        (n ^ n >> 16) as u16 != 0
    });
    before(usable.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(state: u64) -> u64 {
        state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT)
    }

    proptest! {
        #[test]
        fn seed_yields_the_number(n: u32) {
            let seed = seed_for(n);
            let first = after(seed);
            let id = output(first);
            prop_assert_ne!((id ^ id >> 16) as u16, 0);
            prop_assert_eq!(output(after(first)), n);
        }

        #[test]
        fn steps_back_undo_steps(state: u64) {
            prop_assert_eq!(before(after(state)), state);
        }
    }

    fn tuple(port: u16) -> Tuple {
        let at = |p| SocketAddr::new(core::net::Ipv4Addr::LOCALHOST.into(), p);
        Tuple {
            local: at(80),
            remote: at(port),
        }
    }

    #[test]
    fn sequence_numbers_follow_the_clock_for_one_tuple_and_differ_between_tuples() {
        let secret = Secret::new([7; 32]);
        let at = |port, us: u64| secret.sequence_number(&tuple(port), Nanos(us * 1000));
        assert_eq!(at(1, 4000).wrapping_sub(at(1, 0)), 1000);
        assert_ne!(at(1, 0), at(2, 0));
        let other = Secret::new([8; 32]);
        assert_ne!(other.sequence_number(&tuple(1), Nanos(0)), at(1, 0));
    }

    #[test]
    fn port_offsets_depend_on_the_peer() {
        let secret = Secret::new([1; 32]);
        assert_ne!(
            secret.port_offset(tuple(1).remote, 0),
            secret.port_offset(tuple(2).remote, 0)
        );
    }
}
