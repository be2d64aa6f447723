//! The size of the window that the console is shown in, told by the host over a second serial port: lines of text
//! (`tyn_bootfmt::options`, `tty.size`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_bootfmt::options::TtySize;
use tyn_hal::sync::SpinLock;
use tyn_io::console::ConsoleListener;

use super::Tty;

/// Longest line that is looked at.
const LINE_MAX: usize = 64;

/// Collects lines and resizes the terminal.
pub(super) struct SizeLines {
    tty: Arc<Tty>,
    line: SpinLock<Vec<u8>>,
}

impl SizeLines {
    pub(super) fn new(tty: Arc<Tty>) -> Self {
        let line = SpinLock::new(Vec::new());
        Self { tty, line }
    }
}

impl ConsoleListener for SizeLines {
    fn received(&self, bytes: &[u8]) {
        let mut size = None;
        let mut line = self.line.lock();
        for &byte in bytes {
            if byte == b'\n' {
                size = TtySize::parse_line(&line).or(size);
                line.clear();
            } else if line.len() < LINE_MAX {
                line.push(byte);
            }
        }
        drop(line);
        if let Some(size) = size {
            self.tty.resize(size);
        }
    }

    fn writable(&self) {}
}
