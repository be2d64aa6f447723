//! Real start scripts, run on this machine with a false `erlexec`, beside the start that an image was given: arguments of
//! the emulator (as the real `erlexec` makes them) and environment must be the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_fs::cpio::Entries;

use super::Bench;
use crate::sysroot::{self, Sysroot};

/// Variables of the shell itself, and `PATH`, which `erlexec` changes after the script.
const IGNORED: [&str; 6] = ["PWD", "OLDPWD", "_", "SHLVL", "PATH", "LC_ALL"];

type Environment = BTreeMap<String, String>;

/// A start: arguments and environment.
#[derive(PartialEq, Eq, Debug)]
struct Start {
    args: Vec<String>,
    env: Environment,
}

/// `bin/web start` of `mix release`.
pub(super) fn mix(bench: &Bench) -> Result<()> {
    let project = bench.made.mix_project()?;
    let sysroot = sysroot::ensure_kind(sysroot::TRIXIE_ELIXIR)?;
    let dir = sysroot.dir().display().to_string();
    let release = project.join("_build/prod/rel/web");
    let (image, said) = bench.build("web", &release, &["--sysroot", &dir])?;
    ensure!(
        said.contains("/app/releases/1.0.0/env.sh:5: 'if false …' is not run"),
        "{said}"
    );
    // The thing in which an image differs, on purpose.
    let given = [("RELEASE_TMP", "/tmp")];
    let real = real(bench, &sysroot, &release, "web", "start", &given)?;
    let mut ours = ours(&image)?;
    // `erlexec` sets it after the false one had its look.
    ensure!(
        ours.env
            .remove("FROM_VM_ARGS")
            .is_some_and(|value| value == "a b")
    );
    same(&ours, &real)
}

/// `bin/web foreground` of rebar3.
pub(super) fn rebar3(bench: &Bench) -> Result<()> {
    let project = bench.made.rebar3_project()?;
    let sysroot = sysroot::ensure_kind(sysroot::TRIXIE_REBAR3)?;
    let dir = sysroot.dir().display().to_string();
    let release = project.join("_build/default/rel/web");
    let (image, _) = bench.build("web-rebar3", &project, &["--sysroot", &dir])?;
    let given = [("TERM", "screen")];
    let mut real = real(bench, &sysroot, &release, "web", "foreground", &given)?;
    // What the script uses itself.
    real.env.remove("NAME");
    same(&ours(&image)?, &real)
}

fn same(ours: &Start, real: &Start) -> Result<()> {
    ensure!(
        ours.args == real.args,
        "the script starts {:?}\nan image starts {:?}",
        real.args,
        ours.args
    );
    let names = ours.env.keys().chain(real.env.keys());
    let differing: Vec<String> = names
        .filter(|name| ours.env.get(*name) != real.env.get(*name))
        .map(|name| {
            format!(
                "{name}: script {:?}, image {:?}",
                real.env.get(name),
                ours.env.get(name)
            )
        })
        .collect();
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    Ok(())
}

/// Runs the release's own script.
fn real(
    bench: &Bench,
    sysroot: &Sysroot,
    release: &Path,
    name: &str,
    command: &str,
    given: &[(&str, &str)],
) -> Result<Start> {
    // A false `erlexec` says what it is given, and lets the real one translate it.
    let dir = bench.made.empty("script")?;
    let app = dir.join("app");
    crate::paths::copy(release, &app)?;
    let mut bin = fs::read_dir(&app)?.flatten().map(|entry| entry.path());
    let bin = bin.find(|path| path.to_string_lossy().contains("/erts-"));
    let bin = bin.context("the release has no ERTS")?.join("bin");
    fs::rename(bin.join("erlexec"), bin.join("erlexec.real"))?;
    let lib = sysroot.dir().join("usr/lib/x86_64-linux-gnu");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *-dist_listen*) echo localhost; exit 0;; esac\nenv -0 > '{dir}/env'\n\
         exec '{lib}/ld-linux-x86-64.so.2' --library-path '{lib}' '{bin}/erlexec.real' -emu_args_exit \"$@\" > '{dir}/args'\n",
        dir = dir.display(),
        lib = lib.display(),
        bin = bin.display(),
    );
    fs::write(bin.join("erlexec"), script)?;
    fs::set_permissions(bin.join("erlexec"), fs::Permissions::from_mode(0o755))?;
    let program = app.join("bin").join(name);
    let done = Command::new(&program)
        .arg(command)
        .env_clear()
        .envs([
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ])
        .envs(given.iter().copied())
        .current_dir(&app)
        .output()?;
    if !done.status.success() {
        bail!(
            "{} {command}: {}",
            program.display(),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    // A program's name is its path without the slash in front.
    let path = app.display().to_string();
    let moved = |text: String| {
        text.replace(&path, "/app")
            .replace(path.trim_start_matches('/'), "app")
    };
    let args = moved(fs::read_to_string(dir.join("args"))?);
    let env = moved(fs::read_to_string(dir.join("env"))?);
    Ok(Start {
        args: args.lines().map(str::to_owned).collect(),
        env: environment(env.split_terminator('\0')),
    })
}

/// Returns the start of an image.
fn ours(image: &Path) -> Result<Start> {
    let bytes = fs::read(image)?;
    let name = INIT_PATH.trim_start_matches('/').as_bytes();
    let entry = Entries::new(&bytes)
        .flatten()
        .find(|entry| entry.name == name);
    let entry = entry.context("the image has no start description")?;
    let init = Init::parse(entry.data).map_err(|error| anyhow::anyhow!("{error}"))?;
    let texts = |all: &[&[u8]]| -> Vec<String> {
        all.iter()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    };
    let env = texts(&init.env);
    Ok(Start {
        args: texts(&init.args).split_off(1),
        env: environment(env.iter().map(String::as_str)),
    })
}

fn environment<'a, I: Iterator<Item = &'a str>>(variables: I) -> Environment {
    variables
        .filter_map(|variable| variable.split_once('='))
        .filter(|(name, _)| !IGNORED.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
