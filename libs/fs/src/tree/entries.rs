//! Entries by which inodes were found: where they are now.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Ino, Kind, Tree};
use crate::name::Name;

/// How many former names of a file are kept.
const RENAMES_KEPT: usize = 16;

/// An entry by which an inode was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The directory that has it.
    pub dir: Ino,
    /// Its name.
    pub name: Name,
    /// Whether it leads to the inode; else it was removed.
    pub is_there: bool,
}

/// The entries that an inode had, the latest last, and the one that it got by the last rename.
#[derive(Debug)]
pub(super) struct Renames {
    from: Vec<(Ino, Name)>,
    to: (Ino, Name),
}

impl<B: Clone> Tree<B> {
    /// Returns the entry as which `ino` was found, `name` of `dir`, as it is now: there still, or where it was renamed to.
    #[must_use]
    pub fn entry_now(&self, ino: Ino, dir: Ino, name: &[u8]) -> Entry {
        let leads = |dir, name: &[u8]| self.lookup(dir, name) == Ok(ino);
        let entry = |dir, name: Name| Entry {
            dir,
            is_there: leads(dir, &name),
            name,
        };
        if !leads(dir, name) {
            if let Some(entry) = self.entry_of(ino) {
                return entry;
            }
            let renames = self.get(ino).ok().and_then(|i| i.renames.as_deref());
            if let Some(Renames { from, to }) = renames
                && from.iter().any(|f| f.0 == dir && *f.1 == *name)
            {
                return entry(to.0, to.1.clone());
            }
        }
        entry(dir, Name::copied(name))
    }

    /// Returns the entry of a directory but the root, or what it was before it was removed.
    #[must_use]
    pub fn entry_of(&self, dir: Ino) -> Option<Entry> {
        let directory = self.directory(dir).ok().filter(|_| dir != Self::ROOT)?;
        Some(Entry {
            dir: directory.parent,
            name: directory.name.clone(),
            is_there: self.lookup(directory.parent, &directory.name) == Ok(dir),
        })
    }

    /// Remembers where a file was and is now, for those who found it where it was ([`Tree::entry_now`]).
    pub(super) fn note_rename(&mut self, ino: Ino, from: (Ino, &[u8]), to: (Ino, Name)) {
        let Ok(inode) = self.get_mut(ino) else {
            return;
        };
        if matches!(inode.kind, Kind::Directory(_)) {
            return;
        }
        let mut earlier = inode.renames.take().map_or(Vec::new(), |r| r.from);
        if earlier.len() == RENAMES_KEPT {
            earlier.remove(0);
        }
        earlier.push((from.0, Name::copied(from.1)));
        let from = earlier;
        inode.renames = Some(Box::new(Renames { from, to }));
    }
}
