//! Which child `wait4(2)` and `waitid(2)` find.

use crate::family::Member;
use crate::{ChildEvent, Family, SIGCHLD, Times};
use tyn_abi::{Errno, Pid};

/// Which children are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selector {
    /// Any.
    Any,
    /// This one.
    Child(Pid),
    /// Those of this process group.
    Group(Pid),
}

/// Options of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WaitOptions {
    /// Children that ended (`WEXITED`).
    pub ended: bool,
    /// Children that stopped (`WUNTRACED`, `WSTOPPED`).
    pub stopped: bool,
    /// Children that went on (`WCONTINUED`).
    pub continued: bool,
    /// Leave the child to be waited for again (`WNOWAIT`).
    pub leave: bool,
    /// Also children that do not announce their end with SIGCHLD (`__WALL`).
    pub all: bool,
    /// Only children that do not announce their end with SIGCHLD (`__WCLONE`).
    pub clones_only: bool,
}

/// A child to tell of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its id.
    pub pid: Pid,
    /// What happened to it.
    pub event: ChildEvent,
    /// What it used, with the children that it waited for; zero unless it ended.
    pub times: Times,
}

/// The result of looking for a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// This one. If it ended it is forgotten now, unless it was to be left.
    Found(Report),
    /// There are such children, but nothing to tell of them.
    NotYet,
}

impl Family {
    /// Looks for a child of `parent` to tell of.
    ///
    /// # Errors
    /// `ECHILD` when it has no child that is waited for.
    pub fn wait(
        &mut self,
        parent: Pid,
        selector: Selector,
        options: WaitOptions,
    ) -> Result<Waited, Errno> {
        let children = &self.members.get(&parent).ok_or(Errno::ECHILD)?.children;
        let mut found = None;
        let mut eligible = false;
        for &pid in children {
            let Some(child) = self.members.get(&pid) else {
                continue;
            };
            let selected = match selector {
                Selector::Any => true,
                Selector::Child(wanted) => wanted == pid,
                Selector::Group(group) => child.group == group,
            };
            let is_clone = child.exit_signal != SIGCHLD;
            if !selected || !options.all && is_clone != options.clones_only {
                continue;
            }
            eligible = true;
            if let Some((event, times)) = options.match_event(child) {
                found = Some(Report { pid, event, times });
                break;
            }
        }
        let Some(report) = found else {
            return if eligible {
                Ok(Waited::NotYet)
            } else {
                Err(Errno::ECHILD)
            };
        };
        if !options.leave {
            self.take(parent, &report);
        }
        Ok(Waited::Found(report))
    }

    /// Removes what was reported: the zombie, or the news.
    fn take(&mut self, parent: Pid, report: &Report) {
        if !matches!(report.event, ChildEvent::Ended(_)) {
            if let Some(child) = self.members.get_mut(&report.pid) {
                child.news = None;
            }
            return;
        }
        self.forget(report.pid);
        if let Some(parent) = self.members.get_mut(&parent) {
            parent.children_times = parent.children_times + report.times;
        }
    }
}

impl WaitOptions {
    /// Returns what there is to tell of a child that these options want to know.
    fn match_event(&self, child: &Member) -> Option<(ChildEvent, Times)> {
        if let Some((status, times)) = child.zombie {
            let event = ChildEvent::Ended(status);
            return self.ended.then_some((event, times + child.children_times));
        }
        let event = child.news?;
        let wanted = match event {
            ChildEvent::Stopped(_) => self.stopped,
            ChildEvent::Continued => self.continued,
            ChildEvent::Ended(_) => false,
        };
        wanted.then_some((event, Times::default()))
    }
}
