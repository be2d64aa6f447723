//! The tree of files: directories, links and metadata; what `/`, `/dev`, `/tmp` and memfds are made of.
//!
//! One table of inodes ([`crate::inodes`]) whose numbers never come back, so a number that a path walk carries across a
//! lock either still means the same file or none. What a regular file holds is the caller's type `B` (a handle on a
//! [`crate::content::Content`] behind the file's own lock). Nothing is dropped here: inodes that end are returned as
//! [`Removed`], so that the caller drops their pages outside its lock.
//!
//! # Invariants
//! - Every entry of a directory names a live inode; `nlink` of a file counts its entries, of a directory its entry,
//!   its `.` and its subdirectories.
//! - A live inode has links, or pins (open files, working directories), or is the root.
//! - `parent` of a directory in the tree is the directory that holds its entry; of a removed one it is stale.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::Errno;
use tyn_abi::fs::{Stat, mode};
use tyn_abi::time::Timespec;

use crate::content::Quota;
use crate::inodes::Inodes;
use crate::name::{NAME_MAX, Name};

/// An inode's number (`st_ino`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ino(pub u64);

/// Most links to one file.
const LINK_MAX: u32 = 65_000;
/// What tmpfs counts for a directory entry in `st_size`.
const DIRENT_SIZE: u64 = 20;
/// Cookies of `.` and `..`; entries have later ones.
const COOKIE_SELF: u64 = 1;
const COOKIE_PARENT: u64 = 2;

#[derive(Clone, Copy, Debug)]
struct Slot {
    ino: Ino,
    cookie: u64,
}

#[derive(Debug)]
struct Directory {
    by_name: BTreeMap<Name, Slot>,
    /// The names in the order of their cookies; made when the directory is first listed.
    by_cookie: Option<BTreeMap<u64, Name>>,
    next_cookie: u64,
    parent: Ino,
    name: Name,
}

impl Directory {
    fn new(parent: Ino, name: Name) -> Self {
        Self {
            by_name: BTreeMap::new(),
            by_cookie: None,
            next_cookie: COOKIE_PARENT + 1,
            parent,
            name,
        }
    }

    #[inline(never)]
    fn find(&self, name: &[u8]) -> Option<Ino> {
        self.by_name.get(name).map(|slot| slot.ino)
    }

    fn insert(&mut self, name: Name, ino: Ino) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        if let Some(order) = &mut self.by_cookie {
            order.insert(cookie, name.clone());
        }
        self.by_name.insert(name, Slot { ino, cookie });
    }

    fn remove(&mut self, name: &[u8]) {
        let removed = self.by_name.remove(name);
        if let (Some(slot), Some(order)) = (removed, &mut self.by_cookie) {
            order.remove(&slot.cookie);
        }
    }

    /// Makes sure that the names are known in order.
    fn index(&mut self) {
        if self.by_cookie.is_none() {
            let names = self.by_name.iter();
            self.by_cookie = Some(names.map(|(n, slot)| (slot.cookie, n.clone())).collect());
        }
    }
}

#[derive(Debug)]
enum Kind<B> {
    Directory(Box<Directory>),
    Regular(B),
    Symlink(Name),
    /// Device, FIFO or socket, as the mode says.
    Special,
}

#[derive(Debug)]
struct Inode<B> {
    dev: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    rdev: u64,
    atime: Timespec,
    mtime: Timespec,
    ctime: Timespec,
    btime: Timespec,
    pins: u32,
    kind: Kind<B>,
}

/// An inode that ended: its content is freed when the caller drops this.
#[derive(Debug)]
#[must_use = "drop it outside the lock"]
#[expect(dead_code, reason = "what counts is when it is dropped")]
pub struct Removed<B>(Option<Box<Inode<B>>>);

/// What a new inode is.
#[derive(Debug)]
pub enum NewKind<B> {
    /// A directory.
    Directory,
    /// A regular file with this content.
    Regular(B),
    /// A symbolic link with this target.
    Symlink(Name),
    /// A device, FIFO or socket (file type in the mode) with this device number.
    Special(u64),
}

/// A new inode's kind, mode (with its file type) and owner.
#[derive(Debug)]
pub struct New<B> {
    /// The kind.
    pub kind: NewKind<B>,
    /// File type and permissions, the umask applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group (the directory's, if that has `S_ISGID`).
    pub gid: u32,
}

/// How `rename` treats an existing target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// `EEXIST`.
    NoReplace,
    /// The two change places.
    Exchange,
}

/// A directory entry as `getdents64(2)` wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// Inode number.
    pub ino: Ino,
    /// Where to continue after this entry.
    pub cookie: u64,
    /// The inode's mode.
    pub mode: u32,
    /// Name.
    pub name: &'a [u8],
}

/// The tree.
#[derive(Debug)]
pub struct Tree<B> {
    inodes: Inodes<Inode<B>>,
    quota: Arc<Quota>,
}

impl<B: Clone> Tree<B> {
    /// The root directory.
    pub const ROOT: Ino = Ino(1);

    /// Makes a tree with an empty root directory on device `dev`.
    #[must_use]
    pub fn new(quota: Arc<Quota>, dev: u64, now: Timespec) -> Self {
        let mut inodes = Inodes::new();
        let root = inodes.insert(Box::new(Inode {
            dev,
            mode: mode::S_IFDIR | 0o755,
            uid: 0,
            gid: 0,
            nlink: 2,
            rdev: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            pins: 1,
            kind: Kind::Directory(Box::new(Directory::new(Self::ROOT, Name::Static(b"")))),
        }));
        debug_assert_eq!(root, Some(Self::ROOT), "the first inode is the root");
        Self { inodes, quota }
    }

    /// Sets the times of the root, which was made before there was a clock.
    pub fn set_root_times(&mut self, now: Timespec) {
        if let Ok(root) = self.get_mut(Self::ROOT) {
            (root.atime, root.ctime, root.btime) = (now, now, now);
        }
    }

    fn get(&self, ino: Ino) -> Result<&Inode<B>, Errno> {
        self.inodes.get(ino).ok_or(Errno::ENOENT)
    }

    fn get_mut(&mut self, ino: Ino) -> Result<&mut Inode<B>, Errno> {
        self.inodes.get_mut(ino).ok_or(Errno::ENOENT)
    }

    fn directory(&self, ino: Ino) -> Result<&Directory, Errno> {
        match &self.get(ino)?.kind {
            Kind::Directory(d) => Ok(d),
            Kind::Regular(_) | Kind::Symlink(_) | Kind::Special => Err(Errno::ENOTDIR),
        }
    }

    fn directory_mut(&mut self, ino: Ino) -> Result<&mut Directory, Errno> {
        match &mut self.get_mut(ino)?.kind {
            Kind::Directory(d) => Ok(d),
            Kind::Regular(_) | Kind::Symlink(_) | Kind::Special => Err(Errno::ENOTDIR),
        }
    }

    /// Checks that entries may be made in `dir`: it is a directory and was not removed.
    fn check_writable_dir(&self, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.directory(dir)?;
        if self.get(dir)?.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        if name.is_empty() {
            return Err(Errno::ENOENT);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(())
    }

    /// Returns the mode (file type and permissions).
    ///
    /// # Errors
    /// `ENOENT` when the inode is gone, as for all methods that take one.
    pub fn mode(&self, ino: Ino) -> Result<u32, Errno> {
        Ok(self.get(ino)?.mode)
    }

    /// Returns the mode and, of a device, its number.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn kind(&self, ino: Ino) -> Result<(u32, u64), Errno> {
        let inode = self.get(ino)?;
        Ok((inode.mode, inode.rdev))
    }

    /// Returns the device number of the file system it belongs to.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn dev(&self, ino: Ino) -> Result<u64, Errno> {
        Ok(self.get(ino)?.dev)
    }

    /// Returns the content of a regular file.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `EINVAL` for other kinds; `ENOENT`.
    pub fn body(&self, ino: Ino) -> Result<B, Errno> {
        match &self.get(ino)?.kind {
            Kind::Regular(body) => Ok(body.clone()),
            Kind::Directory(_) => Err(Errno::EISDIR),
            Kind::Symlink(_) | Kind::Special => Err(Errno::EINVAL),
        }
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` for other kinds; `ENOENT`.
    pub fn target(&self, ino: Ino) -> Result<Name, Errno> {
        match &self.get(ino)?.kind {
            Kind::Symlink(target) => Ok(target.clone()),
            Kind::Directory(_) | Kind::Regular(_) | Kind::Special => Err(Errno::EINVAL),
        }
    }

    /// Answers `stat(2)`; size and blocks of a regular file are for the caller to fill in.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn stat(&self, ino: Ino) -> Result<Stat, Errno> {
        let i = self.get(ino)?;
        let size = match &i.kind {
            Kind::Directory(d) => DIRENT_SIZE * (2 + d.by_name.len() as u64),
            Kind::Symlink(target) => target.len() as u64,
            Kind::Regular(_) | Kind::Special => 0,
        };
        Ok(Stat {
            dev: i.dev,
            ino: ino.0,
            nlink: u64::from(i.nlink),
            mode: i.mode,
            uid: i.uid,
            gid: i.gid,
            rdev: i.rdev,
            size,
            blksize: 4096,
            blocks: 0,
            atime: i.atime,
            mtime: i.mtime,
            ctime: i.ctime,
            btime: Some(i.btime),
        })
    }

    /// Finds an entry.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENAMETOOLONG`, `ENOENT`.
    #[inline(never)]
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Ino, Errno> {
        let directory = self.directory(dir)?;
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        directory.find(name).ok_or(Errno::ENOENT)
    }

    /// Returns the parent of a directory; the root's is the root.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOENT`.
    pub fn parent(&self, dir: Ino) -> Result<Ino, Errno> {
        Ok(self.directory(dir)?.parent)
    }

    /// Returns the absolute path of a directory.
    ///
    /// # Errors
    /// `ENOENT` when it (or a directory above it) was removed; `ENOTDIR`.
    pub fn path(&self, dir: Ino) -> Result<Vec<u8>, Errno> {
        let mut at = dir;
        while at != Self::ROOT {
            if self.get(at)?.nlink == 0 {
                return Err(Errno::ENOENT);
            }
            at = self.directory(at)?.parent;
        }
        Ok(self.last_path(dir))
    }

    /// Returns the absolute path of a directory; of a removed one what it was, as far as the directories above it are known.
    #[must_use]
    pub fn last_path(&self, dir: Ino) -> Vec<u8> {
        let mut names: Vec<&Name> = Vec::new();
        let mut at = dir;
        while at != Self::ROOT
            && let Ok(directory) = self.directory(at)
        {
            names.push(&directory.name);
            at = directory.parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// Calls `visit` with the entries after `cookie` (0: all, with `.` and `..`) until it returns `false`.
    ///
    /// # Errors
    /// `ENOTDIR`; `ENOENT` when the directory was removed.
    pub fn read_dir(
        &mut self,
        dir: Ino,
        cookie: u64,
        mut visit: impl FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        self.directory_mut(dir)?.index();
        let directory = self.directory(dir)?;
        if self.get(dir)?.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let dots: [(u64, Ino, &[u8]); 2] = [
            (COOKIE_SELF, dir, b"."),
            (COOKIE_PARENT, directory.parent, b".."),
        ];
        for (at, ino, name) in dots {
            let entry = DirEntry {
                ino,
                cookie: at,
                mode: mode::S_IFDIR,
                name,
            };
            if at > cookie && !visit(&entry) {
                return Ok(());
            }
        }
        let after = cookie.saturating_add(1);
        let entries = directory.by_cookie.iter().flat_map(|o| o.range(after..));
        for (&cookie, name) in entries {
            let Some(slot) = directory.by_name.get(name) else {
                continue;
            };
            let entry = DirEntry {
                ino: slot.ino,
                cookie,
                mode: self.get(slot.ino)?.mode,
                name,
            };
            if !visit(&entry) {
                break;
            }
        }
        Ok(())
    }

    fn allocate(&mut self, new: New<B>, dev: u64, now: Timespec) -> Result<Ino, Errno> {
        self.quota.charge_inode()?;
        let (kind, nlink, rdev) = match new.kind {
            NewKind::Directory => {
                let directory = Directory::new(Self::ROOT, Name::Static(b""));
                (Kind::Directory(Box::new(directory)), 2, 0)
            }
            NewKind::Regular(body) => (Kind::Regular(body), 1, 0),
            NewKind::Symlink(target) => (Kind::Symlink(target), 1, 0),
            NewKind::Special(rdev) => (Kind::Special, 1, rdev),
        };
        let inode = Box::new(Inode {
            dev,
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
            nlink,
            rdev,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            pins: 0,
            kind,
        });
        let ino = self.inodes.insert(inode);
        if ino.is_none() {
            self.quota.release_inode();
        }
        ino.ok_or(Errno::ENOSPC)
    }

    /// Makes a new entry.
    ///
    /// # Errors
    /// `EEXIST`; `ENOENT` when `dir` was removed or the name is empty; `ENOTDIR`, `ENAMETOOLONG`, `ENOSPC`, `EMLINK`.
    pub fn create(
        &mut self,
        dir: Ino,
        name: Name,
        mut new: New<B>,
        now: Timespec,
    ) -> Result<Ino, Errno> {
        self.check_writable_dir(dir, &name)?;
        if self.directory(dir)?.find(&name).is_some() {
            return Err(Errno::EEXIST);
        }
        let is_dir = matches!(new.kind, NewKind::Directory);
        let above = self.get(dir)?;
        if is_dir && above.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        if above.mode & mode::S_ISGID != 0 {
            new.gid = above.gid;
            new.mode |= if is_dir { mode::S_ISGID } else { 0 };
        }
        let ino = self.allocate(new, above.dev, now)?;
        self.attach(dir, name, ino, now)?;
        Ok(ino)
    }

    /// Enters `ino` in `dir`; for a directory also counts the link of its `..`.
    fn attach(&mut self, dir: Ino, name: Name, ino: Ino, now: Timespec) -> Result<(), Errno> {
        let is_dir = if let Ok(child) = self.directory_mut(ino) {
            child.parent = dir;
            child.name = name.clone();
            true
        } else {
            false
        };
        self.directory_mut(dir)?.insert(name, ino);
        let above = self.get_mut(dir)?;
        above.nlink += u32::from(is_dir);
        above.mtime = now;
        above.ctime = now;
        Ok(())
    }

    /// Takes an entry out of `dir`, the inode keeping its link count.
    fn detach(&mut self, dir: Ino, name: &[u8], ino: Ino, now: Timespec) -> Result<(), Errno> {
        let is_dir = self.directory(ino).is_ok();
        self.directory_mut(dir)?.remove(name);
        let above = self.get_mut(dir)?;
        above.nlink -= u32::from(is_dir);
        above.mtime = now;
        above.ctime = now;
        Ok(())
    }

    /// Takes away the last link of a directory or one of a file, and ends the inode if nothing holds it.
    fn drop_link(&mut self, ino: Ino, now: Timespec) -> Result<Removed<B>, Errno> {
        let inode = self.get_mut(ino)?;
        inode.nlink = match inode.kind {
            Kind::Directory(_) => 0,
            Kind::Regular(_) | Kind::Symlink(_) | Kind::Special => inode.nlink.saturating_sub(1),
        };
        inode.ctime = now;
        Ok(self.reap(ino))
    }

    fn reap(&mut self, ino: Ino) -> Removed<B> {
        let is_dead = self
            .inodes
            .get(ino)
            .is_some_and(|i| i.nlink == 0 && i.pins == 0);
        if !is_dead {
            return Removed(None);
        }
        self.quota.release_inode();
        Removed(self.inodes.remove(ino))
    }

    /// Makes an inode that has no name (`memfd_create(2)`, `O_TMPFILE`), pinned once.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub fn create_orphan(&mut self, new: New<B>, dev: u64, now: Timespec) -> Result<Ino, Errno> {
        let ino = self.allocate(new, dev, now)?;
        let inode = self.get_mut(ino)?;
        inode.nlink = 0;
        inode.pins = 1;
        Ok(ino)
    }

    /// Keeps an inode alive beyond its last link (an open file, a working directory).
    ///
    /// # Errors
    /// `ENOENT` when it is gone already.
    pub fn pin(&mut self, ino: Ino) -> Result<(), Errno> {
        self.get_mut(ino)?.pins += 1;
        Ok(())
    }

    /// Undoes one [`Tree::pin`].
    pub fn unpin(&mut self, ino: Ino) -> Removed<B> {
        if let Some(inode) = self.inodes.get_mut(ino) {
            inode.pins = inode.pins.saturating_sub(1);
        }
        self.reap(ino)
    }

    /// Makes another name for a file; `allow_orphan` also for one that has none left (`O_TMPFILE`).
    ///
    /// # Errors
    /// `EPERM` for a directory, `EXDEV`, `EMLINK`, `ENOENT` for an unlinked file; others as [`Tree::create`].
    pub fn link(
        &mut self,
        ino: Ino,
        dir: Ino,
        name: Name,
        allow_orphan: bool,
        now: Timespec,
    ) -> Result<(), Errno> {
        self.check_writable_dir(dir, &name)?;
        if self.directory(dir)?.find(&name).is_some() {
            return Err(Errno::EEXIST);
        }
        let above_dev = self.get(dir)?.dev;
        let inode = self.get_mut(ino)?;
        if matches!(inode.kind, Kind::Directory(_)) {
            return Err(Errno::EPERM);
        }
        if inode.dev != above_dev {
            return Err(Errno::EXDEV);
        }
        if inode.nlink == 0 && !allow_orphan {
            return Err(Errno::ENOENT);
        }
        if inode.nlink >= LINK_MAX {
            return Err(Errno::EMLINK);
        }
        inode.nlink += 1;
        inode.ctime = now;
        self.attach(dir, name, ino, now)
    }

    /// Removes a name of a file (`unlink(2)`).
    ///
    /// # Errors
    /// `EISDIR`, `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`.
    pub fn unlink(&mut self, dir: Ino, name: &[u8], now: Timespec) -> Result<Removed<B>, Errno> {
        let ino = self.lookup(dir, name)?;
        if self.directory(ino).is_ok() {
            return Err(Errno::EISDIR);
        }
        self.detach(dir, name, ino, now)?;
        self.drop_link(ino, now)
    }

    /// Removes an empty directory (`rmdir(2)`).
    ///
    /// # Errors
    /// `ENOTEMPTY`, `ENOTDIR`, `EBUSY` for the root of a file system, `ENOENT`, `ENAMETOOLONG`.
    pub fn rmdir(&mut self, dir: Ino, name: &[u8], now: Timespec) -> Result<Removed<B>, Errno> {
        let ino = self.lookup(dir, name)?;
        let is_empty = self.directory(ino)?.by_name.is_empty();
        if self.is_mount_root(dir, ino) {
            return Err(Errno::EBUSY);
        }
        if !is_empty {
            return Err(Errno::ENOTEMPTY);
        }
        self.detach(dir, name, ino, now)?;
        self.drop_link(ino, now)
    }

    /// Returns whether the entry `ino` of `dir` is where another file system begins.
    fn is_mount_root(&self, dir: Ino, ino: Ino) -> bool {
        matches!((self.get(dir), self.get(ino)), (Ok(a), Ok(b)) if a.dev != b.dev)
    }

    /// Makes `dir` (an empty directory) the root of a file system of its own.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn set_dev(&mut self, dir: Ino, dev: u64) -> Result<(), Errno> {
        self.get_mut(dir)?.dev = dev;
        Ok(())
    }

    /// Returns whether `ino` is `below` or lies above it.
    fn is_self_or_ancestor(&self, ino: Ino, below: Ino) -> Result<bool, Errno> {
        let mut at = below;
        loop {
            if at == ino {
                return Ok(true);
            }
            if at == Self::ROOT {
                return Ok(false);
            }
            at = self.parent(at)?;
        }
    }

    /// Renames (`renameat2(2)`); the file that is replaced is returned if that ended it.
    ///
    /// # Errors
    /// `EEXIST`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY`, `EINVAL` (into itself), `EXDEV`, `EBUSY`; others as [`Tree::create`].
    pub fn rename(
        &mut self,
        from: (Ino, &[u8]),
        to: (Ino, Name),
        how: RenameMode,
        now: Timespec,
    ) -> Result<Removed<B>, Errno> {
        let (from_dir, from_name) = from;
        let (to_dir, to_name) = to;
        let source = self.lookup(from_dir, from_name)?;
        self.check_writable_dir(to_dir, &to_name)?;
        let target = self.directory(to_dir)?.find(&to_name);
        if how == RenameMode::NoReplace && target.is_some() {
            return Err(Errno::EEXIST);
        }
        let dev = self.get(from_dir)?.dev;
        if dev != self.get(to_dir)?.dev {
            return Err(Errno::EXDEV);
        }
        if self.is_mount_root(from_dir, source)
            || target.is_some_and(|t| self.is_mount_root(to_dir, t))
        {
            return Err(Errno::EBUSY);
        }
        let source_is_dir = self.directory(source).is_ok();
        if source_is_dir && self.is_self_or_ancestor(source, to_dir)? {
            return Err(Errno::EINVAL);
        }
        let holds_source = match target {
            Some(target) if self.directory(target).is_ok() => {
                self.is_self_or_ancestor(target, from_dir)?
            }
            _ => false,
        };
        if holds_source && how == RenameMode::Replace {
            return Err(Errno::ENOTEMPTY);
        }
        if how == RenameMode::Exchange {
            let target = target.ok_or(Errno::ENOENT)?;
            return self.exchange(
                (from_dir, from_name, source),
                (to_dir, &to_name, target),
                now,
            );
        }
        let mut removed = Removed(None);
        if let Some(target) = target {
            if target == source {
                return Ok(removed);
            }
            self.check_replaceable(source_is_dir, target)?;
            self.detach(to_dir, &to_name, target, now)?;
            removed = self.drop_link(target, now)?;
        }
        self.detach(from_dir, from_name, source, now)?;
        self.attach(to_dir, to_name, source, now)?;
        self.get_mut(source)?.ctime = now;
        Ok(removed)
    }

    fn check_replaceable(&self, source_is_dir: bool, target: Ino) -> Result<(), Errno> {
        match (source_is_dir, self.directory(target)) {
            (true, Err(_)) => Err(Errno::ENOTDIR),
            (false, Ok(_)) => Err(Errno::EISDIR),
            (true, Ok(d)) if !d.by_name.is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    fn exchange(
        &mut self,
        a: (Ino, &[u8], Ino),
        b: (Ino, &[u8], Ino),
        now: Timespec,
    ) -> Result<Removed<B>, Errno> {
        if self.directory(b.2).is_ok() && self.is_self_or_ancestor(b.2, a.0)? {
            return Err(Errno::EINVAL);
        }
        if a.2 != b.2 {
            self.detach(a.0, a.1, a.2, now)?;
            self.detach(b.0, b.1, b.2, now)?;
            self.attach(a.0, Name::copied(a.1), b.2, now)?;
            self.attach(b.0, Name::copied(b.1), a.2, now)?;
            self.get_mut(a.2)?.ctime = now;
            self.get_mut(b.2)?.ctime = now;
        }
        Ok(Removed(None))
    }

    /// Sets the permission bits (`chmod(2)`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn set_mode(&mut self, ino: Ino, permissions: u32, now: Timespec) -> Result<(), Errno> {
        let inode = self.get_mut(ino)?;
        inode.mode = inode.mode & mode::S_IFMT | permissions & mode::PERMISSIONS;
        inode.ctime = now;
        Ok(())
    }

    /// Sets owner and group, where given (`chown(2)`); clears set-id bits of executables as Linux does.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn set_owner(
        &mut self,
        ino: Ino,
        uid: Option<u32>,
        gid: Option<u32>,
        now: Timespec,
    ) -> Result<(), Errno> {
        let inode = self.get_mut(ino)?;
        inode.uid = uid.unwrap_or(inode.uid);
        inode.gid = gid.unwrap_or(inode.gid);
        if !matches!(inode.kind, Kind::Directory(_)) {
            let group_exec = inode.mode & 0o010 != 0;
            let set_gid = if group_exec { mode::S_ISGID } else { 0 };
            inode.mode &= !(mode::S_ISUID | set_gid);
        }
        inode.ctime = now;
        Ok(())
    }

    /// Sets the times that are given (`utimensat(2)`).
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn set_times(
        &mut self,
        ino: Ino,
        atime: Option<Timespec>,
        mtime: Option<Timespec>,
        now: Timespec,
    ) -> Result<(), Errno> {
        let inode = self.get_mut(ino)?;
        inode.atime = atime.unwrap_or(inode.atime);
        inode.mtime = mtime.unwrap_or(inode.mtime);
        inode.ctime = now;
        Ok(())
    }

    /// Overwrites the metadata of an existing directory (an archive entry for it) or gives a file new content.
    pub(crate) fn load_over(
        &mut self,
        ino: Ino,
        meta: (u32, u32, u32),
        body: Option<B>,
        time: Timespec,
    ) {
        if let Some(inode) = self.inodes.get_mut(ino) {
            (inode.mode, inode.uid, inode.gid) = meta;
            inode.mtime = time;
            if let Some(body) = body {
                inode.kind = Kind::Regular(body);
            }
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
