//! The root tree in which OTP's suites run, on Linux and in a guest: Debian's packages, the compiled suites, and a few
//! configuration files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::compile;
use super::suites::Selected;
use crate::{debian, paths, sysroot};

/// Programs and parts of OTP that bring the libraries they need.
const PACKAGES: &[&str] = &[
    "coreutils",
    "dash",
    "erlang-base",
    "erlang-crypto",
    "findutils",
    "grep",
    "hostname",
    "knot",
    "ldnsutils",
    "libjs-jquery",
    "libjs-jquery-tablesorter",
    "netbase",
    "procps",
    "sed",
    "tzdata",
    "unzip",
    "util-linux",
    "zip",
];

/// Parts of OTP of which the code is enough: some depend on a graphical desktop that no suite of ours opens.
const ALONE: &[&str] = &[
    "erlang-asn1",
    "erlang-common-test",
    "erlang-dev",
    "erlang-eunit",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tools",
    "erlang-xmerl",
];

/// Configuration files.
const FILES: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/hosts", "127.0.0.1 localhost otp\n"),
    ("etc/host.conf", "multi on\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
    ("etc/resolv.conf", ""),
];

/// Folders that no package brings.
const FOLDERS: &[&str] = &["dev", "proc", "sys", "tmp", "root", "etc"];

/// Returns the tree with these suites; makes what is missing or out of date, so nobody may be reading it.
///
/// # Errors
/// When packages can't be fetched, or a suite doesn't compile.
pub(crate) fn ensure(suites: &[Selected]) -> Result<PathBuf> {
    let base = paths::target().join("otp-suite");
    // Released when it is closed.
    let lock = File::create(base.with_extension("lock"))?;
    lock.lock()?;
    let root = base.join("root");
    ensure_packages(&base, &root)?;
    compile::ensure(
        &sysroot::ensure()?,
        &sysroot::ensure_source()?,
        &root,
        suites,
    )?;
    Ok(root)
}

fn ensure_packages(base: &Path, root: &Path) -> Result<()> {
    let stamp = base.join("packages.stamp");
    let wanted = format!("{PACKAGES:?} {ALONE:?} {FILES:?}");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("fetching the Debian packages for OTP's suites");
    if base.exists() {
        fs::remove_dir_all(base).with_context(|| format!("{}", base.display()))?;
    }
    let state = base.join("apt");
    let apt = debian::Apt::new(sysroot::SUITE, &state, debian::Keys::Install)?;
    let mut debs = apt.download(PACKAGES)?;
    debs.extend(apt.download_alone(ALONE, &state.join("alone"))?);
    debian::unpack(&debs, root)?;
    fs::remove_dir_all(&state)?;
    // Nobody reads these.
    for dir in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
    ] {
        let _ = fs::remove_dir_all(root.join(dir));
    }
    for dir in FOLDERS {
        fs::create_dir_all(root.join(dir))?;
    }
    for (path, text) in FILES {
        fs::write(root.join(path), text)?;
    }
    // The time zone that OTP's suites know.
    std::os::unix::fs::symlink(
        "/usr/share/zoneinfo/Europe/Stockholm",
        root.join("etc/localtime"),
    )?;
    fs::write(&stamp, wanted)?;
    Ok(())
}
