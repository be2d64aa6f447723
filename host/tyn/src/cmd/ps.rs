//! `tyn ps`: the guests in the background.

use anyhow::Result;
use serde::Serialize;

use crate::guests::{Guest, Guests, Record, Status, now};
use crate::output;
use crate::table::Table;

/// Arguments of `tyn ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// For programs: an array of objects
    #[arg(long)]
    json: bool,
}

/// What a program gets.
#[derive(Serialize)]
struct Line {
    status: Status,
    #[serde(flatten)]
    record: Record,
}

/// Lists guests.
///
/// # Errors
/// When they can't be read.
pub(crate) fn ps(args: &Args) -> Result<()> {
    let mut guests = Guests::of_this_user()?.list()?;
    guests.retain(|guest| args.all || guest.status == Status::Running);
    if args.json {
        let line = |guest: &Guest| Line {
            status: guest.status,
            record: guest.record.clone(),
        };
        let lines: Vec<_> = guests.iter().map(line).collect();
        return output::print(&(serde_json::to_string_pretty(&lines)? + "\n"));
    }
    let mut table = Table::new(["NAME", "STATUS", "STARTED", "PORTS", "IMAGE"]);
    for guest in &guests {
        table.row(row(guest, now()));
    }
    output::print(&table.to_string())
}

fn row(guest: &Guest, now: u64) -> [String; 5] {
    let record = &guest.record;
    let status = match (guest.status, &record.ended) {
        (Status::Running, _) => "running".to_owned(),
        (Status::Ended, Some(ended)) => format!("{} ({})", ended.how, ended.code),
        (Status::Ended | Status::Lost, _) => "lost".to_owned(),
    };
    let ports: Vec<_> = record.ports.iter().map(ToString::to_string).collect();
    [
        record.name.clone(),
        status,
        format!("{} ago", duration(now.saturating_sub(record.started))),
        if ports.is_empty() {
            "-".into()
        } else {
            ports.join(" ")
        },
        record.image.display().to_string(),
    ]
}

/// Writes a duration in its largest unit.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        for (seconds, want) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(duration(seconds), want);
        }
    }
}
