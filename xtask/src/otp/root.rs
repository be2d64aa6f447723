//! The root tree in which OTP's suites run, on Linux and in a guest: Debian's packages, the compiled suites, and a few
//! configuration files.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;

use super::compile;
use super::suites::Selected;
use crate::tree::Packaged;
use crate::{paths, sysroot};

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

/// What the tree is before suites are compiled into it.
const PACKAGED: Packaged = Packaged {
    of: "OTP's suites",
    packages: PACKAGES,
    alone: ALONE,
    files: FILES,
    // The time zone that OTP's suites know.
    links: &[("etc/localtime", "/usr/share/zoneinfo/Europe/Stockholm")],
};

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
    PACKAGED.ensure(&base, &root)?;
    compile::ensure(
        &sysroot::ensure()?,
        &sysroot::ensure_source()?,
        &root,
        suites,
    )?;
    Ok(root)
}
