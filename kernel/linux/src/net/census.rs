//! What `/proc/PID/net` shows. Which socket has which inode only the descriptors tell: those of all processes are looked
//! through, so that nothing need be kept for it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::{Errno, Fd, PAGE_SIZE};
use tyn_fs::net_text::{self as text, LocalLine, SocketLine, Tail, Version};
use tyn_fs::procfs::NetFile;
use tyn_net::census::{Life, Place, Row};
use tyn_net::{SocketId, Stack};

use super::inet::InetSocket;
use super::{counters, inspect, tables};
use crate::file::OpenFile;
use crate::kernel::kernel;
use crate::process::Process;
use crate::unix::UnixSocket;

/// Returns the text of a file.
///
/// # Errors
/// `ENOMEM` when there are more sockets than there is memory for.
pub(crate) fn net_text(file: NetFile) -> Result<String, Errno> {
    match file {
        NetFile::Arp => tables::neighbors(),
        NetFile::Dev => Ok(devices()),
        NetFile::IfInet6 => Ok(addresses6()),
        NetFile::Igmp => tables::groups(),
        NetFile::Ipv6Route => Ok(tables::routes6()),
        NetFile::NetStat => Ok(counters::netstat()),
        NetFile::Route => Ok(routes()),
        NetFile::Snmp => Ok(counters::snmp()),
        NetFile::Snmp6 => Ok(counters::snmp6()),
        NetFile::SockStat => totals(),
        NetFile::SockStat6 => {
            let [_, (tcp, udp)] = inspect(|stack| stack.socket_counts());
            Ok(text::totals6(tcp, udp))
        }
        NetFile::Tcp => tcp(Version::V4),
        NetFile::Tcp6 => tcp(Version::V6),
        NetFile::Udp => udp(Version::V4),
        NetFile::Udp6 => udp(Version::V6),
        NetFile::Unix => local(),
    }
}

/// Adds to a list that may grow long.
fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), Errno> {
    list.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    list.push(value);
    Ok(())
}

/// Adds to a text that may grow long.
pub(super) fn write(out: &mut String, line: &str) -> Result<(), Errno> {
    out.try_reserve(line.len()).map_err(|_| Errno::ENOMEM)?;
    out.push_str(line);
    Ok(())
}

/// Calls `each` with the open files of all processes; some more than once.
fn each_open(mut each: impl FnMut(&OpenFile) -> Result<(), Errno>) -> Result<(), Errno> {
    let processes: Vec<Arc<Process>> = kernel().processes.lock().values().cloned().collect();
    for process in processes {
        let files = process.files();
        // A list for which there is no memory is empty.
        for fd in files.list().unwrap_or_default() {
            let open = i32::try_from(fd).ok().and_then(|fd| files.get(Fd(fd)).ok());
            if let Some(open) = open {
                each(&open)?;
            }
        }
    }
    Ok(())
}

/// Returns the sockets that have a descriptor, in order, with their inodes.
fn inodes() -> Result<Vec<(SocketId, u64)>, Errno> {
    let mut inodes = Vec::new();
    each_open(|open| match open.downcast::<InetSocket>() {
        Some(socket) => push(&mut inodes, (socket.id, socket.inode())),
        None => Ok(()),
    })?;
    inodes.sort_unstable();
    Ok(inodes)
}

/// The rows of one version, numbered, with what follows the inode.
fn lines(
    rows: &[Row],
    version: Version,
) -> Result<impl Iterator<Item = (SocketLine, Life)>, Errno> {
    let inodes = inodes()?;
    let is_v6 = version == Version::V6;
    let rows = rows.iter().filter(move |row| row.is_v6 == is_v6);
    Ok(rows.enumerate().map(move |(number, row)| {
        let timeouts = match row.life {
            Life::Connection { timeouts, .. } => timeouts,
            Life::None | Life::Listening => 0,
        };
        let inode = row.socket.and_then(|id| {
            let at = inodes.binary_search_by_key(&id, |of| of.0).ok()?;
            inodes.get(at).map(|of| of.1)
        });
        let line = SocketLine {
            number,
            ends: (row.local, row.remote),
            state: row.status as u8,
            queues: row.queues,
            timeouts,
            inode: inode.unwrap_or(0),
        };
        (line, row.life)
    }))
}

fn tcp_rows() -> Result<Vec<Row>, Errno> {
    // Others want the stack, too.
    const AT_A_TIME: usize = 128;
    let (mut all, mut place) = (Vec::new(), Place::default());
    loop {
        let mut rows = inspect(|stack| stack.tcp_rows(&mut place, AT_A_TIME))?;
        if rows.is_empty() {
            return Ok(all);
        }
        all.try_reserve(rows.len()).map_err(|_| Errno::ENOMEM)?;
        all.append(&mut rows);
    }
}

fn tcp(version: Version) -> Result<String, Errno> {
    let rows = tcp_rows()?;
    let mut out = text::tcp_header(version);
    for (line, life) in lines(&rows, version)? {
        let tail = match life {
            Life::None => Tail::None(3),
            Life::Listening => Tail::Window(100, 10, 0),
            Life::Connection {
                timeout, window, ..
            } => Tail::Window(timeout, window.0, window.1.map_or(-1, i64::from)),
        };
        write(&mut out, &text::tcp(&line, version, tail))?;
    }
    Ok(out)
}

fn udp(version: Version) -> Result<String, Errno> {
    let rows = inspect(|stack| stack.udp_rows())?;
    let mut out = text::udp_header(version);
    for (line, _) in lines(&rows, version)? {
        write(&mut out, &text::udp(&line, version))?;
    }
    Ok(out)
}

/// Returns the inodes of all local sockets that have a descriptor, once each, with what is shown of them.
fn local_sockets() -> Result<Vec<(u64, LocalLine)>, Errno> {
    let mut sockets = Vec::new();
    each_open(|open| match open.downcast::<UnixSocket>() {
        Some(socket) => {
            let line = socket.facts();
            push(&mut sockets, (line.inode, line))
        }
        None => Ok(()),
    })?;
    sockets.sort_unstable_by_key(|socket| socket.0);
    sockets.dedup_by_key(|socket| socket.0);
    Ok(sockets)
}

fn local() -> Result<String, Errno> {
    let mut out = String::from(text::LOCAL);
    for (_, line) in local_sockets()? {
        write(&mut out, &text::local(&line))?;
    }
    Ok(out)
}

fn devices() -> String {
    let mut out = String::from(text::DEVICES);
    let (interfaces, traffic) = inspect(|stack| (stack.interfaces(), stack.traffic()));
    for (interface, traffic) in interfaces.iter().zip(traffic) {
        out.push_str(&text::device(
            interface.name,
            traffic.packets,
            traffic.bytes,
        ));
    }
    out
}

fn addresses6() -> String {
    let mut out = String::new();
    for interface in inspect(Stack::interfaces) {
        for address in interface.addresses6 {
            let (ip, prefix) = (address.address, address.prefix);
            out.push_str(&text::address6(ip, interface.index, prefix, interface.name));
        }
    }
    out
}

fn routes() -> String {
    let mut out = text::route_header();
    for route in inspect(|stack| stack.route_rows()) {
        let router = route.gateway.map(|gateway| gateway.octets());
        let network = route.destination.octets();
        out.push_str(&text::route("eth0", network, route.prefix, router));
    }
    out
}

fn totals() -> Result<String, Errno> {
    let (counts, (orphans, time_waits, bytes)) =
        inspect(|stack| (stack.socket_counts(), stack.tcp_totals()));
    let [(tcp, udp), (tcp6, udp6)] = counts;
    Ok(text::totals(&text::Totals {
        used: tcp + udp + tcp6 + udp6 + local_sockets()?.len(),
        tcp,
        orphans,
        time_waits,
        tcp_pages: bytes.div_ceil(PAGE_SIZE),
        udp,
    }))
}
