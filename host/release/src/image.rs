//! Makes an image of a release, and checks images before they are booted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tyn_bootfmt::{
    BadStart, DATA_ALIGN, INIT_PATH, INTERACTIVE_FILES_PATH, INTERACTIVE_PATH, Init,
};
use tyn_fs::cpio::Entries;

use crate::cpio;
use crate::erl_args::ArgsError;
use crate::include::{self, Include, IncludeError};
use crate::libraries::{self, LibraryError};
use crate::release::{Release, ReleaseError};
use crate::start::{self, Mode};
use crate::sysroot::Sysroot;
use crate::system;
use crate::tree::{Conflict, Node, Source, Tree};

/// Where a release lies in its image.
pub const ROOT: &str = "/app";
/// Home of the user that everything runs as.
pub(crate) const HOME: &str = "/root";

/// What to build an image of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Folder of the release.
    pub release: &'a Path,
    /// Root of the system that has the libraries which the release lacks.
    pub sysroot: &'a Path,
    /// What comes with the release.
    pub includes: &'a [Include],
    /// The image; it appears whole or not at all.
    pub out: &'a Path,
    /// The time of all its entries, in seconds since 1970.
    pub mtime: u32,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The release.
    pub release: Release,
    /// Shared libraries that were added, as paths in the image.
    pub libraries: Vec<PathBuf>,
    /// Entries of the image.
    pub entries: usize,
    /// Length of the image in bytes.
    pub bytes: u64,
    /// What the user should know, each one sentence.
    pub warnings: Vec<String>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// The release was read; its files are known.
    Reading,
    /// Shared libraries are being found.
    Libraries,
    /// This entry is being written, so many of them.
    Writing {
        /// Path in the image.
        path: &'a Path,
        /// Entries altogether.
        of: usize,
    },
}

/// Why an image can't be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Its libraries.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// What comes with it.
    #[error(transparent)]
    Include(#[from] IncludeError),
    /// Its arguments.
    #[error("{}: {error}", path.display())]
    Args {
        /// The file that they are in.
        path: PathBuf,
        /// What is wrong with them.
        error: ArgsError,
    },
    /// Two things at one path.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The start description.
    #[error("the start description {0}")]
    Start(#[from] BadStart),
    /// The sysroot isn't there.
    #[error("the sysroot {} is not a folder; name the root of a Linux system, or leave --sysroot out to use this machine's libraries", .0.display())]
    Sysroot(PathBuf),
    /// A file can't be read or the image can't be written.
    #[error("{} can't be read or written: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Builds an image of a release, with the libraries that it and what is included need from the sysroot.
///
/// # Errors
/// [`BuildError`]: what is wrong, and the remedy.
pub fn build(
    request: &Request<'_>,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, BuildError> {
    let release = Release::open(request.release)?;
    on_progress(Progress::Reading);
    if !request.sysroot.is_dir() {
        return Err(BuildError::Sysroot(request.sysroot.to_path_buf()));
    }
    let sysroot = Sysroot::new(request.sysroot);
    let args = start::arguments(&release, Mode::Daemon)?;
    let mut tree = Tree::default();
    for (path, node) in release.files(args.wants_heart)? {
        tree.insert(&Path::new(ROOT).join(path), node)?;
    }
    for include in request.includes {
        include::add(&mut tree, include, &sysroot)?;
    }
    on_progress(Progress::Libraries);
    let found = libraries::find(&tree, &sysroot)?;
    for (path, file) in &found {
        let size = fs::metadata(file).map_err(io_at(file))?.len();
        tree.insert(path, Node::File(0o755, Source::Path(file.clone(), size)))?;
    }
    let interactive = start::arguments(&release, Mode::Interactive)?;
    for (path, args) in [(INIT_PATH, &args), (INTERACTIVE_PATH, &interactive)] {
        let bytes = start::description(&release, args)?;
        tree.insert(Path::new(path), Node::File(0o600, Source::Bytes(bytes)))?;
    }
    tree.insert(
        Path::new(INTERACTIVE_FILES_PATH),
        Node::File(0o600, Source::Bytes(system::interactive_files(&sysroot)?)),
    )?;
    if release.has_elixir() {
        // It complains, and misreads file names, where the locale of `LANG` is missing.
        system::add_locale(&mut tree, &sysroot)?;
    }
    system::add(&mut tree, &start::hostname(&release.name))?;
    let bytes = write(&tree, request.out, request.mtime, on_progress)?;
    let warnings = args.wants_epmd.then(|| {
        "vm.args names the node, but epmd is not part of an image: \
         other nodes can't find it (silence this by -start_epmd false)"
            .to_owned()
    });
    Ok(Built {
        release,
        libraries: found.into_keys().collect(),
        entries: tree.len(),
        bytes,
        warnings: warnings.into_iter().collect(),
    })
}

/// Writes the image beside its place and moves it there when it is whole.
fn write(
    tree: &Tree,
    out: &Path,
    mtime: u32,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<u64, BuildError> {
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = NamedTempFile::new_in(folder).map_err(io_at(folder))?;
    let of = tree.len();
    let length = tree
        .write(BufWriter::new(file.as_file()), mtime, |path| {
            on_progress(Progress::Writing { path, of });
        })
        .map_err(|(path, error)| BuildError::Io { path, error })?;
    // Temporary files are private; an image is as public as what it was made of.
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(io_at(out))?;
    file.persist(out).map_err(|e| io_at(out)(e.error))?;
    Ok(length)
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    |error| BuildError::Io {
        path: path.to_path_buf(),
        error,
    }
}

/// What a sound image holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its host name.
    pub hostname: String,
    /// The program that is started.
    pub program: PathBuf,
    /// What it is started with; the first is the program.
    pub args: Vec<Vec<u8>>,
    /// All paths in it, with type and permissions (`st_mode`).
    pub entries: BTreeMap<PathBuf, u32>,
    /// How it is started interactively, if it has another way for that.
    pub interactive: Option<Interactive>,
}

/// An interactive start.
#[derive(Clone, Debug, Default)]
pub struct Interactive {
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
    /// An archive to be put behind the image.
    pub files: Vec<u8>,
}

/// Why a file can't be booted as an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It isn't there, or can't be read.
    #[error("the image {} can't be read: {error}; build one with `tyn build`", path.display())]
    Io {
        /// The image.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no archive, or cut off.
    #[error("{} is not an image or is damaged ({what}); build it again with `tyn build`", path.display())]
    Archive {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An archive without a start description.
    #[error("{} has no start description ({INIT_PATH}), so there is nothing to start; build it with `tyn build`", .0.display())]
    NoInit(PathBuf),
    /// A start description that can't be used.
    #[error("{}: the start description {error}", path.display())]
    BadInit {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        error: BadStart,
    },
    /// The program to start is not in it.
    #[error("{} would start {}, which is not in it; build it again with `tyn build`", path.display(), program.display())]
    NoProgram {
        /// The image.
        path: PathBuf,
        /// The program.
        program: PathBuf,
    },
}

/// Checks that an image is whole and says what to start.
///
/// # Errors
/// [`ImageError`]: what is wrong, and the remedy.
pub fn check(path: &Path) -> Result<Checked, ImageError> {
    let io_error = |error| ImageError::Io {
        path: path.to_path_buf(),
        error,
    };
    let bytes = fs::read(path).map_err(io_error)?;
    let damaged = |what: String| ImageError::Archive {
        path: path.to_path_buf(),
        what,
    };
    if bytes.is_empty() {
        return Err(damaged("it is empty".into()));
    }
    let (mut init, mut interactive, mut files) = (None, None, None);
    let mut entries = BTreeMap::new();
    for entry in Entries::new(&bytes) {
        let entry = entry.map_err(|error| damaged(error.to_string()))?;
        if !entry.data.is_empty() && is_file(entry.mode) && entry.data_offset % DATA_ALIGN != 0 {
            return Err(damaged("its files are not page-aligned".into()));
        }
        match absolute(entry.name).to_str() {
            Some(INIT_PATH) => init = Some(entry.data),
            Some(INTERACTIVE_PATH) => interactive = Some(entry.data),
            Some(INTERACTIVE_FILES_PATH) => files = Some(entry.data),
            _ => {}
        }
        entries.insert(absolute(entry.name), entry.mode);
    }
    let last = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    if !bytes[..last].ends_with(cpio::TRAILER) {
        return Err(damaged("it is cut off".into()));
    }
    if bytes.len() % DATA_ALIGN != 0 {
        return Err(damaged("its length is not a multiple of 4096 bytes".into()));
    }
    let init = init.ok_or_else(|| ImageError::NoInit(path.to_path_buf()))?;
    let bad_init = |error| ImageError::BadInit {
        path: path.to_path_buf(),
        error,
    };
    let init = Init::parse(init).map_err(bad_init)?;
    let interactive = interactive.map(Init::parse).transpose().map_err(bad_init)?;
    let files = files.map(system::unpack).transpose();
    let files = files.map_err(|error| damaged(error.to_string()))?;
    let interactive = interactive.map(|init| Interactive {
        args: init.args.iter().map(|arg| arg.to_vec()).collect(),
        files: files.unwrap_or_default(),
    });
    let program = absolute(init.args.first().copied().unwrap_or_default());
    if !entries.contains_key(&program) {
        return Err(ImageError::NoProgram {
            path: path.to_path_buf(),
            program,
        });
    }
    Ok(Checked {
        bytes: bytes.len() as u64,
        hostname: String::from_utf8_lossy(init.hostname).into_owned(),
        program,
        args: init.args.iter().map(|arg| arg.to_vec()).collect(),
        entries,
        interactive,
    })
}

fn is_file(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
}

fn absolute(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new("/").join(std::ffi::OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests;
