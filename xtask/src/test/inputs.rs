//! Tests of what an image can be made of: each kind of input is made by its own tools where we have them (mix, rebar3, tar),
//! turned into an image by `tyn build`, and booted. What real start scripts do on this machine is compared with what an
//! image does instead.

mod containers;
mod made;
mod scripts;
mod websocket;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tyn_vm_host::Machine;

use super::Tally;
use crate::command::output;
use crate::lab::{Guest, Lab};
use crate::sysroot;
use crate::{debian, paths};
use made::Made;

/// Where epmd listens.
const EPMD_PORT: u16 = 4369;
/// Most that a guest may take which ends by itself.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs all tests of inputs.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    let made = Made::new(&lab)?;
    let bench = Bench { lab, made };
    let mut tally = Tally::default();
    // On this machine, where nodes meet.
    for (name, test) in SCRIPTS {
        tally.count(name, test(&bench));
    }
    tally.count_two_at_a_time(GUESTS, |(name, test), tally| {
        tally.count(name, test(&bench));
    });
    Ok(tally)
}

type Test = fn(&Bench) -> Result<()>;

const SCRIPTS: &[(&str, Test)] = &[
    ("start_of_mix_release_is_its_script", scripts::mix),
    ("start_of_rebar3_release_is_its_script", scripts::rebar3),
];

const GUESTS: &[(&str, Test)] = &[
    (
        "tarball_of_rebar3_release_without_erts_boots",
        rebar3_tarball,
    ),
    ("cowboy_release_serves_websockets", websocket::chat),
    ("one_of_two_mix_releases_boots_twice", mix_reboot),
    ("gleam_shipment_boots", shipment),
    ("folder_of_modules_boots_stripped_and_compressed", modules),
    ("saved_container_image_boots", saved_image),
    ("layout_of_a_shipment_boots", layout),
];

struct Bench {
    lab: Lab,
    made: Made,
}

impl Bench {
    /// Builds an image; returns it and what the tool said.
    fn build(&self, name: &str, input: &Path, args: &[&str]) -> Result<(PathBuf, String)> {
        let image = folder()?.join(format!("{name}.img"));
        let mut build = self.lab.tyn();
        build.env("XDG_CACHE_HOME", folder()?.join("cache"));
        let build = build.arg("build").arg(input).args(args);
        let done = build.arg("--output").arg(&image).output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "tyn build: {said}");
        Ok((image, said))
    }

    fn sysroot(&self) -> String {
        self.lab.sysroot.dir().display().to_string()
    }

    /// Runs a guest that ends by itself; returns its console and exit status.
    fn run(&self, image: &Path, args: &[&str]) -> Result<(String, Option<i32>)> {
        let mut run = self.lab.tyn();
        let run = run.arg("run").arg(image).args(args);
        let mut child = run
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > LIMIT {
                child.kill()?;
                let said = child.wait_with_output()?;
                bail!("it does not end: {}", String::from_utf8_lossy(&said.stdout));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let done = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&done.stdout).replace("\r\n", "\n");
        Ok((said, done.status.code()))
    }

    /// Boots a guest that serves.
    fn serve(&self, image: &Path) -> Result<Guest> {
        let mut config = self.lab.config(Machine::Q35, 2, 1)?;
        config.initrd = image.to_path_buf();
        Guest::boot(&config)
    }

    /// Expects what `tests/inputs/hello.erl` says.
    fn says_hello(&self, image: &Path, args: &[&str], want: &str) -> Result<()> {
        let (said, status) = self.run(image, args)?;
        ensure!(
            said.contains(want) && status == Some(7),
            "it ended with {status:?} and said: {said}\nwanted: {want}"
        );
        Ok(())
    }
}

fn folder() -> Result<PathBuf> {
    let dir = paths::target().join("inputs");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A tarball as `rebar3 tar` makes it, of a release that takes its run-time system from elsewhere.
fn rebar3_tarball(bench: &Bench) -> Result<()> {
    let project = bench.made.rebar3_project()?;
    let tarball = project.join("_build/bare/rel/web/web-1.2.0.tar.gz");
    let rebar3 = sysroot::ensure_kind(sysroot::TRIXIE_REBAR3)?;
    let otp = rebar3.dir().display().to_string();
    let (image, said) = bench.build("rebar3", &tarball, &["--otp", &otp, "--sysroot", &otp])?;
    ensure!(said.contains("web 1.2.0, ERTS 15.2"), "{said}");
    let mut config = bench.lab.config(Machine::Q35, 2, 2)?;
    config.initrd = image;
    let epmd = config.forwards.last_mut().context("two forwards")?;
    epmd.guest = EPMD_PORT;
    let guest = Guest::boot(&config)?;
    let body = &guest.answer.body;
    ensure!(body.starts_with("Hello from Erlang/OTP 27"), "{body}");
    // Its vm.args give it a name.
    let names = epmd_names(*guest.ports.last().context("two ports")?)?;
    ensure!(names.starts_with("name web at port "), "{names}");
    guest.shut_down()
}

/// Asks epmd which nodes it knows (`NAMES_REQ` of Erlang's distribution protocol).
fn epmd_names(port: u16) -> Result<String> {
    let mut epmd = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    epmd.set_read_timeout(Some(LIMIT))?;
    epmd.write_all(&[0, 1, b'n'])?;
    let mut reply = Vec::new();
    epmd.read_to_end(&mut reply)?;
    // Its own port is in front.
    let names = reply.get(4..).unwrap_or_default();
    Ok(String::from_utf8_lossy(names).into_owned())
}

/// A project with two releases; the chosen one asks for a restart of the VM once its configuration is computed.
fn mix_reboot(bench: &Bench) -> Result<()> {
    let project = bench.made.mix_project()?;
    let sysroot = sysroot::ensure_kind(sysroot::TRIXIE_ELIXIR)?;
    let dir = sysroot.dir().display().to_string();
    let refused = bench.build("none", &project, &["--sysroot", &dir]);
    let refused = refused.err().context("two releases, and none chosen")?;
    let refused = refused.to_string();
    ensure!(
        refused.contains("there are several releases: web, worker"),
        "{refused}"
    );
    let args = ["--sysroot", &dir, "--release", "worker"];
    let (image, _) = bench.build("worker", &project, &args)?;
    let guest = bench.serve(&image)?;
    let body = &guest.answer.body;
    ensure!(body.starts_with("Servus from Elixir 1.18"), "{body}");
    guest.shut_down()
}

fn shipment(bench: &Bench) -> Result<()> {
    let shipment = bench.made.shipment()?;
    // Debian's, from our cache; the first time it is fetched.
    let (image, said) = bench.build("shipment", &shipment, &["--otp", "27"])?;
    ensure!(said.contains("hello, ERTS 15.2"), "{said}");
    let want = "hello from OTP 27, arguments [], variable \"Moin\", apps [crypto], code at /app/hello/ebin\n";
    bench.says_hello(&image, &["-e", "GREETING=Moin"], want)
}

fn modules(bench: &Bench) -> Result<()> {
    let modules = bench.made.modules()?;
    let sysroot = bench.sysroot();
    let shipping = ["--strip-beams", "--strip-elf", "--compress", "--sbom"];
    let [program, loader] = musl_program()?.map(|path| format!("--include={path}"));
    let start = ["--sysroot", &sysroot, "--start", "hello", &program, &loader];
    let args = [&start[..], &shipping].concat();
    let (image, _) = bench.build("modules", &modules, &args)?;
    let bill = fs::read_to_string(image.with_extension("img.cdx.json"))?;
    ensure!(
        bill.contains("\"CycloneDX\"") && bill.contains("\"stdlib\""),
        "{bill}"
    );
    let want = "hello from OTP 27, arguments [], variable false, apps [crypto], code at /app\n";
    let other = "musl's program got 1 argument, a b, status 3\n";
    bench.says_hello(&image, &[], &format!("{want}{other}"))
}

/// Compiles `tests/inputs/other.c` with musl; returns what includes it, and musl itself.
fn musl_program() -> Result<[String; 2]> {
    debian::ensure_program("musl-gcc", "musl-tools")?;
    let file = folder()?.join("other");
    let mut compile = Command::new("musl-gcc");
    compile.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&file);
    output(compile.arg(paths::root().join("tests/inputs/other.c")))?;
    let musl = "/lib/ld-musl-x86_64.so.1";
    let program = format!("{}=/usr/bin/other", file.display());
    Ok([program, format!("{musl}={musl}")])
}

/// What `docker save` writes, of an image with a release and a script of its own in front.
fn saved_image(bench: &Bench) -> Result<()> {
    let saved = bench.made.saved_image()?;
    let (image, said) = bench.build("saved", &saved, &[])?;
    for want in [
        "asks for the user nobody",
        "it serves port 8080",
        "/srv/web/bin/server:3: 'ulimit -n 1024' is not run",
    ] {
        ensure!(said.contains(want), "{said}\nwanted: {want}");
    }
    let guest = bench.serve(&image)?;
    let body = &guest.answer.body;
    ensure!(body.starts_with("Hello from Erlang/OTP 27"), "{body}");
    guest.shut_down()
}

/// An OCI layout with Erlang/OTP in a layer of its own, and a shipment over it.
fn layout(bench: &Bench) -> Result<()> {
    let layout = bench.made.layout()?;
    let (image, _) = bench.build("layout", &layout, &[])?;
    let want = "hello from OTP 27, arguments [\"a b\"], variable \"Grüezi\", apps [crypto], code at /srv/ship/hello/ebin\n";
    bench.says_hello(&image, &[], want)
}

/// Runs a command of ours in a folder.
fn in_folder(command: &mut Command, dir: &Path) -> Result<()> {
    output(command.current_dir(dir)).map(|_| ())
}
