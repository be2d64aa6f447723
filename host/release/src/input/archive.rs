//! Reads tar archives that anybody may have made: release tarballs and layers of container images.
//!
//! Paths of an archive never become paths of this machine while it is read: contents go to numbered files in a folder of
//! ours, names into a tree in memory, where links are links of the archive's own root. Only a tree that is whole and sound is
//! laid out as a folder, directories first and symbolic links last, so that nothing is ever written through a link.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

mod defect;
mod parts;

pub use defect::{ArchiveError, Defect};
pub(crate) use parts::is_header;
use parts::{Checked, Tail, damaged, inside, parts, shown, stays_inside};

/// Most entries of all archives together.
const MAX_ENTRIES: usize = 1_000_000;
/// Most bytes of all archives together, unpacked.
const MAX_BYTES: u64 = 32 << 30;
/// Most bytes of headers in front of an entry: names of GNU tar, attributes of pax.
const MAX_HEADERS: u64 = 1 << 20;
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

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File { contents: PathBuf, mode: u32 },
    Link(PathBuf),
}

/// A tree that is read from archives.
#[derive(Debug)]
pub(crate) struct Unpacker {
    spool: PathBuf,
    nodes: BTreeMap<PathBuf, Node>,
    entries: usize,
    bytes: u64,
}

impl Unpacker {
    /// Starts an empty tree; contents go to the folder `spool`, which is made.
    pub(crate) fn new(spool: &Path) -> io::Result<Self> {
        fs::create_dir_all(spool)?;
        Ok(Self {
            spool: spool.to_path_buf(),
            nodes: BTreeMap::new(),
            entries: 0,
            bytes: 0,
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
        let mut start = Vec::new();
        let read = (&mut file).take(BLOCK).read_to_end(&mut start);
        read.and_then(|_| file.rewind()).map_err(Defect::Read)?;
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
        let before = self.nodes.clone();
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(Defect::TooBig);
            }
            budget.set(u64::MAX);
            self.entry(&mut entry, rules, &before)?;
            budget.set(MAX_HEADERS);
        }
        budget.set(u64::MAX);
        let mut tail = archive.into_inner();
        // Padding behind the end; reading it checks the compressed data's sum.
        io::copy(&mut tail, &mut io::sink()).map_err(damaged)?;
        if tail.zeros < BLOCK {
            return Err(Defect::Short);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        rules: Rules,
        before: &BTreeMap<PathBuf, Node>,
    ) -> Result<(), Defect> {
        let raw = entry.path().map_err(damaged)?.into_owned();
        let path = inside(&raw, rules).ok_or_else(|| Defect::Outside(shown(&raw)))?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        if rules == Rules::Layer && self.whiteout(&path, before)? {
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
                let is_folder = self.resolve(&path).is_ok_and(|at| self.is_dir(&at));
                if !is_folder {
                    self.remove(&path);
                    self.nodes.insert(path, Node::Dir);
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let node = self.contents(entry)?;
                self.put(path, node);
            }
            EntryType::Symlink => {
                let target = entry.link_name().map_err(damaged)?.unwrap_or_default();
                let target = target.into_owned();
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
    fn whiteout(&mut self, path: &Path, before: &BTreeMap<PathBuf, Node>) -> Result<bool, Defect> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(hidden) = name.strip_prefix(".wh.") else {
            return Ok(false);
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let Ok(parent) = self.resolve(parent) else {
            return Ok(true);
        };
        if hidden == ".wh..opq" {
            // All of the layers below goes; what this layer put there before stays.
            let old: Vec<PathBuf> = below(before, &parent).cloned().collect();
            for path in old {
                let is_old = match (self.nodes.get(&path), before.get(&path)) {
                    (
                        Some(Node::File { contents: a, .. }),
                        Some(Node::File { contents: b, .. }),
                    ) => a == b,
                    (Some(Node::Dir), Some(Node::Dir)) => {
                        !below(&self.nodes, &path).any(|below| !before.contains_key(below))
                    }
                    (Some(Node::Link(a)), Some(Node::Link(b))) => a == b,
                    _ => false,
                };
                if is_old {
                    self.nodes.remove(&path);
                }
            }
        } else if !hidden.is_empty() && hidden != "." && hidden != ".." {
            self.remove(&parent.join(hidden));
        }
        Ok(true)
    }

    /// Keeps the contents of a file.
    fn contents(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<Node, Defect> {
        let size = entry.size();
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_BYTES {
            return Err(Defect::TooBig);
        }
        let mode = entry.header().mode().map_err(damaged)?;
        let contents = self.spool.join(self.entries.to_string());
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
        Ok(Node::File { contents, mode })
    }

    fn hard_link(&self, target: &Path, rules: Rules) -> Result<Option<Node>, Defect> {
        let path = inside(target, rules).ok_or_else(|| Defect::Outside(shown(target)))?;
        let Ok(path) = self.resolve(&path) else {
            return Ok(None);
        };
        let node = self.nodes.get(&path);
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
            match self.nodes.get(&resolved) {
                None => {
                    self.nodes.insert(resolved.clone(), Node::Dir);
                }
                Some(Node::Dir) => {}
                Some(_) if rules == Rules::Layer => {
                    self.remove(&resolved);
                    self.nodes.insert(resolved.clone(), Node::Dir);
                }
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
            if let Some(Node::Link(target)) = self.nodes.get(&next) {
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
        path == Path::new("") || matches!(self.nodes.get(path), Some(Node::Dir))
    }

    fn put(&mut self, path: PathBuf, node: Node) {
        self.remove(&path);
        self.nodes.insert(path, node);
    }

    /// Removes a path with all below it.
    fn remove(&mut self, path: &Path) {
        if let Some(Node::Dir) = self.nodes.remove(path) {
            let below: Vec<PathBuf> = below(&self.nodes, path).cloned().collect();
            for path in below {
                self.nodes.remove(&path);
            }
        }
    }

    /// Returns whether there is a file at this path.
    pub(crate) fn has_file(&self, path: &Path) -> bool {
        self.resolve(path)
            .is_ok_and(|path| matches!(self.nodes.get(&path), Some(Node::File { .. })))
    }

    /// Returns the only folder at the top, if there is nothing beside it.
    pub(crate) fn only_folder(&self) -> Option<PathBuf> {
        let mut top = self
            .nodes
            .iter()
            .filter(|(p, _)| p.components().count() == 1);
        match (top.next(), top.next()) {
            (Some((path, Node::Dir)), None) => Some(path.clone()),
            _ => None,
        }
    }

    /// Lays the tree out as the new folder `root`.
    pub(crate) fn lay_out(self, root: &Path) -> io::Result<()> {
        fs::create_dir_all(root)?;
        for (path, _) in self.nodes.iter().filter(|(_, n)| matches!(n, Node::Dir)) {
            fs::create_dir_all(root.join(path))?;
        }
        for (path, node) in &self.nodes {
            if let Node::File { contents, mode } = node {
                let to = root.join(path);
                // Names of one file share their contents.
                fs::hard_link(contents, &to)?;
                let mode = 0o600 | mode & 0o755;
                fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
            }
        }
        for (path, node) in &self.nodes {
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

/// Everything below a folder.
fn below<'a>(
    nodes: &'a BTreeMap<PathBuf, Node>,
    dir: &'a Path,
) -> impl Iterator<Item = &'a PathBuf> {
    nodes
        .range(dir.to_path_buf()..)
        .map(|(path, _)| path)
        .skip_while(move |path| *path == dir)
        .take_while(move |path| path.starts_with(dir))
}

#[cfg(test)]
pub(crate) mod tests;
