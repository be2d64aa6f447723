//! Standard output, which its reader may close (`| head`).

use std::io::{self, ErrorKind, Read, Write};

use anyhow::Result;

/// Writes text, with its colours only to a terminal that wants them (`NO_COLOR`); whoever closes the pipe has seen enough.
///
/// # Errors
/// When it can't be written.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Copies all that a guest writes to standard output. When that takes no more, `on_closed` is called, once, and the rest is dropped.
pub(crate) fn copy(mut guest: impl Read, on_closed: impl FnOnce()) {
    let mut chunk = [0; 4096];
    let mut on_closed = Some(on_closed);
    while let Ok(length @ 1..) = guest.read(&mut chunk) {
        let mut out = io::stdout().lock();
        let is_open = on_closed.is_some()
            && out
                .write_all(&chunk[..length])
                .and_then(|()| out.flush())
                .is_ok();
        drop(out);
        if !is_open && let Some(tell) = on_closed.take() {
            tell();
        }
    }
}
