//! `O_PATH` descriptors: a place, nothing more.

use core::any::Any;

use tyn_abi::Errno;

use super::Node;
use crate::file::File;

/// A place in the file system that can be walked from, but not read or written.
#[derive(Debug)]
pub struct PathFile {
    node: Node,
}

impl PathFile {
    pub(super) fn new(node: Node) -> Result<Self, Errno> {
        node.check()?;
        Ok(Self { node })
    }

    /// Returns the place.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }
}

impl File for PathFile {
    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(self.node.stat()?.to_bytes())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
