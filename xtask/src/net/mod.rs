//! `cargo xtask net`: what the guest's network bears, measured over a TAP device with this Linux as the peer: connections
//! held, a burst of connections, a flood of requests, great transfers, also over a bad path, several queues, and IPv6. The
//! suite `net` runs the same at the size that CI has time for.

pub(crate) mod bulk;
pub(crate) mod clients;
pub(crate) mod crowd;
pub(crate) mod flood;
mod impaired;
mod ipv6;
pub(crate) mod line;
pub(crate) mod path;
mod queues;
pub(crate) mod tap;
mod tools;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tyn_vm_host::{Config, Console, Machine, MemorySize, Network, Ram, Vm};

use crate::lab::{ANSWER_LIMIT, GUEST_PORT, Lab, STOP_LIMIT, last_words};
use crowd::Crowd;
use flood::Wire;
use path::BadPath;
use tap::Tap;

/// Options of the command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Keep-alive connections to hold; 0 leaves this out
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Connections of the burst; 0 leaves it out
    #[arg(long, default_value_t = 5000)]
    burst: usize,
    /// Packets of the flood; 0 leaves it out
    #[arg(long, default_value_t = 100_000)]
    flood: u32,
    /// Blocks of 64 KiB to transfer each way with each kind of card; 0 leaves this out
    #[arg(long, default_value_t = 2000)]
    blocks: usize,
    /// Blocks of 64 KiB to transfer each way over a path that loses, delays and reorders; 0 leaves this out, 16389 are 1 GiB
    #[arg(long, default_value_t = 300)]
    impaired: usize,
    #[command(flatten)]
    path: line::Impairment,
    /// Memory of the guest
    #[arg(long, default_value = "1G")]
    memory: MemorySize,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Kernel options, e.g. trace
    #[arg(long, default_value = "")]
    append: String,
}

/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs all.
///
/// # Errors
/// When one fails.
pub(crate) fn net(options: &Options) -> Result<()> {
    let lab = Lab::new()?;
    if options.connections > 0 {
        hold(&lab, options)?;
    }
    if options.burst > 0 {
        burst(&lab, options)?;
    }
    if options.flood > 0 {
        flood(&lab, options)?;
    }
    if options.blocks > 0 {
        bulk::transfer(&lab, options, bulk::ALL, options.blocks)?;
    }
    queues::several(&lab, options)?;
    if options.impaired > 0 {
        impaired::transfer(&lab, options)?;
    }
    ipv6::neighbours(&lab, options)
}

/// What is between this machine and the guest.
#[derive(Clone, Copy)]
pub(crate) enum Wiring {
    /// A TAP device.
    Tap,
    /// The same, and somebody who forges frames.
    Wire,
    /// A TAP device and a bad path.
    Path(line::Impairment),
}

/// A guest at the end of a TAP device.
struct Guest {
    vm: Vm,
    wire: Option<Wire>,
    path: Option<BadPath>,
    // Behind the machine: it must go first.
    tap: Tap,
    _dir: tempfile::TempDir,
}

impl Guest {
    /// Boots the example and waits for its first answer.
    fn boot(lab: &Lab, options: &Options, wiring: Wiring) -> Result<Self> {
        Self::boot_as(lab, options, wiring, |_| {})
    }

    /// Boots a machine that was changed, and waits for its first answer.
    fn boot_with(lab: &Lab, options: &Options, change: impl FnOnce(&mut Config)) -> Result<Self> {
        Self::boot_as(lab, options, Wiring::Tap, change)
    }

    fn boot_as(
        lab: &Lab,
        options: &Options,
        wiring: Wiring,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let mut config = Config {
            machine: Machine::Q35,
            cpus: options.cpus,
            memory: options.memory,
            ram: Ram::Memfd,
            append: format!("{} {}", Tap::option(), options.append),
            ..Config::new(&lab.kernel, &lab.image)
        };
        change(&mut config);
        let tap = match config.queue_pairs {
            1 => Tap::new()?,
            _ => Tap::with_queues()?,
        };
        let dir = tempfile::Builder::new().prefix("tyn-net-").tempdir()?;
        let (mut wire, mut path) = (None, None);
        let network = match wiring {
            Wiring::Tap => Network::Tap(tap.name.clone()),
            Wiring::Wire => {
                wire = Some(Wire::new(dir.path())?);
                Network::Hub {
                    tap: tap.name.clone(),
                    sockets: flood::sockets(dir.path()),
                }
            }
            Wiring::Path(how) => {
                let socket = dir.path().join("path");
                path = Some(BadPath::new(&tap.name, &socket, how)?);
                Network::Stream(socket)
            }
        };
        config.network = network;
        let vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
        let guest = Self {
            vm,
            wire,
            path,
            tap,
            _dir: dir,
        };
        let start = Instant::now();
        while clients::connect(1, Tap::guest(GUEST_PORT), Duration::from_secs(5))
            .and_then(|one| clients::ask(&one))
            .is_err()
        {
            ensure!(
                start.elapsed() < ANSWER_LIMIT,
                "the guest does not answer\n{}",
                last_words(&guest.vm)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(guest)
    }

    fn touched(&self) -> Result<u64> {
        self.vm
            .guest_ram_touched()
            .context("the guest's memory can't be seen")
    }

    /// Adds what the guest said to an error.
    fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| last_words(&self.vm))
    }

    fn shut_down(mut self) -> Result<()> {
        self.vm.control().power_down()?;
        let outcome = self.vm.wait_for(STOP_LIMIT)?;
        ensure!(
            outcome == Some(tyn_vm_host::Outcome::Exited(0)),
            "after the power button: {outcome:?}\n{}",
            last_words(&self.vm)
        );
        Ok(())
    }
}

/// Connections that are made, asked, left alone and asked again.
///
/// # Errors
/// When one is lost or not answered.
pub(crate) fn hold(lab: &Lab, options: &Options) -> Result<()> {
    let guest = Guest::boot(lab, options, Wiring::Tap)?;
    let before = guest.touched()?;
    let count = options.connections;
    let start = Instant::now();
    let sources = guest.tap.add_sources(count)?;
    let server = Tap::guest(GUEST_PORT);
    let crowd = Crowd::connect(count, &sources, server, LIMIT, false);
    let mut crowd = guest.explain(crowd)?;
    let connected = start.elapsed();
    let bare = guest.touched()?;
    let start = Instant::now();
    guest.explain(crowd.ask())?;
    let first = start.elapsed();
    std::thread::sleep(Duration::from_secs(3));
    let start = Instant::now();
    guest.explain(crowd.ask())?;
    let second = start.elapsed();
    let start = Instant::now();
    guest.explain(crowd.ask())?;
    let third = start.elapsed();
    let after = guest.touched()?;
    let each = |bytes: u64| bytes.saturating_sub(before) / count as u64;
    eprintln!(
        "          {count} connections made in {connected:.1?}, all answered in {first:.1?}, after a pause in {second:.1?}, \
         once more in {third:.1?}; bytes of guest memory for each: {} connected, {} after two requests",
        each(bare),
        each(after),
    );
    drop(crowd);
    guest.shut_down()
}

/// Connections that are asked for at one and the same time.
///
/// # Errors
/// When one is lost or not answered.
pub(crate) fn burst(lab: &Lab, options: &Options) -> Result<()> {
    let guest = Guest::boot(lab, options, Wiring::Tap)?;
    let start = Instant::now();
    let streams = guest.explain(clients::connect(
        options.burst,
        Tap::guest(GUEST_PORT),
        LIMIT,
    ))?;
    let connected = start.elapsed();
    guest.explain(clients::ask(&streams))?;
    eprintln!(
        "          {} connections at once: made in {connected:.1?}, answered in {:.1?}",
        options.burst,
        start.elapsed(),
    );
    drop(streams);
    guest.shut_down()
}

/// Requests of senders that do not exist, while connections that were there before go on, and then while files are
/// transferred.
///
/// # Errors
/// When a connection is lost, a new one can't be made afterwards, the memory grew out of proportion, or a transfer is not
/// exact.
pub(crate) fn flood(lab: &Lab, options: &Options) -> Result<()> {
    /// Requests are records of a few hundred bytes, of which there are some thousands at most.
    const MOST_MEMORY: u64 = 24 << 20;
    /// Forged requests are remembered for a minute; a new connection does not wait for their end.
    const SOON: Duration = Duration::from_secs(30);
    let image = bulk::image(&lab.image)?;
    let guest = Guest::boot_as(lab, options, Wiring::Wire, |config| config.initrd = image)?;
    let streams = guest.explain(clients::connect(100, Tap::guest(GUEST_PORT), LIMIT))?;
    guest.explain(clients::ask(&streams))?;
    let before = guest.touched()?;
    let wire = guest.wire.as_ref().context("the guest has a wire")?;
    let start = Instant::now();
    let mut rounds = 0;
    std::thread::scope(|scope| -> Result<()> {
        let sender = scope.spawn(|| wire.flood(tap::GUEST, GUEST_PORT, 0..options.flood));
        loop {
            let is_over = sender.is_finished();
            guest.explain(clients::ask(&streams))?;
            rounds += 1;
            if is_over {
                break;
            }
        }
        sender
            .join()
            .map_err(|_| anyhow::anyhow!("the flood panicked"))?
    })?;
    let took = start.elapsed();
    let grown = guest.touched()?.saturating_sub(before);
    let start = Instant::now();
    let fresh = guest.explain(clients::connect(1, Tap::guest(GUEST_PORT), SOON))?;
    guest.explain(clients::ask(&fresh))?;
    eprintln!(
        "          {} forged requests in {took:.1?}: {} connections answered {rounds} times meanwhile, guest memory grew by {} KiB, \
         a new connection took {:.1?} afterwards",
        options.flood,
        streams.len(),
        grown >> 10,
        start.elapsed(),
    );
    ensure!(grown <= MOST_MEMORY, "the flood took {grown} bytes");
    drop((streams, fresh));
    guest.explain(flood::transfer(wire, options.blocks))?;
    guest.shut_down()
}

/// Runs the suite.
///
/// # Errors
/// When it can't run at all.
pub(crate) fn suite() -> Result<crate::test::Tally> {
    let lab = Lab::new()?;
    let options = Options {
        connections: 10_000,
        burst: 1500,
        flood: 30_000,
        blocks: 300,
        impaired: 50,
        path: impaired::ORDINARY,
        memory: crate::lab::mib(1024),
        cpus: 2,
        append: String::new(),
    };
    let mut tally = crate::test::Tally::default();
    tally.count("connections_are_held_and_served", hold(&lab, &options));
    let options = Options {
        // Queues for a thousand connections.
        memory: crate::lab::mib(256),
        ..options
    };
    tally.count("burst_beyond_the_backlog_loses_none", burst(&lab, &options));
    tally.count(
        "wrk_ab_and_curl_miss_no_answer",
        tools::served(&lab, &options),
    );
    tally.count(
        "great_transfers_are_exact_whatever_the_card_does",
        bulk::transfer(&lab, &options, bulk::FEW, options.blocks),
    );
    tally.count(
        "each_pair_of_queues_is_used",
        queues::several(&lab, &options),
    );
    tally.count(
        "transfers_over_a_bad_path_are_exact",
        impaired::transfer(&lab, &options),
    );
    tally.count(
        "ipv6_reaches_neighbours_and_listens_to_routers",
        ipv6::neighbours(&lab, &options),
    );
    tally.count("flood_of_requests_disturbs_nobody", flood(&lab, &options));
    Ok(tally)
}
