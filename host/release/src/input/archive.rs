//! Reads tar archives that anybody may have made: release tarballs and layers of container images.
//!
//! Paths of an archive never become paths of this machine while it is read: contents go to numbered files in a folder of
//! ours, names into a tree in memory, where links are links of the archive's own root. Only a tree that is whole and sound is
//! laid out as a folder, directories first and symbolic links last, so that nothing is ever written through a link.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

mod budget;
mod defect;
mod node;
mod parts;

use budget::Budget;
pub use defect::{ArchiveError, Defect};
use node::{Node, Placed, below};
pub(crate) use parts::is_header;
use parts::{Checked, Tail, damaged, inside, parts, shown, stays_inside};

/// Most bytes of headers in front of an entry: names of GNU tar, attributes of pax.
const MAX_HEADERS: u64 = 1 << 20;
/// Most bytes behind the end of an archive.
const MAX_TAIL: u64 = 64 << 20;
/// Symbolic links followed for one path, as in Linux.
const MAX_LINKS: usize = 40;
/// Unit of a tar archive.
const BLOCK: u64 = 512;

/// How an archive is to be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rules {
    /// The only one of its tree; links stay within it.
    Tarball,
    /// A layer of a container image, over those before.
    Layer,
}

/// A tree that is read from archives.
#[derive(Debug)]
pub(crate) struct Unpacker {
    spool: PathBuf,
    nodes: BTreeMap<PathBuf, Placed>,
    budget: Budget,
    /// The archive that is read.
    layer: u32,
}

impl Unpacker {
    /// Starts an empty tree; contents go to the folder `spool`, which is made.
    pub(crate) fn new(spool: &Path) -> io::Result<Self> {
        fs::create_dir_all(spool)?;
        Ok(Self {
            spool: spool.to_path_buf(),
            nodes: BTreeMap::new(),
            budget: Budget::new(spool)?,
            layer: 0,
        })
    }

    /// Reads the archive at `path`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(crate) fn add(&mut self, path: &Path, rules: Rules) -> Result<(), ArchiveError> {
        self.add_file(path, rules).map_err(|defect| ArchiveError {
            path: path.to_path_buf(),
            defect,
        })
    }

    fn add_file(&mut self, path: &Path, rules: Rules) -> Result<(), Defect> {
        let mut file = File::open(path).map_err(Defect::Read)?;
        // What is a pipe can't be read again.
        let mut start = Vec::new();
        let read = (&mut file).take(BLOCK).read_to_end(&mut start);
        read.map_err(Defect::Read)?;
        let file = io::Cursor::new(start.clone()).chain(file);
        let file = BufReader::with_capacity(1 << 18, file);
        match start[..] {
            [0x1f, 0x8b, ..] => self.read(MultiGzDecoder::new(file), rules),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::Decoder::with_buffer(file).map_err(Defect::Read)?;
                self.read(decoder, rules)
            }
            [b'B', b'Z', b'h', ..] => Err(Defect::Compression("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(Defect::Compression("xz")),
            _ if is_header(&start) => self.read(file, rules),
            [] => Err(Defect::Short),
            _ => Err(Defect::NotTar),
        }
    }

    /// Reads an uncompressed archive.
    pub(crate) fn read(&mut self, data: impl Read, rules: Rules) -> Result<(), Defect> {
        let budget = Rc::new(Cell::new(MAX_HEADERS));
        let mut archive = tar::Archive::new(Tail {
            data,
            zeros: 0,
            budget: Rc::clone(&budget),
        });
        self.layer += 1;
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            budget.set(u64::MAX);
            self.entry(&mut entry, rules)?;
            budget.set(MAX_HEADERS);
        }
        budget.set(MAX_TAIL);
        let mut tail = archive.into_inner();
        // Padding behind the end; reading it checks the compressed data's sum.
        let copied = io::copy(&mut tail, &mut io::sink());
        copied.map_err(|error| match budget.get() {
            0 => Defect::Damaged(format!("{} MiB and more follow its end", MAX_TAIL >> 20)),
            _ => damaged(error),
        })?;
        if tail.zeros < BLOCK {
            return Err(Defect::Short);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>, rules: Rules) -> Result<(), Defect> {
        let raw = entry.path().map_err(damaged)?.into_owned();
        self.budget.entry(&raw)?;
        let path = inside(&raw, rules).ok_or_else(|| Defect::Outside(shown(&raw)))?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        if rules == Rules::Layer && self.whiteout(&path) {
            return Ok(());
        }
        let Some(name) = path.file_name() else {
            // The root itself.
            return Ok(());
        };
        let parent = self.folder(path.parent().unwrap_or(Path::new("")), rules)?;
        let path = parent.join(name);
        match kind {
            EntryType::Directory => {
                // A link to a folder stays one when the folder is named again.
                match self.resolve(&path) {
                    Ok(at) if self.is_dir(&at) => self.refresh(&at),
                    _ => self.put(path, Node::Dir),
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let node = self.contents(entry)?;
                self.put(path, node);
            }
            EntryType::Symlink => {
                let target = entry.link_name().map_err(damaged)?.unwrap_or_default();
                let target = target.into_owned();
                self.budget.entry(&target)?;
                if target == Path::new("") {
                    return Err(Defect::Damaged(format!(
                        "'{}' links to nothing",
                        shown(&raw)
                    )));
                }
                if rules == Rules::Tarball && !stays_inside(&path, &target) {
                    return Err(Defect::LinkOutside {
                        link: shown(&raw),
                        target: shown(&target),
                    });
                }
                self.put(path, Node::Link(target));
            }
            EntryType::Link => {
                let target = entry.link_name().map_err(damaged)?.unwrap_or_default();
                let target = target.into_owned();
                let node = self.hard_link(&target, rules)?;
                let node = node.ok_or_else(|| Defect::LinkMissing {
                    link: shown(&raw),
                    target: shown(&target),
                })?;
                self.put(path, node);
            }
            _ if rules == Rules::Tarball => return Err(Defect::Special(shown(&raw))),
            // Devices of a container's root: the kernel has its own.
            _ => {}
        }
        Ok(())
    }

    /// Handles an entry that hides what layers below have. Returns whether it was one.
    fn whiteout(&mut self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(hidden) = name.strip_prefix(".wh.") else {
            return false;
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let Ok(parent) = self.resolve(parent) else {
            return true;
        };
        if hidden == ".wh..opq" {
            self.hide(&parent, false);
        } else if !hidden.is_empty() && hidden != "." && hidden != ".." {
            self.hide(&parent.join(hidden), true);
        }
        true
    }

    /// Removes what layers below have in a folder, and maybe the folder or file itself; what this layer put there stays.
    fn hide(&mut self, path: &Path, with_itself: bool) {
        let itself = with_itself.then(|| path.to_path_buf());
        let all = below(&self.nodes, path).cloned();
        let all: Vec<PathBuf> = itself.into_iter().chain(all).collect();
        // A folder comes before what is in it: from the end, it is empty when nothing new is.
        for path in all.into_iter().rev() {
            let is_old = self.nodes.get(&path).is_some_and(|placed| {
                placed.layer < self.layer && below(&self.nodes, &path).next().is_none()
            });
            if is_old {
                self.nodes.remove(&path);
            }
        }
    }

    /// Keeps the contents of a file.
    fn contents(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<Node, Defect> {
        let size = entry.size();
        self.budget.contents(size, &self.spool)?;
        let mode = entry.header().mode().map_err(damaged)?;
        // What is no time, or later than an image can say (2106), does no harm.
        let mtime = entry.header().mtime().unwrap_or(0).min(u32::MAX.into());
        let contents = self.spool.join(self.budget.entries().to_string());
        let mut file = File::create_new(&contents).map_err(|error| self.io(error))?;
        let mut data = Checked {
            data: entry,
            failed: false,
        };
        let copied = io::copy(&mut data, &mut file);
        let copied = match copied {
            Err(error) if data.failed => return Err(damaged(error)),
            other => other.map_err(|error| self.io(error))?,
        };
        if copied != size {
            return Err(Defect::Short);
        }
        let since = Duration::from_secs(mtime);
        file.set_modified(SystemTime::UNIX_EPOCH + since)
            .map_err(|error| self.io(error))?;
        Ok(Node::File { contents, mode })
    }

    fn hard_link(&self, target: &Path, rules: Rules) -> Result<Option<Node>, Defect> {
        let path = inside(target, rules).ok_or_else(|| Defect::Outside(shown(target)))?;
        let Ok(path) = self.resolve(&path) else {
            return Ok(None);
        };
        let node = self.node(&path);
        Ok(node.filter(|node| !matches!(node, Node::Dir)).cloned())
    }

    /// Returns the real path of a folder, which is made when it isn't there.
    fn folder(&mut self, path: &Path, rules: Rules) -> Result<PathBuf, Defect> {
        let mut real = PathBuf::new();
        for part in path.components() {
            let next = real.join(part);
            let resolved = self
                .resolve(&next)
                .map_err(|_| Defect::FileAsFolder(shown(&next)))?;
            match self.node(&resolved) {
                None => {
                    self.budget.entry(&resolved)?;
                    self.put(resolved.clone(), Node::Dir);
                }
                Some(Node::Dir) => {}
                Some(_) if rules == Rules::Layer => self.put(resolved.clone(), Node::Dir),
                Some(_) => return Err(Defect::FileAsFolder(shown(&next))),
            }
            real = resolved;
        }
        Ok(real)
    }

    /// Follows links within the tree's root; the last part need not be there.
    fn resolve(&self, path: &Path) -> Result<PathBuf, ()> {
        let mut links = 0;
        let mut real = PathBuf::new();
        let mut todo: Vec<PathBuf> = parts(path);
        while let Some(part) = todo.pop() {
            if part.as_os_str() == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            if let Some(Node::Link(target)) = self.node(&next) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(());
                }
                if target.is_absolute() {
                    real = PathBuf::new();
                }
                todo.extend(parts(target));
            } else {
                real = next;
            }
        }
        Ok(real)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path == Path::new("") || matches!(self.node(path), Some(Node::Dir))
    }

    fn put(&mut self, path: PathBuf, node: Node) {
        self.remove(&path);
        let layer = self.layer;
        self.nodes.insert(path, Placed { node, layer });
    }

    /// Makes a node one of this archive.
    fn refresh(&mut self, path: &Path) {
        if let Some(placed) = self.nodes.get_mut(path) {
            placed.layer = self.layer;
        }
    }

    fn node(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path).map(|placed| &placed.node)
    }

    /// Removes a path with all below it.
    fn remove(&mut self, path: &Path) {
        if let Some(Node::Dir) = self.nodes.remove(path).map(|placed| placed.node) {
            let below: Vec<PathBuf> = below(&self.nodes, path).cloned().collect();
            for path in below {
                self.nodes.remove(&path);
            }
        }
    }

    /// Returns whether there is a file at this path.
    pub(crate) fn has_file(&self, path: &Path) -> bool {
        self.resolve(path)
            .is_ok_and(|path| matches!(self.node(&path), Some(Node::File { .. })))
    }

    /// Returns the only folder at the top, if there is nothing beside it.
    pub(crate) fn only_folder(&self) -> Option<PathBuf> {
        let mut top = self
            .nodes
            .iter()
            .map(|(path, placed)| (path, &placed.node))
            .filter(|(p, _)| p.components().count() == 1);
        match (top.next(), top.next()) {
            (Some((path, Node::Dir)), None) => Some(path.clone()),
            _ => None,
        }
    }

    /// Lays the tree out as the new folder `root`.
    pub(crate) fn lay_out(self, root: &Path) -> io::Result<()> {
        fs::create_dir_all(root)?;
        let nodes = || self.nodes.iter().map(|(path, placed)| (path, &placed.node));
        for (path, _) in nodes().filter(|(_, n)| matches!(n, Node::Dir)) {
            fs::create_dir_all(root.join(path))?;
        }
        for (path, node) in nodes() {
            if let Node::File { contents, mode } = node {
                let to = root.join(path);
                // Names of one file share their contents.
                fs::hard_link(contents, &to)?;
                let mode = 0o600 | mode & 0o755;
                fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
            }
        }
        for (path, node) in nodes() {
            if let Node::Link(target) = node {
                symlink(target, root.join(path))?;
            }
        }
        fs::remove_dir_all(&self.spool)
    }

    fn io(&self, error: io::Error) -> Defect {
        Defect::Io {
            at: self.spool.clone(),
            error,
        }
    }
}

#[cfg(test)]
mod layer_tests;
#[cfg(test)]
pub(crate) mod tests;
