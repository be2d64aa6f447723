//! `#!` scripts (`execve(2)`, "Interpreter scripts"; Linux's `fs/binfmt_script.c`).

/// How much of the file Linux looks at for a `#!` line (`BINPRM_BUF_SIZE`).
pub const HEAD_LEN: usize = 256;

/// A parsed `#!` line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Script<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// The rest of the line as one argument.
    pub argument: Option<&'a [u8]>,
}

/// What the head of a file says about `#!`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<'a> {
    /// No `#!`: try other formats.
    NotScript,
    /// A usable line.
    Script(Script<'a>),
    /// A `#!` without an interpreter, or one that does not end within [`HEAD_LEN`] bytes (`ENOEXEC`).
    Bad,
}

/// Parses the first bytes of a file (as many as there are, at most [`HEAD_LEN`] are looked at).
#[must_use]
pub fn parse(head: &[u8]) -> Parsed<'_> {
    let head = head.get(..HEAD_LEN).unwrap_or(head);
    let Some(rest) = head.strip_prefix(b"#!") else {
        return Parsed::NotScript;
    };
    let newline = rest.iter().position(|&b| b == b'\n');
    let ended = newline.is_some() || head.len() < HEAD_LEN;
    let line = trim(rest.get(..newline.unwrap_or(rest.len())).unwrap_or(rest));
    let name_len = line.iter().position(|&b| is_end(b)).unwrap_or(line.len());
    let (interpreter, tail) = line.split_at_checked(name_len).unwrap_or((line, &[]));
    // A cut line is fine as long as the interpreter's name is complete: only its argument is cut, as on Linux.
    if interpreter.is_empty() || (!ended && tail.is_empty()) {
        return Parsed::Bad;
    }
    let argument = tail.split(|&b| b == 0).next().map(trim);
    let argument = argument.filter(|a| !a.is_empty() && tail.first() != Some(&0));
    Parsed::Script(Script {
        interpreter,
        argument,
    })
}

fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn is_end(b: u8) -> bool {
    is_blank(b) || b == 0
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [b, rest @ ..] = line
        && is_blank(*b)
    {
        line = rest;
    }
    while let [rest @ .., b] = line
        && is_blank(*b)
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn script<'a>(interpreter: &'a str, argument: Option<&'a str>) -> Parsed<'a> {
        Parsed::Script(Script {
            interpreter: interpreter.as_bytes(),
            argument: argument.map(str::as_bytes),
        })
    }

    #[test]
    fn lines_parse_as_on_linux() {
        let cases: [(&[u8], Parsed<'_>); 10] = [
            (b"#!/bin/sh\necho", script("/bin/sh", None)),
            (b"#! \t/bin/sh\n", script("/bin/sh", None)),
            (b"#!/bin/sh", script("/bin/sh", None)),
            (
                b"#!/usr/bin/env escript\n",
                script("/usr/bin/env", Some("escript")),
            ),
            (b"#!/bin/sh -e -u \t\n", script("/bin/sh", Some("-e -u"))),
            (b"#!/bin/sh\0junk\n", script("/bin/sh", None)),
            (b"#!/bin/sh -x\0junk\n", script("/bin/sh", Some("-x"))),
            (b"#!\n/bin/sh", Parsed::Bad),
            (b"#!   \n", Parsed::Bad),
            (b"\x7fELF", Parsed::NotScript),
        ];
        for (head, expected) in cases {
            assert_eq!(parse(head), expected, "{head:?}");
        }
        assert_eq!(parse(b"#"), Parsed::NotScript);
        assert_eq!(parse(b""), Parsed::NotScript);
    }

    #[test]
    fn name_longer_than_the_head_is_refused() {
        let mut head: Vec<u8> = b"#!/".to_vec();
        head.resize(300, b'a');
        assert_eq!(parse(&head), Parsed::Bad);
        head[100] = b' ';
        let Parsed::Script(s) = parse(&head) else {
            panic!("name fits")
        };
        assert_eq!(s.interpreter.len(), 98);
        assert_eq!(s.argument.map(<[u8]>::len), Some(HEAD_LEN - 101));
    }
}
