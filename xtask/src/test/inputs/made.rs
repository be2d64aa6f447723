//! Inputs, made by the tools that people make them with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::containers::{self, Config};
use super::{folder, in_folder};
use crate::command::output;
use crate::lab::Lab;
use crate::paths;
use crate::sysroot::{self, Sysroot};

/// Two releases of one project: one as mix makes it by itself, one that restarts its VM and brings no run-time system.
const MIX_RELEASES: &str =
    "releases: [web: [], worker: [reboot_system_after_config: true, include_erts: false]],\n      ";
const ENV_SH: &str = "#!/bin/sh\n# a comment\nexport GREETING=\"${GREETING:-Servus}\"\nPOOL=5; export POOL\n\
    if false; then export NEVER=1; fi\nexport ERL_AFLAGS='-kernel shell_history enabled'\n";
const MIX_VM_ARGS: &str = "## comment\n+P 65536\n-env FROM_VM_ARGS 'a b'\n";
const REBAR_CONFIG: &str = "{erl_opts, []}.\n{deps, []}.\n{relx, [{release, {web, \"1.2.0\"}, [erlang_http, sasl]}, {dev_mode, false},\n\
    {include_erts, true}, {sys_config_src, \"config/sys.config.src\"}, {vm_args_src, \"config/vm.args.src\"},\n\
    {extended_start_script, true}]}.\n\
    {profiles, [{bare, [{relx, [{include_erts, false}, {system_libs, false}]}]}]}.\n";
const REBAR_VM_ARGS: &str =
    "-sname ${NODE:-web}@localhost\n-setcookie biscuit\n+P ${MAX_PROCESSES:-65536}\n+sbwt none\n";

/// Makes inputs below `target/inputs`.
#[derive(Debug)]
pub(super) struct Made {
    dir: PathBuf,
    sysroot: Sysroot,
    shipment: Memo,
    mix: Memo,
    rebar3: Memo,
}

/// A folder that is made by who asks first; others wait for it.
#[derive(Debug, Default)]
struct Memo(Mutex<Option<PathBuf>>);

impl Memo {
    fn get(&self, make: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            return Ok(made.clone());
        }
        Ok(made.insert(make()?).clone())
    }
}

impl Made {
    pub(super) fn new(lab: &Lab) -> Result<Self> {
        Ok(Self {
            dir: folder()?,
            sysroot: lab.sysroot.clone(),
            shipment: Memo::default(),
            mix: Memo::default(),
            rebar3: Memo::default(),
        })
    }

    /// Returns an empty folder of this name.
    pub(super) fn empty(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
        }
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Compiles `tests/inputs/*.erl` into a folder.
    pub(super) fn modules(&self) -> Result<PathBuf> {
        let dir = self.empty("modules")?;
        self.compile(&dir)?;
        Ok(dir)
    }

    fn compile(&self, into: &Path) -> Result<()> {
        for module in ["hello", "hello@@main"] {
            let source = paths::root()
                .join("tests/inputs")
                .join(format!("{module}.erl"));
            let compile = format!(
                "{{ok, _}} = compile:file(\"{}\", [report, deterministic, {{outdir, \"{}\"}}]), halt().",
                source.display(),
                into.display()
            );
            output(self.sysroot.erl()?.args(["-eval", &compile]))?;
        }
        Ok(())
    }

    /// Makes what `gleam export erlang-shipment` would make of a package without dependencies.
    pub(super) fn shipment(&self) -> Result<PathBuf> {
        self.shipment.get(|| self.make_shipment())
    }

    fn make_shipment(&self) -> Result<PathBuf> {
        let dir = self.empty("erlang-shipment")?;
        let ebin = dir.join("hello/ebin");
        fs::create_dir_all(&ebin)?;
        self.compile(&ebin)?;
        fs::write(
            ebin.join("hello.app"),
            "{application, hello, [{vsn, \"1\"}, {applications, [kernel, stdlib]}, {modules, [hello]}]}.\n",
        )?;
        let entrypoint = paths::root().join("tests/inputs/entrypoint.sh");
        fs::copy(entrypoint, dir.join("entrypoint.sh"))?;
        Ok(dir)
    }

    /// Makes a mix project with two releases, both built.
    pub(super) fn mix_project(&self) -> Result<PathBuf> {
        self.mix.get(|| self.make_mix_project())
    }

    fn make_mix_project(&self) -> Result<PathBuf> {
        let dir = self.empty("mix")?;
        paths::copy(&paths::root().join("examples/elixir_http"), &dir)?;
        let mix = fs::read_to_string(dir.join("mix.exs"))?;
        let mix = mix.replace(
            "prune_code_paths",
            &format!("{MIX_RELEASES}prune_code_paths"),
        );
        fs::write(dir.join("mix.exs"), mix)?;
        fs::create_dir_all(dir.join("rel"))?;
        fs::write(dir.join("rel/env.sh.eex"), ENV_SH)?;
        fs::write(dir.join("rel/vm.args.eex"), MIX_VM_ARGS)?;
        let sysroot = sysroot::ensure_kind(sysroot::TRIXIE_ELIXIR)?;
        for release in ["web", "worker"] {
            let mut mix = sysroot.elixir()?;
            mix.arg(sysroot.mix())
                .args(["release", "--overwrite", "--quiet", release]);
            mix.env("MIX_ENV", "prod")
                .env("MIX_HOME", self.dir.join("mix-home"));
            in_folder(&mut mix, &dir)?;
        }
        Ok(dir)
    }

    /// Makes a rebar3 project with a release, and with the tarball of one that brings no run-time system.
    pub(super) fn rebar3_project(&self) -> Result<PathBuf> {
        self.rebar3.get(|| self.make_rebar3_project())
    }

    fn make_rebar3_project(&self) -> Result<PathBuf> {
        let dir = self.empty("rebar3")?;
        let example = paths::root().join("examples/erlang_http");
        paths::copy(&example.join("src"), &dir.join("src"))?;
        fs::create_dir_all(dir.join("config"))?;
        let config = dir.join("config/sys.config.src");
        fs::copy(example.join("config/sys.config"), config)?;
        fs::write(dir.join("config/vm.args.src"), REBAR_VM_ARGS)?;
        fs::write(dir.join("rebar.config"), REBAR_CONFIG)?;
        let sysroot = sysroot::ensure_kind(sysroot::TRIXIE_REBAR3)?;
        for task in [&["release"][..], &["as", "bare", "tar"]] {
            let mut rebar3 = sysroot.erl()?;
            rebar3
                .args(["-run", "escript", "start", "-extra"])
                .arg(sysroot.dir().join("usr/bin/rebar3"))
                .args(task);
            rebar3.env("REBAR_CACHE_DIR", self.dir.join("rebar3-cache"));
            in_folder(&mut rebar3, &dir)?;
        }
        Ok(dir)
    }
}

/// Container images.
impl Made {
    /// Writes what `docker save` writes: libraries in one layer, a release in the next, changes in a third.
    pub(super) fn saved_image(&self) -> Result<PathBuf> {
        let dir = self.empty("saved")?;
        let rebar3 = sysroot::ensure_kind(sysroot::TRIXIE_REBAR3)?;
        let system = containers::tar(
            &dir,
            "system.tar",
            rebar3.dir(),
            containers::LIBRARIES,
            None,
        )?;
        let release = self.empty("saved-release")?;
        paths::copy(
            &self.rebar3_project()?.join("_build/default/rel/web"),
            &release.join("srv/web"),
        )?;
        fs::write(
            release.join("srv/web/bin/stale"),
            "hidden by the next layer",
        )?;
        fs::write(release.join("srv/web/releases/RELEASES"), "hidden, too")?;
        let release = containers::tar(&dir, "release.tar.gz", &release, &["srv"], Some("gzip"))?;
        let last = self.empty("saved-last")?;
        fs::create_dir_all(last.join("srv/web/bin"))?;
        fs::write(last.join("srv/web/bin/.wh.stale"), "")?;
        let server = last.join("srv/web/bin/server");
        fs::write(
            &server,
            "#!/bin/sh\ncd -P -- \"$(dirname -- \"$0\")\"\nulimit -n 1024\nNODE=node exec ./web foreground\n",
        )?;
        fs::set_permissions(&server, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let last = containers::tar(&dir, "last.tar", &last, &["srv"], None)?;
        let config = Config {
            cmd: &["bin/server"],
            env: &["PORT=8080"],
            dir: "/srv/web",
            user: "nobody",
            port: "8080/tcp",
            ..Config::default()
        };
        containers::save(&dir, &config, &[system, release, last])
    }

    /// Writes an OCI layout: a system with Erlang/OTP, and a shipment.
    pub(super) fn layout(&self) -> Result<PathBuf> {
        let dir = self.empty("layout")?;
        let parts = [containers::LIBRARIES, &["usr/lib/erlang"]].concat();
        let system = containers::tar(
            &dir,
            "system.tar.zst",
            self.sysroot.dir(),
            &parts,
            Some("zstd"),
        )?;
        let ship = self.empty("layout-ship")?;
        paths::copy(&self.shipment()?, &ship.join("srv/ship"))?;
        let ship = containers::tar(&dir, "ship.tar", &ship, &["srv"], None)?;
        let config = Config {
            entrypoint: &["/srv/ship/entrypoint.sh"],
            cmd: &["run", "a b"],
            env: &["GREETING=Grüezi"],
            ..Config::default()
        };
        containers::layout(&dir, &config, &[system, ship])?;
        Ok(dir)
    }
}
