//! Process groups and sessions (`setpgid(2)`, `setsid(2)`, `credentials(7)`).

use crate::Family;
use crate::family::Member;
use alloc::vec::Vec;
use tyn_abi::{Errno, Pid};

impl Family {
    /// Returns the process group (`getpgid(2)`).
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn group(&self, pid: Pid) -> Result<Pid, Errno> {
        self.members.get(&pid).map(|m| m.group).ok_or(Errno::ESRCH)
    }

    /// Returns the session (`getsid(2)`).
    ///
    /// # Errors
    /// `ESRCH`.
    pub fn session(&self, pid: Pid) -> Result<Pid, Errno> {
        self.members
            .get(&pid)
            .map(|m| m.session)
            .ok_or(Errno::ESRCH)
    }

    /// Lists the processes of a group that are alive (`kill(2)` of `-pgid`).
    #[must_use]
    pub fn group_members(&self, group: Pid) -> Vec<Pid> {
        self.alive_where(|m| m.group == group)
    }

    /// Lists the processes of a session that are alive.
    #[must_use]
    pub fn session_members(&self, session: Pid) -> Vec<Pid> {
        self.alive_where(|m| m.session == session)
    }

    fn alive_where(&self, wanted: impl Fn(&Member) -> bool) -> Vec<Pid> {
        let alive = self.members.iter().filter(|(_, m)| m.zombie.is_none());
        alive
            .filter(|(_, m)| wanted(m))
            .map(|(&pid, _)| pid)
            .collect()
    }

    /// Moves `pid` (the caller or a child of it) to the group `group`, made if it is `pid` itself (`setpgid(2)`).
    ///
    /// # Errors
    /// `ESRCH` when `pid` is neither the caller nor its child; `EACCES` when the child has called `execve`; `EPERM` when it is
    /// in another session or leads one, or the group does not exist in the caller's session.
    pub fn set_group(&mut self, caller: Pid, pid: Pid, group: Pid) -> Result<(), Errno> {
        let session = self.session(caller)?;
        let target = self.members.get(&pid).ok_or(Errno::ESRCH)?;
        if pid != caller {
            if target.parent != Some(caller) || target.zombie.is_some() {
                return Err(Errno::ESRCH);
            }
            if target.session != session {
                return Err(Errno::EPERM);
            }
            if target.has_execed {
                return Err(Errno::EACCES);
            }
        }
        if target.session == pid {
            return Err(Errno::EPERM);
        }
        let exists = self
            .members
            .values()
            .any(|m| m.group == group && m.session == session);
        if group != pid && !exists {
            return Err(Errno::EPERM);
        }
        self.alive_mut(pid)?.group = group;
        Ok(())
    }

    /// Makes the caller the leader of a new session and group (`setsid(2)`).
    ///
    /// # Errors
    /// `EPERM` when a group with its id exists already.
    pub fn new_session(&mut self, caller: Pid) -> Result<Pid, Errno> {
        if self.members.values().any(|m| m.group == caller) {
            return Err(Errno::EPERM);
        }
        let member = self.alive_mut(caller)?;
        member.group = caller;
        member.session = caller;
        Ok(caller)
    }
}
