//! TLS between the scenarios and OpenSSL's programs on this machine, as server and as client, by versions 1.2 and 1.3.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::super::Tally;
use super::{Run, compare, environment, good, keep, tail};
use crate::command::output;
use crate::lab::free_ports;
use crate::scenarios::Scenarios;

/// OpenSSL's names of the versions, and what the scenarios call the port of the server that speaks only that one.
const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "SERVER_TLS_1_2"), ("-tls1_3", "SERVER_TLS_1_3")];
/// The port on which the scenarios serve in a guest.
const GUEST_PORT: u16 = 4433;
/// This machine, as guests on QEMU's user network see it.
const HOST_ADDRESS: &str = "10.0.2.2";
/// How long an OpenSSL program may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Runs the cases.
///
/// # Errors
/// When OpenSSL's programs can't be started.
pub(super) fn run(scenarios: &Scenarios, tally: &mut Tally) -> Result<()> {
    let keys = Keys::new()?;
    for (case, clients_are_ours) in [("host_tls_client", false), ("host_tls_server", true)] {
        let linux = on_linux(scenarios, &keys, case, clients_are_ours)?;
        let tyn = in_guest(scenarios, &keys, case, clients_are_ours)?;
        keep(case, &linux, &tyn)?;
        let (expected, found) = (linux.transcripts(), tyn.transcripts());
        let result = match (expected.get(case), found.get(case)) {
            (Some(expected), Some(found)) => good(expected).and_then(|()| compare(expected, found)),
            (None, _) => Err(anyhow::anyhow!("not run on Linux: {}", tail(&linux.errors))),
            (_, None) => Err(anyhow::anyhow!("not run: {}", tail(&tyn.errors))),
        };
        tally.count(case, result);
    }
    Ok(())
}

fn on_linux(scenarios: &Scenarios, keys: &Keys, case: &str, asks: bool) -> Result<Run> {
    let port = *free_ports(1)?.first().context("no free port")?;
    let servers = Servers::start(keys)?;
    let mut env = keys.environment(case, &servers)?;
    env.push(("HOST_ADDRESS", Ipv4Addr::LOCALHOST.to_string()));
    env.push(("TLS_PORT", port.to_string()));
    talk(scenarios.on_linux(&env)?, keys, asks.then_some(port))
}

fn in_guest(scenarios: &Scenarios, keys: &Keys, case: &str, asks: bool) -> Result<Run> {
    let port = *free_ports(1)?.first().context("no free port")?;
    let servers = Servers::start(keys)?;
    let mut env = keys.environment(case, &servers)?;
    env.push(("HOST_ADDRESS", HOST_ADDRESS.to_owned()));
    env.push(("TLS_PORT", GUEST_PORT.to_string()));
    let mut command = scenarios.in_guest(2, "512M", &env);
    command.args(["-p", &format!("{port}:{GUEST_PORT}")]);
    talk(command, keys, asks.then_some(port))
}

/// Runs the scenarios; once they listen, asks on `port` by each version.
fn talk(command: Command, keys: &Keys, port: Option<u16>) -> Result<Run> {
    let mut asked = Ok(());
    let run = Run::of(command, |line| {
        if let (Some(port), "listening") = (port, line) {
            asked = VERSIONS
                .iter()
                .try_for_each(|(version, _)| ask(keys, port, version));
        }
    })?;
    asked.with_context(|| tail(&run.errors)).map(|()| run)
}

/// Asks as `openssl s_client`, which checks the certificate.
fn ask(keys: &Keys, port: u16, version: &str) -> Result<()> {
    let mut client = Command::new("openssl");
    client
        .args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error"])
        .args(["-servername", NAME, "-verify_hostname", NAME])
        .args([version, "-connect", &format!("127.0.0.1:{port}")])
        .arg("-CAfile")
        .arg(keys.path("ca.pem"));
    let mut client = Program(
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let mut input = client.0.stdin.take().context("standard input is a pipe")?;
    let output = client
        .0
        .stdout
        .take()
        .context("standard output is a pipe")?;
    input.write_all(b"hello\n")?;
    let mut answer = String::new();
    BufReader::new(output).read_line(&mut answer)?;
    ensure!(
        answer == "you said hello\n",
        "openssl s_client {version} got '{}'",
        answer.trim()
    );
    drop(input);
    let status = client.0.wait()?;
    ensure!(
        status.success(),
        "openssl s_client {version} ended: {status}"
    );
    Ok(())
}

/// The server's name in its certificate.
const NAME: &str = "tyn.test";

/// An authority, and a certificate that it signed.
struct Keys(TempDir);

impl Keys {
    fn new() -> Result<Self> {
        let keys = Self(tempfile::tempdir()?);
        let dir = keys.0.path();
        fs::write(
            dir.join("extensions"),
            format!("subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n"),
        )?;
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        openssl(
            dir,
            &[
                &["req", "-x509", "-days", "30", "-subj", "/CN=Test authority"][..],
                &key,
                &["-keyout", "ca.key", "-out", "ca.pem"],
            ],
        )?;
        openssl(
            dir,
            &[
                &["req", "-subj", "/CN=tyn.test"][..],
                &key,
                &["-keyout", "key.pem", "-out", "request"],
            ],
        )?;
        openssl(
            dir,
            &[
                &[
                    "x509", "-req", "-days", "30", "-in", "request", "-CA", "ca.pem",
                ][..],
                &[
                    "-CAkey",
                    "ca.key",
                    "-set_serial",
                    "7",
                    "-extfile",
                    "extensions",
                ],
                &["-out", "cert.pem"],
            ],
        )?;
        Ok(keys)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn environment(&self, case: &str, servers: &Servers) -> Result<Vec<(&'static str, String)>> {
        let mut env = environment(case);
        for (variable, file) in [
            ("CA_PEM", "ca.pem"),
            ("CERT_PEM", "cert.pem"),
            ("KEY_PEM", "key.pem"),
        ] {
            // Base64 in one line.
            let mut base64 = Command::new("openssl");
            base64.args(["base64", "-A", "-in"]).arg(self.path(file));
            env.push((variable, output(&mut base64)?));
        }
        for ((_, variable), port) in VERSIONS.iter().zip(&servers.ports) {
            env.push((variable, port.to_string()));
        }
        Ok(env)
    }
}

fn openssl(dir: &Path, args: &[&[&str]]) -> Result<()> {
    let mut command = Command::new("openssl");
    output(command.current_dir(dir).args(args.concat())).map(drop)
}

/// A child that ends with us.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `openssl s_server` for each version; sends back each line in reverse.
struct Servers {
    ports: Vec<u16>,
    _programs: Vec<Program>,
}

impl Servers {
    fn start(keys: &Keys) -> Result<Self> {
        let ports = free_ports(VERSIONS.len())?;
        let mut programs = Vec::new();
        for ((version, _), port) in VERSIONS.iter().zip(&ports) {
            let mut server = Command::new("openssl");
            server
                .args(["s_server", "-quiet", "-rev", version])
                .args(["-accept", &format!("127.0.0.1:{port}")])
                .arg("-cert")
                .arg(keys.path("cert.pem"))
                .arg("-key")
                .arg(keys.path("key.pem"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            programs.push(Program(server.spawn()?));
            wait_for(*port)?;
        }
        Ok(Self {
            ports,
            _programs: programs,
        })
    }
}

/// Waits until somebody listens; the connection is closed at once, which the servers take for a failed handshake.
fn wait_for(port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < START_LIMIT {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("openssl s_server does not listen on port {port}")
}
