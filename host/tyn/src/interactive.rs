//! `tyn run -i`: our terminal becomes the guest's console.
//!
//! Who runs when: one thread reads what is typed and obeys the escape key, one gives the rest to the guest as soon as that
//! runs (before, its serial port would lose it), one takes the guest's output to our standard output, one follows signals
//! (the window's size, being continued after a stop). All end with the tool, which waits for the third.

use std::io::{self, IsTerminal, Write};
use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGCONT, SIGWINCH};
use signal_hook::iterator::Signals;
use tyn_trace::Line;
use tyn_vm_host::{Resizer, Vm};

use crate::escape::{Escape, Request};
use crate::output;
use crate::stopper::Stopper;
use crate::terminal::{self, Terminal};

/// What a terminal sends for the end of the input (Ctrl-D).
const END_OF_INPUT: u8 = 4;
/// Shown when asked for.
const HELP: &str = "tyn: Ctrl-] x stops the guest (twice: kills it), Ctrl-] Ctrl-] sends Ctrl-]";

/// Said when this guest is to be left running.
const FOREGROUND: &str = "tyn: this guest ends with this tool; one of `tyn run -d -i` can be left";

/// How often a window that sends no signals is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How changes of the terminal's size are noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Window {
    /// By SIGWINCH.
    Signals,
    /// By looking: the terminal is another session's, which gets the signal.
    IsElsewhere,
}

/// Pieces of input that wait until the guest takes them.
const PIECES: usize = 16;

/// Tells once that the guest runs.
#[derive(Clone, Debug)]
pub(crate) struct Started(SyncSender<()>);

impl Started {
    /// Makes one, and what waits for it.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (sender, receiver) = sync_channel(1);
        (Self(sender), receiver)
    }

    /// Looks at a line of the kernel's report.
    pub(crate) fn see(&self, line: &Line<'_>) {
        if matches!(line, Line::Metric { name, .. } if *name == "boot_to_user_ns") {
            // Full or closed: it was told before, or nobody asks any more.
            let _ = self.0.try_send(());
        }
    }
}

/// The console of a guest on our terminal.
#[derive(Debug)]
pub(crate) struct Session {
    output: Option<JoinHandle<()>>,
    _raw: Terminal,
}

impl Session {
    /// Connects the console of `vm` with our standard input and output.
    ///
    /// # Errors
    /// When the terminal or signals can't be had.
    pub(crate) fn start(
        vm: &mut Vm,
        stopper: &Stopper,
        started: Receiver<()>,
        window: Window,
    ) -> Result<Self> {
        let raw = Terminal::enter_raw()?;
        let resizer = vm.take_resizer();
        let (signalled, looked_at) = match window {
            Window::Signals => (resizer, None),
            Window::IsElsewhere => (None, resizer),
        };
        follow_signals(signalled)?;
        if let Some(resizer) = looked_at {
            thread::spawn(move || look_at_window(resizer));
        }
        let output = vm.take_console().map(|pipe| {
            let (stopper, at_end) = (stopper.clone(), stopper.clone());
            let (typed, pieces) = sync_channel(PIECES);
            thread::spawn(move || read_input(&typed, &stopper));
            thread::spawn(move || copy_in(pipe.input, &pieces, &started));
            thread::spawn(move || output::copy(pipe.output, || at_end.output_closed()))
        });
        Ok(Self { output, _raw: raw })
    }

    /// Waits until all output of the guest, which has ended, has been written; then the terminal is as it was before.
    pub(crate) fn finish(mut self) {
        if let Some(output) = self.output.take() {
            // A panic there has ended the tool already.
            let _ = output.join();
        }
    }
}

/// Returns the variables that tell the guest what terminal it is on.
pub(crate) fn environment() -> Vec<String> {
    let known = std::env::var("TERM").ok().filter(|t| !t.is_empty());
    let term = known.filter(|_| io::stdin().is_terminal());
    vec![format!("TERM={}", term.as_deref().unwrap_or("dumb"))]
}

/// Tells the guest of another size as soon as it is seen.
fn look_at_window(mut resizer: Resizer) {
    let mut known = terminal::size();
    loop {
        thread::sleep(LOOK);
        let size = terminal::size();
        if size != known && resizer.resize(size).is_err() {
            return;
        }
        known = size;
    }
}

fn follow_signals(mut resizer: Option<Resizer>) -> Result<()> {
    let mut signals = Signals::new([SIGWINCH, SIGCONT]).context("signals can't be handled")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                // An error is that of a terminal that is gone.
                let _ = terminal::make_raw();
            }
            if let Some(guest) = &mut resizer
                && guest.resize(terminal::size()).is_err()
            {
                resizer = None;
            }
        }
    });
    Ok(())
}

fn read_input(guest: &SyncSender<Vec<u8>>, stopper: &Stopper) {
    let mut escape = Escape::default();
    let is_terminal = io::stdin().is_terminal();
    let mut chunk = [0; 4096];
    loop {
        let length = output::read_input(&mut chunk).unwrap_or(0);
        let mut bytes = Vec::new();
        match &chunk[..length] {
            [] => bytes.push(END_OF_INPUT),
            typed if is_terminal => {
                for request in escape.feed(typed, &mut bytes) {
                    match request {
                        Request::Stop => stopper.on_request(),
                        Request::Help => terminal::say(HELP),
                        Request::Detach => terminal::say(FOREGROUND),
                    }
                }
            }
            piped => bytes.extend_from_slice(piped),
        }
        if guest.send(bytes).is_err() || length == 0 {
            return;
        }
    }
}

fn copy_in(mut guest: ChildStdin, pieces: &Receiver<Vec<u8>>, started: &Receiver<()>) {
    // An error: it has ended and never will.
    let mut is_open = started.recv().is_ok();
    for piece in pieces {
        // Taken all the same when nobody reads it: the escape key must go on to work.
        is_open = is_open && guest.write_all(&piece).is_ok();
    }
}
