//! The project's tasks: `cargo xtask TASK`. Builds, checks, tests and demonstrates; holds no product code.
#![forbid(unsafe_code)]

mod abi_docs;
mod apps;
mod bench;
mod beside;
mod check;
mod demo;
mod documents;
mod drift;
mod example;
mod fuzz;
mod fuzz_readers;
mod hoard;
mod kernel;
mod lab;
mod musl;
mod net;
mod otp;
mod paths;
mod python;
mod readme;
mod scenarios;
mod screen;
mod soak;
mod sysroot;
mod test;
mod transcript;
mod tree;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use tyn_debian as debian;
use tyn_debian::command;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Tyn project")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch and unpack an OTP sysroot (Debian packages, under target/)
    Sysroot {
        /// Which: trixie (OTP 27), bookworm (OTP 25), sid (OTP 29, Elixir 1.20), trixie-elixir (Elixir 1.18), trixie-rebar3, or musl (OTP 27, compiled)
        #[arg(default_value = "trixie")]
        name: String,
    },
    /// Fetch and unpack the source of the sysroot's Erlang (under target/)
    OtpSource,
    /// Run OTP's own test suites in a guest (or on this Linux) and compare with what passes on Linux
    OtpSuite(otp::Options),
    /// Run CPython's own test suite on this Linux and in a guest, and compare what becomes of each case
    PythonSuite(python::Options),
    /// Build the example release with the sysroot's Erlang
    Example,
    /// Build the kernel
    Kernel,
    /// Build the kernel and the tyn tool with it inside
    Build,
    /// Boot the example, ask it, show boot time and memory
    Demo(demo::Options),
    /// Boot the example many times; each boot must serve
    Soak(soak::Options),
    /// Compares the guest's wall clock with this machine's for half an hour
    Drift(drift::Options),
    /// Make random system calls in a guest: it must not panic, hang or lose memory
    Fuzz(fuzz::Options),
    /// Fuzz the readers of foreign bytes (images, archives, settings, packets) on this machine
    FuzzReaders(fuzz_readers::Options),
    /// Make as many of the kernel's objects as it can in a guest: it must not panic or lose memory
    Hoard(hoard::Options),
    /// Boot RabbitMQ and ejabberd as Debian packages them, and use them
    Apps(apps::Options),
    /// Load the guest's network over a TAP device: connections held, a burst, a flood (needs root)
    Net(net::Options),
    /// Be some of the clients of `net`
    #[command(hide = true)]
    NetClients(net::crowd::Options),
    /// Follow the README in a fresh Debian root (needs root)
    ReadmeCheck(readme::Options),
    /// Check format, lints, layers, unsafe code and generated docs
    Check,
    /// Write docs/abi/README.md from the system-call table
    AbiDocs,
    /// Compare with Linux guests side by side
    Bench(bench::Command),
    /// Run ABI cases on this Linux and in a guest, and compare their transcripts
    Abi {
        /// Beginnings of the names of the cases to run (default: all)
        cases: Vec<String>,
    },
    /// Run scenarios on this Linux and in a guest, and compare their transcripts
    Scenarios(test::scenarios::Options),
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

/// Returns the names of all tasks.
fn task_names() -> BTreeSet<String> {
    let cli = Cli::command();
    let names = cli.get_subcommands().map(|task| task.get_name().to_owned());
    names.collect()
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Sysroot { name } => {
            println!("{}", sysroot::ensure_named(&name)?.dir().display());
            Ok(())
        }
        Task::OtpSource => {
            println!("{}", sysroot::ensure_source()?.display());
            Ok(())
        }
        Task::OtpSuite(options) => otp::otp_suite(&options),
        Task::PythonSuite(options) => python::python_suite(&options),
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
        Task::Demo(options) => demo::demo(options),
        Task::Soak(options) => soak::soak(options),
        Task::Drift(options) => drift::drift(options),
        Task::Fuzz(options) => fuzz::fuzz(options),
        Task::FuzzReaders(options) => fuzz_readers::run(&options),
        Task::Hoard(options) => hoard::hoard(&options),
        Task::Apps(options) => apps::apps(&options),
        Task::Net(options) => net::net(&options),
        Task::NetClients(options) => net::crowd::part(&options),
        Task::ReadmeCheck(options) => readme::check(&options),
        Task::Check => check::check(&task_names()),
        Task::AbiDocs => abi_docs::write(),
        Task::Bench(command) => bench::run(&command),
        Task::Abi { cases } => {
            let tally = test::abi::run_cases(&cases)?;
            println!("{} passed, {} failed", tally.passed, tally.failed);
            anyhow::ensure!(tally.failed == 0, "transcripts differ");
            Ok(())
        }
        Task::Scenarios(options) => test::scenarios::some(&options),
        Task::Test { suites } => test::test(&suites),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn documents_name_what_is_there() {
        crate::documents::check(&super::task_names()).unwrap();
    }
}
