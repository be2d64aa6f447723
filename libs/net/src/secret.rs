//! What must not be guessed: initial sequence numbers (RFC 6528) and ephemeral ports (RFC 6056).

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

    /// Returns which of those who share a port gets what comes from a peer.
    pub(crate) fn share(&self, tuple: &Tuple) -> u32 {
        let mut hash = SipHasher::new_with_keys(self.ports[1], self.sequence[0]);
        write_address(&mut hash, tuple.local);
        write_address(&mut hash, tuple.remote);
        hash.finish() as u32
    }

    /// Returns what is added to the clock in a connection's timestamps, so that it tells nobody how long we run.
    pub(crate) fn clock_offset(&self, tuple: &Tuple) -> u32 {
        let mut hash = SipHasher::new_with_keys(self.ports[0], self.sequence[1]);
        write_address(&mut hash, tuple.local);
        write_address(&mut hash, tuple.remote);
        hash.finish() as u32
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

#[cfg(test)]
mod tests {
    use super::*;

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
