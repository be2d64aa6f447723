//! A sysroot whose Erlang is linked with musl, as in container images of Alpine. Debian has none, so its source is compiled
//! here, with Debian's `musl-gcc`: without JIT, which is C++, and Debian has no C++ library for musl. The compiled modules are
//! the reference's, and the programs that ports start are busybox.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::command::output;
use crate::sysroot::{self, Sysroot};
use crate::{debian, paths};

/// Packages of the sysroot; none needs glibc.
const PACKAGES: &[&str] = &["busybox-static", "musl", "tzdata"];
/// What `configure` is told: the compiler, the Debian layout, and what is left out because its libraries are glibc's.
const OPTIONS: &[&str] = &[
    "CC=musl-gcc",
    "CFLAGS=-O2",
    "--prefix=/usr",
    "--disable-jit",
    "--without-javac",
    "--without-odbc",
    "--without-ssl",
    "--without-termcap",
    "--without-wx",
];
/// The platform's name in the source tree's folders of results.
const TARGET: &str = "x86_64-pc-linux-musl";

/// Returns the sysroot; compiles it unless that was done before, which takes some minutes.
///
/// # Errors
/// When the reference or packages can't be fetched, or the source doesn't compile.
pub(crate) fn ensure() -> Result<Sysroot> {
    let reference = sysroot::ensure()?;
    let musl = Sysroot::named("musl");
    // Written last; says what the sysroot was made of.
    let stamp = musl.dir().with_extension("stamp");
    let wanted = [PACKAGES, OPTIONS].concat().join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(musl);
    }
    let top = compile()?;
    for dir in [musl.dir(), musl.state()] {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        }
    }
    let apt = debian::Apt::new(sysroot::SUITE, musl.state(), debian::Keys::Install)?;
    debian::unpack(&apt.download(PACKAGES)?, musl.dir())?;
    let mut copy = Command::new("cp");
    fs::create_dir_all(musl.dir().join("usr/lib"))?;
    output(copy.arg("-a").arg(reference.otp()).arg(musl.otp()))?;
    replace_binaries(&musl.otp(), |path| compiled(&top, path))?;
    link_applets(&musl.dir().join("usr/bin"))?;
    fs::write(&stamp, wanted)?;
    Ok(musl)
}

/// Replaces each ELF file below `tree`, a release or an installation, by what `with` says for its path there, and removes it
/// if that doesn't exist.
///
/// # Errors
/// When files can't be read or written.
pub(crate) fn replace_binaries(tree: &Path, with: impl Fn(&Path) -> PathBuf) -> Result<()> {
    for entry in WalkDir::new(tree) {
        let entry = entry?;
        if !entry.file_type().is_file() || !is_elf(entry.path())? {
            continue;
        }
        let other = with(entry.path().strip_prefix(tree)?);
        fs::remove_file(entry.path())?;
        if other.exists() {
            fs::copy(&other, entry.path()).with_context(|| format!("{}", other.display()))?;
        }
    }
    Ok(())
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("{}", path.display()))?;
    file.take(4).read_to_end(&mut magic)?;
    Ok(magic == *b"\x7fELF")
}

/// Returns where the source tree `top` has what an installation has at `path`: `erts-VSN/bin/NAME` or
/// `lib/APP-VSN/priv/DIR/NAME`.
fn compiled(top: &Path, path: &Path) -> PathBuf {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    match &parts[..] {
        [lib, app, private, dir, name] if lib == "lib" => {
            let app = app.split('-').next().unwrap_or_default();
            let folder = top.join("lib").join(app).join(&**private);
            folder.join(&**dir).join(TARGET).join(&**name)
        }
        _ => {
            let name = path.file_name().unwrap_or_default();
            top.join("bin").join(TARGET).join(name)
        }
    }
}

/// Gives busybox the names that it answers to.
fn link_applets(bin: &Path) -> Result<()> {
    let names = output(Command::new(bin.join("busybox")).arg("--list"))?;
    for name in names.lines() {
        let link = bin.join(name);
        if !link.exists() {
            symlink("busybox", &link).with_context(|| format!("{}", link.display()))?;
        }
    }
    Ok(())
}

/// Compiles the run-time system, and the native parts of applications; returns the source tree.
fn compile() -> Result<PathBuf> {
    debian::ensure_program("musl-gcc", "musl-tools")?;
    debian::ensure_program("make", "make")?;
    let source = sysroot::ensure_source()?;
    let top = paths::target().join("musl-otp");
    if top.exists() {
        fs::remove_dir_all(&top).with_context(|| format!("{}", top.display()))?;
    }
    output(Command::new("cp").arg("-a").arg(&source).arg(&top))?;
    eprintln!("compiling Erlang's run-time system with musl (minutes)");
    let here = |program: &str, dir: &Path| {
        let mut command = Command::new(program);
        command.current_dir(dir).env("ERL_TOP", &top);
        command
    };
    output(here("./configure", &top).args(OPTIONS))?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    // The first has a program that belongs to the emulator's.
    for (dir, goal) in [
        ("lib/erl_interface", "opt"),
        ("", "emulator"),
        ("lib/asn1/c_src", "opt"),
        ("lib/os_mon/c_src", "opt"),
        ("lib/runtime_tools/c_src", "opt"),
    ] {
        let mut make = here("make", &top.join(dir));
        make.arg(goal).arg(format!("-j{jobs}"));
        output(make.arg(format!("TARGET={TARGET}")))?;
    }
    Ok(top)
}
