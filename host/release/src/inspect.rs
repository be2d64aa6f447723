//! What is in an image, and why: applications, the run-time system, and libraries with who needs them.
//!
//! Reasons are read out of the image itself: an ELF file names the libraries and the loader that it needs. What is loaded at run
//! time by name (NIFs, OpenSSL's providers) has no such entry anywhere; it is said where that can be told by its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tyn_bootfmt::{DATA_ALIGN, INIT_PATH, INTERACTIVE_FILES_PATH, Init};
use tyn_fs::cpio::{self, Entries};

use crate::elf::{self, Needs};
use crate::elf_strip;
use crate::image::{self, ImageError, check};

mod doubles;

use doubles::{Contents, doubles};

/// Folder of OpenSSL's providers, and the library that loads them.
const OPENSSL_MODULES: &str = "ossl-modules";
const OPENSSL: &str = "libcrypto.so.3";
/// Most pages of zeros that are put back into a program for reading it: more come of damage, and would be in memory.
const MAX_ZERO_PAGES: u64 = (256 << 20) / DATA_ALIGN as u64;

/// What is in an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// Length of the image in bytes.
    pub bytes: u64,
    /// Name and version of the release, where the image says so.
    pub release: Option<(String, String)>,
    /// Its host name.
    pub hostname: String,
    /// The program that is started.
    pub program: PathBuf,
    /// Names of the variables that it starts with, in order.
    pub env: Vec<String>,
    /// The run-time system.
    pub erts: Option<Erts>,
    /// OTP applications, by name.
    pub applications: Vec<Application>,
    /// Shared libraries, and programs outside the run-time system, by path.
    pub libraries: Vec<Library>,
    /// What is there more than once; what weighs most first.
    pub doubles: Vec<Double>,
    /// Bytes of files that are part of none of these, the start description among them.
    pub other_bytes: u64,
    /// Bytes of what only an interactive start unpacks, compressed; among the others.
    pub interactive_bytes: u64,
    /// Every entry.
    pub entries: BTreeMap<PathBuf, Entry>,
}

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Type and permissions (`st_mode`).
    pub mode: u32,
    /// Bytes of a file, as many as are in the image: long runs of zeros are not.
    pub bytes: u64,
    /// Its length.
    pub length: u64,
}

/// The run-time system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erts {
    /// Its version, by its folder's name.
    pub version: String,
    /// Its folder.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
}

/// An OTP application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its version, by its `.app` file, else its folder's name; may be empty.
    pub version: String,
    /// Its folder.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// How many modules it has.
    pub modules: usize,
}

/// An ELF file outside the run-time system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Library {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// How many of them are symbols and debug information that can be dropped: a start does not read them.
    pub symbol_bytes: u64,
    /// Files that name it, by path.
    pub needed_by: Vec<PathBuf>,
    /// Why it is there when no file names it.
    pub reason: Option<&'static str>,
}

/// Files of which one would do, or should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Double {
    /// What is the same.
    pub same: Same,
    /// Where they are, by path.
    pub paths: Vec<PathBuf>,
    /// Bytes of all but the longest.
    pub spare_bytes: u64,
}

/// What files have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Same {
    /// Every byte.
    Contents,
    /// The name of a library that others need, but for its version: a process may get either.
    Library,
}

/// Reads an image.
///
/// # Errors
/// [`ImageError`]: what is wrong with it, and the remedy.
pub fn inspect(path: &Path) -> Result<Inspection, ImageError> {
    let checked = check(path)?;
    let bytes = image::read(path).map_err(|error| ImageError::Io {
        path: path.to_path_buf(),
        error,
    })?;
    let mut files = Files::default();
    // Sound: it was checked.
    for entry in Entries::new(&bytes).flatten() {
        let name = String::from_utf8_lossy(entry.name);
        let path = match name.as_ref() {
            "." => PathBuf::from("/"),
            name => Path::new("/").join(name),
        };
        files.add(path, &entry);
    }
    let init = files.init.and_then(|data| Init::parse(data).ok());
    let init = init.unwrap_or_default();
    let variable = |name: &str| {
        let found = init
            .env
            .iter()
            .find_map(|v| v.strip_prefix(format!("{name}=").as_bytes()));
        found.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let (erts, applications) = (files.erts(), files.applications());
    let owned = |path: &Path| {
        let mut folders = erts
            .iter()
            .map(|erts| &erts.path)
            .chain(applications.iter().map(|a| &a.path));
        folders.any(|folder| path.starts_with(folder))
    };
    let libraries = files.libraries(erts.as_ref());
    let others = files
        .entries
        .iter()
        .filter(|(path, _)| !owned(path) && !files.elfs.contains_key(*path));
    let interactive = files.entries.get(Path::new(INTERACTIVE_FILES_PATH));
    Ok(Inspection {
        bytes: checked.bytes,
        release: variable("RELEASE_NAME").zip(variable("RELEASE_VSN")),
        hostname: checked.hostname,
        program: checked.program,
        env: init
            .env
            .iter()
            .filter_map(|v| v.split(|&b| b == b'=').next())
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect(),
        other_bytes: others.map(|(_, entry)| entry.bytes).sum(),
        interactive_bytes: interactive.map_or(0, |entry| entry.bytes),
        erts,
        applications,
        doubles: doubles(files.contents, &libraries),
        libraries,
        entries: files.entries,
    })
}

/// A program or library.
#[derive(Default)]
struct Elf {
    needs: Needs,
    symbol_bytes: u64,
}

impl Elf {
    /// Reads one; `None` when it is no sound one.
    fn read(file: &cpio::Entry<'_>) -> Option<Self> {
        if !elf::is_elf(file.data) {
            return None;
        }
        if file.holes.pages() > MAX_ZERO_PAGES {
            return Some(Self::default());
        }
        let bytes = file.contents();
        let kept = elf_strip::stripped_len(&bytes).unwrap_or(bytes.len());
        Some(Self {
            needs: elf::needs(&bytes).ok()?,
            symbol_bytes: (bytes.len() - kept) as u64,
        })
    }
}

/// The files of an image, sorted by what they are.
#[derive(Default)]
struct Files<'a> {
    entries: BTreeMap<PathBuf, Entry>,
    elfs: BTreeMap<PathBuf, Elf>,
    contents: Contents<'a>,
    /// Versions in `.app` files.
    versions: BTreeMap<PathBuf, String>,
    init: Option<&'a [u8]>,
}

impl<'a> Files<'a> {
    fn add(&mut self, path: PathBuf, entry: &cpio::Entry<'a>) {
        let data = entry.data;
        if path == Path::new(INIT_PATH) {
            self.init = Some(data);
        }
        if let Some(elf) = Elf::read(entry) {
            self.elfs.insert(path.clone(), elf);
        }
        self.contents.add(&path, entry);
        if path.extension().is_some_and(|e| e == "app") {
            self.versions
                .extend(version_in(data).map(|version| (path.clone(), version)));
        }
        let of = Entry {
            mode: entry.mode,
            bytes: data.len() as u64,
            length: entry.len(),
        };
        self.entries.insert(path, of);
    }

    fn below<'b>(&'b self, folder: &'b Path) -> impl Iterator<Item = (&'b PathBuf, &'b Entry)> {
        let paths = self.entries.range(folder.to_path_buf()..);
        paths.take_while(move |(path, _)| path.starts_with(folder))
    }

    fn bytes_below(&self, folder: &Path) -> u64 {
        self.below(folder).map(|(_, entry)| entry.bytes).sum()
    }

    /// The folder with `bin/beam.smp`.
    fn erts(&self) -> Option<Erts> {
        let beam = self
            .entries
            .keys()
            .find(|path| path.ends_with("bin/beam.smp"))?;
        let folder = beam.parent()?.parent()?;
        let name = folder.file_name()?.to_string_lossy();
        Some(Erts {
            version: name.strip_prefix("erts-").unwrap_or_default().to_owned(),
            path: folder.to_path_buf(),
            bytes: self.bytes_below(folder),
        })
    }

    /// Folders with an `ebin` folder.
    fn applications(&self) -> Vec<Application> {
        let ebins = self.entries.keys().filter(|path| path.ends_with("ebin"));
        let mut found: Vec<_> = ebins.filter_map(|ebin| self.application(ebin)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn application(&self, ebin: &Path) -> Option<Application> {
        let has = |path: &Path, extension: &str| path.extension().is_some_and(|e| e == extension);
        let modules = self
            .below(ebin)
            .filter(|(path, _)| has(path, "beam"))
            .count();
        let folder = ebin.parent()?;
        let folder_name = folder.file_name()?.to_string_lossy().into_owned();
        let mut app_files = self
            .below(ebin)
            .map(|(path, _)| path)
            .filter(|path| has(path, "app"));
        let app_file = app_files.next();
        let (base, suffix) = folder_name.rsplit_once('-').unwrap_or((&folder_name, ""));
        let name = app_file
            .and_then(|path| path.file_stem())
            .map(|stem| stem.to_string_lossy().into_owned());
        let version = app_file.and_then(|path| self.versions.get(path).cloned());
        Some(Application {
            name: name.unwrap_or_else(|| base.to_owned()),
            version: version.unwrap_or_else(|| suffix.to_owned()),
            path: folder.to_path_buf(),
            bytes: self.bytes_below(folder),
            modules,
        })
    }

    /// ELF files outside the run-time system, with who names them.
    fn libraries(&self, erts: Option<&Erts>) -> Vec<Library> {
        let mut needed: BTreeMap<&str, BTreeSet<&PathBuf>> = BTreeMap::new();
        for (path, Elf { needs, .. }) in &self.elfs {
            for name in needs.libraries.iter().chain(&needs.interpreter) {
                let name = name.rsplit('/').next().unwrap_or(name);
                needed.entry(name).or_default().insert(path);
            }
        }
        let is_own = |path: &Path| erts.is_some_and(|erts| path.starts_with(&erts.path));
        let outside = self.elfs.iter().filter(|(path, _)| !is_own(path));
        let library = |(path, elf): (&PathBuf, &Elf)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let by: Vec<_> = needed
                .get(name.as_ref())
                .into_iter()
                .flatten()
                .map(|&p| p.clone())
                .collect();
            Library {
                path: path.clone(),
                bytes: self.entries.get(path).map_or(0, |entry| entry.bytes),
                symbol_bytes: elf.symbol_bytes,
                reason: by.is_empty().then(|| self.reason(path)),
                needed_by: by,
            }
        };
        outside.map(library).collect()
    }

    /// Says why a file is there that no other names.
    fn reason(&self, path: &Path) -> &'static str {
        let is_in = |folder: &str| path.parent().is_some_and(|p| p.ends_with(folder));
        let has_openssl = self.elfs.keys().any(|path| path.ends_with(OPENSSL));
        let is_library = path.to_string_lossy().contains(".so");
        match () {
            () if is_in(OPENSSL_MODULES) && has_openssl => "loaded by OpenSSL",
            () if path.components().any(|part| part.as_os_str() == "priv") && is_library => {
                "loaded by its application"
            }
            () if path.components().any(|part| part.as_os_str() == "priv") => {
                "started by its application"
            }
            () if is_library => "loaded by name, or included",
            () => "a program, included",
        }
    }
}

/// Finds `{vsn, "…"}` in an application's description.
fn version_in(data: &[u8]) -> Option<String> {
    let text = str::from_utf8(data).ok()?;
    let rest = &text[text.find("{vsn")? + 4..];
    let rest = rest.trim_start().strip_prefix(',')?.trim_start();
    Some(rest.strip_prefix('"')?.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests;
