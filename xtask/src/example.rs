//! The example releases, built by a sysroot's Erlang or Elixir.

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
    ensure_as("erlang_http", sysroot)
}

/// Builds `examples/erlang_http` in the folder `target/examples/NAME`.
///
/// # Errors
/// When it doesn't compile.
pub(crate) fn ensure_as(name: &str, sysroot: &Sysroot) -> Result<PathBuf> {
    ensure_erlang("erlang_http", name, sysroot)
}

/// Builds `examples/cowboy` with a sysroot that has cowboy.
///
/// # Errors
/// When it doesn't compile.
pub(crate) fn ensure_cowboy(sysroot: &Sysroot) -> Result<PathBuf> {
    ensure_erlang("cowboy", "cowboy", sysroot)
}

/// Builds an application in `examples/` by the script of the first one.
fn ensure_erlang(source: &str, name: &str, sysroot: &Sysroot) -> Result<PathBuf> {
    let source = paths::root().join("examples").join(source);
    let script = paths::root().join("examples/erlang_http/build.escript");
    let release = paths::target().join("examples").join(name);
    if is_fresh(&release, &source)? {
        return Ok(release);
    }
    eprintln!("building the example release {name}");
    let mut escript = sysroot.erl()?;
    escript
        .args(["-run", "escript", "start", "-extra"])
        .arg(script)
        .arg(&release)
        .arg(&source);
    output(&mut escript).context("the example release can't be built")?;
    Ok(release)
}

/// Builds `examples/elixir_http` by the sysroot's own `mix release` in the folder `target/examples/NAME`.
///
/// # Errors
/// When it doesn't compile.
pub(crate) fn ensure_elixir(name: &str, sysroot: &Sysroot) -> Result<PathBuf> {
    let source = paths::root().join("examples/elixir_http");
    let release = paths::target().join("examples").join(name);
    if is_fresh(&release, &source)? {
        return Ok(release);
    }
    eprintln!("building the example release {name}");
    let build = paths::target()
        .join("examples")
        .join(format!("{name}-build"));
    let mut mix = sysroot.elixir()?;
    mix.arg(sysroot.mix())
        .args(["release", "--overwrite", "--quiet", "--path"])
        .arg(&release)
        .current_dir(&source)
        .env("MIX_ENV", "prod")
        .env("MIX_BUILD_PATH", &build)
        .env("MIX_HOME", build.with_extension("home"));
    output(&mut mix).context("the Elixir example can't be built")?;
    Ok(release)
}

/// Returns whether a release is younger than its source.
fn is_fresh(release: &Path, source: &Path) -> Result<bool> {
    // The file that a build writes last, or nearly so.
    let stamp = release.join("releases/start_erl.data");
    let built = fs::metadata(&stamp).and_then(|m| m.modified());
    Ok(match (built, newest(source)?) {
        (Ok(built), Some(changed)) => changed < built,
        _ => false,
    })
}

/// Returns when the youngest file below `dir` was changed.
fn newest(dir: &Path) -> Result<Option<SystemTime>> {
    let mut newest = None;
    for entry in walkdir::WalkDir::new(dir) {
        newest = newest.max(Some(entry?.metadata()?.modified()?));
    }
    Ok(newest)
}
