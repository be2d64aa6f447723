//! Makes an image of a release, and checks images before they are booted.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tyn_bootfmt::{BadStart, DATA_ALIGN, INIT_PATH, Init, RUN_PATH, Run};
use tyn_fs::cpio::Entries;

use crate::cpio;
use crate::erl_args::{self, ArgsError, ErlArgs};
use crate::include::{self, Include, IncludeError};
use crate::libraries::{self, LibraryError};
use crate::release::{Release, ReleaseError};
use crate::sysroot::Sysroot;
use crate::tree::{Conflict, Node, Source, Tree};

/// Where a release lies in its image.
pub const ROOT: &str = "/app";
/// Home of the user that everything runs as.
const HOME: &str = "/root";

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
    let args = arguments(&release)?;
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
    let hostname = hostname(&release.name);
    tree.insert(
        Path::new(INIT_PATH),
        Node::File(0o600, Source::Bytes(start(&release, &args, &hostname)?)),
    )?;
    add_system(&mut tree, &hostname)?;
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

/// Returns the archive that gives a guest the environment variables `env` (`NAME=VALUE` each), to be put behind its image.
///
/// # Errors
/// [`BadStart`] when one is not `NAME=VALUE`.
pub fn run_archive(env: &[String]) -> Result<Vec<u8>, BadStart> {
    let run = Run {
        env: env.iter().map(String::as_bytes).collect(),
    };
    let mut tree = Tree::default();
    let node = Node::File(0o600, Source::Bytes(run.to_bytes()?));
    // Two entries, a folder and a file in it, in memory: there is nothing to collide with, and no I/O to fail.
    let _ = tree.insert(Path::new(RUN_PATH), node);
    let mut bytes = Vec::new();
    let _ = tree.write(&mut bytes, 0, |_| {});
    Ok(bytes)
}

/// Translates the arguments that the start script of a release would give to `erl`.
fn arguments(release: &Release) -> Result<ErlArgs, BuildError> {
    let version = Path::new(ROOT).join(release.version_dir());
    let text = |path: PathBuf| path.display().to_string();
    let mut args: Vec<String> = vec![
        "-noinput".into(),
        "+Bd".into(),
        "-boot".into(),
        text(version.join("start")),
    ];
    let own = release.dir.join(release.version_dir());
    if own.join("sys.config").is_file() {
        args.extend(["-config".into(), text(version.join("sys"))]);
    }
    let vm_args = own.join("vm.args");
    if vm_args.is_file() {
        args.extend(["-args_file".into(), text(version.join("vm.args"))]);
    }
    // Arguments files have the paths that they would have in the guest.
    let read = |path: &Path| {
        let inside = Path::new(ROOT).join(path);
        let relative = inside.strip_prefix(ROOT).map_err(io::Error::other)?;
        fs::read_to_string(release.dir.join(relative))
    };
    erl_args::translate(&args, &read).map_err(|error| BuildError::Args {
        path: vm_args,
        error,
    })
}

/// Returns the start description.
fn start(release: &Release, args: &ErlArgs, hostname: &str) -> Result<Vec<u8>, BadStart> {
    let bindir = Path::new(ROOT).join(release.erts_bin());
    let beam = bindir.join("beam.smp").display().to_string();
    let bindir = bindir.display().to_string();
    let mut argv: Vec<&str> = vec![&beam];
    argv.extend(args.emulator.iter().map(String::as_str));
    argv.extend(["--", "-root", ROOT, "-bindir", &bindir]);
    argv.extend(["-progname", "erl", "--", "-home", HOME, "--"]);
    argv.extend(args.program.iter().map(String::as_str));
    let path = format!("{bindir}:{ROOT}/bin:/usr/local/bin:/usr/bin:/bin");
    let mut env: Vec<(&str, &str)> = vec![
        ("PATH", &path),
        ("HOME", HOME),
        ("LANG", "C.UTF-8"),
        ("ROOTDIR", ROOT),
        ("BINDIR", &bindir),
        ("EMU", "beam"),
        ("PROGNAME", "erl"),
        ("RELEASE_ROOT", ROOT),
        ("RELEASE_NAME", &release.name),
        ("RELEASE_VSN", &release.version),
    ];
    env.extend(args.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let env: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    Init {
        args: argv.iter().map(|a| a.as_bytes()).collect(),
        env: env.iter().map(String::as_bytes).collect(),
        cwd: ROOT.as_bytes(),
        hostname: hostname.as_bytes(),
    }
    .to_bytes()
}

/// Makes a host name of a release's name: letters, digits and inner hyphens (RFC 1123), 63 at most.
fn hostname(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match name.trim_matches('-') {
        "" => "tyn".into(),
        name => name.to_ascii_lowercase(),
    }
}

/// Adds the few files that libc expects of a system, and the folders that the kernel mounts upon.
fn add_system(tree: &mut Tree, hostname: &str) -> Result<(), Conflict> {
    let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {hostname}\n");
    for (path, text) in [
        ("/etc/hosts", hosts.as_str()),
        ("/etc/hostname", &format!("{hostname}\n")),
        (
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("/etc/group", "root:x:0:\n"),
    ] {
        // Those that were included win.
        if tree.get(Path::new(path)).is_none() {
            let bytes = text.as_bytes().to_vec();
            tree.insert(Path::new(path), Node::File(0o644, Source::Bytes(bytes)))?;
        }
    }
    for (path, mode) in [
        ("/dev", 0o755),
        ("/proc", 0o555),
        ("/sys", 0o555),
        (HOME, 0o700),
        ("/tmp", 0o1777),
        ("/.tyn", 0o700),
    ] {
        tree.insert(Path::new(path), Node::Dir(mode))?;
    }
    Ok(())
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
    let mut init = None;
    let mut names = std::collections::BTreeSet::new();
    for entry in Entries::new(&bytes) {
        let entry = entry.map_err(|error| damaged(error.to_string()))?;
        if !entry.data.is_empty() && is_file(entry.mode) && entry.data_offset % DATA_ALIGN != 0 {
            return Err(damaged("its files are not page-aligned".into()));
        }
        if absolute(entry.name) == Path::new(INIT_PATH) {
            init = Some(entry.data);
        }
        names.insert(absolute(entry.name));
    }
    let last = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    if !bytes[..last].ends_with(cpio::TRAILER) {
        return Err(damaged("it is cut off".into()));
    }
    if bytes.len() % DATA_ALIGN != 0 {
        return Err(damaged("its length is not a multiple of 4096 bytes".into()));
    }
    let init = init.ok_or_else(|| ImageError::NoInit(path.to_path_buf()))?;
    let init = Init::parse(init).map_err(|error| ImageError::BadInit {
        path: path.to_path_buf(),
        error,
    })?;
    let program = absolute(init.args.first().copied().unwrap_or_default());
    if !names.contains(&program) {
        return Err(ImageError::NoProgram {
            path: path.to_path_buf(),
            program,
        });
    }
    Ok(Checked {
        bytes: bytes.len() as u64,
        hostname: String::from_utf8_lossy(init.hostname).into_owned(),
        program,
    })
}

fn is_file(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
}

fn absolute(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new("/").join(std::ffi::OsStr::from_bytes(name))
}

/// Writes an image followed by the archive of [`run_archive`] to a new private file (only its owner may read it); it is
/// removed when the returned handle is dropped.
///
/// # Errors
/// When a file can't be read or written.
pub fn with_run_archive(image: &Path, run: &[u8], dir: &Path) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".img").tempfile_in(dir)?;
    io::copy(&mut File::open(image)?, file.as_file_mut())?;
    file.write_all(run)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
