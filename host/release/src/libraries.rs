//! Finds the shared libraries that ELF files need, and what those need, the way the guest's dynamic loader will.
//!
//! A library keeps the path where it is found: the guest's loader has no cache and looks in the same places in the same
//! order. Symbolic links on the way (`libz.so.1`, `/lib`) become the file itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::elf::{self, ElfError, Needs};
use crate::limit;
use crate::sysroot::{LIBRARY_DIRS, Sysroot};
use crate::tree::{Node, Source, Tree};

/// OpenSSL 3's library, and the folder beside it with its providers.
const OPENSSL: &str = "libcrypto.so.3";
const OPENSSL_MODULES: &str = "ossl-modules";

/// Why the libraries of an image can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Nobody has it.
    #[error(
        "the shared library {name}, which {needed_by} needs, is {} {}; {}",
        if *is_container { "not in" } else { "neither in the release nor below" },
        sysroot.display(),
        remedy(name, *is_container)
    )]
    NotFound {
        /// Its name (`DT_NEEDED`) or path (`PT_INTERP`).
        name: String,
        /// The file that needs it, as a path in the image.
        needed_by: String,
        /// Where it was looked for.
        sysroot: PathBuf,
        /// Whether that is a container image.
        is_container: bool,
    },
    /// It is for another C library than the emulator.
    #[error(
        "{} is built for {its}, but the emulator for {ours}, so it can't be loaded; \
         build it on a system like the emulator's{}", path.display(), skip_hint(path)
    )]
    OtherLibc {
        /// The file, as a path in the image.
        path: PathBuf,
        /// Its C library.
        its: &'static str,
        /// That of the emulator.
        ours: &'static str,
    },
    /// The C library is too old.
    #[error(
        "{} needs glibc {}.{} or newer, but {} is {}.{}; {}",
        path.display(), needed.0, needed.1, libc.display(), has.0, has.1,
        if *is_container {
            "let all stages of its Dockerfile begin FROM the same system"
        } else {
            "name a newer system by --sysroot, or build the release on an older one"
        }
    )]
    OldLibc {
        /// The file, as a path in the image.
        path: PathBuf,
        /// What it needs.
        needed: (u32, u32),
        /// The C library.
        libc: PathBuf,
        /// Its version.
        has: (u32, u32),
        /// Whether it is of a container image.
        is_container: bool,
    },
    /// It can't be used.
    #[error("{} {error}{}", path.display(), if matches!(error, ElfError::Machine(_)) { skip_hint(path) } else { "" })]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: ElfError,
    },
    /// It can't be read.
    #[error("{} can't be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl LibraryError {
    /// Says what is wrong, without the remedy.
    pub(crate) fn short(&self) -> String {
        let text = self.to_string();
        text.split(';').next().unwrap_or(&text).to_owned()
    }
}

/// What else can be done about a file that can't be loaded.
fn skip_hint(path: &Path) -> &'static str {
    match is_in_priv(path) {
        true => ", or leave it out by --skip-foreign (if the release works without)",
        false => ", or remove it",
    }
}

/// Returns whether a path is in an application's folder for what isn't Erlang.
fn is_in_priv(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "priv")
}

fn remedy(name: &str, is_container: bool) -> &'static str {
    match (name.contains("musl"), is_container) {
        (true, true) => {
            "it is for musl (Alpine Linux): let all stages of its Dockerfile begin FROM the same system"
        }
        (true, false) => {
            "it is for musl (Alpine Linux): name the root of such a system by --sysroot, or build from a container image that has it"
        }
        (false, true) => "let the last stage of its Dockerfile install the package that has it",
        (false, false) => "install the package that has it there, or name another --sysroot",
    }
}

/// The libraries to add: path in the image, file of this machine.
pub type Libraries = BTreeMap<PathBuf, PathBuf>;

/// Finds all that the ELF files of `tree` need and that isn't in `tree`.
///
/// # Errors
/// [`LibraryError`]: the first that is missing or unusable.
pub fn find(tree: &Tree, sysroot: &Sysroot) -> Result<Libraries, LibraryError> {
    let mut search = Search {
        tree,
        sysroot,
        found: Libraries::new(),
        seen: BTreeMap::new(),
    };
    let mut elfs = Vec::new();
    let emulator = emulator(tree)?;
    for (path, file) in files(tree) {
        if starts_as_elf(file)? {
            let needs = read_needs(file)?;
            // Before libraries are looked for: those of another C library may be there by chance.
            other_libc(path, &needs, emulator.as_ref()).map_or(Ok(()), Err)?;
            elfs.push((path, file));
        }
    }
    for (path, file) in elfs {
        search.visit(path, file)?;
    }
    search.check_glibc()?;
    Ok(search.found)
}

/// Takes out of `tree` what an application has in its `priv` folder for another processor or C library than the emulator's;
/// returns why, for each.
///
/// # Errors
/// When a file can't be read.
pub fn skip_foreign(tree: &mut Tree) -> Result<Vec<LibraryError>, LibraryError> {
    let emulator = emulator(tree)?;
    let mut foreign = Vec::new();
    for (path, file) in files(tree).filter(|(path, _)| is_in_priv(path)) {
        if !starts_as_elf(file)? {
            continue;
        }
        let why = match read_needs(file) {
            Err(LibraryError::Elf {
                error: error @ ElfError::Machine(_),
                ..
            }) => Some(LibraryError::Elf {
                path: path.to_path_buf(),
                error,
            }),
            needs => other_libc(path, &needs?, emulator.as_ref()),
        };
        foreign.extend(why.map(|why| (path.to_path_buf(), why)));
    }
    for (path, _) in &foreign {
        tree.remove(path);
    }
    Ok(foreign.into_iter().map(|(_, why)| why).collect())
}

/// Returns the files of this machine that are in a tree, by their paths in the image.
fn files(tree: &Tree) -> impl Iterator<Item = (&Path, &PathBuf)> {
    tree.iter().filter_map(|(path, node)| match node {
        Node::File(_, Source::Path(file, _)) => Some((path, file)),
        Node::File(_, Source::Bytes(_) | Source::Changed(..)) | Node::Dir(_) | Node::Symlink(_) => {
            None
        }
    })
}

/// Returns what the emulator needs.
fn emulator(tree: &Tree) -> Result<Option<Needs>, LibraryError> {
    let mut files = files(tree);
    let found = files.find(|(path, _)| path.ends_with("bin/beam.smp"));
    found.map(|(_, file)| read_needs(file)).transpose()
}

/// Says why a file can't be loaded when that is because of its C library: by its own loader, or by the emulator.
fn other_libc(path: &Path, needs: &Needs, emulator: Option<&Needs>) -> Option<LibraryError> {
    // A program with a loader of its own may have another C library than the emulator.
    let emulators = emulator.and_then(|needs| needs.interpreter.as_ref());
    let interpreter = needs.interpreter.as_ref().or(emulators)?;
    let has = |wanted: &dyn Fn(&str) -> bool| needs.libraries.iter().any(|name| wanted(name));
    let is_musl = has(&|name| name == "libc.so" || name.starts_with("libc.musl"));
    let is_glibc = has(&|name| name == "libc.so.6");
    let (its, ours) = match interpreter.contains("ld-musl") {
        true if is_glibc => ("glibc", "musl"),
        false if is_musl => ("musl", "glibc"),
        _ => return None,
    };
    Some(LibraryError::OtherLibc {
        path: path.to_path_buf(),
        its,
        ours,
    })
}

struct Search<'a> {
    tree: &'a Tree,
    sysroot: &'a Sysroot,
    found: Libraries,
    /// What the files need that were looked at.
    seen: BTreeMap<PathBuf, Needs>,
}

impl Search<'_> {
    /// Expects that the C library has all versions of symbols.
    fn check_glibc(&self) -> Result<(), LibraryError> {
        let libc = self
            .seen
            .iter()
            .find(|(path, needs)| path.ends_with("libc.so.6") && needs.glibc.defined != (0, 0));
        let Some((libc, has)) = libc else {
            return Ok(());
        };
        let newest = self.seen.iter().max_by_key(|(_, needs)| needs.glibc.needed);
        match newest {
            Some((path, needs)) if needs.glibc.needed > has.glibc.defined => {
                Err(LibraryError::OldLibc {
                    path: path.clone(),
                    needed: needs.glibc.needed,
                    libc: libc.clone(),
                    has: has.glibc.defined,
                    is_container: self.sysroot.is_container(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Finds what the file needs that has `path` in the image and is `file` on this machine, and so on.
    fn visit(&mut self, path: &Path, file: &Path) -> Result<(), LibraryError> {
        let mut todo = vec![(path.to_path_buf(), file.to_path_buf())];
        while let Some((path, file)) = todo.pop() {
            if self.seen.contains_key(&path) {
                continue;
            }
            let needs = read_needs(&file)?;
            self.seen.insert(path.clone(), needs.clone());
            let interpreter = needs.interpreter.iter().map(|i| vec![PathBuf::from(i)]);
            let libraries = needs
                .libraries
                .iter()
                .filter(|name| !is_loader(name))
                .map(|name| candidates(name, &path, &needs));
            for candidates in interpreter.chain(libraries) {
                todo.extend(self.first(&path, &candidates)?);
            }
            todo.extend(self.openssl_modules(&path)?);
        }
        Ok(())
    }

    /// OpenSSL loads its providers by path, from a folder beside its library: takes those that are installed there.
    fn openssl_modules(&mut self, library: &Path) -> Result<Libraries, LibraryError> {
        let mut modules = Libraries::new();
        if library.file_name().is_none_or(|name| name != OPENSSL) {
            return Ok(modules);
        }
        let folder = library.with_file_name(OPENSSL_MODULES);
        let Some(real) = self.sysroot.resolve(&folder).filter(|f| f.is_dir()) else {
            return Ok(modules);
        };
        let io_error = |error| LibraryError::Io {
            path: real.clone(),
            error,
        };
        for entry in fs::read_dir(&real).map_err(io_error)? {
            let file = entry.map_err(io_error)?.path();
            let path = folder.join(file.file_name().unwrap_or_default());
            if self.tree.get(&path).is_none() && file.is_file() && starts_as_elf(&file)? {
                modules.insert(path, file);
            }
        }
        self.found.extend(modules.clone());
        Ok(modules)
    }

    /// Takes the first candidate that exists; returns it unless it is part of the image already.
    fn first(
        &mut self,
        needed_by: &Path,
        candidates: &[PathBuf],
    ) -> Result<Option<(PathBuf, PathBuf)>, LibraryError> {
        let mut unusable = None;
        for candidate in candidates {
            // The files of the release are visited from `find`.
            if self.tree.get(candidate).is_some() || self.found.contains_key(candidate) {
                return Ok(None);
            }
            let Some(file) = self.sysroot.resolve(candidate).filter(|f| f.is_file()) else {
                continue;
            };
            // A library for another processor is passed over, as dynamic loaders do.
            match read_needs(&file) {
                Err(error @ LibraryError::Elf { .. }) => {
                    unusable.get_or_insert(error);
                }
                other => {
                    other?;
                    self.found.insert(candidate.clone(), file.clone());
                    return Ok(Some((candidate.clone(), file)));
                }
            }
        }
        let name = candidates.first().map(|c| match candidates.len() {
            1 => c.display().to_string(),
            _ => c
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        });
        Err(unusable.unwrap_or(LibraryError::NotFound {
            name: name.unwrap_or_default(),
            needed_by: needed_by.display().to_string(),
            sysroot: self.sysroot.dir().to_path_buf(),
            is_container: self.sysroot.is_container(),
        }))
    }
}

/// Returns whether this is the name of a dynamic loader: it is there already when it loads what needs it, so nobody looks
/// for it. musl's loader is its C library, too, `libc.so`; glibc's has a number behind its name.
fn is_loader(name: &str) -> bool {
    name == "libc.so"
        || ["ld-linux", "ld-musl", "libc.musl"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Returns where the loader looks for the library `name` on behalf of the file at `path`.
fn candidates(name: &str, path: &Path, needs: &Needs) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    let origin = path.parent().unwrap_or(Path::new("/"));
    let own = needs.search.iter().map(|dir| {
        let rest = dir
            .strip_prefix("$ORIGIN")
            .or_else(|| dir.strip_prefix("${ORIGIN}"));
        match rest {
            Some(rest) => normal(&origin.join(rest.trim_start_matches('/'))),
            None => normal(Path::new(dir)),
        }
    });
    own.chain(LIBRARY_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .collect()
}

/// Removes `.` and `..` from an absolute path.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn read_needs(file: &Path) -> Result<Needs, LibraryError> {
    let bytes = limit::read(file).map_err(|error| LibraryError::Io {
        path: file.to_path_buf(),
        error,
    })?;
    elf::needs(&bytes).map_err(|error| LibraryError::Elf {
        path: file.to_path_buf(),
        error,
    })
}

fn starts_as_elf(file: &Path) -> Result<bool, LibraryError> {
    use std::io::Read as _;
    let mut start = Vec::new();
    fs::File::open(file)
        .and_then(|f| f.take(4).read_to_end(&mut start))
        .map_err(|error| LibraryError::Io {
            path: file.to_path_buf(),
            error,
        })?;
    Ok(elf::is_elf(&start))
}
