//! OTP's own test suites in guests: those of `cargo xtask otp-suite` that are quick and lean on the kernel.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use super::Tally;
use crate::otp::{
    self,
    suites::{self, Selected},
};

/// What is run here; all others by command.
const SUITES: &[&str] = &[
    "emulator/os_signal",
    "emulator/port_bif",
    "kernel/os",
    "kernel/prim_file",
];

/// Runs them; each case that passes on Linux is a test.
pub(super) fn run() -> Result<Tally> {
    let names: Vec<String> = SUITES.iter().map(|&s| s.to_owned()).collect();
    let mut tally = Tally::default();
    let suites = suites::select(&names)?;
    // Once for all: it changes files while another suite's image would be made of them.
    let root = otp::ensure_tree(&suites)?;
    tally.count_two_at_a_time(&suites, |selected, tally| {
        if let Err(error) = suite(selected, &root, tally) {
            tally.count(&selected.name(), Err(error));
        }
    });
    Ok(tally)
}

fn suite(selected: &Selected, root: &Path, tally: &mut Tally) -> Result<()> {
    let ran = otp::run_in_guest(selected, &otp::Options::default(), root)?;
    ensure!(
        ran.expected > 0,
        "{} has no list of cases that pass on Linux",
        selected.name()
    );
    let passed = ran.expected - ran.differ.len();
    tally.passed += u32::try_from(passed)?;
    eprintln!("  ok      {}: {passed} cases", selected.name());
    for (case, outcome) in ran.differ {
        tally.count(
            &format!("{}:{case}", selected.name()),
            Err(anyhow!("{outcome}")),
        );
    }
    Ok(())
}
