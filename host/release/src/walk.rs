//! What is said when a folder can't be walked through.

use std::io;
use std::path::{Path, PathBuf};

/// Returns where a walk through `folder` failed, and the system's own words why.
pub(crate) fn failure(error: walkdir::Error, folder: &Path) -> (PathBuf, io::Error) {
    let path = error.path().unwrap_or(folder).to_path_buf();
    let text = error.to_string();
    // Links that lead in a circle were found by the walk itself.
    let error = error.into_io_error();
    (path, error.unwrap_or_else(|| io::Error::other(text)))
}
