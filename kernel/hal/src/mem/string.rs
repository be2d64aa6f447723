//! The memory functions that compiled code calls; the host's C library, which usually gives them, is not there.

core::arch::global_asm!(include_str!("string.S"));

// On the host, where tests run, these names belong to the C library.
#[cfg(feature = "entry")]
core::arch::global_asm!(
    ".globl memcpy",
    ".globl memmove",
    ".globl memset",
    ".globl memcmp",
    ".globl bcmp",
    ".globl strlen",
    ".set memcpy, tyn_memcpy",
    ".set memmove, tyn_memmove",
    ".set memset, tyn_memset",
    ".set memcmp, tyn_memcmp",
    ".set bcmp, tyn_memcmp",
    ".set strlen, tyn_strlen",
);

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    unsafe extern "C" {
        fn tyn_memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn tyn_memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn tyn_memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
        fn tyn_memcmp(a: *const u8, b: *const u8, len: usize) -> i32;
        fn tyn_strlen(text: *const u8) -> usize;
    }

    /// Longest length that is tried; every branch and several blocks of each loop are below it.
    const LONGEST: usize = 300;

    fn pattern(seed: usize) -> Vec<u8> {
        (0..2 * LONGEST)
            .map(|i| (i * 7 + i / 256 + seed) as u8)
            .collect()
    }

    #[test]
    fn copies_are_exact_at_any_length_and_alignment() {
        let source = pattern(1);
        for len in 0..LONGEST {
            for (from, to) in [(0, 0), (1, 8), (5, 3), (8, 13)] {
                let mut target = pattern(99);
                let mut expected = target.clone();
                expected[to..to + len].copy_from_slice(&source[from..from + len]);
                let start = target[to..].as_mut_ptr();
                // SAFETY: both ranges lie in their vectors.
                let returned = unsafe { tyn_memcpy(start, source[from..].as_ptr(), len) };
                assert!(
                    target == expected && returned == start,
                    "{len} bytes {from} to {to}"
                );
            }
        }
    }

    #[test]
    fn moves_are_right_for_any_overlap() {
        for len in 0..LONGEST {
            for (from, to) in [
                (0, 1),
                (1, 0),
                (0, 31),
                (31, 0),
                (3, 40),
                (40, 3),
                (9, 9),
                (0, 299),
            ] {
                let mut memory = pattern(5);
                let mut expected = memory.clone();
                expected.copy_within(from..from + len, to);
                let base = memory.as_mut_ptr();
                let (source, target) = (base.wrapping_add(from), base.wrapping_add(to));
                // SAFETY: both ranges lie in the vector.
                let returned = unsafe { tyn_memmove(target, source, len) };
                assert!(
                    memory == expected && returned == target,
                    "{len} bytes {from} to {to}"
                );
            }
        }
    }

    #[test]
    fn filling_touches_its_range_only() {
        for len in 0..LONGEST {
            for to in [0, 3, 16] {
                let mut memory = pattern(2);
                let mut expected = memory.clone();
                expected[to..to + len].fill(0xa5);
                let start = memory[to..].as_mut_ptr();
                // SAFETY: the range lies in the vector.
                let returned = unsafe { tyn_memset(start, 0x7fa5, len) };
                assert!(
                    memory == expected && returned == start,
                    "{len} bytes at {to}"
                );
            }
        }
    }

    fn compare(a: &[u8], b: &[u8], len: usize) -> i32 {
        assert!(len <= a.len() && len <= b.len());
        // SAFETY: both slices are at least that long.
        unsafe { tyn_memcmp(a.as_ptr(), b.as_ptr(), len) }.signum()
    }

    #[test]
    fn what_lies_behind_the_length_does_not_count() {
        for len in 0..LONGEST {
            let a = pattern(3);
            let mut b = a.clone();
            b[len] ^= 0xff;
            assert_eq!(compare(&a, &b, len), 0, "{len} bytes");
        }
    }

    #[test]
    fn the_first_difference_decides() {
        let a = pattern(3);
        for (len, at) in (0..LONGEST).flat_map(|len| (0..len).map(move |at| (len, at))) {
            for other in [a[at].wrapping_add(1), a[at].wrapping_sub(1), a[at] ^ 0x80] {
                let mut b = a.clone();
                // A later difference the other way round.
                b[len - 1] = !a[len - 1];
                b[at] = other;
                let expected = a[at].cmp(&other) as i32;
                assert_eq!(compare(&a, &b, len), expected, "{len} bytes, {at}");
                assert_eq!(compare(&b, &a, len), -expected, "{len} bytes, {at}");
            }
        }
    }

    #[test]
    fn text_ends_at_its_nul() {
        for text in [c"", c"a", c"some text"] {
            // SAFETY: the text ends with a NUL.
            let len = unsafe { tyn_strlen(text.as_ptr().cast()) };
            assert_eq!(len, text.count_bytes());
        }
    }
}
