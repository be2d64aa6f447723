//! How cases ended, and which must pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::suites::Selected;
use crate::paths;

/// How the cases of one run ended.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// Each case with the outcome that counts: it may run in several groups.
    cases: BTreeMap<String, String>,
    ended: bool,
}

const OK: &str = "ok";

impl Outcomes {
    /// Reads the runner's lines out of all that was written.
    pub(crate) fn parse(text: &str) -> Self {
        let mut outcomes = Self::default();
        for line in text.lines().map(str::trim_end) {
            if let Some(result) = line.strip_prefix("@result ") {
                // {Passed, Failed, {Skipped, ...}}, or what went wrong.
                outcomes.ended = result
                    .strip_prefix('{')
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            } else if let Some((case, outcome)) = line
                .strip_prefix("@case ")
                .and_then(|rest| rest.split_once(' '))
            {
                outcomes.add(case, outcome);
            } else if let Some(rest) = line.strip_prefix("@start ") {
                let case = rest.split(' ').next().unwrap_or(rest);
                let case = outcomes.cases.entry(case.to_owned());
                case.or_insert_with(|| UNFINISHED.to_owned());
            }
        }
        outcomes
    }

    fn add(&mut self, case: &str, outcome: &str) {
        let known = self.cases.entry(case.to_owned()).or_default();
        if weight(outcome) >= weight(known) {
            outcome.clone_into(known);
        }
    }

    /// Returns whether the suite came to its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Iterates over what did not pass.
    pub(crate) fn not_passed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cases
            .iter()
            .filter(|(_, outcome)| *outcome != OK)
            .map(|(case, outcome)| (case.as_str(), outcome.as_str()))
    }
}

const UNFINISHED: &str = "unfinished";

/// Which of a case's outcomes in several groups counts: a failure, else a success; where it is skipped, it says nothing.
fn weight(outcome: &str) -> u8 {
    match outcome {
        "" | UNFINISHED => 0,
        OK => 2,
        _ if outcome.starts_with("skipped") => 1,
        _ => 3,
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases = self.cases.iter().filter(|(case, _)| is_case(case));
        let (mut passed, mut skipped, mut failed) = (0, 0, 0);
        for (_, outcome) in cases {
            match outcome.as_str() {
                OK => passed += 1,
                o if o.starts_with("skipped") => skipped += 1,
                _ => failed += 1,
            }
        }
        write!(f, "{passed} passed, {skipped} skipped, {failed} failed")
    }
}

/// Setting up and tearing down are no cases.
fn is_case(name: &str) -> bool {
    !name.starts_with("init_per_") && !name.starts_with("end_per_")
}

/// The list of a suite: a case a line that must pass, `- CASE: REASON` for one that passes on Linux and need not in the
/// guest, `x CASE: REASON` for one that is not run, and comments behind `#`.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pass: BTreeSet<String>,
    excused: BTreeMap<String, String>,
    not_run: BTreeMap<String, String>,
}

impl Expected {
    /// Reads the list of a suite; an empty one when there is none.
    ///
    /// # Errors
    /// When it can't be understood.
    pub(crate) fn read(selected: &Selected) -> Result<Self> {
        let path = file(selected);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path)?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut expected = Self::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((mark, rest)) = line.split_once(' ') else {
                expected.pass.insert(line.to_owned());
                continue;
            };
            let Some((case, reason)) = rest.split_once(": ") else {
                bail!("'{line}' gives no reason");
            };
            let to = match mark {
                "-" => &mut expected.excused,
                "x" => &mut expected.not_run,
                _ => bail!("'{line}' begins with neither '-' nor 'x'"),
            };
            to.insert(case.to_owned(), reason.to_owned());
        }
        Ok(expected)
    }

    /// Takes over what passed on Linux.
    pub(crate) fn update(&mut self, outcomes: &Outcomes) {
        self.pass = outcomes
            .cases
            .iter()
            .filter(|(case, outcome)| *outcome == OK && is_case(case))
            .map(|(case, _)| case.clone())
            .filter(|case| !self.excused.contains_key(case))
            .collect();
    }

    /// Writes the list.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn write(&self, selected: &Selected) -> Result<()> {
        let path = file(selected);
        fs::create_dir_all(path.parent().context("a list has a folder")?)?;
        let mut text = String::new();
        for case in &self.pass {
            text += case;
            text.push('\n');
        }
        for (mark, cases) in [('-', &self.excused), ('x', &self.not_run)] {
            for (case, reason) in cases {
                let _ = writeln!(text, "{mark} {case}: {reason}");
            }
        }
        fs::write(path, text)?;
        Ok(())
    }

    /// Returns the cases that should have passed, with what became of them.
    pub(crate) fn missing(&self, outcomes: &Outcomes, of: &Selected) -> Vec<(String, String)> {
        let mut missing = Vec::new();
        for case in &self.pass {
            let asked = of.cases.is_empty() || of.cases.contains(case);
            match outcomes.cases.get(case) {
                Some(outcome) if outcome == OK => {}
                Some(outcome) => missing.push((case.clone(), outcome.clone())),
                None if asked => missing.push((case.clone(), "not run".to_owned())),
                None => {}
            }
        }
        missing
    }

    /// Returns how many cases must pass.
    pub(crate) fn count(&self) -> usize {
        self.pass.len()
    }

    /// Returns the names of the cases that are not run, for the runner.
    pub(crate) fn skip(&self) -> String {
        let names: Vec<&str> = self.not_run.keys().map(String::as_str).collect();
        names.join(",")
    }
}

/// Returns where the list of a suite is.
fn file(selected: &Selected) -> PathBuf {
    paths::root()
        .join("tests/otp/lists")
        .join(selected.area.name)
        .join(format!("{}.txt", selected.suite))
}

#[cfg(test)]
mod tests {
    use super::super::suites::select;
    use super::*;

    const TEXT: &str = "noise\n@start a 5 ms\n\n@case a ok\n@start b\n@case b failed why\r\n\
                        @start c\n@start d\n@case d ok\n@case d skipped x\n\
                        @case b ok\n@case e skipped y\n@result {1,1,{0,0}}\n";

    #[test]
    fn failure_counts_more_than_success_and_success_more_than_skipping() {
        let outcomes = Outcomes::parse(TEXT);
        assert!(outcomes.ended());
        let found: Vec<_> = outcomes.not_passed().collect();
        assert_eq!(
            found,
            [("b", "failed why"), ("c", UNFINISHED), ("e", "skipped y")]
        );
        assert_eq!(outcomes.to_string(), "2 passed, 1 skipped, 2 failed");
    }

    #[test]
    fn listed_cases_must_pass() {
        let expected = Expected::parse("a\nb\ne\n- c: why\nx f: slow\n# remark\n").unwrap();
        let all = &select(&["crypto".to_owned()]).unwrap()[0];
        let missing = expected.missing(&Outcomes::parse(TEXT), all);
        let names: Vec<_> = missing.iter().map(|(case, _)| case.as_str()).collect();
        assert_eq!(names, ["b", "e"]);
        assert_eq!(expected.skip(), "f");
        assert!(Expected::parse("- c\n").is_err());
        assert!(Expected::parse("y c: d\n").is_err());
    }
}
