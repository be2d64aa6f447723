//! The kernel's own lines on the console.

use core::fmt::{self, Write as _};

use super::console;

/// Room for one line of the kernel's.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // What does not fit is cut off.
        for (slot, &byte) in self.bytes.iter_mut().skip(self.len).zip(text.as_bytes()) {
            *slot = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Writes a line of the kernel's to the console, on a line of its own: what the owner of the machine must know. Allocates
/// nothing itself; called with no lock held.
pub(crate) fn kernel_line(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 160],
        len: 0,
    };
    let _ = writeln!(line, "\n{text}");
    let bytes = line.bytes.get(..line.len).unwrap_or_default();
    if let Some(console) = console() {
        // A console that takes nothing now has no room for it.
        let _ = console.write(&mut &*bytes);
    }
}
