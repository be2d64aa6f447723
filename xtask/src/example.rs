//! The example release, built by the sysroot's Erlang.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::command::output;
use crate::paths;
use crate::sysroot::Sysroot;

/// Builds `examples/erlang_http` unless it is up to date; returns the folder of the release.
///
/// # Errors
/// When it doesn't compile.
pub(crate) fn ensure(sysroot: &Sysroot) -> Result<PathBuf> {
    let source = paths::root().join("examples/erlang_http");
    let release = paths::target().join("examples/erlang_http");
    // The file that the build writes last.
    let stamp = release.join("releases/start_erl.data");
    let built = fs::metadata(&stamp).and_then(|m| m.modified());
    if let Ok(built) = built
        && newest(&source)?.is_some_and(|changed| changed < built)
    {
        return Ok(release);
    }
    eprintln!("building the example release");
    let mut escript = sysroot.erl()?;
    escript
        .args(["-run", "escript", "start", "-extra"])
        .arg(source.join("build.escript"))
        .arg(&release);
    output(&mut escript).context("the example release can't be built")?;
    Ok(release)
}

/// Returns when the youngest file below `dir` was changed.
fn newest(dir: &Path) -> Result<Option<SystemTime>> {
    let mut newest = None;
    for entry in walkdir::WalkDir::new(dir) {
        newest = newest.max(Some(entry?.metadata()?.modified()?));
    }
    Ok(newest)
}
