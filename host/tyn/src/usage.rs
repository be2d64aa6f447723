//! Values on the command line: how numbers are read, and one line about a value that can't be, as about everything else.

use std::error::Error as _;
use std::fmt::Write;
use std::str::FromStr;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use tyn_vm_host::MAX_CPUS;

/// Returns what is wrong with a value, and what is accepted; `None` when something else is wrong.
pub(crate) fn bad_value(error: &Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    // An option is shown with its value's name: `--port <HOST:GUEST>`, `--trace[=<WHAT>]`.
    let option = text(ContextKind::InvalidArg)?;
    let end = option.find([' ', '[']).unwrap_or(option.len());
    let (option, _) = option.split_at(end);
    match error.kind() {
        ErrorKind::ValueValidation => Some(format!("{option}: {}", error.source()?)),
        ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty())?;
            let Some(ContextValue::Strings(all)) = error.get(ContextKind::ValidValue) else {
                return None;
            };
            let (last, others) = all.split_last()?;
            let mut said = format!("{option}: '{value}' is unknown: use {}", others.join(", "));
            // Writing to a String does not fail.
            let _ = match others {
                [] => write!(said, "{last}"),
                _ => write!(said, " or {last}"),
            };
            Some(said)
        }
        _ => None,
    }
}

/// Reads a number of virtual CPUs; whether a guest may have so many is said later.
pub(crate) fn cpus(text: &str) -> Result<u32, String> {
    number(text, &format!("a number of CPUs: use 1 to {MAX_CPUS}"))
}

/// Reads a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    number(text, "a number of seconds: use e.g. 30, or 0 not to wait")
}

/// Reads a number of lines.
pub(crate) fn lines(text: &str) -> Result<usize, String> {
    number(text, "a number of lines: use e.g. 100")
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is not {what}"))
}
