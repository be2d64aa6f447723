//! Tests of everything that runs on the host: the pure crates, hal's pure parts, drivers, tools.

use std::process::Command;

use anyhow::{Result, ensure};

use super::Tally;
use crate::{fuzz_readers, paths, sysroot};

/// Runs `cargo test` over the workspace but the kernel image, and over the fuzzer's targets, and counts what libtest reports.
pub(super) fn run() -> Result<Tally> {
    // What is ignored by a plain `cargo test` compares with programs of the sysroot.
    sysroot::ensure()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(paths::root()).args([
        "test",
        "--workspace",
        "--exclude",
        "tyn-image",
        "--exclude",
        "tyn-selftest",
        "--no-fail-fast",
        "--quiet",
        "--",
        "--include-ignored",
    ]);
    let mut tally = count_of(&mut cargo)?;
    // The fuzzer's targets, by their seeds; without the tests of what they have of the tool.
    let mut targets = fuzz_readers::cargo();
    targets.args(["test", "--no-default-features", "--lib", "--quiet", "--"]);
    targets.args(["env::", "given::", "project::"].map(|tests| format!("--skip={tests}")));
    tally.add(count_of(&mut targets)?);
    Ok(tally)
}

/// Runs `cargo test` and counts.
fn count_of(cargo: &mut Command) -> Result<Tally> {
    let output = cargo.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut tally = count(&text);
    if !output.status.success() {
        eprintln!("{text}{}", String::from_utf8_lossy(&output.stderr));
        tally.failed = tally.failed.max(1);
    }
    ensure!(
        tally.passed + tally.failed > 0,
        "cargo test reported no result"
    );
    Ok(tally)
}

/// Adds up libtest's lines `test result: ok. 3 passed; 0 failed; ...`.
fn count(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text.lines().filter(|l| l.starts_with("test result:")) {
        let number = |what: &str| {
            let words: Vec<&str> = line.split([' ', ';']).filter(|w| !w.is_empty()).collect();
            let at = words.iter().position(|w| *w == what)?;
            words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
        };
        tally.passed += number("passed").unwrap_or(0);
        tally.failed += number("failed").unwrap_or(0);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_results_are_added_up() {
        let text = "x\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\ntest result: FAILED. 2 passed; 4 failed; 0 ignored";
        assert_eq!(
            count(text),
            Tally {
                passed: 5,
                failed: 4
            }
        );
    }
}
