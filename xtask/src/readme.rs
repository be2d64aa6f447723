//! `cargo xtask readme-check`: does what README.md says under "Try it", in a Debian that has nothing but apt, Rust and a compiler.
//!
//! The root is made by mmdebstrap from this machine's own apt sources, holds a clone of what is committed, and sees the toolchain
//! that runs us. Everything else the commands must fetch themselves, as a reader's machine would. Needs root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{self, output};
use crate::{debian, paths};

/// What a machine with Rust has besides it: rustc links by the C compiler.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev";
/// Files of this machine by which the network is reached.
const NETWORK: [&str; 3] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl/certs/ca-certificates.crt",
];
/// Puts the kernel's file systems and the toolchain into the root, and runs a command there; all mounts end with it.
const ENTER: &str = r#"set -e
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mkdir -p "$1/opt/rust"
mount --bind "$2" "$1/opt/rust"
mount -o remount,bind,ro "$1/opt/rust"
exec chroot "$1" /usr/bin/env -i HOME=/root USER=root TERM=dumb PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "cd /root/tyn && $3"
"#;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run every test, as the README's second command does (half an hour), not one suite
    #[arg(long)]
    full: bool,
    /// The suite that is run instead
    #[arg(long, default_value = "selftest")]
    suite: String,
    /// Use the Debian of the last time
    #[arg(long)]
    again: bool,
}

/// Follows the README.
///
/// # Errors
/// The first command that fails there.
pub(crate) fn check(options: &Options) -> Result<()> {
    ensure!(
        command::is_root(),
        "this needs root: it makes a Debian system in a folder and enters it"
    );
    let readme = fs::read_to_string(paths::root().join("README.md"))?;
    let commands = commands(&readme);
    ensure!(
        commands == ["cargo xtask demo", "cargo xtask test"],
        "README.md tells other commands than are known here: {commands:?}"
    );
    debian::ensure_program("mmdebstrap", "mmdebstrap")?;
    let root = make_root(options.again)?;
    let toolchain = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    for command in commands {
        // The demonstration stays up otherwise.
        let more = match (command.as_str(), options.full) {
            ("cargo xtask demo", _) => " --check".to_owned(),
            (_, true) => String::new(),
            (_, false) => format!(" {}", options.suite),
        };
        let line = command + &more;
        println!("in a fresh Debian: {line}");
        let mut enter = Command::new("unshare");
        enter
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                ENTER,
                "sh",
            ])
            .arg(&root)
            .args([toolchain.trim(), &line]);
        command::run(&mut enter).with_context(|| format!("README.md's '{line}' failed"))?;
    }
    println!("README.md holds");
    Ok(())
}

/// Makes the system, unless that of the last time is to be used, with a new clone of the repository.
fn make_root(is_used_again: bool) -> Result<PathBuf> {
    let base = paths::target().join("readme");
    let root = base.join("root");
    let tree = root.join("root/tyn");
    let old = if is_used_again { &tree } else { &base };
    if old.exists() {
        fs::remove_dir_all(old).context("what is there of the last time can't be removed")?;
    }
    if !is_used_again {
        fs::create_dir_all(&base)?;
        make_system(&root)?;
    }
    for file in NETWORK.map(Path::new) {
        let copy = root.join(file.strip_prefix("/")?);
        // It may be a link to this machine's own.
        let _ = fs::remove_file(&copy);
        fs::copy(file, &copy).with_context(|| format!("{} can't be copied", file.display()))?;
    }
    let mut clone = Command::new("git");
    clone
        .args(["clone", "--quiet", "--no-hardlinks"])
        .arg(paths::root());
    output(clone.arg(tree))?;
    Ok(root)
}

fn make_system(root: &Path) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let mut make = Command::new("mmdebstrap");
    make.args(["--mode=root", "--variant=apt", "--quiet"])
        .arg(format!("--include={PACKAGES}"))
        .arg(suite.context("this is no release of Debian")?)
        .arg(root)
        .arg(sources()?);
    output(&mut make)
        .map(drop)
        .context("the fresh Debian can't be made")
}

/// Returns the file with this machine's Debian sources.
fn sources() -> Result<PathBuf> {
    let known = [
        "/etc/apt/sources.list.d/debian.sources",
        "/etc/apt/sources.list",
    ];
    let found = known.iter().map(PathBuf::from).find(|file| file.is_file());
    found.context("there are no Debian sources in /etc/apt")
}

/// Returns the commands of the first block below "Try it".
fn commands(readme: &str) -> Vec<String> {
    let lines = readme.lines().skip_while(|line| *line != "## Try it");
    let block = lines.skip_while(|line| *line != "```sh").skip(1);
    let block = block.take_while(|line| *line != "```");
    let commands = block.map(|line| line.split('#').next().unwrap_or(line).trim().to_owned());
    commands.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_first_block() {
        let text = "```sh\nno\n```\n## Try it\nOn a machine:\n\n```sh\na b     # why\nc\n```\n```sh\nd\n```\n";
        assert_eq!(commands(text), ["a b", "c"]);
    }
}
