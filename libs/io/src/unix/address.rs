//! `struct sockaddr_un`.

use alloc::vec::Vec;

use tyn_abi::Errno;
use tyn_abi::socket::AF_UNIX;

/// Length of the structure: family and 108 bytes of path.
const MAX_LEN: usize = 110;

/// The name of a local socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Address {
    /// None: never bound.
    #[default]
    Unnamed,
    /// A path in the file system, without the NUL.
    Path(Vec<u8>),
    /// A name in the abstract namespace, without the leading NUL.
    Abstract(Vec<u8>),
}

impl Address {
    /// Longest structure.
    pub const MAX_LEN: usize = MAX_LEN;

    /// Reads what `bind(2)` or `connect(2)` was given. Only the family makes [`Address::Unnamed`], which asks `bind` for
    /// a name of the kernel's choice.
    ///
    /// # Errors
    /// `EINVAL` for another family, or a wrong length.
    pub fn parse(bytes: &[u8]) -> Result<Self, Errno> {
        let (family, path) = bytes.split_first_chunk::<2>().ok_or(Errno::EINVAL)?;
        if u16::from_le_bytes(*family) != AF_UNIX || bytes.len() > MAX_LEN {
            return Err(Errno::EINVAL);
        }
        Ok(match path {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            path => Self::Path(path.split(|&b| b == 0).next().unwrap_or_default().to_vec()),
        })
    }

    /// Writes the structure, as long as `getsockname(2)` says it is.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = AF_UNIX.to_le_bytes().to_vec();
        match self {
            Self::Unnamed => {}
            Self::Path(path) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Self::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
        }
        bytes
    }

    /// Returns the abstract name number `n` that the kernel chooses: five hexadecimal digits.
    #[must_use]
    pub fn autobind(n: u32) -> Self {
        Self::Abstract(alloc::format!("{:05x}", n & 0xf_ffff).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_ends_at_its_nul() {
        let a = Address::parse(b"\x01\0/tmp/s\0junk").unwrap();
        assert_eq!(a, Address::Path(b"/tmp/s".to_vec()));
        assert_eq!(a.to_bytes(), b"\x01\0/tmp/s\0");
        assert_eq!(Address::parse(b"\x01\0/tmp/s").unwrap(), a);
    }

    #[test]
    fn abstract_name_has_the_given_length() {
        let a = Address::parse(b"\x01\0\0ab\0").unwrap();
        assert_eq!(a, Address::Abstract(b"ab\0".to_vec()));
        assert_eq!(a.to_bytes(), b"\x01\0\0ab\0");
        assert_eq!(Address::autobind(0xabcdef).to_bytes(), b"\x01\0\0bcdef");
    }

    #[test]
    fn unnamed_is_the_family_alone() {
        assert_eq!(Address::parse(b"\x01\0").unwrap(), Address::Unnamed);
        assert_eq!(Address::Unnamed.to_bytes(), b"\x01\0");
    }

    #[test]
    fn other_families_and_lengths_are_invalid() {
        assert_eq!(Address::parse(b"\x02\0abc"), Err(Errno::EINVAL));
        assert_eq!(Address::parse(b"\x01"), Err(Errno::EINVAL));
        let mut long = [b'x'; 111];
        long[..2].copy_from_slice(&[1, 0]);
        assert_eq!(Address::parse(&long), Err(Errno::EINVAL));
        assert_eq!(Address::parse(&long[..110]).unwrap().to_bytes().len(), 111);
    }
}
