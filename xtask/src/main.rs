//! The project's tasks: `cargo xtask TASK`. Builds, checks, tests and demonstrates; holds no product code.
#![forbid(unsafe_code)]

mod command;
mod debian;
mod example;
mod paths;
mod sysroot;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Tyn project")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch and unpack the OTP sysroot (Debian packages, under target/)
    Sysroot,
    /// Build the example release with the sysroot's Erlang
    Example,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Sysroot => {
            println!("{}", sysroot::ensure()?.dir().display());
            Ok(())
        }
        Task::Example => {
            println!("{}", example::ensure(&sysroot::ensure()?)?.display());
            Ok(())
        }
    }
}
