//! A request to stop that comes before the guest's program handles it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{Bench, program};
use crate::lab::STOP_LIMIT;

/// Waits for a line before it handles SIGTERM, as a release does while it starts:
///
/// ```text
///     write(1, "r\n", 2); read(0, buffer, 2)
///     sigaction(SIGTERM, {handler, SA_RESTORER})
/// 1:  pause(); jmp 1b
/// handler: exit_group(0)
/// ```
const LATE: &[u8] = &[
    0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x64, 0, 0, 0, 0xba, 2, 0, 0, 0, 0x0f,
    0x05, 0x31, 0xc0, 0x31, 0xff, 0x48, 0x8d, 0x74, 0x24, 0xc0, 0xba, 2, 0, 0, 0, 0x0f, 0x05, 0xb8,
    0x0d, 0, 0, 0, 0xbf, 0x0f, 0, 0, 0, 0x48, 0x8d, 0x35, 0x1c, 0, 0, 0, 0x31, 0xd2, 0x41, 0xba, 8,
    0, 0, 0, 0x0f, 0x05, 0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7, 0xb8, 0xe7, 0, 0, 0, 0x31,
    0xff, 0x0f, 0x05, 0xc4, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0xc4, 0, 0x40, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'r', b'\n',
];

/// One signal, before there is a handler, and before the kernel follows its power button: the guest stops when it can.
pub(super) fn stopped_while_it_starts(bench: &Bench<'_>) -> Result<()> {
    let image = bench.image_of("late.img", &program(LATE))?;
    for is_button_awaited in [false, true] {
        let mut tool = bench
            .lab
            .tyn()
            .args(["run", "-i", "--trace", &image])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = tool.stderr.take().context("standard error is a pipe")?;
        let mut stdout = tool.stdout.take().context("standard output is a pipe")?;
        let mut stdin = tool.stdin.take().context("standard input is a pipe")?;
        let pid = Pid::from_child(&tool);
        let mut said = BufReader::new(stderr).lines();
        // The first line that the kernel reports: the machine runs, and little more. Or the one that tells of the button.
        let wanted = match is_button_awaited {
            true => "metric power_button_ns",
            false => "",
        };
        said.find(|line| line.as_ref().is_ok_and(|line| line.contains(wanted)));
        kill_process(pid, Signal::TERM)?;
        said.find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.contains("stopping the guest"))
        });
        let rest = std::thread::spawn(move || said.map_while(Result::ok).collect::<Vec<_>>());
        stdout.read_exact(&mut [0])?;
        // Time for the button to be of no use. Without it, the test proves less, and passes.
        std::thread::sleep(Duration::from_millis(500));
        stdin.write_all(b"x\n")?;
        let start = Instant::now();
        while tool.try_wait()?.is_none() && start.elapsed() < STOP_LIMIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        tool.kill()?;
        let status = tool.wait()?;
        let rest = rest.join().unwrap_or_default().join("\n");
        ensure!(status.code() == Some(0), "{status}: {rest}");
    }
    Ok(())
}
