//! What an image can be made of, and how it is told apart: a release (a folder or its tarball, with or without a run-time
//! system), the shipment of a Gleam project, compiled modules, a container image.
//!
//! [`Input::detect`] looks, [`Input::open`] makes an [`App`] of it: files, their places in an image, and a [`Recipe`].

mod applications;
pub mod archive;
mod container;
mod error;
mod modules;
pub mod oci;
mod open;
mod unpacked;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limit;
use crate::recipe::Recipe;
use crate::sysroot::Sysroot;
use crate::tree::Node;

pub use archive::ArchiveError;
pub use container::ContainerError;
pub use error::OpenError;
pub use oci::OciError;
use unpacked::Unpacked;

/// What an image can be made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The folder of a release.
    Release(PathBuf),
    /// A folder with several releases: that of a project, or of what it built.
    Releases(Vec<PathBuf>),
    /// The folder that `gleam export erlang-shipment` made.
    Shipment(PathBuf),
    /// A folder of `.beam` files.
    Modules(PathBuf),
    /// A folder with applications.
    Applications(PathBuf),
    /// A folder laid out as OCI image.
    Layout(PathBuf),
    /// An archive: the tarball of a release, or a container image.
    Archive(PathBuf),
}

/// Why something is no input.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// There is nothing.
    #[error("{} isn't there; {}", .0.display(), missing_remedy(.0))]
    Missing(PathBuf),
    /// Something else.
    #[error(
        "{} is nothing that an image can be made of: there is no release (releases/start_erl.data), \
         Gleam shipment (entrypoint.sh), container image (index.json, manifest.json), .beam file, application (ebin/NAME.app), \
         or _build with a release in it; make one by `mix release`, `rebar3 release` or `gleam export erlang-shipment`", .0.display()
    )]
    Unknown(PathBuf),
    /// Something that has no end, or nothing to read.
    #[error("{} is a named pipe, a socket or a device; name a folder or a file, or let the shell give a pipe: docker save IMAGE | tyn build -", .0.display())]
    Special(PathBuf),
    /// It can't be read.
    #[error("{} can't be read: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What else the user says about an input.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    /// The release to take of several.
    pub release: Option<&'a str>,
    /// The module to start, of those that have no other start; with `:FUNCTION` if it isn't `start`.
    pub start: Option<&'a str>,
    /// Where libraries are that the input lacks.
    pub sysroot: &'a Path,
    /// Erlang/OTP for what brings none: a system's root, or a folder with `erts-VSN`.
    pub otp: Option<&'a Path>,
}

/// What an input was found to hold.
#[derive(Debug)]
pub struct App {
    /// What is started, and how.
    pub recipe: Recipe,
    /// Its files, by their paths in the image.
    pub files: Vec<(PathBuf, Node)>,
    /// Where the run-time system's programs are, for those that only some need.
    pub programs: PathBuf,
    /// Where its libraries are.
    pub system: Sysroot,
    /// The port numbers that it says it serves (`EXPOSE`).
    pub ports: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Where an archive was unpacked to; lives as long as this.
    unpacked: Option<Unpacked>,
}

impl App {
    /// Makes a message one about what the user named: what an archive was unpacked to is called by the archive's name.
    #[must_use]
    pub fn named(&self, text: &str) -> String {
        match &self.unpacked {
            Some(unpacked) => unpacked.named(text),
            None => text.to_owned(),
        }
    }
}

impl Input {
    /// Tells what `path` is.
    ///
    /// # Errors
    /// [`InputError`] when it is nothing that an image can be made of.
    pub fn detect(path: &Path) -> Result<Self, InputError> {
        let meta = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => InputError::Missing(path.to_path_buf()),
            _ => io_error(path, error),
        })?;
        if limit::is_special(meta.file_type()) && !limit::is_unnamed_pipe(path) {
            return Err(InputError::Special(path.to_path_buf()));
        }
        if !meta.is_dir() {
            return Ok(Self::Archive(path.to_path_buf()));
        }
        // An unreadable folder would look like an empty one.
        fs::read_dir(path).map_err(|error| io_error(path, error))?;
        let has = |name: &str| path.join(name).is_file();
        if is_release(path) {
            return Ok(Self::Release(path.to_path_buf()));
        }
        if has("index.json") && has("oci-layout") || has("manifest.json") {
            return Ok(Self::Layout(path.to_path_buf()));
        }
        if has("entrypoint.sh") && !folders(path).is_empty() {
            return Ok(Self::Shipment(path.to_path_buf()));
        }
        let releases = releases(path);
        if !releases.is_empty() {
            return Ok(Self::Releases(releases));
        }
        if applications::are_in(path) {
            return Ok(Self::Applications(path.to_path_buf()));
        }
        if has_modules(path) || has_modules(&path.join("ebin")) {
            return Ok(Self::Modules(path.to_path_buf()));
        }
        // So would one of these, in which it may lie what it is.
        for folder in folders(path) {
            fs::read_dir(&folder).map_err(|error| io_error(&folder, error))?;
        }
        Err(InputError::Unknown(path.to_path_buf()))
    }
}

/// Returns whether a folder holds a release.
pub(crate) fn is_release(dir: &Path) -> bool {
    dir.join("releases/start_erl.data").is_file()
}

/// Returns the releases of a project or of its build folder: the production build's before others.
fn releases(dir: &Path) -> Vec<PathBuf> {
    let mut places = vec![dir.to_path_buf(), dir.join("rel")];
    let build = dir.join("_build");
    places.extend(["prod", "default"].map(|profile| build.join(profile).join("rel")));
    places.extend(folders(&build).into_iter().map(|dir| dir.join("rel")));
    places
        .iter()
        .map(|place| {
            let mut found = folders(place);
            found.retain(|dir| is_release(dir));
            found
        })
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// Returns the folders in a folder, sorted.
pub(crate) fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn has_modules(dir: &Path) -> bool {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.path().extension().is_some_and(|e| e == "beam"))
}

/// Returns what is to be named instead; `docker` knows images by names, which are no files.
fn missing_remedy(path: &Path) -> String {
    let name = path.to_string_lossy();
    if name.contains("://") {
        return "download it first, and name the file".into();
    }
    if name.contains(':') {
        return format!("if it is an image of Docker's: docker save {name} | tyn build -");
    }
    "name a release, e.g. _build/prod/rel/NAME, its tarball, or a container image".into()
}

fn io_error(path: &Path, error: io::Error) -> InputError {
    InputError::Io {
        path: path.to_path_buf(),
        error,
    }
}

#[cfg(test)]
mod tests;
