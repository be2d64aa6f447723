//! The command-line tool: `tyn build` makes images of OTP releases, `tyn run` boots them.
//!
//! Exit codes of `tyn run`: the guest's own; else those of [`ExitCode`](tyn_vm_host::ExitCode). Errors are one sentence each on
//! standard error: what is wrong and what mends it.
#![forbid(unsafe_code)]

mod background;
mod cmd;
mod control;
mod doctor;
mod env;
mod escape;
mod examples;
mod given;
mod guests;
mod interactive;
mod kernel;
mod launch;
mod log;
mod node;
mod otp;
mod output;
mod parent;
mod project;
mod remedy;
mod remote;
mod settings;
mod stopper;
mod table;
mod terminal;
mod usage;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "tyn",
    version,
    about = "Runs Erlang/OTP releases on a kernel of their own",
    after_help = examples::TYN
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an image: of a release, a Gleam shipment, modules, a container image
    #[command(after_help = examples::BUILD)]
    Build(cmd::build::Args),
    /// Boot an image; its exit code becomes ours
    #[command(after_help = examples::RUN)]
    Run(Box<cmd::run::Args>),
    /// Make a disk of an image, which boots by itself
    #[command(after_help = examples::IMAGE)]
    Image(cmd::image::Args),
    /// Show what is in an image, and why
    #[command(after_help = examples::INSPECT)]
    Inspect(cmd::inspect::Args),
    /// List the guests in the background
    #[command(after_help = examples::PS)]
    Ps(cmd::ps::Args),
    /// Show what a guest in the background wrote
    #[command(after_help = examples::LOGS)]
    Logs(cmd::logs::Args),
    /// Go to a shell in a guest: one of its node, or that on its console (`run -d -i`)
    #[command(after_help = examples::SHELL)]
    Shell(cmd::shell::Args),
    /// Stop guests in the background
    #[command(after_help = examples::STOP)]
    Stop(cmd::stop::Args),
    /// Forget guests that have ended, with their logs
    #[command(after_help = examples::RM)]
    Rm(cmd::stop::RemoveArgs),
    /// Tell what this machine lacks for guests, and the remedy
    #[command(after_help = examples::DOCTOR)]
    Doctor(cmd::doctor::Args),
    /// Print a script that completes command lines in your shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(cmd::docs::CompletionsArgs),
    /// Write manual pages
    #[command(after_help = examples::MAN)]
    Man(cmd::docs::ManArgs),
}

fn main() -> ExitCode {
    // No command for people, so not among those of the help.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == background::COMMAND)
    {
        return ended(background::supervise().map(|()| 0));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    ended(perform(cli.command))
}

/// Shows help that was asked for, or what is wrong with the command line.
fn not_understood(error: &clap::Error) -> ExitCode {
    if let Some(text) = usage::bad_value(error) {
        terminal::say(&format!("tyn: {text}"));
        return not_started();
    }
    let printed = error.print();
    if error.use_stderr() {
        // Nothing can be done about a closed terminal.
        return not_started();
    }
    match printed {
        // Whoever closes the pipe has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            ended(Err(error).context("standard output can't be written"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn ended(result: Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::say(&format!("tyn: {}", remedy::complete(format!("{error:#}"))));
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
        Command::Image(args) => cmd::image::image(&args).map(|()| 0),
        Command::Inspect(args) => cmd::inspect::show(&args).map(|()| 0),
        Command::Ps(args) => cmd::ps::ps(&args).map(|()| 0),
        Command::Logs(args) => cmd::logs::logs(&args).map(|()| 0),
        Command::Shell(args) => cmd::shell::shell(&args),
        Command::Stop(args) => cmd::stop::stop(&args).map(|()| 0),
        Command::Rm(args) => cmd::stop::remove(&args).map(|()| 0),
        Command::Doctor(args) => cmd::doctor::doctor(&args),
        Command::Completions(args) => cmd::docs::completions(&args, Cli::command()).map(|()| 0),
        Command::Man(args) => cmd::docs::man(&args, Cli::command()).map(|()| 0),
    }
}
