//! RabbitMQ: 10,000 messages through a classic and a quorum queue, and the management page in a browser.

use anyhow::{Context, Result};

use super::{App, Bench};
use crate::{debian, sysroot};

const NAME: &str = "rabbitmq";
const MESSAGES: u32 = 10_000;

pub(super) fn prove(bench: &Bench) -> Result<()> {
    debian::ensure_program("chromium", "chromium")?;
    debian::ensure_program("chromedriver", "chromium-driver")?;
    let files = Bench::files(NAME);
    let etc = |name: &str| files.join(name);
    let running = bench.start(&App {
        name: NAME,
        kind: sysroot::TRIXIE_RABBITMQ,
        input: "usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5",
        start: "rabbit:boot",
        folders: &["/var/lib/rabbitmq", "/var/log/rabbitmq"],
        env: &[],
        files: vec![
            ("/etc/rabbitmq/rabbitmq.conf", etc("rabbitmq.conf")),
            ("/etc/rabbitmq/enabled_plugins", etc("enabled_plugins")),
        ],
        ports: &[5672, 15672],
        ready: "Server startup complete",
    })?;
    let port = |at: usize| running.ports.get(at).context("a port").map(u16::to_string);
    bench.client(NAME, "messages.py", &[port(0)?, MESSAGES.to_string()])?;
    let picture = bench.dir.join("rabbitmq.png").display().to_string();
    bench.client(NAME, "page.py", &[port(1)?, picture])?;
    running.stop()
}
