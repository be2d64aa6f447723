//! Where an archive was unpacked to, which its user has never seen: messages name the archive instead.

use std::path::{Path, PathBuf};

/// Below it: the parts of an archive.
pub(super) const ARCHIVE: &str = "archive";
/// Below it: the root of a container image.
pub(super) const CONTAINER: &str = "root";

/// A folder that goes with the value, and what is in it.
#[derive(Debug)]
pub(super) struct Unpacked {
    dir: tyn_scratch::Dir,
    input: PathBuf,
}

impl Unpacked {
    /// Makes the folder for what the user calls `input`.
    pub(super) fn new(input: &Path) -> std::io::Result<Self> {
        Ok(Self {
            dir: tyn_scratch::Dir::new()?,
            input: input.to_path_buf(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the input's path in the place of the folder's.
    pub(super) fn named(&self, text: &str) -> String {
        let input = self.input.display().to_string();
        let parts = [ARCHIVE, CONTAINER].map(|part| self.path().join(part).display().to_string());
        parts
            .iter()
            .fold(text.to_owned(), |text, part| text.replace(part, &input))
    }
}
