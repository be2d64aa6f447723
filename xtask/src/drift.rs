//! `cargo xtask drift`: the guest's wall clock beside this machine's, for as long as one likes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tyn_vm_host::{Forward, Machine};

use crate::lab::{ANSWER_LIMIT, Guest, Lab, free_ports};
use crate::{beside, paths};

/// Where `tests/vm/tyn_clock.erl` listens.
const PORT: u16 = 8081;
/// Most that the clock may be off at the beginning, in seconds: the real-time clock tells whole ones.
const MOST_OFF: f64 = 1.0;
/// Most by which it may go away from that, in seconds.
const MOST_DRIFT: f64 = 0.01;
/// Readings of which the one that came back soonest counts.
const TRIES: usize = 20;
/// Time between two groups of readings.
const PAUSE: Duration = Duration::from_secs(30);

/// Options of the command.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// For how long
    #[arg(long, default_value_t = 30)]
    minutes: u32,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Machine type: q35, pc or microvm
    #[arg(long, default_value_t = Machine::Q35)]
    machine: Machine,
}

/// Compares the clocks.
///
/// # Errors
/// When they differ too much, or more and more.
pub(crate) fn drift(options: Options) -> Result<()> {
    let lab = Lab::new()?;
    let mut config = lab.config(options.machine, options.cpus, 1)?;
    let source = paths::root().join("tests/vm/tyn_clock.erl");
    config.initrd = beside::image(&lab.image, &source, "clock")?;
    let host = free_ports(1)?.remove(0);
    config.forwards.push(Forward { host, guest: PORT });
    let guest = Guest::boot(&config)?;
    // The module is started after the example, which has answered already; until then the connection is closed at once.
    let start = Instant::now();
    let mut stream = loop {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        if offset(&mut stream).is_ok() {
            break stream;
        }
        ensure!(
            start.elapsed() < ANSWER_LIMIT,
            "the guest's clock does not answer"
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    let first = best(&mut stream)?;
    println!(
        "{}: the guest's clock is {first:+.4} s off at the beginning",
        options.machine
    );
    ensure!(first.abs() <= MOST_OFF, "more than {MOST_OFF} s");
    let start = Instant::now();
    let end = Duration::from_secs(60 * u64::from(options.minutes));
    let mut worst = 0.0_f64;
    while start.elapsed() < end {
        std::thread::sleep(PAUSE.min(end.saturating_sub(start.elapsed())));
        let off = best(&mut stream)? - first;
        worst = worst.max(off.abs());
        println!(
            "after {:4.0} s: {:+.3} ms",
            start.elapsed().as_secs_f64(),
            off * 1e3
        );
    }
    println!(
        "at most {:.3} ms off what it was at the beginning",
        worst * 1e3
    );
    ensure!(worst <= MOST_DRIFT, "more than {} ms", MOST_DRIFT * 1e3);
    drop(stream);
    guest.shut_down()
}

/// Returns how much the guest's clock is ahead of ours in seconds, as the reading tells that came back soonest.
fn best(stream: &mut TcpStream) -> Result<f64> {
    let readings: Vec<(f64, f64)> = (0..TRIES).map(|_| offset(stream)).collect::<Result<_>>()?;
    let soonest = readings.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    soonest.map(|(_, offset)| offset).context("no reading")
}

/// Reads the guest's clock once: how long that took, and how much it is ahead, in seconds.
fn offset(stream: &mut TcpStream) -> Result<(f64, f64)> {
    let now = || -> Result<f64> { Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64()) };
    let asked = now()?;
    stream.write_all(&[0])?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    let answered = now()?;
    let said = u64::from_be_bytes(answer) as f64 / 1e6;
    Ok((answered - asked, said - f64::midpoint(asked, answered)))
}
