//! The report channel: lines of text from the kernel to the host that runs it (QEMU `isa-debugcon` at [`PORT`]).
//!
//! One line, one fact; the first word says which kind. A line of no known kind is the kernel's log. [`Line`] is both what
//! the kernel formats and what the host parses, so that they can't disagree.

use core::fmt;

/// The x86 I/O port of the channel: one byte out, one character.
pub const PORT: u16 = 0xE9;

/// One line of the channel, without its newline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// `exit CODE`: process 1 ended with this exit status; the machine goes off next.
    Exit(u8),
    /// `panic TEXT`: the kernel stopped on a broken invariant. More than one line may follow one panic.
    Panic(&'a str),
    /// `error TEXT`: the kernel refused to boot; the text says what is wrong and what mends it.
    Error(&'a str),
    /// `trace NS CPU TID TEXT`: an event.
    Trace(TraceLine<'a>),
    /// `metric NAME VALUE`: a measurement.
    Metric {
        /// Name, one word with its unit at the end (`boot_to_user_ns`).
        name: &'a str,
        /// Value.
        value: u64,
    },
    /// Anything else.
    Log(&'a str),
}

/// A [`crate::Record`] as the host sees it: the event is text by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceLine<'a> {
    /// Nanoseconds since boot.
    pub ns: u64,
    /// CPU index.
    pub cpu: u32,
    /// Thread id, 0 for none.
    pub tid: u32,
    /// What happened.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// Parses a line; its end (`\n` or `\r\n`) may be there or not. A known first word with a malformed rest makes it
    /// a [`Line::Log`], so that nothing is lost.
    #[must_use]
    pub fn parse(line: &'a str) -> Self {
        let line = line.trim_end_matches(['\n', '\r']);
        Self::parse_known(line).unwrap_or(Self::Log(line))
    }

    fn parse_known(line: &'a str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        Some(match kind {
            "exit" => Self::Exit(rest.parse().ok()?),
            "panic" => Self::Panic(rest),
            "error" => Self::Error(rest),
            "trace" => {
                let mut fields = rest.splitn(4, ' ');
                Self::Trace(TraceLine {
                    ns: fields.next()?.parse().ok()?,
                    cpu: fields.next()?.parse().ok()?,
                    tid: fields.next()?.parse().ok()?,
                    text: fields.next()?,
                })
            }
            "metric" => {
                let (name, value) = rest.split_once(' ')?;
                let value = value.parse().ok()?;
                Self::Metric { name, value }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Panic(text) => write!(f, "panic {text}"),
            Self::Error(text) => write!(f, "error {text}"),
            Self::Trace(t) => write!(f, "trace {} {} {} {}", t.ns, t.cpu, t.tid, t.text),
            Self::Metric { name, value } => write!(f, "metric {name} {value}"),
            Self::Log(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Record};
    use std::{format, string::ToString};

    #[test]
    fn each_kind_survives_display_and_parse() {
        let trace = TraceLine {
            ns: 12,
            cpu: 1,
            tid: 7,
            text: "a b  c",
        };
        for line in [
            Line::Exit(255),
            Line::Panic("index out of bounds: at x.rs:1"),
            Line::Error("no root archive; use tyn run"),
            Line::Trace(trace),
            Line::Metric {
                name: "boot_to_user_ns",
                value: u64::MAX,
            },
            Line::Log("hello"),
            Line::Log(""),
        ] {
            let text = line.to_string();
            assert_eq!(Line::parse(&text), line);
            assert_eq!(Line::parse(&format!("{text}\r\n")), line);
        }
    }

    #[test]
    fn record_is_parsed_as_a_trace_line() {
        let record = Record {
            ns: 5,
            cpu: 2,
            tid: 3,
            event: Event::Exec { pid: 1 },
        };
        let text = format!("trace {record}");
        let Line::Trace(line) = Line::parse(&text) else {
            panic!("{text}")
        };
        assert_eq!((line.ns, line.cpu, line.tid), (5, 2, 3));
        assert_eq!(line.text, record.event.to_string());
    }

    #[test]
    fn malformed_lines_are_log() {
        for text in [
            "exit",
            "exit 256",
            "exit -1",
            "exit x",
            "trace 1 2",
            "trace 1 2 x y",
            "metric a",
            "metric a -1",
            "Exit 1",
            "panicked",
        ] {
            assert_eq!(Line::parse(text), Line::Log(text));
        }
    }
}
