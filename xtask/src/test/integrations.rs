//! Tests of `integrations/`: what Mix and rebar3 make of a project's folder in one command, on a real terminal and without one.
//! The projects are the examples, so these are their tests, too.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tyn_vm_host::http;

use super::Tally;
use crate::command::{self, output};
use crate::lab::{self, ANSWER_LIMIT, Lab, STOP_LIMIT};
use crate::paths;
use crate::screen::Screen;
use crate::sysroot::{self, Sysroot};

/// Runs all tests of the integrations.
pub(super) fn run() -> Result<Tally> {
    let tools = Tools {
        lab: Lab::new()?,
        elixir: sysroot::ensure_kind(sysroot::TRIXIE_ELIXIR)?,
        rebar3: sysroot::ensure_kind(sysroot::TRIXIE_REBAR3)?,
    };
    let mut tally = Tally::default();
    tally.count("mix_tyn_passes_its_own_tests", mix_tests(&tools));
    tally.count("rebar3_tyn_passes_its_own_tests", rebar3_tests(&tools));
    tally.count(
        "mix_tyn_run_builds_serves_and_stops_by_ctrl_c",
        mix_run(&tools),
    );
    tally.count(
        "rebar3_tyn_run_serves_by_a_rust_nif_and_leaves_nothing_behind",
        rebar3_run(&tools),
    );
    Ok(tally)
}

struct Tools {
    lab: Lab,
    elixir: Sysroot,
    rebar3: Sysroot,
}

impl Tools {
    /// Returns mix; its archives are ours.
    fn mix(&self) -> Result<Command> {
        let mut mix = self.elixir.elixir()?;
        mix.arg(self.elixir.mix());
        mix.env("MIX_HOME", folder()?.join("mix-home"));
        mix.env("TYN", &self.lab.tool);
        Ok(mix)
    }

    fn rebar3(&self) -> Result<Command> {
        let mut rebar3 = self.rebar3.erl()?;
        rebar3
            .args(["-run", "escript", "start", "-extra"])
            .arg(self.rebar3.dir().join("usr/bin/rebar3"));
        rebar3.env("REBAR_CACHE_DIR", folder()?.join("rebar3-cache"));
        rebar3.env("TYN", &self.lab.tool);
        Ok(rebar3)
    }
}

fn folder() -> Result<PathBuf> {
    let dir = paths::target().join("integrations");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn source(name: &str) -> PathBuf {
    paths::root().join("integrations").join(name)
}

fn mix_tests(tools: &Tools) -> Result<()> {
    let mut mix = tools.mix()?;
    mix.arg("test")
        .current_dir(source("mix_tyn"))
        .env("MIX_BUILD_PATH", folder()?.join("mix_tyn"));
    expect(&output(&mut mix)?, ", 0 failures")?;
    let mut format = tools.mix()?;
    format.args(["format", "--check-formatted"]);
    command::run(format.current_dir(source("mix_tyn")))
}

fn rebar3_tests(tools: &Tools) -> Result<()> {
    let mut rebar3 = tools.rebar3()?;
    rebar3
        .arg("eunit")
        .current_dir(source("rebar3_tyn"))
        .env("REBAR_BASE_DIR", folder()?.join("rebar3_tyn"));
    expect(&output(&mut rebar3)?, " tests, 0 failures")
}

/// From a project's folder to an answer and back, on a terminal of which Mix is the program.
fn mix_run(tools: &Tools) -> Result<()> {
    let archive = folder()?.join("mix_tyn.ez");
    let mut build = tools.mix()?;
    build.args(["archive.build", "-o"]).arg(&archive);
    build.env("MIX_BUILD_PATH", folder()?.join("mix_tyn-archive"));
    output(build.current_dir(source("mix_tyn")))?;
    output(
        tools
            .mix()?
            .args(["archive.install", "--force"])
            .arg(&archive),
    )?;
    let project = copy("elixir_http")?;
    replace(
        &project.join("mix.exs"),
        "start_permanent",
        &format!(
            "tyn: [build: [sysroot: {:?}], run: [memory: \"256M\"]],\n      start_permanent",
            tools.elixir.dir()
        ),
    )?;
    let port = one_port()?;
    let mut mix = tools.mix()?;
    mix.args(["tyn.run", "-p", &format!("{port}:8080")])
        .env("MIX_ENV", "prod");
    let script = format!(
        "cd '{}'\nbefore=$(stty -g)\n{}\necho \"code $?\"\n\
         [ \"$(stty -g)\" = \"$before\" ] && echo 'terminal restored' || stty -a\nsleep 1000\n",
        project.display(),
        shell_line(&mix)
    );
    let screen = Screen::start(&script, 200, 50)?;
    screen.wait_for("listening on port 8080")?;
    let answer = http::get(port, "/", ANSWER_LIMIT)?;
    expect(&answer.body, "Hello from Elixir 1.18")?;
    screen.keys(&["C-c"])?;
    screen.wait_for("tyn: stopping the guest")?;
    super::tty::ended(&screen, 0)
}

/// Without a terminal; and then the plugin's VM is killed.
fn rebar3_run(tools: &Tools) -> Result<()> {
    let project = copy("rust_nif")?;
    let _ = fs::remove_dir_all(project.join("_checkouts"));
    fs::create_dir(project.join("_checkouts"))?;
    symlink(source("rebar3_tyn"), project.join("_checkouts/rebar3_tyn"))?;
    replace(
        &project.join("rebar.config"),
        "{tyn, [",
        &format!(
            "{{tyn, [{{build, [strip_elf, {{sysroot, {:?}}}]}}, ",
            tools.rebar3.dir()
        ),
    )?;
    let port = one_port()?;
    let mut rebar3 = tools.rebar3()?;
    rebar3.args(["tyn", "run", "--", "-p", &format!("{port}:8080")]);
    let rebar3 = rebar3.current_dir(&project).stdin(Stdio::null());
    let mut running = Running(
        rebar3
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let answer = asked(port, &mut running).context("the guest of rebar3 does not answer");
    let output = running.kill()?;
    let body = answer.with_context(|| output.clone())?;
    expect(&body, "Rust on OTP 27 found 78498 primes below 1000000")?;
    expect(&output, "listening on port 8080")?;
    // What answered has no symbols any more; other files of the image never had any.
    let image = fs::read(project.join("_build/default/tyn/rust_nif.img"))?;
    let has = |name: &[u8]| image.windows(name.len()).any(|part| part == name);
    ensure!(
        has(b"nif_init") && !has(b".symtab\0"),
        "the NIF is not stripped"
    );
    expect(&output, "tyn: stopping the guest")
}

/// Asks as soon as somebody answers.
fn asked(port: u16, rebar3: &mut Running) -> Result<String> {
    let start = Instant::now();
    let body = loop {
        let ended = rebar3.0.try_wait()?;
        match http::get(port, "/primes/1000000", ANSWER_LIMIT) {
            Ok(answer) => break answer.body,
            Err(error) if ended.is_some() || start.elapsed() > ANSWER_LIMIT => bail!(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    let panic = http::get(port, "/panic", ANSWER_LIMIT)?;
    expect(&panic.body, "a panic is the exception nif_panicked")?;
    Ok(body)
}

struct Running(Child);

impl Running {
    /// Kills the process, and returns what it and all that it started have written when the last of them is gone.
    fn kill(&mut self) -> Result<String> {
        self.0.kill()?;
        self.0.wait()?;
        let mut stdout = self.0.stdout.take().context("standard output is a pipe")?;
        let mut stderr = self.0.stderr.take().context("standard error is a pipe")?;
        let (sender, texts) = channel();
        let other = sender.clone();
        let read = |from: &mut dyn Read| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes)
                .map(|_| String::from_utf8_lossy(&bytes).into_owned())
        };
        std::thread::spawn(move || sender.send(read(&mut stdout)));
        std::thread::spawn(move || other.send(read(&mut stderr)));
        let mut said = String::new();
        for _ in 0..2 {
            let text = texts.recv_timeout(STOP_LIMIT);
            said += &text.context("what rebar3 started goes on without it")??;
        }
        Ok(said)
    }
}

fn one_port() -> Result<u16> {
    lab::free_ports(1)?.pop().context("no free port")
}

/// Copies an example to where it may be changed; what was built there before is kept.
fn copy(example: &str) -> Result<PathBuf> {
    let dir = folder()?.join(example);
    fs::create_dir_all(&dir)?;
    let from = paths::root().join("examples").join(example);
    output(
        Command::new("cp")
            .args(["-r", "--no-preserve=mode"])
            .arg(from.join("."))
            .arg(&dir),
    )?;
    Ok(dir)
}

fn replace(file: &Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(file)?;
    ensure!(text.contains(from), "{} has no '{from}'", file.display());
    Ok(fs::write(file, text.replacen(from, to, 1))?)
}

fn expect(text: &str, wanted: &str) -> Result<()> {
    ensure!(text.contains(wanted), "'{wanted}' is not in: {text}");
    Ok(())
}

/// Returns the command as a shell takes it.
fn shell_line(command: &Command) -> String {
    let quoted = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy().replace('\'', "'\\''");
        format!("'{word}'")
    };
    let mut words = vec!["env".to_owned()];
    for (name, value) in command.get_envs() {
        let value = value.unwrap_or_default();
        words.push(format!("{}={}", name.to_string_lossy(), quoted(value)));
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}
