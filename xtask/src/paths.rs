//! Where things are in the work tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;

/// Returns the root of the work tree.
pub(crate) fn root() -> PathBuf {
    let mut dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    dir.pop();
    dir
}

/// Returns the folder of all that is built or fetched.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Copies a folder with what is in it.
///
/// # Errors
/// When it can't be read, or the copy can't be written.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{}", to.display()))?;
    output(Command::new("cp").arg("-r").arg(from.join(".")).arg(to)).map(drop)
}
