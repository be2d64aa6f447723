//! `cargo xtask demo`: builds everything, boots the example with the `tyn` tool, asks it, and shows what that cost.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tyn_vm_host::http::{self, Response};
use tyn_vm_host::memory;

use crate::lab::{ANSWER_LIMIT, GUEST_PORT, Lab, STOP_LIMIT, free_ports};

/// Memory of the demonstrated guest in MiB.
const MEMORY_MIB: u64 = 512;

/// Options of the demonstration.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Stop after the answer, with exit code 0 when all went well
    #[arg(long)]
    check: bool,
    /// Port on this machine (with --check any free one)
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
}

/// A child that ends with us.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = terminate(&self.0);
        let _ = self.0.wait();
    }
}

/// Builds, boots, asks, measures; stays up until Ctrl-C unless only a check is wanted.
///
/// # Errors
/// What can't be built, or why the guest does not answer.
pub(crate) fn demo(options: Options) -> Result<()> {
    let lab = Lab::new()?;
    let port = match options.check {
        true => *free_ports(1)?.first().context("no free port")?,
        false => options.port,
    };
    let mut command = lab.tyn();
    command
        .args(["run", "--cpus", &options.cpus.to_string()])
        .args(["--memory", &format!("{MEMORY_MIB}M")])
        .args(["-p", &format!("{port}:{GUEST_PORT}")])
        .arg(&lab.image);
    show(&command);
    // Ctrl-C reaches the tool, too, which stops the guest; we wait for it.
    ctrlc::set_handler(|| {}).context("Ctrl-C can't be handled")?;
    let start = Instant::now();
    let mut tool = Tool(command.spawn().context("the tyn tool can't be started")?);
    let answer = wait_http(&mut tool.0, port)?;
    let took = start.elapsed();
    println!(
        "GET http://127.0.0.1:{port}/ answered {}: {}",
        answer.status,
        answer.body.trim()
    );
    println!("boot to HTTP: {:.2} s", took.as_secs_f64());
    print_memory(&tool.0, MEMORY_MIB);
    ensure!(answer.status == 200, "the answer is not 200");
    if options.check {
        terminate(&tool.0)?;
        return stopped(&mut tool.0);
    }
    println!("running until Ctrl-C");
    let status = tool.0.wait()?;
    ensure!(status.success(), "tyn ended: {status}");
    Ok(())
}

/// Says what is run.
pub(crate) fn show(command: &Command) {
    let words = command.get_args().map(|a| a.to_string_lossy().into_owned());
    println!("tyn {}", words.collect::<Vec<_>>().join(" "));
}

/// Waits for the first answer, or the end of the tool.
fn wait_http(tool: &mut Child, port: u16) -> Result<Response> {
    let mut ended = None;
    let answer = http::wait(port, "/", ANSWER_LIMIT, || {
        ended = tool.try_wait().ok().flatten();
        ended.is_some()
    });
    match (answer, ended) {
        (Some(answer), _) => Ok(answer),
        (None, Some(status)) => bail!("tyn ended before the guest answered: {status}"),
        (None, None) => bail!("the guest did not answer within {ANSWER_LIMIT:?}"),
    }
}

fn terminate(tool: &Child) -> Result<()> {
    let pid = Pid::from_child(tool);
    kill_process(pid, Signal::TERM).context("tyn can't be asked to stop")
}

/// The guest stops by itself, and its exit status 0 is the tool's.
fn stopped(tool: &mut Child) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < STOP_LIMIT {
        if let Some(status) = tool.try_wait()? {
            ensure!(status.success(), "after SIGTERM tyn ended: {status}");
            println!("stopped by SIGTERM: {:.2} s", start.elapsed().as_secs_f64());
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    tool.kill()?;
    bail!("after SIGTERM the guest did not stop within {STOP_LIMIT:?}")
}

/// Prints how much memory the machine takes; QEMU is the tool's only child.
pub(crate) fn print_memory(tool: &Child, memory_mib: u64) {
    let pid = tool.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let Some(qemu) = children
        .ok()
        .and_then(|c| c.split_whitespace().next().map(str::to_owned))
    else {
        println!("memory: unknown (no /proc/{pid}/task/{pid}/children)");
        return;
    };
    let smaps = fs::read_to_string(format!("/proc/{qemu}/smaps")).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{qemu}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let rss: Option<u64> = rss.and_then(|l| l.split_whitespace().next()?.parse().ok());
    let text = |mib: Option<f64>| mib.map_or("unknown".into(), |m| format!("{m:.0} MiB"));
    println!(
        "memory: {} of {memory_mib} MiB touched by the guest, {} resident in QEMU",
        text(memory::touched(&smaps, memory_mib << 20).map(|b| b as f64 / f64::from(1 << 20))),
        text(rss.map(|kib| kib as f64 / 1024.0)),
    );
}
