//! Tests with the example in virtual machines: that it serves on every kind of machine, stops when asked to, takes a
//! burst of connections, and consists of what Debian built.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSegment};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use tyn_fs::cpio::Entries;
use tyn_vm_host::{Machine, http};

use super::Tally;
use crate::debian;
use crate::lab::{ANSWER_LIMIT, Guest, Lab, mib};

/// Connections of the burst.
const BURST: usize = 100;

/// Runs all VM tests.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    let mut tally = Tally::default();
    tally.count(
        "erts_in_the_image_is_debians_byte_for_byte",
        erts_is_debians(&lab),
    );
    tally.count("kernel_and_image_fit_their_budget", budget(&lab));
    let mut machines = Vec::new();
    for machine in Machine::ALL {
        machines.extend([1, 2, 4, 8].map(|cpus| (machine, cpus)));
    }
    tally.count_two_at_a_time(&machines, |&(machine, cpus), tally| {
        let name = format!("{machine}_with_{cpus}_cpus_serves_and_stops");
        tally.count(&name, serves_and_stops(&lab, machine, cpus));
    });
    tally.count_two_at_a_time(&[128, 1024, 4096, 6144], |&memory, tally| {
        let name = format!("guest_of_{memory}_mib_serves");
        tally.count(&name, serves_with_memory(&lab, memory));
    });
    for cpus in [2, 4] {
        let name = format!("burst_of_{BURST}_connections_is_answered_by_{cpus}_cpus");
        tally.count(&name, burst(&lab, cpus));
    }
    tally.count("connection_is_kept_for_many_requests", keep_alive(&lab));
    Ok(tally)
}

/// Returns how many schedulers the example says it has.
fn schedulers(body: &str) -> Option<u32> {
    let text = body.trim().strip_suffix(" schedulers")?;
    text.rsplit(' ').next()?.parse().ok()
}

fn serves_and_stops(lab: &Lab, machine: Machine, cpus: u32) -> Result<()> {
    let guest = Guest::boot(&lab.config(machine, cpus, 1)?)?;
    let body = &guest.answer.body;
    ensure!(
        body.starts_with("Hello from Erlang/OTP 27 (jit ") && schedulers(body) == Some(cpus),
        "it says: {body}"
    );
    let console = guest.vm.console();
    ensure!(
        console.contains("listening on port 8080"),
        "its console says: {console}"
    );
    let other = guest.get("/none")?;
    ensure!(
        other.status == 404,
        "status {} for an unknown path",
        other.status
    );
    guest.shut_down()
}

fn serves_with_memory(lab: &Lab, memory: u64) -> Result<()> {
    let mut config = lab.config(Machine::Q35, 2, 1)?;
    config.memory = mib(memory);
    Guest::boot(&config)?.shut_down()
}

/// All at once, each through a forwarded port of its own: QEMU's user network opens those with a backlog of 1.
fn burst(lab: &Lab, cpus: u32) -> Result<()> {
    let guest = Guest::boot(&lab.config(Machine::Q35, cpus, BURST + 1)?)?;
    let barrier = Barrier::new(BURST);
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = |port: u16| {
            barrier.wait();
            http::ask(connect_by_own_port(port)?, "/", ANSWER_LIMIT)
        };
        let threads: Vec<_> = guest.ports[1..]
            .iter()
            .map(|&port| scope.spawn(move || ask(port)))
            .collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut failures = Vec::new();
    for answer in answers {
        match answer {
            Ok(Ok(response)) if response.status == 200 => {}
            Ok(Ok(response)) => failures.push(format!("status {}", response.status)),
            Ok(Err(error)) => failures.push(error.to_string()),
            Err(_) => failures.push("the asking thread panicked".into()),
        }
    }
    ensure!(
        failures.is_empty(),
        "{} of {BURST} were not answered: {}",
        failures.len(),
        failures.join(", ")
    );
    guest.shut_down()
}

/// Connects from a port that no other connection has. The user network shows the guest each client as its one host with the
/// client's port, and Linux may give two clients of different ports the same one: to the guest they would be one connection.
fn connect_by_own_port(port: u16) -> io::Result<TcpStream> {
    let socket = net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(socket.into())
}

/// HTTP/1.1 keeps the connection.
fn keep_alive(lab: &Lab) -> Result<()> {
    use std::io::{Read, Write};
    let guest = Guest::boot(&lab.config(Machine::Q35, 2, 1)?)?;
    let port = *guest.ports.first().context("a port is forwarded")?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    for request in 0..200 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !answer.ends_with(b"schedulers\n") {
            let length = stream.read(&mut chunk)?;
            ensure!(length > 0, "the connection was closed at request {request}");
            answer.extend_from_slice(&chunk[..length]);
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "request {request} was not answered by 200"
        );
    }
    drop(stream);
    guest.shut_down()
}

/// Kernel plus image: bytes that a guest has of them in memory, and bytes that are shipped, compressed.
const MAPPED_BUDGET: u64 = 16_800_000;
const SHIPPED_BUDGET: u64 = 6_200_000;

fn budget(lab: &Lab) -> Result<()> {
    let elf = fs::read(&lab.kernel)?;
    let file = object::File::parse(&*elf)?;
    let kernel: u64 = file.segments().map(|segment| segment.size()).sum();
    let mapped = kernel + fs::metadata(&lab.image)?.len();
    debian::ensure_program("zstd", "zstd")?;
    let mut shipped = 0;
    for file in [&lab.kernel, &lab.image] {
        let mut zstd = Command::new("zstd");
        zstd.args(["-19", "-q", "-T2", "--stdout"]).arg(file);
        shipped += zstd.output()?.stdout.len() as u64;
    }
    eprintln!("          {mapped} bytes mapped, {shipped} bytes compressed");
    ensure!(
        mapped <= MAPPED_BUDGET && (1..=SHIPPED_BUDGET).contains(&shipped),
        "{mapped} bytes mapped ({MAPPED_BUDGET} allowed), {shipped} compressed ({SHIPPED_BUDGET} allowed)"
    );
    Ok(())
}

/// Compares the programs in the image with those in the .deb file that apt verified.
fn erts_is_debians(lab: &Lab) -> Result<()> {
    let image = fs::read(&lab.image)?;
    for program in tyn_release::release::ERTS_PROGRAMS {
        let suffix = format!("/bin/{program}");
        let mut found = None;
        for entry in Entries::new(&image) {
            let entry = entry.map_err(|error| anyhow::anyhow!("{error}"))?;
            if entry.name.starts_with(b"app/erts-") && entry.name.ends_with(suffix.as_bytes()) {
                found = Some(entry);
            }
        }
        let entry = found.with_context(|| format!("{program} is not in the image"))?;
        let path = String::from_utf8_lossy(entry.name);
        let path = path.trim_start_matches("app/");
        let debians = from_deb(lab, &format!("./usr/lib/erlang/{path}"))?;
        ensure!(
            entry.contents() == debians,
            "{program} differs from the one in the package"
        );
    }
    Ok(())
}

/// Returns the folder of the run-time system in a release.
pub(super) fn erts_folder(release: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(release)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("erts-") {
            return Ok(path);
        }
    }
    bail!("{} has no erts-* folder", release.display())
}

/// Returns a file's bytes out of the package erlang-base.
fn from_deb(lab: &Lab, path: &str) -> Result<Vec<u8>> {
    let mut deb = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(lab.sysroot.deb("erlang-base")?)
        .stdout(Stdio::piped())
        .spawn()
        .context("dpkg-deb can't be started")?;
    let archive = deb.stdout.take().context("dpkg-deb has no output")?;
    let tar = Command::new("tar")
        .args(["--extract", "--to-stdout", path])
        .stdin(archive)
        .output()
        .context("tar can't be started")?;
    // tar may stop reading behind the file, which dpkg-deb takes badly: only tar's word counts.
    let _ = deb.wait();
    if !tar.status.success() || tar.stdout.is_empty() {
        bail!(
            "{path} is not in the package: {}",
            String::from_utf8_lossy(&tar.stderr)
        );
    }
    Ok(tar.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers_are_read_from_the_greeting() {
        let body = "Hello from Erlang/OTP 27 (jit 15.2.7) on 8 schedulers\n";
        assert_eq!(schedulers(body), Some(8));
        assert_eq!(schedulers("Hello"), None);
    }
}
