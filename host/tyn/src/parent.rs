//! `tyn run --with-parent`: for tools that start this one and wait for it.
//!
//! Erlang starts programs in sessions of their own: no signal of the terminal reaches them, and they outlive whoever started
//! them. So the end of our parent becomes a signal, and the keys for signals are read as characters.

use std::io::{self, BufRead, IsTerminal};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{self, Signal};

use crate::stopper::Stopper;
use crate::terminal::Terminal;

/// Ctrl-C.
const INTERRUPT: u8 = 3;

/// Asks for SIGTERM when our parent ends.
///
/// # Errors
/// When it can't be had.
pub(crate) fn follow() -> Result<()> {
    process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("the end of the process that started this one can't be followed")
}

/// Makes Ctrl-C on our terminal a request to stop, for as long as the terminal is held; nothing where there is none.
///
/// # Errors
/// When the terminal doesn't take it.
pub(crate) fn take_keys(stopper: &Stopper) -> Result<Terminal> {
    let terminal = Terminal::enter_keys()?;
    if io::stdin().is_terminal() {
        let stopper = stopper.clone();
        thread::spawn(move || read_keys(io::stdin().lock(), || stopper.on_request()));
    }
    Ok(terminal)
}

fn read_keys(keys: impl BufRead, mut on_interrupt: impl FnMut()) {
    // An error is that of a terminal that is gone.
    for key in keys.bytes().map_while(Result::ok) {
        if key == INTERRUPT {
            on_interrupt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interrupt_key_counts_and_no_other() {
        let mut count = 0;
        read_keys(&b"a\x03\x1a\n\x03"[..], || count += 1);
        assert_eq!(count, 2);
    }
}
