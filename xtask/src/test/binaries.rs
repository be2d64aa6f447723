//! Tests with more binaries than the reference's: other releases of OTP and Elixir as Debian built them, scripts, and ways
//! of linking. Each runs in a guest; what can run on this machine runs there first, and must say the same.

mod by_number;

use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::tree::{Node, Source, Tree};
use tyn_vm_host::{Config, Console, Machine, Outcome, Vm};
use walkdir::WalkDir;

use super::{Tally, tty};
use crate::command::{self, output};
use crate::lab::{Guest, Lab, last_words};
use crate::screen::Screen;
use crate::sysroot::{self, Kind, Sysroot};
use crate::{debian, example, paths};

/// Most that a program may take.
const LIMIT: Duration = Duration::from_secs(120);

type Test = fn(&Lab) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("otp_25_serves_and_stops", |lab| {
        erlang(lab, "25", sysroot::BOOKWORM)
    }),
    ("otp_29_serves_and_stops", |lab| {
        erlang(lab, "29", sysroot::SID)
    }),
    ("mix_release_of_elixir_1.18_serves_and_stops", |lab| {
        mix_release(lab, ELIXIR_1_18)
    }),
    ("mix_release_of_elixir_1.20_serves_and_stops", |lab| {
        mix_release(lab, ELIXIR_1_20)
    }),
    ("iex_1.18_edits_and_completes", |lab| iex(lab, ELIXIR_1_18)),
    ("iex_1.20_edits_and_completes", |lab| iex(lab, ELIXIR_1_20)),
    ("iex_1.18_is_reached_from_afar", |lab| {
        iex_from_afar(lab, ELIXIR_1_18)
    }),
    ("escript_is_started_by_its_first_line", escript),
    ("static_program_runs_as_on_linux", |lab| {
        program(lab, "gcc", "static", &["-static"])
    }),
    ("static_pie_program_runs_as_on_linux", |lab| {
        program(lab, "gcc", "static_pie", &["-static-pie"])
    }),
    ("dynamic_pie_program_runs_as_on_linux", |lab| {
        program(lab, "gcc", "dynamic_pie", &["-pie"])
    }),
    ("dynamic_non_pie_program_runs_as_on_linux", |lab| {
        program(lab, "gcc", "dynamic_non_pie", &["-no-pie"])
    }),
    ("musl_program_runs_as_on_linux", |lab| {
        program(lab, "musl-gcc", "musl", &[])
    }),
    ("musl_static_program_runs_as_on_linux", |lab| {
        program(lab, "musl-gcc", "musl_static", &["-static"])
    }),
];

/// An Elixir of Debian.
#[derive(Clone, Copy, Debug)]
struct Elixir {
    version: &'static str,
    otp: &'static str,
    kind: Kind,
}

const ELIXIR_1_18: Elixir = Elixir {
    version: "1.18",
    otp: "27",
    kind: sysroot::TRIXIE_ELIXIR,
};
const ELIXIR_1_20: Elixir = Elixir {
    version: "1.20",
    otp: "29",
    kind: sysroot::SID,
};

impl Elixir {
    fn name(self) -> String {
        format!("elixir_http-{}", self.version)
    }

    /// Returns where the image of the example is.
    fn image(self) -> Result<PathBuf> {
        Ok(folder()?.join(format!("{}.img", self.name())))
    }

    /// Builds the example.
    fn build(self, lab: &Lab) -> Result<()> {
        let sysroot = sysroot::ensure_kind(self.kind)?;
        let release = example::ensure_elixir(&self.name(), &sysroot)?;
        build_image(lab, &sysroot, &release, &self.name()).map(drop)
    }
}

/// Runs all tests with other binaries.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    // Several use them.
    sysroot::ensure_kind(sysroot::BOOKWORM)?;
    for elixir in [ELIXIR_1_18, ELIXIR_1_20] {
        elixir.build(&lab)?;
    }
    debian::ensure_program("gcc", "gcc")?;
    debian::ensure_program("musl-gcc", "musl-tools")?;
    let mut tally = Tally::default();
    tally.count_two_at_a_time(TESTS, |(name, test), tally| tally.count(name, test(&lab)));
    Ok(tally)
}

/// Compiles `tests/binaries/facts.c` and runs it here and there.
fn program(lab: &Lab, compiler: &str, name: &str, flags: &[&str]) -> Result<()> {
    let dir = folder()?;
    let file = dir.join(name);
    let mut compile = Command::new(compiler);
    compile
        .args(["-O1", "-Wall", "-Werror", "-pthread", "-o"])
        .arg(&file)
        .arg(paths::root().join("tests/binaries/facts.c"))
        .args(flags);
    command::run(&mut compile)?;
    let host = Command::new(&file).args(["one", "two words"]).output()?;
    ensure!(
        host.status.code() == Some(42),
        "on Linux it ended with {}",
        host.status
    );
    let path = file.to_string_lossy();
    let mut tree = Tree::default();
    add(&mut tree, &file, &file)?;
    // The libraries are this machine's.
    let system = tyn_release::sysroot::Sysroot::new(Path::new("/"));
    for (path, file) in tyn_release::libraries::find(&tree, &system)? {
        add(&mut tree, &path, &file)?;
    }
    let (console, outcome) = boot(lab, tree, name, &[&path, "one", "two words"])?;
    ensure!(
        outcome == Outcome::Exited(42),
        "it ended with {outcome:?}: {console}"
    );
    let host = String::from_utf8_lossy(&host.stdout);
    ensure!(console == host, "Linux says:\n{host}Tyn says:\n{console}");
    Ok(())
}

/// The reference sysroot as a root file system, and a script of which the first line asks `env` for `escript`.
fn escript(lab: &Lab) -> Result<()> {
    let mut tree = Tree::default();
    for dir in [
        "bin",
        "lib",
        "lib64",
        "sbin",
        "usr/bin",
        "usr/lib/erlang",
        "usr/lib/locale",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib64",
    ] {
        add_all(&mut tree, lab.sysroot.dir(), dir)?;
    }
    let script = Path::new("/script.escript");
    add(
        &mut tree,
        script,
        &paths::root().join("tests/binaries/script.escript"),
    )?;
    let (console, outcome) = boot(lab, tree, "escript", &["/script.escript", "één", "two"])?;
    ensure!(
        outcome == Outcome::Exited(2) && console.trim() == "escript één+two on OTP 27, utf8",
        "it ended with {outcome:?} and said: {console}"
    );
    Ok(())
}

fn erlang(lab: &Lab, otp: &str, kind: Kind) -> Result<()> {
    let sysroot = sysroot::ensure_kind(kind)?;
    let name = format!("erlang_http-otp{otp}");
    let release = example::ensure_as(&name, &sysroot)?;
    let guest = serve(lab, by_number::build(lab, otp, &release, &name)?)?;
    let body = &guest.answer.body;
    ensure!(
        body.starts_with(&format!("Hello from Erlang/OTP {otp} (jit ")),
        "it says: {body}"
    );
    guest.shut_down()
}

fn mix_release(lab: &Lab, elixir: Elixir) -> Result<()> {
    let guest = serve(lab, elixir.image()?)?;
    let Elixir { version, otp, .. } = elixir;
    let body = &guest.answer.body;
    ensure!(
        body.starts_with(&format!("Hello from Elixir {version}."))
            && body.trim().ends_with(&format!("on Erlang/OTP {otp}, utf8")),
        "it says: {body}"
    );
    let console = guest.shut_down_and_read()?;
    ensure!(
        console.contains("listening on port 8080") && !console.contains("latin1"),
        "its console says: {console}"
    );
    Ok(())
}

fn iex(lab: &Lab, elixir: Elixir) -> Result<()> {
    let script = tty::script(lab, &elixir.image()?, "-e GREETING=Moin");
    let screen = Screen::start(&script, 100, 40)?;
    screen.wait_for("iex(elixir_http@elixir-http)1> ")?;
    screen.text("String.upca")?;
    screen.keys(&["Tab"])?;
    screen.wait_for("String.upcase")?;
    screen.text("(\"hél日\")")?;
    screen.keys(&["Left", "Left"])?;
    screen.text("ö")?;
    screen.keys(&["C-e", "Enter"])?;
    screen.wait_lines("\"HÉL日Ö\"", 1)?;
    screen.line("{Application.get_env(:elixir_http, :greeting), :io.columns()}")?;
    screen.wait_lines("{\"Moin\", {:ok, 100}}", 1)?;
    screen.keys(&["C-c"])?;
    screen.wait_for("BREAK: (a)bort")?;
    screen.line("c")?;
    screen.line("System.stop(5)")?;
    tty::ended(&screen, 5)
}

/// `tyn shell`: as `bin/NAME remote` of the release, which names its node by itself.
fn iex_from_afar(lab: &Lab, elixir: Elixir) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut run = lab.tyn();
    run.env("XDG_STATE_HOME", dir.path());
    run.args(["run", "-d", "--name", "afar"]);
    output(run.arg(elixir.image()?))?;
    let result = at_remote_iex(lab, dir.path());
    let mut stop = lab.tyn();
    stop.env("XDG_STATE_HOME", dir.path());
    let stopped = output(stop.args(["stop", "afar", "--timeout", "60"]));
    result?;
    stopped.map(drop)
}

fn at_remote_iex(lab: &Lab, state: &Path) -> Result<()> {
    // The node may still be starting: nobody knows it before it runs.
    let script = format!(
        "trap : INT\nexport XDG_STATE_HOME='{}'\nuntil '{tool}' shell afar; do sleep 0.2; done; echo 'left it'\nsleep 1000\n",
        state.display(),
        tool = lab.tool.display(),
    );
    let screen = Screen::start(&script, 120, 50)?;
    screen.wait_for("iex(elixir_http@elixir-http)1> ")?;
    screen.text("String.upca")?;
    screen.keys(&["Tab"])?;
    screen.wait_for("String.upcase")?;
    screen.line("(\"hél\" <>")?;
    screen.line("\"lö\")")?;
    screen.wait_lines("\"HÉLLÖ\"", 1)?;
    screen.line("IO.puts(\"begun\"); Process.sleep(:infinity)")?;
    screen.wait_lines("begun", 1)?;
    screen.keys(&["C-c"])?;
    screen.wait_for("** (EXIT) interrupted")?;
    // Before the new prompt or after it: what is typed waits for the editor.
    screen.keys(&["C-d"])?;
    screen.wait_lines("left it", 1)
}

fn serve(lab: &Lab, image: PathBuf) -> Result<Guest> {
    let mut config = lab.config(Machine::Q35, 2, 1)?;
    config.initrd = image;
    Guest::boot(&config)
}

fn build_image(lab: &Lab, sysroot: &Sysroot, release: &Path, name: &str) -> Result<PathBuf> {
    let image = folder()?.join(format!("{name}.img"));
    let mut build = lab.tyn();
    build.arg("build").arg(release);
    build.arg("--sysroot").arg(sysroot.dir());
    output(build.arg("--output").arg(&image))?;
    Ok(image)
}

fn folder() -> Result<PathBuf> {
    let dir = paths::target().join("binaries");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Adds the file of this machine as `path`.
fn add(tree: &mut Tree, path: &Path, file: &Path) -> Result<()> {
    let size = fs::metadata(file)?.len();
    tree.insert(
        path,
        Node::File(0o755, Source::Path(file.to_path_buf(), size)),
    )?;
    Ok(())
}

/// Adds a folder, or a link to one, of `root` with all that is in it; one that isn't there is none.
fn add_all(tree: &mut Tree, root: &Path, dir: &str) -> Result<()> {
    for entry in WalkDir::new(root.join(dir)).follow_root_links(false) {
        let Ok(entry) = entry else { continue };
        let path = Path::new("/").join(entry.path().strip_prefix(root)?);
        let data = entry.metadata()?;
        let node = if data.is_dir() {
            Node::Dir(0o755)
        } else if data.is_symlink() {
            Node::Symlink(fs::read_link(entry.path())?)
        } else {
            let mode = data.permissions().mode() & 0o7777;
            Node::File(mode, Source::Path(entry.path().to_path_buf(), data.len()))
        };
        tree.insert(&path, node)
            .with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

/// Boots a guest of these files that runs `args`; returns its console and how it ended.
fn boot(lab: &Lab, mut tree: Tree, name: &str, args: &[&str]) -> Result<(String, Outcome)> {
    let init = Init {
        args: args.iter().map(|a| a.as_bytes()).collect(),
        env: vec![b"PATH=/usr/bin:/bin", b"LANG=C.UTF-8", b"HOME=/root"],
        cwd: b"/",
        hostname: b"binaries",
        ..Init::default()
    };
    let start = Node::File(0o600, Source::Bytes(init.to_bytes()?));
    tree.insert(Path::new(INIT_PATH), start)?;
    for (dir, mode) in [
        ("/tmp", 0o1777),
        ("/proc", 0o555),
        ("/sys", 0o555),
        ("/dev", 0o755),
        ("/root", 0o700),
    ] {
        tree.insert(Path::new(dir), Node::Dir(mode))?;
    }
    let image = folder()?.join(format!("{name}.img"));
    let out = BufWriter::new(fs::File::create(&image)?);
    tree.write(out, Some(0), |_| {})
        .map_err(|(at, error)| anyhow::anyhow!("{}: {error}", at.display()))?;
    let config = Config {
        cpus: 2,
        ..Config::new(&lab.kernel, &image)
    };
    let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
    let Some(outcome) = vm.wait_for(LIMIT)? else {
        bail!("it does not end\n{}", last_words(&vm));
    };
    Ok((vm.console().replace("\r\n", "\n"), outcome))
}
