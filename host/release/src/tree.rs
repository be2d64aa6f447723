//! The files of an image, before they are written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use crate::cpio::Writer;
use crate::holes;

/// Where a file's bytes come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A file of this machine, with its length in bytes.
    Path(PathBuf, u64),
    /// Bytes made by us.
    Bytes(Vec<u8>),
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// A directory with these permissions.
    Dir(u32),
    /// A file with these permissions.
    File(u32, Source),
    /// A symbolic link to this target.
    Symlink(PathBuf),
}

/// A file tree; paths are absolute. Ordered by path, so that a directory precedes what is in it.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

/// Two different things want one path.
#[derive(Debug, thiserror::Error)]
#[error("{} would be in the image twice, with different contents; remove or rename one", .0.display())]
pub struct Conflict(pub PathBuf);

impl Tree {
    /// Adds an entry and the directories above it.
    ///
    /// # Errors
    /// [`Conflict`] when the path is something else already.
    pub fn insert(&mut self, path: &Path, node: Node) -> Result<(), Conflict> {
        for dir in path.ancestors().skip(1) {
            let known = self
                .nodes
                .entry(dir.to_path_buf())
                .or_insert(Node::Dir(0o755));
            if !matches!(known, Node::Dir(_)) {
                return Err(Conflict(dir.to_path_buf()));
            }
        }
        match self.nodes.get(path) {
            Some(known) if *known == node => Ok(()),
            Some(Node::Dir(_)) if matches!(node, Node::Dir(_)) => {
                self.nodes.insert(path.to_path_buf(), node);
                Ok(())
            }
            Some(_) => Err(Conflict(path.to_path_buf())),
            None => {
                self.nodes.insert(path.to_path_buf(), node);
                Ok(())
            }
        }
    }

    /// Adds an entry, or puts it in the place of the file that is there.
    ///
    /// # Errors
    /// [`Conflict`] when the path is a folder.
    pub fn replace(&mut self, path: &Path, node: Node) -> Result<(), Conflict> {
        if !matches!(self.nodes.get(path), Some(Node::Dir(_))) {
            self.nodes.remove(path);
        }
        self.insert(path, node)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, path: &Path) {
        self.nodes.remove(path);
    }

    /// Returns the entry at a path.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Iterates over all entries, directories before what is in them.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Writes all entries as one archive; `on_entry` is called before each. Returns the archive's length in bytes.
    ///
    /// # Errors
    /// The path that could not be read, or the archive written, with the reason.
    pub fn write<W: Write>(
        &self,
        out: W,
        mtime: u32,
        mut on_entry: impl FnMut(&Path),
    ) -> Result<u64, (PathBuf, io::Error)> {
        let mut writer = Writer::new(out, mtime);
        for (path, node) in &self.nodes {
            on_entry(path);
            let (source, result) = match node {
                Node::Dir(mode) => (path, writer.dir(path, *mode)),
                Node::Symlink(target) => (path, writer.symlink(path, target)),
                Node::File(mode, Source::Bytes(bytes)) => (
                    path,
                    holes::find(&mut bytes.as_slice()).and_then(|runs| {
                        let size = bytes.len() as u64;
                        writer.sparse_file(path, *mode, size, &runs, &mut bytes.as_slice())
                    }),
                ),
                Node::File(mode, Source::Path(source, size)) => (
                    source,
                    File::open(source).and_then(|mut file| {
                        let runs = holes::find(&mut file)?;
                        file.rewind()?;
                        writer.sparse_file(path, *mode, *size, &runs, &mut file)
                    }),
                ),
            };
            result.map_err(|error| (source.clone(), error))?;
        }
        let (_, length) = writer
            .finish()
            .map_err(|error| (PathBuf::from("the archive"), error))?;
        Ok(length)
    }
}
