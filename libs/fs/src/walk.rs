//! Path resolution (`path_resolution(7)`), over whatever can look up names.
//!
//! The walk itself is pure: it asks a [`Namespace`] one question at a time, so the namespace may lock as briefly as it
//! likes. It resolves all but the last name, then says what that last name is and, if it exists, what it names.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use tyn_abi::Errno;

use crate::name::NAME_MAX;

/// Most symbolic links that one walk follows (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// What a node is, as far as a walk cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

/// Where a symbolic link leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target<N> {
    /// To this path, from the link's directory.
    Path(Vec<u8>),
    /// To this very node ("magic link", `/proc/self/fd/1`).
    Node(N),
}

/// A tree of names.
pub trait Namespace {
    /// A handle on a file or directory.
    type Node: Clone + PartialEq;

    /// Returns what a node is.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    fn kind(&self, node: &Self::Node) -> Result<NodeKind, Errno>;

    /// Finds a name (neither `.` nor `..`) in a directory.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` when `dir` is none.
    fn lookup(&self, dir: &Self::Node, name: &[u8]) -> Result<Self::Node, Errno>;

    /// Returns the parent of a directory (the root's is the root).
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    fn parent(&self, dir: &Self::Node) -> Result<Self::Node, Errno>;

    /// Returns where a symbolic link leads.
    ///
    /// # Errors
    /// `ENOENT` when it is gone; `EACCES`.
    fn target(&self, link: &Self::Node) -> Result<Target<Self::Node>, Errno>;

    /// Returns whether two nodes are on different file systems (`RESOLVE_NO_XDEV`).
    fn is_crossing(&self, a: &Self::Node, b: &Self::Node) -> bool;
}

/// What to do when the last name is a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// Follow it.
    Follow,
    /// It is the result, unless a slash follows (`AT_SYMLINK_NOFOLLOW`, `lstat`).
    Keep,
    /// It is the result, and the caller judges slashes: for calls that make, remove or move the name itself.
    Name,
}

bitflags::bitflags! {
    /// Restrictions of `openat2(2)`, with its bit values.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Resolve: u64 {
        /// Stay on one file system.
        const NO_XDEV = 0x01;
        /// No magic links.
        const NO_MAGICLINKS = 0x02;
        /// No symbolic links at all, also as the last name.
        const NO_SYMLINKS = 0x04;
        /// Never leave the starting directory.
        const BENEATH = 0x08;
        /// Treat the starting directory as the root.
        const IN_ROOT = 0x10;
    }
}

/// Where a walk begins.
#[derive(Clone, Debug)]
pub struct Start<N> {
    /// The process's root directory; `..` does not lead above it.
    pub root: N,
    /// Where relative paths begin.
    pub dir: N,
    /// Restrictions.
    pub resolve: Resolve,
}

/// The last name of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LastName {
    /// An ordinary name.
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The root (`/`).
    Root,
    /// None: a magic link led straight to the node.
    Magic,
}

/// The result of a walk.
#[derive(Clone, Debug)]
pub struct Resolved<N> {
    /// The directory that holds (or would hold) the last name.
    pub parent: N,
    /// The last name.
    pub name: LastName,
    /// What it names, if it exists.
    pub node: Option<N>,
    /// The path ended with a slash: only a directory will do.
    pub wants_directory: bool,
}

impl<N> Resolved<N> {
    /// Returns the node.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn existing(self) -> Result<N, Errno> {
        self.node.ok_or(Errno::ENOENT)
    }

    /// Returns the name for a call that makes or moves an entry.
    ///
    /// # Errors
    /// `special` when the path ends with `.`, `..` or is the root.
    pub fn ordinary_name(&self, special: Errno) -> Result<&[u8], Errno> {
        match &self.name {
            LastName::Name(name) => Ok(name),
            LastName::Dot | LastName::DotDot | LastName::Root | LastName::Magic => Err(special),
        }
    }
}

struct Walk<'n, S: Namespace> {
    names: &'n S,
    root: &'n S::Node,
    start: &'n S::Node,
    resolve: Resolve,
    links: u32,
}

/// Resolves `path`.
///
/// # Errors
/// `ENOENT` (also for an empty path), `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `EXDEV` (against [`Resolve`]). A last name that
/// does not exist is no error: [`Resolved::node`] is `None` then.
pub fn resolve<S: Namespace>(
    names: &S,
    start: &Start<S::Node>,
    path: &[u8],
    last: Last,
) -> Result<Resolved<S::Node>, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let in_root = start.resolve.contains(Resolve::IN_ROOT);
    let root = if in_root { &start.dir } else { &start.root };
    let mut walk = Walk {
        names,
        root,
        start: &start.dir,
        resolve: start.resolve,
        links: 0,
    };
    walk.path(start.dir.clone(), path, last)
}

/// How far a walk has come in a path.
#[derive(Default)]
struct Rest {
    at: usize,
}

impl Rest {
    /// Takes the next name; `None` when only slashes remain.
    fn next_name<'p>(&mut self, path: &'p [u8]) -> Option<&'p [u8]> {
        let begin = self.at + self.remaining(path).iter().position(|&b| b != b'/')?;
        let tail = path.get(begin..)?;
        let len = tail.iter().position(|&b| b == b'/').unwrap_or(tail.len());
        self.at = begin + len;
        tail.get(..len)
    }

    fn remaining<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        path.get(self.at..).unwrap_or_default()
    }

    fn is_at_end(&self, path: &[u8]) -> bool {
        self.remaining(path).iter().all(|&b| b == b'/')
    }

    fn ends_with_slash(&self, path: &[u8]) -> bool {
        !self.remaining(path).is_empty()
    }
}

fn last_name(name: &[u8], is_magic: bool) -> LastName {
    match name {
        _ if is_magic => LastName::Magic,
        b"." => LastName::Dot,
        b".." => LastName::DotDot,
        _ => LastName::Name(name.to_vec()),
    }
}

/// The result of a path that is only slashes.
fn at_directory<N: Clone>(root: N) -> Resolved<N> {
    Resolved {
        parent: root.clone(),
        name: LastName::Root,
        node: Some(root),
        wants_directory: true,
    }
}

impl<S: Namespace> Walk<'_, S> {
    /// Walks `path` from `dir`. Symbolic links are spliced in front of what remains, so there is no recursion.
    fn path(&mut self, dir: S::Node, path: &[u8], last: Last) -> Result<Resolved<S::Node>, Errno> {
        let mut dir = dir;
        let mut path = Cow::Borrowed(path);
        let mut rest = Rest::default();
        if path.first() == Some(&b'/') {
            dir = self.enter_root(&dir)?;
        }
        loop {
            let Some(name) = rest.next_name(&path) else {
                // Only slashes: the root.
                return Ok(at_directory(dir));
            };
            let is_last = rest.is_at_end(&path);
            let wants_directory = is_last && rest.ends_with_slash(&path);
            let step = self.step(&dir, name)?;
            let is_link = match &step {
                Some(node) => self.names.kind(node)? == NodeKind::Symlink,
                None => false,
            };
            let follows = match last {
                Last::Follow => true,
                Last::Keep => !is_last || wants_directory,
                Last::Name => !is_last,
            };
            let mut is_magic = false;
            let node = match step {
                Some(link) if is_link && follows => match self.follow(&link)? {
                    Target::Path(mut target) => {
                        // With the slashes, which ask for a directory.
                        target.extend_from_slice(rest.remaining(&path));
                        path = Cow::Owned(target);
                        rest = Rest::default();
                        if path.first() == Some(&b'/') {
                            dir = self.enter_root(&dir)?;
                        }
                        continue;
                    }
                    Target::Node(node) => {
                        is_magic = true;
                        Some(node)
                    }
                },
                other => other,
            };
            if is_last {
                let found = Resolved {
                    name: last_name(name, is_magic),
                    parent: dir,
                    node,
                    wants_directory,
                };
                return self.finish(found, last);
            }
            dir = node.ok_or(Errno::ENOENT)?;
            if self.names.kind(&dir)? != NodeKind::Directory {
                return Err(Errno::ENOTDIR);
            }
        }
    }

    /// Checks a final slash against what was found.
    fn finish(&self, found: Resolved<S::Node>, last: Last) -> Result<Resolved<S::Node>, Errno> {
        if last != Last::Name
            && found.wants_directory
            && let Some(node) = &found.node
            && self.names.kind(node)? == NodeKind::Other
        {
            return Err(Errno::ENOTDIR);
        }
        Ok(found)
    }

    fn enter_root(&self, from: &S::Node) -> Result<S::Node, Errno> {
        if self.resolve.contains(Resolve::BENEATH) {
            return Err(Errno::EXDEV);
        }
        self.check_crossing(from, self.root)?;
        Ok(self.root.clone())
    }

    fn check_crossing(&self, a: &S::Node, b: &S::Node) -> Result<(), Errno> {
        if self.resolve.contains(Resolve::NO_XDEV) && self.names.is_crossing(a, b) {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    /// Looks up one name.
    fn step(&self, dir: &S::Node, name: &[u8]) -> Result<Option<S::Node>, Errno> {
        let node = match name {
            b"." => Some(dir.clone()),
            b".." => Some(self.parent(dir)?),
            _ if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            _ => match self.names.lookup(dir, name) {
                Ok(node) => Some(node),
                Err(Errno::ENOENT) => None,
                Err(errno) => return Err(errno),
            },
        };
        if let Some(node) = &node {
            self.check_crossing(dir, node)?;
        }
        Ok(node)
    }

    fn parent(&self, dir: &S::Node) -> Result<S::Node, Errno> {
        if dir == self.root {
            return if self.resolve.contains(Resolve::BENEATH) {
                Err(Errno::EXDEV)
            } else {
                Ok(dir.clone())
            };
        }
        if self.resolve.contains(Resolve::BENEATH) && dir == self.start {
            return Err(Errno::EXDEV);
        }
        self.names.parent(dir)
    }

    fn follow(&mut self, link: &S::Node) -> Result<Target<S::Node>, Errno> {
        self.links += 1;
        if self.links > MAX_LINKS || self.resolve.contains(Resolve::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        let target = self.names.target(link)?;
        match &target {
            Target::Path(path) if path.is_empty() => Err(Errno::ENOENT),
            Target::Node(_) if self.resolve.contains(Resolve::NO_MAGICLINKS) => Err(Errno::ELOOP),
            Target::Node(_) if self.resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT) => {
                Err(Errno::EXDEV)
            }
            Target::Path(_) | Target::Node(_) => Ok(target),
        }
    }
}

#[cfg(test)]
mod tests;
