//! `tyn build --otp NUMBER`, without fetching what the tests have already.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::folder;
use crate::command::output;
use crate::lab::Lab;
use crate::paths;
use crate::sysroot::{self, Kind};

/// The numbers that `tyn build --otp` takes, and sysroots that stand for what it would fetch.
const OTPS: [(&str, Kind); 3] = [
    ("25", sysroot::BOOKWORM),
    ("27", sysroot::TRIXIE_ELIXIR),
    ("29", sysroot::SID),
];

/// Builds the image of a release without its run-time system, which `--otp` gives it by number: out of a cache in which the sysroots
/// of all numbers are, the wrong of which are refused.
pub(super) fn build(lab: &Lab, otp: &str, release: &Path, name: &str) -> Result<PathBuf> {
    let bare = folder()?.join(name);
    let _ = fs::remove_dir_all(&bare);
    for part in ["lib", "releases"] {
        paths::copy(&release.join(part), &bare.join(part))?;
    }
    let cache = folder()?.join(format!("{name}-cache"));
    fs::create_dir_all(cache.join("tyn"))?;
    for (number, kind) in OTPS {
        let place = cache.join(format!("tyn/otp-{number}"));
        let _ = fs::remove_file(&place);
        symlink(sysroot::ensure_kind(kind)?.dir(), place)?;
    }
    let image = bare.with_extension("img");
    let build_with = |number: &str| {
        let mut build = lab.tyn();
        build.env("XDG_CACHE_HOME", &cache).arg("build").arg(&bare);
        output(build.args(["--otp", number, "-o"]).arg(&image))
    };
    for (number, _) in OTPS.into_iter().filter(|(number, _)| *number != otp) {
        let refused = build_with(number).err().context("another OTP is taken")?;
        let want = format!("but the Erlang/OTP {number} in ");
        let remedy = format!("name the one it was built with by --otp {otp}");
        let said = format!("{refused:#}");
        ensure!(said.contains(&want) && said.contains(&remedy), "{said}");
    }
    build_with(otp)?;
    Ok(image)
}
