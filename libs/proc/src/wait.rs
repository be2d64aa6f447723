//! Which child `wait4(2)` and `waitid(2)` find.

use crate::{ExitStatus, Family, SIGCHLD, Times};
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
    /// Leave the zombie to be waited for again (`WNOWAIT`).
    pub leave: bool,
    /// Also children that do not announce their end with SIGCHLD (`__WALL`).
    pub all: bool,
    /// Only children that do not announce their end with SIGCHLD (`__WCLONE`).
    pub clones_only: bool,
}

/// A child that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zombie {
    /// Its id.
    pub pid: Pid,
    /// How it ended.
    pub status: ExitStatus,
    /// What it used, with the children that it waited for.
    pub times: Times,
}

/// The result of looking for a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// This one ended; it is forgotten now unless it was to be left.
    Found(Zombie),
    /// There are such children, but none has ended.
    NotYet,
}

impl Family {
    /// Looks for a child of `parent` that ended.
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
            if let Some((status, times)) = child.zombie {
                found = Some(Zombie {
                    pid,
                    status,
                    times: times + child.children_times,
                });
                break;
            }
        }
        let Some(zombie) = found else {
            return if eligible {
                Ok(Waited::NotYet)
            } else {
                Err(Errno::ECHILD)
            };
        };
        if !options.leave {
            self.forget(zombie.pid);
            if let Some(parent) = self.members.get_mut(&parent) {
                parent.children_times = parent.children_times + zombie.times;
            }
        }
        Ok(Waited::Found(zombie))
    }
}
