//! `cargo xtask bench flood`: how transfers that are open go on while connection requests are forged as fast as QEMU takes
//! them, Tyn beside Linux guests. Every byte is checked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::guests::Guest;
use super::running::{GUEST, Running, beside};
use super::table::{Better, Row};
use super::{Options, Rivals};
use crate::lab::GUEST_PORT;
use crate::net::flood::Wire;
use crate::net::{Wiring, bulk};

/// Blocks of a transfer that lasts longer than anybody measures.
const ENDLESS: usize = 1_000_000;

/// How much is measured.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Load {
    /// Transfers, half of them each way
    #[arg(long, default_value_t = 24)]
    transfers: usize,
    /// Seconds of each row
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Requests in a second of the flood that has a rate
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// Requests of the flood that ends
    #[arg(long, default_value_t = 30_000)]
    requests: u32,
}

/// Measures all guests in turn and prints the table.
///
/// # Errors
/// When a guest can't be built, or a byte is wrong.
pub(super) fn flood(options: Options, rivals: &Rivals, load: Load) -> Result<()> {
    let what = format!("{} transfers", load.transfers);
    beside(options, rivals, &what, |guest| {
        measure(guest, options, load)
    })
}

/// Boots a guest and measures all rows.
fn measure(guest: &Guest, options: Options, load: Load) -> Result<Vec<Row>> {
    let running = Running::boot(guest, options, Wiring::Wire)?;
    let result = rows(&running, load);
    result.with_context(|| format!("console: {}", running.vm.console()))
}

/// Transfers that are under way.
struct Transfers {
    streams: Vec<TcpStream>,
    /// Bytes of each.
    moved: Vec<AtomicU64>,
    /// They may end.
    is_over: AtomicBool,
}

impl Transfers {
    fn open(count: usize) -> Result<Self> {
        let address = (GUEST, bulk::PORT).into();
        let wish = |n: usize| format!("{} {ENDLESS}\n", ["give", "take"][n % 2]);
        let streams = (0..count).map(|n| bulk::open(address, &wish(n), None));
        Ok(Self {
            streams: streams.collect::<Result<_>>()?,
            moved: (0..count).map(|_| AtomicU64::new(0)).collect(),
            is_over: AtomicBool::new(false),
        })
    }

    /// Moves the bytes of the `n`th until all end.
    fn run(&self, n: usize) -> Result<()> {
        let block = bulk::block();
        let mut got = vec![0; bulk::BLOCK];
        let mut at = 0;
        let mut stream = &self.streams[n];
        let comes = n.is_multiple_of(2);
        loop {
            let moved = if comes {
                stream.read(&mut got[at..])
            } else {
                stream.write(&block[at..])
            };
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let moved = moved.with_context(|| format!("transfer {n}"))?;
            ensure!(moved > 0, "transfer {n} ended");
            if comes {
                ensure!(
                    got[at..at + moved] == block[at..at + moved],
                    "a byte is wrong"
                );
            }
            at = (at + moved) % bulk::BLOCK;
            self.moved[n].fetch_add(moved as u64, Ordering::Relaxed);
        }
    }

    fn count(&self) -> Vec<u64> {
        self.moved
            .iter()
            .map(|m| m.load(Ordering::Relaxed))
            .collect()
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        for stream in &self.streams {
            // What is over already is what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn rows(running: &Running, load: Load) -> Result<Vec<Row>> {
    let transfers = Transfers::open(load.transfers)?;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..load.transfers)
            .map(|n| {
                scope.spawn({
                    let transfers = &transfers;
                    move || transfers.run(n)
                })
            })
            .collect();
        let rows = phases(running, &transfers, load);
        transfers.end();
        for one in all {
            one.join()
                .map_err(|_| anyhow::anyhow!("a transfer panicked"))??;
        }
        rows
    })
}

/// What came to pass in some time.
fn phase(
    name: &str,
    transfers: &Transfers,
    wire: &Wire,
    during: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Row>> {
    let (start, before, answers) = (Instant::now(), transfers.count(), wire.answers());
    during()?;
    let (took, after) = (start.elapsed().as_secs_f64(), transfers.count());
    let answers = (wire.answers() - answers) as f64 / took;
    let moved: Vec<_> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    let rate = |first: usize| {
        let sum: u64 = moved.iter().skip(first).step_by(2).sum();
        sum as f64 / 1024.0 / took
    };
    let row = |what: &str, unit, better, value| Row {
        name: format!("{what}, {name}"),
        unit,
        better,
        value,
    };
    let alive = moved.iter().filter(|m| **m > 0).count();
    Ok(vec![
        row("from the guest", "KiB/s", Better::More, rate(0)),
        row("to the guest", "KiB/s", Better::More, rate(1)),
        row("transfers that moved", "of all", Better::More, alive as f64),
        row("requests answered", "1/s", Better::More, answers),
    ])
}

fn phases(running: &Running, transfers: &Transfers, load: Load) -> Result<Vec<Row>> {
    let wire = running.wire.as_ref().context("there is a wire")?;
    let time = Duration::from_secs(load.seconds);
    let pause = || {
        std::thread::sleep(time);
        Ok(())
    };
    let mut sent = 0;
    let mut send = |count: u32| {
        sent += count;
        wire.flood(GUEST, GUEST_PORT, sent - count..sent)
    };
    let phase =
        |name: &str, during: &mut dyn FnMut() -> Result<()>| phase(name, transfers, wire, during);
    // What is translated when it is first used is not measured.
    std::thread::sleep(Duration::from_secs(3));
    let mut rows = phase("before", &mut pause.clone())?;
    rows.extend(phase("one flood", &mut || send(load.requests))?);
    rows.extend(phase("after it", &mut pause.clone())?);
    let name = format!("{} requests a second", load.rate);
    rows.extend(phase(&name, &mut || {
        let start = Instant::now();
        for n in 1..=100 * load.seconds {
            send(load.rate / 100)?;
            let next = start + Duration::from_millis(10 * n);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    })?);
    rows.extend(phase("requests without pause", &mut || {
        let start = Instant::now();
        while start.elapsed() < time {
            send(100)?;
        }
        Ok(())
    })?);
    rows.extend(phase("after that", &mut pause.clone())?);
    Ok(rows)
}
