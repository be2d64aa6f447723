//! An installation of Erlang/OTP in a sysroot, for what brings no run-time system of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::beam::Beam;
use crate::limit;
use crate::release::ERTS_PROGRAMS;
use crate::sysroot::Sysroot;
use crate::term::Term;
use crate::tree::{Node, Source};
use crate::walk;

/// Where distributions, the official container images and installers put it.
pub const PLACES: [&str; 5] = [
    "/usr/lib/erlang",
    "/usr/local/lib/erlang",
    "/usr/lib64/erlang",
    "/opt/erlang/lib/erlang",
    "/opt/erlang",
];

/// An installation.
#[derive(Clone, Debug)]
pub struct Otp {
    /// Its folder on this machine.
    dir: PathBuf,
    /// Its folder in an image.
    pub root: PathBuf,
    /// The version of its run-time system.
    pub erts: String,
    /// The folders of its applications, by name.
    apps: BTreeMap<String, PathBuf>,
}

/// An application that another one needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// Its name.
    pub app: String,
    /// Whether it goes without, too.
    pub is_optional: bool,
}

impl Need {
    fn of(app: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            is_optional: false,
        }
    }
}

/// What an input has and lacks.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Its own applications.
    pub apps: BTreeSet<String>,
    /// What those need.
    pub needs: Vec<Need>,
    /// The modules that its modules call.
    pub imports: BTreeSet<String>,
}

/// Applications that are nowhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "it needs the applications {}, which neither it nor the Erlang/OTP {otp} in {} has; \
     add them, or name an Erlang/OTP that has them by --otp", apps.join(", "), at.display()
)]
pub struct MissingApps {
    apps: Vec<String>,
    otp: String,
    at: PathBuf,
}

impl Otp {
    /// Finds the installation in a system.
    #[must_use]
    pub fn find(system: &Sysroot) -> Option<Self> {
        PLACES.iter().find_map(|place| {
            let dir = system.resolve(Path::new(place))?;
            Self::open(&dir, Path::new(place))
        })
    }

    /// Opens the installation in the folder `dir`, which will be `root` in an image.
    #[must_use]
    pub fn open(dir: &Path, root: &Path) -> Option<Self> {
        let all = names(dir);
        let has_emulator = |erts: &&str| {
            let bin = dir.join(format!("erts-{erts}/bin"));
            bin.join(ERTS_PROGRAMS[0]).is_file()
        };
        let mut versions = all.iter().filter_map(|name| name.strip_prefix("erts-"));
        let erts = versions.find(has_emulator)?.to_owned();
        let apps = names(&dir.join("lib")).into_iter().filter_map(|folder| {
            let path = dir.join("lib").join(&folder);
            let name = folder.split_once('-').map_or(folder.as_str(), |(n, _)| n);
            path.join("ebin")
                .is_dir()
                .then(|| (name.to_owned(), path.clone()))
        });
        Some(Self {
            dir: dir.to_path_buf(),
            root: root.to_path_buf(),
            erts,
            apps: apps.collect(),
        })
    }

    /// Returns its folder on this machine.
    #[must_use]
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the number of the OTP release, e.g. `27`.
    #[must_use]
    pub fn release(&self) -> String {
        number(&self.erts).map_or_else(|| "unknown".into(), |number| number.to_string())
    }

    /// Returns the version of an application.
    #[must_use]
    pub fn version(&self, app: &str) -> Option<&str> {
        let folder = self.apps.get(app)?.file_name()?.to_str()?;
        folder.split_once('-').map(|(_, version)| version)
    }

    /// Returns the applications that an input needs of this installation, with what those need in turn. `kernel` and
    /// `stdlib` always.
    ///
    /// # Errors
    /// [`MissingApps`] when there are some that neither this has nor the input.
    pub fn needed(&self, input: &Parts) -> Result<BTreeSet<String>, MissingApps> {
        let mut todo = input.needs.clone();
        todo.extend(["kernel", "stdlib"].map(Need::of));
        for (app, dir) in &self.apps {
            let ebin = dir.join("ebin");
            let has = |module: &String| ebin.join(format!("{module}.beam")).is_file();
            if input.imports.iter().any(has) {
                todo.push(Need::of(app));
            }
        }
        let (mut needed, mut missing) = (BTreeSet::new(), BTreeSet::new());
        while let Some(Need { app, is_optional }) = todo.pop() {
            let Some(dir) = self.apps.get(&app) else {
                if !is_optional && !input.apps.contains(&app) {
                    missing.insert(app);
                }
                continue;
            };
            if needed.insert(app.clone()) {
                todo.extend(needs(&dir.join("ebin").join(format!("{app}.app"))));
            }
        }
        if !missing.is_empty() {
            return Err(MissingApps {
                apps: missing.into_iter().collect(),
                otp: self.release(),
                at: self.dir.clone(),
            });
        }
        Ok(needed)
    }

    /// Returns where the run-time system's programs are.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.dir.join(format!("erts-{}/bin", self.erts))
    }

    /// Returns the files of the run-time system and of these applications, with its boot files, as paths in an image.
    ///
    /// # Errors
    /// The file that can't be read, and why.
    pub fn files(
        &self,
        apps: &BTreeSet<String>,
    ) -> Result<Vec<(PathBuf, Node)>, (PathBuf, std::io::Error)> {
        let mut files = Vec::new();
        let bin = PathBuf::from(format!("erts-{}/bin", self.erts));
        for program in ERTS_PROGRAMS {
            self.add(&bin.join(program), &mut files)?;
        }
        for boot in names(&self.dir.join("bin")) {
            if boot.ends_with(".boot") {
                self.add(&Path::new("bin").join(boot), &mut files)?;
            }
        }
        let folders = apps.iter().filter_map(|app| self.apps.get(app));
        let folders = folders.flat_map(|folder| ["ebin", "priv"].map(|part| folder.join(part)));
        // Few have `priv`.
        for folder in folders.filter(|folder| folder.is_dir()) {
            let walk = walkdir::WalkDir::new(&folder).sort_by_file_name();
            for entry in walk.follow_links(true) {
                let entry = entry.map_err(|error| walk::failure(error, &folder))?;
                if !entry.file_type().is_file() {
                    continue;
                }
                let path = entry.path().strip_prefix(&self.dir);
                self.add(path.unwrap_or(entry.path()), &mut files)?;
            }
        }
        Ok(files)
    }

    fn add(
        &self,
        path: &Path,
        files: &mut Vec<(PathBuf, Node)>,
    ) -> Result<(), (PathBuf, std::io::Error)> {
        let file = self.dir.join(path);
        let meta = fs::metadata(&file).map_err(|error| (file.clone(), error))?;
        let is_executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111;
        let mode = if is_executable == 0 { 0o644 } else { 0o755 };
        files.push((
            self.root.join(path),
            Node::File(mode, Source::Path(file, meta.len())),
        ));
        Ok(())
    }
}

/// Returns the names of what is in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns the number of the OTP release that a version of the run-time system came with.
#[must_use]
pub fn number(erts: &str) -> Option<u32> {
    // ERTS 13 came with OTP 25, and so on since.
    let major: u32 = erts.split('.').next()?.parse().ok()?;
    major.checked_add(12)
}

/// Returns the applications that an `.app` file says it needs; none when there is no such file.
#[must_use]
pub fn needs(file: &Path) -> Vec<Need> {
    let Some(term) = limit::read_text(file)
        .ok()
        .and_then(|text| Term::parse(&text))
    else {
        return Vec::new();
    };
    let keys = term.parts().get(2);
    let listed = |key: &str| {
        let listed = keys.and_then(|keys| keys.get(key));
        let listed = listed.map_or(&[][..], Term::parts);
        listed.iter().filter_map(Term::text)
    };
    // They are among the others, too.
    let optional: BTreeSet<&str> = listed("optional_applications").collect();
    let apps = listed("applications").chain(listed("included_applications"));
    apps.map(|app| Need {
        app: app.to_owned(),
        is_optional: optional.contains(app),
    })
    .collect()
}

/// Returns the modules that those in a folder call by name.
#[must_use]
pub fn imports(ebin: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(ebin).into_iter().flatten().flatten();
    files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "beam"))
        .filter_map(|path| limit::read(&path).ok())
        .filter_map(|bytes| Beam::parse(&bytes).map(|beam| beam.imports()))
        .flatten()
        .collect()
}
