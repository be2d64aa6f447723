//! From an [`Input`] to an [`App`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{Rules, Unpacker};
use super::container;
use super::oci::Image;
use super::unpacked::{ARCHIVE, CONTAINER, Unpacked};
use super::{App, Choices, Input, OpenError, folders};
use crate::image::ROOT;
use crate::limit;
use crate::otp::{self, Otp, Parts};
use crate::recipe::{EPMD, Kind, Recipe};
use crate::release::Release;
use crate::sysroot::Sysroot;
use crate::tree::{Node, Source};
use crate::walk;

impl Input {
    /// Makes an app of it.
    ///
    /// # Errors
    /// [`OpenError`]: what is wrong, and the remedy.
    pub fn open(&self, choices: &Choices<'_>) -> Result<App, OpenError> {
        let system = Sysroot::new(choices.sysroot);
        match self {
            Self::Release(dir) => {
                let root = Path::new(ROOT);
                one_of(std::slice::from_ref(dir), choices.release, Some(dir))?;
                Opener::new(choices, system).release(dir, root)
            }
            Self::Releases(dirs) => {
                let dir = one_of(dirs, choices.release, None)?;
                Opener::new(choices, system).release(dir, Path::new(ROOT))
            }
            Self::Shipment(dir) => Opener::new(choices, system).shipment(dir, Path::new(ROOT), &[]),
            Self::Modules(dir) => Opener::new(choices, system).modules(dir),
            Self::Applications(dir) => Opener::new(choices, system).applications(dir),
            Self::Layout(dir) => unpacked(dir, |temp| container(dir, dir, temp, choices)),
            Self::Archive(file) => unpacked(file, |temp| archive(file, temp, choices)),
        }
    }
}

/// Opens what has to be unpacked first.
fn unpacked(
    input: &Path,
    open: impl FnOnce(&Path) -> Result<App, OpenError>,
) -> Result<App, OpenError> {
    let temp = Unpacked::new(input).map_err(|error| OpenError::Io {
        path: std::env::temp_dir(),
        error,
    })?;
    match open(temp.path()) {
        Ok(app) => Ok(App {
            unpacked: Some(temp),
            ..app
        }),
        Err(error) => Err(OpenError::Unpacked {
            text: temp.named(&error.to_string()),
            error: Box::new(error),
        }),
    }
}

/// Chooses the release of this name; the only one when nothing was asked for.
fn one_of<'a>(
    dirs: &'a [PathBuf],
    name: Option<&str>,
    only: Option<&'a Path>,
) -> Result<&'a Path, OpenError> {
    let known = |dir: &PathBuf| {
        let own = Release::open(dir).map(|release| release.name);
        let folder = dir.file_name().unwrap_or_default().to_string_lossy();
        own.unwrap_or_else(|_| folder.into_owned())
    };
    let Some(name) = name else {
        return match dirs {
            [one] => Ok(one),
            _ => Err(OpenError::Several(dirs.iter().map(known).collect())),
        };
    };
    let is_named = |dir: &&PathBuf| known(dir) == name || dir.ends_with(name);
    let found = dirs.iter().find(is_named).map(PathBuf::as_path);
    found
        .or_else(|| only.filter(|dir| dir.ends_with(name)))
        .ok_or_else(|| OpenError::NoSuchRelease {
            name: name.into(),
            known: dirs.iter().map(known).collect(),
        })
}

/// Opens an archive: the tarball of a release, or a container image.
fn archive(file: &Path, temp: &Path, choices: &Choices<'_>) -> Result<App, OpenError> {
    let io_error = |error| OpenError::Io {
        path: temp.to_path_buf(),
        error,
    };
    let mut tree = Unpacker::new(&temp.join("spool")).map_err(io_error)?;
    tree.add(file, Rules::Tarball)?;
    let is_image =
        tree.has_file(Path::new("manifest.json")) || tree.has_file(Path::new("index.json"));
    let marker = Path::new("releases/start_erl.data");
    let top = match tree.only_folder() {
        Some(top) if tree.has_file(&top.join(marker)) => Some(top),
        _ => tree.has_file(marker).then(PathBuf::new),
    };
    let dir = temp.join(ARCHIVE);
    if !is_image && top.is_none() {
        return Err(OpenError::Unknown(file.to_path_buf()));
    }
    tree.lay_out(&dir).map_err(io_error)?;
    match top {
        Some(top) => {
            let system = Sysroot::new(choices.sysroot);
            Opener::new(choices, system).release(&dir.join(top), Path::new(ROOT))
        }
        None => container(file, &dir, temp, choices),
    }
}

/// Opens a container image whose parts are in `dir`.
fn container(
    path: &Path,
    dir: &Path,
    temp: &Path,
    choices: &Choices<'_>,
) -> Result<App, OpenError> {
    let root = temp.join(CONTAINER);
    let config = Image::new(path, dir).unpack(&root, &temp.join("layers"))?;
    let system = Sysroot::of_container(&root);
    let found = container::follow(path, &config, &system)?;
    let outside = root.join(found.root.strip_prefix("/").unwrap_or(&found.root));
    let opener = Opener::new(choices, system);
    let mut app = match found.is_shipment {
        true => opener.shipment(&outside, &found.root, &found.args)?,
        false => opener.release(&outside, &found.root)?,
    };
    app.recipe.env = found.env;
    app.recipe.cwd = found.cwd;
    app.warnings.extend(found.warnings);
    // With the group behind a colon.
    let user = config.user.split(':').next().unwrap_or_default();
    if !matches!(user, "" | "root" | "0") {
        app.warnings.push(format!(
            "the image asks for the user {user}, but a guest has root alone (uid 0): permissions of files keep nothing from the release, \
             and programs that refuse to run as root do so; what it can't reach is the host, for the guest is a machine of its own"
        ));
    }
    app.ports = config.exposed_ports.into_keys().collect();
    add_certificates(&mut app);
    Ok(app)
}

/// Adds the certificates of a container image, which programs find at these places.
fn add_certificates(app: &mut App) {
    for place in ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"] {
        let file = app.system.resolve(Path::new(place));
        if let Some((file, meta)) =
            file.and_then(|file| Some((file.clone(), file.metadata().ok()?)))
            && meta.is_file()
        {
            let node = Node::File(0o644, Source::Path(file, meta.len()));
            app.files.push((place.into(), node));
        }
    }
}

pub(super) struct Opener<'a> {
    pub(super) choices: &'a Choices<'a>,
    system: Sysroot,
}

impl<'a> Opener<'a> {
    fn new(choices: &'a Choices<'a>, system: Sysroot) -> Self {
        Self { choices, system }
    }

    /// Opens the release in `dir`, which will be `root` in the image.
    fn release(self, dir: &Path, root: &Path) -> Result<App, OpenError> {
        let release = Release::open(dir)?;
        let mut recipe = Recipe {
            kind: release.kind(),
            name: release.name.clone(),
            version: release.version.clone(),
            erts: release.erts.clone(),
            root: root.to_path_buf(),
            otp: root.to_path_buf(),
            cwd: root.to_path_buf(),
            env: Vec::new(),
            main: String::new(),
            args: Vec::new(),
            libs: Vec::new(),
            has_epmd: false,
        };
        let mut programs = release.dir.join(release.erts_bin());
        let files = release.files()?.into_iter();
        let mut files: Vec<_> = files.map(|(path, node)| (root.join(path), node)).collect();
        if !release.has_erts() {
            let otp = self.otp(dir, otp::number(&release.erts))?;
            let needed = release.needed_of(&otp)?;
            files.extend(otp_files(&otp, &needed)?);
            recipe.erts = otp.erts.clone();
            recipe.otp = otp.root.clone();
            programs = otp.programs();
        }
        Ok(self.app(recipe, files, programs))
    }

    fn shipment(self, dir: &Path, root: &Path, args: &[String]) -> Result<App, OpenError> {
        let entrypoint = dir.join("entrypoint.sh");
        let text = limit::read_text(&entrypoint).map_err(|error| OpenError::Io {
            path: entrypoint.clone(),
            error,
        })?;
        let setting = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_matches(['"', '\'', ' ']).to_owned())
        };
        let main = setting("PACKAGE=").filter(|name| !name.is_empty());
        let main = main.ok_or(OpenError::NoPackage(entrypoint))?;
        let mut files = Vec::new();
        let mut parts = Parts::default();
        for folder in folders(dir) {
            let name = folder.file_name().unwrap_or_default().to_owned();
            if !folder.join("ebin").is_dir() {
                continue;
            }
            let file = name.to_string_lossy();
            let needs = otp::needs(&folder.join(format!("ebin/{file}.app")));
            parts.needs.extend(needs);
            parts.imports.extend(otp::imports(&folder.join("ebin")));
            parts.apps.insert(file.into_owned());
            for part in ["ebin", "priv"] {
                add_folder(&mut files, &folder.join(part), &root.join(&name).join(part))?;
            }
        }
        let built = setting("OTP_VERSION=");
        let wanted = built.as_ref().and_then(|built| built.parse().ok());
        let otp = self.otp(dir, wanted)?;
        let needed = needed_of(&otp, dir, &parts)?;
        files.extend(otp_files(&otp, &needed)?);
        let recipe = Recipe {
            main,
            args: args.to_vec(),
            ..self.recipe(Kind::Shipment, &otp, root)
        };
        let mut app = self.app(
            Recipe {
                name: recipe.main.clone(),
                ..recipe
            },
            files,
            otp.programs(),
        );
        if let Some(built) = built.filter(|built| *built != otp.release()) {
            app.warnings.push(format!(
                "the shipment was built with Erlang/OTP {built}, but gets {}; name the one it was built with by --otp",
                otp.release()
            ));
        }
        Ok(app)
    }

    pub(super) fn recipe(&self, kind: Kind, otp: &Otp, root: &Path) -> Recipe {
        Recipe {
            kind,
            name: String::new(),
            version: String::new(),
            erts: otp.erts.clone(),
            root: root.to_path_buf(),
            otp: otp.root.clone(),
            cwd: root.to_path_buf(),
            env: Vec::new(),
            main: String::new(),
            args: Vec::new(),
            libs: Vec::new(),
            has_epmd: false,
        }
    }

    pub(super) fn app(
        self,
        mut recipe: Recipe,
        files: Vec<(PathBuf, Node)>,
        programs: PathBuf,
    ) -> App {
        recipe.has_epmd = programs.join(EPMD).is_file();
        App {
            recipe,
            files,
            programs,
            system: self.system,
            ports: Vec::new(),
            warnings: Vec::new(),
            unpacked: None,
        }
    }

    /// Returns the Erlang/OTP for an input without one: what was asked for, else that of the system.
    pub(super) fn otp(&self, path: &Path, wanted: Option<u32>) -> Result<Otp, OpenError> {
        let found = match self.choices.otp {
            Some(dir) => {
                Otp::find(&Sysroot::new(dir)).or_else(|| Otp::open(dir, Path::new(otp::PLACES[0])))
            }
            None => Otp::find(&self.system),
        };
        found.ok_or_else(|| OpenError::NoOtp {
            path: path.to_path_buf(),
            sysroot: self.choices.otp.unwrap_or(self.system.dir()).to_path_buf(),
            wanted,
        })
    }
}

pub(super) fn needed_of(
    otp: &Otp,
    path: &Path,
    parts: &Parts,
) -> Result<BTreeSet<String>, OpenError> {
    otp.needed(parts).map_err(|error| OpenError::MissingApps {
        path: path.to_path_buf(),
        error,
    })
}

pub(super) fn otp_files(
    otp: &Otp,
    apps: &BTreeSet<String>,
) -> Result<Vec<(PathBuf, Node)>, OpenError> {
    otp.files(apps)
        .map_err(|(path, error)| OpenError::Io { path, error })
}

/// Adds a folder with all that is in it, links followed; none when it isn't there.
pub(super) fn add_folder(
    files: &mut Vec<(PathBuf, Node)>,
    from: &Path,
    to: &Path,
) -> Result<(), OpenError> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in walkdir::WalkDir::new(from)
        .follow_links(true)
        .sort_by_file_name()
    {
        let io = |path: &Path, error| OpenError::Io {
            path: path.to_path_buf(),
            error,
        };
        let entry = entry.map_err(|error| {
            let (path, error) = walk::failure(error, from);
            io(&path, error)
        })?;
        let meta = fs::metadata(entry.path()).map_err(|error| io(entry.path(), error))?;
        if !meta.is_file() {
            continue;
        }
        let executable = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111;
        let mode = if executable == 0 { 0o644 } else { 0o755 };
        let path = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let node = Node::File(mode, Source::Path(entry.path().to_path_buf(), meta.len()));
        files.push((to.join(path), node));
    }
    Ok(())
}
