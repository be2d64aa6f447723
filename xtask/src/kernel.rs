//! Building the kernel, and the `tyn` tool with the kernel inside.

mod vectors;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::paths;

/// The target that the kernel is compiled for: named explicitly, so that its flags do not reach build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The profile that the kernel is compiled with, in the workspace's `Cargo.toml`.
const PROFILE: &str = "kernel";

/// Code generation flags of the kernel: linked in the last 2 GiB, not relocated, with frame pointers for backtraces, and without
/// vector registers, which are the user's (docs/design/0015). The compiler warns of that last one in every crate; its other
/// warnings are `cargo xtask check`'s.
const FLAGS: &str = "-C code-model=kernel -C relocation-model=static -C force-frame-pointers=yes -C panic=abort \
     -C target-feature=-sse -A warnings";

/// Builds a freestanding binary and returns the path of its ELF file.
///
/// # Errors
/// When cargo fails, or a function uses vector registers.
pub(crate) fn build_package(package: &str) -> Result<PathBuf> {
    let target_dir = paths::target().join("kernel");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(paths::root())
        .args([
            "build",
            "--quiet",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
            "--package",
            package,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::run(&mut cargo)?;
    let elf = target_dir.join(TARGET).join(PROFILE).join(package);
    let bytes = fs::read(&elf).with_context(|| format!("cargo built no {}", elf.display()))?;
    let users = vectors::users(&bytes)?;
    ensure!(
        users.is_empty(),
        "{}: these functions use vector registers, which are the user's: {users:#x?}",
        elf.display()
    );
    Ok(elf)
}

/// Builds the kernel and returns the path of its ELF file.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build() -> Result<PathBuf> {
    build_package("tyn-image")
}

/// Builds the `tyn` tool with this kernel inside and returns the path of its binary.
///
/// # Errors
/// When cargo fails.
pub(crate) fn build_tool(kernel: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(paths::root())
        .args(["build", "--quiet", "--release", "--package", "tyn"])
        .env("TYN_KERNEL", kernel);
    command::run(&mut cargo)?;
    Ok(paths::target().join("release").join("tyn"))
}
