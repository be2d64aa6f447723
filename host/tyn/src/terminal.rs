//! Our terminal while it is not as the shell left it: raw for a guest's console, or with keys that are read one by one; as it was
//! before on every way out.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use rustix::stdio;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tyn_bootfmt::options::TtySize;

/// The settings to go back to, while the terminal has others.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);
/// Whether lines must end with a carriage return.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// A terminal with settings of ours, for as long as this lives; nothing where standard input is no terminal.
#[derive(Debug)]
pub(crate) struct Terminal(());

impl Terminal {
    /// Makes the terminal raw.
    ///
    /// # Errors
    /// When it doesn't take it.
    pub(crate) fn enter_raw() -> Result<Self> {
        Self::enter(make_raw)
    }

    /// Makes every key a character to read, unseen, those for signals, too; output is as before.
    ///
    /// # Errors
    /// When it doesn't take it.
    pub(crate) fn enter_keys() -> Result<Self> {
        Self::enter(|| {
            change(|settings| {
                let keys = LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO;
                settings.local_modes.remove(keys);
            })
            .map(drop)
        })
    }

    /// Keeps what is typed as it is, unseen, for an editor that is not there yet; Ctrl-C is a signal.
    ///
    /// A terminal that reads lines makes something else of it: Ctrl-D becomes a zero byte, the erase key erases.
    ///
    /// # Errors
    /// When it doesn't take it.
    pub(crate) fn enter_waiting() -> Result<Self> {
        Self::enter(|| {
            change(|settings| {
                let lines = LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
                settings.local_modes.remove(lines);
            })
            .map(drop)
        })
    }

    fn enter(change: impl FnOnce() -> rustix::io::Result<()>) -> Result<Self> {
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
        change().context("the terminal can't be set to raw mode")?;
        Ok(Self(()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal raw, again if somebody changed it (the shell, while we were stopped).
pub(crate) fn make_raw() -> rustix::io::Result<()> {
    if change(Termios::make_raw)? {
        IS_RAW.store(true, Ordering::SeqCst);
    }
    Ok(())
}

/// Gives the terminal settings made of the saved ones; returns whether there are any.
fn change(make: impl FnOnce(&mut Termios)) -> rustix::io::Result<bool> {
    let Ok(saved) = SAVED.lock() else {
        return Ok(false);
    };
    let Some(mut settings) = saved.clone() else {
        return Ok(false);
    };
    make(&mut settings);
    termios::tcsetattr(stdio::stdin(), OptionalActions::Now, &settings)?;
    Ok(true)
}

/// Puts the terminal back.
pub(crate) fn restore() {
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
