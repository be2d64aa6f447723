//! What is started of a release: the arguments and the environment that its start script would give.
//!
//! The scripts are those of `rebar3 release` and systools (`erl -boot start ...`), and of `mix release` (`elixir` and `iex`
//! on top of that).

use std::fs;
use std::io;
use std::path::Path;

use tyn_bootfmt::{BadStart, Init};

use crate::erl_args::{self, ErlArgs};
use crate::image::{BuildError, HOME, ROOT};
use crate::release::Release;

/// How a release is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// To serve, with nobody at the console.
    Daemon,
    /// With a shell on the console.
    Interactive,
}

/// Translates the arguments that the start script of a release would give to `erl`.
pub(crate) fn arguments(release: &Release, mode: Mode) -> Result<ErlArgs, BuildError> {
    let version = Path::new(ROOT).join(release.version_dir());
    let own = release.dir.join(release.version_dir());
    let vm_args = own.join("vm.args");
    let mut args = ErlLine::default();
    let (first, extra) = match (mode, release.has_elixir()) {
        (Mode::Daemon, false) => ("-noinput +Bd", ""),
        (Mode::Interactive, false) => ("", ""),
        (Mode::Daemon, true) => ("-noinput +Bd -s elixir start_cli", "-extra --no-halt"),
        (Mode::Interactive, true) => ("-noshell -user elixir", "-extra --no-halt +iex"),
    };
    args.words(first);
    args.words("-boot").path(&version.join("start"));
    if release.has_elixir() {
        args.words("-boot_var RELEASE_LIB")
            .path(&Path::new(ROOT).join("lib"))
            .words("-mode embedded");
    }
    if let Some(cookie) = release.cookie() {
        args.words("-setcookie").word(&cookie);
    }
    if own.join("sys.config").is_file() {
        args.words("-config").path(&version.join("sys"));
    }
    if vm_args.is_file() {
        args.words("-args_file").path(&version.join("vm.args"));
    }
    args.words(extra);
    // Arguments files have the paths that they would have in the guest.
    let read = |path: &Path| {
        let inside = Path::new(ROOT).join(path);
        let relative = inside.strip_prefix(ROOT).map_err(io::Error::other)?;
        fs::read_to_string(release.dir.join(relative))
    };
    let mut args = erl_args::translate(&args.0, &read).map_err(|error| BuildError::Args {
        path: vm_args,
        error,
    })?;
    if mode == Mode::Interactive {
        allow_shell(&mut args, release.has_elixir());
    }
    Ok(args)
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

/// A command line of `erl`.
#[derive(Default)]
struct ErlLine(Vec<String>);

impl ErlLine {
    /// Adds words separated by blanks.
    fn words(&mut self, words: &str) -> &mut Self {
        self.0.extend(words.split_whitespace().map(str::to_owned));
        self
    }

    fn word(&mut self, word: &str) -> &mut Self {
        self.0.push(word.to_owned());
        self
    }

    fn path(&mut self, path: &Path) -> &mut Self {
        self.word(&path.display().to_string())
    }
}

/// Returns a start description with these arguments.
pub(crate) fn description(release: &Release, args: &ErlArgs) -> Result<Vec<u8>, BadStart> {
    let bindir = Path::new(ROOT).join(release.erts_bin());
    let beam = bindir.join("beam.smp").display().to_string();
    let bindir = bindir.display().to_string();
    let mut argv: Vec<&str> = vec![&beam];
    argv.extend(args.emulator.iter().map(String::as_str));
    argv.extend(["--", "-root", ROOT, "-bindir", &bindir]);
    argv.extend(["-progname", "erl", "--", "-home", HOME, "--"]);
    argv.extend(args.program.iter().map(String::as_str));
    let path = format!("{bindir}:{ROOT}/bin:/usr/local/bin:/usr/bin:/bin");
    let config = Path::new(ROOT).join(release.version_dir()).join("sys");
    let config = config.display().to_string();
    let mut env: Vec<(&str, &str)> = vec![
        ("PATH", &path),
        ("HOME", HOME),
        ("LANG", "C.UTF-8"),
        ("ROOTDIR", ROOT),
        ("BINDIR", &bindir),
        ("EMU", "beam"),
        ("PROGNAME", "erl"),
        ("RELEASE_ROOT", ROOT),
        ("RELEASE_NAME", &release.name),
        ("RELEASE_VSN", &release.version),
    ];
    if release.has_elixir() {
        // The root file system of a guest is its own: the configuration is computed in place.
        env.extend([
            ("RELEASE_SYS_CONFIG", config.as_str()),
            ("RELEASE_MODE", "embedded"),
            ("RELEASE_DISTRIBUTION", "none"),
            ("RELEASE_TMP", "/tmp"),
        ]);
    }
    env.extend(args.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let env: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    Init {
        args: argv.iter().map(|a| a.as_bytes()).collect(),
        env: env.iter().map(String::as_bytes).collect(),
        cwd: ROOT.as_bytes(),
        hostname: hostname(&release.name).as_bytes(),
    }
    .to_bytes()
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
