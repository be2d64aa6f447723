//! Reads the folder of an OTP release (`rebar3 release`, `mix release`, systools).
//!
//! What of it goes into an image: the run-time system's programs that a node needs, the applications without sources and
//! documentation, and the release's own files. Start scripts do not: nothing in the guest could run them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::elf::{self, ElfError};
use crate::limit;
use crate::otp::{self, MissingApps, Otp, Parts};
use crate::recipe::Kind;
use crate::term::Term;
use crate::tree::{Node, Source};
use crate::walk;

/// The programs of the run-time system that a node needs; the first is started.
pub const ERTS_PROGRAMS: [&str; 3] = ["beam.smp", "erl_child_setup", "inet_gethost"];
/// The program that restarts a node when it hangs; started only when `vm.args` says `-heart`.
pub const HEART: &str = "heart";
/// Folders of an application that are not needed to run it.
pub(crate) const BUILD_ONLY: [&str; 6] = ["src", "include", "c_src", "doc", "docs", "examples"];

/// A release that was found sound.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its folder.
    pub dir: PathBuf,
    /// Its name, from the `.rel` file's name; `release` when there is none.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its run-time system.
    pub erts: String,
}

/// Why a folder can't be used as a release.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// There is no such folder.
    #[error("{} is not a folder; name the folder of a release, e.g. _build/prod/rel/NAME", .0.display())]
    NotAFolder(PathBuf),
    /// It holds no release.
    #[error(
        "{} is not an OTP release (releases/start_erl.data is missing); \
         name the folder that `mix release` or `rebar3 release` made", .0.display()
    )]
    NotARelease(PathBuf),
    /// `start_erl.data` is not what it should be.
    #[error("{} should hold two words, the versions of ERTS and of the release; build the release again", .0.display())]
    StartData(PathBuf),
    /// Another version of Erlang/OTP than it was built with.
    #[error(transparent)]
    OtpVersion(#[from] Box<OtpVersion>),
    /// Applications that are nowhere.
    #[error("{}: {}", .0.display(), .1)]
    MissingApps(PathBuf, MissingApps),
    /// A file that every release has is missing.
    #[error("{} is missing from the release; build the release again", .0.display())]
    Missing(PathBuf),
    /// The emulator can't run here.
    #[error("{} {error}", path.display())]
    Elf {
        /// The emulator.
        path: PathBuf,
        /// What is wrong with it.
        error: ElfError,
    },
    /// A symbolic link that would lead nowhere in the guest.
    #[error("{} is a symbolic link out of the release; replace it by what it points to", .0.display())]
    LinkOutside(PathBuf),
    /// Something that is neither file, folder nor link.
    #[error("{} is not a file, folder or symbolic link; remove it from the release", .0.display())]
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

/// A release and an Erlang/OTP that don't fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} was built with {app} {wanted}, but the Erlang/OTP {otp} in {} has {found}; \
     name the one it was built with by --otp{}", dir.display(), at.display(),
    otp::number(erts).map(|number| format!(" {number}")).unwrap_or_default()
)]
pub struct OtpVersion {
    /// The release.
    dir: PathBuf,
    /// What has another version.
    app: String,
    /// Its version in the release.
    wanted: String,
    /// Number of the OTP release.
    otp: String,
    /// Where that is.
    at: PathBuf,
    /// Its version there.
    found: String,
    /// The run-time system that the release wants.
    erts: String,
}

impl OtpVersion {
    /// Returns the number of the OTP release that it was built with.
    #[must_use]
    pub fn wanted_otp(&self) -> Option<u32> {
        otp::number(&self.erts)
    }
}

impl Release {
    /// Reads and checks the release in `dir`.
    ///
    /// # Errors
    /// [`ReleaseError`]: the first thing that is not as it should be.
    pub fn open(dir: &Path) -> Result<Self, ReleaseError> {
        if !dir.is_dir() {
            return Err(ReleaseError::NotAFolder(dir.to_path_buf()));
        }
        let data = dir.join("releases/start_erl.data");
        let text = match limit::read_text(&data) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReleaseError::NotARelease(dir.to_path_buf()));
            }
            other => other.map_err(|error| io_error(&data, error))?,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [erts, version] = words[..] else {
            return Err(ReleaseError::StartData(data));
        };
        if [erts, version].iter().any(|w| w.contains('/')) {
            return Err(ReleaseError::StartData(data));
        }
        let release = Self {
            dir: dir.to_path_buf(),
            name: name(&dir.join("releases").join(version))
                .or_else(|| name(&dir.join("releases")))
                .unwrap_or_else(|| "release".into()),
            version: version.into(),
            erts: erts.into(),
        };
        release.check()?;
        Ok(release)
    }

    fn check(&self) -> Result<(), ReleaseError> {
        let boot = self.version_dir().join("start.boot");
        let own_boot = self.version_dir().join(format!("{}.boot", self.name));
        if !self.dir.join(&boot).is_file() && !self.dir.join(own_boot).is_file() {
            return Err(ReleaseError::Missing(self.dir.join(boot)));
        }
        if !self.has_erts() {
            return Ok(());
        }
        for program in ERTS_PROGRAMS {
            let path = self.dir.join(self.erts_bin()).join(program);
            if !path.is_file() {
                return Err(ReleaseError::Missing(path));
            }
        }
        if let Some((name, version)) = self.missing().first() {
            let path = self.dir.join(format!("lib/{name}-{version}"));
            return Err(ReleaseError::Missing(path));
        }
        let path = self.dir.join(self.erts_bin()).join(ERTS_PROGRAMS[0]);
        let bytes = limit::read(&path).map_err(|error| io_error(&path, error))?;
        elf::needs(&bytes).map_err(|error| ReleaseError::Elf { path, error })?;
        Ok(())
    }

    /// Returns whether it brings its run-time system.
    #[must_use]
    pub fn has_erts(&self) -> bool {
        self.dir.join(self.erts_dir()).is_dir()
    }

    /// Returns what made it, and so how it is started.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let script = self.dir.join("bin").join(&self.name);
        let script = limit::read_text(&script).unwrap_or_default();
        if self.has_elixir() {
            Kind::Mix
        } else if script.contains("RELX_") {
            Kind::Relx
        } else {
            Kind::Systools
        }
    }

    /// Returns the applications that its `.rel` file lists, with their versions; none when there is no such file.
    fn applications(&self) -> Vec<(String, String)> {
        let file = format!("{}.rel", self.name);
        let file = self.dir.join(self.version_dir()).join(file);
        let text = limit::read_text(&file).unwrap_or_default();
        let Some(rel) = Term::parse(&text) else {
            return Vec::new();
        };
        let listed = rel.parts().get(3).map(Term::parts).unwrap_or_default();
        let listed = listed.iter().filter_map(|app| match app.parts() {
            [name, version, ..] => Some((name.text()?.to_owned(), version.text()?.to_owned())),
            _ => None,
        });
        listed.collect()
    }

    /// Returns the applications that it lists and doesn't hold.
    fn missing(&self) -> Vec<(String, String)> {
        let mut listed = self.applications();
        listed.retain(|(name, version)| !self.dir.join(format!("lib/{name}-{version}")).is_dir());
        listed
    }

    /// Returns the applications that it takes from the Erlang/OTP which it is to run on.
    ///
    /// # Errors
    /// When that has others than the release was built with.
    pub fn needed_of(&self, otp: &Otp) -> Result<BTreeSet<String>, ReleaseError> {
        let differs = |app: &str, wanted: &str, found: &str| {
            ReleaseError::OtpVersion(Box::new(OtpVersion {
                dir: self.dir.clone(),
                app: app.into(),
                wanted: wanted.into(),
                otp: otp.release(),
                at: otp.dir().to_path_buf(),
                found: found.into(),
                erts: self.erts.clone(),
            }))
        };
        let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
        if major(&self.erts) != major(&otp.erts) {
            return Err(differs("ERTS", &self.erts, &otp.erts));
        }
        let mut needed = BTreeSet::new();
        for (name, version) in self.missing() {
            match otp.version(&name) {
                Some(found) if found == version => needed.insert(name),
                found => return Err(differs(&name, &version, found.unwrap_or("none"))),
            };
        }
        if self.applications().is_empty() {
            let apps = fs::read_dir(self.dir.join("lib")).into_iter().flatten();
            let mut parts = Parts::default();
            for app in apps.flatten() {
                let folder = app.file_name().to_string_lossy().into_owned();
                let name = folder.split('-').next().unwrap_or_default().to_owned();
                let needs = otp::needs(&app.path().join(format!("ebin/{name}.app")));
                parts.needs.extend(needs);
                parts.apps.insert(name);
            }
            let missing = |apps| ReleaseError::MissingApps(self.dir.clone(), apps);
            needed = otp.needed(&parts).map_err(missing)?;
        }
        Ok(needed)
    }

    fn erts_dir(&self) -> PathBuf {
        PathBuf::from(format!("erts-{}", self.erts))
    }

    /// Returns the folder of the run-time system's programs, relative to the release.
    #[must_use]
    pub fn erts_bin(&self) -> PathBuf {
        self.erts_dir().join("bin")
    }

    /// Returns the folder of this version's boot file and configuration, relative to the release.
    #[must_use]
    pub fn version_dir(&self) -> PathBuf {
        PathBuf::from("releases").join(&self.version)
    }

    /// Returns whether it is started by Elixir (`mix release`).
    #[must_use]
    pub fn has_elixir(&self) -> bool {
        let libraries = fs::read_dir(self.dir.join("lib")).into_iter().flatten();
        libraries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("elixir-")
        })
    }

    /// Returns what goes into an image, with paths relative to the release; folders before what is in them.
    ///
    /// # Errors
    /// [`ReleaseError`] when something can't be read or can't be in an image.
    pub fn files(&self) -> Result<Vec<(PathBuf, Node)>, ReleaseError> {
        let mut files = Vec::new();
        let entries = walkdir::WalkDir::new(&self.dir)
            .min_depth(1)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| {
                entry
                    .path()
                    .strip_prefix(&self.dir)
                    .is_ok_and(|path| self.is_needed(path))
            });
        for entry in entries {
            let entry = entry.map_err(|error| {
                let (path, error) = walk::failure(error, &self.dir);
                io_error(&path, error)
            })?;
            let path = entry.path();
            let relative = path.strip_prefix(&self.dir).unwrap_or(path);
            files.push((relative.to_path_buf(), self.node(path)?));
        }
        Ok(files)
    }

    /// Decides by its relative path whether something is needed to run the release.
    fn is_needed(&self, path: &Path) -> bool {
        let parts: Vec<_> = path
            .components()
            .map(|c| c.as_os_str().to_string_lossy())
            .collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts[..] {
            // Start scripts, and archives that release tools leave.
            ["bin", ..] => false,
            [file] if file.starts_with("erts-") => Path::new(file) == self.erts_dir(),
            [file] => !file.ends_with(".tar.gz"),
            [erts, "bin"] if erts.starts_with("erts-") => true,
            [erts, "bin", program] if erts.starts_with("erts-") => ERTS_PROGRAMS.contains(&program),
            [erts, ..] if erts.starts_with("erts-") => false,
            ["lib", _, dir] => !BUILD_ONLY.contains(&dir),
            // The text from which start.boot was made.
            ["releases", _, file] => !file.ends_with(".script"),
            _ => true,
        }
    }

    fn node(&self, path: &Path) -> Result<Node, ReleaseError> {
        let meta = fs::symlink_metadata(path).map_err(|error| io_error(path, error))?;
        if meta.is_dir() {
            return Ok(Node::Dir(0o755));
        }
        if meta.is_symlink() {
            return self.link(path);
        }
        if !meta.is_file() {
            return Err(ReleaseError::Special(path.to_path_buf()));
        }
        let is_executable = meta.permissions().mode() & 0o111 != 0;
        let mode = if is_executable { 0o755 } else { 0o644 };
        Ok(Node::File(
            mode,
            Source::Path(path.to_path_buf(), meta.len()),
        ))
    }

    /// A link within the release stays a link.
    fn link(&self, path: &Path) -> Result<Node, ReleaseError> {
        let outside = || ReleaseError::LinkOutside(path.to_path_buf());
        let target = fs::read_link(path).map_err(|error| io_error(path, error))?;
        let real = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => outside(),
            _ => io_error(path, error),
        })?;
        let root = fs::canonicalize(&self.dir).map_err(|error| io_error(&self.dir, error))?;
        if target.is_absolute() || !real.starts_with(root) {
            return Err(outside());
        }
        Ok(Node::Symlink(target))
    }
}

/// Returns the name of the only `.rel` file in `dir`, without its ending.
fn name(dir: &Path) -> Option<String> {
    let mut names = fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "rel"));
    let name = names.next()?.file_stem()?.to_string_lossy().into_owned();
    names.next().is_none().then_some(name)
}

fn io_error(path: &Path, error: io::Error) -> ReleaseError {
    ReleaseError::Io {
        path: path.to_path_buf(),
        error,
    }
}
