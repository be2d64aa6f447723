//! Requests to stop the guest: signals, and keys of an interactive console. The first presses its power button, the second
//! kills it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tyn_trace::Line;
use tyn_vm_host::Control;

use crate::terminal;

/// What comes so soon after the first signal is part of it: `timeout` and terminals signal a process and its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// How long a guest that nobody listens to may take to stop.
const UNHEARD_LIMIT: Duration = Duration::from_secs(10);

/// Follows Ctrl-C, SIGTERM and SIGHUP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopper {
    state: Arc<Mutex<StopState>>,
    was_killed: Arc<AtomicBool>,
    has_no_reader: Arc<AtomicBool>,
}

/// What a signal does before there is a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Before {
    /// It counts once the machine runs.
    #[default]
    Wait,
    /// It ends us, and nothing is left.
    End,
}

#[derive(Debug, Default)]
struct StopState {
    /// What a signal does now, without a machine.
    before: Before,
    /// When the first signal came.
    first: Option<Instant>,
    /// Nobody wants the machine any more, not even to see it stop.
    is_doomed: bool,
    /// The machine, once it runs.
    control: Option<Control>,
    /// Whether the guest's kernel follows its power button. Pressed before, most machines don't remember it.
    has_button: bool,
}

fn lock(state: &Mutex<StopState>) -> MutexGuard<'_, StopState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stopper {
    /// Follows signals from now on.
    pub(crate) fn install(&self, before: Before) -> Result<()> {
        lock(&self.state).before = before;
        let mut signals = tyn_scratch::signals().context("Ctrl-C can't be handled")?;
        let stopper = self.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                stopper.on_signal(signal);
            }
        });
        Ok(())
    }

    /// Notes that the machine is being started: it is there soon, and must be stopped then.
    pub(crate) fn before_start(&self) {
        lock(&self.state).before = Before::Wait;
    }

    /// Learns of the machine; a signal that came before counts now.
    pub(crate) fn start(&self, control: Control) {
        let mut state = lock(&self.state);
        if state.is_doomed {
            self.kill(&control);
        }
        state.control = Some(control);
        if state.first.is_some() {
            self.power_down(&state);
        }
    }

    /// Looks at a line of the kernel's report: once it follows the power button, a request that waits can be made.
    pub(crate) fn see(&self, line: &Line<'_>) {
        if matches!(line, Line::Metric { name, .. } if *name == "power_button_ns") {
            let mut state = lock(&self.state);
            state.has_button = true;
            if state.first.is_some() {
                self.press(&state);
            }
        }
    }

    /// Returns whether the guest was killed.
    pub(crate) fn has_killed(&self) -> bool {
        self.was_killed.load(Ordering::SeqCst)
    }

    /// Stops the guest because standard output is closed, as a program ends by SIGPIPE: it is asked first, and killed when it goes on.
    pub(crate) fn output_closed(&self) {
        self.has_no_reader.store(true, Ordering::SeqCst);
        terminal::say("tyn: nobody reads standard output any more");
        self.stop_once();
        let stopper = self.clone();
        thread::spawn(move || {
            thread::sleep(UNHEARD_LIMIT);
            stopper.kill_now();
        });
    }

    /// Returns whether standard output was closed.
    pub(crate) fn has_no_reader(&self) -> bool {
        self.has_no_reader.load(Ordering::SeqCst)
    }

    /// Acts upon a key: each press is a request of its own.
    pub(crate) fn on_request(&self) {
        self.act(Duration::ZERO);
    }

    /// Acts upon a signal.
    pub(crate) fn on_signal(&self, signal: i32) {
        let state = lock(&self.state);
        if state.before == Before::End {
            // With the lock: no machine is started any more.
            tyn_scratch::end(128 + signal);
        }
        drop(state);
        self.act(ONE_REQUEST);
    }

    /// Presses the power button, unless somebody did.
    pub(crate) fn stop_once(&self) {
        let mut state = lock(&self.state);
        if state.first.is_none() && state.control.is_some() {
            self.power_down(&state);
            state.first = Some(Instant::now());
        }
    }

    /// Kills the guest, as soon as there is one.
    pub(crate) fn kill_now(&self) {
        let mut state = lock(&self.state);
        state.is_doomed = true;
        if let Some(control) = &state.control {
            self.kill(control);
        }
    }

    fn act(&self, one_request: Duration) {
        let mut state = lock(&self.state);
        match (state.first, &state.control) {
            (None, _) => {
                self.power_down(&state);
                state.first = Some(Instant::now());
            }
            (Some(first), Some(control)) if first.elapsed() > one_request => self.kill(control),
            (Some(_), _) => {}
        }
    }

    /// Asks the guest to stop, if there is one.
    fn power_down(&self, state: &StopState) {
        if state.control.is_some() && !state.is_doomed {
            terminal::say("tyn: stopping the guest; once more kills it");
            self.press(state);
        }
    }

    /// Presses the power button of a guest that takes it.
    fn press(&self, state: &StopState) {
        let Some(control) = state.control.as_ref().filter(|_| state.has_button) else {
            return;
        };
        if let Err(error) = control.power_down() {
            terminal::say(&format!("tyn: it can't be asked to stop ({error})"));
            self.kill(control);
        }
    }

    fn kill(&self, control: &Control) {
        self.was_killed.store(true, Ordering::SeqCst);
        control.kill();
    }
}
