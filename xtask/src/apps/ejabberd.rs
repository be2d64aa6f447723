//! ejabberd: two users log in over TLS and talk; a wrong password is refused.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{App, Bench};
use crate::command::output;
use crate::sysroot;

const NAME: &str = "ejabberd";
/// Who may register users: the client, through the forwarded port.
const REGISTRATION: &str = "\napi_permissions:\n  \"the client registers its users\":\n    who:\n      ip: 10.0.2.2\n    what: register\n";

pub(super) fn prove(bench: &Bench) -> Result<()> {
    let debians = sysroot::ensure_kind(sysroot::TRIXIE_EJABBERD)?;
    // The package makes both when it is installed: the example with a permission more, and a certificate.
    let example = debians
        .dir()
        .join("usr/share/ejabberd/ejabberd.yml.example");
    let example = fs::read_to_string(example)?;
    let config = example.replace("\napi_permissions:\n", REGISTRATION);
    ensure!(config != example, "the example has no api_permissions");
    let config_file = bench.dir.join("ejabberd.yml");
    fs::write(&config_file, config)?;
    let certificate = bench.dir.join("ejabberd.pem");
    let mut openssl = Command::new("openssl");
    openssl.args(
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout - -out -"
            .split(' '),
    );
    fs::write(&certificate, output(&mut openssl)?)?;

    let running = bench.start(&App {
        name: NAME,
        kind: sysroot::TRIXIE_EJABBERD,
        input: "usr/lib/x86_64-linux-gnu/ejabberd-24.12",
        start: "ejabberd",
        folders: &["/var/lib/ejabberd", "/var/log/ejabberd"],
        env: &[
            "EJABBERD_CONFIG_PATH=/etc/ejabberd/ejabberd.yml",
            "EJABBERD_LOG_PATH=/var/log/ejabberd/ejabberd.log",
            "ERL_INETRC=/etc/ejabberd/inetrc",
        ],
        files: vec![
            ("/etc/ejabberd/ejabberd.yml", config_file),
            ("/etc/ejabberd/ejabberd.pem", certificate),
            (
                "/etc/ejabberd/inetrc",
                debians.dir().join("etc/ejabberd/inetrc"),
            ),
        ],
        ports: &[5222, 5443],
        ready: ":5222 for ejabberd_c2s",
    })?;
    let port = |at: usize| running.ports.get(at).context("a port").map(u16::to_string);
    bench.client(NAME, "login.py", &[port(0)?, port(1)?])?;
    running.stop()
}
