//! Files of `/proc` and `/sys`: text made when it is read.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use tyn_abi::{Errno, Sink};
use tyn_hal::sync::SpinLock;

use super::node::sys_facts;
use super::{Node, facts};
use crate::file::{At, File};

/// An open file whose text is made anew each time it is read from the start; reads further on continue in that text.
#[derive(Debug)]
pub struct TextFile {
    node: Node,
    text: SpinLock<Option<Arc<Vec<u8>>>>,
}

impl TextFile {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            text: SpinLock::new(None),
        }
    }

    /// Returns the file.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    fn make(&self) -> Result<Arc<Vec<u8>>, Errno> {
        match &self.node {
            Node::Proc(node) => facts::proc_text(*node).map(Arc::new),
            Node::Sys(node) => {
                let text = node.text(&sys_facts()).ok_or(Errno::EINVAL)?;
                Ok(Arc::new(text.into_bytes()))
            }
            Node::Tree(_) | Node::Open(_) => Err(Errno::EINVAL),
        }
    }
}

impl File for TextFile {
    fn read(&self, at: At, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let At::Offset(offset) = at else {
            return Ok(0);
        };
        let kept = self.text.lock().clone().filter(|_| offset > 0);
        let text = match kept {
            Some(text) => text,
            None => {
                let fresh = self.make()?;
                *self.text.lock() = Some(Arc::clone(&fresh));
                fresh
            }
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.get(offset..).unwrap_or_default();
        let part = rest
            .get(..dst.remaining().min(rest.len()))
            .unwrap_or_default();
        dst.write_all(part)?;
        Ok(part.len())
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn stat(&self) -> Result<[u8; 144], Errno> {
        Ok(self.node.stat()?.to_bytes())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
