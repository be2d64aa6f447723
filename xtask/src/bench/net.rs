//! `cargo xtask bench net`: what the example's server bears over a TAP device, Tyn beside Linux guests.
//!
//! Load comes from `wrk` and from this program, on the same machine as the guest. CPU time is QEMU's, all threads
//! together. Ratios are such that more than 1 means that Tyn is better.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::guests::Guest;
use super::running::{GUEST, Running, beside};
use super::table::{Better, Row};
use super::{Options, Rivals};
use crate::lab::GUEST_PORT;
use crate::net::crowd::Crowd;
use crate::net::{Wiring, bulk, clients};
use crate::{command, debian};

/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(240);

/// How much is measured.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Load {
    /// Seconds for each number of connections
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Blocks of 64 KiB to transfer each way
    #[arg(long, default_value_t = 2000)]
    blocks: usize,
    /// Connections that are open in the last row; 0 leaves it out
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Measures all guests in turn and prints the table.
///
/// # Errors
/// When a guest can't be built, or does not serve.
pub(super) fn net(options: Options, rivals: &Rivals, load: Load) -> Result<()> {
    debian::ensure_program("wrk", "wrk")?;
    let what = format!("{} s a row", load.seconds);
    beside(options, rivals, &what, |guest| {
        measure(guest, options, load)
    })
}

impl Running {
    /// Runs `wrk` and returns what it says, and QEMU's CPU time for each request in microseconds.
    fn wrk(&self, connections: usize, seconds: u32, closes: bool) -> Result<(Wrk, f64)> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "--latency", "--timeout", "60s"])
            .arg(format!("-c{connections}"))
            .arg(format!("-d{seconds}s"));
        if closes {
            wrk.args(["-H", "Connection: close"]);
        }
        wrk.arg(format!("http://{GUEST}:{GUEST_PORT}/"));
        // What is left of the load before is behind the guest when it answers this.
        clients::ask(&clients::connect(1, (GUEST, GUEST_PORT).into(), LIMIT)?)?;
        let before = self.cpu()?;
        let text = command::output(&mut wrk)?;
        let cpu = self.cpu()? - before;
        let said = Wrk::parse(&text).with_context(|| format!("wrk says {text}"))?;
        ensure!(said.requests > 0, "no request was answered: {text}");
        let each = cpu * 1e6 / said.requests as f64;
        Ok((said, each))
    }
}

/// What `wrk` says.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Wrk {
    requests: u64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Wrk {
    fn parse(text: &str) -> Option<Self> {
        let word = |prefix: &str| {
            let mut lines = text.lines().filter_map(|l| l.trim().strip_prefix(prefix));
            lines.next()?.split_whitespace().next()
        };
        let requests = text.lines().find(|l| l.contains(" requests in "))?;
        Some(Self {
            requests: requests.split_whitespace().next()?.parse().ok()?,
            per_second: word("Requests/sec:")?.parse().ok()?,
            p50_ms: milliseconds(word("50%")?)?,
            p99_ms: milliseconds(word("99%")?)?,
        })
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Boots a guest and measures all rows.
fn measure(guest: &Guest, options: Options, load: Load) -> Result<Vec<Row>> {
    let running = Running::boot(guest, options, Wiring::Tap)?;
    let result = rows(&running, load);
    result.with_context(|| format!("console: {}", running.vm.console()))
}

fn rows(running: &Running, load: Load) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut row = |name: String, unit, better, value| {
        rows.push(Row {
            name,
            unit,
            better,
            value,
        });
    };
    // What is compiled or translated when it is first used is not measured.
    running.wrk(10, 1, false)?;
    let mut at_ten = f64::NAN;
    for c in [1, 10, 100, 1000] {
        let (said, each) = running.wrk(c, load.seconds, false)?;
        row(
            format!("keep-alive c={c}"),
            "requests/s",
            Better::More,
            said.per_second,
        );
        row(format!("p50 c={c}"), "ms", Better::Less, said.p50_ms);
        row(format!("p99 c={c}"), "ms", Better::Less, said.p99_ms);
        row(format!("CPU c={c}"), "us/request", Better::Less, each);
        if c == 10 {
            at_ten = each;
        }
    }
    let (said, each) = running.wrk(10, load.seconds, true)?;
    row(
        "new connections c=10".into(),
        "connections/s",
        Better::More,
        said.per_second,
    );
    row(
        "CPU new connection".into(),
        "us/connection",
        Better::Less,
        each,
    );
    let address = (GUEST, bulk::PORT).into();
    let mib = (load.blocks * bulk::BLOCK) as f64 / f64::from(1 << 20);
    let transfers: [(&str, fn(_, _) -> _); 2] = [
        ("from the guest", bulk::from_guest),
        ("to the guest", bulk::to_guest),
    ];
    for (way, transfer) in transfers {
        let _: Duration = transfer(address, load.blocks / 4)?;
        let before = running.cpu()?;
        let took: Duration = transfer(address, load.blocks)?;
        let cpu = running.cpu()? - before;
        row(
            format!("bulk {way}"),
            "MiB/s",
            Better::More,
            mib / took.as_secs_f64(),
        );
        row(
            format!("CPU bulk {way}"),
            "ms/MiB",
            Better::Less,
            cpu * 1e3 / mib,
        );
    }
    if load.connections > 0 {
        rows.extend(beside_others(running, load, at_ten)?);
    }
    Ok(rows)
}

/// Measures what quiet connections cost: memory, and time of others. A request took `alone` without them.
fn beside_others(running: &Running, load: Load, alone: f64) -> Result<[Row; 3]> {
    let count = load.connections;
    let before = running.touched()?;
    let held = hold(running, count)?;
    let grown = running.touched()?.saturating_sub(before);
    let (_, each) = running.wrk(10, load.seconds, false)?;
    drop(held);
    let row = |name: String, unit, value| Row {
        name,
        unit,
        better: Better::Less,
        value,
    };
    Ok([
        row(
            format!("memory for each of {count} connections"),
            "bytes",
            grown as f64 / count as f64,
        ),
        row(
            format!("CPU c=10 beside {count} connections"),
            "us/request",
            each,
        ),
        row("the same over alone".into(), "times", each / alone),
    ])
}

/// Opens connections that have been asked once and are quiet then.
fn hold(running: &Running, count: usize) -> Result<Crowd> {
    let sources = running.tap.add_sources(count)?;
    let server = (GUEST, GUEST_PORT).into();
    Crowd::connect(count, &sources, server, LIMIT, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood() {
        let text = "Running 5s test @ http://x/\n  1 threads and 10 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
            Latency   635.91us    0.89ms  12.92ms   93.69%\n    Req/Sec    56.20k     8.07k   62.00k    86.54%\n  Latency Distribution\n     \
            50%  250.00us\n     75%  491.00us\n     90%  700.00us\n     99%    5.80ms\n  22464 requests in 30.00s, 17.76GB read\n\
            Requests/sec: 748868.53\nTransfer/sec:    606.33MB\n";
        let expected = Wrk {
            requests: 22464,
            per_second: 748_868.53,
            p50_ms: 0.25,
            p99_ms: 5.8,
        };
        assert_eq!(Wrk::parse(text), Some(expected));
        assert_eq!(Wrk::parse("unable to connect"), None);
        assert_eq!(milliseconds("1.50s"), Some(1500.0));
        assert_eq!(milliseconds("7"), None);
    }
}
