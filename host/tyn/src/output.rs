//! Standard output.

use std::io::{ErrorKind, Write};

use anyhow::Result;

/// Writes text, with its colours only to a terminal that wants them (`NO_COLOR`); whoever closes the pipe (`| head`) has seen enough.
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
