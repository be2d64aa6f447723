//! Running a suite on this machine's Linux: a chroot with namespaces of its own, and a copy-on-write view of the tree.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::outcome::Expected;
use super::suites::Selected;
use super::{Options, SKIP, arguments, transcript};
use crate::debian;

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
ip link set tun0 up
ip link set eth0 up
ip route add default via 10.0.2.2
# As a guest's first process: whoever started the tests may ignore some.
exec env --default-signal chroot . "$@"
"#;

/// Runs a suite and returns its output.
///
/// # Errors
/// When namespaces can't be made: that needs root's rights.
pub(super) fn run(
    selected: &Selected,
    expected: &Expected,
    options: &Options,
    root: &Path,
) -> Result<String> {
    debian::ensure_program("ip", "iproute2")?;
    debian::ensure_program("hostname", "hostname")?;
    let over = tempfile::tempdir()?;
    let out = transcript("linux", selected)?;
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork"])
        .args(["--kill-child", "--propagation", "private"])
        .args(["/bin/sh", "-c", ENTER, "sh"])
        .arg(root)
        .arg(over.path())
        .args(arguments(selected, options.scale.unwrap_or(2)))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env(SKIP, expected.skip())
        .stdin(Stdio::null())
        .stdout(File::create(&out)?);
    let mut child = unshare.spawn().context("unshare can't be started")?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > options.limit() {
            child.kill()?;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(String::from_utf8_lossy(&fs::read(&out)?).into_owned())
}
