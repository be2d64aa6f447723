//! What an image holds and how that is started: written into the image, for tools; the kernel doesn't read it.
//!
//! The start description ([`tyn_bootfmt::INIT_PATH`]) is derived from this and from files of the image; `tyn run` derives it
//! once more where an environment variable (`-e`) may change it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Path of the recipe inside the image.
pub const RECIPE_PATH: &str = "/.tyn/recipe.json";

/// The program by which named nodes find each other: a daemon.
pub(crate) const EPMD: &str = "epmd";

/// What kind of thing is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A release of `mix release`.
    Mix,
    /// A release of rebar3 or relx with its start script.
    Relx,
    /// A release as systools makes it.
    Systools,
    /// The folder of `gleam export erlang-shipment`.
    Shipment,
    /// Compiled modules without more.
    Modules,
    /// Folders of applications, found by `ERL_LIBS`.
    Applications,
}

/// What is started, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version; empty when it has none.
    pub version: String,
    /// Version of the run-time system.
    pub erts: String,
    /// Its folder in the image.
    pub root: PathBuf,
    /// Folder in the image that holds the run-time system: `root` when it brings its own.
    pub otp: PathBuf,
    /// Working directory.
    pub cwd: PathBuf,
    /// Environment that it was packed with, `NAME`, `VALUE` each.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The module that is started, of modules, applications and shipments; may end in `:FUNCTION`.
    #[serde(default)]
    pub main: String,
    /// Arguments for the program itself.
    #[serde(default)]
    pub args: Vec<String>,
    /// Folders of applications in the image.
    #[serde(default)]
    pub libs: Vec<PathBuf>,
    /// Whether the program by which named nodes find each other is there: in the run-time system, then in the image.
    #[serde(default)]
    pub has_epmd: bool,
}

impl Recipe {
    /// Returns the folder of the run-time system's programs in the image.
    #[must_use]
    pub fn erts_bin(&self) -> PathBuf {
        self.otp.join(format!("erts-{}", self.erts)).join("bin")
    }

    /// Returns where that program is in the image.
    #[must_use]
    pub fn epmd(&self) -> PathBuf {
        self.erts_bin().join(EPMD)
    }

    /// Returns the folder of this version's boot file and configuration in the image.
    #[must_use]
    pub fn version_dir(&self) -> PathBuf {
        self.root.join("releases").join(&self.version)
    }

    /// Returns whether it brings its own run-time system.
    #[must_use]
    pub fn has_own_erts(&self) -> bool {
        self.otp == self.root
    }
}

/// Files of an image, by their paths in it: a tree that is being put together, or an image that is there.
pub trait Files {
    /// Returns a file's bytes; `None` when there is no such file or it can't be read.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;

    /// Returns the names of what is directly in a folder, sorted.
    fn names(&self, dir: &Path) -> Vec<String>;

    /// Returns a text file.
    fn text(&self, path: &Path) -> Option<String> {
        self.read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}
