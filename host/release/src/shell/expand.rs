//! Expansion of one word: quotes, backslashes, variables. Words are not split and file names not matched: neither happens
//! in an assignment.

use std::iter::Peekable;
use std::str::Chars;

use super::{Shell, is_name};

type Input<'a> = Peekable<Chars<'a>>;

/// Nesting of `${NAME:-WORD}` that is followed.
const MAX_DEPTH: usize = 16;

/// Expands a word.
///
/// # Errors
/// What in it is not understood.
pub(super) fn word(text: &str, shell: &mut Shell) -> Result<String, String> {
    expand(text, shell, 0)
}

fn expand(text: &str, shell: &mut Shell, depth: usize) -> Result<String, String> {
    if depth == MAX_DEPTH {
        return Err("it is nested too deeply".into());
    }
    let mut out = String::new();
    let mut input = text.chars().peekable();
    let mut is_quoted = false;
    if text == "~" || text.starts_with("~/") {
        input.next();
        out += shell.lookup("HOME")?.unwrap_or("~");
    }
    while let Some(c) = input.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            '\'' if !is_quoted => out.extend(input.by_ref().take_while(|&c| c != '\'')),
            '\\' if is_quoted => match input.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => out.push(c),
                Some('\n') | None => {}
                Some(c) => out.extend(['\\', c]),
            },
            '\\' => out.extend(input.next().filter(|&c| c != '\n')),
            '$' => out += &variable(&mut input, shell, depth)?,
            '`' => return Err("commands (`…`) are not run".into()),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Expands what follows a dollar sign.
fn variable(input: &mut Input<'_>, shell: &mut Shell, depth: usize) -> Result<String, String> {
    match input.peek() {
        Some('(') => Err("commands ($(…)) are not run".into()),
        Some('{') => {
            input.next();
            braced(&inside_braces(input)?, shell, depth)
        }
        Some(c) if c.is_ascii_alphabetic() || *c == '_' => {
            let mut name = String::new();
            while let Some(c) = input.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                name.push(c);
            }
            Ok(shell.lookup(&name)?.unwrap_or_default().to_owned())
        }
        Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(*c) => {
            Err(format!("${c} has no value in an image's start"))
        }
        _ => Ok("$".into()),
    }
}

/// Returns what is up to the closing brace that belongs to the opened one.
fn inside_braces(input: &mut Input<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut depth = 1;
    while let Some(c) = input.next() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '\\' => {
                text.push(c);
                text.extend(input.next());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            return Ok(text);
        }
        text.push(c);
    }
    Err("a brace is not closed".into())
}

fn braced(text: &str, shell: &mut Shell, depth: usize) -> Result<String, String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    if !is_name(name) {
        return Err(format!("${{{text}}} is not followed"));
    }
    let value = shell.lookup(name)?.map(str::to_owned);
    let (operator, word, value) = match rest.strip_prefix(':') {
        // With a colon, an empty value is as good as none.
        Some(rest) => (
            rest.chars().next(),
            rest.get(1..),
            value.filter(|v| !v.is_empty()),
        ),
        None => (rest.chars().next(), rest.get(1..), value),
    };
    let word = word.unwrap_or_default();
    match (operator, value) {
        (None, value) if rest.is_empty() => Ok(value.unwrap_or_default()),
        (Some('-' | '='), Some(value)) => Ok(value),
        (Some('-'), None) => expand(word, shell, depth + 1),
        (Some('='), None) => {
            let value = expand(word, shell, depth + 1)?;
            shell.variables.insert(name.into(), value.clone());
            Ok(value)
        }
        (Some('+'), Some(_)) => expand(word, shell, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), Some(value)) => Ok(value),
        (Some('?'), None) => Err(format!("{name} is not set ({word})")),
        _ => Err(format!("${{{text}}} is not followed")),
    }
}
