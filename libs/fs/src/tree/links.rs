//! Making, linking and removing entries of directories.

use alloc::boxed::Box;

use tyn_abi::Errno;
use tyn_abi::fs::mode;
use tyn_abi::time::Timespec;

use super::{Directory, Ended, Ino, Inode, Kind, LINK_MAX, New, NewKind, Removed, Tree};
use crate::name::Name;

impl<B: Clone> Tree<B> {
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
            renames: None,
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
    /// `EEXIST`; `ENOENT` when `dir` was removed or the name is empty; `EPERM` when it is sealed; `ENOTDIR`,
    /// `ENAMETOOLONG`, `ENOSPC`, `EMLINK`.
    pub fn create(
        &mut self,
        dir: Ino,
        name: Name,
        mut new: New<B>,
        now: Timespec,
    ) -> Result<Ino, Errno> {
        if self.directory(dir)?.find(&name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.check_writable_dir(dir, &name)?;
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
    pub(super) fn attach(
        &mut self,
        dir: Ino,
        name: Name,
        ino: Ino,
        now: Timespec,
    ) -> Result<(), Errno> {
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
    pub(super) fn detach(
        &mut self,
        dir: Ino,
        name: &[u8],
        ino: Ino,
        now: Timespec,
    ) -> Result<(), Errno> {
        let is_dir = self.directory(ino).is_ok();
        self.directory_mut(dir)?.remove(name);
        let above = self.get_mut(dir)?;
        above.nlink -= u32::from(is_dir);
        above.mtime = now;
        above.ctime = now;
        Ok(())
    }

    /// Takes away the last link of a directory or one of a file, and ends the inode if nothing holds it.
    pub(super) fn drop_link(&mut self, ino: Ino, now: Timespec) -> Result<Removed<B>, Errno> {
        let inode = self.get_mut(ino)?;
        inode.nlink = match inode.kind {
            Kind::Directory(_) => 0,
            Kind::Regular(_) | Kind::Symlink(_) | Kind::Special => inode.nlink.saturating_sub(1),
        };
        inode.ctime = now;
        let has_others = inode.nlink > 0;
        if has_others {
            self.quota.release_inode();
        }
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
        let inode = self.inodes.remove(ino);
        Removed(inode.map(|inode| Ended { ino, inode }))
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
        // Each further name counts as an inode, as on Linux's tmpfs.
        let is_further = inode.nlink > 0;
        if is_further {
            self.quota.charge_inode()?;
        }
        let inode = self.get_mut(ino)?;
        inode.nlink += 1;
        inode.ctime = now;
        self.attach(dir, name, ino, now)
    }

    /// Removes a name of a file (`unlink(2)`).
    ///
    /// # Errors
    /// `EISDIR`, `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`, `EPERM` in a sealed directory.
    pub fn unlink(&mut self, dir: Ino, name: &[u8], now: Timespec) -> Result<Removed<B>, Errno> {
        let ino = self.lookup(dir, name)?;
        if self.directory(ino).is_ok() {
            return Err(Errno::EISDIR);
        }
        self.check_sealed(dir)?;
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
}
