//! Reads lines from the terminal, with history and completion, in a thread of its own: the node may write meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use eetf::Term;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext,
    EventHandler, ExternalPrinter, Helper, KeyEvent, RepeatCount,
};

use crate::peer::Peer;
use crate::session::{self, Typed};
use crate::term::{Encoding, atom, elements, items, list, string, text};

/// The terminal's side of the editor.
pub(crate) struct Lines {
    editor: Editor<Completion, DefaultHistory>,
    interrupt: Interrupt,
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

/// Whether the line that ended did so by Ctrl-C.
#[derive(Clone, Debug, Default)]
struct Interrupt(Arc<AtomicBool>);

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(true, Ordering::SeqCst);
        Some(Cmd::AcceptLine)
    }
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
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Completion {
            peer: Arc::clone(peer),
            expand: None,
        }));
        // As a line that ends: an error would take along what was typed behind it.
        let interrupt = Interrupt::default();
        let key = Event::from(KeyEvent::ctrl('C'));
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(interrupt.clone())));
        let mut printer = editor.create_external_printer()?;
        let print = move |text| {
            // A terminal that is gone ends the editor, too.
            let _ = printer.print(text);
        };
        Ok((Self { editor, interrupt }, Box::new(print)))
    }

    /// Reads what is `wanted` until nothing is wanted any more.
    pub(crate) fn serve(mut self, wanted: &Receiver<Wanted>, events: &Sender<session::Event>) {
        for Wanted { prompt, expand } in wanted {
            if let Some(helper) = self.editor.helper_mut() {
                helper.expand = expand;
            }
            let typed = match self.editor.readline(&prompt) {
                Ok(_) if self.interrupt.0.swap(false, Ordering::SeqCst) => Typed::Interrupt,
                Ok(line) => {
                    // An error is one of a history in a file.
                    let _ = self.editor.add_history_entry(&line);
                    Typed::Line(line + "\n")
                }
                // The end of our input; and whatever keeps us from reading it.
                Err(_) => Typed::End,
            };
            if events.send(session::Event::Typed(typed)).is_err() {
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
