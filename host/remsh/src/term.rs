//! Erlang's terms: what is said often.

use eetf::{Atom, Binary, FixInteger, List, Term, Tuple};

pub(crate) fn atom(name: &str) -> Term {
    Atom::from(name).into()
}

pub(crate) fn integer(value: i32) -> Term {
    FixInteger::from(value).into()
}

pub(crate) fn tuple(elements: impl Into<Vec<Term>>) -> Term {
    Tuple::from(elements.into()).into()
}

pub(crate) fn list(elements: impl Into<Vec<Term>>) -> Term {
    List::from(elements.into()).into()
}

pub(crate) fn binary(text: &str) -> Term {
    Binary::from(text.as_bytes().to_vec()).into()
}

/// Makes a list of code points, as Erlang's strings are.
pub(crate) fn string(text: &str) -> Term {
    let codes = text.chars().map(|c| i32::try_from(u32::from(c)));
    list(codes.flatten().map(integer).collect::<Vec<_>>())
}

/// Returns the elements of a tuple.
pub(crate) fn elements(term: &Term) -> Option<&[Term]> {
    match term {
        Term::Tuple(tuple) => Some(&tuple.elements),
        _ => None,
    }
}

/// Returns the elements of a proper list.
pub(crate) fn items(term: &Term) -> Option<Vec<Term>> {
    match term {
        Term::List(list) => Some(list.elements.clone()),
        Term::ByteList(list) => {
            let bytes = list.bytes.iter();
            Some(bytes.map(|&byte| integer(i32::from(byte))).collect())
        }
        _ => None,
    }
}

/// Returns an atom's name.
pub(crate) fn name(term: &Term) -> Option<&str> {
    match term {
        Term::Atom(atom) => Some(&atom.name),
        _ => None,
    }
}

/// How bytes of a binary are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    Latin1,
    Unicode,
}

/// Returns the text of `unicode:chardata()` (or of bytes); `None` where it is something else.
pub(crate) fn text(term: &Term, encoding: Encoding) -> Option<String> {
    let mut text = String::new();
    // Not by calling ourselves: how deep it is, is the node's to say.
    let mut todo = vec![term];
    while let Some(term) = todo.pop() {
        match term {
            Term::List(list) => todo.extend(list.elements.iter().rev()),
            Term::ImproperList(list) => {
                todo.push(&list.last);
                todo.extend(list.elements.iter().rev());
            }
            Term::ByteList(list) => text.extend(list.bytes.iter().map(|&byte| char::from(byte))),
            Term::FixInteger(code) => text.push(char::from_u32(u32::try_from(code.value).ok()?)?),
            Term::Binary(binary) if encoding == Encoding::Unicode => {
                text += &String::from_utf8_lossy(&binary.bytes);
            }
            Term::Binary(binary) => text.extend(binary.bytes.iter().map(|&byte| char::from(byte))),
            _ => return None,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_from_all_its_forms() {
        let deep = list(vec![
            string("hé"),
            list(vec![binary("日"), integer(0x142)]),
            eetf::ByteList::from(vec![b'!', 0xe9]).into(),
        ]);
        assert_eq!(text(&deep, Encoding::Unicode).unwrap(), "hé日ł!é");
        assert_eq!(text(&binary("é"), Encoding::Latin1).unwrap(), "Ã©");
        assert_eq!(text(&atom("x"), Encoding::Unicode), None);
        assert_eq!(text(&integer(-1), Encoding::Unicode), None);
        let mut nested = integer(65);
        for _ in 0..100 {
            nested = list(vec![nested]);
        }
        assert_eq!(text(&nested, Encoding::Unicode).unwrap(), "A");
    }
}
