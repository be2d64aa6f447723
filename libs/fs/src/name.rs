//! Names of directory entries: borrowed from the archive, or shared.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::Deref;

/// Longest name of a directory entry in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// A name or link target: any bytes but NUL.
#[derive(Clone, Debug)]
pub enum Name {
    /// In the archive, or a constant.
    Static(&'static [u8]),
    /// On the heap.
    Shared(Arc<[u8]>),
}

impl Name {
    /// Copies `bytes` to the heap.
    #[must_use]
    pub fn copied(bytes: &[u8]) -> Self {
        Self::Shared(Arc::from(bytes))
    }
}

impl Deref for Name {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}
