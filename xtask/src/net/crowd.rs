//! Connections of several processes: one may not have as many descriptors as a server has clients.
//!
//! A part is this program again (`net-clients`), which makes its connections, says `ok`, and asks on all of them for each line
//! that it reads; it ends with its input.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::clients;

/// Connections of a process.
const PART: usize = 15_000;
const FINE: &str = "ok";

/// What a part is told at its start.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of the first connection
    #[arg(long)]
    first: usize,
    /// How many
    #[arg(long)]
    count: usize,
    /// Ask on each when it is made, not only on one of some hundreds
    #[arg(long)]
    ask: bool,
    /// Seconds that a step may take
    #[arg(long)]
    limit: u64,
    /// The server
    server: SocketAddr,
    /// Our addresses
    addresses: Vec<Ipv4Addr>,
}

/// Is one of the processes.
///
/// # Errors
/// When a connection is not made, or not answered.
pub(crate) fn part(options: &Options) -> Result<()> {
    let range = options.first..options.first + options.count;
    let limit = Duration::from_secs(options.limit);
    let after = |made: &[TcpStream]| {
        // Who was accepted last tells that all were: more than a server accepts soon would be forgotten by it.
        let asked = if options.ask { 0 } else { made.len() - 1 };
        clients::ask(made.get(asked..).unwrap_or_default())
    };
    let to = options.server;
    let streams = clients::connect_many(range, &options.addresses, to, limit, after)?;
    println!("{FINE}");
    for line in std::io::stdin().lines() {
        line?;
        clients::ask(&streams)?;
        println!("{FINE}");
    }
    Ok(())
}

#[derive(Debug)]
struct Part {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Part {
    /// Waits until it has done what it was told.
    fn wait(&mut self) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(line.trim_end() == FINE, "clients have failed (see above)");
        Ok(())
    }
}

/// All processes; the connections are closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd(Vec<Part>);

impl Crowd {
    /// Makes connections, one process after the other; asks on each at once if told so.
    ///
    /// # Errors
    /// When one is not made, or not answered.
    pub(crate) fn connect(
        count: usize,
        addresses: &[Ipv4Addr],
        server: SocketAddr,
        limit: Duration,
        asks: bool,
    ) -> Result<Self> {
        let mut crowd = Self(Vec::new());
        for first in (0..count).step_by(PART) {
            let mut command = Command::new("/proc/self/exe");
            command.arg("net-clients");
            command.arg(format!("--first={first}"));
            command.arg(format!("--count={}", PART.min(count - first)));
            command.arg(format!("--limit={}", limit.as_secs()));
            if asks {
                command.arg("--ask");
            }
            command.arg(server.to_string());
            command.args(addresses.iter().map(ToString::to_string));
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().context("no process for clients")?;
            let said = child.stdout.take().context("it says nothing")?;
            crowd.0.push(Part {
                child,
                said: BufReader::new(said),
            });
            let last = crowd.0.last_mut().context("there is one")?;
            last.wait()?;
        }
        Ok(crowd)
    }

    /// Asks on every connection, and waits for all the answers; one process after the other, as what they ask together would
    /// not find room in the queue of the TAP device.
    ///
    /// # Errors
    /// When one is not answered.
    pub(crate) fn ask(&mut self) -> Result<()> {
        for part in &mut self.0 {
            let input = part.child.stdin.as_mut().context("it hears nothing")?;
            input.write_all(b"\n")?;
            part.wait()?;
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for part in &mut self.0 {
            drop(part.child.stdin.take());
        }
        for part in &mut self.0 {
            let _ = part.child.wait();
        }
    }
}
