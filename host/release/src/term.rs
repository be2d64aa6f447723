//! Reads files of Erlang terms as far as release files need it (`.rel`, `.app`): atoms, strings, numbers, lists, tuples.

/// A term.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Term {
    /// An atom, or something that can't be read further (a map, a binary): then `?`.
    Atom(String),
    /// Text in double quotes.
    String(String),
    /// A number, as it is written.
    Number(String),
    /// A list.
    List(Vec<Term>),
    /// A tuple.
    Tuple(Vec<Term>),
}

/// Nesting that is followed.
const MAX_DEPTH: usize = 64;

impl Term {
    /// Reads the first term of a file; `None` when it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        reader.term(0)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Atom(text) | Self::String(text) => Some(text),
            Self::Number(_) | Self::List(_) | Self::Tuple(_) => None,
        }
    }

    /// Returns the parts of a list or tuple.
    pub(crate) fn parts(&self) -> &[Self] {
        match self {
            Self::List(parts) | Self::Tuple(parts) => parts,
            Self::Atom(_) | Self::String(_) | Self::Number(_) => &[],
        }
    }

    /// Returns the value of `{KEY, VALUE}` in a list.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.parts().iter().find_map(|part| match part.parts() {
            [name, value] if name.text() == Some(key) => Some(value),
            _ => None,
        })
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('%') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
    }

    fn term(&mut self, depth: usize) -> Option<Term> {
        self.skip();
        let first = self.rest.chars().next()?;
        match first {
            _ if depth == MAX_DEPTH => None,
            '[' => self.parts(']', depth).map(Term::List),
            '{' => self.parts('}', depth).map(Term::Tuple),
            '"' => {
                let mut text = self.quoted('"')?;
                // Strings beside each other are one.
                loop {
                    self.skip();
                    if !self.rest.starts_with('"') {
                        return Some(Term::String(text));
                    }
                    text += &self.quoted('"')?;
                }
            }
            '\'' => self.quoted('\'').map(Term::Atom),
            '#' | '<' => {
                self.foreign()?;
                Some(Term::Atom("?".into()))
            }
            _ => {
                let is_word = |c: char| c.is_alphanumeric() || "_@.+-".contains(c);
                let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                // The full stop that ends the file.
                let word = word.strip_suffix('.').unwrap_or(word);
                let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '-');
                match word {
                    "" => None,
                    word if is_number => Some(Term::Number(word.into())),
                    word => Some(Term::Atom(word.into())),
                }
            }
        }
    }

    fn parts(&mut self, end: char, depth: usize) -> Option<Vec<Term>> {
        self.rest = &self.rest[1..];
        let mut parts = Vec::new();
        loop {
            self.skip();
            let next = self.rest.chars().next()?;
            if next == end || next == ',' || next == '|' {
                self.rest = &self.rest[1..];
                if next == end {
                    return Some(parts);
                }
                continue;
            }
            parts.push(self.term(depth + 1)?);
        }
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        chars.next();
        loop {
            match chars.next()? {
                '\\' => text.extend(chars.next()),
                c if c == quote => break,
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    /// Passes over a map or binary.
    fn foreign(&mut self) -> Option<()> {
        let (open, close) = match self.rest.as_bytes() {
            [b'#', b'{', ..] => ('{', '}'),
            [b'<', b'<', ..] => ('<', '>'),
            _ => return None,
        };
        let mut depth = 0_usize;
        loop {
            let next = self.rest.chars().next()?;
            if next == '"' || next == '\'' {
                self.quoted(next)?;
                continue;
            }
            self.rest = &self.rest[next.len_utf8()..];
            if next == open {
                depth += 1;
            } else if next == close {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn release_files_are_read() {
        let text = "%% coding: utf-8\n{release,{\"my_app\",\"1.2.3\"},{erts,\"15.2.7\"},\n [{kernel,\"10.2\"},\n  {'Elixir.X',\"1\" \".0\",load}]}.\n";
        let term = Term::parse(text).unwrap();
        let [_, name, erts, apps] = term.parts() else {
            panic!("{term:?}");
        };
        assert_eq!(name.parts()[0].text(), Some("my_app"));
        assert_eq!(erts.parts()[1].text(), Some("15.2.7"));
        assert_eq!(apps.get("kernel").unwrap().text(), Some("10.2"));
        assert_eq!(apps.parts()[1].parts()[1].text(), Some("1.0"));
    }

    #[test]
    fn application_files_are_read() {
        let text = "{application, x,\n [{description, \"a \\\"b\\\" [\"},{vsn,\"1\"},{modules,[a,b]},{applications,[kernel,stdlib]},\n  {env,[{k,#{a => \"}\", b => <<\"x\">>}},{n,-1.5e3}]}, {mod,{x_app,[]}}]}.";
        let term = Term::parse(text).unwrap();
        let keys = &term.parts()[2];
        let applications: Vec<_> = keys
            .get("applications")
            .unwrap()
            .parts()
            .iter()
            .filter_map(Term::text)
            .collect();
        assert_eq!(applications, ["kernel", "stdlib"]);
        assert_eq!(keys.get("mod").unwrap().parts()[0].text(), Some("x_app"));
    }

    #[test]
    fn what_is_no_term_is_none() {
        for text in [
            "",
            "{",
            "[a",
            "\"a",
            ".",
            "{a,#",
            "%only",
            &"[".repeat(100_000),
        ] {
            assert_eq!(Term::parse(text), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{}\\[\\],.\"'%#<>\\\\é\n -]{0,60}") {
            let _ = Term::parse(&text);
        }
    }
}
