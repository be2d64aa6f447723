//! Moving entries of directories.

use tyn_abi::Errno;
use tyn_abi::time::Timespec;

use super::{Ino, Removed, RenameMode, Tree};
use crate::name::Name;

impl<B: Clone> Tree<B> {
    /// Returns whether the entry `ino` of `dir` is where another file system begins.
    pub(super) fn is_mount_root(&self, dir: Ino, ino: Ino) -> bool {
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
        self.check_sealed(from_dir)?;
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
        self.attach(to_dir, to_name.clone(), source, now)?;
        self.get_mut(source)?.ctime = now;
        self.note_rename(source, (from_dir, from_name), (to_dir, to_name));
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
            self.note_rename(a.2, (a.0, a.1), (b.0, Name::copied(b.1)));
            self.note_rename(b.2, (b.0, b.1), (a.0, Name::copied(a.1)));
        }
        Ok(Removed(None))
    }
}
