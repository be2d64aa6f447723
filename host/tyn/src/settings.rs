//! What `tyn run` is told: by its flags, and by `tyn.toml` where they say nothing.
//!
//! A flag takes the place of the file's value; variables and files are merged by name, the command line's last.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tyn_bootfmt::options::Options;
use tyn_vm_host::{Accel, Forward, Machine, MemorySize};

use crate::env::{self, Lookup};
use crate::project::Project;
use crate::usage;

/// Memory of a guest that asks for none.
const MEMORY: MemorySize = MemorySize(512 << 20);

/// The flags that say what is started and on what machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Image that `tyn build` made [default: that of tyn.toml]
    pub(crate) image: Option<PathBuf>,
    /// More arguments for `erl`, as in vm.args (of another program than Erlang: for that)
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
    /// Start a shell on the console, and make it this terminal: what is typed goes to the guest, Ctrl-C, too; Ctrl-] x stops it
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Virtual CPUs [default: 1]
    #[arg(long, value_name = "N", value_parser = usage::cpus, allow_negative_numbers = true)]
    pub(crate) cpus: Option<u32>,
    /// Memory, e.g. 128M or 2G [default: 512M]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<MemorySize>,
    /// Forward a TCP port of this machine (on 127.0.0.1) to one of the guest
    #[arg(short, long = "port", value_name = "HOST:GUEST")]
    pub(crate) ports: Vec<Forward>,
    /// Set an environment variable of the guest; NAME alone takes the value from our own environment, where `ps` does not show it
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Set the variables in a file: lines NAME=VALUE, as docker reads them
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// Add the arguments in a file to the release's vm.args; what it says wins
    #[arg(long, value_name = "FILE")]
    pub(crate) vm_args: Option<PathBuf>,
    /// Put a file of this machine at the path GUEST, for this start only
    #[arg(long = "file", value_name = "GUEST=HOST")]
    pub(crate) files: Vec<FileArg>,
    /// How instructions are executed: kvm, tcg, or auto for kvm where the processor has it [default: auto]
    #[arg(long, value_name = "ACCEL")]
    pub(crate) accel: Option<Accel>,
    /// Machine type: q35, pc or microvm [default: q35]
    #[arg(long, value_name = "TYPE")]
    pub(crate) machine: Option<Machine>,
    /// Kernel to boot instead of the one inside this tool
    #[arg(long, value_name = "PATH")]
    pub(crate) kernel: Option<PathBuf>,
    /// Options for the kernel
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub(crate) append: Option<String>,
    /// Show what the kernel refused (or, with `=calls`, every system call) as it happens
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "events")]
    pub(crate) trace: Option<Trace>,
    /// Read this file instead of tyn.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What is traced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Trace {
    /// Refused calls and options, ends of processes.
    Events,
    /// Every system call, too.
    Calls,
}

/// A file for the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileArg {
    /// Where the guest finds it.
    pub(crate) guest: PathBuf,
    /// Where it is.
    pub(crate) host: PathBuf,
}

impl FromStr for FileArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((guest, host)) if !guest.is_empty() && !host.is_empty() => Ok(Self {
                guest: guest.into(),
                host: host.into(),
            }),
            _ => Err(format!(
                "'{text}' is not GUEST=HOST: use e.g. /etc/app.conf=./app.conf"
            )),
        }
    }
}

/// Everything, decided.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) image: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) interactive: bool,
    pub(crate) cpus: u32,
    pub(crate) memory: MemorySize,
    pub(crate) ports: Vec<Forward>,
    /// `NAME=VALUE`; of those with one name, the last counts.
    pub(crate) env: Vec<String>,
    pub(crate) vm_args: Option<PathBuf>,
    /// No two with one path in the guest.
    pub(crate) files: Vec<FileArg>,
    pub(crate) accel: Accel,
    pub(crate) machine: Machine,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) append: String,
    pub(crate) trace: Option<Trace>,
}

impl Settings {
    /// Merges flags and file.
    ///
    /// # Errors
    /// When no image is named, or variables or kernel options are not as they should be.
    pub(crate) fn new(flags: &Flags, project: Project, lookup: Lookup<'_>) -> Result<Self> {
        let file = project.run;
        let Some(image) = flags.image.clone().or(file.image) else {
            bail!(
                "no image is named; name one that `tyn build` made, or write `image = \"…\"` below [run] in tyn.toml"
            );
        };
        let mut env = Vec::new();
        for path in &file.env_file {
            env.extend(env::read_file(path, lookup)?);
        }
        env.extend(file.env);
        for path in &flags.env_files {
            env.extend(env::read_file(path, lookup)?);
        }
        env.extend(env::complete(&flags.env, lookup)?);
        let mut files: Vec<FileArg> = Vec::new();
        let from_file = file.files.into_iter();
        let from_file = from_file.map(|(guest, host)| FileArg { guest, host });
        for new in from_file.chain(flags.files.iter().cloned()) {
            files.retain(|known| known.guest != new.guest);
            files.push(new);
        }
        let append = flags.append.clone().or(file.append);
        Ok(Self {
            image,
            args: flags.args.clone(),
            interactive: flags.interactive,
            cpus: flags.cpus.or(file.cpus).unwrap_or(1),
            memory: flags.memory.or(file.memory).unwrap_or(MEMORY),
            ports: if flags.ports.is_empty() {
                file.ports
            } else {
                flags.ports.clone()
            },
            env,
            vm_args: flags.vm_args.clone().or(file.vm_args),
            files,
            accel: flags.accel.or(file.accel).unwrap_or_default(),
            machine: flags.machine.or(file.machine).unwrap_or_default(),
            kernel: flags.kernel.clone(),
            append: kernel_options(&append.unwrap_or_default(), flags.trace)?,
            trace: flags.trace,
        })
    }

    /// Returns the words that are added to the arguments of `erl`.
    pub(crate) fn words(&self) -> Vec<String> {
        let file = self
            .vm_args
            .iter()
            .map(|file: &PathBuf| file.display().to_string());
        let file = file.flat_map(|file| ["-args_file".to_owned(), file]);
        file.chain(self.args.iter().cloned()).collect()
    }
}

/// Puts the kernel's options together, refusing unknown ones before anything is started.
///
/// # Errors
/// The first that is unknown or malformed.
pub(crate) fn kernel_options(append: &str, trace: Option<Trace>) -> Result<String> {
    let mut append = append.trim().to_owned();
    match trace {
        None => {}
        Some(Trace::Events) => append += " trace",
        Some(Trace::Calls) => append += " trace=calls",
    }
    let append = append.trim().to_owned();
    if let Err(error) = Options::parse(&append) {
        bail!("{error}");
    }
    Ok(append)
}

/// Returns a path that means the same in every folder.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Run;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn merged(args: &[&str], run: Run) -> Result<Settings> {
        let args = ["tyn"].iter().chain(args);
        let flags = Cli::try_parse_from(args)?.flags;
        let lookup = |name: &str| (name == "OWN").then(|| "own".to_owned());
        let project = Project {
            run,
            ..Project::default()
        };
        Settings::new(&flags, project, &lookup)
    }

    #[test]
    fn command_line_wins_over_the_file() {
        let file = || Run {
            image: Some("file.img".into()),
            cpus: Some(3),
            memory: Some(MemorySize(1 << 30)),
            ports: vec![Forward { host: 1, guest: 2 }],
            env: vec!["A=1".into(), "B=1".into()],
            files: [("/a".into(), "x".into()), ("/b".into(), "y".into())].into(),
            append: Some("ip=off".into()),
            ..Run::default()
        };
        let settings = merged(&[], file()).unwrap();
        assert_eq!((settings.cpus, settings.append.as_str()), (3, "ip=off"));
        assert_eq!(settings.machine, Machine::Q35);
        let line = "cli.img --cpus 2 -p 8:9 -e B=2 -e OWN --file /a=z --trace --vm-args v --append ip=dhcp -- +S 1";
        let args: Vec<_> = line.split(' ').collect();
        let settings = merged(&args, file()).unwrap();
        assert_eq!(settings.image, Path::new("cli.img"));
        assert_eq!((settings.cpus, settings.memory), (2, MemorySize(1 << 30)));
        assert_eq!(settings.ports, [Forward { host: 8, guest: 9 }]);
        assert_eq!(settings.env, ["A=1", "B=1", "B=2", "OWN=own"]);
        let files: Vec<_> = settings.files.iter().map(|f| f.host.clone()).collect();
        assert_eq!(files, [Path::new("y"), Path::new("z")]);
        assert_eq!(settings.append, "ip=dhcp trace");
        assert_eq!(settings.words(), ["-args_file", "v", "+S", "1"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |args: &[&str]| merged(args, Run::default()).unwrap_err().to_string();
        assert!(error(&[]).starts_with("no image is named"));
        assert!(error(&["i", "--append", "x"]).contains("kernel option 'x' is unknown"));
        assert!(error(&["i", "--file", "/x"]).contains("is not GUEST=HOST"));
        assert!(error(&["i", "--env-file", "/none"]).contains("/none can't be read"));
    }
}
