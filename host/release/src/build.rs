//! Makes an image of an [`App`].

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tyn_bootfmt::{DAEMON_FILES_PATH, INIT_PATH, INTERACTIVE_FILES_PATH, INTERACTIVE_PATH};

use crate::beam::Beam;
use crate::elf_strip;
use crate::include::{self, Include, IncludeError};
use crate::input::App;
use crate::libraries::{self, Libraries, LibraryError};
use crate::limit;
use crate::os_mon;
use crate::recipe::{EPMD, Files, Kind, RECIPE_PATH, Recipe};
use crate::release::{HEART, ReleaseError};
use crate::start::{self, Mode, Start, StartError};
use crate::system;
use crate::tree::{Conflict, Node, Source, Tree};

/// How hard images are compressed: shipping takes longer than that.
const ZSTD_LEVEL: i32 = 19;

/// From how many bytes of symbols and debug information on the user is told.
const MANY_SYMBOLS: u64 = 1_000_000;

/// What to build an image of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What it holds.
    pub app: &'a App,
    /// What comes with it.
    pub includes: &'a [Include],
    /// The image; it appears whole or not at all.
    pub out: &'a Path,
    /// No entry's time is later, in seconds since 1970.
    pub latest: Option<u32>,
    /// Whether modules lose what isn't needed to run them.
    pub strip_beams: bool,
    /// Whether programs and libraries lose what only debuggers and linkers read.
    pub strip_elf: bool,
    /// Whether epmd is packed aside, for a start that gives the node a name, where the image's own start does not.
    pub epmd: bool,
    /// Whether applications' files for another processor or C library are left out.
    pub skip_foreign: bool,
    /// Whether the image is compressed, by zstd.
    pub compress: bool,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// What is started, and how.
    pub recipe: Recipe,
    /// Shared libraries that were added, as paths in the image.
    pub libraries: Vec<PathBuf>,
    /// Files of the image, without folders and links.
    pub files: usize,
    /// Length of the image in bytes.
    pub bytes: u64,
    /// What the user should know, each one sentence.
    pub warnings: Vec<String>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Its files are being read.
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
    /// How it is started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Two things at one path.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The sysroot isn't there.
    #[error("the sysroot {} is not a folder; name the root of a Linux system, or leave --sysroot out to use this machine's libraries", .0.display())]
    Sysroot(PathBuf),
    /// Its place is taken.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// There is no room for the image.
    #[error(
        "the image {} can't be written: {error}; it takes up to {:.1} MB: make room there, or choose another place by -o",
        out.display(), *needed as f64 / 1e6
    )]
    Full {
        /// Bytes that it takes, uncompressed.
        needed: u64,
        /// The image.
        out: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file can't be read or the image can't be written.
    #[error("{} can't be read or written: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Something that isn't a file is where one is to be written.
#[derive(Debug, thiserror::Error)]
#[error("{} is there and no regular file, so it is not replaced; name a file by -o", .0.display())]
pub struct Taken(PathBuf);

/// Checks that what is about to be replaced, if anything, is a file and not a device, say.
///
/// # Errors
/// [`Taken`].
pub fn check_output(out: &Path) -> Result<(), Taken> {
    // What can't be looked at can't be replaced either: that is told when it is tried.
    let is_other = fs::metadata(out).is_ok_and(|meta| !meta.is_file());
    match is_other {
        true => Err(Taken(out.to_path_buf())),
        false => Ok(()),
    }
}

impl Files for Tree {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        match self.get(path)? {
            Node::File(_, Source::Bytes(bytes) | Source::Changed(bytes, _)) => Some(bytes.clone()),
            Node::File(_, Source::Path(file, _)) => limit::read(file).ok(),
            Node::Symlink(_) | Node::Dir(_) => None,
        }
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let inside = self.iter().filter(|(path, _)| path.parent() == Some(dir));
        inside
            .filter_map(|(path, _)| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

/// Builds an image, with the libraries that its files and what is included need.
///
/// # Errors
/// [`BuildError`]: what is wrong, and the remedy.
pub fn build(
    request: &Request<'_>,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, BuildError> {
    let App {
        recipe,
        system: sysroot,
        ..
    } = request.app;
    let mut recipe = recipe.clone();
    check_output(request.out)?;
    on_progress(Progress::Reading);
    if !sysroot.dir().is_dir() {
        return Err(BuildError::Sysroot(sysroot.dir().to_path_buf()));
    }
    let mut tree = Tree::default();
    for (path, node) in &request.app.files {
        tree.insert(path, node.clone())?;
    }
    let start = start::derive(&recipe, &tree, &[], Mode::Daemon)?;
    let interactive = start::derive(&recipe, &tree, &[], Mode::Interactive)?;
    // Only what the image holds counts for a start that is given a name.
    recipe.has_epmd &= start.args.wants_epmd || interactive.args.wants_epmd || request.epmd;
    if start.args.wants_heart {
        add_program(&mut tree, request.app, HEART)?;
    }
    if start.args.wants_epmd && recipe.has_epmd {
        add_program(&mut tree, request.app, EPMD)?;
    }
    for include in request.includes {
        include::add(&mut tree, include, sysroot)?;
    }
    let mut warnings = request.app.warnings.clone();
    warnings.extend(os_mon::add_programs(&mut tree, sysroot)?);
    if request.strip_beams {
        strip_beams(&mut tree)?;
    }
    if request.skip_foreign {
        let left_out = libraries::skip_foreign(&mut tree)?;
        warnings.extend(
            left_out
                .iter()
                .map(|why| format!("left out: {}", why.short())),
        );
    }
    on_progress(Progress::Libraries);
    let found = libraries::find(&tree, sysroot)?;
    for (path, file) in &found {
        let size = fs::metadata(file).map_err(io_at(file))?.len();
        tree.insert(path, Node::File(0o755, Source::Path(file.clone(), size)))?;
    }
    warnings.extend(strip_elf(&mut tree, request.strip_elf)?);
    add_start(&mut tree, &recipe, &start, &interactive)?;
    if recipe.has_epmd && !start.args.wants_epmd {
        add_daemon_files(&mut tree, request, &found)?;
    }
    let files = system::interactive_files(sysroot, request.latest)?;
    tree.insert(
        Path::new(INTERACTIVE_FILES_PATH),
        Node::File(0o600, Source::Bytes(files)),
    )?;
    if recipe.kind == Kind::Mix {
        // It complains, and misreads file names, where the locale of `LANG` is missing.
        system::add_locale(&mut tree, sysroot)?;
    }
    system::add(&mut tree, &start::hostname(&recipe.name))?;
    let bytes = write(&tree, request, on_progress)?;
    warnings.extend(start.warnings);
    Ok(Built {
        recipe,
        libraries: found.into_keys().collect(),
        files: tree
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(..)))
            .count(),
        bytes,
        warnings,
    })
}

/// Adds what says how to start, and the files that a start script would write.
fn add_start(
    tree: &mut Tree,
    recipe: &Recipe,
    start: &Start,
    interactive: &Start,
) -> Result<(), BuildError> {
    for (path, bytes) in &start.written {
        tree.replace(path, Node::File(0o644, Source::Bytes(bytes.clone())))?;
    }
    for (path, start) in [(INIT_PATH, start), (INTERACTIVE_PATH, interactive)] {
        let bytes = start::description(recipe, start)?;
        tree.insert(Path::new(path), Node::File(0o600, Source::Bytes(bytes)))?;
    }
    let recipe = serde_json::to_vec(recipe).map_err(io::Error::from);
    let recipe = recipe.map_err(io_at(Path::new(RECIPE_PATH)))?;
    let recipe = Node::File(0o600, Source::Bytes(recipe));
    tree.insert(Path::new(RECIPE_PATH), recipe)?;
    Ok(())
}

/// Adds a program of the run-time system that only some ask for.
fn add_program(tree: &mut Tree, app: &App, name: &str) -> Result<(), BuildError> {
    let file = app.programs.join(name);
    let Ok(meta) = file.metadata() else {
        return Err(ReleaseError::Missing(file).into());
    };
    let node = Node::File(0o755, Source::Path(file, meta.len()));
    tree.insert(&app.recipe.erts_bin().join(name), node)?;
    Ok(())
}

/// Adds an archive with epmd and the libraries that only it needs, for a start that gives the node a name when the
/// image's own does not.
fn add_daemon_files(
    tree: &mut Tree,
    request: &Request<'_>,
    present: &Libraries,
) -> Result<(), BuildError> {
    let app = request.app;
    let mut files = Tree::default();
    add_program(&mut files, app, EPMD)?;
    for (path, file) in libraries::find(&files, &app.system)? {
        if !present.contains_key(&path) && tree.get(&path).is_none() {
            let size = fs::metadata(&file).map_err(io_at(&file))?.len();
            files.insert(&path, Node::File(0o755, Source::Path(file, size)))?;
        }
    }
    let packed = system::pack(&files, request.latest)
        .map_err(|(path, error)| BuildError::Io { path, error })?;
    let node = Node::File(0o600, Source::Bytes(packed));
    tree.insert(Path::new(DAEMON_FILES_PATH), node)?;
    Ok(())
}

/// Makes modules smaller; what is no module stays.
fn strip_beams(tree: &mut Tree) -> Result<(), BuildError> {
    let is_module = |path: &Path| path.extension().is_some_and(|e| e == "beam");
    let modules = tree.iter().filter_map(|(path, node)| match node {
        Node::File(mode, Source::Path(file, _)) if is_module(path) => {
            Some((path.to_path_buf(), *mode, file.clone()))
        }
        Node::File(..) | Node::Dir(_) | Node::Symlink(_) => None,
    });
    for (path, mode, file) in modules.collect::<Vec<_>>() {
        let bytes = limit::read(&file).map_err(io_at(&file))?;
        if let Some(beam) = Beam::parse(&bytes) {
            let stripped = Source::Changed(beam.stripped(), file);
            tree.replace(&path, Node::File(mode, stripped))?;
        }
    }
    Ok(())
}

/// Drops symbols and debug information of ELF files where that is asked for; else returns what to say of them when they are many.
fn strip_elf(tree: &mut Tree, is_asked: bool) -> Result<Option<String>, BuildError> {
    let failed = |(path, error)| BuildError::Io { path, error };
    let symbols = elf_strip::find(tree).map_err(failed)?;
    if is_asked {
        elf_strip::drop_from(tree, &symbols).map_err(failed)?;
        return Ok(None);
    }
    let most = symbols.files.iter().max_by_key(|(_, bytes)| *bytes);
    Ok(most
        .filter(|_| symbols.bytes >= MANY_SYMBOLS)
        .map(|(path, _)| {
            format!(
                "{:.1} MB are symbols and debug information, most of them of {}; --strip-elf drops them",
                symbols.bytes as f64 / 1e6,
                path.display()
            )
        }))
}

/// Writes the image beside its place and moves it there when it is whole; returns its length.
fn write(
    tree: &Tree,
    request: &Request<'_>,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<u64, BuildError> {
    let out = request.out;
    let failed = |(path, error): (PathBuf, io::Error)| match error.kind() {
        // The file that was being read can't help it.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            BuildError::Full {
                needed: length_of(tree),
                out: out.to_path_buf(),
                error,
            }
        }
        _ => BuildError::Io { path, error },
    };
    let at_out = |error| failed((out.to_path_buf(), error));
    let file = tyn_scratch::File::beside(out).map_err(at_out)?;
    let of = tree.len();
    let mut on_entry = |path: &Path| on_progress(Progress::Writing { path, of });
    let mut to = BufWriter::new(file.as_file());
    if request.compress {
        let mut encoder = zstd::Encoder::new(&mut to, ZSTD_LEVEL).map_err(at_out)?;
        encoder.include_checksum(true).map_err(at_out)?;
        tree.write(&mut encoder, request.latest, &mut on_entry)
            .map_err(failed)?;
        encoder.finish().map_err(at_out)?;
    } else {
        tree.write(&mut to, request.latest, &mut on_entry)
            .map_err(failed)?;
    }
    to.flush().map_err(at_out)?;
    drop(to);
    let length = file.as_file().metadata().map_err(at_out)?.len();
    file.keep(out).map_err(at_out)?;
    Ok(length)
}

/// Returns about how long an archive of a tree is.
fn length_of(tree: &Tree) -> u64 {
    // Files begin at pages, behind their headers.
    let page = |bytes: u64| bytes.next_multiple_of(4096) + 4096;
    let lengths = tree.iter().map(|(_, node)| match node {
        Node::File(_, Source::Path(_, bytes)) => page(*bytes),
        Node::File(_, Source::Bytes(bytes) | Source::Changed(bytes, _)) => page(bytes.len() as u64),
        Node::Symlink(_) | Node::Dir(_) => 0,
    });
    lengths.sum()
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    |error| BuildError::Io {
        path: path.to_path_buf(),
        error,
    }
}
