//! What is started: the arguments and the environment that the start script of a release would give to `erlexec`, and what
//! `erlexec` makes of them.
//!
//! The scripts are those of `mix release` (`bin/NAME start`), of rebar3 and relx (`bin/NAME foreground`), of systools
//! (`start_erl`), and `entrypoint.sh` of Gleam. What of them is followed: `docs/inputs.md`.

mod given;
mod mix;
mod plain;
mod relx;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tyn_bootfmt::{BadStart, Init};

use crate::erl_args::{self, ArgsError, ErlArgs};
use crate::image::HOME;
use crate::recipe::{Files, Kind, Recipe};
use crate::shell::{NotRun, Shell};

pub use given::{Given, given};

/// Port on which a named node listens for others when nothing says how they find it and there is no epmd.
pub const DISTRIBUTION_PORT: u16 = 4370;
/// Flags that say how others find it.
pub(crate) const OTHER_WAYS: [&str; 3] = ["-erl_epmd_port", "-epmd_module", "-proto_dist"];

/// How a release is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// To serve, with nobody at the console.
    Daemon,
    /// With a shell on the console.
    Interactive,
}

/// Why it can't be said how to start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The arguments.
    #[error("{}: {error}{}", path.display(), unset_hint(unset))]
    Args {
        /// The file that they are in, by its path in the image.
        path: PathBuf,
        /// What is wrong with them.
        error: ArgsError,
        /// Variables in it that have no value.
        unset: Vec<String>,
    },
    /// A variable with a value that it can't have.
    #[error("{name} is '{value}', but must be {wanted}; mend it")]
    Value {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// The image that is to be started.
    #[error("the image {} can't be read: {error}{}", path.display(), crate::image::remedy(error))]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The start description.
    #[error("the start description {0}")]
    Description(#[from] BadStart),
}

/// How something is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    /// What `erlexec` makes of the start script's arguments.
    pub(crate) args: ErlArgs,
    /// The environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Files that the start script writes, by their paths in the image.
    pub(crate) written: Vec<(PathBuf, Vec<u8>)>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// A command line of `erl` that is being put together, with the shell's variables and the files it is made from.
struct Script<'a> {
    recipe: &'a Recipe,
    files: &'a dyn Files,
    shell: Shell,
    line: Vec<String>,
    /// The file that arguments come from, for messages.
    vm_args: PathBuf,
    written: Vec<(PathBuf, Vec<u8>)>,
    /// Variables that files name and nobody set.
    unset: Vec<String>,
    warnings: Vec<String>,
}

fn unset_hint(names: &[String]) -> String {
    match names.first() {
        Some(name) => {
            format!(" (${{{name}}} has no value; give it one by `tyn build -e {name}=…`)")
        }
        None => String::new(),
    }
}

/// Says how to start what `recipe` describes, with the environment `given` by the one who starts it.
pub(crate) fn derive(
    recipe: &Recipe,
    files: &dyn Files,
    given: &[(String, String)],
    mode: Mode,
) -> Result<Start, StartError> {
    let mut script = Script::new(recipe, files, given);
    match recipe.kind {
        Kind::Mix => mix::start(&mut script, mode)?,
        Kind::Relx => relx::start(&mut script, mode),
        Kind::Systools => plain::systools(&mut script, mode),
        Kind::Shipment => plain::shipment(&mut script, mode),
        Kind::Modules => plain::modules(&mut script, mode),
        Kind::Applications => plain::applications(&mut script, mode),
    }
    script.finish(mode)
}

impl<'a> Script<'a> {
    fn new(recipe: &'a Recipe, files: &'a dyn Files, given: &[(String, String)]) -> Self {
        let own = [
            ("HOME", HOME),
            ("LANG", "C.UTF-8"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all = own.iter().chain(&recipe.env).chain(given);
        Self {
            recipe,
            files,
            shell: Shell::new(all.cloned()),
            line: Vec::new(),
            vm_args: recipe.root.join("vm.args"),
            written: Vec::new(),
            unset: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds words separated by blanks to the command line.
    fn words(&mut self, words: &str) -> &mut Self {
        self.line
            .extend(words.split_whitespace().map(str::to_owned));
        self
    }

    fn word(&mut self, word: impl Into<String>) -> &mut Self {
        self.line.push(word.into());
        self
    }

    fn path(&mut self, path: &Path) -> &mut Self {
        self.word(path.display().to_string())
    }

    /// Runs a script of the release as far as that goes.
    fn source(&mut self, path: &Path) {
        if let Some(text) = self.files.text(path) {
            let not_run = self.shell.run(&text);
            self.warnings
                .extend(not_run.iter().map(|n| not_run_warning(path, n)));
        }
    }

    fn export_erts(&mut self) {
        let recipe = self.recipe;
        self.shell
            .export("ROOTDIR", recipe.otp.display().to_string());
        self.shell
            .export("BINDIR", recipe.erts_bin().display().to_string());
        self.shell.export("EMU", "beam");
        self.shell.export("PROGNAME", "erl");
    }

    /// Does what `erlexec` does.
    fn finish(mut self, mode: Mode) -> Result<Start, StartError> {
        let written = &self.written;
        let files = self.files;
        let cwd = &self.recipe.cwd;
        let read = |path: &Path| {
            let path = cwd.join(path);
            let own = written.iter().find(|(at, _)| *at == path);
            own.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
                .or_else(|| files.text(&path))
                .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
        };
        let flags = |name: &str| self.shell.get(name).unwrap_or_default().to_owned();
        let flags = erl_args::Flags {
            before: flags("ERL_AFLAGS"),
            after: flags("ERL_FLAGS"),
            last: flags("ERL_ZFLAGS"),
        };
        let mut args = erl_args::translate_with(&self.line, &flags, &read).map_err(|error| {
            StartError::Args {
                path: self.vm_args.clone(),
                error,
                unset: self.unset.clone(),
            }
        })?;
        if mode == Mode::Interactive {
            allow_shell(&mut args, self.recipe.kind == Kind::Mix);
        }
        if !self.recipe.has_epmd {
            listen_without_epmd(&mut args, &mut self.warnings);
        }
        let get = |name: &str| self.shell.get(name).unwrap_or_default();
        let (bindir, otp) = (get("BINDIR"), get("ROOTDIR"));
        let path = format!("{bindir}:{otp}/bin:{}", get("PATH"));
        self.shell.export("PATH", path);
        for (name, value) in &args.env {
            self.shell.export(name, value.clone());
        }
        let env = self.shell.environment();
        Ok(Start {
            env: env.map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            args,
            written: self.written,
            warnings: self.warnings,
        })
    }
}

pub(crate) fn not_run_warning(path: &Path, not_run: &NotRun) -> String {
    format!(
        "{}:{}: '{}' is not run: {}",
        path.display(),
        not_run.line,
        not_run.text,
        not_run.why
    )
}

/// Makes a named node listen on a fixed port unless it was told how others find it. Without epmd it would not start
/// otherwise.
fn listen_without_epmd(args: &mut ErlArgs, warnings: &mut Vec<String>) {
    let has = |flag: &str| args.program.iter().any(|arg| arg == flag);
    if !args.wants_epmd || OTHER_WAYS.iter().any(|flag| has(flag)) {
        return;
    }
    let end = args.program.iter().position(|arg| arg == "-extra");
    let extra = args.program.split_off(end.unwrap_or(args.program.len()));
    let port = DISTRIBUTION_PORT.to_string();
    for word in ["-start_epmd", "false", "-erl_epmd_port", &port] {
        args.program.push(word.into());
    }
    args.program.extend(extra);
    warnings.push(format!(
        "the node has a name, but there is no epmd (`tyn build --epmd` packs that of the run-time system): it listens on port {port} \
         (-start_epmd false -erl_epmd_port {port}), and other nodes find it when they are started the same way"
    ));
}

/// Drops what `vm.args` of a server says against a shell and its break key: a shell was asked for.
fn allow_shell(args: &mut ErlArgs, has_elixir: bool) {
    args.emulator.retain(|flag| flag != "-Bd" && flag != "-Bi");
    // Elixir's shell is no shell to Erlang.
    let is_against = |flag: &str| flag == "-noinput" || flag == "-noshell" && !has_elixir;
    let end = args.program.iter().position(|arg| arg == "-extra");
    let extra = args.program.split_off(end.unwrap_or(args.program.len()));
    args.program.retain(|flag| !is_against(flag));
    args.program.extend(extra);
}

/// Returns the program's arguments.
pub(crate) fn arguments(start: &Start) -> Vec<String> {
    let get = |name: &str| start.env.get(name).cloned().unwrap_or_default();
    let (root, bindir) = (get("ROOTDIR"), get("BINDIR"));
    let mut argv = vec![format!("{bindir}/beam.smp")];
    argv.extend(start.args.emulator.iter().cloned());
    argv.extend(["--".into(), "-root".into(), root]);
    argv.extend([
        "-bindir".into(),
        bindir,
        "-progname".into(),
        get("PROGNAME"),
    ]);
    argv.extend(["--", "-home", HOME, "--"].map(str::to_owned));
    argv.extend(start.args.program.iter().cloned());
    argv
}

/// Returns the start description.
pub(crate) fn description(recipe: &Recipe, start: &Start) -> Result<Vec<u8>, StartError> {
    let argv = arguments(start);
    let env: Vec<String> = start.env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let epmd = recipe.epmd();
    let epmd = (start.args.wants_epmd && recipe.has_epmd).then_some(epmd.as_os_str());
    let bytes = Init {
        args: argv.iter().map(String::as_bytes).collect(),
        env: env.iter().map(String::as_bytes).collect(),
        cwd: recipe.cwd.as_os_str().as_encoded_bytes(),
        hostname: hostname(&recipe.name).as_bytes(),
        // `erlexec` starts it as `epmd -daemon`: in a session of its own, in the root directory, with /dev/null.
        daemons: epmd
            .iter()
            .map(|path| vec![path.as_encoded_bytes()])
            .collect(),
    }
    .to_bytes()?;
    Ok(bytes)
}

/// Makes a host name of a release's name: letters, digits and inner hyphens (RFC 1123), 63 at most.
pub(crate) fn hostname(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match name.trim_matches('-') {
        "" => "tyn".into(),
        name => name.to_ascii_lowercase(),
    }
}
