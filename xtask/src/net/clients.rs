//! Many connections at once to one server, from one thread.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, getrlimit, setrlimit};

/// How the example's answer ends.
const END: &[u8] = b"schedulers\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Lets this process have so many descriptors and some more.
fn allow_descriptors(count: usize) -> Result<()> {
    let wanted = count as u64 + 256;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|n| n < wanted) {
        limit.current = Some(wanted);
        limit.maximum = limit.maximum.map(|n| n.max(wanted));
        setrlimit(Resource::Nofile, limit).context("so many descriptors are not allowed")?;
    }
    Ok(())
}

/// Connections that one address of this machine makes: its ports are bound, so that more than those that a system chooses
/// from can be used, and those below leave room for servers.
pub(crate) const PER_ADDRESS: usize = 50_000;
const FIRST_PORT: usize = 10_000;

/// Returns from where the `n`th connection comes if there are so many that they need several addresses.
pub(crate) fn origin(addresses: &[Ipv4Addr], n: usize) -> Result<SocketAddr> {
    let address = addresses.get(n / PER_ADDRESS);
    let address = address.with_context(|| format!("no address for connection {n}"))?;
    let port = FIRST_PORT + n % PER_ADDRESS;
    Ok((*address, port as u16).into())
}

/// Opens `count` connections to `address`, all at the same time.
///
/// # Errors
/// When one is refused or reset, or not all are there within `limit`.
pub(crate) fn connect(
    count: usize,
    address: SocketAddr,
    limit: Duration,
) -> Result<Vec<TcpStream>> {
    allow_descriptors(count)?;
    connect_from(&vec![None; count], address, limit)
}

/// Opens the connections of a range of numbers, some hundreds at a time, from as many of this machine's `addresses` as it takes; `after` sees
/// those that were made last.
///
/// # Errors
/// As [`connect`].
pub(crate) fn connect_many(
    range: Range<usize>,
    addresses: &[Ipv4Addr],
    address: SocketAddr,
    limit: Duration,
    mut after: impl FnMut(&[TcpStream]) -> Result<()>,
) -> Result<Vec<TcpStream>> {
    const AT_ONCE: usize = 500;
    allow_descriptors(range.len())?;
    let mut streams = Vec::with_capacity(range.len());
    for first in range.clone().step_by(AT_ONCE) {
        let end = range.end.min(first + AT_ONCE);
        let origins = (first..end).map(|n| origin(addresses, n).map(Some));
        let made = connect_from(&origins.collect::<Result<Vec<_>>>()?, address, limit)?;
        after(&made)?;
        streams.extend(made);
    }
    Ok(streams)
}

fn connect_from(
    origins: &[Option<SocketAddr>],
    address: SocketAddr,
    limit: Duration,
) -> Result<Vec<TcpStream>> {
    let count = origins.len();
    let deadline = Instant::now() + limit;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let mut waiting = HashMap::new();
    for origin in origins {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(origin) = origin {
            // The port may have been used by a connection that was just closed.
            net::sockopt::set_socket_reuseaddr(&fd, true)?;
            net::bind(&fd, origin).with_context(|| format!("{origin} is in use"))?;
        }
        match net::connect(&fd, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => bail!("connecting to {address}: {error}"),
        }
        let data = epoll::EventData::new_u64(fd.as_raw_fd() as u64);
        epoll::add(&set, &fd, data, epoll::EventFlags::OUT)?;
        waiting.insert(fd.as_raw_fd() as u64, TcpStream::from(fd));
    }
    let mut connected = Vec::with_capacity(count);
    let mut events = Vec::with_capacity(1024);
    while !waiting.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(
            !left.is_zero(),
            "{} of {count} connections were not made within {limit:?}",
            waiting.len()
        );
        let timeout = Timespec::try_from(left)?;
        events.clear();
        epoll::wait(
            &set,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        )?;
        for event in &events {
            let Some(stream) = waiting.remove(&event.data.u64()) else {
                continue;
            };
            if let Some(error) = stream.take_error()? {
                bail!("connection {} of {count}: {error}", connected.len() + 1);
            }
            epoll::delete(&set, &stream)?;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            connected.push(stream);
        }
    }
    Ok(connected)
}

/// Asks once on every connection, first all, then waits for all the answers.
///
/// # Errors
/// When one is not answered.
pub(crate) fn ask(streams: &[TcpStream]) -> Result<()> {
    for (n, mut stream) in streams.iter().enumerate() {
        stream
            .write_all(REQUEST)
            .with_context(|| format!("request on connection {n} of {}", streams.len()))?;
    }
    for (n, stream) in streams.iter().enumerate() {
        answer(stream).with_context(|| format!("answer on connection {n} of {}", streams.len()))?;
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> Result<()> {
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.ends_with(END) {
        let length = stream.read(&mut chunk)?;
        ensure!(length > 0, "it was closed");
        answer.extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 OK\r\n"),
        "status is not 200"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_different_places() {
        let addresses = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 9)];
        let all: std::collections::HashSet<_> = (0..2 * PER_ADDRESS)
            .map(|n| origin(&addresses, n).unwrap())
            .collect();
        assert_eq!(all.len(), 2 * PER_ADDRESS);
        assert!(all.iter().all(|a| usize::from(a.port()) >= FIRST_PORT));
        assert!(origin(&addresses, 2 * PER_ADDRESS).is_err());
    }
}
