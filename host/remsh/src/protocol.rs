//! The Erlang I/O protocol: what a group leader is asked for.

use eetf::Term;

use crate::term::{Encoding, elements, items, name, text};

/// Most requests that may be within each other.
const MAX_DEPTH: usize = 4;

/// A request, with what its answer needs.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct IoRequest {
    /// A process, or an alias of one.
    pub(crate) from: Term,
    pub(crate) reply_as: Term,
    pub(crate) what: What,
}

/// What is asked for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum What {
    /// To write this.
    Put(String),
    /// To write what a function returns.
    PutResult(Encoding, Call),
    /// A line.
    Line { prompt: Term },
    /// So many characters.
    Chars { prompt: Term, count: usize },
    /// A line that is not shown.
    Password,
    /// What a function makes of lines, until it has enough.
    Until { prompt: Term, call: Call },
    /// The terminal's size.
    Columns,
    /// The same.
    Rows,
    /// Options are asked for.
    GetOptions,
    /// Options are set.
    SetOptions(Vec<Term>),
    /// Several.
    Several(Vec<What>),
    /// Something else.
    Unknown,
}

/// A function with arguments.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    pub(crate) module: Term,
    pub(crate) function: Term,
    pub(crate) args: Vec<Term>,
}

impl IoRequest {
    /// Reads a message; `None` when it is none of the protocol.
    pub(crate) fn parse(message: &Term) -> Option<Self> {
        match elements(message)? {
            [
                tag,
                from @ (Term::Pid(_) | Term::Reference(_)),
                reply_as,
                request,
            ] if name(tag) == Some("io_request") => Some(Self {
                from: from.clone(),
                reply_as: reply_as.clone(),
                what: what(request, MAX_DEPTH),
            }),
            _ => None,
        }
    }
}

fn what(request: &Term, depth: usize) -> What {
    known(request, depth).unwrap_or(What::Unknown)
}

fn known(request: &Term, depth: usize) -> Option<What> {
    if name(request) == Some("getopts") {
        return Some(What::GetOptions);
    }
    let parts = elements(request)?;
    let (tag, rest) = parts.split_first()?;
    match (name(tag)?, rest) {
        ("put_chars", [encoding, chars]) => {
            Some(What::Put(text(chars, self::encoding(encoding)?)?))
        }
        ("put_chars", [encoding, module, function, args]) => {
            let call = call(module, function, args)?;
            Some(What::PutResult(self::encoding(encoding)?, call))
        }
        // As they were before Unicode.
        ("put_chars", [chars]) => Some(What::Put(text(chars, Encoding::Latin1)?)),
        ("get_line", [.., prompt]) => Some(What::Line {
            prompt: prompt.clone(),
        }),
        ("get_chars", [.., prompt, Term::FixInteger(count)]) => Some(What::Chars {
            prompt: prompt.clone(),
            count: usize::try_from(count.value).ok()?,
        }),
        ("get_password", _) => Some(What::Password),
        ("get_until", [_, prompt, module, function, args]) => Some(What::Until {
            prompt: prompt.clone(),
            call: call(module, function, args)?,
        }),
        ("get_geometry", [which]) => match name(which)? {
            "columns" => Some(What::Columns),
            "rows" => Some(What::Rows),
            _ => None,
        },
        ("setopts", [options]) => Some(What::SetOptions(items(options)?)),
        ("requests", [requests]) => {
            let depth = depth.checked_sub(1)?;
            let requests = items(requests)?;
            Some(What::Several(
                requests.iter().map(|r| what(r, depth)).collect(),
            ))
        }
        _ => None,
    }
}

fn encoding(term: &Term) -> Option<Encoding> {
    match name(term)? {
        "unicode" | "utf8" => Some(Encoding::Unicode),
        "latin1" => Some(Encoding::Latin1),
        _ => None,
    }
}

fn call(module: &Term, function: &Term, args: &Term) -> Option<Call> {
    Some(Call {
        module: module.clone(),
        function: function.clone(),
        args: items(args)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::{atom, binary, integer, list, string, tuple};

    fn parsed(request: Term) -> What {
        let pid = Term::from(eetf::Pid::new("a@b", 1, 2, 3));
        let message = tuple(vec![atom("io_request"), pid.clone(), integer(7), request]);
        let parsed = IoRequest::parse(&message).unwrap();
        assert_eq!((parsed.from, parsed.reply_as), (pid, integer(7)));
        parsed.what
    }

    fn of(words: Vec<Term>) -> What {
        parsed(tuple(words))
    }

    #[test]
    fn requests_are_understood() {
        let unicode = || atom("unicode");
        assert_eq!(
            of(vec![atom("put_chars"), unicode(), binary("é")]),
            What::Put("é".into())
        );
        assert_eq!(
            of(vec![atom("put_chars"), atom("latin1"), string("x")]),
            What::Put("x".into())
        );
        let prompt = atom("p");
        assert_eq!(
            of(vec![atom("get_line"), unicode(), prompt.clone()]),
            What::Line {
                prompt: prompt.clone()
            }
        );
        let args = list(vec![tuple(vec![integer(1), integer(1)])]);
        let until = of(vec![
            atom("get_until"),
            unicode(),
            prompt.clone(),
            atom("erl_scan"),
            atom("tokens"),
            args.clone(),
        ]);
        let What::Until { call, .. } = until else {
            panic!("{until:?}");
        };
        assert_eq!((call.module, call.args.len()), (atom("erl_scan"), 1));
        assert_eq!(of(vec![atom("get_geometry"), atom("rows")]), What::Rows);
        assert_eq!(parsed(atom("getopts")), What::GetOptions);
    }

    #[test]
    fn what_is_not_known_is_said_so() {
        for request in [
            atom("x"),
            tuple(vec![]),
            tuple(vec![atom("put_chars"), atom("utf16"), string("x")]),
            tuple(vec![atom("put_chars"), atom("unicode"), atom("x")]),
            tuple(vec![atom("get_chars"), string("p"), integer(-1)]),
            tuple(vec![atom("get_geometry"), atom("depth")]),
        ] {
            assert_eq!(parsed(request), What::Unknown);
        }
        assert_eq!(IoRequest::parse(&tuple(vec![atom("io_request")])), None);
    }

    #[test]
    fn requests_within_requests_have_an_end() {
        let mut request = atom("getopts");
        for _ in 0..10 {
            request = tuple(vec![atom("requests"), list(vec![request])]);
        }
        let mut found = parsed(request);
        let mut depth = 0;
        while let What::Several(mut inner) = found {
            found = inner.remove(0);
            depth += 1;
        }
        assert_eq!((found, depth), (What::Unknown, MAX_DEPTH));
    }
}
