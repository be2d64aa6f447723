//! Changing the metadata of files.

use tyn_abi::Errno;
use tyn_abi::fs::mode;
use tyn_abi::time::Timespec;

use super::{Ino, Kind, Tree};

impl<B: Clone> Tree<B> {
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
