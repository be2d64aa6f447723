//! The kernel's random generator: ChaCha20 (RFC 8439) with fast key erasure.
//!
//! Each request takes a block of key stream; its first half replaces the key before anything is handed out, so that what
//! was handed out before cannot be computed from the generator's state.
#![no_std]
#![forbid(unsafe_code)]

/// A generator. Its output is secret as long as its seed had enough entropy.
#[derive(Clone)]
pub struct Generator {
    key: [u32; 8],
    /// Bytes handed out since the last fresh seed.
    produced: u64,
}

impl core::fmt::Debug for Generator {
    /// Shows nothing of the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Generator")
    }
}

impl Generator {
    /// Makes a generator from a seed.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut generator = Self {
            key: [0; 8],
            produced: 0,
        };
        generator.reseed(seed);
        generator
    }

    /// Mixes fresh entropy in; the state so far still counts.
    pub fn reseed(&mut self, seed: &[u8; 32]) {
        let (words, _) = seed.as_chunks::<4>();
        for (key, word) in self.key.iter_mut().zip(words) {
            *key ^= u32::from_le_bytes(*word);
        }
        // One step, so that seeds do not simply add up.
        let _ = self.next_half();
        self.produced = 0;
    }

    /// Returns how many bytes were handed out since the last seed.
    #[must_use]
    pub const fn produced(&self) -> u64 {
        self.produced
    }

    /// Fills `dst`.
    pub fn fill(&mut self, dst: &mut [u8]) {
        self.produced = self.produced.saturating_add(dst.len() as u64);
        // A key of its own serves this request; ours is replaced before the first byte leaves.
        let half = self.next_half();
        if dst.len() <= half.len() {
            dst.copy_from_slice(&half[..dst.len()]);
            return;
        }
        let mut request_key = [0; 8];
        let (words, _) = half.as_chunks::<4>();
        for (key, word) in request_key.iter_mut().zip(words) {
            *key = u32::from_le_bytes(*word);
        }
        for (counter, chunk) in (0u64..).zip(dst.chunks_mut(64)) {
            let block = block(&request_key, counter, 0);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    /// Replaces the key by the first half of its block and returns the second half.
    fn next_half(&mut self) -> [u8; 32] {
        let block = block(&self.key, 0, 1);
        let (words, _) = block.as_chunks::<4>();
        for (key, word) in self.key.iter_mut().zip(words) {
            *key = u32::from_le_bytes(*word);
        }
        let mut half = [0; 32];
        half.copy_from_slice(&block[32..]);
        half
    }
}

/// Returns a block of key stream: the ChaCha20 block function (RFC 8439 section 2.3) with a 64-bit counter and nonce.
fn block(key: &[u32; 8], counter: u64, nonce: u64) -> [u8; 64] {
    const ROUNDS: usize = 10;
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let halves = |x: u64| (x as u32, (x >> 32) as u32);
    let ((c0, c1), (n0, n1)) = (halves(counter), halves(nonce));
    let start: [u32; 16] = [
        0x6170_7865,
        0x3320_646e,
        0x7962_2d32,
        0x6b20_6574, // "expand 32-byte k"
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        c0,
        c1,
        n0,
        n1,
    ];
    let mut s = start;
    for _ in 0..ROUNDS {
        quarter_round(&mut s, 0, 4, 8, 12);
        quarter_round(&mut s, 1, 5, 9, 13);
        quarter_round(&mut s, 2, 6, 10, 14);
        quarter_round(&mut s, 3, 7, 11, 15);
        quarter_round(&mut s, 0, 5, 10, 15);
        quarter_round(&mut s, 1, 6, 11, 12);
        quarter_round(&mut s, 2, 7, 8, 13);
        quarter_round(&mut s, 3, 4, 9, 14);
    }
    let mut out = [0; 64];
    for ((bytes, mixed), first) in out.as_chunks_mut::<4>().0.iter_mut().zip(s).zip(start) {
        *bytes = mixed.wrapping_add(first).to_le_bytes();
    }
    out
}

fn quarter_round(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_function_matches_rfc_8439() {
        // Section 2.3.2: counter 1, nonce 00:00:00:09:00:00:00:4a:00:00:00:00.
        let mut key = [0; 8];
        for (i, word) in key.iter_mut().enumerate() {
            let at = 4 * i as u8;
            *word = u32::from_le_bytes([at, at + 1, at + 2, at + 3]);
        }
        let out = block(&key, 1 | 0x0900_0000 << 32, 0x4a00_0000);
        let expected = [
            0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20,
            0x71, 0xc4, 0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a,
            0xc3, 0xd4, 0x6c, 0x4e, 0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2,
            0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2, 0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9,
            0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn requests_of_all_sizes_are_filled_and_differ() {
        let mut generator = Generator::new(&[7; 32]);
        let mut last = [0; 200];
        for len in 0..200 {
            let mut out = [0; 200];
            generator.fill(&mut out[..len]);
            assert!(out[len..].iter().all(|&b| b == 0));
            if len > 8 {
                assert_ne!(out[..8], last[..8]);
                assert_ne!(out[len - 8..len], [0; 8]);
            }
            last = out;
        }
        assert_eq!(generator.produced(), (0..200).sum::<u64>());
    }

    #[test]
    fn the_key_changes_with_each_request_and_seed() {
        let mut a = Generator::new(&[1; 32]);
        let before = a.key;
        a.fill(&mut [0; 1]);
        assert_ne!(a.key, before);
        let mut b = a.clone();
        b.reseed(&[2; 32]);
        let (mut x, mut y) = ([0; 16], [0; 16]);
        a.fill(&mut x);
        b.fill(&mut y);
        assert_ne!(x, y);
        assert_eq!(b.produced(), 16);
        assert_ne!(Generator::new(&[1; 32]).key, Generator::new(&[2; 32]).key);
    }
}
