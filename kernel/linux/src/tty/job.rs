//! Sessions and their terminals (`credentials(7)`, `setsid(2)`), foreground and background, hang-up.
//!
//! As on Linux each process knows its controlling terminal, and a terminal the session that it controls; the leader of that
//! session gets one by opening it or by `TIOCSCTTY`, children inherit it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use tyn_abi::signal::{SIG_IGN, SigInfo, Signal};
use tyn_abi::{Errno, Events, Pid};
use tyn_fs::ldisc::Discipline;
use tyn_hal::sync::SpinLock;

use super::Tty;
use super::file::current_process;
use crate::cx::{Cx, SysResult};
use crate::kernel::kernel;
use crate::process::Process;
use crate::sched;
use crate::signal;

/// No session, no group.
const NONE: Pid = Pid(0);

/// What a process has of a terminal.
#[derive(Debug)]
pub(crate) struct Terminal(SpinLock<Holding>);

#[derive(Debug)]
struct Holding {
    tty: Option<Arc<Tty>>,
    /// The foreground group of a terminal that was hung up, for when its session's leader ends.
    foreground: Option<Pid>,
}

impl Terminal {
    pub(crate) fn new(tty: Option<Arc<Tty>>) -> Self {
        let foreground = None;
        Self(SpinLock::new(Holding { tty, foreground }))
    }

    /// Returns the controlling terminal.
    pub(crate) fn get(&self) -> Option<Arc<Tty>> {
        self.0.lock().tty.clone()
    }

    /// Whether it is this one.
    pub(super) fn is(&self, tty: &Tty) -> bool {
        let holding = self.0.lock();
        let held = holding.tty.as_ref();
        held.is_some_and(|held| core::ptr::eq(Arc::as_ptr(held), tty))
    }

    /// Changes it; returns the former one.
    fn replace(&self, tty: Option<Arc<Tty>>) -> Option<Arc<Tty>> {
        let mut holding = self.0.lock();
        holding.foreground = None;
        core::mem::replace(&mut holding.tty, tty)
    }

    /// Gives it up (`setsid(2)`).
    pub(crate) fn clear(&self) {
        drop(self.replace(None));
    }

    /// Loses it by a hang-up.
    fn lose(&self, foreground: Pid) {
        let lost = self.replace(None);
        self.0.lock().foreground = Some(foreground).filter(|&group| group != NONE);
        drop(lost);
    }
}

/// Returns the terminal that controls the running process.
pub(super) fn of_caller() -> Option<Arc<Tty>> {
    current_process()?.terminal.get()
}

fn members(session: Pid) -> Vec<Arc<Process>> {
    let ids = kernel().family.lock().session_members(session);
    let processes = kernel().processes.lock();
    let known = ids.iter().filter_map(|pid| processes.get(pid));
    known.cloned().collect()
}

fn send(group: Pid, number: Signal) {
    if group != NONE {
        // A group that has ended needs no signal.
        let _ = signal::send_to_group(group, SigInfo::from_kernel(number));
    }
}

/// The leader of a session leaves its terminal: by ending it hangs up the foreground group, and nobody in the session has the
/// terminal any more.
pub(crate) fn leader_exits(process: &Process) {
    let is_leader = kernel().family.lock().session(process.pid) == Ok(process.pid);
    let foreground = process.terminal.0.lock().foreground;
    let Some(tty) = process.terminal.replace(None) else {
        if let Some(group) = foreground.filter(|_| is_leader) {
            send(group, Signal::SIGHUP);
            send(group, Signal::SIGCONT);
        }
        return;
    };
    if is_leader {
        let group = tty.foreground();
        send(group, Signal::SIGHUP);
        tty.leave(process.pid);
    }
}

impl Tty {
    /// Ends the terminal's control of a session.
    fn leave(&self, session: Pid) {
        {
            let mut state = self.state.lock();
            if state.session == session {
                (state.session, state.foreground) = (NONE, NONE);
            }
        }
        for process in members(session) {
            if process.terminal.is(self) {
                process.terminal.clear();
            }
        }
    }

    /// Becomes the terminal of the calling process if that leads a session without one, and nobody has this one.
    pub(super) fn offer_control(self: &Arc<Self>) {
        let Some(process) = current_process() else {
            return;
        };
        let (session, group) = ids(&process);
        if session != process.pid || process.terminal.get().is_some() {
            return;
        }
        let mut state = self.state.lock();
        if state.session != NONE {
            return;
        }
        (state.session, state.foreground) = (session, group);
        drop(state);
        drop(process.terminal.replace(Some(Arc::clone(self))));
    }

    /// `TIOCSCTTY`: everybody is root, so `steals` takes the terminal from another session.
    pub(super) fn make_controlling(self: &Arc<Self>, cx: &Cx<'_>, steals: bool) -> SysResult {
        let (session, group) = ids(cx.process);
        let is_leader = session == cx.process.pid;
        let owner = self.session();
        if is_leader && owner == session {
            return Ok(0);
        }
        if !is_leader || cx.process.terminal.get().is_some() {
            return Err(Errno::EPERM);
        }
        if owner != NONE {
            if !steals {
                return Err(Errno::EPERM);
            }
            self.leave(owner);
        }
        let mut state = self.state.lock();
        (state.session, state.foreground) = (session, group);
        drop(state);
        drop(cx.process.terminal.replace(Some(Arc::clone(self))));
        Ok(0)
    }

    /// `TIOCNOTTY`.
    pub(super) fn disown(&self, cx: &Cx<'_>) -> SysResult {
        if !cx.process.terminal.is(self) {
            return Err(Errno::ENOTTY);
        }
        let (session, _) = ids(cx.process);
        if session == cx.process.pid {
            let group = self.foreground();
            self.leave(session);
            send(group, Signal::SIGHUP);
            send(group, Signal::SIGCONT);
        } else {
            cx.process.terminal.clear();
        }
        Ok(0)
    }

    /// `TIOCSPGRP`.
    pub(super) fn set_foreground(&self, cx: &Cx<'_>, group: i32) -> SysResult {
        let family = kernel().family.lock();
        let session = family.session(cx.process.pid)?;
        if !cx.process.terminal.is(self) || self.session() != session {
            return Err(Errno::ENOTTY);
        }
        let group = Pid(u32::try_from(group).map_err(|_| Errno::EINVAL)?);
        let members = family.group_members(group);
        let first = members.first().ok_or(Errno::ESRCH)?;
        if family.session(*first)? != session {
            return Err(Errno::EPERM);
        }
        drop(family);
        self.state.lock().foreground = group;
        Ok(0)
    }

    /// Checks that the calling process may use its terminal: one in the background is sent SIGTTIN or SIGTTOU.
    ///
    /// # Errors
    /// `ERESTARTSYS` when it was; `EIO` when that would be in vain.
    pub(super) fn check_job(&self, number: Signal) -> Result<(), Errno> {
        let Some(thread) = sched::current() else {
            return Ok(());
        };
        let process = thread.process();
        if !process.terminal.is(self) {
            return Ok(());
        }
        let (_, group) = ids(process);
        let foreground = self.foreground();
        if foreground == NONE || foreground == group {
            return Ok(());
        }
        let is_ignored = thread.signals.mask().contains(number)
            || process.signals.action(number).handler == SIG_IGN;
        if is_ignored && number == Signal::SIGTTOU {
            return Ok(());
        }
        if is_ignored || kernel().family.lock().is_orphaned(group) {
            return Err(Errno::EIO);
        }
        send(group, number);
        Err(Errno::ERESTARTSYS)
    }

    /// Sends the foreground process group a signal.
    pub(super) fn signal_foreground(&self, number: u8) {
        if let Some(number) = Signal::from_number(u32::from(number)) {
            send(self.foreground(), number);
        }
    }

    /// Hangs up: what has the terminal open is dead, its session has none any more, and the session's leader is told.
    pub(super) fn hang_up(&self) {
        let (session, foreground) = {
            let mut state = self.state.lock();
            state.hangups += 1;
            state.pending = Vec::new();
            state.discipline = Discipline::for_pty();
            let ids = (state.session, state.foreground);
            (state.session, state.foreground) = (NONE, NONE);
            ids
        };
        let all = Events::IN | Events::RDNORM | Events::OUT | Events::WRNORM;
        self.queue.notify(all | Events::ERR | Events::HUP);
        if session == NONE {
            return;
        }
        for process in members(session) {
            if !process.terminal.is(self) {
                continue;
            }
            process.terminal.lose(foreground);
            if process.pid == session {
                signal::send_from_kernel(&process, Signal::SIGHUP.number());
                signal::send_from_kernel(&process, Signal::SIGCONT.number());
            }
        }
    }
}

/// Returns session and process group.
fn ids(process: &Process) -> (Pid, Pid) {
    let family = kernel().family.lock();
    let session = family.session(process.pid).unwrap_or(NONE);
    (session, family.group(process.pid).unwrap_or(NONE))
}
