//! The end of a process.

use crate::family::Member;
use crate::{ExitStatus, Family, SIGCHLD, Times};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use tyn_abi::Pid;

/// A parent is to be told of the end of a child: wake its `wait` calls, and send the signal unless it is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitNotice {
    /// The parent.
    pub parent: Pid,
    /// The child.
    pub child: Pid,
    /// How the child ended.
    pub status: ExitStatus,
    /// Times the child used.
    pub times: Times,
    /// The signal, 0 for none.
    pub signal: u8,
}

/// A process asked for this signal when its parent ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeathSignal {
    /// The process.
    pub pid: Pid,
    /// The signal.
    pub signal: u8,
}

/// What the end of a process leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Exited {
    /// Parents to tell.
    pub notices: Vec<ExitNotice>,
    /// Children to signal.
    pub death_signals: Vec<DeathSignal>,
    /// Process groups that nobody outside them in their session watches over any more (`setpgid(2)`): if one of their
    /// members is stopped, all get SIGHUP and SIGCONT.
    pub orphaned_groups: Vec<Pid>,
    /// Processes that are gone without anybody waiting for them: their parent ignores SIGCHLD.
    pub forgotten: Vec<Pid>,
}

impl Family {
    /// Ends a process. It becomes a zombie, unless its parent `ignores_children` (SIGCHLD ignored, or `SA_NOCLDWAIT`); its children
    /// pass to the nearest reaper among its ancestors, else to init.
    pub fn exit(
        &mut self,
        pid: Pid,
        status: ExitStatus,
        times: Times,
        ignores_children: impl Fn(Pid) -> bool,
    ) -> Exited {
        let mut exited = Exited::default();
        if self.alive_mut(pid).is_err() {
            return exited;
        }
        let watched = self.watched_groups(pid);
        let Ok(member) = self.alive_mut(pid) else {
            return exited;
        };
        member.zombie = Some((status, times));
        let orphans = core::mem::take(&mut member.children);
        let heir = self.heir(pid);
        for orphan in orphans {
            self.adopt(orphan, heir, &ignores_children, &mut exited);
        }
        let is_orphaned = |group: &Pid| self.is_orphaned(*group);
        exited.orphaned_groups = watched.into_iter().filter(is_orphaned).collect();
        self.announce(pid, &ignores_children, &mut exited);
        exited
    }

    /// Returns the groups that `pid` may be the last to watch over: its children's, and, as their parent does, its own.
    fn watched_groups(&self, pid: Pid) -> BTreeSet<Pid> {
        let children = self.members.get(&pid).map(|m| &m.children);
        let group = |pid: &Pid| self.members.get(pid).map(|m| m.group);
        let own = core::iter::once(&pid);
        let all = children.into_iter().flatten().chain(own).filter_map(group);
        all.filter(|&group| !self.is_orphaned(group)).collect()
    }

    /// Returns whether no living member of a group has a parent that is in the group's session but not in the group.
    #[must_use]
    pub fn is_orphaned(&self, group: Pid) -> bool {
        let alive = |m: &&Member| m.zombie.is_none();
        !self.members.values().filter(alive).any(|member| {
            let parent = member.parent.and_then(|parent| self.members.get(&parent));
            member.group == group
                && parent.is_some_and(|p| p.group != group && p.session == member.session)
        })
    }

    /// Returns who inherits the children of `pid`.
    fn heir(&self, pid: Pid) -> Pid {
        let mut at = self.parent(pid);
        while let Some(ancestor) = at {
            match self.members.get(&ancestor) {
                Some(m) if m.is_reaper && m.zombie.is_none() => return ancestor,
                Some(m) => at = m.parent,
                None => break,
            }
        }
        self.init
    }

    fn adopt(
        &mut self,
        orphan: Pid,
        heir: Pid,
        ignores_children: &impl Fn(Pid) -> bool,
        exited: &mut Exited,
    ) {
        let Some(member) = self.members.get_mut(&orphan) else {
            return;
        };
        member.parent = Some(heir);
        member.parent_cell.set(heir);
        member.exit_signal = SIGCHLD;
        let (signal, is_zombie) = (member.death_signal, member.zombie.is_some());
        if let Some(heir) = self.members.get_mut(&heir) {
            heir.children.insert(orphan);
        }
        if is_zombie {
            self.announce(orphan, ignores_children, exited);
        } else if signal != 0 {
            exited.death_signals.push(DeathSignal {
                pid: orphan,
                signal,
            });
        }
    }

    /// Notes what the parent of a zombie is to be told, or that the zombie is gone at once.
    fn announce(&mut self, pid: Pid, ignores_children: &impl Fn(Pid) -> bool, exited: &mut Exited) {
        let Some(member) = self.members.get(&pid) else {
            return;
        };
        let (Some(parent), Some((status, times))) = (member.parent, member.zombie) else {
            return;
        };
        let signal = member.exit_signal;
        // Only children that announce themselves with SIGCHLD vanish when it is ignored.
        if signal == SIGCHLD && ignores_children(parent) {
            self.forget(pid);
            exited.forgotten.push(pid);
        }
        exited.notices.push(ExitNotice {
            parent,
            child: pid,
            status,
            times,
            signal,
        });
    }

    /// Removes a zombie; its times are not counted for the parent.
    pub(crate) fn forget(&mut self, pid: Pid) {
        let Some(member) = self.members.remove(&pid) else {
            return;
        };
        if let Some(parent) = member.parent.and_then(|p| self.members.get_mut(&p)) {
            parent.children.remove(&pid);
        }
    }
}
