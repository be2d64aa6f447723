//! Where things are in the work tree.

use std::path::PathBuf;

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
