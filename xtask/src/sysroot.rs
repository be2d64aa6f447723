//! OTP sysroots: Debian's own Erlang with the libraries it needs, unpacked under `target/`, never installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{debian, musl, paths};

/// The Debian release that Erlang's source comes from.
pub(crate) const SUITE: &str = "trixie";

/// What a sysroot is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Name of its folder.
    name: &'static str,
    /// The Debian release it comes from.
    suite: &'static str,
    /// What is asked for; apt adds what these need. Locales are in libc-bin,
    /// descriptions of terminals in ncurses-base.
    packages: &'static [&'static str],
    /// What is taken without what it needs: that would be a desktop.
    alone: &'static [&'static str],
}

/// What everything is built with: OTP 27, and the applications, headers and programs that tests use.
const REFERENCE: Kind = Kind {
    name: "trixie",
    suite: SUITE,
    packages: &[
        "erlang-base",
        "erlang-crypto",
        "erlang-dev",
        "erlang-mnesia",
        "erlang-os-mon",
        "erlang-ssl",
        "coreutils",
        "dash",
        "libc-bin",
        "ncurses-base",
        "openssl-provider-legacy",
        "tzdata",
    ],
    alone: &[],
};
/// OTP 25.
pub(crate) const BOOKWORM: Kind = Kind {
    name: "bookworm",
    suite: "bookworm",
    packages: &["erlang-base", "libc-bin", "ncurses-base"],
    alone: &[],
};
/// OTP 29, Elixir 1.20 and the web server of `examples/cowboy`, which trixie lacks.
pub(crate) const SID: Kind = Kind {
    name: "sid",
    suite: "sid",
    packages: &["elixir", "erlang-cowboy", "libc-bin", "ncurses-base"],
    alone: &[],
};
/// OTP 27 and Elixir 1.18.
pub(crate) const TRIXIE_ELIXIR: Kind = Kind {
    name: "trixie-elixir",
    suite: "trixie",
    packages: &["elixir", "libc-bin", "ncurses-base"],
    alone: &[],
};
/// OTP 27 and rebar3.
pub(crate) const TRIXIE_REBAR3: Kind = Kind {
    name: "trixie-rebar3",
    suite: "trixie",
    packages: &[
        "erlang-base",
        "erlang-crypto",
        "erlang-inets",
        "erlang-parsetools",
        "erlang-tools",
        "libc-bin",
    ],
    alone: &[
        "erlang-common-test",
        "erlang-edoc",
        "erlang-eunit",
        "erlang-reltool",
        "erlang-syntax-tools",
        "rebar3",
    ],
};

/// OTP 27 and RabbitMQ.
pub(crate) const TRIXIE_RABBITMQ: Kind = Kind {
    name: "trixie-rabbitmq",
    suite: "trixie",
    packages: &[
        "rabbitmq-server",
        "coreutils",
        "dash",
        "libc-bin",
        "ncurses-base",
    ],
    alone: &[],
};
/// OTP 27 and ejabberd.
pub(crate) const TRIXIE_EJABBERD: Kind = Kind {
    name: "trixie-ejabberd",
    suite: "trixie",
    packages: &["ejabberd", "coreutils", "dash", "libc-bin", "ncurses-base"],
    alone: &[],
};

/// An unpacked sysroot.
#[derive(Clone, Debug)]
pub(crate) struct Sysroot {
    dir: PathBuf,
    state: PathBuf,
}

/// Returns the reference sysroot; fetches and unpacks it unless that was done before.
///
/// # Errors
/// When packages can't be fetched, verified or unpacked.
pub(crate) fn ensure() -> Result<Sysroot> {
    ensure_kind(REFERENCE)
}

/// Returns the sysroot of this name.
///
/// # Errors
/// When there is no such, or as [`ensure_kind`].
pub(crate) fn ensure_named(name: &str) -> Result<Sysroot> {
    let kinds = [
        REFERENCE,
        BOOKWORM,
        SID,
        TRIXIE_ELIXIR,
        TRIXIE_REBAR3,
        TRIXIE_RABBITMQ,
        TRIXIE_EJABBERD,
    ];
    match kinds.into_iter().find(|kind| kind.name == name) {
        Some(kind) => ensure_kind(kind),
        None if name == "musl" => musl::ensure(),
        None => bail!(
            "there is no sysroot '{name}', but {}, musl",
            kinds.map(|kind| kind.name).join(", ")
        ),
    }
}

/// Returns a sysroot; fetches and unpacks it unless that was done before.
///
/// # Errors
/// When packages can't be fetched, verified or unpacked.
pub(crate) fn ensure_kind(kind: Kind) -> Result<Sysroot> {
    let Kind { name, suite, .. } = kind;
    let sysroot = Sysroot::named(name);
    // The stamp is written last and says what was asked for.
    let stamp = sysroot.dir.with_extension("stamp");
    let wanted = [kind.packages, kind.alone].concat().join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(sysroot);
    }
    eprintln!("fetching {wanted} of Debian {suite} with what it needs");
    let _ = fs::remove_file(&stamp);
    for dir in [&sysroot.dir, &sysroot.state] {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        }
    }
    let apt = debian::Apt::new(suite, &sysroot.state, debian::Keys::Install)?;
    let mut debs = apt.download(kind.packages)?;
    if !kind.alone.is_empty() {
        debs.extend(apt.download_alone(kind.alone, &sysroot.state.join("alone"))?);
    }
    debian::unpack(&debs, &sysroot.dir)?;
    sysroot.write_host_wrappers()?;
    fs::write(&stamp, wanted)?;
    Ok(sysroot)
}

/// Returns the folder with the upstream source of the sysroot's Erlang; fetches and unpacks it unless that was done
/// before.
///
/// # Errors
/// When it can't be fetched, verified or unpacked.
pub(crate) fn ensure_source() -> Result<PathBuf> {
    let base = paths::target().join("otp-source");
    let source = base.join(SUITE);
    // The file that is written last.
    let stamp = base.join(format!("{SUITE}.stamp"));
    if stamp.exists() {
        return Ok(source);
    }
    eprintln!("fetching the source of Erlang of Debian {SUITE}");
    if base.exists() {
        fs::remove_dir_all(&base).with_context(|| format!("{}", base.display()))?;
    }
    let state = base.join("apt");
    let archive = debian::Apt::for_sources(SUITE, &state, debian::Keys::Install)?
        .download_source("erlang", &base.join("package"))?;
    debian::unpack_source(&archive, &source)?;
    fs::remove_dir_all(&state).with_context(|| format!("{}", state.display()))?;
    fs::write(&stamp, "")?;
    Ok(source)
}

impl Sysroot {
    /// Returns where the sysroot of this name is, or will be.
    pub(crate) fn named(name: &str) -> Self {
        let base = paths::target().join("sysroot");
        Self {
            dir: base.join(name),
            state: base.join(format!("{name}-apt")),
        }
    }

    /// Returns the folder of what apt keeps for it.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Returns its root folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the .deb file of a package, for comparing what we ship with what Debian ships.
    ///
    /// # Errors
    /// When the package isn't part of it.
    pub(crate) fn deb(&self, package: &str) -> Result<PathBuf> {
        for entry in fs::read_dir(self.state.join("cache/archives"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name
                .strip_prefix(package)
                .is_some_and(|r| r.starts_with('_'))
            {
                return Ok(path);
            }
        }
        bail!("{package} is not among the packages of the sysroot")
    }

    /// Returns the folder of the Erlang installation.
    pub(crate) fn otp(&self) -> PathBuf {
        self.dir.join("usr/lib/erlang")
    }

    /// Returns the folder of the run-time system's programs.
    ///
    /// # Errors
    /// When the installation has none or several.
    pub(crate) fn erts_bin(&self) -> Result<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.otp())? {
            let path = entry?.path();
            if path
                .file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("erts-"))
            {
                found.push(path.join("bin"));
            }
        }
        match found.pop() {
            Some(dir) if found.is_empty() => Ok(dir),
            _ => bail!("{} has not exactly one erts-* folder", self.otp().display()),
        }
    }

    /// Returns a command that runs a program of the sysroot on this machine: by the sysroot's own dynamic loader with the
    /// sysroot's libraries, so that the machine's C library doesn't matter and root isn't needed.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(self.loader());
        command
            .arg("--library-path")
            .arg(self.libraries())
            .arg(program);
        command
    }

    /// Returns a command that runs Erlang (`beam.smp`); the caller adds arguments as for `erl`, without `+` flags.
    ///
    /// # Errors
    /// When the sysroot is damaged.
    pub(crate) fn erl(&self) -> Result<Command> {
        let erts_bin = self.erts_bin()?;
        let bindir = self.host_bin();
        let mut command = self.command(&erts_bin.join("beam.smp"));
        command
            .env("BINDIR", &bindir)
            .env("ROOTDIR", self.otp())
            .env("EMU", "beam")
            .env("PROGNAME", "erl")
            .args(["--", "-root"])
            .arg(self.otp())
            .arg("-bindir")
            .arg(&bindir)
            .args(["-progname", "erl", "--", "-home"])
            .arg(paths::target())
            .args(["--", "-boot", "no_dot_erlang", "-noshell"]);
        Ok(command)
    }

    /// Returns a command that runs Elixir; the caller adds what follows `elixir` on its command line.
    ///
    /// # Errors
    /// When the sysroot is damaged.
    pub(crate) fn elixir(&self) -> Result<Command> {
        let lib = self.dir.join("usr/lib/elixir/lib");
        let mut command = self.erl()?;
        command
            .arg("-elixir_root")
            .arg(&lib)
            .arg("-pa")
            .arg(lib.join("elixir/ebin"))
            .args(["-s", "elixir", "start_cli", "-extra"]);
        Ok(command)
    }

    /// Returns Elixir's script `mix`.
    pub(crate) fn mix(&self) -> PathBuf {
        self.dir.join("usr/lib/elixir/bin/mix")
    }

    fn loader(&self) -> PathBuf {
        self.libraries().join("ld-linux-x86-64.so.2")
    }

    fn libraries(&self) -> PathBuf {
        self.dir.join("usr/lib/x86_64-linux-gnu")
    }

    fn host_bin(&self) -> PathBuf {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        self.dir.with_file_name(format!("{name}-host-bin"))
    }

    /// Erlang starts helper programs by path; these scripts start them by the sysroot's loader, too.
    fn write_host_wrappers(&self) -> Result<()> {
        let dir = self.host_bin();
        fs::create_dir_all(&dir)?;
        let erts_bin = self.erts_bin()?;
        for program in ["erl_child_setup", "inet_gethost"] {
            let script = format!(
                "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
                self.loader().display(),
                self.libraries().display(),
                erts_bin.join(program).display()
            );
            let path = dir.join(program);
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}
