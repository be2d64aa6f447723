//! Path arguments of system calls: a directory descriptor, a path, flags.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::fs::at::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use tyn_abi::inotify::Inotify;
use tyn_abi::{Errno, Fd, UserVa};
use tyn_fs::tree::Ino;
use tyn_fs::walk::{self, Last, LastName, Resolve, Resolved, Start};

use super::{AllFiles, Node, ShownName, node_of, watch};
use crate::cx::Cx;
use crate::file::OpenFile;
use crate::user_io;

/// Returns where a walk of `path` relative to `dir_fd` starts.
///
/// # Errors
/// `EBADF`; `ENOTDIR` when the descriptor is no directory.
pub(crate) fn start(cx: &Cx<'_>, dir_fd: Fd, path: &[u8]) -> Result<Start<Node>, Errno> {
    let mut start = cx.process.fs().start();
    if path.first() != Some(&b'/') && dir_fd.0 != AT_FDCWD {
        let open = cx.open_file(dir_fd)?;
        let node = node_of(&open).ok_or(Errno::ENOTDIR)?;
        // An empty path is refused as such, whatever the descriptor is.
        if !path.is_empty() && !node.is_directory()? {
            return Err(Errno::ENOTDIR);
        }
        start.dir = node;
    }
    Ok(start)
}

/// Reads and walks a path argument.
///
/// # Errors
/// As the walk; `EFAULT`.
pub(crate) fn resolve(
    cx: &Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    last: Last,
) -> Result<Resolved<Node>, Errno> {
    let path = user_io::read_path(path)?;
    let start = start(cx, dir_fd, &path)?;
    walk::resolve(&AllFiles, &start, &path, last)
}

/// Finds the file that a call with `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH` is about.
///
/// # Errors
/// As the walk; `EFAULT`, `ENOENT`.
pub(crate) fn find(cx: &Cx<'_>, dir_fd: Fd, path: UserVa, flags: u32) -> Result<Node, Errno> {
    let path = read_path_or_empty(path, flags)?;
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        return of_descriptor(cx, dir_fd);
    }
    walk_to(cx, dir_fd, &path, flags)?.existing()
}

fn walk_to(cx: &Cx<'_>, dir_fd: Fd, path: &[u8], flags: u32) -> Result<Resolved<Node>, Errno> {
    let last = if flags & AT_SYMLINK_NOFOLLOW == 0 {
        Last::Follow
    } else {
        Last::Keep
    };
    let start = start(cx, dir_fd, path)?;
    walk::resolve(&AllFiles, &start, path, last)
}

/// A file, and by what name or descriptor a call found it.
#[derive(Debug)]
pub(crate) enum Found {
    /// By this name.
    Named(Node, ShownName),
    /// By a descriptor.
    Open(Arc<OpenFile>),
}

impl Found {
    /// Returns the file.
    pub(crate) fn node(&self) -> Node {
        match self {
            Self::Named(node, _) => node.clone(),
            Self::Open(open) => node_of(open).unwrap_or_else(|| Node::Open(Arc::clone(open))),
        }
    }

    /// Tells those who watch it what happened to it.
    pub(crate) fn tell(&self, event: Inotify) {
        match self {
            Self::Named(node, name) => watch::named(node, name, event),
            Self::Open(open) => watch::open_file(open, event),
        }
    }
}

/// As [`find`], for a call that changes the file.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_to_change(
    cx: &Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    flags: u32,
) -> Result<Found, Errno> {
    let path = read_path_or_empty(path, flags)?;
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        if dir_fd.0 == AT_FDCWD {
            let cwd = cx.process.fs().cwd();
            let name = ShownName::of(cwd.clone(), LastName::Dot, &cwd);
            return Ok(Found::Named(cwd, name));
        }
        return cx.open_file(dir_fd).map(Found::Open);
    }
    let found = walk_to(cx, dir_fd, &path, flags)?;
    let node = found.node.ok_or(Errno::ENOENT)?;
    let name = ShownName::of(found.parent, found.name, &node);
    Ok(Found::Named(node, name))
}

/// Reads a path; with `AT_EMPTY_PATH` a null pointer is the empty path.
fn read_path_or_empty(path: UserVa, flags: u32) -> Result<Vec<u8>, Errno> {
    if path.is_null() && flags & AT_EMPTY_PATH != 0 {
        return Ok(Vec::new());
    }
    user_io::read_path(path)
}

/// Returns the file behind a descriptor, or the working directory.
///
/// # Errors
/// `EBADF`.
pub(crate) fn of_descriptor(cx: &Cx<'_>, fd: Fd) -> Result<Node, Errno> {
    if fd.0 == AT_FDCWD {
        return Ok(cx.process.fs().cwd());
    }
    let open = cx.open_file(fd)?;
    Ok(node_of(&open).unwrap_or(Node::Open(open)))
}

/// Returns the directory of the tree in which a call wants to make, remove or move a name.
///
/// # Errors
/// `ENOENT` in `/proc`, `EROFS` in `/sys`: nothing can be made there.
pub(crate) fn tree_dir(parent: &Node) -> Result<Ino, Errno> {
    match parent {
        Node::Tree(pin) => Ok(pin.ino()),
        Node::Sys(_) => Err(Errno::EROFS),
        Node::Proc(_) | Node::Open(_) => Err(Errno::ENOENT),
    }
}

/// Reads the restrictions of `openat2(2)`.
///
/// # Errors
/// `EINVAL` for unknown ones.
pub(crate) fn restrictions(bits: u64) -> Result<Resolve, Errno> {
    let known = Resolve::from_bits(bits).ok_or(Errno::EINVAL)?;
    if known.contains(Resolve::BENEATH | Resolve::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    Ok(known)
}
