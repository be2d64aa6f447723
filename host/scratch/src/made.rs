//! Temporary files and folders.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::Builder;

use crate::register::{Register, lock};
use crate::sweep::{prefix, sweep};

/// How often another name is tried when another tool sweeps away what we just made. Each does so once, so it takes that many.
const TRIES: usize = 1000;

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
        for _ in 0..TRIES {
            let path = Builder::new()
                .prefix(&prefix())
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&folder)
                .map_err(as_told)?
                .keep();
            let locked = fs::File::open(&path)
                .and_then(|file| is_ours(&file, &path).map(|is_ours| is_ours.then_some(file)));
            match locked {
                Ok(Some(file)) => {
                    register.paths.insert(path.clone());
                    return Ok(Self { path, _lock: file });
                }
                // Somebody swept it before it was locked.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    // The error that counts is the one of opening it.
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            }
        }
        Err(swept_away())
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
        for _ in 0..TRIES {
            let made = Builder::new().prefix(&prefix()).tempfile_in(&folder);
            let made = made.map_err(as_told)?;
            // Removed when this fails.
            if is_ours(made.as_file(), made.path())? {
                let (file, path) = made.keep().map_err(|error| error.error)?;
                register.paths.insert(path.clone());
                return Ok(Self {
                    file,
                    path,
                    is_kept: false,
                });
            }
        }
        Err(swept_away())
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

    /// Makes it `out`, at once and whole, with the permissions of any new file ([`public`]).
    ///
    /// # Errors
    /// When it can't take that place.
    pub fn keep(mut self, out: &Path) -> io::Result<()> {
        self.file.set_permissions(public())?;
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

/// Returns the permissions of a file that is for everybody whom the process's file mode creation mask (`umask`) lets read it.
#[must_use]
pub fn public() -> Permissions {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Permissions::from_mode(0o666 & !umask(&status))
}

/// Returns the mask out of `/proc/PID/status`, the usual one where it is not told.
fn umask(status: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let mask = line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
    mask.unwrap_or(0o022)
}

fn swept_away() -> io::Error {
    io::Error::other("it is removed as soon as it is made, by other tools of this name")
}

/// Locks what was made; `false` when a sweep came between and takes it away.
fn is_ours(file: &fs::File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        // Where nothing can be locked, nothing is swept either.
        Err(fs::TryLockError::Error(_)) => Ok(true),
        Ok(()) => {
            let of = |meta: fs::Metadata| (meta.dev(), meta.ino());
            match fs::symlink_metadata(path) {
                Ok(meta) => Ok(of(meta) == of(file.metadata()?)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }
    }
}

fn sweep_once(register: &mut Register, folder: &Path) {
    if register.swept.insert(folder.to_path_buf()) {
        sweep(folder);
    }
}

/// Returns the system's own words alone: the path that is told with them was drawn by lot and says nothing to anybody.
fn as_told(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path \"") {
        Some((words, _)) => io::Error::new(error.kind(), words),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_files_have_the_permissions_of_any_new_file() {
        assert_eq!(umask("Name:\tx\nUmask:\t0077\n"), 0o077);
        assert_eq!(umask(""), 0o022);
        let top = tempfile::tempdir().unwrap();
        let [other, out] = ["other", "out"].map(|name| top.path().join(name));
        fs::write(&other, "").unwrap();
        File::beside(&out).unwrap().keep(&out).unwrap();
        let mode = |file: &Path| file.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&out), mode(&other));
    }

    #[test]
    fn what_another_tool_sweeps_is_not_ours_and_errors_are_told() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("x");
        let sweeper = fs::File::create(&path).unwrap();
        let file = fs::File::open(&path).unwrap();
        sweeper.lock().unwrap();
        assert!(!is_ours(&file, &path).unwrap());
        // A file is no folder.
        for error in [
            Dir::new_in(&path).unwrap_err(),
            File::new_in(&path).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "Not a directory (os error 20)");
        }
        drop(sweeper);
        assert!(is_ours(&file, &path).unwrap());
        assert!(is_ours(&file, &path.join("below")).is_err());
        fs::remove_file(&path).unwrap();
        assert!(!is_ours(&file, &path).unwrap());
    }
}
