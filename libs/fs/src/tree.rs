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

mod attributes;
mod entries;
mod links;
mod rename;

use entries::Renames;

pub use entries::Entry;

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
    /// Its entries are the kernel's ([`Tree::seal`]).
    is_sealed: bool,
}

impl Directory {
    fn new(parent: Ino, name: Name) -> Self {
        Self {
            by_name: BTreeMap::new(),
            by_cookie: None,
            next_cookie: COOKIE_PARENT + 1,
            parent,
            name,
            is_sealed: false,
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
            // One by one: collecting would first put all of them into one block of memory.
            let mut names = BTreeMap::new();
            for (name, slot) in &self.by_name {
                names.insert(slot.cookie, name.clone());
            }
            self.by_cookie = Some(names);
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
    /// Of what is no directory.
    renames: Option<Box<Renames>>,
    kind: Kind<B>,
}

/// An inode that ended: its content is freed when the caller drops this.
#[derive(Debug)]
#[must_use = "drop it outside the lock"]
pub struct Removed<B>(Option<Ended<B>>);

#[derive(Debug)]
struct Ended<B> {
    ino: Ino,
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    inode: Box<Inode<B>>,
}

impl<B> Removed<B> {
    /// Returns which inode ended, if one did.
    #[must_use]
    pub fn ino(&self) -> Option<Ino> {
        self.0.as_ref().map(|ended| ended.ino)
    }
}

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
            renames: None,
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
        self.check_sealed(dir)?;
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

    /// Seals a directory: nobody can make, remove or rename its entries; or opens it for that.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn seal(&mut self, dir: Ino, is_sealed: bool) -> Result<(), Errno> {
        self.directory_mut(dir)?.is_sealed = is_sealed;
        Ok(())
    }

    fn check_sealed(&self, dir: Ino) -> Result<(), Errno> {
        if self.directory(dir)?.is_sealed {
            return Err(Errno::EPERM);
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
}

#[cfg(test)]
mod tests;
