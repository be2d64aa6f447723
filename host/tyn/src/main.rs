//! The command-line tool: `tyn build` makes images of OTP releases, `tyn run` boots them.
//!
//! Exit codes of `tyn run`: the guest's own; else those of [`ExitCode`](tyn_vm_host::ExitCode). Errors are one sentence each on
//! standard error: what is wrong and what mends it.
#![forbid(unsafe_code)]

mod background;
mod cmd;
mod control;
mod env;
mod escape;
mod guests;
mod interactive;
mod kernel;
mod launch;
mod project;
mod settings;
mod stopper;
mod terminal;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "tyn",
    version,
    about = "Runs Erlang/OTP releases on a kernel of their own"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an image of an OTP release
    Build(cmd::build::Args),
    /// Boot an image; its exit code becomes ours
    Run(Box<cmd::run::Args>),
    /// List the guests in the background
    Ps(cmd::ps::Args),
    /// Show what a guest in the background wrote
    Logs(cmd::logs::Args),
    /// Go to the shell of a guest that `run -d -i` started
    Shell(cmd::shell::Args),
    /// Stop guests in the background
    Stop(cmd::stop::Args),
    /// Forget guests that have ended, with their logs
    Rm(cmd::stop::RemoveArgs),
    /// Look after a guest in the background (started by `run -d`)
    #[command(hide = true)]
    Supervise,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = !error.use_stderr();
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return if is_help {
                ExitCode::SUCCESS
            } else {
                not_started()
            };
        }
    };
    match perform(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("tyn: {error:#}");
            not_started()
        }
    }
}

fn not_started() -> ExitCode {
    ExitCode::from(tyn_vm_host::ExitCode::NotStarted as u8)
}

fn perform(command: Command) -> Result<u8> {
    match command {
        Command::Build(args) => cmd::build::build(&args).map(|()| 0),
        Command::Run(args) => cmd::run::run(&args),
        Command::Ps(args) => cmd::ps::ps(&args).map(|()| 0),
        Command::Logs(args) => cmd::logs::logs(&args).map(|()| 0),
        Command::Shell(args) => cmd::shell::shell(&args),
        Command::Stop(args) => cmd::stop::stop(&args).map(|()| 0),
        Command::Rm(args) => cmd::stop::remove(&args).map(|()| 0),
        Command::Supervise => background::supervise().map(|()| 0),
    }
}
