//! Signals at every stage of every command: nothing is left, and the exit code is 128 + the signal's number.
//!
//! Each stage is held by something that blocks for ever (a pipe, a program that waits), so it does not matter how fast anything is.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;
use crate::tarball::{entry, lengthened};

/// The signals that end a tool; SIGHUP only where `nohup` does not hold it off us, too.
fn signals() -> Vec<(Signal, i32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    let mut signals = vec![(Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)];
    if ignored & 1 == 0 {
        signals.push((Signal::HUP, 129));
    }
    signals
}

/// Starts the tool, with `/dev/stdin` to read from; returns as soon as it reads that, with what keeps it waiting for more.
fn start_reading(command: &mut Command, text: &[u8]) -> (Child, ChildStdin) {
    let mut tool = start(command.stdin(Stdio::piped()));
    let mut input = tool.stdin.take().unwrap();
    // More than a pipe holds (pipe(7)), so that the last of it is there when the first was taken.
    input.write_all(text).unwrap();
    input.write_all(&vec![b'#'; 1 << 18]).unwrap();
    (tool, input)
}

/// The beginning of an archive with a file of 1 GiB.
fn huge_file() -> Vec<u8> {
    lengthened(entry("app/a", b'0', "", b""), 1 << 30)
}

fn start(command: &mut Command) -> Child {
    command.stderr(Stdio::piped()).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Sends the signal; expects this exit code, and that nothing is said.
fn end(tool: Child, signal: Signal, code: i32) {
    kill_process(Pid::from_child(&tool), signal).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<_> = said
        .lines()
        .filter(|line| !line.contains("fetching"))
        .collect();
    assert_eq!(
        (output.status.code(), &said[..]),
        (Some(code), &[][..]),
        "{signal:?}"
    );
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Writes a program that notes its number in `started`, and that of one it started itself, and waits.
fn blocking(bench: &Bench, name: &str) {
    let started = bench.path("started");
    let script = format!(
        "#!/bin/sh\nsleep 600 &\necho $$ $! > '{0}.new'\nmv '{0}.new' '{0}'\nwait\n",
        started.display()
    );
    bench.program(name, &script);
}

/// Waits until the program of [`blocking`] runs, and returns its number and its child's.
fn started(bench: &Bench) -> Vec<u32> {
    let file = bench.path("started");
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(file).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// Expects that these run no more; who has inherited them may not have looked yet.
fn are_gone(pids: &[u32]) {
    for pid in pids {
        let is_running = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| !rest.trim().is_empty() && !rest.starts_with(" Z"))
        };
        while is_running() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn build_is_interrupted_while_it_unpacks() {
    let bench = Bench::new();
    for (signal, code) in signals() {
        let mut command = bench.command("build - -o out.img");
        let (tool, input) = start_reading(&mut command, &huge_file());
        assert_eq!(count(&bench.path("tmp")), 1);
        end(tool, signal, code);
        drop(input);
        bench.has_no_files();
        assert!(!bench.path("out.img").exists());
    }
}

#[test]
fn what_a_killed_tool_left_is_removed_by_the_next_and_what_is_in_use_is_not() {
    let bench = Bench::new();
    bench.write("no.tar", "rubbish");
    let mut command = bench.command("build - -o out.img");
    let (mut killed, input) = start_reading(&mut command, &huge_file());
    let other = bench.tyn("build no.tar -o out.img");
    assert_eq!(other.code, Some(125), "{other:?}");
    assert_eq!(count(&bench.path("tmp")), 1, "it belongs to one that runs");
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(input);
    assert_eq!(count(&bench.path("tmp")), 1, "nobody has cleaned up yet");
    bench.tyn("build no.tar -o out.img");
    bench.has_no_files();
}

#[test]
fn build_is_interrupted_while_it_fetches_erlang() {
    let bench = Bench::new();
    blocking(&bench, "bin/apt-get");
    fs::create_dir(bench.path("ebin")).unwrap();
    bench.write("ebin/hello.beam", "");
    for (signal, code) in signals() {
        let path = format!(
            "{}:{}",
            bench.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = bench.command("build ebin --start hello --otp 27 -o out.img");
        let tool = start(
            command
                .env("PATH", path)
                .env("XDG_CACHE_HOME", bench.path("cache")),
        );
        let pids = started(&bench);
        assert_eq!(count(&bench.path("cache/tyn")), 1);
        end(tool, signal, code);
        are_gone(&pids);
        assert_eq!(count(&bench.path("cache/tyn")), 0);
        bench.has_no_files();
    }
}

#[test]
fn image_is_interrupted_while_grub_is_built_and_while_the_disk_is_converted() {
    let bench = Bench::new();
    bench.image("app.img", &["/init"], &[("/init", b"x")]);
    bench.kernel("kernel", "", true);
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    bench.program("grub/usr/lib/grub/i386-pc/boot.img", sector);
    bench.program("grub/usr/lib/grub/x86_64-efi/multiboot2.mod", "");
    fs::create_dir(bench.path("out")).unwrap();
    let mkimage = "grub/usr/bin/grub-mkimage";
    for stage in ["grub", "convert"] {
        if stage == "grub" {
            blocking(&bench, mkimage);
        } else {
            bench.program(mkimage, "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ $1 = --output ] && head -c 4096 /dev/zero > $2; shift; done\n");
            blocking(&bench, "bin/qemu-img");
        }
        for (signal, code) in signals() {
            let path = format!(
                "{}:{}",
                bench.path("bin").display(),
                std::env::var("PATH").unwrap()
            );
            let line = match stage {
                "grub" => "image app.img -o out/disk --kernel kernel --grub grub",
                _ => "image app.img -o out/disk --kernel kernel --grub grub --format qcow2",
            };
            let tool = start(bench.command(line).env("PATH", path));
            let pids = started(&bench);
            assert_eq!(count(&bench.path("out")), 1);
            end(tool, signal, code);
            are_gone(&pids);
            assert_eq!(count(&bench.path("out")), 0, "{stage}");
            bench.has_no_files();
        }
    }
}

#[test]
fn run_is_interrupted_before_there_is_a_machine() {
    let bench = Bench::new();
    bench.image("app.img", &["/init"], &[("/init", b"x")]);
    for (signal, code) in signals() {
        let mut command = bench.command("run app.img --env-file /dev/stdin");
        let (tool, input) = start_reading(&mut command, b"SECRET=x\n");
        end(tool, signal, code);
        drop(input);
        bench.has_no_files();
    }
}
