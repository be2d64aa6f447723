//! Two guests of one image at a time.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tyn_vm_host::http;

use super::Bench;
use crate::command::output;
use crate::lab::{ANSWER_LIMIT, GUEST_PORT, STOP_LIMIT, free_ports};

/// A guest in the foreground, killed when this goes.
struct Guest(Child);

impl Guest {
    fn start(bench: &Bench<'_>, port: u16) -> Result<Self> {
        let mut tool = bench.lab.tyn();
        tool.args(["run", "-p", &format!("{port}:{GUEST_PORT}")]);
        tool.arg(&bench.lab.image).stdin(Stdio::null());
        Ok(Self(
            tool.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?,
        ))
    }

    fn answers(&mut self, port: u16) -> Result<()> {
        let has_ended = || self.0.try_wait().is_ok_and(|status| status.is_some());
        let answer = http::wait(port, "/", ANSWER_LIMIT, has_ended);
        let answer = answer.with_context(|| format!("nobody answers at port {port}"))?;
        ensure!(answer.status == 200, "status {}", answer.status);
        Ok(())
    }

    /// Asks it to stop, which it must.
    fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)?;
        let start = Instant::now();
        while self.0.try_wait()?.is_none() && start.elapsed() < STOP_LIMIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.0.kill()?;
        let status = self.0.wait()?;
        ensure!(status.code() == Some(0), "{status} after SIGTERM");
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both serve; who asks for a port or a name that is taken is refused, and nothing of the others changes.
pub(super) fn guests_of_one_image(bench: &Bench<'_>) -> Result<()> {
    let ports = free_ports(3)?;
    let [first, second, third] = ports[..] else {
        bail!("no free ports");
    };
    let image = super::text(&bench.lab.image);
    let before = fs::read(&bench.lab.image)?;
    let mut guests = [Guest::start(bench, first)?, Guest::start(bench, second)?];
    guests[0].answers(first)?;
    guests[1].answers(second)?;
    let taken = format!("{first}:{GUEST_PORT}");
    let want = format!("port {first} of this machine can't be used: Address already in use");
    bench.refused(&["run", "-p", &taken, &image], &want)?;
    bench.refused(&["run", "-d", "-p", &taken, &image], &want)?;
    // One more in the background, which has a name.
    let forward = format!("{third}:{GUEST_PORT}");
    output(
        bench
            .with_state()
            .args(["run", "-d", "-p", &forward, &image, "--name", "third"]),
    )?;
    let refused = bench
        .with_state()
        .args(["run", "-d", &image, "--name", "third"])
        .output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    let answer = http::wait(third, "/", ANSWER_LIMIT, || false);
    let stopped = bench.stops("third");
    ensure!(
        refused.status.code() == Some(125) && said.starts_with("tyn: a guest third runs already"),
        "{}: {said}",
        refused.status
    );
    answer.with_context(|| format!("nobody answers at port {third}"))?;
    stopped?;
    guests[0].answers(first)?;
    guests[1].answers(second)?;
    let [one, other] = guests;
    one.stop()?;
    other.stop()?;
    ensure!(
        fs::read(&bench.lab.image)? == before,
        "the image was written to"
    );
    Ok(())
}
