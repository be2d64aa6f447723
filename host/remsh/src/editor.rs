//! Reads lines from the terminal, with history and completion, in a thread of its own: the node may write meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use eetf::Term;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};

use crate::peer::Peer;
use crate::session::{Event, Typed};
use crate::term::{Encoding, atom, elements, items, list, string, text};

/// The terminal's side of the editor.
pub(crate) struct Lines {
    editor: Editor<Completion, DefaultHistory>,
}

/// What prints while a line is edited, and otherwise, too.
pub(crate) type Print = Box<dyn FnMut(String) + Send>;

/// What is to be read.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) prompt: String,
    pub(crate) expand: Option<Term>,
}

/// Asks the node for completions.
struct Completion {
    peer: Arc<Peer>,
    expand: Option<Term>,
}

impl Lines {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it can't be used.
    pub(crate) fn new(peer: &Arc<Peer>) -> rustyline::Result<(Self, Print)> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .auto_add_history(true)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Completion {
            peer: Arc::clone(peer),
            expand: None,
        }));
        let mut printer = editor.create_external_printer()?;
        let print = move |text| {
            // A terminal that is gone ends the editor, too.
            let _ = printer.print(text);
        };
        Ok((Self { editor }, Box::new(print)))
    }

    /// Reads what is `wanted` until nothing is wanted any more.
    pub(crate) fn serve(mut self, wanted: &Receiver<Wanted>, events: &Sender<Event>) {
        for Wanted { prompt, expand } in wanted {
            if let Some(helper) = self.editor.helper_mut() {
                helper.expand = expand;
            }
            let typed = match self.editor.readline(&prompt) {
                Ok(line) => Typed::Line(line + "\n"),
                Err(ReadlineError::Interrupted) => Typed::Interrupt,
                // The end of our input; and whatever keeps us from reading it.
                Err(_) => Typed::End,
            };
            if events.send(Event::Typed(typed)).is_err() {
                return;
            }
        }
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..at).unwrap_or(line);
        Ok((at, complete(&self.peer, self.expand.as_ref(), before)))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

/// Returns what can follow `before`, a line up to the cursor; `expand` is the shell's own function for that.
fn complete(peer: &Peer, expand: Option<&Term>, before: &str) -> Vec<Pair> {
    let reversed: String = before.chars().rev().collect();
    let args = vec![string(&reversed)];
    let answer = match expand {
        Some(function) => peer.call(
            atom("erlang"),
            atom("apply"),
            vec![function.clone(), list(args)],
        ),
        None => peer.call(atom("edlin_expand"), atom("expand"), args),
    };
    let Ok(answer) = answer else {
        return Vec::new();
    };
    let Some([_, more, matches]) = elements(&answer) else {
        return Vec::new();
    };
    let more = text(more, Encoding::Unicode).unwrap_or_default();
    if !more.is_empty() {
        return vec![Pair {
            display: more.clone(),
            replacement: more,
        }];
    }
    let labels = items(matches).unwrap_or_default();
    labels
        .iter()
        .filter_map(label)
        .map(|display| Pair {
            display,
            replacement: String::new(),
        })
        .collect()
}

/// Returns how a completion is shown: a string, or a function's name and arity.
fn label(term: &Term) -> Option<String> {
    if let Some([first, rest @ ..]) = elements(term) {
        let name = text(first, Encoding::Unicode)?;
        return Some(match rest {
            [Term::FixInteger(arity)] => format!("{name}/{}", arity.value),
            _ => name,
        });
    }
    text(term, Encoding::Unicode)
}
