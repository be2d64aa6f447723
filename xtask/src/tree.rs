//! A root tree whose program runs on this machine's Linux, in a guest of Tyn and in one of Linux.

use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};
use tyn_vm_host::{Config, Console, Vm};
use walkdir::WalkDir;

use crate::bench::guests;
use crate::{debian, kernel, lab, sysroot};

/// Host name, on Linux and in guests.
const HOSTNAME: &str = "otp";
/// Prepares the root and runs what follows in it: `$1` is the tree, `$2` a folder to mount over.
const ENTER: &str = r#"
set -e
root=$1 over=$2; shift 2
mount -t tmpfs tmpfs "$over"
mkdir "$over/upper" "$over/work" "$over/merged"
mount -t overlay -o "lowerdir=$root,upperdir=$over/upper,workdir=$over/work" overlay "$over/merged"
cd "$over/merged"
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs tmp
hostname otp
ip link set lo up
# A card with the addresses that QEMU's network gives; the suites take nothing that is called tun for one.
ip link add eth0 type veth peer name tun0
ip address add 10.0.2.15/24 broadcast 10.0.2.255 dev eth0
ip address add fec0::5054:ff:fe12:3456/64 dev eth0 nodad
ip link set tun0 up
ip link set eth0 up
ip route add default via 10.0.2.2
# As a guest's first process: whoever started the tests may ignore some signals. The clock is this machine's, too.
exec env --default-signal setpriv --bounding-set=-sys_time --inh-caps=-sys_time chroot . "$@"
"#;

/// Debian's packages, unpacked into a tree, and what they lack.
#[derive(Debug)]
pub(crate) struct Packaged {
    /// What it is for.
    pub(crate) of: &'static str,
    /// Packages that bring those they need.
    pub(crate) packages: &'static [&'static str],
    /// Packages that don't.
    pub(crate) alone: &'static [&'static str],
    /// Configuration files: paths and contents.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Symbolic links: paths and targets.
    pub(crate) links: &'static [(&'static str, &'static str)],
}

impl Packaged {
    /// Makes the folder `root` in the folder `base`, which is made anew if it is missing or of other packages.
    ///
    /// # Errors
    /// When packages can't be fetched or unpacked.
    pub(crate) fn ensure(&self, base: &Path, root: &Path) -> Result<()> {
        let stamp = base.join("packages.stamp");
        let wanted = format!("{self:?}");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        eprintln!("fetching the Debian packages for {}", self.of);
        if base.exists() {
            fs::remove_dir_all(base).with_context(|| format!("{}", base.display()))?;
        }
        let state = base.join("apt");
        let apt = debian::Apt::new(sysroot::SUITE, &state, debian::Keys::Install)?;
        let mut debs = apt.download(self.packages)?;
        if !self.alone.is_empty() {
            debs.extend(apt.download_alone(self.alone, &state.join("alone"))?);
        }
        debian::unpack(&debs, root)?;
        fs::remove_dir_all(&state)?;
        for dir in UNREAD {
            let _ = fs::remove_dir_all(root.join(dir));
        }
        for dir in FOLDERS {
            fs::create_dir_all(root.join(dir))?;
        }
        for (path, text) in self.files {
            fs::write(root.join(path), text)?;
        }
        for (path, target) in self.links {
            symlink(target, root.join(path))?;
        }
        fs::write(&stamp, wanted)?;
        Ok(())
    }
}

/// Folders that no package brings.
const FOLDERS: &[&str] = &["dev", "proc", "sys", "tmp", "root", "etc"];
/// Folders that nobody reads.
const UNREAD: &[&str] = &[
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
];

/// What the first process of a tree is.
#[derive(Debug, Clone)]
pub(crate) struct First {
    /// The program and its arguments.
    pub(crate) arguments: Vec<String>,
    /// A name and a value, beside `PATH`.
    pub(crate) variable: (&'static str, String),
    /// When it is ended.
    pub(crate) limit: Duration,
}

/// The system of a guest.
#[derive(Debug, Clone, Default)]
pub(crate) enum System {
    /// The kernel that is built here.
    #[default]
    Tyn,
    /// Another one.
    Kernel(PathBuf),
    /// Debian's Linux.
    Linux,
}

/// A guest for a tree.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) system: System,
    /// Virtual CPUs.
    pub(crate) cpus: u32,
    /// MiB.
    pub(crate) memory: u64,
    /// Whether the kernel tells what it refuses.
    pub(crate) trace: bool,
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a tree on this machine's Linux: a chroot with namespaces of its own, and a copy-on-write view of the tree; the file
/// `out` gets its output, which is returned.
///
/// # Errors
/// When namespaces can't be made: that needs root's rights.
pub(crate) fn on_linux(root: &Path, first: &First, out: &Path) -> Result<String> {
    debian::ensure_program("ip", "iproute2")?;
    debian::ensure_program("hostname", "hostname")?;
    let over = tempfile::tempdir()?;
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork"])
        .args(["--kill-child", "--propagation", "private"])
        .args(["/bin/sh", "-c", ENTER, "sh"])
        .arg(root)
        .arg(over.path())
        .args(&first.arguments)
        .env_clear()
        .env("PATH", PATH)
        .env(first.variable.0, &first.variable.1)
        .stdin(Stdio::null())
        .stdout(File::create(out)?);
    let mut child = unshare.spawn().context("unshare can't be started")?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > first.limit {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(String::from_utf8_lossy(&fs::read(out)?).into_owned())
}

/// Runs a tree in a guest; returns its output, which the file `out` gets, too, and how the guest ended. What the kernel
/// reported is put beside `out`; the file `image` is made and removed.
///
/// # Errors
/// When there is no guest.
pub(crate) fn in_guest(
    root: &Path,
    first: &First,
    guest: &Guest,
    image: &Path,
    out: &Path,
) -> Result<(String, String)> {
    debian::ensure_program("qemu-system-x86_64", "qemu-system-x86")?;
    write_image(root, first, image)?;
    let append = if guest.trace { "trace" } else { "" };
    let config = match &guest.system {
        System::Linux => {
            let linux = guests::cloud_linux(image)?;
            fs::remove_file(image)?;
            Config {
                append: linux.append.to_owned(),
                ..Config::new(&linux.kernel, &linux.initrd)
            }
        }
        System::Kernel(kernel) => Config {
            append: append.to_owned(),
            ..Config::new(kernel, image)
        },
        System::Tyn => Config {
            append: append.to_owned(),
            ..Config::new(&kernel::build()?, image)
        },
    };
    let config = Config {
        cpus: guest.cpus,
        memory: lab::mib(guest.memory),
        ..config
    };
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let end = loop {
        let outcome = vm.wait_for(Duration::from_secs(2))?;
        fs::write(out, vm.console())?;
        if let Some(outcome) = outcome {
            break format!("the guest ended: {outcome:?}");
        }
        if vm.age() > first.limit {
            break format!("stopped after {:.0?}", vm.age());
        }
    };
    fs::remove_file(&config.initrd)?;
    let report = vm.report();
    let lines: Vec<String> = report.lines.iter().chain(&report.panic).cloned().collect();
    fs::write(out.with_extension("report"), lines.join("\n"))?;
    Ok((vm.console().replace("\r\n", "\n"), end))
}

/// Makes an image of a tree.
fn write_image(root: &Path, first: &First, path: &Path) -> Result<()> {
    let mut tree = Tree::default();
    for entry in WalkDir::new(root).min_depth(1) {
        let entry = entry?;
        let path = Path::new("/").join(entry.path().strip_prefix(root)?);
        let data = entry.metadata()?;
        let mode = data.permissions().mode() & 0o7777;
        let node = if data.is_dir() {
            Node::Dir(mode)
        } else if data.is_symlink() {
            Node::Symlink(fs::read_link(entry.path())?)
        } else {
            Node::File(mode, Source::Path(entry.path().to_path_buf(), data.len()))
        };
        tree.insert(&path, node)
            .with_context(|| format!("{}", path.display()))?;
    }
    let variable = format!("{}={}", first.variable.0, first.variable.1);
    let search = format!("PATH={PATH}");
    let init = Init {
        args: first.arguments.iter().map(String::as_bytes).collect(),
        env: vec![variable.as_bytes(), search.as_bytes()],
        cwd: b"/",
        hostname: HOSTNAME.as_bytes(),
        ..Init::default()
    };
    let start = Node::File(0o600, Source::Bytes(init.to_bytes()?));
    tree.insert(Path::new(INIT_PATH), start)?;
    let out = BufWriter::new(File::create(path)?);
    tree.write(out, None, |_| {})
        .map_err(|(at, error)| anyhow::anyhow!("{}: {error}", at.display()))?;
    Ok(())
}
