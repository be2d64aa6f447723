//! The scenarios of `tests/vm/scenarios`: a release of many cases, its image, and running it in a guest and on this Linux.
//!
//! On Linux the image's files are the root of a process that is the first one of its pid namespace, as in a container: what
//! it sees is what it sees in the guest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_fs::cpio::Entries;

use crate::command::{is_root, output};
use crate::lab::Lab;
use crate::sysroot::Sysroot;
use crate::{debian, musl, paths};

/// Programs of the sysroot that ports start.
const PROGRAMS: &[&str] = &[
    "cat", "cut", "date", "df", "env", "false", "head", "id", "ls", "mkdir", "printf", "rm", "seq",
    "sleep", "tr", "true", "uname", "wc",
];
/// The time zone of the scenarios: one with summer time.
const ZONE: &str = "Europe/Berlin";
/// Bytes that the temporary files of the scenarios may have on Linux.
const TMP_BYTES: u64 = 256 << 20;

/// What the run-time system and the other programs are linked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CLibrary {
    /// As Debian has them.
    Glibc,
    /// As Alpine has them, see [`musl`].
    Musl,
}

/// The built scenarios.
#[derive(Debug)]
pub(crate) struct Scenarios {
    /// What booting takes.
    pub(crate) lab: Lab,
    /// The image.
    pub(crate) image: PathBuf,
    /// The image's files, unpacked.
    root: PathBuf,
}

impl Scenarios {
    /// Builds the release, its NIFs, the image, and the folder for Linux.
    ///
    /// # Errors
    /// What can't be built.
    pub(crate) fn build(library: CLibrary) -> Result<Self> {
        let lab = Lab::new()?;
        let base = paths::target().join(match library {
            CLibrary::Glibc => "scenarios",
            CLibrary::Musl => "scenarios-musl",
        });
        fs::create_dir_all(&base)?;
        let release = base.join("release");
        let system = match library {
            CLibrary::Glibc => lab.sysroot.clone(),
            CLibrary::Musl => musl::ensure()?,
        };
        release_with_nifs(&lab, &release, library, &system)?;
        let image = base.join("scenarios.img");
        let mut build = lab.tyn();
        build.arg("build").arg(&release);
        build.arg("--sysroot").arg(system.dir());
        for include in includes(&system)? {
            build.arg("--include").arg(include);
        }
        output(build.arg("--output").arg(&image))?;
        let root = base.join("root");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        unpack(&image, &root).context("the image can't be unpacked")?;
        Ok(Self { lab, image, root })
    }

    /// Returns a command that runs the image's program on this Linux, with `env` besides its own environment.
    ///
    /// # Errors
    /// When the start description can't be read.
    pub(crate) fn on_linux(&self, env: &[(&str, String)]) -> Result<Command> {
        let start = fs::read(self.root.join(INIT_PATH.trim_start_matches('/')))?;
        let init = Init::parse(&start).map_err(|error| anyhow::anyhow!("{error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--uts", "--fork", "--kill-child"]);
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["/bin/sh", "-ec", ENTER]).arg(&self.root);
        command.arg(text(init.hostname)).arg(TMP_BYTES.to_string());
        command.arg(text(init.cwd));
        command.args(init.args.iter().map(|arg| text(arg)));
        command.env_clear();
        let own = init.env.iter().map(|variable| text(variable));
        for variable in own {
            if let Some((name, value)) = variable.split_once('=') {
                command.env(name, value);
            }
        }
        command.envs(env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Returns a command that runs the image in a guest.
    pub(crate) fn in_guest(&self, cpus: u32, memory: &str, env: &[(&str, String)]) -> Command {
        let mut command = self.lab.tyn();
        command.arg("run").arg(&self.image).arg("--trace");
        command.args(["--cpus", &cpus.to_string(), "--memory", memory]);
        command.args(["-e", "MACHINE_IS_OURS=1"]);
        for (name, value) in env {
            command.args(["-e", &format!("{name}={value}")]);
        }
        command
    }
}

/// Makes the mounts of a container and, with one output for everything as on a console, becomes the program: ROOT HOSTNAME TMP_BYTES CWD PROGRAM ARGUMENTS...
const ENTER: &str = r#"
root=$0 tmp_bytes=$2 cwd=$3
echo "$1" > /proc/sys/kernel/hostname
shift 3
own_path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o "size=$tmp_bytes,mode=1777" tmp "$root/tmp"
chroot=$(command -v chroot) env=$(command -v env)
PATH=$own_path
# A guest's first process begins with no signal ignored; here some may be, by whoever started the tests.
exec "$env" --default-signal "$chroot" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$cwd" "$@" 2>&1
"#;

fn release_with_nifs(lab: &Lab, release: &Path, library: CLibrary, system: &Sysroot) -> Result<()> {
    let source = paths::root().join("tests/vm/scenarios");
    let mut escript = lab.sysroot.erl()?;
    escript
        .args(["-run", "escript", "start", "-extra"])
        .arg(paths::root().join("examples/erlang_http/build.escript"))
        .arg(release)
        .arg(&source);
    output(&mut escript).context("the scenarios can't be built")?;
    if library == CLibrary::Musl {
        musl::replace_binaries(release, |path| system.otp().join(path))?;
    }
    let private = release.join("lib/scenarios-1.0.0/priv");
    fs::create_dir_all(&private)?;
    debian::ensure_program("gcc", "gcc")?;
    let mut nif = compiler(match library {
        CLibrary::Glibc => "gcc",
        CLibrary::Musl => "musl-gcc",
    });
    nif.args(["-shared", "-fPIC", "-pthread", "-I"])
        .arg(lab.sysroot.otp().join("usr/include"))
        .arg("-o")
        .arg(private.join("sc_nif_c.so"))
        .arg(source.join("c_src/sc_nif_c.c"));
    output(&mut nif).context("the NIF in C can't be built")?;
    let mut quick = compiler("gcc");
    quick
        .args(["-static", "-nostdlib", "-ffreestanding", "-o"])
        .arg(private.join("quick"))
        .arg(source.join("c_src/quick.c"));
    output(&mut quick).context("the least program can't be built")?;
    let mut on_pty = compiler("gcc");
    on_pty
        .args(["-static", "-o"])
        .arg(private.join("on_pty"))
        .arg(source.join("c_src/on_pty.c"));
    output(&mut on_pty).context("the port program can't be built")?;
    Ok(())
}

fn compiler(program: &str) -> Command {
    let mut compiler = Command::new(program);
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror"]);
    compiler
}

/// Returns what comes with the release.
fn includes(system: &Sysroot) -> Result<Vec<String>> {
    let zones = system.dir().join("usr/share/zoneinfo");
    let zone = zones.join(ZONE);
    let heart = system.erts_bin()?.join("heart");
    let mut includes = vec![
        "/bin/sh".to_owned(),
        "/bin/cat".to_owned(),
        "/usr/share/zoneinfo/Asia/Tokyo".to_owned(),
        format!("{}=/etc/localtime", zone.display()),
        format!("{}=/app/{}/bin/heart", heart.display(), erts_name(system)?),
    ];
    for program in PROGRAMS {
        includes.push(format!("/usr/bin/{program}"));
    }
    Ok(includes)
}

/// Returns the name of the run-time system's folder, `erts-VSN`.
fn erts_name(system: &Sysroot) -> Result<String> {
    let bin = system.erts_bin()?;
    let erts = bin.parent().and_then(Path::file_name).unwrap_or_default();
    Ok(erts.to_string_lossy().into_owned())
}

/// Unpacks an image into a folder.
fn unpack(image: &Path, into: &Path) -> Result<()> {
    let bytes = fs::read(image)?;
    fs::create_dir_all(into)?;
    for entry in Entries::new(&bytes) {
        let entry = entry.map_err(|error| anyhow::anyhow!("{error}"))?;
        let name = String::from_utf8_lossy(entry.name).into_owned();
        ensure!(
            !name.split('/').any(|part| part == ".."),
            "{name} leads out of the image"
        );
        let path = into.join(&name);
        match entry.mode & 0o170_000 {
            0o040_000 => fs::create_dir_all(&path)?,
            0o120_000 => {
                let target = String::from_utf8_lossy(entry.data).into_owned();
                std::os::unix::fs::symlink(target, &path)?;
                continue;
            }
            _ => fs::write(&path, entry.contents())?,
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode & 0o7777))?;
    }
    Ok(())
}

/// Makes sure that what runs scenarios on Linux is installed.
///
/// # Errors
/// What is missing.
pub(crate) fn ensure_programs() -> Result<()> {
    debian::ensure_program("unshare", "util-linux")?;
    debian::ensure_program("openssl", "openssl")?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork"]);
    if !is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    output(unshare.arg("true"))
        .context("this machine allows no namespaces: run the tests as root")?;
    Ok(())
}
