//! Temporary files and folders of a tool that may be interrupted at any time, and the programs that it starts meanwhile: none of
//! them outlives it.
//!
//! Whatever is temporary is called `.tyn-PID-XXXXXX`, is known to this crate and locked (`flock(2)`) while it is in use:
//! - dropped, it is removed;
//! - on a signal ([`end_on_signals`]) [`end`] kills the programs, removes everything and exits;
//! - what a killed or crashed tool left lies there unlocked, and is removed by the next one that makes something in that folder. A
//!   lock, not the process id in the name, says who lives: ids are used again, and another container has its own.
//!
//! Who runs when: the thread that follows signals takes the register's lock in [`end`] and never gives it back, so no other thread
//! makes, keeps or removes anything, nor learns that its program was killed, before the process is gone.
#![forbid(unsafe_code)]

mod made;
mod program;
mod register;
mod sweep;

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

pub use made::{Dir, File, public};
pub use program::Program;
pub use register::end;

/// Returns what tells of the signals that ask a tool to end: Ctrl-C, Ctrl-\, SIGTERM, and SIGHUP unless it is ignored (`nohup`).
///
/// # Errors
/// When they can't be handled.
pub fn signals() -> io::Result<Signals> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match is_ignored(&status, SIGHUP) {
        true => Signals::new([SIGINT, SIGQUIT, SIGTERM]),
        false => Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]),
    }
}

/// Makes Ctrl-C, Ctrl-\, SIGTERM and SIGHUP end us with 128 + their number, and leave nothing behind.
///
/// # Errors
/// When they can't be handled.
pub fn end_on_signals() -> io::Result<()> {
    let mut signals = signals()?;
    register::own_groups();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            end(128 + signal);
        }
    });
    Ok(())
}

/// Returns whether a signal is ignored, out of `/proc/PID/status`.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) >> (signal - 1) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_told_by_the_mask() {
        let status = "SigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(status, SIGHUP));
        assert!(!is_ignored(status, SIGINT));
        assert!(!is_ignored("", SIGHUP));
    }
}
