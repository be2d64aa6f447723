//! `tyn logs`: what a guest in the background wrote on its console, and what its supervisor said.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::guests::{Guests, Status};
use crate::log::{self, Reader};
use crate::output::Output;
use crate::terminal;
use crate::usage;

/// How often it is looked for more.
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `tyn logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the guest
    name: String,
    /// Go on until the guest ends
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last N lines
    #[arg(short = 'n', long, value_name = "N", value_parser = usage::lines, allow_negative_numbers = true)]
    lines: Option<usize>,
}

/// Prints a log.
///
/// # Errors
/// When there is no such guest, or its log can't be read.
pub(crate) fn logs(args: &Args) -> Result<()> {
    let guests = Guests::of_this_user()?;
    let guest = guests.find(&args.name)?;
    let unreadable = || format!("the log {} can't be read", guest.log().display());
    let mut log = Reader::open(&guest.log()).with_context(unreadable)?;
    if let Some(lines) = args.lines {
        log.skip(|bytes| start_of_last(bytes, lines))
            .with_context(unreadable)?;
    }
    let mut out = Output::new().context("standard output can't be written")?;
    loop {
        // Asked before the rest is read: what it wrote before its end is there then.
        let is_running = args.follow
            && guests
                .find(&args.name)
                .is_ok_and(|guest| guest.status == Status::Running);
        // Whoever read this has enough.
        let is_read = log.copy(&mut out, &skipped)?.is_some();
        if !is_running || !is_read {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Says that what was written before we came to it is there no more.
pub(crate) fn skipped(bytes: u64) {
    terminal::say(&format!(
        "tyn: {bytes} bytes are skipped: of a log the newest {} MB are kept",
        log::KEPT >> 20
    ));
}

/// Returns where the last `lines` lines begin.
pub(crate) fn start_of_last(bytes: &[u8], lines: usize) -> usize {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => bytes.len(),
        Some(before) => ends.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_found() {
        for (text, lines, want) in [
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            let start = start_of_last(text.as_bytes(), lines);
            assert_eq!(&text[start..], want);
        }
    }
}
