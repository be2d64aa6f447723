//! Files that are to be run.

use alloc::sync::Arc;

use tyn_abi::Errno;
use tyn_abi::fs::mode;
use tyn_abi::inotify::Inotify;

use crate::file::{OpenFile, flags};
use crate::fs;
use crate::process::FsContext;

/// Opens the file at `path` for running it.
///
/// # Errors
/// As `execve(2)`: `EACCES` when it is not a regular file or may not be executed, `ETXTBSY` while it is open for writing,
/// and those of path walks.
pub(crate) fn open_executable(context: &FsContext, path: &[u8]) -> Result<Arc<OpenFile>, Errno> {
    let how = fs::How::existing(flags::O_RDONLY);
    let open = fs::open(&context.start(), path, how)?;
    check_executable(&open)?;
    if let Some(file) = open.downcast::<fs::RegularFile>() {
        file.keep_writers_out()?;
    }
    // Its header is read next.
    fs::watch::open_file(&open, Inotify::ACCESS);
    Ok(open)
}

/// Checks that an open file may be run (`fexecve(3)`).
///
/// # Errors
/// `EACCES` when it is not a regular file or may not be executed.
pub(crate) fn check_executable(open: &OpenFile) -> Result<(), Errno> {
    const ANY_EXECUTE: u32 = 0o111;
    let stat = open.file.stat()?;
    // `st_mode` of `struct stat`.
    let mode = stat
        .get(24..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |b| u32::from_le_bytes(*b));
    let is_regular = mode & mode::S_IFMT == mode::S_IFREG;
    if is_regular && mode & ANY_EXECUTE != 0 {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}
