//! Debian packages: of another release without touching this machine's (an apt state of our own), and of this machine's
//! own for tools that are missing.
//!
//! The mirror is the one of the machine's apt sources; apt checks signatures and checksums.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use tyn_scratch::Program;

use crate::command::{self, output};

/// Where Debian's own keys are.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What happens when this machine lacks the keys that sign a Debian release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// Their package is installed, where we may.
    Install,
    /// That is an error.
    Expect,
}

/// An apt state of our own for one Debian release.
#[derive(Debug)]
pub struct Apt {
    state: PathBuf,
    sources: PathBuf,
}

impl Apt {
    /// Makes an empty apt state in `state` for `suite` and reads the package lists of the machine's mirror.
    ///
    /// # Errors
    /// When this isn't a Debian machine with a mirror, or the mirror doesn't answer.
    pub fn new(suite: &str, state: &Path, keys: Keys) -> Result<Self> {
        Self::of_kind("deb", suite, state, keys)
    }

    /// Makes an apt state as [`Apt::new`] does, for source packages.
    ///
    /// # Errors
    /// As there.
    pub fn for_sources(suite: &str, state: &Path, keys: Keys) -> Result<Self> {
        Self::of_kind("deb-src", suite, state, keys)
    }

    fn of_kind(kind: &str, suite: &str, state: &Path, keys: Keys) -> Result<Self> {
        for dir in ["lists/partial", "cache/archives/partial", "etc"] {
            fs::create_dir_all(state.join(dir))?;
        }
        fs::write(state.join("status"), "")?;
        let sources = state.join("etc/sources.list");
        let mirror = mirror()?;
        ensure_keys(suite, keys)?;
        fs::write(
            &sources,
            format!("{kind} [signed-by={KEYRING}] {mirror} {suite} main\n"),
        )?;
        let apt = Self {
            state: state.to_path_buf(),
            sources,
        };
        output(apt.command().args(["update", "--error-on=any"]))
            .with_context(|| format!("package lists of Debian {suite} can't be read"))?;
        Ok(apt)
    }

    /// Downloads `packages` with all they depend on and returns the .deb files, sorted.
    ///
    /// # Errors
    /// When apt can't resolve, fetch or verify them.
    pub fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        output(
            self.command()
                .args([
                    "install",
                    "--download-only",
                    "--no-install-recommends",
                    "-y",
                ])
                .args(packages),
        )?;
        debs(&self.state.join("cache/archives"))
    }

    /// Downloads `packages` without what they depend on into the folder `into` and returns the .deb files, sorted.
    ///
    /// # Errors
    /// When apt can't find, fetch or verify them.
    pub fn download_alone(&self, packages: &[&str], into: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(into)?;
        output(
            self.command()
                .current_dir(into)
                .arg("download")
                .args(packages),
        )?;
        debs(into)
    }

    /// Downloads the upstream part of the source package `package` into the folder `into` and returns the archive: the
    /// source without Debian's patches, which are about packaging and not there on every mirror.
    ///
    /// # Errors
    /// When apt can't find, fetch or verify it.
    pub fn download_source(&self, package: &str, into: &Path) -> Result<PathBuf> {
        fs::create_dir_all(into)?;
        output(self.command().current_dir(into).args([
            "source",
            "--download-only",
            "--tar-only",
            package,
        ]))?;
        for entry in fs::read_dir(into)? {
            let path = entry?.path();
            if path.to_string_lossy().contains(".orig.tar.") {
                return Ok(path);
            }
        }
        bail!("apt-get source {package} left no archive")
    }

    fn command(&self) -> Command {
        let state = self.state.display();
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C.UTF-8").arg("-q");
        for option in [
            format!("Dir::State={state}"),
            format!("Dir::State::lists={state}/lists"),
            format!("Dir::State::status={state}/status"),
            format!("Dir::Cache={state}/cache"),
            format!("Dir::Etc::sourcelist={}", self.sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::preferencesparts=-".into(),
            "APT::Architecture=amd64".into(),
            "APT::Architectures=amd64".into(),
            // The download happens as the user who asked: the folder may be closed to apt's own user.
            "APT::Sandbox::User=".into(),
            "Debug::NoLocking=true".into(),
            // Only package lists are needed.
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::Languages=none".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Returns the .deb files of a folder, sorted.
fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut debs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            debs.push(path);
        }
    }
    debs.sort();
    Ok(debs)
}

/// Unpacks packages over each other into a folder laid out as Debian does (`/lib` in `/usr/lib`, ...).
///
/// # Errors
/// When a package is damaged or the disk is full.
pub fn unpack(debs: &[PathBuf], into: &Path) -> Result<()> {
    for dir in ["bin", "lib", "lib64", "sbin"] {
        let real = Path::new("usr").join(dir);
        fs::create_dir_all(into.join(&real))?;
        std::os::unix::fs::symlink(&real, into.join(dir))?;
    }
    for deb in debs {
        unpack_deb(deb, into).with_context(|| format!("{}", deb.display()))?;
    }
    Ok(())
}

/// As `dpkg-deb -x`, but files for `/lib` of older packages go through the link that is there.
fn unpack_deb(deb: &Path, into: &Path) -> Result<()> {
    let mut opener = Command::new("dpkg-deb");
    opener
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut archive = Program::start(&mut opener).context("dpkg-deb can't be started")?;
    let stdout = archive.child.stdout.take();
    let mut command = Command::new("tar");
    command
        .args([
            "--extract",
            "--preserve-permissions",
            "--keep-directory-symlink",
        ])
        .arg("--directory")
        .arg(into)
        .stdin(stdout.context("dpkg-deb has no output")?)
        .stderr(Stdio::piped());
    let tar = Program::start(&mut command);
    // It holds the pipe, too: dpkg-deb would wait for ever for a tar that ends early.
    drop(command);
    let tar = tar.and_then(Program::finish);
    let tar = tar.context("tar can't be started")?;
    let status = archive.finish()?.status;
    if !tar.status.success() || !status.success() {
        bail!(
            "it can't be unpacked: {}",
            String::from_utf8_lossy(&tar.stderr).trim()
        );
    }
    Ok(())
}

/// Unpacks the upstream part of a source package into the folder `into`, without the one folder that holds everything.
///
/// # Errors
/// When the archive is damaged or the disk is full.
pub fn unpack_source(archive: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    output(
        Command::new("tar")
            .args(["--extract", "--no-same-owner", "--strip-components=1"])
            .arg("--file")
            .arg(archive)
            .arg("--directory")
            .arg(into),
    )?;
    Ok(())
}

/// Makes sure that a program is there; installs its Debian package when we may.
///
/// # Errors
/// When it is missing and can't be installed: says what to install.
pub fn ensure_program(program: &str, package: &str) -> Result<()> {
    if command::is_installed(program) {
        return Ok(());
    }
    install(package).with_context(|| format!("{program} is missing"))
}

/// Sees to it that files are there, each of the package beside it.
///
/// # Errors
/// When one is missing and can't be installed.
pub fn ensure_files(files: &[(&str, &str)]) -> Result<()> {
    let missing = files.iter().filter(|(path, _)| !Path::new(path).exists());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages.join(" "))
}

/// Installs packages, whose names are separated by blanks.
fn install(packages: &str) -> Result<()> {
    if !command::is_root() || !command::is_installed("apt-get") {
        return Err(to_install(packages));
    }
    eprintln!("installing {packages} of Debian");
    output(Command::new("apt-get").args(["-q", "update"]))?;
    output(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "install", "-y", "--no-install-recommends"])
            .args(packages.split(' ')),
    )?;
    Ok(())
}

/// Returns the Debian mirror of the machine's apt sources.
fn mirror() -> Result<String> {
    if !command::is_installed("apt-get") {
        bail!("apt-get is missing: this needs a Debian machine");
    }
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
        "Label: Debian",
    ]))?;
    let Some(mirror) = targets.lines().find(|line| !line.is_empty()) else {
        bail!(
            "no Debian mirror in this machine's apt sources: add one to /etc/apt/sources.list and run apt-get update"
        );
    };
    Ok(mirror.to_owned())
}

/// Makes sure that the machine knows the signing keys of `suite`.
fn ensure_keys(suite: &str, keys: Keys) -> Result<()> {
    // The unstable suite has no keys of its own: those of the last stable one sign it.
    let suite = if suite == "sid" { "trixie" } else { suite };
    let key = format!("/usr/share/keyrings/debian-archive-{suite}-automatic.gpg");
    if Path::new(&key).exists() || Path::new(&key).with_extension("pgp").exists() {
        return Ok(());
    }
    let install = match keys {
        Keys::Install => install("debian-archive-keyring"),
        Keys::Expect => Err(to_install("debian-archive-keyring")),
    };
    install.with_context(|| format!("the keys of {suite} are missing"))
}

fn to_install(package: &str) -> anyhow::Error {
    anyhow!("install the Debian package {package}, e.g. sudo apt-get install {package}")
}
