//! `cargo xtask check`: what must hold before anything is submitted. Formatting, lints, the direction of dependencies, unsafe code
//! in one crate only, generated documentation fresh, nothing named in documents that isn't there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{abi_docs, command, documents, fuzz_readers, paths};

/// Layers from the top: a crate may depend on its own layer or a lower one. Host tools and kernel meet only in `libs`.
const LAYERS: &[(&str, u32)] = &[
    ("kernel/image", 40),
    ("kernel/selftest", 40),
    ("kernel/linux", 30),
    ("kernel/drivers", 20),
    ("kernel/hal", 10),
    ("libs", 0),
];
const HOST_LAYERS: &[(&str, u32)] = &[("xtask", 30), ("host/tyn", 20), ("host", 10), ("libs", 0)];

/// Runs every check; the first that fails ends it. `tasks` are the names of our tasks.
///
/// # Errors
/// What is wrong, and how to mend it.
pub(crate) fn check(tasks: &BTreeSet<String>) -> Result<()> {
    step("format", || {
        command::run(cargo(&["fmt", "--all", "--check"]))?;
        command::run(fuzz_readers::cargo().args(["fmt", "--check"]))
    })?;
    step("lints", lints)?;
    step("layers", layers)?;
    step("unsafe", unsafe_code)?;
    step("docs/abi", abi_docs::check)?;
    step("documents", || documents::check(tasks))
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("check: {name}");
    work().with_context(|| format!("check '{name}' failed"))
}

fn cargo(arguments: &[&str]) -> &'static mut Command {
    let command = Box::leak(Box::new(Command::new(env!("CARGO"))));
    command.current_dir(paths::root()).args(arguments)
}

fn lints() -> Result<()> {
    // Everything that builds for the host with its tests; then the kernel as it is built for real.
    command::run(cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--exclude",
        "tyn-image",
        "--exclude",
        "tyn-selftest",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    command::run(cargo(&[
        "clippy",
        "--quiet",
        "--package",
        "tyn-image",
        "--package",
        "tyn-selftest",
        "--",
        "-D",
        "warnings",
    ]))?;
    // The fuzzer's targets, without the fuzzer.
    let mut targets = fuzz_readers::cargo();
    targets.args([
        "clippy",
        "--quiet",
        "--no-default-features",
        "--all-targets",
    ]);
    command::run(targets.args(["--", "-D", "warnings"]))
}

/// Returns the folder of a workspace package, relative to the root.
fn folder(package: &Value) -> Option<String> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    let folder = manifest.parent()?.strip_prefix(paths::root()).ok()?;
    Some(folder.to_string_lossy().into_owned())
}

fn level(layers: &[(&str, u32)], folder: &str) -> Option<u32> {
    let holds = |prefix: &str| folder == prefix || folder.starts_with(&format!("{prefix}/"));
    layers
        .iter()
        .find(|(prefix, _)| holds(prefix))
        .map(|&(_, level)| level)
}

fn layers() -> Result<()> {
    let metadata = command::output(cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages: Vec<&Value> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let find = |name: &str| {
        packages
            .iter()
            .find(|p| p["name"] == name)
            .and_then(|p| folder(p))
    };
    let mut edges = 0;
    for package in &packages {
        let Some(from) = folder(package) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(to) = dependency["name"].as_str().and_then(find) else {
                continue;
            };
            edges += 1;
            ensure!(
                is_allowed(&from, &to),
                "{from} must not depend on {to}: dependencies point downwards only"
            );
        }
    }
    ensure!(
        edges > 10,
        "cargo metadata shows only {edges} edges inside the workspace: is this check looking at it?"
    );
    Ok(())
}

fn is_allowed(from: &str, to: &str) -> bool {
    [LAYERS, HOST_LAYERS]
        .into_iter()
        .any(|layers| match (level(layers, from), level(layers, to)) {
            (Some(from), Some(to)) => from >= to,
            _ => false,
        })
        || from.starts_with("tests/")
}

/// Every crate root but hal's forbids unsafe code.
fn unsafe_code() -> Result<()> {
    let mut roots = 0;
    for group in ["kernel", "libs", "host", "xtask", "tests", "fuzz"] {
        for entry in walkdir::WalkDir::new(paths::root().join(group)).max_depth(4) {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
            if !is_root || path.starts_with(paths::root().join("kernel/hal")) {
                continue;
            }
            roots += 1;
            let text = fs::read_to_string(path)?;
            if !text.contains("#![forbid(unsafe_code)]") {
                bail!(
                    "{} lacks #![forbid(unsafe_code)]: unsafe code belongs into kernel/hal",
                    path.display()
                );
            }
        }
    }
    ensure!(
        roots > 10,
        "only {roots} crate roots were found: is this check looking at the workspace?"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upward_and_sideways_edges_are_refused() {
        assert!(is_allowed("kernel/linux", "kernel/hal"));
        assert!(is_allowed("kernel/linux", "libs/vm"));
        assert!(is_allowed("libs/fs", "libs/abi"));
        assert!(is_allowed("xtask", "host/vm"));
        assert!(!is_allowed("kernel/hal", "kernel/linux"));
        assert!(!is_allowed("libs/abi", "kernel/hal"));
        assert!(!is_allowed("host/vm", "kernel/hal"));
        assert!(!is_allowed("libs/fs", "host/release"));
        assert!(!is_allowed("host/vm", "host/tyn"));
    }
}
