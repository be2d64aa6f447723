//! Great transfers through a TAP device, byte by byte, with what the network card does for the guest switched on and off.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt;
use tyn_vm_host::Machine;

use super::tap::Tap;
use super::{Guest, LIMIT, Options};
use crate::lab::Lab;
use crate::{beside, paths};

/// Where `bench/net/tyn_bulk.erl` listens.
pub(crate) const PORT: u16 = 8081;
/// Bytes of a block.
pub(crate) const BLOCK: usize = 65_521;

/// What is switched off, on which machine.
pub(super) const ALL: &[(Machine, &str)] = &[
    (Machine::Q35, ""),
    (Machine::Microvm, ""),
    (Machine::Q35, "mrg_rxbuf=off"),
    (Machine::Q35, "csum=off"),
    (Machine::Q35, "guest_csum=off"),
    (Machine::Q35, "host_tso4=off,host_tso6=off"),
    (Machine::Q35, "guest_tso4=off,guest_tso6=off"),
    (Machine::Q35, "event_idx=off"),
    (
        Machine::Microvm,
        "mrg_rxbuf=off,csum=off,guest_csum=off,event_idx=off",
    ),
];
/// The same for those who have less time.
pub(super) const FEW: &[(Machine, &str)] = &[
    (Machine::Q35, ""),
    (
        Machine::Microvm,
        "mrg_rxbuf=off,csum=off,guest_csum=off,event_idx=off",
    ),
];

/// Makes the example's image, with the module that transfers beside it.
///
/// # Errors
/// When the module doesn't compile.
pub(crate) fn image(example: &std::path::Path) -> Result<PathBuf> {
    let source = paths::root().join("bench/net/tyn_bulk.erl");
    beside::image(example, &source, "bulk")
}

/// The block, the same as the guest's.
pub(crate) fn block() -> Vec<u8> {
    (0..BLOCK).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Connects; the module is started after the example, which has answered already.
fn connect(address: SocketAddr) -> Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                ensure!(start.elapsed() < LIMIT, "nobody listens at {address}");
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return Ok(other?),
        }
    }
}

/// Connects and says what is wanted (see `bench/net/tyn_bulk.erl`).
///
/// # Errors
/// When the guest does not accept.
pub(crate) fn open(address: SocketAddr, wish: &str, congestion: Option<&str>) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    if let Some(name) = congestion {
        sockopt::set_tcp_congestion(&stream, name)
            .with_context(|| format!("this machine has no congestion control {name}"))?;
    }
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(wish.as_bytes())?;
    Ok(stream)
}

/// Has the guest send `count` blocks and checks each byte; returns how long that took.
///
/// # Errors
/// When they don't come, or are not what they should be.
pub(crate) fn from_guest(address: SocketAddr, count: usize) -> Result<Duration> {
    let start = Instant::now();
    receive(open(address, &format!("give {count}\n"), None)?, count)?;
    Ok(start.elapsed())
}

/// Receives `count` blocks that were asked for and checks each byte.
///
/// # Errors
/// As [`from_guest`].
pub(crate) fn receive(mut stream: TcpStream, count: usize) -> Result<()> {
    let block = block();
    let mut got = vec![0; BLOCK];
    for n in 0..count {
        stream
            .read_exact(&mut got)
            .with_context(|| format!("block {n} of {count}"))?;
        ensure!(got == block, "block {n} of {count} is not what was sent");
    }
    ensure!(stream.read(&mut got)? == 0, "there is more than was sent");
    Ok(())
}

/// Sends `count` blocks to the guest, which checks them; returns how long that took.
///
/// # Errors
/// When it does not take them, or they are not what they should be.
pub(crate) fn to_guest(address: SocketAddr, count: usize) -> Result<Duration> {
    to_guest_by(address, count, None)
}

/// The same by one of this machine's congestion controls.
///
/// # Errors
/// When there is no such, or as before.
pub(crate) fn to_guest_by(
    address: SocketAddr,
    count: usize,
    congestion: Option<&str>,
) -> Result<Duration> {
    let start = Instant::now();
    send(
        open(address, &format!("take {count}\n"), congestion)?,
        count,
    )?;
    Ok(start.elapsed())
}

/// Sends `count` blocks that are waited for, and hears whether they were right.
///
/// # Errors
/// As [`to_guest`].
pub(crate) fn send(mut stream: TcpStream, count: usize) -> Result<()> {
    let block = block();
    for n in 0..count {
        stream
            .write_all(&block)
            .with_context(|| format!("block {n} of {count}"))?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer == "same", "the guest says {answer:?}");
    Ok(())
}

/// Checks that frames were great exactly if the card lacks none of these.
fn check(mean: u64, lacks: &[&str], card: &str) -> Result<()> {
    const ORDINARY: u64 = 1514;
    let may_be_great = !card.split(',').any(|word| lacks.contains(&word));
    ensure!(
        (mean > 2 * ORDINARY) == may_be_great,
        "they have {mean} bytes on the average"
    );
    Ok(())
}

/// Transfers `count` blocks each way with each of these cards.
///
/// # Errors
/// When one byte is wrong.
pub(super) fn transfer(
    lab: &Lab,
    options: &Options,
    cards: &[(Machine, &str)],
    count: usize,
) -> Result<()> {
    let image = image(&lab.image)?;
    for &(machine, card) in cards {
        let guest = Guest::boot_with(lab, options, |config| {
            config.initrd.clone_from(&image);
            config.machine = machine;
            config.card = card.into();
        })?;
        let address = Tap::guest(PORT);
        let start = guest.tap.traffic()?;
        let from = guest.explain(from_guest(address, count))?;
        let middle = guest.tap.traffic()?;
        let to = guest.explain(to_guest(address, count))?;
        let end = guest.tap.traffic()?;
        let sent = middle[0].mean_since(start[0]);
        let received = end[1].mean_since(middle[1]);
        check(sent, &["csum=off", "host_tso4=off"], card).context("frames from the guest")?;
        let lacks = ["mrg_rxbuf=off", "guest_csum=off", "guest_tso4=off"];
        check(received, &lacks, card).context("frames to the guest")?;
        let rate = |took: Duration| (count * BLOCK) as f64 / took.as_secs_f64() / 1e6;
        eprintln!(
            "          {machine} {card:?}: {count} blocks at {:.1} MB/s from the guest in frames of {sent} bytes, {:.1} to it in \
             frames of {received}",
            rate(from),
            rate(to),
        );
        guest.shut_down()?;
    }
    Ok(())
}
