//! Our terminal while a guest's console is on it: raw, and as it was before on every way out.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use rustix::stdio;
use rustix::termios::{self, OptionalActions, Termios};
use tyn_bootfmt::options::TtySize;

/// The settings to go back to, while the terminal is raw.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);
/// Whether lines must end with a carriage return.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// A raw terminal, for as long as this lives; nothing where standard input is no terminal.
#[derive(Debug)]
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw.
    ///
    /// # Errors
    /// When it doesn't take it.
    pub(crate) fn enter() -> Result<Self> {
        if !std::io::stdin().is_terminal() {
            return Ok(Self(()));
        }
        let saved = termios::tcgetattr(stdio::stdin()).context("the terminal can't be read")?;
        if let Ok(mut slot) = SAVED.lock() {
            *slot = Some(saved);
        }
        // A panic aborts: what `drop` would do is done before.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
        make_raw().context("the terminal can't be set to raw mode")?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal raw, again if somebody changed it (the shell, while we were stopped).
pub(crate) fn make_raw() -> rustix::io::Result<()> {
    let Ok(saved) = SAVED.lock() else {
        return Ok(());
    };
    let Some(mut settings) = saved.clone() else {
        return Ok(());
    };
    settings.make_raw();
    termios::tcsetattr(stdio::stdin(), OptionalActions::Now, &settings)?;
    IS_RAW.store(true, Ordering::SeqCst);
    Ok(())
}

/// Puts the terminal back.
fn restore() {
    let saved = SAVED.lock().ok().and_then(|mut slot| slot.take());
    if let Some(saved) = saved {
        // After what the guest wrote last. A terminal that is gone needs nothing.
        let _ = termios::tcsetattr(stdio::stdin(), OptionalActions::Drain, &saved);
        IS_RAW.store(false, Ordering::SeqCst);
    }
}

/// Returns the terminal's size, a usual one where there is none.
pub(crate) fn size() -> TtySize {
    let known = [stdio::stdout(), stdio::stdin()]
        .into_iter()
        .filter_map(|fd| termios::tcgetwinsize(fd).ok())
        .find(|size| size.ws_row != 0 && size.ws_col != 0);
    known.map_or(
        TtySize {
            rows: 24,
            columns: 80,
        },
        |size| TtySize {
            rows: size.ws_row,
            columns: size.ws_col,
        },
    )
}

/// Writes a line to standard error.
pub(crate) fn say(line: &str) {
    let end = if IS_RAW.load(Ordering::SeqCst) {
        "\r\n"
    } else {
        "\n"
    };
    // Nothing can be done about a closed one.
    let _ = write!(std::io::stderr().lock(), "{}{end}", line.replace('\n', end));
}
