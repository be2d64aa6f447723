//! Open directories.

use alloc::vec::Vec;
use core::any::Any;

use tyn_abi::fs::{mode, push_dirent};
use tyn_abi::{Errno, Sink};
use tyn_fs::synth::Child;

use super::node::{Facts, sys_facts};
use super::{Node, fs};
use crate::file::{At, File};

/// An open directory; the position of its description is the cookie of the last entry that was read.
#[derive(Debug)]
pub struct DirectoryFile {
    node: Node,
}

impl DirectoryFile {
    pub(super) fn new(node: Node) -> Result<Self, Errno> {
        node.check()?;
        Ok(Self { node })
    }

    /// Returns the directory.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns entries after `cookie` as `getdents64(2)` wants them, at most `room` bytes, and the cookie of the last one.
    ///
    /// # Errors
    /// `EINVAL` when not even one entry fits; `ENOENT` when the directory was removed.
    pub fn entries(&self, cookie: u64, room: usize) -> Result<(Vec<u8>, u64), Errno> {
        let mut list = Listing {
            out: Vec::new(),
            room,
            last: cookie,
            is_full: false,
        };
        match &self.node {
            Node::Tree(pin) => {
                fs().with_tree(|t| {
                    t.read_dir(pin.ino(), cookie, |e| {
                        let shown = match Node::covering(e.ino) {
                            Some(Node::Proc(covering)) => covering.ino(),
                            Some(Node::Sys(covering)) => covering.ino(),
                            Some(Node::Tree(_) | Node::Open(_)) | None => e.ino.0,
                        };
                        list.push(e.cookie, shown, e.mode, e.name)
                    })
                })?;
            }
            Node::Proc(node) => {
                let children = node.children(&Facts)?;
                list.dots(node.ino(), node.parent().ino());
                list.children(children, |n| (n.ino(), n.mode(&Facts)));
            }
            Node::Sys(node) => {
                let children = node.children(&sys_facts())?;
                list.dots(node.ino(), node.parent().ino());
                list.children(children, |n| (n.ino(), n.mode()));
            }
            Node::Open(_) => return Err(Errno::ENOTDIR),
        }
        if list.is_full && list.out.is_empty() {
            return Err(Errno::EINVAL);
        }
        Ok((list.out, list.last))
    }
}

/// Entries being collected.
struct Listing {
    out: Vec<u8>,
    room: usize,
    last: u64,
    is_full: bool,
}

impl Listing {
    /// Adds an entry unless it was read before; returns whether to go on.
    fn push(&mut self, cookie: u64, ino: u64, entry_mode: u32, name: &[u8]) -> bool {
        if cookie <= self.last {
            return true;
        }
        let left = self.room - self.out.len();
        let d_type = mode::dirent_type(entry_mode);
        if self.is_full || !push_dirent(&mut self.out, left, ino, cookie, d_type, name) {
            self.is_full = true;
            return false;
        }
        self.last = cookie;
        true
    }

    fn dots(&mut self, own: u64, parent: u64) {
        self.push(1, own, mode::S_IFDIR, b".");
        self.push(2, parent, mode::S_IFDIR, b"..");
    }

    fn children<N: Copy>(&mut self, children: Vec<Child<N>>, facts: impl Fn(N) -> (u64, u32)) {
        for child in children {
            let (ino, entry_mode) = facts(child.node);
            if !self.push(child.cookie, ino, entry_mode, child.name.as_bytes()) {
                break;
            }
        }
    }
}

impl File for DirectoryFile {
    fn read(&self, _: At, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
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
