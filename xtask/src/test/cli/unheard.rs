//! `tyn run … | head`: the reader of standard output goes away.

use std::io::Read;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{Bench, program};
use crate::lab::STOP_LIMIT;

/// Writes lines without end, and exits at SIGTERM:
///
/// ```text
///     sigaction(SIGTERM, {handler, SA_RESTORER})
/// 1:  write(1, "x\n", 2); jmp 1b
/// handler: exit_group(0)
/// ```
const WRITER: &[u8] = &[
    0xb8, 0x0d, 0, 0, 0, 0xbf, 0x0f, 0, 0, 0, 0x48, 0x8d, 0x35, 0x2d, 0, 0, 0, 0x31, 0xd2, 0x41,
    0xba, 8, 0, 0, 0, 0x0f, 0x05, 0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x32, 0, 0,
    0, 0xba, 2, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xe6, 0xb8, 0xe7, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0xad,
    0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0xad, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, b'x', b'\n',
];

/// The guest is asked to stop, and the exit code is that of a program ended by SIGPIPE.
pub(super) fn output_closed(bench: &Bench<'_>) -> Result<()> {
    let image = bench.image_of("writer.img", &program(WRITER))?;
    let mut tool = bench
        .lab
        .tyn()
        .args(["run", &image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = [0; 2];
    let mut stdout = tool.stdout.take().context("standard output is a pipe")?;
    stdout.read_exact(&mut line)?;
    drop(stdout);
    let start = Instant::now();
    while tool.try_wait()?.is_none() && start.elapsed() < STOP_LIMIT {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    tool.kill()?;
    let output = tool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(141)
            && said.starts_with("tyn: nobody reads standard output any more"),
        "{}: {said}",
        output.status
    );
    Ok(())
}
