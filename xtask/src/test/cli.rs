//! Tests of the `tyn` tool itself: exit codes, run-time configuration, signals, and one clear sentence for bad input.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tyn_bootfmt::{INIT_PATH, Init};
use tyn_release::cpio::Writer;
use tyn_vm_host::http;

mod background;
mod configured;
mod early;
mod interrupted;
mod two;
mod unheard;

use super::Tally;
use crate::lab::{ANSWER_LIMIT, GUEST_PORT, Lab, STOP_LIMIT, free_ports};
use crate::paths;

/// How long the tool may take to refuse something.
const REFUSAL_LIMIT: Duration = Duration::from_secs(20);

/// Runs all tests of the tool.
pub(super) fn run() -> Result<Tally> {
    let lab = Lab::new()?;
    let dir = tempfile::tempdir()?;
    let bench = Bench {
        lab: &lab,
        dir: &dir,
    };
    let mut tally = Tally::default();
    for (name, test) in TESTS {
        tally.count(name, test(&bench));
    }
    Ok(tally)
}

type Test = fn(&Bench<'_>) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("exit_status_of_the_guest_becomes_ours", exit_statuses),
    ("sigterm_stops_the_guest_with_exit_code_0", sigterm),
    (
        "second_signal_kills_a_guest_that_does_not_stop",
        second_signal,
    ),
    (
        "guest_is_stopped_while_it_starts",
        early::stopped_while_it_starts,
    ),
    (
        "guest_stops_when_nobody_reads_its_output",
        unheard::output_closed,
    ),
    (
        "configuration_reaches_the_guest_and_no_command_line",
        configured::configuration,
    ),
    (
        "guest_in_the_background_serves_logs_and_stops",
        background::background,
    ),
    (
        "two_guests_of_one_image_serve_at_a_time",
        two::guests_of_one_image,
    ),
    (
        "shell_of_a_guest_is_left_and_come_back_to",
        background::shell,
    ),
    (
        "missing_truncated_and_foreign_images_are_refused",
        bad_images,
    ),
    ("impossible_machines_are_refused", bad_machines),
    ("kernel_without_an_image_says_so", bare_kernel),
    (
        "program_that_is_no_program_is_refused_by_the_kernel",
        bad_program,
    ),
    (
        "interrupted_build_leaves_no_file",
        interrupted::while_it_writes,
    ),
    ("bad_releases_are_refused_and_leave_no_file", bad_releases),
];

struct Bench<'a> {
    lab: &'a Lab,
    dir: &'a TempDir,
}

impl Bench<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the tool to its end.
    fn tyn(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.lab.tyn();
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > REFUSAL_LIMIT {
                child.kill()?;
                bail!("tyn {} hangs", args.join(" "));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(child.wait_with_output()?)
    }

    /// Expects the exit code of "not started" and one sentence that holds `want`.
    fn refused(&self, args: &[&str], want: &str) -> Result<()> {
        let output = self.tyn(args)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.trim();
        ensure!(
            output.status.code() == Some(125) && line.lines().count() == 1 && line.contains(want),
            "tyn {} ended with {} and said: {line}\nwanted: {want}",
            args.join(" "),
            output.status
        );
        Ok(())
    }

    /// Writes an image with one program, `code` in an ELF file, and returns its path.
    fn image_of(&self, name: &str, program: &[u8]) -> Result<String> {
        let init = Init {
            args: vec![b"/init"],
            ..Init::default()
        };
        let init = init.to_bytes()?;
        let mut writer = Writer::new(Vec::new(), 0);
        writer.dir(Path::new("/"), 0o755)?;
        writer.dir(Path::new("/.tyn"), 0o755)?;
        let length = init.len() as u64;
        writer.file(Path::new(INIT_PATH), 0o600, length, &mut init.as_slice())?;
        let length = program.len() as u64;
        writer.file(Path::new("/init"), 0o755, length, &mut &*program)?;
        let path = self.file(name);
        fs::write(&path, writer.finish()?.0)?;
        Ok(text(&path))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Returns a static program of one page that runs `code`.
fn program(code: &[u8]) -> Vec<u8> {
    let start: u64 = 0x40_0000 + 120;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend(start.to_le_bytes());
    elf.extend(64u64.to_le_bytes());
    elf.extend([0; 12]);
    for half in [64u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let length = 120 + code.len() as u64;
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, 0x40_0000, 0x40_0000, length, length, 4096] {
        elf.extend(u64::to_le_bytes(word));
    }
    elf.extend(code);
    elf
}

/// mov edi, STATUS; mov eax, 231 (exit_group); syscall
fn exit_with(status: u8) -> Vec<u8> {
    program(&[0xbf, status, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05])
}

fn exit_statuses(bench: &Bench<'_>) -> Result<()> {
    for status in [0, 1, 7, 124, 255] {
        let image = bench.image_of("exit.img", &exit_with(status))?;
        let output = bench.tyn(&["run", &image])?;
        ensure!(
            output.status.code() == Some(i32::from(status)) && output.stderr.is_empty(),
            "{} instead of {status}; {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // ud2: killed by SIGILL, as a shell would tell it.
    let image = bench.image_of("kill.img", &program(&[0x0f, 0x0b]))?;
    let output = bench.tyn(&["run", &image])?;
    ensure!(
        output.status.code() == Some(128 + 4),
        "{} after SIGILL",
        output.status
    );
    Ok(())
}

fn sigterm(bench: &Bench<'_>) -> Result<()> {
    let ports = free_ports(1)?;
    let port = *ports.first().context("no free port")?;
    let forward = format!("{port}:{GUEST_PORT}");
    let mut tool = bench
        .lab
        .tyn()
        .args(["run", "-p", &forward])
        .arg(&bench.lab.image)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let answer = http::wait(port, "/", ANSWER_LIMIT, || {
        tool.try_wait().is_ok_and(|status| status.is_some())
    });
    let asked = kill_process(Pid::from_child(&tool), Signal::TERM);
    let start = Instant::now();
    while answer.is_some() && tool.try_wait()?.is_none() && start.elapsed() < STOP_LIMIT {
        std::thread::sleep(Duration::from_millis(5));
    }
    tool.kill()?;
    let status = tool.wait()?;
    ensure!(
        answer.is_some(),
        "the guest did not answer; tyn ended with {status}"
    );
    asked?;
    ensure!(
        status.code() == Some(0),
        "tyn ended with {status} after SIGTERM"
    );
    Ok(())
}

/// pause() for ever: process 1 is not ended by a signal that it does not handle.
fn second_signal(bench: &Bench<'_>) -> Result<()> {
    // 1: mov eax, 34 (pause); syscall; jmp 1b
    let image = bench.image_of(
        "pause.img",
        &program(&[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]),
    )?;
    let mut tool = bench
        .lab
        .tyn()
        .args(["run", "--trace", &image])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = tool.stderr.take().context("standard error is a pipe")?;
    let pid = Pid::from_child(&tool);
    let mut signals = 0;
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        // The guest runs; then the first signal was understood.
        let is_next = match signals {
            0 => line.contains("metric boot_to_user_ns"),
            _ => line.contains("stopping the guest"),
        };
        if is_next {
            // Signals that come together are one request.
            std::thread::sleep(Duration::from_millis(600) * signals);
            kill_process(pid, Signal::TERM)?;
            signals += 1;
        }
    }
    let status = tool.wait()?;
    ensure!(
        signals == 2 && status.code() == Some(137),
        "{status} after {signals} signals"
    );
    Ok(())
}

fn bad_images(bench: &Bench<'_>) -> Result<()> {
    let image = fs::read(&bench.lab.image)?;
    let none = text(&bench.file("none.img"));
    bench.refused(&["run", &none], "none.img can't be read: No such file")?;
    for (length, want) in [
        (0, "it is empty"),
        (5000, "is not an image or is damaged"),
        (image.len() / 2, "is not an image or is damaged"),
        (image.len() - 8192, "is not an image or is damaged"),
    ] {
        let cut = bench.file("cut.img");
        fs::write(&cut, &image[..length])?;
        bench.refused(&["run", &text(&cut)], want)?;
    }
    let foreign = bench.file("foreign.img");
    fs::copy(&bench.lab.kernel, &foreign)?;
    bench.refused(&["run", &text(&foreign)], "no cpio newc header")?;
    let mut writer = Writer::new(Vec::new(), 0);
    writer.dir(Path::new("/"), 0o755)?;
    let empty = bench.file("no-init.img");
    fs::write(&empty, writer.finish()?.0)?;
    bench.refused(&["run", &text(&empty)], "has no start description")
}

fn bad_machines(bench: &Bench<'_>) -> Result<()> {
    let image = text(&bench.lab.image);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let forward = format!("{port}:80");
    let taken = format!("port {port} of this machine can't be used");
    bench.refused(&["run", &image, "-p", &forward], &taken)?;
    bench.refused(
        &["run", &image, "--memory", "24M"],
        "24M of memory is too little",
    )?;
    bench.refused(&["run", &image, "--cpus", "0"], "0 CPUs can't be had")?;
    bench.refused(
        &["run", &image, "--append", "quiet"],
        "kernel option 'quiet' is unknown",
    )?;
    bench.refused(
        &["run", &image, "--kernel", "/none/kernel"],
        "/none/kernel can't be read",
    )?;
    bench.refused(&["run", &image, "--kernel", &image], "is no kernel")?;
    bench.refused(
        &["run", &image, "-e", "TYN_TEST_UNSET"],
        "-e TYN_TEST_UNSET has no value",
    )?;
    bench.refused(&["run", &image, "-e", "=x"], "is not NAME=VALUE")
}

/// The kernel itself checks what it is given: here by another tool than ours.
fn bare_kernel(bench: &Bench<'_>) -> Result<()> {
    use tyn_vm_host::{Config, Console, Outcome, Vm};
    let rubbish = bench.file("rubbish");
    fs::write(&rubbish, [b'x'; 8192])?;
    for (append, memory, want) in [("", 512, "archive"), ("colour=red", 512, "colour=red")] {
        let mut config = Config::new(&bench.lab.kernel, &rubbish);
        config.append = append.into();
        config.memory = crate::lab::mib(memory);
        let mut vm = Vm::start(&config, Console::Keep, Box::new(|_| {}))?;
        match vm.wait_for(REFUSAL_LIMIT)? {
            Some(Outcome::Refused(why)) if why.contains(want) => {}
            other => bail!("{other:?} instead of a refusal that names {want}"),
        }
    }
    Ok(())
}

fn bad_program(bench: &Bench<'_>) -> Result<()> {
    let image = bench.image_of("text.img", b"this is no program")?;
    bench.refused(&["run", &image], "/init")
}

fn bad_releases(bench: &Bench<'_>) -> Result<()> {
    let out = text(&bench.file("out.img"));
    let release = bench.file("release");
    paths::copy(&bench.lab.release, &release)?;
    let dir = text(&release);
    let sysroot = text(bench.lab.sysroot.dir());
    let refuse = |sysroot: &str, want: &str| {
        bench.refused(&["build", &dir, "--sysroot", sysroot, "-o", &out], want)?;
        ensure!(!Path::new(&out).exists(), "a refused build left {out}");
        Ok(())
    };
    refuse("/none", "the sysroot /none is not a folder")?;
    let empty = tempfile::tempdir()?;
    refuse(
        &text(empty.path()),
        "needs, is neither in the release nor below",
    )?;
    full_disk(bench, &dir, &sysroot, &out)?;
    let erts = crate::test::vm::erts_folder(&release)?;
    let beam = erts.join("bin/beam.smp");
    let mut bytes = fs::read(&beam)?;
    if let Some(machine) = bytes.get_mut(18) {
        *machine = 183; // EM_AARCH64
    }
    fs::write(&beam, bytes)?;
    refuse(&sysroot, "beam.smp is built for 64-bit ARM")?;
    fs::remove_dir_all(&erts)?;
    refuse(&text(empty.path()), "brings no Erlang/OTP of its own")?;
    // Its applications alone are something.
    for part in ["releases", "lib"] {
        fs::remove_dir_all(release.join(part))?;
    }
    refuse(&sysroot, "is nothing that an image can be made of")?;
    let here = bench.file("kept.img");
    fs::write(&here, "kept")?;
    bench.refused(
        &["build", &dir, "-o", &text(&here)],
        "is nothing that an image can be made of",
    )?;
    ensure!(
        fs::read(&here)? == b"kept",
        "a refused build changed the old image"
    );
    Ok(())
}

/// A limit on the size of files stands for a full disk.
fn full_disk(bench: &Bench<'_>, release: &str, sysroot: &str, out: &str) -> Result<()> {
    let script =
        "trap '' XFSZ; ulimit -f 1000; exec \"$0\" build \"$1\" --sysroot \"$2\" -o \"$3\"";
    let done = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .arg(&bench.lab.tool)
        .args([release, sysroot, out])
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.code() == Some(125)
            && said.contains("out.img can't be written: File too large")
            && said.contains("make room there"),
        "{}: {said}",
        done.status
    );
    ensure!(!Path::new(out).exists(), "a cut-off image was left");
    let left = fs::read_dir(bench.dir.path())?.flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(".tyn-"));
    ensure!(left.count() == 0, "a temporary file was left");
    Ok(())
}
