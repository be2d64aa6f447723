//! Opening: what `open(2)` does after its path was walked.

use alloc::format;
use alloc::sync::Arc;

use tyn_abi::Errno;
use tyn_abi::fs::{fcntl, mode, open as o};
use tyn_abi::inotify::Inotify;
use tyn_fs::name::Name;
use tyn_fs::tree::{New, NewKind};
use tyn_fs::walk::{self, Last, LastName, Resolved, Start};

use super::node::{AllFiles, path_text};
use super::{
    Body, DirectoryFile, Node, PathFile, Pin, RegularFile, ShownName, TextFile, dev, fs, node_of,
    now, watch,
};
use crate::device::DeviceFile;
use crate::file::{File, OpenFile};
use crate::{fifo, pipe, sched, tty};

/// How a file is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// `O_*`.
    pub flags: u32,
    /// Permissions of a new file, before the umask.
    pub mode: u32,
    /// The umask.
    pub umask: u32,
    /// Whether the current thread may be made to wait.
    pub may_wait: bool,
}

impl How {
    /// Opens an existing file with these flags.
    #[must_use]
    pub fn existing(flags: u32) -> Self {
        Self {
            flags,
            mode: 0,
            umask: 0,
            may_wait: false,
        }
    }

    fn has(self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    fn is_writing(self) -> bool {
        matches!(self.flags & o::O_ACCMODE, o::O_WRONLY | o::O_RDWR)
    }
}

/// Opens the file at `path`.
///
/// # Errors
/// As `open(2)`.
pub fn open(start: &Start<Node>, path: &[u8], how: How) -> Result<Arc<OpenFile>, Errno> {
    check_flags(how)?;
    let keeps_link = how.has(o::O_NOFOLLOW) || how.has(o::O_CREAT | o::O_EXCL);
    let last = if keeps_link { Last::Keep } else { Last::Follow };
    let found = walk::resolve(&AllFiles, start, path, last)?;
    if how.has(o::O_TMPFILE_BIT) {
        let open = open_temporary(&found.existing()?, how)?;
        watch::open_file(&open, Inotify::OPEN);
        return Ok(open);
    }
    let found = match found {
        Resolved {
            parent,
            name,
            node: Some(node),
            wants_directory,
        } => {
            check_existing(&node, wants_directory, how)?;
            let open = open_node(&node, ShownName::of(parent, name, &node), how)?;
            tell_opened(&open, how);
            return Ok(open);
        }
        missing => missing,
    };
    if !how.has(o::O_CREAT) {
        return Err(Errno::ENOENT);
    }
    if found.wants_directory {
        return Err(Errno::EISDIR);
    }
    create(&found, how)
}

/// Tells those who watch it that an existing file was opened.
fn tell_opened(open: &OpenFile, how: How) {
    watch::open_file(open, Inotify::OPEN);
    if how.has(o::O_TRUNC) && open.downcast::<RegularFile>().is_some() {
        watch::open_file(open, Inotify::MODIFY);
    }
}

fn check_flags(how: How) -> Result<(), Errno> {
    if how.has(o::O_PATH) {
        return Ok(());
    }
    if how.has(o::O_CREAT | o::O_DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    if how.has(o::O_TMPFILE_BIT) && !(how.has(o::O_DIRECTORY) && how.is_writing()) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn check_existing(node: &Node, wants_directory: bool, how: How) -> Result<(), Errno> {
    let file_type = node.mode()? & mode::S_IFMT;
    let is_directory = file_type == mode::S_IFDIR;
    if how.has(o::O_CREAT) && !how.has(o::O_PATH) {
        if how.has(o::O_EXCL) {
            return Err(Errno::EEXIST);
        }
        if is_directory || wants_directory {
            return Err(Errno::EISDIR);
        }
    }
    if how.has(o::O_DIRECTORY) && !is_directory {
        return Err(Errno::ENOTDIR);
    }
    if file_type == mode::S_IFLNK && !how.has(o::O_PATH) {
        return Err(Errno::ELOOP);
    }
    Ok(())
}

/// Flags that stay with the description.
fn status_flags(how: How) -> u32 {
    if how.has(o::O_PATH) {
        return how.flags & (o::O_PATH | o::O_DIRECTORY | o::O_NOFOLLOW);
    }
    // `O_TMPFILE` with `O_EXCL` is a file that never gets a name.
    let hidden = if how.has(o::O_TMPFILE_BIT | o::O_EXCL) {
        o::O_TMPFILE_BIT
    } else {
        0
    };
    // Linux reports O_LARGEFILE for every file of a 64-bit program.
    how.flags & !(o::O_CREAT | o::O_EXCL | o::O_NOCTTY | o::O_TRUNC | hidden) | o::O_LARGEFILE
}

/// Opens a node under the name that it was found by.
///
/// # Errors
/// As `open(2)`.
pub fn open_node(node: &Node, name: ShownName, how: How) -> Result<Arc<OpenFile>, Errno> {
    let flags = status_flags(how);
    if how.has(o::O_PATH) {
        let file = PathFile::new(node.clone())?;
        return Ok(OpenFile::new(Arc::new(file), flags, name));
    }
    if node.is_directory()? {
        if how.is_writing() || how.has(o::O_TRUNC) {
            return Err(Errno::EISDIR);
        }
        let file = DirectoryFile::new(node.clone())?;
        return Ok(OpenFile::new(Arc::new(file), flags, name));
    }
    let file: Arc<dyn File> = match node {
        Node::Tree(pin) => open_inode(pin, how)?,
        Node::Proc(_) if how.is_writing() => return Err(Errno::EACCES),
        Node::Sys(_) if how.is_writing() => return Err(Errno::EROFS),
        Node::Proc(_) | Node::Sys(_) => Arc::new(TextFile::new(node.clone())),
        Node::Open(open) => return reopen(open, how),
    };
    Ok(OpenFile::new(file, flags, name))
}

/// Opens anew what a magic link leads to.
fn reopen(open: &Arc<OpenFile>, how: How) -> Result<Arc<OpenFile>, Errno> {
    if let Some(node) = node_of(open) {
        return open_node(&node, open.name.text().into_owned().into(), how);
    }
    if let Some(end) = open.downcast::<pipe::PipeEnd>() {
        return end.reopen(status_flags(how), &open.name.text());
    }
    // Sockets and anonymous inodes cannot be opened by name.
    Err(Errno::ENXIO)
}

fn open_inode(pin: &Pin, how: How) -> Result<Arc<dyn File>, Errno> {
    let ino = pin.ino();
    let (mode, rdev, body) = fs().with_tree(|t| {
        let (mode, rdev) = t.kind(ino)?;
        Ok::<_, Errno>((mode, rdev, t.body(ino)))
    })?;
    match mode & mode::S_IFMT {
        mode::S_IFREG => {
            let body = body?;
            let file = RegularFile::new(pin.clone(), body, how.flags)?;
            // Linux truncates whatever the access mode.
            if how.has(o::O_TRUNC) {
                let current = sched::current().filter(|_| how.may_wait);
                let body = file.body();
                let _change = current.as_ref().map(|thread| body.begin_change(thread));
                body.truncate(0)?;
            }
            Ok(Arc::new(file))
        }
        mode::S_IFCHR => match tty::open(rdev, pin, how.flags) {
            Some(result) => result,
            None => Ok(Arc::new(DeviceFile::open(pin.clone(), rdev)?)),
        },
        mode::S_IFIFO => Ok(Arc::new(fifo::open(pin.clone(), how.flags)?)),
        // Block devices, sockets.
        _ => Err(Errno::ENXIO),
    }
}

fn create(found: &Resolved<Node>, how: How) -> Result<Arc<OpenFile>, Errno> {
    let name = found.ordinary_name(Errno::EISDIR)?;
    let pin_of_parent = match &found.parent {
        Node::Tree(pin) => pin,
        Node::Sys(_) => return Err(Errno::EACCES),
        Node::Proc(_) | Node::Open(_) => return Err(Errno::ENOENT),
    };
    let parent = pin_of_parent.ino();
    let body = Body::empty(Arc::clone(&fs().quota), fcntl::F_SEAL_SEAL);
    let new = New {
        kind: NewKind::Regular(Arc::clone(&body)),
        mode: mode::S_IFREG | how.mode & !how.umask & mode::PERMISSIONS,
        uid: 0,
        gid: 0,
    };
    let time = now();
    let pin = fs().with_tree(|t| {
        let ino = t.create(parent, Name::copied(name), new, time)?;
        t.pin(ino)?;
        Ok(Pin::adopt(ino))
    });
    match pin {
        Ok(pin) => {
            let ino = pin.ino();
            let file = RegularFile::new(pin, body, how.flags)?;
            let shown = ShownName::Entry(Pin::clone(pin_of_parent), name.to_vec(), ino);
            let open = OpenFile::new(Arc::new(file), status_flags(how), shown);
            watch::entry(parent, name, Inotify::CREATE);
            watch::open_file(&open, Inotify::OPEN);
            Ok(open)
        }
        // Somebody made it since we looked.
        Err(Errno::EEXIST) if !how.has(o::O_EXCL) => {
            let node = Node::Tree(Pin::find(|t| t.lookup(parent, name))?);
            check_existing(&node, found.wants_directory, how)?;
            let name = LastName::Name(name.to_vec());
            let name = ShownName::of(found.parent.clone(), name, &node);
            let open = open_node(&node, name, how)?;
            tell_opened(&open, how);
            Ok(open)
        }
        // A sealed directory.
        Err(Errno::EPERM) => Err(Errno::EACCES),
        Err(errno) => Err(errno),
    }
}

/// Opens a file without a name (`O_TMPFILE`), which `linkat(2)` can give one unless `O_EXCL`.
fn open_temporary(dir: &Node, how: How) -> Result<Arc<OpenFile>, Errno> {
    if !dir.is_directory()? {
        return Err(Errno::ENOTDIR);
    }
    let Node::Tree(dir_pin) = dir else {
        return Err(Errno::EOPNOTSUPP);
    };
    let device = fs().with_tree(|t| t.dev(dir_pin.ino()))?;
    let (pin, body) = orphan(how.mode & !how.umask, device, fcntl::F_SEAL_SEAL)?;
    let name = format!("{}/#{}", path_text(&dir.directory_path()?), pin.ino().0);
    let file = RegularFile::new(pin, body, how.flags)?;
    Ok(OpenFile::new(Arc::new(file), status_flags(how), name))
}

/// Makes a regular file that has no name.
fn orphan(permissions: u32, device: u64, seals: u32) -> Result<(Pin, Arc<Body>), Errno> {
    let body = Body::empty(Arc::clone(&fs().quota), seals);
    let new = New {
        kind: NewKind::Regular(Arc::clone(&body)),
        mode: mode::S_IFREG | permissions & mode::PERMISSIONS,
        uid: 0,
        gid: 0,
    };
    let time = now();
    let ino = fs().with_tree(|t| t.create_orphan(new, device, time))?;
    Ok((Pin::adopt(ino), body))
}

/// Makes a file in memory (`memfd_create(2)`) with these seals.
///
/// # Errors
/// `ENOSPC`.
pub fn memfd(name: &[u8], permissions: u32, seals: u32) -> Result<Arc<OpenFile>, Errno> {
    let (pin, body) = orphan(permissions, dev::ANONYMOUS, seals)?;
    let shown = format!("/memfd:{} (deleted)", path_text(name));
    let flags = o::O_RDWR | o::O_LARGEFILE;
    let file = RegularFile::new(pin, body, flags)?;
    Ok(OpenFile::new(Arc::new(file), flags, shown))
}
