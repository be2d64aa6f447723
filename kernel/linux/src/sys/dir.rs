//! Names: `getdents64(2)`, `mkdir(2)`, `rmdir(2)`, `unlink(2)`, `rename(2)`, `link(2)`, `symlink(2)`, `mknod(2)`,
//! `chdir(2)`, `chroot(2)`, `getcwd(2)` and their variants.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::fs::at::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, RENAME_EXCHANGE,
    RENAME_NOREPLACE,
};
use tyn_abi::fs::{fcntl, mode, open as o};
use tyn_abi::inotify::Inotify;
use tyn_abi::{Errno, Fd, UserVa};
use tyn_fs::name::Name;
use tyn_fs::tree::{New, NewKind, RenameMode};
use tyn_fs::walk::{Last, LastName, Resolved};

use crate::cx::{Cx, SysResult};
use crate::fs::watch::{self, Moved};
use crate::fs::{self as files, Body, DirectoryFile, Node, at, fs, now};
use crate::user_io;

const CWD: Fd = Fd(AT_FDCWD);
/// Most bytes of entries that one call returns.
const LISTING_MAX: usize = 64 * 1024;

/// `getdents(2)`, the 64-bit version.
pub(crate) fn sys_getdents64(cx: &mut Cx<'_>, fd: Fd, buf: UserVa, count: u32) -> SysResult {
    list(cx, fd, buf, count, Ok)
}

/// `getdents(2)`, the old version: the file type is in the last byte of a record.
pub(crate) fn sys_getdents(cx: &mut Cx<'_>, fd: Fd, buf: UserVa, count: u32) -> SysResult {
    list(cx, fd, buf, count, old_records)
}

fn list(
    cx: &Cx<'_>,
    fd: Fd,
    buf: UserVa,
    count: u32,
    encode: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Errno>,
) -> SysResult {
    let open = cx.open_file(fd)?;
    if open.is_path_only() {
        return Err(Errno::EBADF);
    }
    let dir = open.downcast::<DirectoryFile>().ok_or(Errno::ENOTDIR)?;
    let _position = open.position_lock.lock(cx.thread);
    let (entries, last) = dir.entries(open.offset(), (count as usize).min(LISTING_MAX))?;
    let entries = encode(entries)?;
    user_io::write_bytes(buf, &entries)?;
    open.set_offset(last);
    watch::open_file(&open, Inotify::ACCESS);
    Ok(entries.len() as u64)
}

/// Turns `linux_dirent64` records (inode, offset, length, type, name) into `linux_dirent`, of the same lengths: the name
/// moves down by one to where the type was, and the type to the byte at the end that this frees.
fn old_records(mut entries: Vec<u8>) -> Result<Vec<u8>, Errno> {
    const LENGTH_AT: usize = 16;
    const TYPE_AT: usize = 18;
    let mut rest = entries.as_mut_slice();
    while !rest.is_empty() {
        let bytes = rest.get(LENGTH_AT..TYPE_AT).and_then(|b| b.first_chunk());
        let len = usize::from(u16::from_le_bytes(*bytes.ok_or(Errno::EIO)?));
        let (record, tail) = rest.split_at_mut_checked(len).ok_or(Errno::EIO)?;
        record.get_mut(TYPE_AT..).ok_or(Errno::EIO)?.rotate_left(1);
        rest = tail;
    }
    Ok(entries)
}

/// Makes an entry where a walk found none.
fn make(
    cx: &Cx<'_>,
    found: &Resolved<Node>,
    kind: NewKind<Arc<Body>>,
    file_mode: u32,
) -> SysResult {
    if found.node.is_some() {
        return Err(Errno::EEXIST);
    }
    let is_directory = matches!(kind, NewKind::Directory);
    if found.wants_directory && !is_directory {
        return Err(Errno::ENOENT);
    }
    let name = found.ordinary_name(Errno::EEXIST)?;
    let parent = at::tree_dir(&found.parent)?;
    let umask = if matches!(kind, NewKind::Symlink(_)) {
        0
    } else {
        cx.process.fs().umask()
    };
    let new = New {
        kind,
        mode: file_mode & !umask,
        uid: 0,
        gid: 0,
    };
    let time = now();
    fs().with_tree(|t| t.create(parent, Name::copied(name), new, time))?;
    let kind = if is_directory {
        Inotify::ISDIR
    } else {
        Inotify::empty()
    };
    watch::entry(parent, name, Inotify::CREATE | kind);
    Ok(0)
}

/// `mkdir(2)`.
pub(crate) fn sys_mkdir(cx: &mut Cx<'_>, path: UserVa, permissions: u32) -> SysResult {
    sys_mkdirat(cx, CWD, path, permissions)
}

/// `mkdirat(2)`.
pub(crate) fn sys_mkdirat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    permissions: u32,
) -> SysResult {
    const SETTABLE: u32 = 0o1777;
    let found = at::resolve(cx, dir_fd, path, Last::Name)?;
    let dir_mode = mode::S_IFDIR | permissions & SETTABLE;
    make(cx, &found, NewKind::Directory, dir_mode)
}

/// `mknod(2)`.
pub(crate) fn sys_mknod(cx: &mut Cx<'_>, path: UserVa, file_mode: u32, device: u32) -> SysResult {
    sys_mknodat(cx, CWD, path, file_mode, device)
}

/// `mknodat(2)`.
pub(crate) fn sys_mknodat(
    cx: &mut Cx<'_>,
    dir_fd: Fd,
    path: UserVa,
    file_mode: u32,
    device: u32,
) -> SysResult {
    let found = at::resolve(cx, dir_fd, path, Last::Name)?;
    let (kind, file_type) = match file_mode & mode::S_IFMT {
        0 | mode::S_IFREG => {
            let body = Body::empty(fs().shared_quota(), fcntl::F_SEAL_SEAL);
            (NewKind::Regular(body), mode::S_IFREG)
        }
        t @ (mode::S_IFCHR | mode::S_IFBLK) => (NewKind::Special(u64::from(device)), t),
        t @ (mode::S_IFSOCK | mode::S_IFIFO) => (NewKind::Special(0), t),
        mode::S_IFDIR => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    make(cx, &found, kind, file_type | file_mode & mode::PERMISSIONS)
}

/// `symlink(2)`.
pub(crate) fn sys_symlink(cx: &mut Cx<'_>, target: UserVa, path: UserVa) -> SysResult {
    sys_symlinkat(cx, target, CWD, path)
}

/// `symlinkat(2)`.
pub(crate) fn sys_symlinkat(
    cx: &mut Cx<'_>,
    target: UserVa,
    dir_fd: Fd,
    path: UserVa,
) -> SysResult {
    let target = user_io::read_path(target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let found = at::resolve(cx, dir_fd, path, Last::Name)?;
    let kind = NewKind::Symlink(Name::copied(&target));
    make(cx, &found, kind, mode::S_IFLNK | 0o777)
}

/// `link(2)`.
pub(crate) fn sys_link(cx: &mut Cx<'_>, old: UserVa, new: UserVa) -> SysResult {
    sys_linkat(cx, CWD, old, CWD, new, 0)
}

/// `linkat(2)`.
pub(crate) fn sys_linkat(
    cx: &mut Cx<'_>,
    old_fd: Fd,
    old: UserVa,
    new_fd: Fd,
    new: UserVa,
    flags: u32,
) -> SysResult {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = if flags & AT_SYMLINK_FOLLOW == 0 {
        AT_SYMLINK_NOFOLLOW
    } else {
        0
    };
    let source = at::find(cx, old_fd, old, follow | flags & AT_EMPTY_PATH)?;
    let found = at::resolve(cx, new_fd, new, Last::Name)?;
    if found.node.is_some() {
        return Err(Errno::EEXIST);
    }
    if found.wants_directory {
        return Err(Errno::ENOENT);
    }
    let name = found.ordinary_name(Errno::EEXIST)?;
    let parent = at::tree_dir(&found.parent)?;
    if source.dev() != found.parent.dev() {
        return Err(Errno::EXDEV);
    }
    let allow_orphan = is_linkable_orphan(cx, &source, old_fd, flags);
    let ino = source.tree_ino()?;
    let time = now();
    fs().with_tree(|t| t.link(ino, parent, Name::copied(name), allow_orphan, time))?;
    watch::inode(ino, Inotify::ATTRIB);
    watch::entry(parent, name, Inotify::CREATE);
    Ok(0)
}

/// Whether the file was opened with `O_TMPFILE` and without `O_EXCL`: then it may be given its first name.
fn is_linkable_orphan(cx: &Cx<'_>, source: &Node, old_fd: Fd, flags: u32) -> bool {
    let by_link = match source {
        Node::Open(open) => Some(Arc::clone(open)),
        _ => None,
    };
    let by_fd = || {
        let is_by_fd = flags & AT_EMPTY_PATH != 0;
        cx.open_file(old_fd).ok().filter(|_| is_by_fd)
    };
    by_link
        .or_else(by_fd)
        .is_some_and(|open| open.flags() & o::O_TMPFILE_BIT != 0)
}

/// `unlink(2)`.
pub(crate) fn sys_unlink(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    sys_unlinkat(cx, CWD, path, 0)
}

/// `rmdir(2)`.
pub(crate) fn sys_rmdir(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    sys_unlinkat(cx, CWD, path, AT_REMOVEDIR)
}

/// `unlinkat(2)`.
pub(crate) fn sys_unlinkat(cx: &mut Cx<'_>, dir_fd: Fd, path: UserVa, flags: u32) -> SysResult {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let found = at::resolve(cx, dir_fd, path, Last::Name)?;
    let removes_dir = flags & AT_REMOVEDIR != 0;
    let special = match (&found.name, removes_dir) {
        (_, false) => Errno::EISDIR,
        (LastName::Dot, true) => Errno::EINVAL,
        (LastName::DotDot, true) => Errno::ENOTEMPTY,
        (_, true) => Errno::EBUSY,
    };
    let name = found.ordinary_name(special)?;
    let node = found.node.as_ref().ok_or(Errno::ENOENT)?;
    let is_directory = node.is_directory()?;
    if !removes_dir && found.wants_directory {
        return Err(if is_directory {
            Errno::EISDIR
        } else {
            Errno::ENOTDIR
        });
    }
    let parent = match &found.parent {
        Node::Tree(pin) => pin.ino(),
        Node::Sys(_) => return Err(Errno::EROFS),
        Node::Proc(_) | Node::Open(_) => return Err(Errno::EPERM),
    };
    let time = now();
    let removed = fs().with_tree(|t| {
        if removes_dir {
            t.rmdir(parent, name, time)
        } else {
            t.unlink(parent, name, time)
        }
    })?;
    let kind = if removes_dir {
        Inotify::ISDIR
    } else {
        if let Ok(ino) = node.tree_ino() {
            watch::inode(ino, Inotify::ATTRIB);
        }
        Inotify::empty()
    };
    watch::removed(removed);
    // Who watches the file learns of its end before those who watch its directory.
    let name = name.to_vec();
    drop(found.node);
    watch::entry(parent, &name, Inotify::DELETE | kind);
    Ok(0)
}

/// `rename(2)`.
pub(crate) fn sys_rename(cx: &mut Cx<'_>, old: UserVa, new: UserVa) -> SysResult {
    sys_renameat2(cx, CWD, old, CWD, new, 0)
}

/// `renameat(2)`.
pub(crate) fn sys_renameat(
    cx: &mut Cx<'_>,
    old_fd: Fd,
    old: UserVa,
    new_fd: Fd,
    new: UserVa,
) -> SysResult {
    sys_renameat2(cx, old_fd, old, new_fd, new, 0)
}

/// `renameat2(2)`: `RENAME_NOREPLACE`, `RENAME_EXCHANGE`. Deviation: `RENAME_WHITEOUT` is refused (`EINVAL`).
pub(crate) fn sys_renameat2(
    cx: &mut Cx<'_>,
    old_fd: Fd,
    old: UserVa,
    new_fd: Fd,
    new: UserVa,
    flags: u32,
) -> SysResult {
    let how = match flags {
        0 => RenameMode::Replace,
        RENAME_NOREPLACE => RenameMode::NoReplace,
        RENAME_EXCHANGE => RenameMode::Exchange,
        _ => {
            cx.trace_unsupported("renameat2 flags", u64::from(flags));
            return Err(Errno::EINVAL);
        }
    };
    let from = at::resolve(cx, old_fd, old, Last::Name)?;
    let to = at::resolve(cx, new_fd, new, Last::Name)?;
    if from.parent.dev() != to.parent.dev() {
        return Err(Errno::EXDEV);
    }
    let special = if how == RenameMode::NoReplace {
        Errno::EEXIST
    } else {
        Errno::EBUSY
    };
    let from_name = from.ordinary_name(Errno::EBUSY)?;
    let to_name = to.ordinary_name(special)?;
    let source = from.node.as_ref().ok_or(Errno::ENOENT)?;
    if how == RenameMode::NoReplace && to.node.is_some() {
        return Err(Errno::EEXIST);
    }
    let moves_dir = source.is_directory()?;
    let slash_on_file =
        (from.wants_directory || (to.wants_directory && how != RenameMode::Exchange)) && !moves_dir;
    if slash_on_file {
        return Err(Errno::ENOTDIR);
    }
    let refused = |node: &Node| match node {
        Node::Tree(pin) => Ok(pin.ino()),
        Node::Sys(_) => Err(Errno::EROFS),
        Node::Proc(_) | Node::Open(_) => Err(Errno::EPERM),
    };
    let (from_dir, to_dir) = (refused(&from.parent)?, refused(&to.parent)?);
    let time = now();
    let removed = fs().with_tree(|t| {
        let to = (to_dir, Name::copied(to_name));
        t.rename((from_dir, from_name), to, how, time)
    })?;
    tell_renamed(&from, &to, how)?;
    watch::removed(removed);
    Ok(0)
}

/// Tells who watches it of a rename: what was found at both names before.
fn tell_renamed<'a>(
    from: &'a Resolved<Node>,
    to: &'a Resolved<Node>,
    how: RenameMode,
) -> Result<(), Errno> {
    if !watch::is_active() {
        return Ok(());
    }
    let ino = |found: &Resolved<Node>| found.node.as_ref().and_then(|n| n.tree_ino().ok());
    let place = |found: &'a Resolved<Node>| {
        let name = found.ordinary_name(Errno::EBUSY)?;
        Ok::<_, Errno>((at::tree_dir(&found.parent)?, name))
    };
    let (Some(source), target) = (ino(from), ino(to)) else {
        return Ok(());
    };
    // Two names of one file: nothing was done.
    if target == Some(source) {
        return Ok(());
    }
    let exchanges = how == RenameMode::Exchange;
    let first = Moved {
        ino: source,
        from: place(from)?,
        to: place(to)?,
        replaced: target.filter(|_| !exchanges),
    };
    watch::moved(&first);
    if let Some(target) = target.filter(|_| exchanges) {
        watch::moved(&Moved {
            ino: target,
            from: first.to,
            to: first.from,
            replaced: None,
        });
    }
    Ok(())
}

/// `chdir(2)`.
pub(crate) fn sys_chdir(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    let node = at::find(cx, CWD, path, 0)?;
    enter(cx, node)
}

/// `fchdir(2)`.
pub(crate) fn sys_fchdir(cx: &mut Cx<'_>, fd: Fd) -> SysResult {
    let open = cx.open_file(fd)?;
    let node = files::node_of(&open).ok_or(Errno::ENOTDIR)?;
    enter(cx, node)
}

fn enter(cx: &Cx<'_>, node: Node) -> SysResult {
    if !node.is_directory()? {
        return Err(Errno::ENOTDIR);
    }
    cx.process.fs().set_cwd(node)?;
    Ok(0)
}

/// `chroot(2)`.
pub(crate) fn sys_chroot(cx: &mut Cx<'_>, path: UserVa) -> SysResult {
    let node = at::find(cx, CWD, path, 0)?;
    if !node.is_directory()? {
        return Err(Errno::ENOTDIR);
    }
    cx.process.fs().set_root(node)?;
    Ok(0)
}

/// `getcwd(2)` as the kernel has it: returns the length with the NUL. A directory outside the root shows as
/// `(unreachable)/...`.
pub(crate) fn sys_getcwd(cx: &mut Cx<'_>, buf: UserVa, size: usize) -> SysResult {
    let context = cx.process.fs();
    let path = context.cwd().directory_path()?;
    let root = context.root().directory_path()?;
    let mut shown = below(&path, &root);
    shown.push(0);
    if shown.len() > size {
        return Err(Errno::ERANGE);
    }
    user_io::write_bytes(buf, &shown)?;
    Ok(shown.len() as u64)
}

/// Returns `path` as seen from the root directory `root`.
fn below(path: &[u8], root: &[u8]) -> Vec<u8> {
    if root == b"/" {
        return path.to_vec();
    }
    match path.strip_prefix(root) {
        Some(b"") => b"/".to_vec(),
        Some(rest) if rest.first() == Some(&b'/') => rest.to_vec(),
        _ => [b"(unreachable)", path].concat(),
    }
}
