//! Whether a kernel and a tool belong together: [`BUILD`] is a sum of the sources that say what goes between them.
//!
//! Two builds of one version may differ in these, and a number that is raised by hand is forgotten. So the sum is made of the
//! sources themselves; it is the same wherever they are compiled, and another one after any change to them. A kernel carries
//! [`OS_VERSION`], which programs see as `uname -v`; a tool looks for it in a kernel's file.

use core::hint::black_box;

/// What a version begins with.
pub const PREFIX: &str = "#1 SMP Tyn ";
/// The version as `uname -v` shows it: [`PREFIX`], the package's version, a blank, and [`BUILD`].
pub const OS_VERSION: &str = match str::from_utf8(&OS_VERSION_BYTES) {
    Ok(text) => text,
    Err(_) => panic!("text and hexadecimal digits"),
};
/// Returns [`OS_VERSION`] for a kernel to show: its bytes lie whole in the kernel's file, which a compiler that knew the text
/// would not see to.
#[must_use]
pub fn os_version() -> &'static str {
    black_box(OS_VERSION)
}

/// Sum of what a kernel and a tool have in common, in hexadecimal digits.
pub const BUILD: &str = OS_VERSION.split_at(HEAD.len()).1;

const HEAD: &str = concat!("#1 SMP Tyn ", env!("CARGO_PKG_VERSION"), " ");
const DIGITS: usize = 16;
const OS_VERSION_BYTES: [u8; HEAD.len() + DIGITS] = version_bytes();

/// The start description, options and messages to the kernel; archives and what they leave out; the kernel's reports.
const SOURCES: [&[u8]; 6] = [
    include_bytes!("lib.rs"),
    include_bytes!("options.rs"),
    include_bytes!("start.rs"),
    include_bytes!("../../fs/src/cpio.rs"),
    include_bytes!("../../fs/src/holes.rs"),
    include_bytes!("../../trace/src/report.rs"),
];

const fn version_bytes() -> [u8; HEAD.len() + DIGITS] {
    let mut bytes = [0; HEAD.len() + DIGITS];
    let (head, mut digits) = bytes.split_at_mut(HEAD.len());
    head.copy_from_slice(HEAD.as_bytes());
    let mut sum = sum(&SOURCES);
    while let [digit, rest @ ..] = digits {
        sum = sum.rotate_left(4);
        let value = (sum & 15) as u8;
        *digit = match value {
            0..10 => b'0'.wrapping_add(value),
            _ => b'a'.wrapping_add(value).wrapping_sub(10),
        };
        digits = rest;
    }
    bytes
}

/// FNV-1a (Fowler, Noll, Vo) of 64 bits over all sources, each followed by a byte that is in none.
const fn sum(mut sources: &[&[u8]]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    while let [source, others @ ..] = sources {
        let mut bytes = *source;
        while let [byte, rest @ ..] = bytes {
            sum = step(sum, *byte);
            bytes = rest;
        }
        sum = step(sum, 0xff);
        sources = others;
    }
    sum
}

const fn step(sum: u64, byte: u8) -> u64 {
    (sum ^ byte as u64).wrapping_mul(0x100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_is_of_every_byte() {
        // The reference's vector for "a", and what its rules give from there.
        let a = 0xaf63_dc4c_8601_ec8c;
        assert_eq!(step(0xcbf2_9ce4_8422_2325, b'a'), a);
        assert_eq!(sum(&[b"a"]), step(a, 0xff));
        for other in [&[b"ab".as_slice()][..], &[b"b"], &[b"a", b""], &[b"", b"a"]] {
            assert_ne!(sum(other), sum(&[b"a"]));
        }
    }

    #[test]
    fn version_ends_with_the_sum() {
        assert_eq!(u64::from_str_radix(BUILD, 16), Ok(sum(&SOURCES)));
        let version = OS_VERSION.strip_prefix(PREFIX).unwrap();
        let want = [env!("CARGO_PKG_VERSION"), BUILD];
        assert!(version.split(' ').eq(want), "{version}");
        // A field of `struct new_utsname` has 65 bytes, one for the NUL.
        assert!(OS_VERSION.len() <= 64);
    }
}
