//! The guest's console on this side: what becomes of its output, where its input comes from, and the size of the window that
//! shows it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tyn_bootfmt::options::TtySize;

use crate::vm::lock;

/// What becomes of the guest's console output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Console {
    /// It is kept for [`Vm::console`].
    Keep,
    /// It is read, and written to, by who calls [`Vm::take_console`].
    Pipe,
}

/// The ends of a console that the guest writes to and reads from.
#[derive(Debug)]
pub struct ConsolePipe {
    /// What is written here, the guest reads.
    pub input: ChildStdin,
    /// What the guest writes; ends with the machine.
    pub output: ChildStdout,
}

/// Tells a guest the size of its terminal.
#[derive(Debug)]
pub struct Resizer(pub(crate) UnixStream);

impl Resizer {
    /// Tells the guest that its terminal has this size now.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn resize(&mut self, size: TtySize) -> io::Result<()> {
        writeln!(self.0, "size {} {}", size.rows, size.columns)
    }
}

/// Keeps all that comes from `stdout`.
pub(crate) fn collect(mut stdout: ChildStdout, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut chunk) {
            lock(&into).extend_from_slice(&chunk[..length]);
        }
    })
}
