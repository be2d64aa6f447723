//! The project's tasks: `cargo xtask TASK`. Builds, checks, tests and demonstrates; holds no product code.
#![forbid(unsafe_code)]

mod abi_docs;
mod check;
mod command;
mod debian;
mod example;
mod kernel;
mod paths;
mod sysroot;
mod test;

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
    /// Build the kernel
    Kernel,
    /// Build the kernel and the tyn tool with it inside
    Build,
    /// Check format, lints, layers, unsafe code and generated docs
    Check,
    /// Write docs/abi/README.md from the system-call table
    AbiDocs,
    /// Run every test, or the named suites
    Test {
        /// Suites to run (default: all)
        suites: Vec<String>,
    },
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
        Task::Kernel => {
            println!("{}", kernel::build()?.display());
            Ok(())
        }
        Task::Build => {
            println!("{}", kernel::build_tool(&kernel::build()?)?.display());
            Ok(())
        }
        Task::Check => check::check(),
        Task::AbiDocs => abi_docs::write(),
        Task::Test { suites } => test::test(&suites),
    }
}
