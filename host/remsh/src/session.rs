//! A shell of the node on our terminal.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use eetf::{Pid, Term};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::editor::{Lines, Print, Wanted};
use crate::peer::{Address, Incoming, Peer, PeerError};
use crate::protocol::{Call, IoRequest, What};
use crate::term::{Encoding, atom, binary, elements, integer, list, name, string, text, tuple};

/// How a shell ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// We left it: the end of our input, or a signal.
    Left,
    /// Its process ended.
    Ended,
    /// The node is gone.
    Closed,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something came from the node.
    Node(Incoming),
    /// Something was typed.
    Typed(Typed),
    /// Ctrl-C, while no line is edited.
    Interrupt,
    /// Somebody wants us to end.
    Leave,
}

/// What an editor returns.
#[derive(Debug)]
pub(crate) enum Typed {
    Line(String),
    Interrupt,
    End,
}

/// What becomes of signals: before there is a shell they end us, then Ctrl-C is the shell's, and the others leave it.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Mutex<Option<Sender<Event>>>>);

impl Signals {
    /// Follows them from now on; to be done before the terminal is changed. `end` is called with the number of one that comes
    /// before the shell runs; it should end the process.
    ///
    /// # Errors
    /// When they can't be handled.
    pub fn follow(end: impl Fn(i32) + Send + 'static) -> io::Result<Self> {
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP])?;
        let shell: Arc<Mutex<Option<Sender<Event>>>> = Arc::default();
        let of_thread = Arc::clone(&shell);
        thread::spawn(move || {
            for signal in signals.forever() {
                let shell = of_thread.lock().unwrap_or_else(PoisonError::into_inner);
                let event = match signal {
                    SIGINT => Event::Interrupt,
                    _ => Event::Leave,
                };
                match &*shell {
                    // Nobody listens any more at the end.
                    Some(shell) => drop(shell.send(event)),
                    None => end(signal),
                }
            }
        });
        Ok(Self(shell))
    }

    fn go_to(&self, shell: Sender<Event>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shell);
    }
}

/// Runs a shell of the node at `address` until it ends or is left; `size` returns the terminal's rows and columns, and `greet` is
/// called when the shell runs, with the node's name.
///
/// # Errors
/// When the node can't be reached, or has no shell.
pub fn run(
    address: &Address,
    signals: &Signals,
    size: &dyn Fn() -> (u16, u16),
    greet: &dyn Fn(&str),
) -> Result<End, PeerError> {
    let (events, happening) = channel();
    let from_node = events.clone();
    let peer = Peer::connect(address, move |incoming| {
        // Nobody listens any more at the end.
        let _ = from_node.send(Event::Node(incoming));
    })?;
    let shell = start(&peer)?;
    signals.go_to(events.clone());
    greet(&shell.node.name);
    let failed = |error: &dyn std::fmt::Display| PeerError::Terminal(error.to_string());
    let (lines, print) = Lines::new(&peer).map_err(|error| failed(&error))?;
    let (want, wanted) = channel();
    thread::spawn(move || lines.serve(&wanted, &events));
    let mut session = Session {
        peer: &peer,
        shell,
        size,
        print,
        want,
        expand: None,
        binary: false,
        asked: VecDeque::new(),
        is_reading: false,
        typed: String::new(),
        fed: String::new(),
    };
    let mut end = None;
    while end.is_none() {
        end = match happening.recv() {
            Ok(event) => session.on(event)?,
            Err(_) => Some(End::Closed),
        };
    }
    peer.close();
    Ok(end.unwrap_or(End::Closed))
}

/// Starts Elixir's shell where there is one, else Erlang's.
fn start(peer: &Peer) -> Result<Pid, PeerError> {
    let iex = || atom("Elixir.IEx");
    let loaded = peer.call(atom("code"), atom("ensure_loaded"), vec![iex()])?;
    let is_loaded = matches!(elements(&loaded), Some([tag, _]) if name(tag) == Some("module"));
    let module = if is_loaded { iex() } else { atom("shell") };
    match peer.call(module, atom("start"), Vec::new())? {
        Term::Pid(pid) => {
            peer.monitor(&pid)?;
            Ok(pid)
        }
        other => Err(PeerError::Failed("the start of a shell", other.to_string())),
    }
}

/// Our process: the group leader of the shell's.
struct Session<'a> {
    peer: &'a Peer,
    shell: Pid,
    size: &'a dyn Fn() -> (u16, u16),
    print: Print,
    want: Sender<Wanted>,
    /// The shell's function for completions.
    expand: Option<Term>,
    /// Whether lines are binaries.
    binary: bool,
    /// Requests for input, the first being served.
    asked: VecDeque<IoRequest>,
    /// Whether a line is edited.
    is_reading: bool,
    /// What was typed and nobody took yet.
    typed: String,
    /// What the request that is served has got so far.
    fed: String,
}

impl Session<'_> {
    fn on(&mut self, event: Event) -> Result<Option<End>, PeerError> {
        match event {
            Event::Node(Incoming::Message(message)) => {
                if let Some(request) = IoRequest::parse(&message) {
                    self.on_request(request)?;
                }
            }
            Event::Node(Incoming::Down) => return Ok(Some(End::Ended)),
            Event::Node(Incoming::Closed) => return Ok(Some(End::Closed)),
            Event::Interrupt if !self.is_reading => self.peer.interrupt(&self.shell)?,
            Event::Interrupt => {}
            Event::Leave | Event::Typed(Typed::End) => return Ok(Some(End::Left)),
            Event::Typed(Typed::Line(line)) => {
                self.is_reading = false;
                self.typed += &line;
                self.serve()?;
            }
            // The expression begins anew.
            Event::Typed(Typed::Interrupt) => {
                self.is_reading = false;
                self.typed.clear();
                self.fed.clear();
                self.serve()?;
            }
        }
        Ok(None)
    }

    fn on_request(&mut self, request: IoRequest) -> Result<(), PeerError> {
        match request.what {
            What::Line { .. } | What::Chars { .. } | What::Until { .. } => {
                self.asked.push_back(request);
                self.serve()
            }
            ref what => {
                let answer = self.answer(what)?;
                self.reply(&request, answer)
            }
        }
    }

    fn reply(&self, request: &IoRequest, answer: Term) -> Result<(), PeerError> {
        let reply = vec![atom("io_reply"), request.reply_as.clone(), answer];
        self.peer.tell(&request.from, tuple(reply))
    }

    /// Answers what needs no input.
    fn answer(&mut self, what: &What) -> Result<Term, PeerError> {
        Ok(match what {
            What::Put(text) => self.put(text),
            What::PutResult(encoding, call) => match text(&self.call(call)?, *encoding) {
                Some(text) => self.put(&text),
                None => error("put_chars"),
            },
            What::Columns => integer(i32::from((self.size)().1)),
            What::Rows => integer(i32::from((self.size)().0)),
            What::GetOptions => self.options(),
            What::SetOptions(options) => {
                options.iter().for_each(|option| self.set(option));
                atom("ok")
            }
            What::Several(requests) => {
                let mut answer = atom("ok");
                for request in requests {
                    answer = self.answer(request)?;
                }
                answer
            }
            What::Password => error("enotsup"),
            What::Line { .. } | What::Chars { .. } | What::Until { .. } | What::Unknown => {
                error("request")
            }
        })
    }

    fn put(&mut self, text: &str) -> Term {
        (self.print)(text.to_owned());
        atom("ok")
    }

    fn call(&self, call: &Call) -> Result<Term, PeerError> {
        let Call {
            module,
            function,
            args,
        } = call.clone();
        self.peer.call(module, function, args)
    }

    fn options(&self) -> Term {
        let flag = |is_set| atom(if is_set { "true" } else { "false" });
        let mut options = vec![
            tuple(vec![atom("binary"), flag(self.binary)]),
            tuple(vec![atom("echo"), flag(true)]),
            tuple(vec![atom("encoding"), atom("unicode")]),
        ];
        for stream in ["terminal", "stdin", "stdout", "stderr"] {
            options.push(tuple(vec![atom(stream), flag(true)]));
        }
        if let Some(expand) = &self.expand {
            options.push(tuple(vec![atom("expand_fun"), expand.clone()]));
        }
        list(options)
    }

    fn set(&mut self, option: &Term) {
        match elements(option) {
            Some([key, value]) if name(key) == Some("expand_fun") => {
                self.expand = Some(value.clone());
            }
            Some([key, value]) if name(key) == Some("binary") => {
                self.binary = name(value) == Some("true");
            }
            _ if name(option) == Some("binary") => self.binary = true,
            _ if name(option) == Some("list") => self.binary = false,
            _ => {}
        }
    }

    /// Serves requests for input with what was typed, and lets more be typed where that is too little.
    fn serve(&mut self) -> Result<(), PeerError> {
        while !self.is_reading
            && let Some(request) = self.asked.front().cloned()
        {
            match self.input(&request.what)? {
                Some(answer) => {
                    self.asked.pop_front();
                    self.fed.clear();
                    self.reply(&request, answer)?;
                }
                None => self.read(&request.what)?,
            }
        }
        Ok(())
    }

    /// Returns what a request gets of what was typed; `None` while that is too little.
    fn input(&mut self, what: &What) -> Result<Option<Term>, PeerError> {
        match what {
            What::Line { .. } => Ok(self.typed.find('\n').map(|end| {
                let rest = self.typed.split_off(end + 1);
                let line = std::mem::replace(&mut self.typed, rest);
                self.characters(&line)
            })),
            What::Chars { count, .. } => {
                if self.typed.chars().count() < *count {
                    return Ok(None);
                }
                let taken: String = self.typed.chars().take(*count).collect();
                self.typed.drain(..taken.len());
                Ok(Some(self.characters(&taken)))
            }
            What::Until { call, .. } => self.until(call),
            _ => Ok(Some(error("request"))),
        }
    }

    fn characters(&self, text: &str) -> Term {
        if self.binary {
            binary(text)
        } else {
            string(text)
        }
    }

    /// Lets the function of a `get_until` look at all that was typed for it.
    fn until(&mut self, call: &Call) -> Result<Option<Term>, PeerError> {
        if self.typed.trim().is_empty() && self.fed.is_empty() {
            self.typed.clear();
            return Ok(None);
        }
        if self.typed.is_empty() {
            return Ok(None);
        }
        self.fed += &std::mem::take(&mut self.typed);
        let mut args = vec![list(Vec::new()), string(&self.fed)];
        args.extend(call.args.iter().cloned());
        let answer = self
            .peer
            .call(call.module.clone(), call.function.clone(), args)?;
        match elements(&answer) {
            Some([done, result, rest]) if name(done) == Some("done") => {
                self.typed = text(rest, Encoding::Unicode).unwrap_or_default();
                Ok(Some(result.clone()))
            }
            Some([more, _]) if name(more) == Some("more") => Ok(None),
            _ => Ok(Some(error("get_until"))),
        }
    }

    /// Has a line edited.
    fn read(&mut self, what: &What) -> Result<(), PeerError> {
        let (What::Line { prompt } | What::Chars { prompt, .. } | What::Until { prompt, .. }) =
            what
        else {
            return Ok(());
        };
        // A prompt is text, or what `io_lib:format_prompt/2` makes text of.
        let prompt = match text(prompt, Encoding::Unicode) {
            Some(prompt) => prompt,
            None => {
                let args = vec![prompt.clone(), atom("unicode")];
                let formatted = self
                    .peer
                    .call(atom("io_lib"), atom("format_prompt"), args)?;
                text(&formatted, Encoding::Unicode).unwrap_or_default()
            }
        };
        let prompt = match self.fed.is_empty() {
            true => prompt,
            // As wide as the first, so that the expression stays in line.
            false => " ".repeat(prompt.chars().count()),
        };
        self.is_reading = true;
        let expand = self.expand.clone();
        self.want
            .send(Wanted { prompt, expand })
            .map_err(|_| PeerError::Closed)
    }
}

fn error(why: &str) -> Term {
    tuple(vec![atom("error"), atom(why)])
}
