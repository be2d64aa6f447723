//! `tyn stop` and `tyn rm`: the end of guests in the background.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::control::{self, Request};
use crate::guests::{Guest, Guests, Status};
use crate::{output, terminal, usage};

/// How long a killed guest's end is waited for: QEMU may have much memory to give back.
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// Arguments of `tyn stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of guests
    #[arg(required = true)]
    names: Vec<String>,
    /// Seconds that a guest has to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, value_parser = usage::seconds, allow_negative_numbers = true)]
    timeout: u64,
}

/// Arguments of `tyn rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Names of guests that have ended
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// All that have ended
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
}

/// Asks guests to stop (by their power button: releases do `init:stop()`), then kills them.
///
/// # Errors
/// When there is no such guest.
pub(crate) fn stop(args: &Args) -> Result<()> {
    let guests = Guests::of_this_user()?;
    for name in &args.names {
        let guest = guests.find(name)?;
        if guest.status == Status::Running {
            stop_one(&guests, &guest, Duration::from_secs(args.timeout))?;
        } else {
            terminal::say(&format!("tyn: {name} has ended already"));
        }
    }
    Ok(())
}

fn stop_one(guests: &Guests, guest: &Guest, timeout: Duration) -> Result<()> {
    let name = &guest.record.name;
    if !timeout.is_zero() && ask(guests, guest, Request::Stop, timeout)? {
        return Ok(());
    }
    terminal::say(&format!(
        "tyn: {name} did not stop within {} s: killed",
        timeout.as_secs()
    ));
    if !ask(guests, guest, Request::Kill, KILL_LIMIT)? {
        bail!(
            "{name} can't be killed; end the process {} by hand",
            guest.record.qemu_pid
        );
    }
    Ok(())
}

/// Sends a request; returns whether the guest ended within `limit`.
fn ask(guests: &Guests, guest: &Guest, request: Request, limit: Duration) -> Result<bool> {
    let deadline = deadline(limit);
    let mut connection = match control::ask(guest.dir(), request) {
        Ok(connection) => connection,
        // It ended meanwhile.
        Err(_) if !runs(guests, &guest.record.name) => return Ok(true),
        Err(error) => return Err(error),
    };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        connection.get_ref().set_read_timeout(left)?;
        // Closed when the supervisor ends.
        match connection.read(&mut [0]) {
            Err(error)
                if [
                    ErrorKind::WouldBlock,
                    ErrorKind::TimedOut,
                    ErrorKind::Interrupted,
                ]
                .contains(&error.kind()) => {}
            _ => return Ok(true),
        }
    }
}

/// Returns when a time that begins now is over; `None`: never.
fn deadline(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

fn runs(guests: &Guests, name: &str) -> bool {
    let found = guests.find(name);
    found.is_ok_and(|guest| guest.status == Status::Running)
}

/// Forgets guests that have ended.
///
/// # Errors
/// When there is no such guest, or it runs.
pub(crate) fn remove(args: &RemoveArgs) -> Result<()> {
    let guests = Guests::of_this_user()?;
    if args.all {
        for name in guests.remove(None)? {
            output::print(&format!("{name}\n"))?;
        }
    }
    for name in &args.names {
        guests.remove(Some(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_time_is_none() {
        assert_eq!(deadline(Duration::from_secs(u64::MAX)), None);
        assert!(deadline(Duration::from_secs(10)) > Some(Instant::now()));
    }
}
