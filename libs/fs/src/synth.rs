//! What synthesised file systems (`/proc`, `/sys`) have in common.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt::Write;

use tyn_abi::fs::mode;

/// An entry of a synthesised directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child<N> {
    /// Where to continue after it; rises from entry to entry and never changes for the same name.
    pub cookie: u64,
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it is.
    pub node: N,
}

/// Cookie of the first entry; `.` and `..` come before.
pub(crate) const FIRST_COOKIE: u64 = 3;

/// Makes the children of a directory whose entries are fixed.
pub(crate) fn fixed<N: Copy>(entries: &[(&'static str, N)]) -> Vec<Child<N>> {
    let numbered = (FIRST_COOKIE..).zip(entries);
    numbered
        .map(|(cookie, &(name, node))| Child {
            cookie,
            name: Cow::Borrowed(name),
            node,
        })
        .collect()
}

/// Parses a number as a name in `/proc` or `/sys` has it: no sign, no leading zero.
#[must_use]
pub(crate) fn number(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 10 || (name.len() > 1 && name.first() == Some(&b'0')) {
        return None;
    }
    name.iter().try_fold(0u32, |n, &b| {
        let digit = char::from(b).to_digit(10)?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// Modes of a directory, a readable file and a link.
pub(crate) const DIR: u32 = mode::S_IFDIR | 0o555;
pub(crate) const FILE: u32 = mode::S_IFREG | 0o444;
pub(crate) const LINK: u32 = mode::S_IFLNK | 0o777;

/// Formats the numbers `0..count` as a CPU list (`0-3`, `cpuset(7)`, "List format"), with a newline.
#[must_use]
pub fn cpu_list(cpus: impl Iterator<Item = u32>) -> alloc::string::String {
    let mut out = alloc::string::String::new();
    let mut run: Option<(u32, u32)> = None;
    let flush = |out: &mut alloc::string::String, run: Option<(u32, u32)>| {
        let Some((first, last)) = run else { return };
        let comma = if out.is_empty() { "" } else { "," };
        let _ = if first == last {
            write!(out, "{comma}{first}")
        } else {
            write!(out, "{comma}{first}-{last}")
        };
    };
    for cpu in cpus {
        run = match run {
            Some((first, last)) if last + 1 == cpu => Some((first, cpu)),
            other => {
                flush(&mut out, other);
                Some((cpu, cpu))
            }
        };
    }
    flush(&mut out, run);
    out.push('\n');
    out
}

/// Formats a CPU mask of `total` CPUs (`cpuset(7)`, "Mask format"), with a newline.
#[must_use]
pub fn cpu_mask(cpus: impl Iterator<Item = u32>, total: u32) -> alloc::string::String {
    let total = total.max(1);
    let words = total.div_ceil(32) as usize;
    let mut mask = alloc::vec![0u32; words];
    for cpu in cpus {
        if let Some(word) = mask.get_mut((cpu / 32) as usize) {
            *word |= 1 << (cpu % 32);
        }
    }
    let mut out = alloc::string::String::new();
    for (i, word) in mask.iter().rev().enumerate() {
        // The first word is as wide as the CPUs in it ask for.
        let width = if i == 0 {
            ((total - 1) % 32 / 4 + 1) as usize
        } else {
            out.push(',');
            8
        };
        let _ = write!(out, "{word:0width$x}");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_and_masks_are_formatted_as_linux_does() {
        assert_eq!(cpu_list(0..1), "0\n");
        assert_eq!(cpu_list(0..4), "0-3\n");
        assert_eq!(cpu_list([0, 2, 3, 7].into_iter()), "0,2-3,7\n");
        assert_eq!(cpu_list(0..0), "\n");
        assert_eq!(cpu_mask(0..2, 2), "3\n");
        assert_eq!(cpu_mask(1..2, 2), "2\n");
        assert_eq!(cpu_mask(0..1, 8), "01\n");
        assert_eq!(cpu_mask(0..34, 34), "3,ffffffff\n");
    }

    #[test]
    fn numbers_in_names_are_plain_decimals() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        for bad in [&b""[..], b"01", b"+1", b"4294967296", b"99999999999", b"1a"] {
            assert_eq!(number(bad), None);
        }
    }
}
