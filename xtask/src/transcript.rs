//! Transcripts: what differential tests write, on Linux and in a guest, and how they are compared.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// The transcript of each case, by its name.
pub(crate) type Transcripts = BTreeMap<String, String>;

/// Splits output into transcripts: a case's begins after `== NAME` and ends with the line `--: HOW IT ENDED`.
pub(crate) fn split(output: &str) -> Transcripts {
    let mut transcripts = Transcripts::new();
    let mut case: Option<(&str, String)> = None;
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            case = Some((name, String::new()));
        } else if let Some((name, text)) = &mut case {
            text.push_str(line);
            text.push('\n');
            if line.starts_with("--") {
                transcripts.insert((*name).to_owned(), std::mem::take(text));
                case = None;
            }
        }
    }
    transcripts
}

/// Compares transcripts.
///
/// # Errors
/// The first difference.
pub(crate) fn compare(expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (mut theirs, mut ours) = (expected.lines(), found.lines());
    loop {
        match (theirs.next(), ours.next()) {
            (Some(a), Some(b)) if a == b => {}
            (linux, tyn) => {
                let shown = |line: Option<&str>| line.unwrap_or("(nothing)").to_owned();
                bail!("Linux says '{}', Tyn '{}'", shown(linux), shown(tyn));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_split_into_cases() {
        let text =
            "boot\n== a\none\ntwo\n--: exit 0\nnoise\n== b\nthree\n== c\n--: exit 1\n== end\n";
        let cases = split(text);
        assert_eq!(cases.len(), 2);
        assert_eq!(cases["a"], "one\ntwo\n--: exit 0\n");
        assert_eq!(cases["c"], "--: exit 1\n");
    }

    #[test]
    fn first_difference_is_shown() {
        assert!(compare("a\nb\n", "a\nb\n").is_ok());
        let error = compare("a\nb\nc\n", "a\nx\n").unwrap_err().to_string();
        assert_eq!(error, "Linux says 'b', Tyn 'x'");
        let error = compare("a\nb\n", "a\n").unwrap_err().to_string();
        assert_eq!(error, "Linux says 'b', Tyn '(nothing)'");
    }
}
