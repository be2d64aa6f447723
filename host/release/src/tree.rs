//! The files of an image, before they are written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
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
    /// Bytes that we made of this file, whose time they keep.
    Changed(Vec<u8>, PathBuf),
}

impl Source {
    /// Returns when the file on this machine was last modified, in seconds since 1970; `None` without a file.
    fn mtime(&self) -> io::Result<Option<u32>> {
        match self {
            Self::Bytes(_) => Ok(None),
            Self::Path(file, _) | Self::Changed(_, file) => {
                let seconds = fs::metadata(file)?.mtime();
                Ok(Some(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)))
            }
        }
    }
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
    /// Files keep the time at which they were last modified; folders, links and what we made have that of the newest file.
    /// None is later than `latest` (seconds since 1970).
    ///
    /// # Errors
    /// The path that could not be read, or the archive written, with the reason.
    pub fn write<W: Write>(
        &self,
        out: W,
        latest: Option<u32>,
        mut on_entry: impl FnMut(&Path),
    ) -> Result<u64, (PathBuf, io::Error)> {
        let latest = latest.unwrap_or(u32::MAX);
        let newest = self.newest()?.min(latest);
        let mut writer = Writer::new(out, newest);
        for (path, node) in &self.nodes {
            on_entry(path);
            let (place, result) = match node {
                Node::Dir(mode) => (path, writer.dir(path, *mode)),
                Node::Symlink(target) => (path, writer.symlink(path, target)),
                Node::File(mode, source) => {
                    let place = match source {
                        Source::Path(file, _) | Source::Changed(_, file) => file,
                        Source::Bytes(_) => path,
                    };
                    let written = source.mtime().and_then(|own| {
                        writer.set_mtime(own.map_or(newest, |own| own.min(latest)));
                        write_file(&mut writer, path, *mode, source)
                    });
                    writer.set_mtime(newest);
                    (place, written)
                }
            };
            result.map_err(|error| (place.clone(), error))?;
        }
        let (_, length) = writer
            .finish()
            .map_err(|error| (PathBuf::from("the archive"), error))?;
        Ok(length)
    }

    /// Returns the time of the file that was modified last; 0 when all is made by us.
    fn newest(&self) -> Result<u32, (PathBuf, io::Error)> {
        let mut newest = 0;
        for (path, node) in &self.nodes {
            if let Node::File(_, source) = node {
                let mtime = source.mtime().map_err(|error| (path.clone(), error))?;
                newest = newest.max(mtime.unwrap_or(0));
            }
        }
        Ok(newest)
    }
}

fn write_file<W: Write>(
    writer: &mut Writer<W>,
    path: &Path,
    mode: u32,
    source: &Source,
) -> io::Result<()> {
    match source {
        Source::Bytes(bytes) | Source::Changed(bytes, _) => {
            let runs = holes::find(&mut bytes.as_slice())?;
            writer.sparse_file(path, mode, bytes.len() as u64, &runs, &mut bytes.as_slice())
        }
        Source::Path(source, size) => {
            let mut file = File::open(source)?;
            let runs = holes::find(&mut file)?;
            file.rewind()?;
            writer.sparse_file(path, mode, *size, &runs, &mut file)
        }
    }
}

#[cfg(test)]
mod tests;
