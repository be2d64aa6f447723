//! What an open file is called.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

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
    /// What was found by this name in a directory of the tree.
    Entry(Pin, Vec<u8>),
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
            (Node::Tree(pin), LastName::Name(name), _) => Self::Entry(pin, name),
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
            Self::Directory(pin) => Cow::Owned(path_text(&path_of(pin))),
            Self::Entry(pin, name) => {
                let mut path = path_of(pin);
                join(&mut path, name);
                Cow::Owned(path_text(&path))
            }
        }
    }
}

/// Returns the path of a directory, or what it was before it was removed.
fn path_of(directory: &Pin) -> Vec<u8> {
    fs().with_tree(|t| t.last_path(directory.ino()))
}

fn join(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
