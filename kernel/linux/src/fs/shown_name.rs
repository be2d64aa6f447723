//! What an open file is called.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use tyn_fs::tree::{Entry, Ino};
use tyn_fs::walk::LastName;

use super::node::path_text;
use super::{Node, Pin, fs};

/// What `/proc/self/fd` shows of an open file. Paths are put together when somebody looks, as they are at that time.
#[derive(Debug)]
pub enum ShownName {
    /// A text: `pipe:[7]` and the like, or a path that does not change.
    Text(String),
    /// A directory of the tree.
    Directory(Pin),
    /// An inode of the tree that was found by this name in a directory, which may have been renamed since.
    Entry(Pin, Vec<u8>, Ino),
}

impl From<String> for ShownName {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl ShownName {
    /// Returns the name of a node that was found by this name in `parent`.
    pub(super) fn of(parent: Node, name: LastName, node: &Node) -> Self {
        match (parent, name, node) {
            (Node::Tree(dir), LastName::Name(name), Node::Tree(pin)) => {
                Self::Entry(dir, name, pin.ino())
            }
            (parent, LastName::Name(name), _) => {
                let mut path = parent.directory_path().unwrap_or_default();
                join(&mut path, &name);
                Self::Text(path_text(&path))
            }
            (_, _, Node::Tree(pin)) => Self::Directory(pin.clone()),
            (_, _, node) => Self::Text(path_text(&node.directory_path().unwrap_or_default())),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Directory(pin) => Cow::Owned(path_text(&path_of(pin.ino()))),
            Self::Entry(dir, name, ino) => {
                let entry = fs().with_tree(|t| t.entry_now(*ino, dir.ino(), name));
                let mut path = path_of(entry.dir);
                join(&mut path, &entry.name);
                Cow::Owned(path_text(&path))
            }
        }
    }

    /// Returns the entry as it is now, or was before it was removed.
    pub(super) fn entry(&self) -> Option<Entry> {
        match self {
            Self::Text(_) => None,
            Self::Directory(pin) => fs().with_tree(|t| t.entry_of(pin.ino())),
            Self::Entry(dir, name, ino) => {
                Some(fs().with_tree(|t| t.entry_now(*ino, dir.ino(), name)))
            }
        }
    }
}

/// Returns the path of a directory, or what it was before it was removed.
fn path_of(directory: Ino) -> Vec<u8> {
    fs().with_tree(|t| t.last_path(directory))
}

fn join(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
