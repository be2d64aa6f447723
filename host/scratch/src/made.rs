//! Temporary files and folders.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::Builder;

use crate::register::{Register, lock};
use crate::sweep::{prefix, sweep};

/// A folder that only its owner may enter; removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    _lock: fs::File,
}

impl Dir {
    /// Makes one where temporary files belong (`TMPDIR`).
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Makes one in `folder`.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new_in(folder: &Path) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let mut register = lock();
        sweep_once(&mut register, &folder);
        loop {
            let path = Builder::new()
                .prefix(&prefix())
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&folder)?
                .keep();
            match fs::File::open(&path) {
                Ok(file) if is_ours(&file, &path) => {
                    register.paths.insert(path.clone());
                    return Ok(Self { path, _lock: file });
                }
                // Somebody swept it before it was locked.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    // The error that counts is the one of opening it.
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            }
        }
    }

    /// Returns its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let mut register = lock();
        // What can't be removed stays for the next sweep.
        let _ = fs::remove_dir_all(&self.path);
        register.paths.remove(&self.path);
    }
}

/// A file that only its owner may read; removed when this is dropped, unless it was kept.
#[derive(Debug)]
pub struct File {
    file: fs::File,
    path: PathBuf,
    is_kept: bool,
}

impl File {
    /// Makes one in `folder`.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new_in(folder: &Path) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let mut register = lock();
        sweep_once(&mut register, &folder);
        loop {
            let made = Builder::new().prefix(&prefix()).tempfile_in(&folder)?;
            let (file, path) = made.keep().map_err(|error| error.error)?;
            if is_ours(&file, &path) {
                register.paths.insert(path.clone());
                return Ok(Self {
                    file,
                    path,
                    is_kept: false,
                });
            }
        }
    }

    /// Makes one beside `out`, which it is to become.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn beside(out: &Path) -> io::Result<Self> {
        Self::new_in(folder_of(out))
    }

    /// Returns its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open file.
    #[must_use]
    pub fn as_file(&self) -> &fs::File {
        &self.file
    }

    /// Makes it `out`, at once and whole, readable for everybody: what is made of public files is public.
    ///
    /// # Errors
    /// When it can't take that place.
    pub fn keep(mut self, out: &Path) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(0o644))?;
        let mut register = lock();
        fs::rename(&self.path, out)?;
        self.is_kept = true;
        register.paths.remove(&self.path);
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.is_kept {
            let mut register = lock();
            // What can't be removed stays for the next sweep.
            let _ = fs::remove_file(&self.path);
            register.paths.remove(&self.path);
        }
    }
}

/// Returns the folder that a file is in.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Locks what was made; `false` when a sweep came between and takes it away.
fn is_ours(file: &fs::File, path: &Path) -> bool {
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => false,
        // Where nothing can be locked, nothing is swept either.
        Err(fs::TryLockError::Error(_)) => true,
        Ok(()) => {
            let of = |meta: io::Result<fs::Metadata>| meta.map(|meta| (meta.dev(), meta.ino()));
            matches!((of(file.metadata()), of(fs::symlink_metadata(path))), (Ok(a), Ok(b)) if a == b)
        }
    }
}

fn sweep_once(register: &mut Register, folder: &Path) {
    if register.swept.insert(folder.to_path_buf()) {
        sweep(folder);
    }
}
