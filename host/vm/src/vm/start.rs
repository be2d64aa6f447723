//! From a configuration to a QEMU that waits for us: what is refused before, the process, its connections.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::MAX_CPUS;
use super::error::{VmError, failed};
use crate::config::{Accel, Config, kvm_problem};
use crate::console::Console;
use crate::qemu::{self, OLDEST, QEMU, Version, find_program};
use crate::qmp::Qmp;

/// What QEMU says when the guest's memory can't be had (`util/oslib-posix.c`, `softmmu/physmem.c`).
pub(super) const NO_MEMORY: &str = "cannot set up guest memory";
/// How long QEMU may take to open its sockets.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Refuses what can be known to fail before QEMU is started.
pub(super) fn check(config: &Config) -> Result<(), VmError> {
    if !qemu::is_installed() {
        return Err(VmError::NoQemu);
    }
    if config.accel == Accel::Kvm
        && let Some(problem) = kvm_problem()
    {
        return Err(VmError::NoKvm(problem));
    }
    if !(1..=MAX_CPUS).contains(&config.cpus) {
        return Err(VmError::Cpus(config.cpus));
    }
    for path in [&config.kernel, &config.initrd] {
        if path.to_str().is_none_or(|text| text.contains(',')) {
            return Err(VmError::Path(path.clone()));
        }
    }
    let image = fs::metadata(&config.initrd)
        .map_err(failed("the image can't be read"))?
        .len();
    // What the kernel and the firmware need besides the image; with less, QEMU can't even load it.
    let least_mib = (image >> 20) + 24;
    if config.memory.0 >> 20 < least_mib {
        return Err(VmError::Memory {
            memory: config.memory,
            image_mib: image >> 20,
            least_mib,
        });
    }
    let mut ports = BTreeSet::new();
    let twice = config.forwards.iter().find(|f| !ports.insert(f.host));
    if let Some(forward) = twice {
        return Err(VmError::PortTwice(forward.host));
    }
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => VmError::PortDenied(port),
            _ => VmError::Port { port, error },
        })?;
    }
    Ok(())
}

pub(super) fn spawn(
    config: &Config,
    dir: &Path,
    console: Console,
    stderr: &Path,
) -> Result<Child, VmError> {
    let errors = fs::File::create(stderr).map_err(failed("a private file can't be made"))?;
    // `setpriv` executes QEMU in its own place, with the wish to be killed when we die.
    let mut command = match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--", QEMU]);
            command
        }
        None => Command::new(QEMU),
    };
    command
        .args(config.qemu_args(dir))
        .stdin(match console {
            Console::Pipe => Stdio::piped(),
            Console::Keep => Stdio::null(),
        })
        // Never our own standard output: QEMU would make it non-blocking, for us and the shell, too.
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(failed("QEMU can't be started"))
}

/// The connections of a machine: its protocol, its reports and, with a terminal, the size's.
pub(super) type Connections = (Qmp, UnixStream, Option<UnixStream>);

/// Waits until QEMU has connected to all sockets, which it does before the machine runs.
pub(super) fn connect(
    child: &mut Child,
    sockets: &[UnixListener],
    stderr: &Path,
) -> Result<Connections, VmError> {
    let start = Instant::now();
    let mut streams: Vec<Option<UnixStream>> = sockets.iter().map(|_| None).collect();
    loop {
        for (socket, stream) in sockets.iter().zip(&mut streams) {
            accept(socket, stream)?;
        }
        if streams.iter().all(Option::is_some) {
            break;
        }
        let ended = child
            .try_wait()
            .map_err(failed("QEMU can't be waited for"))?;
        if ended.is_some() || start.elapsed() > START_LIMIT {
            return Err(not_started(match last_words(stderr).as_str() {
                "" => "it said nothing".into(),
                text => text.into(),
            }));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut streams = streams.into_iter().flatten();
    match (streams.next(), streams.next()) {
        (Some(control), Some(report)) => run(control)
            .map(|qmp| (qmp, report, streams.next()))
            .map_err(|error| {
                // It connected, and ended before it spoke: its own words say more.
                not_started(format!("{error}; {}", last_words(stderr)))
            }),
        _ => Err(VmError::Qemu("it did not connect".into())),
    }
}

/// Returns what QEMU said, as one line.
pub(super) fn last_words(stderr: &Path) -> String {
    let text = fs::read_to_string(stderr).unwrap_or_default();
    let text = text.trim().trim_start_matches(QEMU);
    text.trim_start_matches(": ").replace('\n', "; ")
}

/// Says why there is no machine. QEMU's version is asked for only now, since that takes time: one that starts is new enough.
fn not_started(said: String) -> VmError {
    let version = qemu::version_text().and_then(|text| Version::parse(&text));
    match version.filter(|version| *version < OLDEST) {
        Some(version) => VmError::OldQemu { version, said },
        None => VmError::Qemu(said),
    }
}

/// Begins to speak with a QEMU that waits, and lets its machine run.
fn run(control: UnixStream) -> io::Result<Qmp> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let mut qmp = Qmp::new(control)?;
    match qmp.execute("cont") {
        // The guest is over already, and its exit took QEMU along before the answer: the report says how it ended.
        Err(e) if matches!(e.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) => Ok(qmp),
        result => result.map(|_| qmp),
    }
}

fn accept(listener: &UnixListener, slot: &mut Option<UnixStream>) -> Result<(), VmError> {
    if slot.is_some() {
        return Ok(());
    }
    let wrong = failed("QEMU's connection can't be accepted");
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false).map_err(wrong)?;
            *slot = Some(stream);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(wrong(error)),
    }
}
