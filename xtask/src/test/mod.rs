//! `cargo xtask test`: every test there is, one suite after the other, and a tally at the end.

pub(crate) mod abi;
mod binaries;
mod cli;
mod disk;
mod fuzz;
mod host;
mod inputs;
mod integrations;
mod otp;
pub(crate) mod scenarios;
mod selftest;
mod tty;
mod tutorial;
mod vm;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

/// What a suite found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u32,
    /// Tests that failed.
    pub(crate) failed: u32,
}

impl Tally {
    /// Counts one test, and says so when it failed.
    pub(crate) fn count(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                eprintln!("  ok      {name}");
            }
            Err(error) => {
                self.failed += 1;
                eprintln!("  FAILED  {name}: {error:#}");
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Counts what `run` finds of each item, two at a time: a guest of one busy CPU leaves half of a small machine idle.
    pub(crate) fn count_two_at_a_time<T: Sync>(
        &mut self,
        items: &[T],
        run: impl Fn(&T, &mut Self) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut tally = Self::default();
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                run(item, &mut tally);
            }
            tally
        };
        let (here, there) = thread::scope(|scope| {
            let there = scope.spawn(work);
            (work(), there.join())
        });
        self.add(here);
        // A panic of a test is one of the suite.
        self.add(there.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }
}

/// A suite: its name, and what runs it. An error (it could not even run) counts as one failure.
type Suite = (&'static str, fn() -> Result<Tally>);

/// All suites, the quick ones first.
const SUITES: &[Suite] = &[
    ("host", host::run),
    ("selftest", selftest::run),
    ("abi", abi::run),
    ("cli", cli::run),
    ("inputs", inputs::run),
    ("integrations", integrations::run),
    ("tty", tty::run),
    ("disk", disk::run),
    ("fuzz", fuzz::run),
    ("vm", vm::run),
    ("net", crate::net::suite),
    ("tutorial", tutorial::run),
    ("binaries", binaries::run),
    ("otp", otp::run),
    ("python", crate::python::suite),
    ("scenarios", scenarios::run),
];

/// Runs the suites whose names are given, or all.
///
/// # Errors
/// When a test failed, or none ran.
pub(crate) fn test(only: &[String]) -> Result<()> {
    for name in only {
        let names: Vec<&str> = SUITES.iter().map(|(n, _)| *n).collect();
        ensure!(
            names.contains(&name.as_str()),
            "no suite is called '{name}': there are {}",
            names.join(", ")
        );
    }
    let mut total = Tally::default();
    for (name, run) in SUITES {
        if !only.is_empty() && !only.iter().any(|o| o == name) {
            continue;
        }
        eprintln!("suite {name}");
        let start = Instant::now();
        let tally = run().unwrap_or_else(|error| {
            eprintln!("  FAILED  suite {name} could not run: {error:#}");
            Tally {
                passed: 0,
                failed: 1,
            }
        });
        eprintln!(
            "suite {name}: {} passed, {} failed in {:.0?}",
            tally.passed,
            tally.failed,
            start.elapsed()
        );
        total.add(tally);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    ensure!(
        total.failed == 0,
        "{} of {} tests failed",
        total.failed,
        total.passed + total.failed
    );
    ensure!(total.passed > 0, "no test ran");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_counted_once() {
        let items: Vec<u32> = (0..100).collect();
        let mut tally = Tally::default();
        tally.count_two_at_a_time(&items, |item, tally| {
            let odd = Err(anyhow::anyhow!("odd"));
            let result = if item % 2 == 0 { Ok(()) } else { odd };
            tally.count("counted", result);
        });
        assert_eq!((tally.passed, tally.failed), (50, 50));
    }
}
