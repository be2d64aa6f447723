//! Splits a script into statements and those into words, without running anything. A compound command (`if … fi`) is one
//! statement.

use super::is_name;

/// One statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Statement {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// Its text, comments left out.
    pub(super) text: String,
    /// Whether it is more than words: a compound command, a list, a pipe, a redirection.
    complex: Option<&'static str>,
}

/// A word as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Word {
    /// With its quotes.
    pub(super) text: String,
}

impl Word {
    /// Returns name and value when it is an assignment.
    pub(super) fn assignment(&self) -> Option<(&str, &str)> {
        let (name, value) = self.text.split_once('=')?;
        is_name(name).then_some((name, value))
    }
}

impl Statement {
    /// Returns its words.
    ///
    /// # Errors
    /// Why it is not just words.
    pub(super) fn words(&self) -> Result<Vec<Word>, String> {
        if let Some(why) = self.complex {
            return Err(why.into());
        }
        let mut scanner = Scanner::new(&self.text);
        let mut words = Vec::new();
        while let Some(Token::Word(text)) = scanner.next() {
            words.push(Word { text });
        }
        Ok(words)
    }
}

/// Returns the names that are assigned to somewhere in the text of a statement.
pub(super) fn assigned(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut scanner = Scanner::new(text);
    let mut after = "";
    while let Some(token) = scanner.next() {
        let Token::Word(text) = token else { continue };
        let word = Word { text };
        if let Some((name, _)) = word.assignment() {
            names.push(name.to_owned());
        } else if ["export", "read"].contains(&after) && is_name(&word.text) {
            names.push(word.text.clone());
        }
        after = match word.text.as_str() {
            "export" => "export",
            "read" => "read",
            _ => "",
        };
    }
    names
}

/// Splits a script.
pub(super) fn split(script: &str) -> Vec<Statement> {
    let mut scanner = Scanner::new(script);
    let mut statements = Vec::new();
    let mut current = Current::default();
    loop {
        let from = scanner.at;
        let token = scanner.next();
        match &token {
            None | Some(Token::End) if current.depth == 0 => {
                statements.extend(current.finish());
            }
            None => {
                statements.extend(current.finish());
            }
            Some(Token::End) => current.line_end(),
            Some(Token::Word(word)) => current.word(word, scanner.line_of(from)),
            Some(Token::Operator(operator)) => current.operator(operator, scanner.line_of(from)),
        }
        if token.is_none() {
            return statements;
        }
    }
}

/// The statement that is being read.
#[derive(Default)]
struct Current {
    text: String,
    line: usize,
    depth: usize,
    complex: Option<&'static str>,
    /// Whether the next word would be a command or a keyword.
    is_inside: bool,
}

impl Current {
    fn word(&mut self, word: &str, line: usize) {
        if self.text.is_empty() {
            self.line = line;
        } else if !self.text.ends_with('\n') {
            self.text.push(' ');
        }
        if !self.is_inside {
            match word {
                "if" | "case" | "for" | "while" | "until" | "{" => self.open(),
                "fi" | "esac" | "done" | "}" => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        // After these a command follows.
        self.is_inside = !matches!(
            word,
            "if" | "then" | "else" | "elif" | "do" | "while" | "until" | "{" | "!"
        );
        self.text.push_str(word);
    }

    fn operator(&mut self, operator: &str, line: usize) {
        if self.text.is_empty() {
            self.line = line;
        }
        self.text.push_str(operator);
        match operator {
            "(" => self.open(),
            // The pattern of a `case` has no opening one.
            ")" if self.complex.is_some() && self.text.contains('(') => {
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
        self.is_inside = false;
        let why = match operator {
            "|" | "||" | "&&" | "&" => "lists and pipes are not run",
            "<" | ">" => "redirections are not run",
            _ => "compound commands are not run",
        };
        self.complex.get_or_insert(why);
    }

    fn line_end(&mut self) {
        self.text.push('\n');
        self.is_inside = false;
    }

    fn open(&mut self) {
        self.depth += 1;
        self.complex.get_or_insert("compound commands are not run");
    }

    fn finish(&mut self) -> Option<Statement> {
        let Self {
            text,
            line,
            complex,
            ..
        } = std::mem::take(self);
        (!text.trim().is_empty()).then_some(Statement {
            line,
            text,
            complex,
        })
    }
}

enum Token {
    Word(String),
    /// A newline or `;`.
    End,
    Operator(&'static str),
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the line of the first thing that isn't blank at or behind `from`.
    fn line_of(&self, from: usize) -> usize {
        let rest = &self.text[from..];
        let blank = rest.len() - rest.trim_start().len();
        self.text[..from + blank].matches('\n').count() + 1
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            let c = self.rest().chars().next()?;
            match c {
                ' ' | '\t' | '\r' => self.at += 1,
                '\\' if self.rest().starts_with("\\\n") => self.at += 2,
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => break,
            }
        }
        for operator in [";;", "||", "&&", "|", "&", "<", ">", "(", ")"] {
            if self.rest().starts_with(operator) {
                self.at += operator.len();
                return Some(Token::Operator(operator));
            }
        }
        if self.rest().starts_with(['\n', ';']) {
            self.at += 1;
            return Some(Token::End);
        }
        let length = word_length(self.rest());
        let word = self.rest()[..length].replace("\\\n", "");
        self.at += length;
        Some(Token::Word(word))
    }
}

/// Returns how long the word is that the text begins with; at least one character.
fn word_length(text: &str) -> usize {
    let mut chars = text.char_indices();
    // Quotes and braces that are open, the innermost last.
    let mut open: Vec<char> = Vec::new();
    while let Some((at, c)) = chars.next() {
        let innermost = open.last().copied();
        let is_quoted = open.contains(&'"');
        match (innermost, c) {
            (Some('\''), '\'') | (Some('`'), '`') | (Some('"'), '"') | (Some('{'), '}') => {
                open.pop();
            }
            (Some('\'' | '`'), _) => {}
            (_, '\\') => {
                chars.next();
            }
            (_, '$') if text[at..].starts_with("$(") => {
                let length = command_length(&text[at + 1..]);
                while chars.as_str().len() > text.len() - at - 1 - length {
                    chars.next();
                }
            }
            (_, '$') if text[at..].starts_with("${") => {
                chars.next();
                open.push('{');
            }
            (_, '"' | '`') => open.push(c),
            (_, '\'') if !is_quoted => open.push(c),
            (None, ' ' | '\t' | '\r' | '\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')')
                if at > 0 =>
            {
                return at;
            }
            _ => {}
        }
    }
    text.len()
}

/// Returns the length of a command in parentheses, which the text begins with.
fn command_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}
