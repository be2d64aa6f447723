//! A place in the file system: a file of the tree, of `/proc` or `/sys`, or an open file without a name.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::fs::{Stat, mode};
use tyn_abi::{Errno, Pid};
use tyn_fs::procfs::{ProcFacts, ProcNode, TaskLink};
use tyn_fs::sysfs::{SysFacts, SysNode};
use tyn_fs::tree::Ino;
use tyn_fs::walk::{Namespace, NodeKind, Target};
use tyn_hal::{cpu, mem};

use super::{DirectoryFile, PathFile, Pin, RegularFile, ShownName, TextFile, dev, fs};
use crate::device::DeviceFile;
use crate::file::OpenFile;
use crate::kernel::kernel;
use crate::pipe::PipeEnd;
use crate::process::{self, Process};
use crate::sched;
use crate::tty::{MasterFile, TtyFile};

/// A file or directory.
#[derive(Clone, Debug)]
pub enum Node {
    /// In the tree: it stays as long as the node is held, whoever removes its name meanwhile.
    Tree(Pin),
    /// In `/proc`.
    Proc(ProcNode),
    /// In `/sys`.
    Sys(SysNode),
    /// What a magic link leads to (`/proc/self/fd/1`, `/proc/self/exe`).
    Open(Arc<OpenFile>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tree(a), Self::Tree(b)) => a == b,
            (Self::Proc(a), Self::Proc(b)) => a == b,
            (Self::Sys(a), Self::Sys(b)) => a == b,
            (Self::Open(a), Self::Open(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Returns the place of an open file, if it has one.
#[must_use]
pub fn node_of(open: &OpenFile) -> Option<Node> {
    let file = open.file.as_any();
    if let Some(f) = file.downcast_ref::<RegularFile>() {
        return Some(Node::Tree(f.pin().clone()));
    }
    if let Some(f) = file.downcast_ref::<DirectoryFile>() {
        return Some(f.node().clone());
    }
    if let Some(f) = file.downcast_ref::<PathFile>() {
        return Some(f.node().clone());
    }
    if let Some(f) = file.downcast_ref::<TextFile>() {
        return Some(f.node().clone());
    }
    if let Some(f) = file.downcast_ref::<TtyFile>() {
        return Some(Node::Tree(f.pin().clone()));
    }
    if let Some(f) = file.downcast_ref::<MasterFile>() {
        return Some(Node::Tree(f.pin().clone()));
    }
    if let Some(place) = file
        .downcast_ref::<PipeEnd>()
        .and_then(|f| f.place.as_ref())
    {
        return Some(Node::Tree(place.pin().clone()));
    }
    file.downcast_ref::<DeviceFile>()
        .map(|f| Node::Tree(f.pin().clone()))
}

/// Facts for `/sys`.
#[must_use]
pub(super) fn sys_facts() -> SysFacts {
    let frames = mem::stats();
    SysFacts {
        cpus: u32::try_from(cpu::count()).unwrap_or(u32::MAX),
        max_cpus: u32::try_from(cpu::MAX_CPUS).unwrap_or(u32::MAX),
        total_bytes: kernel().ram_bytes,
        free_bytes: frames.free * tyn_abi::PAGE_SIZE as u64,
    }
}

/// Facts for `/proc`, as the running thread sees them.
#[derive(Debug)]
pub(super) struct Facts;

fn process(pid: u32) -> Option<Arc<Process>> {
    process::find(Pid(pid)).ok()
}

impl ProcFacts for Facts {
    fn caller(&self) -> (u32, u32) {
        sched::current().map_or((0, 0), |t| (t.process().pid.0, t.tid().0))
    }

    fn processes(&self) -> Vec<u32> {
        kernel().processes.lock().keys().map(|pid| pid.0).collect()
    }

    fn has_process(&self, pid: u32) -> bool {
        kernel().processes.lock().contains_key(&Pid(pid))
    }

    fn threads(&self, pid: u32) -> Vec<u32> {
        let threads = process(pid).map(|p| p.live_threads());
        let mut ids: Vec<u32> = threads.iter().flatten().map(|t| t.tid().0).collect();
        ids.sort_unstable();
        ids
    }

    fn descriptors(&self, pid: u32) -> Vec<u32> {
        // A listing for which there is no memory is empty.
        let open = process(pid).and_then(|p| p.files().list().ok());
        open.unwrap_or_default()
    }

    fn descriptor_access(&self, pid: u32, fd: u32) -> Option<u32> {
        let open = descriptor(pid, fd)?;
        Some(open.flags() & crate::file::flags::O_ACCMODE)
    }
}

fn descriptor(pid: u32, fd: u32) -> Option<Arc<OpenFile>> {
    let fd = tyn_abi::Fd(i32::try_from(fd).ok()?);
    process(pid)?.files().get(fd).ok()
}

impl Node {
    /// The root directory of the tree.
    pub const ROOT: Self = Self::Tree(Pin::ROOT);

    /// Returns the root of the file system that covers a directory of the tree.
    pub(super) fn covering(ino: Ino) -> Option<Self> {
        if ino == fs().proc {
            Some(Self::Proc(ProcNode::Root))
        } else if ino == fs().sys {
            Some(Self::Sys(SysNode::ROOT))
        } else {
            None
        }
    }

    /// Checks that the node is there still: only in `/proc` it may vanish while it is held.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn check(&self) -> Result<(), Errno> {
        match self {
            Self::Proc(node) if !node.exists(&Facts) => Err(Errno::ENOENT),
            Self::Tree(_) | Self::Proc(_) | Self::Sys(_) | Self::Open(_) => Ok(()),
        }
    }

    /// Returns file type and permissions.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn mode(&self) -> Result<u32, Errno> {
        match self {
            Self::Tree(pin) => fs().with_tree(|t| t.mode(pin.ino())),
            Self::Proc(node) => Ok(node.mode(&Facts)),
            Self::Sys(node) => Ok(node.mode()),
            Self::Open(open) => Ok(Stat::from_bytes(&open.file.stat()?).mode),
        }
    }

    /// Returns whether it is a directory.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn is_directory(&self) -> Result<bool, Errno> {
        Ok(self.mode()? & mode::S_IFMT == mode::S_IFDIR)
    }

    /// Returns the device number of its file system.
    #[must_use]
    pub fn dev(&self) -> u64 {
        match self {
            Self::Tree(pin) => fs().with_tree(|t| t.dev(pin.ino())).unwrap_or(dev::ROOT),
            Self::Proc(_) => dev::PROC,
            Self::Sys(_) => dev::SYS,
            Self::Open(open) => open.file.stat().map_or(0, |s| Stat::from_bytes(&s).dev),
        }
    }

    /// Returns the inode in the tree, for calls that change it.
    ///
    /// # Errors
    /// `EPERM` in `/proc`, `EROFS` in `/sys` and for files without a name.
    pub fn tree_ino(&self) -> Result<Ino, Errno> {
        match self {
            Self::Tree(pin) => Ok(pin.ino()),
            Self::Proc(_) => Err(Errno::EPERM),
            Self::Sys(_) => Err(Errno::EROFS),
            Self::Open(open) => match node_of(open) {
                Some(Self::Tree(pin)) => Ok(pin.ino()),
                _ => Err(Errno::EROFS),
            },
        }
    }

    /// Returns what keeps the inode alive, of a file of the tree.
    #[must_use]
    pub fn tree_pin(&self) -> Option<Pin> {
        match self {
            Self::Tree(pin) => Some(pin.clone()),
            Self::Open(open) => match node_of(open) {
                Some(Self::Tree(pin)) => Some(pin),
                _ => None,
            },
            Self::Proc(_) | Self::Sys(_) => None,
        }
    }

    /// Answers `stat(2)`.
    ///
    /// # Errors
    /// `ENOENT` when it is gone.
    pub fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::Tree(pin) => stat_tree(pin.ino()),
            Self::Proc(node) => {
                let nlink = if self.is_directory()? { 2 } else { 1 };
                Ok(synthesised(
                    dev::PROC,
                    node.ino(),
                    node.mode(&Facts),
                    nlink,
                    0,
                ))
            }
            Self::Sys(node) => {
                let is_dir = self.is_directory()?;
                let size = if is_dir { 0 } else { 4096 };
                let nlink = if is_dir { 2 } else { 1 };
                Ok(synthesised(dev::SYS, node.ino(), node.mode(), nlink, size))
            }
            Self::Open(open) => Ok(Stat::from_bytes(&open.file.stat()?)),
        }
    }

    /// Returns the absolute path of a directory.
    ///
    /// # Errors
    /// `ENOENT` when it was removed.
    pub fn directory_path(&self) -> Result<Vec<u8>, Errno> {
        match self {
            Self::Tree(pin) => fs().with_tree(|t| t.path(pin.ino())),
            Self::Proc(node) => Ok(format!("/proc{}", node.path()).into_bytes()),
            Self::Sys(node) => Ok(format!("/sys{}", node.path()).into_bytes()),
            Self::Open(open) => Ok(open.name.text().into_owned().into_bytes()),
        }
    }

    /// Returns the target of a symbolic link as `readlink(2)` shows it.
    ///
    /// # Errors
    /// `EINVAL` for other kinds, `ENOENT`.
    pub fn read_link(&self) -> Result<Vec<u8>, Errno> {
        match self.link_target()? {
            Target::Path(path) => Ok(path),
            Target::Node(Self::Open(open)) => Ok(shown_name(&open)),
            Target::Node(Self::Tree(pin)) => Ok(fs().with_tree(|t| {
                let mut path = t.last_path(pin.ino());
                mark_removed(&mut path, t.stat(pin.ino()).is_ok_and(|s| s.nlink == 0));
                path
            })),
            Target::Node(directory) => directory.directory_path(),
        }
    }

    fn link_target(&self) -> Result<Target<Self>, Errno> {
        match self {
            Self::Tree(pin) => {
                let target = fs().with_tree(|t| t.target(pin.ino()))?;
                Ok(Target::Path(target.to_vec()))
            }
            Self::Sys(node) => {
                let target = node.target().ok_or(Errno::EINVAL)?;
                Ok(Target::Path(target.into_bytes()))
            }
            Self::Proc(ProcNode::Fd(owner, fd)) => {
                let open = descriptor(owner.pid, *fd).ok_or(Errno::ENOENT)?;
                Ok(Target::Node(match node_of(&open) {
                    // A directory is walked on from; other files keep the name they were opened by.
                    Some(node) if node.is_directory()? => node,
                    _ => Self::Open(open),
                }))
            }
            Self::Proc(ProcNode::TaskLink(owner, link)) => {
                let process = process(owner.pid).ok_or(Errno::ENOENT)?;
                // A zombie has neither directories nor a program.
                if process.live_threads().is_empty() {
                    return Err(Errno::ENOENT);
                }
                let context = process.fs();
                Ok(Target::Node(match link {
                    TaskLink::Cwd => context.cwd(),
                    TaskLink::Root => context.root(),
                    TaskLink::Exe => {
                        let mm = process.mm();
                        let image = mm.image().ok_or(Errno::ENOENT)?;
                        Self::Open(Arc::clone(&image.exe))
                    }
                }))
            }
            Self::Proc(node) => {
                let target = node.target(&Facts).ok_or(Errno::EINVAL)?;
                Ok(Target::Path(target.into_bytes()))
            }
            Self::Open(_) => Err(Errno::EINVAL),
        }
    }
}

/// The name of an open file as `/proc/PID/fd` and `/proc/PID/maps` show it.
pub(crate) fn shown_name(open: &OpenFile) -> Vec<u8> {
    let mut name = open.name.text().into_owned().into_bytes();
    let is_removed = match (&open.name, node_of(open)) {
        (ShownName::Entry(..), _) => open.name.entry().is_some_and(|e| !e.is_there),
        (_, Some(Node::Tree(pin))) => fs()
            .with_tree(|t| t.stat(pin.ino()))
            .is_ok_and(|s| s.nlink == 0),
        _ => false,
    };
    mark_removed(&mut name, is_removed);
    name
}

fn mark_removed(name: &mut Vec<u8>, is_removed: bool) {
    if is_removed && !name.ends_with(b" (deleted)") {
        name.extend_from_slice(b" (deleted)");
    }
}

/// Answers `stat(2)` for an inode of the tree.
pub(crate) fn stat_tree(ino: Ino) -> Result<Stat, Errno> {
    let (mut stat, body) = fs().with_tree(|t| Ok::<_, Errno>((t.stat(ino)?, t.body(ino).ok())))?;
    if let Some(body) = body {
        body.complete_stat(&mut stat);
    }
    Ok(stat)
}

fn synthesised(dev: u64, ino: u64, mode: u32, nlink: u64, size: u64) -> Stat {
    let now = super::now();
    Stat {
        dev,
        ino,
        nlink,
        mode,
        size,
        blksize: 4096,
        atime: now,
        mtime: now,
        ctime: now,
        ..Stat::default()
    }
}

/// The whole name space, for [`tyn_fs::walk`].
#[derive(Debug)]
pub struct AllFiles;

impl Namespace for AllFiles {
    type Node = Node;

    fn kind(&self, node: &Node) -> Result<NodeKind, Errno> {
        if matches!(node, Node::Open(_)) {
            return Ok(NodeKind::Other);
        }
        Ok(match node.mode()? & mode::S_IFMT {
            mode::S_IFDIR => NodeKind::Directory,
            mode::S_IFLNK => NodeKind::Symlink,
            _ => NodeKind::Other,
        })
    }

    fn lookup(&self, dir: &Node, name: &[u8]) -> Result<Node, Errno> {
        match dir {
            Node::Tree(dir) => {
                let found = Pin::find(|t| t.lookup(dir.ino(), name))?;
                Ok(Node::covering(found.ino()).unwrap_or(Node::Tree(found)))
            }
            Node::Proc(node) => node.lookup(name, &Facts).map(Node::Proc),
            Node::Sys(node) => node.lookup(name, &sys_facts()).map(Node::Sys),
            Node::Open(_) => Err(Errno::ENOTDIR),
        }
    }

    fn parent(&self, dir: &Node) -> Result<Node, Errno> {
        match dir {
            Node::Tree(dir) => Pin::find(|t| t.parent(dir.ino())).map(Node::Tree),
            Node::Proc(ProcNode::Root) | Node::Sys(SysNode::ROOT) => Ok(Node::ROOT),
            Node::Proc(node) => Ok(Node::Proc(node.parent())),
            Node::Sys(node) => Ok(Node::Sys(node.parent())),
            Node::Open(_) => Err(Errno::ENOTDIR),
        }
    }

    fn target(&self, link: &Node) -> Result<Target<Node>, Errno> {
        link.link_target()
    }

    fn is_crossing(&self, a: &Node, b: &Node) -> bool {
        a.dev() != b.dev()
    }
}

/// The text of a path for messages and `/proc`: what is not UTF-8 is replaced.
pub(super) fn path_text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
