//! Collects what a guest's kernel reports (`tyn_trace::report`), and says how the guest ended.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tyn_trace::Line;

/// Trace and log lines that are kept.
const KEPT_LINES: usize = 2000;
/// Longest line taken as one, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// What was reported so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Exit status of process 1.
    pub exit: Option<u8>,
    /// Lines of a kernel panic.
    pub panic: Vec<String>,
    /// Why the kernel refused to boot.
    pub errors: Vec<String>,
    /// Measurements, by name.
    pub metrics: BTreeMap<String, u64>,
    /// The last trace and log lines.
    pub lines: VecDeque<String>,
    /// How QEMU ended and what it said, once it has.
    pub machine: String,
}

impl Report {
    /// Adds one line.
    pub fn add(&mut self, line: &Line<'_>) {
        match line {
            Line::Exit(code) => self.exit = Some(*code),
            Line::Panic(text) => self.panic.push((*text).to_owned()),
            Line::Error(text) => self.errors.push((*text).to_owned()),
            Line::Metric { name, value } => {
                self.metrics.insert((*name).to_owned(), *value);
            }
            Line::Trace(_) | Line::Log(_) => {
                if self.lines.len() == KEPT_LINES {
                    self.lines.pop_front();
                }
                self.lines.push_back(line.to_string());
            }
        }
    }

    /// Returns how the guest ended, once its machine has stopped.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if !self.panic.is_empty() {
            return Outcome::Panicked(self.panic.clone());
        }
        if !self.errors.is_empty() {
            return Outcome::Refused(self.errors.join("; "));
        }
        match self.exit {
            Some(status) => Outcome::Exited(status),
            None => Outcome::Vanished(self.machine.clone()),
        }
    }
}

/// Lines of QEMU's that are kept.
const LAST_WORDS: usize = 5;

/// Says how QEMU ended, and its last words.
pub(crate) fn describe_end(status: ExitStatus, stderr: &str) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(9), _) => {
            "QEMU was killed (signal 9), perhaps because this machine has no memory left".into()
        }
        (Some(signal), _) => format!("QEMU was ended by signal {signal}"),
        (None, code) => format!("QEMU ended with exit status {}", code.unwrap_or(0)),
    };
    let said: Vec<_> = stderr
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let last = said
        .get(said.len().saturating_sub(LAST_WORDS)..)
        .unwrap_or_default();
    if last.is_empty() {
        how
    } else {
        format!("{how} and said: {}", last.join("; "))
    }
}

/// How a guest ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Process 1 ended with this exit status.
    Exited(u8),
    /// The kernel panicked; its lines.
    Panicked(Vec<String>),
    /// The kernel refused to boot; why, and what mends it.
    Refused(String),
    /// The machine stopped and the kernel said nothing: a reset, or QEMU was ended. How that ended and what it said.
    Vanished(String),
}

/// The exit codes of `tyn run` that are not the guest's own. A guest's exit status may be any; these follow the
/// convention of container tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    /// The kernel panicked.
    Panic = 124,
    /// The guest was not started, or refused to boot: bad input, and one sentence says which.
    NotStarted = 125,
    /// The machine stopped without saying why.
    Vanished = 126,
    /// Killed on request, before it had stopped by itself (128 + SIGKILL).
    Killed = 137,
    /// Stopped because nobody read its output any more (128 + SIGPIPE).
    Unheard = 141,
}

impl Outcome {
    /// Returns the exit code of `tyn run`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exited(code) => *code,
            Self::Panicked(_) => ExitCode::Panic as u8,
            Self::Refused(_) => ExitCode::NotStarted as u8,
            Self::Vanished(_) => ExitCode::Vanished as u8,
        }
    }
}

/// Calls `on_line` for each line of `reader` until it ends. Bytes that are no UTF-8 are replaced; what exceeds the
/// longest line becomes lines of its own.
///
/// # Errors
/// When reading fails.
pub fn read_lines(reader: &mut dyn BufRead, mut on_line: impl FnMut(&Line<'_>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        on_line(&Line::parse(&String::from_utf8_lossy(&bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        read_lines(&mut text.as_bytes(), |line| report.add(line)).unwrap();
        report
    }

    #[test]
    fn lines_are_sorted_by_kind() {
        let report = report(
            "metric boot_to_user_ns 12\ntrace 1 0 2 text\nhello\nmetric boot_to_user_ns 13\nexit 3\n",
        );
        assert_eq!(report.metrics["boot_to_user_ns"], 13);
        assert_eq!(report.lines, ["trace 1 0 2 text", "hello"]);
        assert_eq!(report.outcome(), Outcome::Exited(3));
    }

    #[test]
    fn outcome_tells_panic_refusal_exit_and_silence_apart() {
        for (text, outcome, code) in [
            ("exit 124", Outcome::Exited(124), 124),
            (
                "exit 0\npanic a\npanic frame 0x1",
                Outcome::Panicked(vec!["a".into(), "frame 0x1".into()]),
                124,
            ),
            (
                "error no archive; use tyn run",
                Outcome::Refused("no archive; use tyn run".into()),
                125,
            ),
            ("log", Outcome::Vanished(String::new()), 126),
            ("", Outcome::Vanished(String::new()), 126),
        ] {
            let found = report(text).outcome();
            assert_eq!((found.exit_code(), found), (code, outcome));
        }
    }

    #[test]
    fn end_of_qemu_is_told_with_its_last_words() {
        let end = |raw, said| describe_end(ExitStatus::from_raw(raw), said);
        assert_eq!(end(0, ""), "QEMU ended with exit status 0");
        assert_eq!(
            end(1 << 8, "1\n2\n\n3\n4\n5\nqemu-system-x86_64: no\n"),
            "QEMU ended with exit status 1 and said: 2; 3; 4; 5; qemu-system-x86_64: no"
        );
        assert_eq!(end(11, " \n"), "QEMU was ended by signal 11");
        assert!(end(9, "").contains("memory"));
    }

    #[test]
    fn memory_of_a_chatty_guest_is_bounded() {
        let report = report(&"x\n".repeat(KEPT_LINES + 5));
        assert_eq!(report.lines.len(), KEPT_LINES);
        let mut lines = 0;
        let long = vec![b'y'; 3 * MAX_LINE as usize];
        read_lines(&mut long.as_slice(), |_| lines += 1).unwrap();
        assert_eq!(lines, 3);
        read_lines(&mut &b"\xff\xfe\n"[..], |line| {
            assert!(matches!(line, Line::Log(_)));
        })
        .unwrap();
    }
}
