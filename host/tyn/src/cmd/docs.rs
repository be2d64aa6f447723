//! `tyn completions` and `tyn man`: what shells and `man` know about the tool, out of its own definition.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

use crate::output;

/// Arguments of `tyn completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell: bash, zsh, fish, elvish or powershell
    shell: Shell,
}

/// Arguments of `tyn man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Folder to write them to; made if it isn't there
    dir: PathBuf,
}

/// Prints a script that makes a shell complete our command lines.
///
/// # Errors
/// When standard output can't be written.
pub(crate) fn completions(args: &CompletionsArgs, mut tool: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tool, "tyn", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// Writes a manual page for each command.
///
/// # Errors
/// When they can't be written.
pub(crate) fn man(args: &ManArgs, tool: Command) -> Result<()> {
    let shown = args.dir.display();
    let written =
        fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(tool, &args.dir));
    written.with_context(|| format!("manual pages can't be written to {shown}"))
}
