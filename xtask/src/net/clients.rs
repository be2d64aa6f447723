//! Many connections at once to one server, from one thread.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
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
    let deadline = Instant::now() + limit;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let mut waiting = HashMap::new();
    for _ in 0..count {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
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
