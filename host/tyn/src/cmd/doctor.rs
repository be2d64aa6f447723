//! `tyn doctor`: what this machine lacks, and the remedy.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use anyhow::Result;

use crate::doctor::{Facts, Finding, State};
use crate::{kernel, output};

/// Arguments of `tyn doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For programs: an array of objects
    #[arg(long)]
    json: bool,
}

/// Shows what was found; returns the exit code: 1 when nothing can be started.
///
/// # Errors
/// When standard output can't be written.
pub(crate) fn doctor(args: &Args) -> Result<u8> {
    let findings = Facts::of_this_machine(kernel::is_inside()).findings();
    let text = if args.json {
        serde_json::to_string_pretty(&findings)? + "\n"
    } else {
        findings.iter().map(line).collect()
    };
    output::print(&text)?;
    Ok(u8::from(findings.iter().any(|f| f.state == State::Bad)))
}

fn line(finding: &Finding) -> String {
    let (word, color) = match finding.state {
        State::Ok => ("ok", AnsiColor::Green),
        State::Note => ("note", AnsiColor::Yellow),
        State::Bad => ("BAD", AnsiColor::Red),
    };
    let style = Style::new().fg_color(Some(color.into()));
    let mut text = format!(
        "{style}{word:4}{style:#}  {:9} {}\n",
        finding.what, finding.found
    );
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(text, "                {remedy}");
    }
    text
}
