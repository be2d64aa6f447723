//! Variables for the guest's environment: as given by `-e`, and files of them.
//!
//! The format of files is that of `docker run --env-file`: a line is `NAME=VALUE`, the value as it stands, to the end of the
//! line, quotes included; or `NAME`, which takes the value from our own environment. Lines that begin with `#` are comments.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::given;

/// Where a variable that is given by name alone gets its value.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Looks a variable up in our own environment.
pub(crate) fn own(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Completes variables as `-e` gives them, `NAME=VALUE` or `NAME`.
///
/// # Errors
/// When a value is missing.
pub(crate) fn complete(given: &[String], lookup: Lookup<'_>) -> Result<Vec<String>> {
    let one = |variable: &String| {
        if variable.starts_with('=') || variable.is_empty() {
            bail!("-e {variable} is not NAME=VALUE; write a name in front");
        }
        if variable.contains('=') {
            return Ok(variable.clone());
        }
        let value = lookup(variable).ok_or_else(|| {
            anyhow!("-e {variable} has no value, neither there nor in our own environment; use -e {variable}=VALUE")
        })?;
        Ok(format!("{variable}={value}"))
    };
    given.iter().map(one).collect()
}

/// Reads a file of variables.
///
/// # Errors
/// When it can't be read, or the first line that is none, as `FILE:LINE`.
pub(crate) fn read_file(path: &Path, lookup: Lookup<'_>) -> Result<Vec<String>> {
    let shown = path.display();
    let bytes = given::read_short(path)
        .with_context(|| format!("the variables in {shown} can't be read"))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut variables = Vec::new();
    for (at, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let place = format!("{shown}:{}", at + 1);
        let line = str::from_utf8(line).ok();
        let line = line.with_context(|| format!("{place}: this is no UTF-8; write it so"))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            variables.push(parse_line(line, lookup).with_context(|| place)?);
        }
    }
    Ok(variables)
}

fn parse_line(line: &str, lookup: Lookup<'_>) -> Result<String> {
    let name = line.split('=').next().unwrap_or_default();
    if name.is_empty() {
        bail!("a name is missing before '='; write NAME=VALUE");
    }
    if name.contains(char::is_whitespace) {
        bail!("the name '{name}' has blanks in it; write NAME=VALUE without blanks around '='");
    }
    if line.contains('\0') {
        bail!("{name} has a NUL byte in it; remove it");
    }
    if line.contains('=') {
        return Ok(line.to_owned());
    }
    let value = lookup(name).ok_or_else(|| {
        anyhow!("{name} has no value, neither here nor in our own environment; write {name}=VALUE")
    })?;
    Ok(format!("{name}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(text: &[u8]) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let lookup = |name: &str| (name == "HERE").then(|| "a b".to_owned());
        let shown = file.path().display().to_string();
        read_file(file.path(), &lookup).map_err(|e| format!("{e:#}").replace(&shown, "env"))
    }

    #[test]
    fn lines_are_variables_to_their_end() {
        let text = b"\xef\xbb\xbf# comment\n\n  \nA=1\r\n  B=\"q\" # no comment \nC==\nHERE\nD=\nlow.er-x=\xc3\xa9";
        let want = [
            "A=1",
            "B=\"q\" # no comment ",
            "C==",
            "HERE=a b",
            "D=",
            "low.er-x=é",
        ];
        assert_eq!(read(text).unwrap(), want);
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, want) in [
            (
                &b"A=1\nB C=2"[..],
                "env:2: the name 'B C' has blanks in it; write NAME=VALUE without blanks around '='",
            ),
            (b"A =1", "env:1: the name 'A ' has blanks"),
            (b"export A=1", "env:1: the name 'export A' has blanks"),
            (
                b"#\n=x",
                "env:2: a name is missing before '='; write NAME=VALUE",
            ),
            (
                b"GONE",
                "env:1: GONE has no value, neither here nor in our own environment; write GONE=VALUE",
            ),
            (b"A=\xff", "env:1: this is no UTF-8; write it so"),
            (b"\n\nA=\0", "env:3: A has a NUL byte in it; remove it"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
        let error = read_file(Path::new("/none/env"), &|_| None).unwrap_err();
        let want =
            "the variables in /none/env can't be read: No such file or directory (os error 2)";
        assert_eq!(format!("{error:#}"), want);
    }

    #[test]
    fn names_alone_take_our_own_values() {
        let lookup = |name: &str| (name == "X").then(|| "1=2".to_owned());
        let given = ["A=".to_owned(), "X".to_owned()];
        assert_eq!(complete(&given, &lookup).unwrap(), ["A=", "X=1=2"]);
        let error = complete(&["Y".to_owned()], &lookup)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "-e Y has no value, neither there nor in our own environment; use -e Y=VALUE"
        );
    }
}
